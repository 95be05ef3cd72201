//! Makes the rounds of KIDs from the syncs that were last read.

use bucardo_actors::model::{Fault, KidId, Reason, RoundReport};
use bucardo_actors::ports::{Replicator, Rounds, Watch};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::SyncMap;
use super::hush::Activity;
use crate::catalog::Role;
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
        match self.syncs.get(&kid.sync) {
            // Nothing of the source waits for a whole copy: to what it moves nobody listens.
            Some(sync) if sync.role(&kid.target) == Some(Role::Fullcopy) => {
                Box::new(CopySession::new(sync, kid.clone()))
            }
            Some(sync) => {
                let session = PairSession::new(sync, kid.clone());
                Box::new(Counted { session, kid: kid.clone(), activity: self.activity.clone() })
            }
            None => Box::new(Gone(kid.clone())),
        }
    }
}

/// Rounds whose listener is told that they moved something.
struct Counted {
    session: PairSession,
    kid: KidId,
    activity: Activity,
}

impl Rounds for Counted {
    fn round<'a>(&'a mut self, reason: Reason, watch: Watch) -> BoxFuture<'a, Result<RoundReport, Fault>> {
        async move {
            let report = self.session.round(reason, watch).await?;
            if !report.is_empty() {
                self.activity.moved(&self.kid.source, &self.kid.sync);
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
