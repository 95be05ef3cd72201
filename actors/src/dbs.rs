//! Databases as all syncs see them: one that cannot be reached is stalled for all of them, and once somebody reaches
//! it, everybody who waits for it goes on.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use tracing::info;

use crate::board::{ActorId, Doing};
use crate::ctl::Shared;
use crate::model::{DbName, Fault, KidId, SyncPlan, Work};
use crate::ports::Notice;

impl Shared {
    /// A database cannot be reached; somebody tries it again `after` that time.
    pub(crate) fn lost(&self, db: &DbName, fault: &Fault, after: Option<Duration>) {
        let mut fresh = false;
        self.board.note(&ActorId::Db(db.clone()), |snapshot| {
            fresh = snapshot.state != Doing::Stalled;
            snapshot.fail(Doing::Stalled, Some(fault.clone()), after);
        });
        if fresh {
            info!(%db, "database is stalled");
            self.outbox.tell(Notice::DbStalled(db.clone()));
        }
    }

    /// A database was reached; true if it was stalled: then those who wait for it are to be told.
    pub(crate) fn reached(&self, db: &DbName) -> bool {
        let id = ActorId::Db(db.clone());
        if !self.board.is_stalled(&id) {
            return false;
        }
        self.board.note(&id, |snapshot| {
            snapshot.enter(Doing::Active);
            snapshot.fault = None;
            snapshot.last_at = Some(SystemTime::now());
        });
        info!(%db, "database is active again");
        self.outbox.tell(Notice::DbActive(db.clone()));
        true
    }

    /// These databases are in use, and no others.
    pub(crate) fn know_dbs<'a>(&self, plans: impl Iterator<Item = &'a SyncPlan>) {
        let used: BTreeSet<&DbName> = plans.flat_map(SyncPlan::dbs).collect();
        for id in self.board.all().into_keys() {
            if matches!(&id, ActorId::Db(db) if !used.contains(db)) {
                self.board.remove(&id);
            }
        }
        for db in used {
            let id = ActorId::Db(db.clone());
            if self.board.get(&id).is_none() {
                self.board.note(&id, |snapshot| snapshot.enter(Doing::Active));
            }
        }
    }
}

/// The databases that a KID of this plan has certainly reached when its round went well without these.
pub(crate) fn reached_by<'a>(
    plan: &'a SyncPlan,
    kid: &'a KidId,
    without: &'a [(DbName, String)],
) -> impl Iterator<Item = &'a DbName> {
    let (sources, target): (&[DbName], _) = match &kid.work {
        Work::Pair { source, .. } => (std::slice::from_ref(source), kid.target()),
        Work::Follow { .. } => (&[], kid.target()), // which source it read, it does not say
        Work::Merge => (&plan.sources, None),
    };
    sources.iter().chain(target).filter(|db| without.iter().all(|(away, _)| away != *db))
}
