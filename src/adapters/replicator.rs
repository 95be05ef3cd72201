//! Makes the rounds of KIDs from the syncs that were last read.

use bucardo_actors::model::{Fault, KidId, Reason, RoundReport};
use bucardo_actors::ports::{Replicator, Rounds, Watch};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::SyncMap;
use crate::engine::PairSession;

/// Opens the rounds of source-target pairs.
pub struct PairReplicator {
    syncs: SyncMap,
}

impl PairReplicator {
    /// A replicator of these syncs.
    #[must_use]
    pub fn new(syncs: SyncMap) -> Self {
        Self { syncs }
    }
}

impl Replicator for PairReplicator {
    fn open(&self, kid: &KidId) -> Box<dyn Rounds> {
        match self.syncs.get(&kid.sync) {
            Some(sync) => Box::new(PairSession::new(sync, kid.clone())),
            None => Box::new(Gone(kid.clone())),
        }
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
