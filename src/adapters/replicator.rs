//! Makes the rounds of KIDs from the syncs that were last read.

use std::sync::Arc;

use bucardo_actors::model::{DbName, Fault, KidId, Pair, Reason, RoundReport, Work};
use bucardo_actors::ports::{Replicator, Rounds, Watch};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::SyncMap;
use super::hush::Activity;
use crate::catalog::{Role, SyncDetail};
use crate::engine::{CopySession, PairSession};

/// Opens the rounds of source-target pairs.
pub struct PairReplicator {
    syncs: SyncMap,
    activity: Activity,
}

impl PairReplicator {
    /// A replicator of these syncs, which counts the rounds that moved something.
    #[must_use]
    pub fn new(syncs: SyncMap, activity: Activity) -> Self {
        Self { syncs, activity }
    }
}

impl Replicator for PairReplicator {
    fn open(&self, kid: &KidId) -> Box<dyn Rounds> {
        let Some(sync) = self.syncs.get(&kid.sync) else { return Box::new(Gone(kid.clone())) };
        match &kid.work {
            Work::Pair { source, target } => self.pair(sync, source, target),
            Work::Follow { .. } | Work::Merge => Box::new(Gone(kid.clone())),
        }
    }
}

impl PairReplicator {
    fn pair(&self, sync: Arc<SyncDetail>, source: &DbName, target: &DbName) -> Box<dyn Rounds> {
        let pair = Pair { sync: sync.name.clone(), source: source.clone(), target: target.clone() };
        // Nothing of the source waits for a whole copy: to what it moves nobody listens.
        if sync.role(target) == Some(Role::Fullcopy) {
            return Box::new(CopySession::new(sync, pair));
        }
        let session = PairSession::new(sync, pair.clone());
        Box::new(Counted { session, pair, activity: self.activity.clone() })
    }
}

/// Rounds whose listener is told that they moved something.
struct Counted {
    session: PairSession,
    pair: Pair,
    activity: Activity,
}

impl Rounds for Counted {
    fn round<'a>(&'a mut self, reason: Reason, watch: Watch) -> BoxFuture<'a, Result<RoundReport, Fault>> {
        async move {
            let report = self.session.round(reason, watch).await?;
            if !report.is_empty() {
                self.activity.moved(&self.pair.source, &self.pair.sync);
            }
            Ok(report)
        }
        .boxed()
    }
}

/// The sync was removed between the plan and the first round of its KID.
struct Gone(KidId);

impl Rounds for Gone {
    fn round(&mut self, _: Reason, _: Watch) -> BoxFuture<'_, Result<RoundReport, Fault>> {
        let fault = Fault::permanent(format!("sync \"{}\" is no longer in the catalog", self.0.sync));
        async move { Err(fault) }.boxed()
    }
}
