//! How far the targets of a sync are, as its source knows: delivered rows, waiting changes, their age and size.
//!
//! A backlog may be larger than anybody wants to count. Of each table and reader [`COUNTED_MAX`] changes are counted,
//! along the index; what is beyond is estimated from what the server knows of the table anyway.

use std::collections::HashMap;

use bucardo_actors::model::{DbName, SyncName};
use chrono::{DateTime, Utc};

use super::given_up::GivenUp;
use super::origin::readable;
use crate::pg::{Connection, Sql, SqlFile};

const TRACKS: SqlFile = SqlFile::new(include_str!("../../sql/source/tracks.sql"));
const FILLED: SqlFile = SqlFile::new(include_str!("../../sql/source/filled_deltas.sql"));
const WAITING: SqlFile = SqlFile::new(include_str!("../../sql/source/waiting.sql"));
const ALONG_INDEX: SqlFile = SqlFile::new(include_str!("../../sql/source/along_index.sql"));
const EXTENT: SqlFile = SqlFile::new(include_str!("../../sql/source/delta_extent.sql"));

/// So many waiting changes of one table are counted for one reader; more are estimated.
pub const COUNTED_MAX: i64 = 10_000;
/// Tables that one statement looks at.
const TABLES_AT_ONCE: usize = 50;

/// One target of a sync.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetState {
    /// The target.
    pub target: DbName,
    /// Rounds that it has committed.
    pub rounds: i64,
    /// Rows deleted there since it joined the sync.
    pub deletes: i64,
    /// Rows written there since it joined the sync.
    pub inserts: i64,
    /// Changes (delta rows) that it has not read.
    pub waiting: i64,
    /// What these take at the source, in bytes.
    pub waiting_bytes: i64,
    /// There are too many to count: both numbers are estimates.
    pub is_estimate: bool,
    /// When the oldest of them was made, by the source's clock.
    pub oldest: Option<DateTime<Utc>>,
    /// Nothing is kept for it, until it has a copy.
    pub given_up: Option<GivenUp>,
    /// When its last round was noted.
    pub updated: DateTime<Utc>,
    /// The source's clock now, to compare the times with.
    pub now: DateTime<Utc>,
}

/// What one reader has not read of one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Its sync.
    pub sync: SyncName,
    /// The reader.
    pub target: DbName,
    /// The source's number of the table.
    pub captured: i32,
    /// How many changes.
    pub changes: i64,
    /// What they take, in bytes.
    pub bytes: i64,
    /// There are too many to count.
    pub is_estimate: bool,
    /// When the oldest of them was made, by the source's clock.
    pub oldest: DateTime<Utc>,
    /// The source's clock now.
    pub now: DateTime<Utc>,
}

/// What the server knows of a delta table without reading it.
#[derive(Clone, Copy, Debug)]
struct Extent {
    live: i64,
    bytes: i64,
    first: i64,
    last: i64,
}

impl Extent {
    /// How many rows a reader has before it that begins at transaction `from`; at least those that were `counted`, of
    /// which one takes `row_bytes`.
    fn rows_from(self, from: i64, counted: i64, row_bytes: i64) -> i64 {
        // After a crash of the server its statistics begin anew; the size of the file does not.
        let rows = if self.live > counted { self.live } else { self.bytes / row_bytes.max(1) };
        let span = |from: i64| i128::from((self.last - from).max(0)) + 1;
        let share = i128::from(rows) * span(from.max(self.first)) / span(self.first);
        i64::try_from(share).unwrap_or(i64::MAX).max(counted)
    }
}

/// The targets of `sync`, at a bounded price. Changes of a table that a target has put aside wait for it.
///
/// # Errors
///
/// The server's: `undefined_table` when nothing has ever been installed there.
pub async fn waiting(source: &Connection, sync: &SyncName) -> Result<Vec<TargetState>, tokio_postgres::Error> {
    let mut states: Vec<TargetState> = source
        .query(TRACKS.text(), &[&sync.as_str()])
        .await?
        .iter()
        .map(|row| TargetState {
            target: row.get::<_, &str>("target").into(),
            rounds: row.get("round"),
            deletes: row.get("deletes"),
            inserts: row.get("inserts"),
            waiting: 0,
            waiting_bytes: 0,
            is_estimate: false,
            oldest: None,
            given_up: GivenUp::of(row.get("mark")),
            updated: row.get("updated"),
            now: row.get("now"),
        })
        .collect();
    for found in backlog(source, Some(sync), true).await? {
        if let Some(state) = states.iter_mut().find(|state| state.target == found.target) {
            state.waiting += found.changes;
            state.waiting_bytes += found.bytes;
            state.is_estimate |= found.is_estimate;
            state.oldest = [state.oldest, Some(found.oldest)].into_iter().flatten().min();
        }
    }
    Ok(states)
}

