//! Deletes what every reader has read.
//!
//! Where several sources are merged that is not enough: a change that one source has forgotten and another has not
//! delivered yet would look like a conflict. There only what is older than everything unread goes ([`super::floor`]).

use std::collections::HashMap;
use std::time::Duration;

use bucardo_actors::model::{DbName, SyncName};
use bucardo_actors::ports::Watch;
use chrono::{DateTime, Utc};
use tokio_postgres::Row;

use super::deltas::{Waiting, backlog};
use super::given_up::{GivenUp, given_up};
use super::install::exists;
use crate::pg::{Connection, Sql, SqlFile};

pub(super) const FLOORS: SqlFile = SqlFile::new(include_str!("../../sql/source/purge_floors.sql"));
const BATCH: SqlFile = SqlFile::new(include_str!("../../sql/source/purge_batch.sql"));

/// How a purge goes about it.
#[derive(Clone, Copy, Debug)]
pub struct PurgeLimits {
    /// Rows younger than this stay.
    pub keep: Duration,
    /// Rows that one transaction deletes at most.
    pub batch_rows_max: u32,
}

impl Default for PurgeLimits {
    fn default() -> Self {
        Self { keep: Duration::from_secs(45), batch_rows_max: 10_000 }
    }
}

/// What a purge of one source did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// Delta tables looked at.
    pub tables: u64,
    /// Delta rows deleted.
    pub rows: u64,
    /// What stays because a reader has not read it yet.
    pub waiting: Vec<Waiting>,
    /// Readers for which nothing is kept.
    pub given_up: Vec<(SyncName, DbName, GivenUp)>,
}

impl Purged {
    /// Changes that some reader has not read, each counted once.
    #[must_use]
    pub fn held_back(&self) -> u64 {
        let mut most: HashMap<i32, i64> = HashMap::new();
        for waiting in &self.waiting {
            let known = most.entry(waiting.captured).or_default();
            *known = waiting.changes.max(*known);
        }
        most.values().sum::<i64>().unsigned_abs()
    }
}

/// Why a purge stopped. Batches already committed stay deleted.
#[derive(Debug, thiserror::Error)]
#[error("purging {table} on database \"{db}\" failed")]
pub struct PurgeError {
    /// The source.
    pub db: DbName,
    /// The table in hand.
    pub table: String,
    /// Why.
    pub source: tokio_postgres::Error,
}

/// What everybody has read at a source, at the time of the look.
#[derive(Debug, Default)]
pub struct Survey {
    tables: Vec<Known>,
}

#[derive(Debug)]
struct Known {
    name: String,
    /// The table whose changes these are.
    table: TableName,
    syncs: Vec<SyncName>,
    read: Read,
}

/// A table of a source: its schema and its name.
pub type TableName = (String, String);

/// Which tables a purge is about; `None`: all.
pub type Tables<'a> = Option<&'a [TableName]>;

/// What has been read: visible in all positions, below the ceiling.
#[derive(Debug)]
struct Read {
    positions: Vec<String>,
    ceiling: i64,
}

/// How far the changes of a sync may be purged, beyond what its readers here have read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// All that they have read.
    Free,
    /// Only what is older than this.
    Before(DateTime<Utc>),
    /// Nothing: what others have to read is not known.
    Unknown,
}

/// The bounds of syncs with several sources.
pub type Bounds = HashMap<SyncName, Bound>;

/// The strictest of the bounds of some syncs.
fn strictest<'a>(bounds: &Bounds, syncs: impl IntoIterator<Item = &'a SyncName>) -> Bound {
    syncs.into_iter().filter_map(|sync| bounds.get(sync)).fold(Bound::Free, |strictest, bound| {
        match (strictest, *bound) {
            (Bound::Unknown, _) | (_, Bound::Unknown) => Bound::Unknown,
            (Bound::Before(one), Bound::Before(other)) => Bound::Before(one.min(other)),
            (Bound::Free, other) | (other, Bound::Free) => other,
        }
    })
}

fn failed(db: &DbName, table: &str) -> impl FnOnce(tokio_postgres::Error) -> PurgeError {
    let (db, table) = (db.clone(), table.to_owned());
    move |source| PurgeError { db, table, source }
}

