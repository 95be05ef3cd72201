//! Purges the active sources, one after the other, and what the control database keeps of conflicts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use bucardo_actors::model::{DbName, Failure, Fault};
use bucardo_actors::ports::{PurgeReport, Purger, Watch};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tracing::{info, warn};

use super::lease::application_name;
use super::{ConflictHistory, SyncMap, unreachable};
use crate::catalog::Role;
use crate::pg::{Access, Connection, causes, classify, connect};
use crate::source::purge::{PurgeLimits, Purged, purge};

/// Deletes from the sources what every target has read.
pub struct SourcePurger {
    syncs: SyncMap,
    conflicts: Arc<ConflictHistory>,
    /// Sources that could not be reached the last time.
    away: Arc<Mutex<BTreeSet<DbName>>>,
}

impl SourcePurger {
    /// A purger of the sources of these syncs, and of this history.
    #[must_use]
    pub fn new(syncs: SyncMap, conflicts: Arc<ConflictHistory>) -> Self {
        Self { syncs, conflicts, away: Arc::default() }
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
        let (sources, conflicts, away) = (self.sources(), Arc::clone(&self.conflicts), Arc::clone(&self.away));
        async move {
            let mut report = PurgeReport::default();
            let (mut faults, mut unreached) = (Vec::new(), Vec::new());
            for (db, access) in &sources {
                watch.at(&format!("purging {db}")).await?;
                match Box::pin(connect(access, &application_name("VAC"))).await {
                    Ok(source) => match purge_source(&source, db, &watch).await {
                        Ok(purged) => {
                            report.rows += purged.rows;
                            report.held_back += purged.held_back;
                        }
                        Err(fault) => faults.push(fault),
                    },
                    Err(error) => unreached.push(unreachable(db, &error)),
                }
                if watch.stop().is_cancelled() {
                    break;
                }
            }
            // One that is away keeps its own changes, and is no reason to leave the others alone for a while.
            if unreached.len() < sources.len() && unreached.iter().all(|fault| fault.failure == Failure::Transient) {
                tell_away(&away, &unreached);
            } else {
                faults.append(&mut unreached);
            }
            if !watch.stop().is_cancelled()
                && let Err(fault) = conflicts.prune(&watch).await
            {
                // The sources are purged nevertheless; the history only grows meanwhile.
                warn!(error = %fault, hint = fault.hint, "the history of conflicts is not pruned");
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

/// Says which sources are away, once each.
fn tell_away(known: &Mutex<BTreeSet<DbName>>, unreached: &[Fault]) {
    let now: BTreeSet<DbName> = unreached.iter().filter_map(|fault| fault.db.clone()).collect();
    let before = std::mem::replace(&mut *known.lock().unwrap_or_else(PoisonError::into_inner), now.clone());
    for fault in unreached.iter().filter(|fault| fault.db.as_ref().is_none_or(|db| !before.contains(db))) {
        warn!(error = %fault, hint = fault.hint, "cannot purge, the others are purged without it");
    }
    for db in before.difference(&now) {
        info!(%db, "the database is purged again");
    }
}

async fn purge_source(source: &Connection, db: &DbName, watch: &Watch) -> Result<Purged, Fault> {
    purge(source, db, PurgeLimits::default(), watch).await.map_err(|error| Fault {
        failure: classify(&error.source),
        message: causes(&error),
        hint: None,
        db: Some(db.clone()),
    })
}
