//! What a KID keeps from one round to the next: two connections, and the statements prepared on them.

use std::collections::HashMap;
use std::time::Instant;

use postgres_types::Oid;
use tokio_postgres::Statement;

use bucardo_actors::model::{DbName, Pair};

use super::begin::Begin;
use super::drift::Drift;
use super::error::RoundError;
use super::hearsay::Hearsay;
use super::join::check_settled;
use super::onward::{Questions, via};
use super::scout::Scout;
use super::sequences::{self, Sequences};
use super::site::Site;
use super::table::Table;
use crate::catalog::{Goat, Role, SyncDetail};
use crate::pg::{Sql, SqlFile};
use crate::source::{handed_on, news_for};

pub(super) const SESSION_SOURCE: SqlFile = SqlFile::new(include_str!("../../sql/engine/session_source.sql"));
pub(super) const CAPTURED: SqlFile = SqlFile::new(include_str!("../../sql/engine/captured.sql"));
pub(super) const SYSTEM_ID: SqlFile = SqlFile::new(include_str!("../../sql/engine/system_id.sql"));
pub(super) const FENCE: SqlFile = SqlFile::new(include_str!("../../sql/engine/fence.sql"));
pub(super) const SINCE: SqlFile = SqlFile::new(include_str!("../../sql/engine/since.sql"));
const LOOK: SqlFile = SqlFile::new(include_str!("../../sql/engine/look.sql"));
const TRUNCATED: SqlFile = SqlFile::new(include_str!("../../sql/engine/truncated.sql"));
pub(super) const ADVANCE: SqlFile = SqlFile::new(include_str!("../../sql/engine/advance.sql"));
pub(super) const LETTERS: SqlFile = SqlFile::new(include_str!("../../sql/engine/letters.sql"));
const TRACK: SqlFile = SqlFile::new(include_str!("../../sql/engine/track.sql"));

/// The statements that every round runs.
pub(super) struct Statements {
    pub(super) since: Statement,
    pub(super) look: Statement,
    pub(super) truncated: Statement,
    pub(super) track: Statement,
    pub(super) fence: Statement,
    pub(super) advance: Statement,
    /// `None`: the sync has no dead letters.
    pub(super) letters: Option<Statement>,
}

/// An open pair.
pub(super) struct Session {
    pub(super) begin: Begin,
    pub(super) source: Site,
    pub(super) target: Site,
    /// The source's cluster.
    pub(super) system_id: i64,
    /// Its timeline, which a promotion or a restore changes.
    pub(super) timeline: i64,
    pub(super) tables: Vec<Table>,
    pub(super) sequences: Sequences,
    pub(super) scout: Scout,
    /// Asked when changes are handed on; `None`: no sync reads the target.
    pub(super) questions: Option<Questions>,
    pub(super) statements: Statements,
    /// Of a sync with several sources: what the source says of the others.
    pub(super) hearsay: Option<Hearsay>,
    /// Sequences that cannot be read or set, and why.
    pub(super) unfit_sequences: Vec<Drift>,
    /// When the tables were last looked at.
    pub(super) checked: Option<Instant>,
}

impl Session {
    /// Connects both sides and prepares what every round needs.
    pub(super) async fn open(sync: &SyncDetail, id: &Pair) -> Result<Self, RoundError> {
        let name = format!("bucardo KID {} {}->{}", id.sync, id.source, id.target);
        let name = name.as_str();
        let (source, target) = tokio::try_join!(Site::of(sync, &id.source, name), Site::of(sync, &id.target, name))?;
        tokio::try_join!(
            source.run("setting up the session", SESSION_SOURCE.text()),
            target.run("setting up the session", SESSION_SOURCE.text()),
        )?;
        tokio::try_join!(source.remember(sync), target.remember(sync))?;
        let row = source.conn.query_one(SYSTEM_ID.text(), &[]).await.map_err(source.failed("reading its identity"))?;
        if sync.is_merging() {
            check_settled(&source, &id.sync).await?;
        }
        let tables = tables(sync, id, &source).await?;
        let sequences: Vec<(&Goat, Goat)> =
            sync.sequences().map(|goat| (goat, sync.goat_on(goat, &id.target))).collect();
        let (sequences, unfit_sequences) = sequences::fitting(sequences, &source, &target).await?;
        let sequences = Sequences::open(&sequences, &target).await?;
        let pending: Vec<Sql> = tables.iter().enumerate().map(|(place, table)| table.pending(place)).collect();
        let deltas: Vec<Sql> = tables.iter().map(|table| table.delta.clone()).collect();
        let scout = Scout::open((sync, name), &source, &deltas, &pending, &sequences.branches()).await?;
        let questions = match tables.iter().any(|table| table.handed_on.is_some()) {
            true => Questions::open(&target).await?,
            false => None,
        };
        let statements = Statements::prepare(sync, id, &source, &target).await?;
        let follows = sync.is_merging() && sync.role(&id.target) == Some(Role::Target);
        let hearsay = if follows { Some(Hearsay::prepare(&source, &target).await?) } else { None };
        Ok(Self {
            begin: Begin::changes(sync, &id.target),
            system_id: row.get("system_id"),
            timeline: row.get("timeline"),
            source,
            target,
            tables,
            sequences,
            scout,
            questions,
            statements,
            unfit_sequences,
            hearsay,
            checked: None,
        })
    }
}

