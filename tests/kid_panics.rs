//! A KID whose round panics, with servers: the actors and the rounds of the daemon, with a hook that a daemon does not
//! have. (The same without servers: `supervision` of the actors. KIDs that hang, fail for ever, or are killed by a server:
//! `daemon_failing`, `failures_load`.)

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::Actor;
use bucardo::catalog::SyncDetail;
use bucardo::engine::PairSession;
use bucardo_actors::board::{ActorId, Board, Doing, Snapshot};
use bucardo_actors::messages::{Kick, Shutdown};
use bucardo_actors::model::{DbName, Fault, Intent, KidId, Pair, Reason, RoundReport, SyncName, SyncPlan, Work};
use bucardo_actors::policy::{Exit, Restart, Settings, StalledCare};
use bucardo_actors::ports::{
    Catalog, Go, Hooks, Notice, OpenRun, Point, PurgeReport, Purger, Replicator, Rounds, RunRecord, Shown, StepHook,
    Watch,
};
use bucardo_actors::work::Workers;
use bucardo_actors::{Mcp, McpConfig};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, pending, ready};
use tokio::sync::oneshot;

use crate::support::{SyncLab, wait};

const WITHIN: Duration = Duration::from_secs(30);
const ORDERS: &str = "CREATE TABLE orders (id int PRIMARY KEY, note text)";

/// What a daemon supplies to its actors, with one sync and nothing around it.
struct Bench {
    sync: Arc<SyncDetail>,
    settings: Settings,
    /// So many more rounds of the KID to `b` panic when they have copied rows.
    panics: Arc<AtomicU32>,
    runs: Mutex<Vec<RunRecord>>,
}

impl Hooks for Bench {
    fn run(&self, _: &SyncName, _: Point, _: RoundReport) -> BoxFuture<'static, Result<Go, Fault>> {
        ready(Ok(Go::On)).boxed()
    }
}

impl Catalog for Bench {
    fn lease(&self) -> BoxFuture<'static, Result<(), Fault>> {
        ready(Ok(())).boxed()
    }

    fn lease_lost(&self) -> BoxFuture<'static, Fault> {
        pending().boxed()
    }

    fn load(&self) -> BoxFuture<'static, Result<Vec<SyncPlan>, Fault>> {
        let plan = SyncPlan {
            intent: Intent::Active,
            sources: vec!["a".into()],
            targets: vec!["b".into(), "c".into()],
            autokick: true,
            listens: true,
            check_every: Some(Duration::from_secs(100_000)),
            ..SyncPlan::inactive("s".into())
        };
        ready(Ok(vec![plan])).boxed()
    }

    fn settings(&self) -> BoxFuture<'static, Result<Settings, Fault>> {
        ready(Ok(self.settings)).boxed()
    }

    fn record(&self, run: RunRecord) -> BoxFuture<'static, Result<(), Fault>> {
        self.runs.lock().unwrap().push(run);
        ready(Ok(())).boxed()
    }

    fn show_run(&self, _: OpenRun) -> BoxFuture<'static, Result<(), Fault>> {
        ready(Ok(())).boxed()
    }

    fn set_active(&self, _: SyncName, _: bool) -> BoxFuture<'static, Result<(), Fault>> {
        ready(Ok(())).boxed()
    }

    fn show(&self, _: Vec<Shown>) -> BoxFuture<'static, Result<(), Fault>> {
        ready(Ok(())).boxed()
    }

    fn notify(&self, _: Notice) -> BoxFuture<'static, Result<(), Fault>> {
        ready(Ok(())).boxed()
    }
}

impl Purger for Bench {
    fn purge(&self, _: Watch, _: BTreeSet<SyncName>) -> BoxFuture<'static, Result<PurgeReport, Fault>> {
        ready(Ok(PurgeReport::default())).boxed()
    }
}

impl Replicator for Bench {
    fn open(&self, kid: &KidId) -> Box<dyn Rounds> {
        let Work::Pair { source, target } = &kid.work else { panic!("a pair, not {kid}") };
        let pair = Pair { sync: kid.sync.clone(), source: source.clone(), target: target.clone() };
        let panics = if target.as_str() == "b" { Arc::clone(&self.panics) } else { Arc::default() };
        Box::new(Panicking { session: PairSession::new(Arc::clone(&self.sync), pair), panics })
    }

    fn connections(&self) -> BTreeMap<DbName, usize> {
        BTreeMap::new()
    }
}

struct Panicking {
    session: PairSession,
    panics: Arc<AtomicU32>,
}

impl Rounds for Panicking {
    fn round<'a>(&'a mut self, reason: Reason, watch: Watch) -> BoxFuture<'a, Result<RoundReport, Fault>> {
        let panics = Arc::clone(&self.panics);
        let hook: StepHook = Arc::new(move |step: &str| {
            let wanted = step.starts_with("rows copied")
                && panics.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
            async move { if wanted { panic!("boom amid the rows, as the test wants") } else { Ok(()) } }.boxed()
        });
        self.session.round(reason, watch.with_hook(hook))
    }
}

