//! Pairs that do not replicate at present, as the daemon notes them: a sync is not well while one of its targets is not.

use std::time::SystemTime;

use bucardo_actors::model::{Fault, KidId, Work};
use serde::Serialize;
use tokio_postgres::GenericClient;

use super::CatalogError;
use super::query::{Query, query};

const NOTE: Query = query!("note the trouble of a pair", "trouble_note");
const OVER: Query = query!("note the end of the trouble of a pair", "trouble_over");
const CLEAR: Query = query!("forget the troubles of a former daemon", "trouble_clear");
const LIST: Query = query!("read which pairs are in trouble", "trouble_list");

/// A pair whose last round failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Trouble {
    /// The sync.
    #[serde(skip)]
    pub sync: String,
    /// The source.
    #[serde(skip)]
    pub source: String,
    /// The target.
    #[serde(skip)]
    pub target: String,
    /// When it first failed since it last went well.
    pub since: chrono::DateTime<chrono::Local>,
    /// How often it has failed since.
    pub failures: i64,
    /// When it is tried again.
    pub next_try: Option<chrono::DateTime<chrono::Local>>,
    /// Why.
    pub why: String,
    /// What a person can do.
    pub hint: Option<String>,
}

/// Notes a failure of `kid`, which is tried again at `next_try`.
///
/// # Errors
///
/// [`CatalogError::Sql`].
pub async fn note(
    client: &impl GenericClient,
    kid: &KidId,
    at: SystemTime,
    next_try: Option<SystemTime>,
    fault: &Fault,
) -> Result<(), CatalogError> {
    let (sync, source, target) = place(kid);
    NOTE.execute(client, &[&sync, &source, &target, &at, &next_try, &fault.message, &fault.hint]).await.map(drop)
}

/// Notes that `kid` went well.
///
/// # Errors
///
/// [`CatalogError::Sql`].
pub async fn over(client: &impl GenericClient, kid: &KidId) -> Result<(), CatalogError> {
    let (sync, source, target) = place(kid);
    OVER.execute(client, &[&sync, &source, &target]).await.map(drop)
}

/// How a KID stands in the table; empty where it means no one database.
fn place(kid: &KidId) -> (&str, &str, &str) {
    let sync = kid.sync.as_str();
    match &kid.work {
        Work::Pair { source, target } => (sync, source.as_str(), target.as_str()),
        Work::Follow { target } => (sync, "", target.as_str()),
        Work::Merge => (sync, "", ""),
    }
}

/// Forgets all troubles.
///
/// # Errors
///
/// [`CatalogError::Sql`].
pub async fn clear(client: &impl GenericClient) -> Result<(), CatalogError> {
    CLEAR.execute(client, &[]).await.map(drop)
}

/// All pairs in trouble.
///
/// # Errors
///
/// [`CatalogError::Sql`].
pub async fn list(client: &impl GenericClient) -> Result<Vec<Trouble>, CatalogError> {
    let read = |row: &tokio_postgres::Row| Trouble {
        sync: row.get("sync"),
        source: row.get("source"),
        target: row.get("target"),
        since: row.get("since"),
        failures: row.get("failures"),
        next_try: row.get("next_try"),
        why: row.get("why"),
        hint: row.get("hint"),
    };
    Ok(LIST.rows(client, &[]).await?.iter().map(read).collect())
}
