//! The upkeep of the run history, done by the VAC: old runs go to the freezer, a partition a day, and old days go.

use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Duration;

use bucardo_actors::model::Fault;
use bucardo_actors::ports::Watch;
use tokio::time::Instant;
use tracing::info;

use super::lease::application_name;
use crate::catalog::{Control, freezer};
use crate::config::{HistorySettings, Settings};
use crate::pg::Access;

const EVERY_MAX: Duration = Duration::from_secs(600);
const BATCH: i64 = 10_000;

/// Keeps the run history small.
pub(super) struct Upkeep {
    access: Access,
    how: RwLock<HistorySettings>,
    done: Mutex<Option<Instant>>,
}

impl Upkeep {
    pub(super) fn new(access: Access, settings: &Settings) -> Self {
        Self { access, how: RwLock::new(settings.history.clone()), done: Mutex::default() }
    }

    pub(super) fn change(&self, settings: &Settings) {
        *self.how.write().unwrap_or_else(PoisonError::into_inner) = settings.history.clone();
    }

    /// Freezes and drops what is old enough. Does nothing when it was tried lately.
    ///
    /// # Errors
    ///
    /// The control database could not be reached, or refused; batches already moved stay so.
    pub(super) async fn run(&self, watch: &Watch) -> Result<(), Fault> {
        let how = self.how.read().unwrap_or_else(PoisonError::into_inner).clone();
        {
            let mut last = self.done.lock().unwrap_or_else(PoisonError::into_inner);
            if last.is_some_and(|last| last.elapsed() < (how.run_keep / 10).min(EVERY_MAX)) {
                return Ok(());
            }
            // One that fails is tried again no sooner.
            *last = Some(Instant::now());
        }
        watch.at("moving old runs to the freezer").await?;
        let control = Box::pin(Control::open(&self.access, &application_name("VAC"))).await?;
        let (client, mut moved) = (control.client(), 0);
        freezer::tomorrow(client).await?;
        while !watch.stop().is_cancelled() {
            let batch = freezer::freeze(client, how.run_keep, BATCH).await?;
            moved += batch;
            if batch < BATCH {
                break;
            }
            watch.moved(1);
        }
        if moved > 0 {
            info!(moved, "old runs were moved to the freezer");
        }
        if !how.freezer_keep.is_zero() {
            let dropped = freezer::drop(client, how.freezer_keep).await?;
            if dropped > 0 {
                info!(dropped, "days of the freezer were dropped");
            }
        }
        Ok(())
    }
}