/// Two tables in one would take each other's rows for their own. Custom names may have changed since the last validation.
pub(super) fn check_places(sync: &SyncDetail, goats: &[&Goat], target: &DbName) -> Result<(), RoundError> {
    let mut taken: HashMap<(String, String), &Goat> = HashMap::with_capacity(goats.len());
    for goat in goats {
        let there = sync.goat_on(goat, target);
        let label = there.label();
        let other = taken.insert((there.schema, there.name), goat);
        if let Some(other) = other.filter(|other| (&other.schema, &other.name) != (&goat.schema, &goat.name)) {
            let why = format!("table \"{}\" is \"{label}\" there, too", other.label());
            let table = goat.label();
            return Err(RoundError::Table { table, db: target.clone(), why });
        }
    }
    Ok(())
}

impl Session {
    /// Ends a session whose round failed.
    pub(super) async fn release(self) {
        release(&self.source, &self.target).await;
    }
}

/// Ends the transactions of a round that failed. The servers would roll back anyway when the sockets close, but only
/// when they notice; the next round should not find the fence held.
pub(super) async fn release(source: &Site, target: &Site) {
    // Whether they heard it makes no difference here.
    tokio::join!(target.give_up(), source.give_up());
}

/// The tables of the sync with what the source has registered for them.
async fn tables(sync: &SyncDetail, id: &Pair, source: &Site) -> Result<Vec<Table>, RoundError> {
    let target = &id.target;
    let (news, handed_on) = (news_for(&sync.name, target), handed_on(&sync.name, via(sync, &id.source)));
    let goats: Vec<&Goat> = sync.tables().collect();
    check_places(sync, &goats, target)?;
    let rows = source.conn.query(CAPTURED.text(), &[]).await.map_err(|error| match error.code() {
        Some(&tokio_postgres::error::SqlState::UNDEFINED_TABLE) => {
            RoundError::NotInstalled { what: "table bucardo.captured".to_owned(), db: source.db.clone() }
        }
        _ => source.failed("reading what is captured")(error),
    })?;
    let mut captured: HashMap<(&str, &str), (i32, Oid, &str)> = HashMap::with_capacity(rows.len());
    for row in &rows {
        let registered = (row.get("id"), row.get("relation"), row.get("deltaname"));
        captured.insert((row.get("schemaname"), row.get("tablename")), registered);
    }
    goats
        .into_iter()
        .map(|goat| {
            let label = goat.label();
            match captured.get(&(goat.schema.as_str(), goat.name.as_str())) {
                Some(&(id, oid, delta)) => {
                    let delta = Sql::qualified("bucardo", delta);
                    let (there, mapping) = (sync.goat_on(goat, target), sync.mapping(goat, target).cloned());
                    let handed_on = sync.makes_delta(goat, target).then(|| handed_on.clone());
                    let (goat, sync, news) = (goat.clone(), sync.name.clone(), news.clone());
                    Ok(Table {
                        goat,
                        there,
                        mapping,
                        label,
                        captured: id,
                        oid,
                        delta,
                        sync,
                        news,
                        handed_on,
                        ready: None,
                    })
                }
                None => Err(RoundError::NotInstalled {
                    what: format!("capture of table \"{label}\""),
                    db: source.db.clone(),
                }),
            }
        })
        .collect()
}

impl Statements {
    async fn prepare(sync: &SyncDetail, id: &Pair, source: &Site, target: &Site) -> Result<Self, RoundError> {
        let sync_name = &id.sync;
        let on_source = |sql: &str| {
            let sql = sql.to_owned();
            async move { source.conn.prepare(&sql).await.map_err(source.failed("preparing a round")) }
        };
        let on_target = |sql: &'static str| async move {
            target.conn.prepare(sql).await.map_err(|error| match error.code() {
                Some(&tokio_postgres::error::SqlState::UNDEFINED_COLUMN) => RoundError::NotInstalled {
                    what: "a column of table bucardo.position".to_owned(),
                    db: target.db.clone(),
                },
                Some(&tokio_postgres::error::SqlState::UNDEFINED_TABLE) => {
                    RoundError::NoPosition { sync: sync_name.to_string(), db: target.db.clone() }
                }
                _ => target.failed("preparing a round")(error),
            })
        };
        let news = news_for(&sync.name, &id.target);
        let handed_on = handed_on(&sync.name, via(sync, &id.source));
        let events = TRUNCATED.fill(&[("readable", &news), ("handed_on", &handed_on)]);
        let (since, look, truncated, track, fence, advance) = tokio::try_join!(
            on_source(SINCE.text()),
            on_source(LOOK.text()),
            on_source(&events),
            on_source(TRACK.text()),
            on_target(FENCE.text()),
            on_target(ADVANCE.text()),
        )?;
        let letters = if sync.deadletter { Some(on_target(LETTERS.text()).await?) } else { None };
        Ok(Self { since, look, truncated, track, fence, advance, letters })
    }
}
