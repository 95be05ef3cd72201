//! Sources that keep more changes for a target than their budget allows: written by the VAC, shown by `status`.

use std::time::SystemTime;

use bucardo_actors::model::DbName;
use serde::Serialize;
use tokio_postgres::GenericClient;

use super::CatalogError;
use super::query::{Query, query};

const NOTE: Query = query!("note a queue that is over its budget", "queue_note");
const RETAIN: Query = query!("forget the queues that are within their budget", "queue_retain");
const LIST: Query = query!("read the queues that are over their budget", "queue_list");

/// A queue that is over its budget, or was until its reader was given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OverBudget {
    /// The source.
    pub db: String,
    /// The sync of the reader that lags.
    #[serde(skip)]
    pub sync: String,
    /// The reader.
    pub target: String,
    /// Since when.
    pub since: chrono::DateTime<chrono::Local>,
    /// How many changes waited when it was last seen.
    pub changes: i64,
    /// What they took, in bytes.
    pub bytes: i64,
    /// When the oldest of them was made.
    pub oldest: chrono::DateTime<chrono::Local>,
    /// Which bound is passed.
    pub why: String,
    /// What was done about it; `None`: it was only said.
    pub done: Option<String>,
}

/// What the VAC has seen of one reader.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// The source, the sync, the reader.
    pub place: (&'a str, &'a str, &'a str),
    /// Changes and bytes that wait.
    pub size: (i64, i64),
    /// When the oldest change was made.
    pub oldest: SystemTime,
    /// Which bound is passed.
    pub why: &'a str,
    /// What was done.
    pub done: Option<&'a str>,
}

/// Notes that a queue is over its budget.
///
/// # Errors
///
/// [`CatalogError::Sql`].
pub async fn note(client: &impl GenericClient, seen: Seen<'_>) -> Result<(), CatalogError> {
    let (db, sync, target) = seen.place;
    let (changes, bytes) = seen.size;
    NOTE.execute(client, &[&db, &sync, &target, &changes, &bytes, &seen.oldest, &seen.why, &seen.done]).await.map(drop)
}

/// Forgets the queues of `dbs` but for those at `places` (source, sync, reader).
///
/// # Errors
///
/// [`CatalogError::Sql`].
pub async fn retain(
    client: &impl GenericClient,
    dbs: &[DbName],
    places: &[(&str, &str, &str)],
) -> Result<(), CatalogError> {
    let dbs: Vec<&str> = dbs.iter().map(DbName::as_str).collect();
    let at: Vec<&str> = places.iter().map(|place| place.0).collect();
    let syncs: Vec<&str> = places.iter().map(|place| place.1).collect();
    let targets: Vec<&str> = places.iter().map(|place| place.2).collect();
    RETAIN.execute(client, &[&dbs, &at, &syncs, &targets]).await.map(drop)
}

/// All queues that are over their budget.
///
/// # Errors
///
/// [`CatalogError::Sql`].
pub async fn list(client: &impl GenericClient) -> Result<Vec<OverBudget>, CatalogError> {
    let read = |row: &tokio_postgres::Row| OverBudget {
        db: row.get("db"),
        sync: row.get("sync"),
        target: row.get("target"),
        since: row.get("since"),
        changes: row.get("changes"),
        bytes: row.get("bytes"),
        oldest: row.get("oldest"),
        why: row.get("why"),
        done: row.get("done"),
    };
    Ok(LIST.rows(client, &[]).await?.iter().map(read).collect())
}
