//! Purges the sources of all syncs together: each on its own, but those of a merge can only say together how far.

use std::collections::BTreeMap;
use std::sync::Arc;

use bucardo_actors::model::{DbName, Failure, Fault};
use bucardo_actors::ports::Watch;
use chrono::{DateTime, Utc};
use futures_util::future::join_all;
use tokio_postgres::error::SqlState;
use tracing::{debug, warn};

use super::floor::{self, Looks};
use super::purge::{Bound, Bounds, PurgeError, PurgeLimits, Purged, TableName, purge_within, survey};
use crate::catalog::{Role, SyncDetail};
use crate::pg::{Access, ConnectError, Connection, causes, classify, connect};

/// The sources that can be reached.
type Open = BTreeMap<DbName, Connection>;

/// Sources to be purged, and which tables there; `None`: all of them.
pub type Chosen = BTreeMap<DbName, Option<Vec<TableName>>>;

/// Why one source was not purged, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum PurgingError {
    /// It cannot be reached.
    #[error("cannot connect to database \"{db}\"")]
    Connect {
        /// The source.
        db: DbName,
        /// Why.
        source: ConnectError,
    },
    /// It refused.
    #[error(transparent)]
    Purge(#[from] PurgeError),
}

/// The databases that are purged: active sources of syncs that run and capture changes.
#[must_use]
pub fn sources(syncs: &[Arc<SyncDetail>]) -> BTreeMap<DbName, Access> {
    let captured = syncs.iter().filter(|sync| sync.status != "inactive" && !sync.is_fullcopy());
    let sources = captured.flat_map(|sync| sync.dbs(Role::Source));
    let usable = sources.filter(|db| db.active && db.kind == "postgres");
    usable.map(|db| (db.name.clone(), db.access.clone())).collect()
}

/// Purges the chosen ones of [`sources`], all at the same time; one that is slow or away holds up no other one. Returns
/// what became of each. `name` is what the sessions are called.
///
/// # Errors
///
/// Only what a test's hook asks for.
pub async fn purge_sources(
    syncs: &[Arc<SyncDetail>],
    chosen: &Chosen,
    limits: PurgeLimits,
    looks: &mut Looks,
    (name, watch): (&str, &Watch),
) -> Result<BTreeMap<DbName, Result<Purged, PurgingError>>, Fault> {
    let mut outcomes = BTreeMap::new();
    // A sync with several sources, whatever becomes of it at present: what one of them has not read stays.
    let merging: Vec<&SyncDetail> =
        syncs.iter().map(|sync| &**sync).filter(|sync| sync.dbs(Role::Source).nth(1).is_some()).collect();
    let concerned = |db: &DbName| {
        let has = |sync: &&SyncDetail| sync.dbs(Role::Source).any(|source| source.name == *db);
        let with_chosen = |sync: &&SyncDetail| sync.dbs(Role::Source).any(|db| chosen.contains_key(&db.name));
        chosen.contains_key(db) || merging.iter().any(|sync| has(sync) && with_chosen(sync))
    };
    let needed: BTreeMap<DbName, Access> = sources(syncs).into_iter().filter(|(db, _)| concerned(db)).collect();
    watch.at("connecting to the sources").await?;
    let connected = join_all(needed.iter().map(async |(db, access)| {
        let connected = Box::pin(connect(access, name)).await;
        watch.moved(1);
        (db.clone(), connected)
    }));
    let mut open = Open::new();
    for (db, connected) in connected.await {
        match connected {
            Ok(source) => drop(open.insert(db, source)),
            Err(source) if chosen.contains_key(&db) => {
                outcomes.insert(db.clone(), Err(PurgingError::Connect { db, source }));
            }
            Err(error) => debug!(%db, error = causes(&error), "what it has unread is not known"),
        }
    }
    watch.at("looking who has read what").await?;
    for sync in merging.iter().filter(|sync| sync.dbs(Role::Source).any(|db| open.contains_key(&db.name))) {
        carry(sync, &open, name, watch).await;
    }
    // Who has read what comes first, what is unread second: a change is never both read by all and unknown.
    let mut surveys = Vec::new();
    for (db, source) in open.iter().filter(|(db, _)| chosen.contains_key(*db)) {
        match survey(source, db).await {
            Ok(survey) => surveys.push((db, source, survey)),
            Err(error) => drop(outcomes.insert(db.clone(), Err(error.into()))),
        }
    }
    let bounds = &bounds(&merging, &open, looks, watch).await;
    let purging = surveys.iter().map(async |(db, source, survey)| {
        watch.at(&format!("purging {db}")).await?;
        let tables = chosen.get(*db).and_then(Option::as_deref);
        let purged = purge_within(source, db, (survey, bounds), tables, limits, watch).await;
        Ok::<_, Fault>(((*db).clone(), purged.map_err(PurgingError::from)))
    });
    for outcome in join_all(purging).await {
        let (db, outcome) = outcome?;
        outcomes.insert(db, outcome);
    }
    Ok(outcomes)
}

