//! From a sync of the catalog to what the actors need to know of it. Pure.

use std::hash::{DefaultHasher, Hash, Hasher};

use bucardo_actors::model::{AroundRuns, DbName, Fault, Intent, SyncPlan};

use crate::catalog::{Role, SyncDetail};
use crate::custom::Hook;
use crate::source::validate;

/// What in the catalog keeps a sync from running, and what to do about it.
#[must_use]
pub fn problem(sync: &SyncDetail) -> Option<Fault> {
    bucardo_actors::plan::kids(&plan(sync)).err()
}

/// The plan of a sync; one that cannot run carries its problem.
pub(super) fn plan(sync: &SyncDetail) -> SyncPlan {
    let problem = sync.problem.clone().map(Fault::permanent).or_else(|| {
        let error = validate::check_shape(sync).err()?;
        let fault = Fault::permanent(error.told());
        Some(Fault { failure: error.failure(), hint: error.hint(), ..fault })
    });
    let next = || format!("change the sync, then run \"bucardo validate {0}\" and \"bucardo reload {0}\"", sync.name);
    let has = |hook| sync.codes.iter().any(|code| code.hook == hook);
    SyncPlan {
        name: sync.name.clone(),
        // A former daemon may have marked it stalled; to run it is still what is wanted.
        intent: if sync.status == "inactive" { Intent::Inactive } else { Intent::Active },
        sources: active(sync, Role::Source),
        targets: active(sync, Role::Target),
        fullcopies: active(sync, Role::Fullcopy),
        autokick: sync.autokick,
        listens: sync.autokick || sync.do_listen || sync.goats.iter().any(|goat| goat.autokick == Some(true)),
        priority: sync.priority,
        at_once_max: sync.limitdbs,
        check_every: sync.checktime,
        kidsalive: sync.kidsalive,
        // A kid that stays needs a controller that stays.
        stayalive: sync.stayalive || sync.kidsalive,
        lifetime: sync.lifetime,
        kicks_max: sync.maxkicks,
        codes: AroundRuns { before: has(Hook::BeforeSync), after: has(Hook::AfterSync) },
        settings: None,
        problem: problem.map(|fault| if fault.hint.is_some() { fault } else { fault.with_hint(next()) }),
        fingerprint: fingerprint(sync),
    }
}

fn active(sync: &SyncDetail, role: Role) -> Vec<DbName> {
    sync.dbs(role).filter(|db| db.active).map(|db| db.name.clone()).collect()
}

/// Changes with everything that a KID has read, but not when a request for a copy is marked as done.
fn fingerprint(sync: &SyncDetail) -> u64 {
    let mut hasher = DefaultHasher::new();
    let status = String::new();
    SyncDetail { onetimecopy: 0, status, lifetime: None, maxkicks: None, ..sync.clone() }.hash(&mut hasher);
    hasher.finish()
}
