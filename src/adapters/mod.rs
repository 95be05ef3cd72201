//! The ports of the actors, implemented: control database, rounds, purging; and the listeners that tell the MCP.

mod budget;
mod catalog;
mod channels;
mod codes;
mod conflict_file;
mod conflicts;
mod copies;
mod desk;
mod hooks;
mod hush;
mod lease;
mod limits;
mod listener;
mod memory;
mod numbers;
mod plans;
mod purger;
mod queues;
mod replicator;
mod upkeep;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use bucardo_actors::model::{Cause, DbName, Fault, SyncName};

use crate::catalog::{CatalogError, SyncDetail};
use crate::pg::{ConnectError, causes};

pub use catalog::{ControlDatabase, changed_settings};
pub use conflicts::ConflictHistory;
pub use hooks::{SyncHooks, Workshop};
pub use hush::Activity;
pub use lease::is_lease_held;
pub use listener::Listeners;
pub use numbers::Numbers;
pub use plans::problem;
pub use purger::SourcePurger;
pub use replicator::{Desks, SyncReplicator};

/// The syncs as they were last read, for those who open connections.
#[derive(Clone, Default)]
pub struct SyncMap(Arc<RwLock<HashMap<SyncName, Arc<SyncDetail>>>>);

impl SyncMap {
    /// The sync of this name.
    #[must_use]
    pub fn get(&self, name: &SyncName) -> Option<Arc<SyncDetail>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// All syncs.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<SyncDetail>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    fn replace(&self, syncs: impl IntoIterator<Item = Arc<SyncDetail>>) {
        let fresh = syncs.into_iter().map(|sync| (sync.name.clone(), sync)).collect();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = fresh;
    }
}

impl From<CatalogError> for Fault {
    fn from(error: CatalogError) -> Self {
        let cause = if matches!(error, CatalogError::Connect(_)) { Cause::Away } else { Cause::Other };
        Self { failure: error.failure(), cause, message: causes(&error), hint: error.hint(), db: None }
    }
}

/// A database that cannot be reached, as a fault that names it.
fn unreachable(db: &DbName, error: &ConnectError) -> Fault {
    Fault {
        failure: error.failure(),
        cause: Cause::Away,
        message: format!("cannot connect to database \"{db}\": {}", causes(error)),
        hint: error.hint(),
        db: Some(db.clone()),
    }
}
