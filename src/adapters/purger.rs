//! Purges the active sources, one after the other, and what the control database keeps of conflicts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use bucardo_actors::model::{DbName, Failure, Fault};
use bucardo_actors::ports::{PurgeReport, Purger, Watch};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tracing::{info, warn};

use super::floors::{self, Open};
use super::lease::application_name;
use super::{ConflictHistory, SyncMap, unreachable};
use crate::catalog::{Role, SyncDetail};
use crate::pg::{Access, cause, causes, classify, connect};
use crate::source::floor::Looks;
use crate::source::purge::{PurgeError, PurgeLimits, purge_within, survey};

/// Deletes from the sources what every target has read.
pub struct SourcePurger {
    syncs: SyncMap,
    conflicts: Arc<ConflictHistory>,
    /// Sources that could not be reached the last time.
    away: Arc<Mutex<BTreeSet<DbName>>>,
    looks: Arc<tokio::sync::Mutex<Looks>>,
}

impl SourcePurger {
    /// A purger of the sources of these syncs, and of this history.
    #[must_use]
    pub fn new(syncs: SyncMap, conflicts: Arc<ConflictHistory>) -> Self {
        Self { syncs, conflicts, away: Arc::default(), looks: Arc::default() }
    }

    /// The syncs with several sources, whatever becomes of them at present: what one of them has not read stays.
    fn merging(&self) -> Vec<Arc<SyncDetail>> {
        let syncs = self.syncs.all();
        syncs.into_iter().filter(|sync| sync.dbs(Role::Source).nth(1).is_some()).collect()
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
        let (merging, looks) = (self.merging(), Arc::clone(&self.looks));
        async move {
            let mut report = PurgeReport::default();
            let (mut faults, mut unreached) = (Vec::new(), Vec::new());
            let mut open = Open::new();
            for (db, access) in &sources {
                match Box::pin(connect(access, &application_name("VAC"))).await {
                    Ok(source) => drop(open.insert(db.clone(), source)),
                    Err(error) => unreached.push(unreachable(db, &error)),
                }
                watch.moved(1);
            }
            watch.at("looking who has read what").await?;
            for sync in &merging {
                floors::carry(sync, &open, &watch).await;
            }
            // Who has read what comes first, what is unread second: a change is never both read by all and unknown.
            let mut surveys = Vec::new();
            for (db, source) in &open {
                match survey(source, db).await {
                    Ok(survey) => surveys.push((db, source, survey)),
                    Err(error) => faults.push(told(&error)),
                }
            }
            let bounds = floors::bounds(&merging, &open, &mut *looks.lock().await, &watch).await;
            for (db, source, survey) in &surveys {
                watch.at(&format!("purging {db}")).await?;
                match purge_within(source, db, survey, &bounds, PurgeLimits::default(), &watch).await {
                    Ok(purged) => {
                        report.rows += purged.rows;
                        report.held_back += purged.held_back;
                    }
                    Err(error) => faults.push(told(&error)),
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

fn told(error: &PurgeError) -> Fault {
    let (failure, cause) = (classify(&error.source), cause(&error.source));
    Fault { failure, cause, message: causes(error), hint: None, db: Some(error.db.clone()) }
}
