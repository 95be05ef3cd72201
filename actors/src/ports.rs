//! The ports: what the daemon supplies to the actors, and the [`Watch`] that work reports through.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use crate::board::{ActorId, Snapshot, TableId};
use crate::model::{DbName, Fault, KidId, Reason, RoundReport, SyncName, SyncPlan};
use crate::policy::Settings;

/// What a fault-injection hook may do at a step: return a fault, panic, or wait.
pub type StepHook = Arc<dyn Fn(&str) -> BoxFuture<'static, Result<(), Fault>> + Send + Sync>;

/// How work that runs elsewhere tells its owner that it moves, and learns that it should stop.
#[derive(Clone, Default)]
pub struct Watch {
    progress: Arc<AtomicU64>,
    doing: Arc<Mutex<String>>,
    stop: CancellationToken,
    hook: Option<StepHook>,
}

impl Watch {
    /// A watch whose work ends when `stop` is cancelled.
    #[must_use]
    pub fn new(stop: CancellationToken) -> Self {
        Self { stop, ..Self::default() }
    }

    /// The same watch, with `hook` called at every step. Only tests have one.
    #[must_use]
    pub fn with_hook(mut self, hook: StepHook) -> Self {
        self.hook = Some(hook);
        self
    }

    /// Says that a step begins: raises the progress counter and sets the text operators see.
    ///
    /// # Errors
    ///
    /// Only what a test's hook asks for.
    pub async fn at(&self, step: &str) -> Result<(), Fault> {
        self.progress.fetch_add(1, Ordering::Relaxed);
        {
            let mut doing = self.doing.lock().unwrap_or_else(PoisonError::into_inner);
            doing.clear();
            doing.push_str(step);
        }
        match &self.hook {
            Some(hook) => hook(step).await,
            None => Ok(()),
        }
    }

    /// Says that `n` more pieces (rows, bytes) moved within the present step.
    pub fn moved(&self, n: u64) {
        self.progress.fetch_add(n, Ordering::Relaxed);
    }

    /// Everything that moved so far; only its growth means anything.
    #[must_use]
    pub fn progress(&self) -> u64 {
        self.progress.load(Ordering::Relaxed)
    }

    /// The step that is running, as operators see it.
    #[must_use]
    pub fn doing(&self) -> String {
        self.doing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Cancelled when the work should stop at its next safe point.
    #[must_use]
    pub fn stop(&self) -> &CancellationToken {
        &self.stop
    }
}

/// What one run of a KID ended with, for the run history (`syncrun`).
#[derive(Clone, Debug)]
pub struct RunRecord {
    /// The KID that ran.
    pub kid: KidId,
    /// When the round began.
    pub started: SystemTime,
    /// When it ended.
    pub ended: SystemTime,
    /// What it did, or why it failed.
    pub outcome: Result<RoundReport, Fault>,
    /// After a failure: when the KID is tried again.
    pub next_try: Option<SystemTime>,
}

/// A run that goes on, for the run history: it lasts long enough to be seen.
#[derive(Clone, Debug)]
pub struct OpenRun {
    /// The KID that runs.
    pub kid: KidId,
    /// When it began: its [`RunRecord`] will say the same.
    pub started: SystemTime,
    /// What its rounds have done so far.
    pub so_far: RoundReport,
    /// The step that runs; `None`: it was broken off, and no record follows.
    pub doing: Option<String>,
}

/// What the daemon tells the outside by NOTIFY; the adapter knows the channels of both styles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The MCP is coming up.
    Boot,
    /// All syncs are up.
    Started,
    /// The MCP is gone.
    Stopped,
    /// There is no active sync.
    NoSyncs,
    /// Answer to a ping of the MCP.
    McpPong,
    /// Answer to a whole reload.
    ReloadedMcp,
    /// Answer to a reload of the settings.
    ReloadedConfig,
    /// A sync is up.
    Activated(SyncName),
    /// A sync is down.
    Deactivated(SyncName),
    /// Answer to the reload of one sync.
    Reloaded(SyncName),
    /// The reload of one sync failed.
    ReloadError(SyncName),
    /// A run of the sync ended well: every KID that was due has committed.
    SyncDone(SyncName),
    /// A run of the sync failed.
    SyncKill(SyncName),
    /// A KID has brought a database all that was due, as part of a run of the sync.
    TargetDone(SyncName, DbName),
    /// A KID that writes to a database failed.
    TargetKill(SyncName, DbName),
    /// A kick of a sync that is unknown, inactive or paused.
    SyncError(SyncName),
    /// A sync is paused.
    Paused(SyncName),
    /// A sync goes on after a pause.
    Resumed(SyncName),
    /// A sync, or one of its KIDs, is given up for a while.
    Stalled(SyncName),
    /// Nothing of a sync is stalled any more.
    Recovered(SyncName),
    /// A table stays behind until a difference is gone.
    Quarantined(TableId),
    /// It is back.
    Returned(TableId),
    /// A round clashed with the work of somebody else, and is repeated soon.
    Clashed(SyncName),
    /// Answer to a ping of an actor.
    Pong(ActorId),
    /// A database cannot be reached.
    DbStalled(DbName),
    /// A database can be reached again.
    DbActive(DbName),
}