/// Tells the sources what the targets that follow one of them have read of the others. What cannot be told now holds
/// changes back until it can.
async fn carry(sync: &SyncDetail, sources: &Open, name: &str, watch: &Watch) {
    for target in sync.dbs(Role::Target).filter(|db| db.active) {
        watch.moved(1);
        let reader = match Box::pin(connect(&target.access, name)).await {
            Ok(reader) => reader,
            Err(error) => {
                debug!(sync = %sync.name, db = %target.name, error = causes(&error), "what it has read is not known");
                continue;
            }
        };
        if let Err(error) = carry_from(sync, &reader, &target.name, sources).await {
            untold(sync, &target.name, &error, "what the target has read cannot be told to its sources");
        }
    }
}

/// Time heals a server that is away. What does not heal would let the sources grow without a word.
fn untold(sync: &SyncDetail, db: &DbName, error: &tokio_postgres::Error, what: &str) {
    let never_installed = error.code() == Some(&SqlState::UNDEFINED_TABLE);
    let (failure, error) = (classify(error), causes(error));
    if failure == Failure::Permanent && !never_installed {
        let hint = "nothing of the sync is purged meanwhile; \"bucardo validate\" tells more";
        warn!(sync = %sync.name, %db, error, hint, "{what}");
    } else {
        debug!(sync = %sync.name, %db, error, "{what}");
    }
}

async fn carry_from(
    sync: &SyncDetail,
    reader: &Connection,
    target: &DbName,
    sources: &Open,
) -> Result<(), tokio_postgres::Error> {
    for (source, position, round) in floor::positions(reader, &sync.name).await? {
        if let Some(source) = sources.get(&source) {
            floor::carry(source, &sync.name, target, (&position, round)).await?;
        }
    }
    Ok(())
}

/// How far each sync with several sources may be purged. One with a source that cannot be asked is not purged at all.
async fn bounds(syncs: &[&SyncDetail], sources: &Open, looks: &mut Looks, watch: &Watch) -> Bounds {
    let mut bounds = Bounds::new();
    for sync in syncs {
        let bound = bound(sync, sources, looks, watch).await.unwrap_or_else(|why| {
            debug!(sync = %sync.name, why, "nothing is purged: what its sources have unread, or will have, is not known");
            Bound::Unknown
        });
        bounds.insert(sync.name.clone(), bound);
    }
    bounds
}

async fn bound(sync: &SyncDetail, sources: &Open, looks: &mut Looks, watch: &Watch) -> Result<Bound, String> {
    let (mut oldest, mut unknown) = (DateTime::<Utc>::MAX_UTC, Vec::new());
    for db in sync.dbs(Role::Source) {
        watch.moved(1);
        let source = sources.get(&db.name).ok_or_else(|| format!("database \"{}\" is away", db.name))?;
        let failed = |error| {
            untold(sync, &db.name, &error, "what the sources of a sync have unread is not known");
            causes(&error)
        };
        // What commits after this look is unread in the next.
        match looks.oldest_running(source, &db.name, &sync.name).await.map_err(failed)? {
            Some(began) => oldest = oldest.min(began),
            None => unknown.push(format!("\"{}\"", db.name)),
        }
        let unread = looks.oldest_unread(source, &db.name, &sync.name).await.map_err(failed)?;
        oldest = unread.map_or(oldest, |unread| oldest.min(unread));
    }
    if unknown.is_empty() {
        return Ok(Bound::Before(oldest));
    }
    Err(format!("nobody tells when transactions in database {} have begun", unknown.join(", ")))
}
