//! Actors on a paused clock: scripted ports on the same runtime, and a log of what happened when.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod control;
mod hooks;
mod merging;
mod pure;
mod scheduling;
mod supervision;
mod world;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::oneshot;

use crate::board::{ActorId, Board, Snapshot};
use crate::lifeline::Lifeline;
use crate::messages::{Kick, Reload, Shutdown};
use crate::model::{Fault, Intent, KidId, Pair, Reason, SyncName, SyncPlan, Work};
use crate::nursery::Parent;
use crate::policy::{Exit, Settings};
use crate::work::Workers;
use crate::{Mcp, McpConfig};

pub(super) use world::{Alarms, Play, World};

const SECOND: Duration = Duration::from_secs(1);

/// Runs a story on a paused clock. Afterwards nothing may be left that was not dropped, and nothing may have been
/// logged as WARN or ERROR unless the story announced it.
pub(super) fn story<F: Future<Output = ()>>(tell: impl FnOnce(Arc<World>) -> F) {
    let alarms = Alarms::default();
    let _guard = tracing::subscriber::set_default(alarms.clone());
    let runner = System::with_tokio_rt(|| {
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
    });
    runner.block_on(async {
        let world = World::new(alarms.clone());
        let kept = Arc::clone(&world);
        tell(world).await;
        kept.until("every actor is gone", |world| Arc::strong_count(&world.kept) == 1).await;
        assert_eq!(kept.log_of("open").len(), kept.log_of("close").len(), "connections left open: {:?}", kept.log());
    });
    alarms.assert_announced();
}

/// A running MCP.
pub(super) struct Rig {
    pub(super) world: Arc<World>,
    pub(super) mcp: Addr<Mcp>,
    pub(super) board: Arc<Board>,
    ready: Option<oneshot::Receiver<Result<usize, Fault>>>,
    finished: oneshot::Receiver<Exit>,
}

impl Rig {
    /// An MCP that is coming up.
    pub(super) fn begin(world: &Arc<World>) -> Self {
        let board = Arc::new(Board::default());
        let (ready, is_ready) = oneshot::channel();
        let (finished, has_finished) = oneshot::channel();
        let mcp = Mcp::new(McpConfig {
            settings: Settings::default(),
            workers: Workers::new(tokio::runtime::Handle::current()),
            catalog: world.port(),
            replicator: world.port(),
            hooks: world.port(),
            purger: world.port(),
            board: Arc::clone(&board),
            ready,
            finished,
            on_phase: world.on_phase(),
        })
        .start();
        Self { world: Arc::clone(world), mcp, board, ready: Some(is_ready), finished: has_finished }
    }

    /// An MCP that is up, with these syncs; their first rounds have ended.
    pub(super) async fn up(world: &Arc<World>, plans: &[SyncPlan]) -> Self {
        world.set_plans(plans);
        let mut rig = Self::begin(world);
        rig.ready().await.unwrap();
        let kicked = |plan: &&SyncPlan| plan.intent == Intent::Active && plan.autokick && !plan.targets.is_empty();
        let active = plans.iter().filter(kicked).count();
        world.until("the first kicks are answered", |world| world.count("notice SyncDone") >= active).await;
        world.forget();
        rig
    }

    /// How many syncs are active, once it is up.
    pub(super) async fn ready(&mut self) -> Result<usize, Fault> {
        self.ready.take().expect("asked once").await.expect("the MCP says whether it is ready")
    }

    pub(super) fn kick(&self, sync: &str, reason: Reason) {
        self.mcp.do_send(Kick { sync: sync.into(), reason });
    }

    pub(super) async fn reload(&self, plans: &[SyncPlan]) {
        self.world.set_plans(plans);
        let before = self.world.count("notice ReloadedMcp");
        self.mcp.do_send(Reload);
        self.world.until("the reload is answered", |world| world.count("notice ReloadedMcp") > before).await;
    }

    /// Kicks on request and waits for the answer.
    pub(super) async fn ask(&self, sync: &str) -> String {
        let answers = |world: &World| world.log_of("notice Sync").len();
        let before = answers(&self.world);
        self.kick(sync, Reason::Request);
        self.world.until("the kick is answered", |world| answers(world) > before).await;
        self.world.log_of("notice Sync")[before].1.clone()
    }

    pub(super) fn ctl(&self, sync: &str) -> Snapshot {
        self.board.get(&ActorId::Ctl(sync.into())).unwrap_or_default()
    }

    pub(super) fn kid(&self, sync: &str, target: &str) -> Snapshot {
        self.snapshot(kid(sync, target))
    }