/// How an actor or a database is now; `None`: it is no longer there.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Who.
    pub id: ActorId,
    /// How it is.
    pub snapshot: Option<Snapshot>,
}

/// The control database, as far as actors need it.
pub trait Catalog: Send + Sync + 'static {
    /// Takes the lease: the right to be the one daemon of this control database.
    ///
    /// Permanent fault: another daemon holds it. Transient: the database cannot be reached.
    fn lease(&self) -> BoxFuture<'static, Result<(), Fault>>;

    /// Resolves, with the cause, when the lease or its connection is lost.
    fn lease_lost(&self) -> BoxFuture<'static, Fault>;

    /// Reads every sync.
    fn load(&self) -> BoxFuture<'static, Result<Vec<SyncPlan>, Fault>>;

    /// Reads the settings again, all layers of them: an operator asked for it by NOTIFY.
    fn settings(&self) -> BoxFuture<'static, Result<Settings, Fault>>;

    /// Writes the end of a run to the run history. A run sums up the rounds of one KID, see
    /// [`Schedule::run_max`](crate::policy::Schedule::run_max).
    fn record(&self, run: RunRecord) -> BoxFuture<'static, Result<(), Fault>>;

    /// Shows a run that goes on in the run history.
    fn show_run(&self, run: OpenRun) -> BoxFuture<'static, Result<(), Fault>>;

    /// Writes `sync.status` (`active` or `inactive`), as an operator asked by NOTIFY.
    fn set_active(&self, sync: SyncName, active: bool) -> BoxFuture<'static, Result<(), Fault>>;

    /// Shows how things are to whoever reads the control database: these changes, all or none. It knows nothing of before
    /// the lease was taken.
    fn show(&self, changes: Vec<Shown>) -> BoxFuture<'static, Result<(), Fault>>;

    /// Tells the outside.
    fn notify(&self, notice: Notice) -> BoxFuture<'static, Result<(), Fault>>;
}

/// The rounds of one KID. It may keep connections from one round to the next; dropping it closes them.
pub trait Rounds: Send {
    /// Runs one round. After an error, or when dropped half-way, the value must not be used again:
    /// connections are closed and the servers roll back; nothing is half delivered.
    fn round<'a>(&'a mut self, reason: Reason, watch: Watch) -> BoxFuture<'a, Result<RoundReport, Fault>>;
}

/// Makes the rounds of KIDs.
pub trait Replicator: Send + Sync + 'static {
    /// Cannot fail: connecting is part of the first round.
    fn open(&self, kid: &KidId) -> Box<dyn Rounds>;

    /// How many sessions the daemon has open on each database, for whatever purpose. Asks nobody.
    fn connections(&self) -> BTreeMap<DbName, usize>;
}

/// Where custom codes run around the runs of a sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// Before the KIDs of a run begin.
    BeforeSync,
    /// After all KIDs of a run ended well, and something was brought.
    AfterSync,
}

/// What custom codes want.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Go {
    /// The run goes on.
    On,
    /// The run is left before it begins; that is no failure.
    Leave,
}

/// Runs custom codes around the runs of syncs.
pub trait Hooks: Send + Sync + 'static {
    /// Runs all that are there; `brought`: what the run has done so far. A fault fails the run.
    fn run(&self, sync: &SyncName, point: Point, brought: RoundReport) -> BoxFuture<'static, Result<Go, Fault>>;
}

/// What one purge did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PurgeReport {
    /// Delta rows deleted.
    pub rows: u64,
    /// Delta rows that stay because some target has not read them yet.
    pub held_back: u64,
}

/// Deletes what every target has read.
pub trait Purger: Send + Sync + 'static {
    /// Purges all active sources, in bounded batches. A source that cannot be reached is left out; if none can be, or
    /// something else fails on one, that is a fault that names it, after the others have been purged. Targets of the syncs
    /// that are `paused` do not read at present because a person wants it so.
    fn purge(&self, watch: Watch, paused: BTreeSet<SyncName>) -> BoxFuture<'static, Result<PurgeReport, Fault>>;
}
