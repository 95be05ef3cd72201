//! Deletes what every target has read.

use std::time::Duration;

use bucardo_actors::model::DbName;
use bucardo_actors::ports::Watch;

use super::install::exists;
use crate::pg::{Connection, Sql, SqlFile};

const FLOORS: SqlFile = SqlFile::new(include_str!("../../sql/source/purge_floors.sql"));
const BATCH: SqlFile = SqlFile::new(include_str!("../../sql/source/purge_batch.sql"));
const HELD_BACK: SqlFile = SqlFile::new(include_str!("../../sql/source/held_back.sql"));

/// How a purge goes about it.
#[derive(Clone, Copy, Debug)]
pub struct PurgeLimits {
    /// Rows younger than this stay.
    pub keep: Duration,
    /// Rows that one transaction deletes at most.
    pub batch_rows_max: u32,
    /// Unread rows older than this are worth telling.
    pub held_after: Duration,
}

impl Default for PurgeLimits {
    fn default() -> Self {
        Self { keep: Duration::from_secs(45), batch_rows_max: 10_000, held_after: Duration::from_secs(3600) }
    }
}

/// What a purge of one source did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// Delta rows deleted.
    pub rows: u64,
    /// Delta rows that wait for some target for longer than `held_after`.
    pub held_back: u64,
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

/// Purges the delta tables of one source. A source without any is no fault.
///
/// Each batch is a transaction of its own and takes no lock that a writer waits for. Stops between two batches when
/// `watch` says so.
///
/// # Errors
///
/// [`PurgeError`], with the table in hand.
pub async fn purge(source: &Connection, db: &DbName, limits: PurgeLimits, watch: &Watch) -> Result<Purged, PurgeError> {
    let failed = |table: &str| {
        let (db, table) = (db.clone(), table.to_owned());
        move |source| PurgeError { db, table, source }
    };
    let mut purged = Purged::default();
    if !exists(source, "bucardo.adopted").await.map_err(failed("schema bucardo"))? {
        return Ok(purged);
    }
    let floors = source.query(FLOORS.text(), &[]).await.map_err(failed("bucardo.captured"))?;
    let mut all = Read { positions: Vec::new(), ceiling: i64::MAX };
    for row in &floors {
        let name: &str = row.get("deltaname");
        let read = Read { positions: row.get("positions"), ceiling: row.get("ceiling") };
        let table = Sql::qualified("bucardo", name);
        purged.rows += purge_table(source, &table, &read, limits, watch).await.map_err(failed(name))?;
        let seconds = limits.held_after.as_secs_f64();
        let sql = HELD_BACK.fill(&[("delta", &table)]);
        let held: i64 =
            source.query_one(&sql, &[&read.positions, &seconds]).await.map_err(failed(name))?.get("changes");
        purged.held_back += held.unsigned_abs();
        all.ceiling = all.ceiling.min(read.ceiling);
        all.positions.extend(read.positions);
    }
    let table = Sql::qualified("bucardo", "truncated");
    purge_table(source, &table, &all, limits, watch).await.map_err(failed("truncated"))?;
    Ok(purged)
}

/// What has been read: visible in all positions, below the ceiling.
struct Read {
    positions: Vec<String>,
    ceiling: i64,
}

async fn purge_table(
    source: &Connection,
    table: &Sql,
    read: &Read,
    limits: PurgeLimits,
    watch: &Watch,
) -> Result<u64, tokio_postgres::Error> {
    let batch = source.prepare(&BATCH.fill(&[("delta", table)])).await?;
    let (keep, most) = (limits.keep.as_secs_f64(), i64::from(limits.batch_rows_max));
    let mut rows = 0;
    while !watch.stop().is_cancelled() {
        let deleted = source.execute(&batch, &[&read.positions, &read.ceiling, &keep, &most]).await?;
        watch.moved(1);
        rows += deleted;
        if deleted < u64::from(limits.batch_rows_max) {
            break;
        }
    }
    Ok(rows)
}
