//! The MCP: which syncs run, the lease on the control database, reload and shutdown.

mod lease;
mod show;
mod steer;
mod syncs;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::board::{ActorId, Board, Doing};
use crate::ctl::{Ctl, Shared};
use crate::lifeline::Lifeline;
use crate::messages::{ChildExited, Ping, Pong, PurgeNow, Shutdown, StopFileFound, Tune};
use crate::model::{Fault, SyncName};
use crate::nursery::{Nursery, Parent};
use crate::outbox::Outbox;
use crate::policy::{Exit, Settings, Verdict};
use crate::ports::{Catalog, Hooks, Notice, Purger, Replicator};
use crate::vac::{Purged, TheVac, Vac};
use crate::work::{Work, Workers};

use lease::{Lease, Loads};
use show::Show;
use syncs::Entry;

/// Everything that the daemon gives to the MCP.
pub struct McpConfig {
    /// What is tolerated, and when things happen.
    pub settings: Settings,
    /// Where database work runs.
    pub workers: Workers,
    /// The control database.
    pub catalog: Arc<dyn Catalog>,
    /// Makes the rounds of KIDs.
    pub replicator: Arc<dyn Replicator>,
    /// Runs custom codes around the runs of syncs.
    pub hooks: Arc<dyn Hooks>,
    /// Purges delivered changes.
    pub purger: Arc<dyn Purger>,
    /// Where actors show how they are.
    pub board: Arc<Board>,
    /// Told once: all syncs are up, and how many are active; or why the daemon cannot start.
    pub ready: oneshot::Sender<Result<usize, Fault>>,
    /// Told once, when the MCP and all its children are gone: why.
    pub finished: oneshot::Sender<Exit>,
    /// Called at once, on the control runtime, whenever the MCP comes into another phase after it was ready.
    pub on_phase: Box<dyn Fn(Phase)>,
}

/// What an MCP that runs is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Settings or catalog are read again; [`Phase::Reloaded`] follows, also when they cannot be read.
    Reloading,
    /// They count from now on, or everything goes on as it was.
    Reloaded,
    /// The end has begun.
    Stopping,
}

/// The master: one per daemon, the root of all actors.
pub struct Mcp {
    settings: Arc<Settings>,
    catalog: Arc<dyn Catalog>,
    purger: Arc<dyn Purger>,
    shared: Arc<Shared>,
    posting: Option<Work<()>>, // ends when the outbox is closed and empty
    syncs: BTreeMap<SyncName, Entry>,
    ctls: Nursery<SyncName, Ctl>,
    vac: Nursery<TheVac, Vac>,
    lease: Lease,
    loads: Loads,
    show: Show,
    ending: Option<Exit>, // why, once the end has begun
    found_file: bool,     // that has begun it, and the signal that belongs to it may still come
    exit: Option<Exit>,
    ready: Option<oneshot::Sender<Result<usize, Fault>>>,
    finished: Option<oneshot::Sender<Exit>>,
    on_phase: Box<dyn Fn(Phase)>,
    reloads: usize,          // that are under way
    stop: CancellationToken, // the root of all tokens
}

impl Mcp {
    /// An MCP that is started with [`Actor::start`], on the control runtime.
    #[must_use]
    pub fn new(config: McpConfig) -> Self {
        let McpConfig { settings, workers, catalog, replicator, hooks, purger, board, ready, finished, on_phase } =
            config;
        let (outbox, posting) = Outbox::open(&workers, Arc::clone(&catalog), settings.schedule.posts_max);
        let stop = CancellationToken::new();
        Self {
            ctls: Nursery::new(settings.supervision.ctl, stop.clone()),
            vac: Nursery::new(settings.supervision.vac, stop.clone()),
            settings: Arc::new(settings),
            shared: Arc::new(Shared { replicator, hooks, workers, board, outbox }),
            posting: Some(posting),
            syncs: BTreeMap::new(),
            lease: Lease::default(),
            loads: Loads::default(),
            show: Show::default(),
            ending: None,
            found_file: false,
            exit: None,
            ready: Some(ready),
            finished: Some(finished),
            on_phase,
            reloads: 0,
            catalog,
            purger,
            stop,
        }
    }