/// Looks who has read what at a source. One without any changes is no fault.
///
/// # Errors
///
/// [`PurgeError`].
pub async fn survey(source: &Connection, db: &DbName) -> Result<Survey, PurgeError> {
    if !exists(source, "bucardo.adopted").await.map_err(failed(db, "schema bucardo"))? {
        return Ok(Survey::default());
    }
    let rows = source.query(FLOORS.text(), &[]).await.map_err(failed(db, "bucardo.captured"))?;
    let known = |row: &Row| Known {
        name: row.get("deltaname"),
        table: (row.get("schemaname"), row.get("tablename")),
        syncs: row.get::<_, Vec<&str>>("syncs").into_iter().map(SyncName::from).collect(),
        read: Read { positions: row.get("positions"), ceiling: row.get("ceiling") },
    };
    Ok(Survey { tables: rows.iter().map(known).collect() })
}

/// Purges the delta tables of one source of which only syncs with one source know.
///
/// # Errors
///
/// As [`purge_within`].
pub async fn purge(source: &Connection, db: &DbName, limits: PurgeLimits, watch: &Watch) -> Result<Purged, PurgeError> {
    let survey = survey(source, db).await?;
    purge_within(source, db, (&survey, &Bounds::new()), None, limits, watch).await
}

/// Purges delta tables of one source, by an earlier look at who has read what and the bounds that were found after it.
///
/// Each batch is a transaction of its own and takes no lock that a writer waits for. Stops between two batches when
/// `watch` says so.
///
/// # Errors
///
/// [`PurgeError`], with the table in hand.
pub async fn purge_within(
    source: &Connection,
    db: &DbName,
    (survey, bounds): (&Survey, &Bounds),
    tables: Tables<'_>,
    limits: PurgeLimits,
    watch: &Watch,
) -> Result<Purged, PurgeError> {
    let mut purged = Purged::default();
    if survey.tables.is_empty() {
        return Ok(purged);
    }
    let is_wanted = |known: &&Known| tables.is_none_or(|tables| tables.contains(&known.table));
    for Known { name, syncs, read, .. } in survey.tables.iter().filter(is_wanted) {
        let table = Sql::qualified("bucardo", name);
        let bound = strictest(bounds, syncs);
        purged.rows += purge_table(source, &table, read, bound, limits, watch).await.map_err(failed(db, name))?;
        purged.tables += 1;
    }
    if tables.is_none() {
        let all = Read {
            positions: survey.tables.iter().flat_map(|table| table.read.positions.iter().cloned()).collect(),
            ceiling: survey.tables.iter().map(|table| table.read.ceiling).min().unwrap_or_default(),
        };
        let bound = strictest(bounds, survey.tables.iter().flat_map(|table| &table.syncs));
        let table = Sql::qualified("bucardo", "truncated");
        purge_table(source, &table, &all, bound, limits, watch).await.map_err(failed(db, "truncated"))?;
        purged.waiting = backlog(source, None, false).await.map_err(failed(db, "what waits"))?;
        purged.given_up = given_up(source).await.map_err(failed(db, "bucardo.track"))?;
    }
    Ok(purged)
}

async fn purge_table(
    source: &Connection,
    table: &Sql,
    read: &Read,
    bound: Bound,
    limits: PurgeLimits,
    watch: &Watch,
) -> Result<u64, tokio_postgres::Error> {
    let before = match bound {
        Bound::Free => None,
        Bound::Before(time) => Some(time),
        Bound::Unknown => return Ok(0),
    };
    let batch = source.prepare(&BATCH.fill(&[("delta", table)])).await?;
    let (keep, most) = (limits.keep.as_secs_f64(), i64::from(limits.batch_rows_max.max(1)));
    let mut rows = 0;
    while !watch.stop().is_cancelled() {
        let deleted = source.execute(&batch, &[&read.positions, &read.ceiling, &keep, &most, &before]).await?;
        watch.moved(1);
        rows += deleted;
        if deleted < u64::from(limits.batch_rows_max) {
            break;
        }
    }
    Ok(rows)
}
