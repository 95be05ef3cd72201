//! Purges the active sources, and what the control database keeps of conflicts and runs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use bucardo_actors::model::{DbName, Failure, Fault, SyncName};
use bucardo_actors::ports::{PurgeReport, Purger, Watch};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::Instant;
use tracing::{info, warn};

use super::lease::application_name;
use super::queues::Queues;
use super::upkeep::Upkeep;
use super::{ConflictHistory, SyncMap, unreachable};
use crate::config::{PurgeSettings, Settings};
use crate::pg::{Access, cause, causes, classify};
use crate::source::floor::Looks;
use crate::source::purge::PurgeLimits;
use crate::source::purging::{Chosen, PurgingError, purge_sources, sources};

/// Deletes from the sources what every target has read.
pub struct SourcePurger {
    inner: Arc<Inner>,
}

struct Inner {
    syncs: SyncMap,
    conflicts: Arc<ConflictHistory>,
    upkeep: Upkeep,
    queues: Queues,
    how: RwLock<PurgeSettings>,
    /// Sources that could not be reached the last time.
    away: Mutex<BTreeSet<DbName>>,
    /// When each source was purged last.
    purged: Mutex<BTreeMap<DbName, Instant>>,
    looks: tokio::sync::Mutex<Looks>,
}

impl SourcePurger {
    /// A purger of the sources of these syncs, and of what this control database keeps.
    #[must_use]
    pub fn new(access: Access, syncs: SyncMap, conflicts: Arc<ConflictHistory>, settings: &Settings) -> Self {
        let (upkeep, queues) = (Upkeep::new(access.clone(), settings), Queues::new(access));
        let how = RwLock::new(settings.purge.clone());
        let (away, purged, looks) = (Mutex::default(), Mutex::default(), tokio::sync::Mutex::default());
        Self { inner: Arc::new(Inner { syncs, conflicts, upkeep, queues, how, away, purged, looks }) }
    }

    /// Takes over whether, how often and how is purged, and what is kept of conflicts and runs.
    pub fn change(&self, settings: &Settings) {
        *self.inner.how.write().unwrap_or_else(PoisonError::into_inner) = settings.purge.clone();
        self.inner.upkeep.change(settings);
        self.inner.conflicts.change(settings);
    }
}

impl Inner {
    async fn purge(&self, watch: Watch, paused: BTreeSet<SyncName>) -> Result<PurgeReport, Fault> {
        let how = self.how.read().unwrap_or_else(PoisonError::into_inner).clone();
        let (mut report, mut faults, mut unreached) = (PurgeReport::default(), Vec::new(), Vec::new());
        let syncs = self.syncs.all();
        let chosen = if how.run { self.due(sources(&syncs).into_keys(), &how) } else { Chosen::new() };
        if !chosen.is_empty() {
            let limits = PurgeLimits { keep: how.keep, batch_rows_max: how.batch_rows_max };
            let mut looks = self.looks.lock().await;
            let name = application_name("VAC");
            let mut seen = BTreeMap::new();
            for (db, outcome) in purge_sources(&syncs, &chosen, limits, &mut looks, (&name, &watch)).await? {
                match outcome {
                    Ok(purged) => {
                        report.rows += purged.rows;
                        report.held_back += purged.held_back();
                        seen.insert(db, purged);
                    }
                    Err(PurgingError::Connect { db, source }) => unreached.push(unreachable(&db, &source)),
                    Err(PurgingError::Purge(error)) => faults.push(Fault {
                        failure: classify(&error.source),
                        cause: cause(&error.source),
                        message: causes(&error),
                        hint: None,
                        db: Some(db),
                    }),
                }
            }
            self.queues.check(&syncs, &seen, &paused, &watch).await;
        }
        // One that is away keeps its own changes, and is no reason to leave the others alone for a while.
        if unreached.len() < chosen.len() && unreached.iter().all(|fault| fault.failure == Failure::Transient) {
            self.tell_away(&unreached, &chosen);
        } else {
            faults.append(&mut unreached);
        }
        if !watch.stop().is_cancelled()
            && let Err(fault) = self.conflicts.prune(&watch).await
        {
            // The sources are purged nevertheless; the history only grows meanwhile.
            warn!(error = %fault, hint = fault.hint, "the history of conflicts is not pruned");
        }
        if !watch.stop().is_cancelled()
            && let Err(fault) = self.upkeep.run(&watch).await
        {
            warn!(error = %fault, hint = fault.hint, "old runs are not moved to the freezer");
        }
        let Some(last) = faults.pop() else { return Ok(report) };
        // The caller hears of one; the others are no less true.
        for fault in faults {
            warn!(error = %fault, hint = fault.hint, "cannot purge");
        }
        Err(last)
    }

    /// The databases whose last purge is long enough ago.
    fn due(&self, dbs: impl Iterator<Item = DbName>, how: &PurgeSettings) -> Chosen {
        let mut purged = self.purged.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        // The timer that brings us here is not exact: a little early is not too early.
        let gap = how.every.mul_f32(0.9);
        let due: Vec<DbName> = dbs.filter(|db| purged.get(db).is_none_or(|last| now - *last >= gap)).collect();
        purged.extend(due.iter().map(|db| (db.clone(), now)));
        due.into_iter().map(|db| (db, None)).collect()
    }

    /// Says which sources are away, once each.
    fn tell_away(&self, unreached: &[Fault], looked_at: &Chosen) {
        let now: BTreeSet<DbName> = unreached.iter().filter_map(|fault| fault.db.clone()).collect();
        let mut known = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        for fault in unreached.iter().filter(|fault| fault.db.as_ref().is_none_or(|db| !known.contains(db))) {
            warn!(error = %fault, hint = fault.hint, "cannot purge, the others are purged without it");
        }
        let back: Vec<DbName> =
            known.iter().filter(|db| looked_at.contains_key(*db) && !now.contains(*db)).cloned().collect();
        for db in &back {
            info!(%db, "the database is purged again");
        }
        known.retain(|db| !back.contains(db));
        known.extend(now);
    }
}

impl Purger for SourcePurger {
    fn purge(&self, watch: Watch, paused: BTreeSet<SyncName>) -> BoxFuture<'static, Result<PurgeReport, Fault>> {
        let inner = Arc::clone(&self.inner);
        async move { inner.purge(watch, paused).await }.boxed()
    }
}
