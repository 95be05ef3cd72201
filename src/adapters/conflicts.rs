//! The history of conflicts as a port: written by merges, pruned by the VAC, and copied to a file for those who ask.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Duration;

use bucardo_actors::model::Fault;
use bucardo_actors::ports::Watch;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use super::conflict_file;
use super::lease::application_name;
use crate::catalog::{CatalogError, Conflict, ConflictStore, Control, conflict_history, conflicts};
use crate::config::Settings;
use crate::daemon::Log;
use crate::pg::{Access, causes};

/// Where nobody wants the history, what was counted is remembered for this long, so that it is not counted again.
const COUNTED_KEEP: Duration = Duration::from_secs(24 * 3600);
/// A merge waits for this long at most; then its conflicts stay at the sources until the next one.
const STORE_WITHIN: Duration = Duration::from_secs(30);
const PRUNE_EVERY_MAX: Duration = Duration::from_secs(3600);
const PRUNE_BATCH: u32 = 1000;

/// Keeps conflicts in the control database. The session that does so is not the one with the lease, so that a flood
/// of conflicts does not hold up the MCP; merges wait for each other.
pub struct ConflictHistory {
    access: Access,
    how: RwLock<How>,
    session: AsyncMutex<Option<Control>>,
    pruned: Mutex<Option<Instant>>,
}

/// What the settings say of conflicts.
#[derive(Clone, Debug, PartialEq, Eq)]
struct How {
    keep: Duration,
    file: Option<PathBuf>,
}

impl How {
    fn of(settings: &Settings) -> Self {
        let conflicts = &settings.conflicts;
        let file = conflicts.log_details.then(|| Log::directory(&settings.log).join(&conflicts.log_file));
        Self { keep: conflicts.keep, file }
    }
}

impl ConflictHistory {
    /// A history in this control database.
    #[must_use]
    pub fn new(access: Access, settings: &Settings) -> Self {
        let (session, pruned) = (AsyncMutex::default(), Mutex::default());
        Self { access, how: RwLock::new(How::of(settings)), session, pruned }
    }

    /// Takes over how long conflicts are kept, and whether and where their rows are logged.
    pub fn change(&self, settings: &Settings) {
        *self.how.write().unwrap_or_else(PoisonError::into_inner) = How::of(settings);
    }

    fn how(&self) -> How {
        self.how.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn add(&self, conflicts: &[Conflict]) -> Result<(), CatalogError> {
        let how = self.how();
        let mut session = self.session.lock().await;
        // Put back when all went well: a session that failed in the middle is of no more use.
        let mut control = match session.take().filter(|control| !control.is_closed()) {
            Some(control) => control,
            None => Box::pin(Control::open(&self.access, &application_name("conflicts"))).await?,
        };
        let fresh = conflicts::add(control.client_mut(), conflicts, !how.keep.is_zero()).await?;
        *session = Some(control);
        if let Some(path) = how.file.filter(|_| !fresh.is_empty())
            && let Err(error) = conflict_file::append(&path, &fresh).await
        {
            // The conflicts are decided and counted whatever becomes of the file.
            warn!(file = %path.display(), %error, "cannot write the rows of {} conflicts to the file", fresh.len());
        }
        Ok(())
    }

    /// Deletes what was kept long enough, in batches of a transaction each. Does nothing when it was tried lately.
    ///
    /// # Errors
    ///
    /// The control database could not be reached, or refused; batches already deleted stay so.
    pub(super) async fn prune(&self, watch: &Watch) -> Result<(), Fault> {
        let keep = Some(self.how().keep).filter(|keep| !keep.is_zero()).unwrap_or(COUNTED_KEEP);
        let every = (keep / 10).min(PRUNE_EVERY_MAX);
        {
            let mut last = self.pruned.lock().unwrap_or_else(PoisonError::into_inner);
            if last.is_some_and(|last| last.elapsed() < every) {
                return Ok(());
            }
            // One that fails is tried again no sooner.
            *last = Some(Instant::now());
        }
        watch.at("pruning the history of conflicts").await?;
        let control = Box::pin(Control::open(&self.access, &application_name("VAC"))).await?;
        let mut pruned = 0;
        while !watch.stop().is_cancelled() {
            let batch = conflict_history::prune(control.client(), keep, PRUNE_BATCH).await?;
            pruned += batch;
            if batch < u64::from(PRUNE_BATCH) {
                break;
            }
            watch.at("pruning the history of conflicts").await?;
        }
        if pruned > 0 {
            info!(pruned, "conflicts that were kept long enough are no longer in the history");
        }
        Ok(())
    }
}

impl ConflictStore for ConflictHistory {
    fn store<'a>(&'a self, conflicts: &'a [Conflict]) -> BoxFuture<'a, Result<(), String>> {
        async move {
            if conflicts.is_empty() {
                return Ok(());
            }
            let why = match timeout(STORE_WITHIN, Box::pin(self.add(conflicts))).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => causes(&error),
                Err(_) => format!("it did not answer within {}", humantime::format_duration(STORE_WITHIN)),
            };
            Err(format!("cannot keep {} conflicts in the control database: {why}", conflicts.len()))
        }
        .boxed()
    }
}