    fn tell(&self, notice: Notice) {
        self.shared.outbox.tell(notice);
    }

    fn reload_begins(&mut self) {
        self.reloads += 1;
        if self.reloads == 1 && self.ending.is_none() {
            (self.on_phase)(Phase::Reloading);
        }
    }

    fn reload_ends(&mut self) {
        self.reloads = self.reloads.saturating_sub(1);
        if self.reloads == 0 && self.ending.is_none() {
            (self.on_phase)(Phase::Reloaded);
        }
    }

    fn held(&self) -> bool {
        !self.lease.ready
    }

    fn tune(&self) -> Tune {
        Tune { settings: Arc::clone(&self.settings), held: self.held() }
    }

    /// Runs `work` on the workers; `then` gets its result in the mailbox's turn.
    fn run<T: Send + 'static>(
        &self,
        work: BoxFuture<'static, Result<T, Fault>>,
        ctx: &mut Context<Self>,
        then: impl FnOnce(&mut Self, Result<T, Fault>, &mut Context<Self>) + 'static,
    ) {
        let work = self.shared.workers.run(work);
        ctx.spawn(work.into_actor(self).map(move |ended, mcp, ctx| {
            let result = match ended {
                Ok(result) => result,
                Err(exit) => {
                    let fault = exit.fault().unwrap_or_else(|| Fault::transient("the worker runtime is gone"));
                    error!(error = %fault, "work on the control database ended in disorder");
                    Err(fault)
                }
            };
            then(mcp, result, ctx);
        }));
    }

    /// Starts no more rounds, lets running ones finish within `grace`, and ends with `exit`.
    fn wind_down(&mut self, exit: Exit, grace: Duration, ctx: &mut Context<Self>) {
        if self.ending.is_some() {
            return;
        }
        if let Some(ready) = self.ready.take() {
            let fault = exit.fault().unwrap_or_else(|| Fault::transient("asked to stop before it was ready"));
            let _ = ready.send(Err(fault));
        }
        self.ending = Some(exit);
        (self.on_phase)(Phase::Stopping);
        self.shared.board.note(&ActorId::Mcp, |snapshot| snapshot.enter(Doing::Down));
        self.ctls.stop_all(grace);
        self.vac.stop_all(grace);
        self.end_if_alone(ctx);
        // CTLs end by themselves a second after their KIDs must have; this is for a CTL that does not.
        let at_most = grace + self.settings.schedule.cancel_within + Duration::from_secs(2);
        ctx.run_later(at_most, Self::last_post);
    }

    fn end_if_alone(&mut self, ctx: &mut Context<Self>) {
        if self.ending.is_some() && self.ctls.is_empty() && self.vac.is_empty() {
            self.last_post(ctx);
        }
    }

    /// All children are gone: sends what still waits for the control database, for a while, and ends.
    fn last_post(&mut self, ctx: &mut Context<Self>) {
        let Some(posting) = self.posting.take() else { return };
        self.stop.cancel();
        if self.lease.ready {
            self.tell(Notice::Stopped);
        }
        self.shared.outbox.close();
        let posting = tokio::time::timeout(self.settings.schedule.cancel_within, posting);
        ctx.spawn(posting.into_actor(self).map(|sent, mcp, ctx| {
            if sent.is_err() {
                warn!("the control database does not answer, the last notices and entries of the run history are lost");
            }
            mcp.exit = mcp.ending.take();
            ctx.stop();
        }));
    }
}

impl Actor for Mcp {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.shared.board.note(&ActorId::Mcp, |snapshot| snapshot.enter(Doing::Down));
        Parent::<SyncName>::watch_children(self, ctx);
        Parent::<TheVac>::watch_children(self, ctx);
        self.show_states(ctx);
        self.take_lease(ctx);
    }
}

impl Drop for Mcp {
    fn drop(&mut self) {
        self.stop.cancel();
        let exit = self.exit.take().unwrap_or_else(|| {
            if std::thread::panicking() {
                Exit::Panicked("in a message handler of the MCP".to_owned())
            } else {
                Exit::Stopped // its runtime ended before it
            }
        });
        if let Some(finished) = self.finished.take() {
            let _ = finished.send(exit); // nobody waits: nothing to do
        }
    }
}