/// What waits for the readers of one sync, or of all: an entry for each reader and table with anything. `with_held`: also
/// what is kept for tables that a reader has put aside. The session is in no transaction.
///
/// # Errors
///
/// The server's; then the session is left in a transaction that has failed.
pub async fn backlog(
    source: &Connection,
    sync: Option<&SyncName>,
    with_held: bool,
) -> Result<Vec<Waiting>, tokio_postgres::Error> {
    source.batch_execute(ALONG_INDEX.text()).await?;
    let found = look(source, sync, with_held).await?;
    source.batch_execute("COMMIT").await?;
    Ok(found)
}

async fn look(
    source: &Connection,
    sync: Option<&SyncName>,
    with_held: bool,
) -> Result<Vec<Waiting>, tokio_postgres::Error> {
    let sync = sync.map(SyncName::as_str);
    let [origin, of, db] = ["d.origin", "t.sync", "t.target"].map(Sql::trusted);
    let news = readable(&origin, &of, &db);
    let filled = source.query(FILLED.text(), &[&sync]).await?;
    let tables: Vec<(i32, Sql)> =
        filled.iter().map(|row| (row.get("id"), Sql::qualified("bucardo", row.get("deltaname")))).collect();
    let mut found = Vec::new();
    let mut extents = HashMap::new();
    for tables in tables.chunks(TABLES_AT_ONCE) {
        let branches = tables.iter().map(|(captured, delta)| {
            let captured = Sql::trusted(captured.to_string());
            Sql::trusted(WAITING.fill(&[("delta", delta), ("captured", &captured), ("readable", &news)]))
        });
        for row in source.query(Sql::join(branches, " UNION ALL ").as_str(), &[&sync, &COUNTED_MAX, &with_held]).await?
        {
            let mut waiting = Waiting {
                sync: row.get::<_, &str>("sync").into(),
                target: row.get::<_, &str>("target").into(),
                captured: row.get("captured"),
                changes: row.get("changes"),
                bytes: row.get("bytes"),
                is_estimate: false,
                oldest: row.get("oldest"),
                now: row.get("now"),
            };
            let delta = tables.iter().find(|(captured, _)| *captured == waiting.captured).map(|(_, delta)| delta);
            if let Some(delta) = delta.filter(|_| waiting.changes >= COUNTED_MAX) {
                let extent = match extents.get(&waiting.captured) {
                    Some(extent) => *extent,
                    None => {
                        let extent = extent(source, delta).await?;
                        extents.insert(waiting.captured, extent);
                        extent
                    }
                };
                let row_bytes = waiting.bytes / waiting.changes;
                waiting.changes = extent.rows_from(row.get("first"), waiting.changes, row_bytes);
                waiting.bytes = waiting.changes.saturating_mul(row_bytes);
                waiting.is_estimate = true;
            }
            found.push(waiting);
        }
    }
    Ok(found)
}

async fn extent(source: &Connection, delta: &Sql) -> Result<Extent, tokio_postgres::Error> {
    let sql = EXTENT.fill(&[("delta", delta), ("name", &Sql::literal(delta.as_str()))]);
    let row = source.query_one(&sql, &[]).await?;
    Ok(Extent { live: row.get("live"), bytes: row.get("bytes"), first: row.get("first"), last: row.get("last") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_beyond_the_count_is_estimated_from_the_table() {
        let extent = Extent { live: 1_000_000, bytes: 90_000_000, first: 1000, last: 10_999 };
        assert_eq!(extent.rows_from(1000, 10_000, 90), 1_000_000);
        assert_eq!(extent.rows_from(500, 10_000, 90), 1_000_000, "what was before the table began is not in it");
        assert_eq!(extent.rows_from(6000, 10_000, 90), 500_000);
        assert_eq!(extent.rows_from(20_000, 10_000, 90), 10_000, "what was counted is there");
        let unknown = Extent { live: 0, ..extent };
        assert_eq!(unknown.rows_from(1000, 10_000, 90), 1_000_000, "the file has so many rows");
    }
}