fn kid(board: &Board, target: &str) -> Snapshot {
    let pair = Pair { sync: "s".into(), source: "a".into(), target: target.into() };
    board.get(&ActorId::Kid(pair.into())).unwrap_or_default()
}

async fn until_kid_is(board: &Board, target: &str, state: Doing) {
    wait::until(&format!("KID {target} is {state:?}"), WITHIN, async || {
        let kid = kid(board, target);
        if kid.state == state { Ok(()) } else { Err(kid) }
    })
    .await;
}

/// Once, and for ever: the round is as if it had not been, the KID begins anew after its wait, the other one goes on, and
/// what panics again and again stalls until a person asks.
#[test]
fn a_kid_that_panics_is_restarted_stalls_and_leaves_nothing_half() {
    let workers = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let lab = workers.block_on(SyncLab::start(&["b", "c"], ORDERS, &["orders:id"]));
    let mut settings = Settings::default();
    settings.supervision.kid.restart =
        Restart { delay_initial: Duration::from_millis(200), restarts_max: 3, ..Restart::default() };
    settings.supervision.kid.stalled =
        StalledCare { retry_every: Duration::from_secs(1000), away_every: Duration::from_secs(1000) };
    let bench =
        Arc::new(Bench { sync: Arc::new(lab.sync.clone()), settings, panics: Arc::default(), runs: Mutex::default() });
    let control = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    actix::System::with_tokio_rt(control).block_on(async {
        let board = Arc::new(Board::default());
        let ((ready, is_ready), (finished, is_finished)) = (oneshot::channel(), oneshot::channel());
        let mcp = Mcp::new(McpConfig {
            settings,
            workers: Workers::new(workers.handle().clone()),
            catalog: Arc::clone(&bench) as Arc<dyn Catalog>,
            replicator: Arc::clone(&bench) as Arc<dyn Replicator>,
            hooks: Arc::clone(&bench) as Arc<dyn Hooks>,
            purger: Arc::clone(&bench) as Arc<dyn Purger>,
            board: Arc::clone(&board),
            ready,
            finished,
            on_phase: Box::new(|_| {}),
        })
        .start();
        is_ready.await.unwrap().unwrap();
        let kick = |reason| mcp.do_send(Kick { sync: "s".into(), reason });
        let rows = async |on: &str| lab.on(on).number("SELECT count(*) FROM orders").await;
        until_kid_is(&board, "b", Doing::Idle).await;

        // Once.
        bench.panics.store(1, Ordering::SeqCst);
        lab.on("a").run("INSERT INTO orders VALUES (1, 'new'), (2, 'new')").await;
        kick(Reason::Change);
        wait::until_equal("the rows on b", WITHIN, &2, async || rows("b").await).await;
        wait::until_equal("the rows on c", WITHIN, &2, async || rows("c").await).await;
        until_kid_is(&board, "b", Doing::Idle).await;
        let counters = (kid(&board, "b").counters.failures, kid(&board, "c").counters.failures);
        assert_eq!((counters, kid(&board, "b").fault), ((1, 0), None));

        // Again and again.
        bench.panics.store(u32::MAX, Ordering::SeqCst);
        lab.on("a").run("INSERT INTO orders VALUES (3, 'new'); DELETE FROM orders WHERE id = 1").await;
        kick(Reason::Change);
        until_kid_is(&board, "b", Doing::Stalled).await;
        assert_eq!(u32::MAX - bench.panics.load(Ordering::SeqCst), 4, "the round and three restarts");
        let fault = kid(&board, "b").fault.unwrap();
        assert!(fault.message.contains("panicked: boom amid the rows"), "{fault}");
        assert_eq!(lab.on("b").rows("SELECT id FROM orders ORDER BY id").await, ["1", "2"], "nothing of the round");
        wait::until_equal("c goes on", WITHIN, &vec!["2".to_owned(), "3".to_owned()], async || {
            lab.on("c").rows("SELECT id FROM orders ORDER BY id").await
        })
        .await;
        let left = "SELECT count(*) FROM pg_locks AS l JOIN pg_stat_activity AS s USING (pid) \
            WHERE s.application_name LIKE 'bucardo KID s a->b%' AND l.database = \
            (SELECT oid FROM pg_database WHERE datname = current_database())";
        wait::until_equal("no lock of the round", WITHIN, &0, async || lab.on("b").number(left).await).await;

        // A person asks when the cause is gone.
        bench.panics.store(0, Ordering::SeqCst);
        kick(Reason::Request);
        until_kid_is(&board, "b", Doing::Idle).await;
        lab.assert_same().await;
        let told: Vec<bool> = bench.runs.lock().unwrap().iter().map(|run| run.outcome.is_err()).collect();
        assert_eq!(told.iter().filter(|failed| **failed).count(), 5, "each is in the history: {told:?}");

        mcp.do_send(Shutdown { grace: Duration::from_secs(5) });
        drop(mcp);
        assert_eq!(is_finished.await.unwrap(), Exit::Stopped);
    });
    workers.shutdown_timeout(Duration::from_secs(5));
}
