//! How far the targets of a sync are, as its source knows: delivered rows, waiting changes, their age.

use std::collections::HashMap;

use bucardo_actors::model::{DbName, SyncName};
use chrono::{DateTime, Utc};

use super::origin::readable;
use crate::pg::{Connection, Sql, SqlFile};

const TRACKS: SqlFile = SqlFile::new(include_str!("../../sql/source/tracks.sql"));
const SYNC_DELTAS: SqlFile = SqlFile::new(include_str!("../../sql/source/sync_deltas.sql"));
const WAITING: SqlFile = SqlFile::new(include_str!("../../sql/source/waiting.sql"));

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
    /// When the oldest of them was made, by the source's clock.
    pub oldest: Option<DateTime<Utc>>,
    /// When its last round was noted.
    pub updated: DateTime<Utc>,
    /// The source's clock now, to compare the times with.
    pub now: DateTime<Utc>,
}

/// The targets of `sync`. Counting takes time in proportion to what waits.
///
/// # Errors
///
/// The server's: `undefined_table` when nothing has ever been installed there.
pub async fn waiting(source: &Connection, sync: &SyncName) -> Result<Vec<TargetState>, tokio_postgres::Error> {
    let name = sync.as_str();
    let mut states: Vec<TargetState> = source
        .query(TRACKS.text(), &[&name])
        .await?
        .iter()
        .map(|row| TargetState {
            target: row.get::<_, &str>("target").into(),
            rounds: row.get("round"),
            deletes: row.get("deletes"),
            inserts: row.get("inserts"),
            waiting: 0,
            oldest: None,
            updated: row.get("updated"),
            now: row.get("now"),
        })
        .collect();
    let deltas = source.query(SYNC_DELTAS.text(), &[&name]).await?;
    if deltas.is_empty() {
        return Ok(states);
    }
    let [origin, sync_column, db] = ["d.origin", "t.sync", "t.target"].map(Sql::trusted);
    let news = readable(&origin, &sync_column, &db);
    let branches = deltas.iter().map(|row| {
        let delta = Sql::qualified("bucardo", row.get("deltaname"));
        Sql::trusted(WAITING.fill(&[("delta", &delta), ("readable", &news)]))
    });
    let mut waiting: HashMap<String, (i64, Option<DateTime<Utc>>)> = HashMap::new();
    for row in source.query(Sql::join(branches, " UNION ALL ").as_str(), &[&name]).await? {
        let entry = waiting.entry(row.get("target")).or_default();
        entry.0 += row.get::<_, i64>("changes");
        entry.1 = [entry.1, row.get("oldest")].into_iter().flatten().min();
    }
    for state in &mut states {
        (state.waiting, state.oldest) = waiting.get(state.target.as_str()).copied().unwrap_or_default();
    }
    Ok(states)
}