impl Parent<TheVac> for Mcp {
    type Child = Vac;

    fn nursery(&mut self) -> &mut Nursery<TheVac, Vac> {
        &mut self.vac
    }

    fn give_birth(&mut self, _: &TheVac, life: Lifeline<TheVac>, ctx: &mut Context<Self>) -> Addr<Vac> {
        let mcp = ctx.address().recipient();
        let (workers, board) = (self.shared.workers.clone(), Arc::clone(&self.shared.board));
        Vac::new(life, Arc::clone(&self.purger), workers, board, mcp, self.tune()).start()
    }

    fn on_verdict(&mut self, _: &TheVac, exit: &Exit, verdict: Verdict, ctx: &mut Context<Self>) {
        let fault = exit.fault();
        let hint = fault.as_ref().and_then(|fault| fault.hint.clone());
        let error = fault.as_ref().map(ToString::to_string);
        let (state, after) = match verdict {
            Verdict::Forget => (Doing::Down, None),
            Verdict::Restart { after } if matches!(exit, Exit::Failed(_)) => {
                warn!(error, hint, ?after, "purge failed, VAC is restarted");
                (Doing::Down, Some(after))
            }
            Verdict::Restart { after } => {
                error!(error, ?after, "VAC ended in disorder and is restarted");
                (Doing::Down, Some(after))
            }
            Verdict::Stall { retry_after, again } => {
                if again {
                    debug!(error, ?retry_after, "VAC is still stalled");
                } else {
                    error!(error, hint, ?retry_after, "VAC is stalled, delivered changes stay on the sources");
                }
                (Doing::Stalled, Some(retry_after))
            }
        };
        self.shared.board.note(&ActorId::Vac, |snapshot| match fault {
            Some(fault) => snapshot.fail(state, Some(fault), after),
            None => snapshot.enter(state),
        });
        self.end_if_alone(ctx);
    }
}

impl Handler<ChildExited<TheVac>> for Mcp {
    type Result = ();

    fn handle(&mut self, news: ChildExited<TheVac>, ctx: &mut Context<Self>) {
        self.child_exited(&news, ctx);
    }
}

impl Handler<ChildExited<SyncName>> for Mcp {
    type Result = ();

    fn handle(&mut self, news: ChildExited<SyncName>, ctx: &mut Context<Self>) {
        self.child_exited(&news, ctx);
    }
}

impl Handler<Purged> for Mcp {
    type Result = ();

    fn handle(&mut self, purged: Purged, _: &mut Context<Self>) {
        if self.vac.is_current(&TheVac, purged.generation) && self.vac.succeeded(&TheVac) {
            info!("VAC has recovered");
        }
    }
}

impl Handler<PurgeNow> for Mcp {
    type Result = ();

    fn handle(&mut self, now: PurgeNow, ctx: &mut Context<Self>) {
        if let Some(vac) = self.vac.get(&TheVac) {
            vac.do_send(now);
        } else {
            Parent::<TheVac>::retry_children(self, ctx); // it purges when it starts
        }
    }
}

impl Handler<Shutdown> for Mcp {
    type Result = ();

    fn handle(&mut self, shutdown: Shutdown, ctx: &mut Context<Self>) {
        if std::mem::take(&mut self.found_file) {
            return;
        }
        if self.ending.is_some() {
            info!("asked again to stop, running rounds are cancelled");
            self.stop.cancel();
            return;
        }
        info!(grace = ?shutdown.grace, "stopping, running rounds may finish");
        self.wind_down(Exit::Stopped, shutdown.grace, ctx);
    }
}

impl Handler<StopFileFound> for Mcp {
    type Result = ();

    fn handle(&mut self, found: StopFileFound, ctx: &mut Context<Self>) {
        if self.ending.is_none() {
            self.found_file = true;
            info!(grace = ?found.grace, "stopping, running rounds may finish");
            self.wind_down(Exit::Stopped, found.grace, ctx);
        }
    }
}

impl Handler<Ping> for Mcp {
    type Result = MessageResult<Ping>;

    fn handle(&mut self, _: Ping, _: &mut Context<Self>) -> Self::Result {
        MessageResult(Pong::default())
    }
}
