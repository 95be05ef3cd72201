//! Which targets have answered a request for a whole copy (`onetimecopy`), so that it can be marked as done.

use std::collections::{HashMap, HashSet};
use std::time::SystemTime;

use bucardo_actors::model::{DbName, KidId, SyncName, Work};

use crate::catalog::{Role, SyncDetail};
use crate::pg::{SqlFile, causes, connect};

const COPIED: SqlFile = SqlFile::new(include_str!("../../sql/daemon/copied.sql"));

/// A request that is not marked as done yet.
#[derive(Debug)]
struct Open {
    request: i64,
    since: SystemTime,
    waiting: HashSet<DbName>,
    /// Those among them that merges copy to.
    merging: HashSet<DbName>,
}

/// The open requests of all syncs.
#[derive(Debug, Default)]
pub(super) struct Copies(HashMap<SyncName, Open>);

impl Copies {
    /// Takes over what the catalog says now. A request that was known keeps its progress.
    pub(super) fn load<'a>(&mut self, syncs: impl Iterator<Item = &'a SyncDetail>, now: SystemTime) {
        let mut known = std::mem::take(&mut self.0);
        for sync in syncs.filter(|sync| sync.onetimecopy != 0 && sync.status != "inactive") {
            let targets: HashSet<DbName> = targets(sync).map(|db| db.name.clone()).collect();
            let open = match known.remove(&sync.name) {
                Some(mut open) if open.request == sync.copy_request => {
                    open.waiting.retain(|target| targets.contains(target));
                    open
                }
                _ => {
                    let merging = later_sources(sync).map(|db| db.name.clone()).collect();
                    Open { request: sync.copy_request, since: now, waiting: targets, merging }
                }
            };
            self.0.insert(sync.name.clone(), open);
        }
    }

    /// A round of `kid`, begun at `started`, went well. The number of the request when this was the last target.
    pub(super) fn round_went_well(&mut self, kid: &KidId, started: SystemTime) -> Option<i64> {
        let open = self.0.get_mut(&kid.sync)?;
        if let Some(target) = kid.target().filter(|_| started >= open.since) {
            open.waiting.remove(target);
        }
        // Of a merge, the sources tell themselves who has answered.
        if kid.work == Work::Merge && started >= open.since {
            open.waiting.retain(|db| !open.merging.contains(db));
        }
        open.waiting.is_empty().then_some(open.request)
    }

    /// The request is marked as done, or another one has taken its place.
    pub(super) fn close(&mut self, sync: &SyncName, request: i64) {
        if self.0.get(sync).is_some_and(|open| open.request == request) {
            self.0.remove(sync);
        }
    }
}

/// Who is copied to: the targets, and of several sources all but the first.
fn targets(sync: &SyncDetail) -> impl Iterator<Item = &crate::catalog::Db> {
    sync.dbs(Role::Target).filter(|db| db.active).map(|db| &**db).chain(later_sources(sync))
}

fn later_sources(sync: &SyncDetail) -> impl Iterator<Item = &crate::catalog::Db> {
    sync.dbs(Role::Source).filter(|db| db.active).skip(1).map(|db| &**db)
}

/// Asks the targets themselves whether they have answered `request`.
///
/// # Errors
///
/// One line that names the database that cannot tell.
pub(super) async fn all_have_copied(sync: &SyncDetail, request: i64) -> Result<bool, String> {
    let sources: Vec<&str> = sync.dbs(Role::Source).filter(|db| db.active).map(|db| db.name.as_str()).collect();
    for target in targets(sync) {
        let unable = |cause: String| format!("cannot read the position on database \"{}\": {cause}", target.name);
        let connection = connect(&target.access, "bucardo").await.map_err(|error| unable(causes(&error)))?;
        let row = connection.query_opt(COPIED.text(), &[&sync.name.as_str(), &sources]).await;
        let row = row.map_err(|error| unable(causes(&error)))?;
        if row.is_none_or(|row| row.get::<_, i64>("copy_request") < request) {
            return Ok(false);
        }
    }
    Ok(true)
}
