//! Purges the active sources, one after the other, and what the control database keeps of conflicts.

use std::collections::BTreeMap;
use std::sync::Arc;

use bucardo_actors::model::{DbName, Fault};
use bucardo_actors::ports::{PurgeReport, Purger, Watch};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tracing::warn;

use super::lease::application_name;
use super::{ConflictHistory, SyncMap, unreachable};
use crate::catalog::Role;
use crate::pg::{Access, causes, classify, connect};
use crate::source::purge::{PurgeLimits, Purged, purge};

/// Deletes from the sources what every target has read.
pub struct SourcePurger {
    syncs: SyncMap,
    conflicts: Arc<ConflictHistory>,
}

impl SourcePurger {
    /// A purger of the sources of these syncs, and of this history.
    #[must_use]
    pub fn new(syncs: SyncMap, conflicts: Arc<ConflictHistory>) -> Self {
        Self { syncs, conflicts }
    }

    fn sources(&self) -> BTreeMap<DbName, Access> {
        let syncs = self.syncs.all();
        let captured = syncs.iter().filter(|sync| sync.status != "inactive" && !sync.is_fullcopy());
        let sources = captured.flat_map(|sync| sync.dbs(Role::Source));
        let usable = sources.filter(|db| db.active && db.kind == "postgres");
        usable.map(|db| (db.name.clone(), db.access.clone())).collect()
    }
}

impl Purger for SourcePurger {
    fn purge(&self, watch: Watch) -> BoxFuture<'static, Result<PurgeReport, Fault>> {
        let (sources, conflicts) = (self.sources(), Arc::clone(&self.conflicts));
        async move {
            let mut report = PurgeReport::default();
            let mut faults = Vec::new();
            for (db, access) in &sources {
                watch.at(&format!("purging {db}")).await?;
                match purge_source(db, access, &watch).await {
                    Ok(purged) => {
                        report.rows += purged.rows;
                        report.held_back += purged.held_back;
                    }
                    Err(fault) => faults.push(fault),
                }
                if watch.stop().is_cancelled() {
                    break;
                }
            }
            if !watch.stop().is_cancelled()
                && let Err(fault) = conflicts.prune(&watch).await
            {
                faults.push(fault);
            }
            let Some(last) = faults.pop() else { return Ok(report) };
            // The caller hears of one; the others are no less true.
            for fault in faults {
                warn!(error = %fault, hint = fault.hint, "cannot purge");
            }
            Err(last)
        }
        .boxed()
    }
}

async fn purge_source(db: &DbName, access: &Access, watch: &Watch) -> Result<Purged, Fault> {
    let source = Box::pin(connect(access, &application_name("VAC"))).await.map_err(|error| unreachable(db, &error))?;
    purge(&source, db, PurgeLimits::default(), watch).await.map_err(|error| Fault {
        failure: classify(&error.source),
        message: causes(&error),
        hint: None,
        db: Some(db.clone()),
    })
}