    pub(super) fn snapshot(&self, kid: KidId) -> Snapshot {
        self.board.get(&ActorId::Kid(kid)).unwrap_or_default()
    }

    pub(super) async fn finished(self) -> Exit {
        let exit = self.finished.await.expect("the MCP says why it ended");
        self.world.release();
        exit
    }

    /// Stops in good order; the end of most stories.
    pub(super) async fn stop(self) {
        self.mcp.do_send(Shutdown { grace: 10 * SECOND });
        assert_eq!(self.finished().await, Exit::Stopped);
    }
}

pub(super) fn kid(sync: &str, target: &str) -> KidId {
    Pair { sync: sync.into(), source: "a".into(), target: target.into() }.into()
}

/// The KID that merges the sources of a sync.
pub(super) fn merge(sync: &str) -> KidId {
    KidId { sync: sync.into(), work: Work::Merge }
}

/// The KID of a target that follows one of several sources.
pub(super) fn follow(sync: &str, target: &str) -> KidId {
    KidId { sync: sync.into(), work: Work::Follow { target: target.into() } }
}

/// So many actors are on the board; databases are none.
pub(super) fn actors(board: &Board) -> usize {
    board.all().keys().filter(|id| !matches!(id, ActorId::Db(_))).count()
}

pub(super) fn plan(name: &str, targets: &[&str]) -> SyncPlan {
    SyncPlan {
        intent: Intent::Active,
        sources: vec!["a".into()],
        targets: targets.iter().map(|&target| target.into()).collect(),
        autokick: true,
        listens: true,
        check_every: Some(Duration::from_secs(100_000)),
        ..SyncPlan::inactive(name.into())
    }
}

/// Has an actor panic in a handler.
#[derive(Clone, Message)]
#[rtype(result = "()")]
pub(super) struct Boom;

/// Has the CTL of a sync panic, or freeze.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Break {
    pub(super) sync: SyncName,
    pub(super) freeze: bool,
}

#[derive(Message)]
#[rtype(result = "()")]
struct Freeze;

impl Handler<Boom> for Mcp {
    type Result = ();

    fn handle(&mut self, _: Boom, _: &mut Context<Self>) {
        panic!("boom in the MCP, as the test wants");
    }
}

impl Handler<Break> for Mcp {
    type Result = ();

    fn handle(&mut self, order: Break, _: &mut Context<Self>) {
        let ctl = Parent::<SyncName>::nursery(self).get(&order.sync).expect("the CTL runs").clone();
        if order.freeze {
            ctl.do_send(Freeze);
        } else {
            ctl.do_send(Boom);
        }
    }
}

impl Handler<Boom> for crate::ctl::Ctl {
    type Result = ();

    fn handle(&mut self, _: Boom, _: &mut Context<Self>) {
        panic!("boom in a CTL, as the test wants");
    }
}

/// How long a frozen MCP stays so.
pub(super) const FROZEN: Duration = Duration::from_secs(100);

/// Has the MCP freeze for [`FROZEN`].
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct FreezeMcp;

impl Handler<FreezeMcp> for Mcp {
    type Result = ();

    #[expect(clippy::disallowed_methods, reason = "a frozen actor is what the test is about")]
    fn handle(&mut self, _: FreezeMcp, ctx: &mut Context<Self>) {
        ctx.wait(tokio::time::sleep(FROZEN).into_actor(self));
    }
}

impl Handler<Freeze> for crate::ctl::Ctl {
    type Result = ();

    #[expect(clippy::disallowed_methods, reason = "a frozen actor is what the test is about")]
    fn handle(&mut self, _: Freeze, ctx: &mut Context<Self>) {
        let frozen = tokio::time::sleep(Duration::from_secs(100_000));
        ctx.wait(frozen.into_actor(self));
    }
}

/// A parent that only collects how its children ended.
#[derive(Default)]
pub(super) struct Collector(pub(super) Vec<(u64, Exit)>);

impl Actor for Collector {
    type Context = Context<Self>;
}

impl Handler<crate::messages::ChildExited<SyncName>> for Collector {
    type Result = ();

    fn handle(&mut self, news: crate::messages::ChildExited<SyncName>, _: &mut Context<Self>) {
        self.0.push((news.generation, news.exit));
    }
}

#[derive(Message)]
#[rtype(result = "Vec<(u64, Exit)>")]
pub(super) struct Collected;

impl Handler<Collected> for Collector {
    type Result = MessageResult<Collected>;

    fn handle(&mut self, _: Collected, _: &mut Context<Self>) -> Self::Result {
        MessageResult(self.0.clone())
    }
}

pub(super) type SyncLife = Lifeline<SyncName>;
