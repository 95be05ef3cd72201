//! How far the syncs with several sources may be purged: asked of all their databases.

use std::collections::BTreeMap;

use bucardo_actors::model::DbName;
use bucardo_actors::ports::Watch;
use chrono::{DateTime, Utc};
use tracing::debug;

use super::lease::application_name;
use crate::catalog::{Role, SyncDetail};
use crate::pg::{Connection, causes, connect};
use crate::source::floor::{self, Looks};
use crate::source::purge::{Bound, Bounds};

/// The sources that can be reached.
pub(super) type Open = BTreeMap<DbName, Connection>;

/// Tells the sources what the targets that follow one of them have read of the others. What cannot be told now holds
/// changes back until it can.
pub(super) async fn carry(sync: &SyncDetail, sources: &Open, watch: &Watch) {
    for target in sync.dbs(Role::Target).filter(|db| db.active) {
        watch.moved(1);
        let reader = match Box::pin(connect(&target.access, &application_name("VAC"))).await {
            Ok(reader) => reader,
            Err(error) => {
                debug!(sync = %sync.name, db = %target.name, error = causes(&error), "what it has read is not known");
                continue;
            }
        };
        if let Err(error) = carry_from(sync, &reader, &target.name, sources).await {
            debug!(sync = %sync.name, db = %target.name, error = causes(&error), "what it has read cannot be told");
        }
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

/// How far each sync may be purged. One with a source that cannot be asked is not purged at all.
pub(super) async fn bounds(
    syncs: &[std::sync::Arc<SyncDetail>],
    sources: &Open,
    looks: &mut Looks,
    watch: &Watch,
) -> Bounds {
    let mut bounds = Bounds::new();
    for sync in syncs {
        let bound = bound(sync, sources, looks, watch).await.unwrap_or_else(|why| {
            debug!(sync = %sync.name, why, "nothing is purged: what its sources have unread is not known");
            Bound::Unknown
        });
        bounds.insert(sync.name.clone(), bound);
    }
    bounds
}

async fn bound(sync: &SyncDetail, sources: &Open, looks: &mut Looks, watch: &Watch) -> Result<Bound, String> {
    let mut oldest: Option<DateTime<Utc>> = None;
    for db in sync.dbs(Role::Source) {
        watch.moved(1);
        let source = sources.get(&db.name).ok_or_else(|| format!("database \"{}\" is away", db.name))?;
        let unread = looks.oldest_unread(source, &db.name, &sync.name).await;
        oldest = [oldest, unread.map_err(|error| causes(&error))?].into_iter().flatten().min();
    }
    Ok(oldest.map_or(Bound::Free, Bound::Before))
}
