//! Makes the rounds of KIDs from the syncs that were last read.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use bucardo_actors::model::{DbName, Fault, KidId, Pair, Reason, RoundReport, SyncName, Work};
use bucardo_actors::ports::{Replicator, Rounds, Watch};
use dashmap::DashMap;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::SyncMap;
use super::desk::{Desk, Hosted};
use super::hooks::Workshop;
use super::hush::Activity;
use super::limits::Limits;
use super::memory::Memory;
use crate::catalog::runs::Session;
use crate::catalog::{ConflictStore, Role, SyncDetail};
use crate::config::Settings;
use crate::custom::Codes;
use crate::engine::merge::MergeSession;
use crate::engine::{CopySession, FollowSession, PairSession};
use crate::pg::open_sessions;

/// Opens the rounds of pairs, of merges, and of those that follow.
#[derive(Clone)]
pub struct SyncReplicator {
    syncs: SyncMap,
    activity: Activity,
    conflicts: Arc<dyn ConflictStore>,
    /// Whom a target has followed last, so that a KID that is started again goes on there.
    followed: Followed,
    limits: Arc<Limits>,
    desks: Desks,
    workshop: Option<Workshop>,
}

/// The sessions of the KIDs, for those who tell of them.
#[derive(Clone, Default)]
pub struct Desks {
    kids: Arc<DashMap<KidId, Weak<Desk>>>,
    memory: Arc<Memory>,
}

impl Desks {
    /// Takes over how much memory the rounds may take.
    pub fn change(&self, settings: &Settings) {
        self.memory.limit(settings.daemon.worker_mb_max);
    }

    /// The sessions that a KID has open.
    pub(super) fn sessions(&self, kid: &KidId) -> Vec<Session> {
        self.kids.get(kid).and_then(|desk| desk.upgrade()).map(|desk| desk.sessions()).unwrap_or_default()
    }
}

type Followed = Arc<DashMap<(SyncName, DbName), DbName>>;

impl SyncReplicator {
    /// A replicator of these syncs, which counts the rounds that moved something. Conflicts are kept in `conflicts`.
    #[must_use]
    pub fn new(syncs: SyncMap, activity: Activity, conflicts: Arc<dyn ConflictStore>) -> Self {
        Self {
            syncs,
            activity,
            conflicts,
            followed: Followed::default(),
            limits: Arc::default(),
            desks: Desks::default(),
            workshop: None,
        }
    }

    /// The same, with what runs custom codes.
    #[must_use]
    pub fn with_codes(mut self, workshop: Workshop) -> Self {
        self.workshop = Some(workshop);
        self
    }

    /// The custom codes of a sync; `None`: it has none.
    fn codes(&self, sync: &Arc<SyncDetail>) -> Option<Codes> {
        self.workshop.as_ref().and_then(|workshop| workshop.codes(sync))
    }

    /// Where the sessions of its KIDs are found.
    #[must_use]
    pub fn desks(&self) -> Desks {
        self.desks.clone()
    }

    fn pair(&self, sync: Arc<SyncDetail>, source: &DbName, target: &DbName) -> Box<dyn Rounds> {
        let pair = Pair { sync: sync.name.clone(), source: source.clone(), target: target.clone() };
        // Nothing of the source waits for a whole copy: to what it moves nobody listens.
        if sync.role(target) == Some(Role::Fullcopy) {
            let codes = self.codes(&sync);
            return Box::new(CopySession::new(sync, pair).with_codes(codes));
        }
        let sources = vec![source.clone()];
        let session = PairSession::new(Arc::clone(&sync), pair).with_codes(self.codes(&sync));
        self.counted(session, sync.name.clone(), sources)
    }

    fn counted(&self, rounds: impl Rounds + 'static, sync: SyncName, sources: Vec<DbName>) -> Box<dyn Rounds> {
        Box::new(Counted { rounds, sync, sources, activity: self.activity.clone() })
    }
}

impl SyncReplicator {
    /// The rounds of a KID that has what places it needs.
    pub(super) fn unlimited(&self, sync: Arc<SyncDetail>, kid: &KidId) -> Box<dyn Rounds> {
        match &kid.work {
            Work::Pair { source, target } => self.pair(sync, source, target),
            Work::Follow { target } => {
                let place = (kid.sync.clone(), target.clone());
                let last = self.followed.get(&place).map(|source| source.clone());
                let codes = self.codes(&sync);
                let session = FollowSession::new(sync, target.clone(), last.as_ref()).with_codes(codes);
                Box::new(Following {
                    session,
                    place,
                    followed: Arc::clone(&self.followed),
                    activity: self.activity.clone(),
                })
            }
            Work::Merge => {
                let sources = sync.dbs(Role::Source).filter(|db| db.active).map(|db| db.name.clone()).collect();
                let codes = self.codes(&sync);
                let session = MergeSession::new(sync, Arc::clone(&self.conflicts)).with_codes(codes);
                self.counted(session, kid.sync.clone(), sources)
            }
        }
    }
}

impl Replicator for SyncReplicator {
    fn open(&self, kid: &KidId) -> Box<dyn Rounds> {
        let Some(sync) = self.syncs.get(&kid.sync) else { return Box::new(Gone(kid.sync.clone())) };
        let room = (Arc::clone(&self.limits), Arc::clone(&self.desks.memory));
        let hosted = Hosted::new(kid.clone(), sync, room, self.clone());
        self.desks.kids.insert(kid.clone(), Arc::downgrade(hosted.desk()));
        Box::new(hosted)
    }

    fn connections(&self) -> BTreeMap<DbName, usize> {
        let mut connections = BTreeMap::new();
        for sync in self.syncs.all() {
            for db in sync.members.iter().map(|member| &member.db) {
                connections.entry(db.name.clone()).or_insert_with(|| open_sessions(&db.access));
            }
        }
        connections
    }
}

/// Rounds whose listeners are told that they moved something.
struct Counted<R> {
    rounds: R,
    sync: SyncName,
    /// Where it may have come from.
    sources: Vec<DbName>,
    activity: Activity,
}

impl<R: Rounds> Rounds for Counted<R> {
    fn round<'a>(&'a mut self, reason: Reason, watch: Watch) -> BoxFuture<'a, Result<RoundReport, Fault>> {
        async move {
            let report = self.rounds.round(reason, watch).await?;
            if !report.is_empty() {
                self.sources.iter().for_each(|source| self.activity.moved(source, &self.sync));
            }
            Ok(report)
        }
        .boxed()
    }
}

/// Rounds of a target that follows one of several sources.
struct Following {
    session: FollowSession,
    place: (SyncName, DbName),
    followed: Followed,
    activity: Activity,
}

impl Rounds for Following {
    fn round<'a>(&'a mut self, reason: Reason, watch: Watch) -> BoxFuture<'a, Result<RoundReport, Fault>> {
        async move {
            let report = self.session.round(reason, watch).await?;
            let Some(source) = self.session.source() else { return Ok(report) };
            if !report.is_empty() {
                self.activity.moved(source, &self.place.0);
            }
            let is_other = self.followed.get(&self.place).is_none_or(|last| *last != *source);
            if is_other {
                self.followed.insert(self.place.clone(), source.clone());
            }
            Ok(report)
        }
        .boxed()
    }
}

/// The sync was removed between the plan and the first round of its KID.
struct Gone(SyncName);

impl Rounds for Gone {
    fn round(&mut self, _: Reason, _: Watch) -> BoxFuture<'_, Result<RoundReport, Fault>> {
        let fault = Fault::permanent(format!("sync \"{}\" is no longer in the catalog", self.0));
        async move { Err(fault) }.boxed()
    }
}
