//! What a sync with several sources may purge: only what is older than every change, of any source, that some reader
//! has not read and every transaction that is under way. And what tells it: positions that a target has learned from the source that it follows.

use std::collections::HashMap;

use bucardo_actors::model::{DbName, SyncName};
use chrono::{DateTime, Utc};
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;

use super::running::Running;
use crate::pg::{Connection, Sql, SqlFile};

const READERS: SqlFile = SqlFile::new(include_str!("../../sql/source/readers.sql"));
const SYNC_DELTAS: SqlFile = SqlFile::new(include_str!("../../sql/source/sync_deltas.sql"));
const UNREAD: SqlFile = SqlFile::new(include_str!("../../sql/source/oldest_unread.sql"));
const LOOK: SqlFile = SqlFile::new(include_str!("../../sql/source/oldest_look.sql"));
const POSITIONS: SqlFile = SqlFile::new(include_str!("../../sql/source/positions_of.sql"));
const CARRY: SqlFile = SqlFile::new(include_str!("../../sql/source/track_carry.sql"));

/// A snapshot in which nothing is visible.
const NOTHING: &str = "1:1:";

/// What earlier looks have found. While a reader stands still, only what was written since is looked at: a backlog is
/// gone through once.
#[derive(Debug, Default)]
pub struct Looks {
    unread: HashMap<(SyncName, DbName, String, Option<i32>), Look>,
    running: HashMap<(SyncName, DbName), Running>,
}

#[derive(Debug)]
struct Look {
    /// Where the reader was.
    position: String,
    /// What this look saw.
    seen: String,
    oldest: Option<DateTime<Utc>>,
}

impl Looks {
    /// The time before which no transaction has begun that is under way at `source` and may still make changes of `sync`:
    /// they count as old as it is, and come after what they were made on. `None`: it is not known yet.
    ///
    /// # Errors
    ///
    /// The server's.
    pub async fn oldest_running(
        &mut self,
        source: &Connection,
        db: &DbName,
        sync: &SyncName,
    ) -> Result<Option<DateTime<Utc>>, tokio_postgres::Error> {
        self.running.entry((sync.clone(), db.clone())).or_default().look(source, sync).await
    }

    /// The time of the oldest change at `source` that some reader of `sync` has not read, or that the source itself has
    /// not settled, as it could not be written when the others read it: changes that count together must not be forgotten
    /// one by one. `None`: there is none.
    ///
    /// # Errors
    ///
    /// The server's.
    pub async fn oldest_unread(
        &mut self,
        source: &Connection,
        db: &DbName,
        sync: &SyncName,
    ) -> Result<Option<DateTime<Utc>>, tokio_postgres::Error> {
        let deltas = source.query(SYNC_DELTAS.text(), &[&sync.as_str()]).await?;
        let mut oldest: Option<DateTime<Utc>> = None;
        let readers = source.query(READERS.text(), &[&sync.as_str()]).await?;
        let readers = readers.iter().map(|row| (row.get("target"), row.get("snapshot"), row.get("captured")));
        let settled = settled(source, db, sync).await?.map(|position| (db.to_string(), position, None));
        let readers: Vec<(String, String, Option<i32>)> = readers.chain(settled).collect();
        for (reader, position, captured) in readers {
            let sql = LOOK.fill(&[("branches", &branches(&deltas, captured))]);
            let key = (sync.clone(), db.clone(), reader, captured);
            let before = self.unread.remove(&key).filter(|look| look.position == position);
            let seen = before.as_ref().map_or(NOTHING, |look| look.seen.as_str());
            let row = source.query_one(&sql, &[&position, &seen, &sync.as_str()]).await?;
            let found = [before.and_then(|look| look.oldest), row.get("oldest")].into_iter().flatten().min();
            self.unread.insert(key, Look { position, seen: row.get("seen"), oldest: found });
            oldest = [oldest, found].into_iter().flatten().min();
        }
        Ok(oldest)
    }
}

/// How far a source has settled its own changes, which its merges note; `None`: it has had none.
async fn settled(source: &Connection, db: &DbName, sync: &SyncName) -> Result<Option<String>, tokio_postgres::Error> {
    match positions(source, sync).await {
        Ok(positions) => Ok(positions.into_iter().find(|(of, ..)| of == db).map(|(_, position, _)| position)),
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The question about all tables of a sync, or about one that a reader has put aside.
fn branches(deltas: &[Row], captured: Option<i32>) -> Sql {
    let branch = |delta: Sql, wanted: &str| {
        Sql::trusted(UNREAD.fill(&[("delta", &delta), ("wanted", &Sql::trusted(wanted.to_owned()))]))
    };
    let asked = deltas.iter().filter(|row| captured.is_none_or(|captured| row.get::<_, i32>("captured") == captured));
    let asked = asked.map(|row| branch(Sql::qualified("bucardo", row.get("deltaname")), "$3::text IS NOT NULL"));
    let events = match captured {
        Some(captured) => format!("d.captured = {captured} AND $3::text IS NOT NULL"),
        None => "d.captured IN (SELECT s.captured FROM bucardo.captured_sync AS s WHERE s.sync = $3::text)".to_owned(),
    };
    Sql::join(asked.chain([branch(Sql::qualified("bucardo", "truncated"), &events)]), " UNION ALL ")
}

/// How far a reader is at each source of a sync, and after how many rounds.
///
/// # Errors
///
/// The server's: `undefined_table` when the reader has never been installed.
pub async fn positions(
    reader: &Connection,
    sync: &SyncName,
) -> Result<Vec<(DbName, String, i64)>, tokio_postgres::Error> {
    let rows = reader.query(POSITIONS.text(), &[&sync.as_str()]).await?;
    Ok(rows.iter().map(|row| (row.get::<_, &str>("source").into(), row.get("snapshot"), row.get("round"))).collect())
}

/// Tells `source` how far `reader` is, by the reader's own account after `round` rounds with it.
///
/// # Errors
///
/// The server's.
pub async fn carry(
    source: &Connection,
    sync: &SyncName,
    reader: &DbName,
    (position, round): (&str, i64),
) -> Result<(), tokio_postgres::Error> {
    source.execute(CARRY.text(), &[&sync.as_str(), &reader.as_str(), &position, &round]).await?;
    Ok(())
}
