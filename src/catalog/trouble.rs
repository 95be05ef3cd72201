//! What does not replicate at present, as the daemon notes it: a sync is not well while one of its targets is not.
//!
//! A row names the pair. Where several sources are merged, the merge itself has neither source nor target, a target that
//! follows one of them has no source, and a source that is away has no target.

use std::time::SystemTime;

use bucardo_actors::model::{DbName, Fault, KidId, SyncName, Work};
use serde::Serialize;
use tokio_postgres::GenericClient;

use super::CatalogError;
use super::query::{Query, query};

const NOTE: Query = query!("note a trouble", "trouble_note");
const ASIDE: Query = query!("note the tables that a pair has put aside", "trouble_aside");
const OVER: Query = query!("note the end of a trouble", "trouble_over");
const BACK: Query = query!("note which sources are back", "trouble_back");
const RETAIN: Query = query!("forget the troubles of work that nobody does any more", "trouble_retain");
const CLEAR: Query = query!("forget the troubles of a former daemon", "trouble_clear");
const LIST: Query = query!("read the troubles", "trouble_list");

/// Work whose last round failed, or a source that is away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Trouble {
    /// The sync.
    #[serde(skip)]
    pub sync: String,
    /// The source; empty: no one source.
    #[serde(skip)]
    pub source: String,
    /// The target; empty: all sources.
    #[serde(skip)]
    pub target: String,
    /// When it first failed since it last went well.
    pub since: chrono::DateTime<chrono::Local>,
    /// How often it has failed since; 0: it goes on, but for some tables.
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

/// Notes that `kid` goes well but for some tables, which `why` names.
///
/// # Errors
///
/// [`CatalogError::Sql`].
pub async fn aside(client: &impl GenericClient, kid: &KidId, at: SystemTime, why: &str) -> Result<(), CatalogError> {
    let (sync, source, target) = place(kid);
    let hint = format!("what is quarantined comes back by itself when its cause is gone; at once: bucardo kick {sync}");
    ASIDE.execute(client, &[&sync, &source, &target, &at, &why, &hint]).await.map(drop)
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

impl Trouble {
    /// A source that is away, while the others are merged: the sync itself is well.
    #[must_use]
    pub fn is_away(&self) -> bool {
        self.target.is_empty() && !self.source.is_empty()
    }

    /// The merge of the sources as a whole.
    #[must_use]
    pub fn is_merge(&self) -> bool {
        self.target.is_empty() && self.source.is_empty()
    }
}

/// Notes which sources the merge of `sync` did without, and that all others take part again.
///
/// # Errors
///
/// [`CatalogError::Sql`].
pub async fn note_away(
    client: &impl GenericClient,
    sync: &SyncName,
    at: SystemTime,
    away: &[(DbName, String)],
) -> Result<(), CatalogError> {
    let dbs: Vec<&str> = away.iter().map(|(db, _)| db.as_str()).collect();
    BACK.execute(client, &[&sync.as_str(), &dbs]).await?;
    let (no_time, no_hint) = (None::<SystemTime>, None::<String>);
    for (db, why) in away {
        NOTE.execute(client, &[&sync.as_str(), &db.as_str(), &"", &at, &no_time, why, &no_hint]).await?;
    }
    Ok(())
}

/// Forgets the troubles of KIDs that are not among `kids`, and of sources that none of them merges. `sources` are those
/// of each sync.
///
/// # Errors
///
/// [`CatalogError::Sql`].
pub async fn retain(
    client: &impl GenericClient,
    kids: &[KidId],
    sources: &[(SyncName, DbName)],
) -> Result<(), CatalogError> {
    let merges = |sync: &SyncName| kids.iter().any(|kid| kid.work == Work::Merge && kid.sync == *sync);
    let away = sources.iter().filter(|(sync, _)| merges(sync)).map(|(sync, db)| (sync.as_str(), db.as_str(), ""));
    let places: Vec<(&str, &str, &str)> = kids.iter().map(place).chain(away).collect();
    let syncs: Vec<&str> = places.iter().map(|place| place.0).collect();
    let from: Vec<&str> = places.iter().map(|place| place.1).collect();
    let to: Vec<&str> = places.iter().map(|place| place.2).collect();
    RETAIN.execute(client, &[&syncs, &from, &to]).await.map(drop)
}

/// Forgets all troubles.
///
/// # Errors
///
/// [`CatalogError::Sql`].
pub async fn clear(client: &impl GenericClient) -> Result<(), CatalogError> {
    CLEAR.execute(client, &[]).await.map(drop)
}

/// All troubles.
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
