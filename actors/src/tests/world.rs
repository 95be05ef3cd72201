//! The scripted ports, and the log of what happened when.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, span};

use crate::board::{ActorId, Snapshot};
use crate::mcp::Phase;
use crate::model::{DbName, Fault, KidId, Reason, RoundReport, SyncName, SyncPlan};
use crate::policy::Settings;
use crate::ports::{
    Catalog, Go, Hooks, Notice, OpenRun, Point, PurgeReport, Purger, Replicator, Rounds, RunRecord, Shown, Watch,
};

/// What the next round of a target does.
#[derive(Clone, Debug)]
pub(crate) enum Play {
    Deliver(u64),
    More(u64),
    /// A merge does without these databases.
    Without(&'static [&'static str]),
    Slow(Duration),
    Fail(Fault),
    Panic,
    /// Never ends, and hears nothing.
    Hang,
    /// Never ends, but every second a row moves.
    Crawl,
    /// Ends when it is told to stop, with a failure.
    Heed,
    /// Is told to stop, and ends well so much later.
    Late(Duration),
}

#[derive(Default)]
struct Script {
    log: Vec<(Duration, String)>,
    plays: HashMap<String, VecDeque<Play>>,
    purges: VecDeque<Result<PurgeReport, Fault>>,
    codes: VecDeque<(Duration, Result<Go, Fault>)>,
    plans: Vec<SyncPlan>,
    leases: VecDeque<Result<(), Fault>>,
    loads: VecDeque<Result<Vec<SyncPlan>, Fault>>,
    posts: VecDeque<Result<(), Fault>>,
    set_active: VecDeque<Result<(), Fault>>,
    settings: Settings,
    load_takes: Duration,
    post_takes: Duration,
    loss: Option<Fault>,
    shown: BTreeMap<ActorId, Snapshot>,
    shows: usize,
}

/// Everything outside of the actors.
pub(crate) struct World {
    script: Mutex<Script>,
    changed: Notify,
    begun: Instant,
    alarms: Alarms,
    /// Held by every port that is in use.
    pub(crate) kept: Arc<()>,
    ports: Mutex<Option<Arc<Ports>>>,
}

pub(crate) struct Ports {
    world: Arc<World>,
    _used: Arc<()>,
}

impl World {
    pub(crate) fn new(alarms: Alarms) -> Arc<Self> {
        Arc::new(Self {
            script: Mutex::default(),
            changed: Notify::new(),
            begun: Instant::now(),
            alarms,
            kept: Arc::new(()),
            ports: Mutex::default(),
        })
    }

    pub(crate) fn port(self: &Arc<Self>) -> Arc<Ports> {
        let make = || Arc::new(Ports { world: Arc::clone(self), _used: Arc::clone(&self.kept) });
        Arc::clone(self.ports.lock().unwrap().get_or_insert_with(make))
    }

    /// Notes the phases of the MCP.
    pub(crate) fn on_phase(self: &Arc<Self>) -> Box<dyn Fn(Phase)> {
        let world = Arc::downgrade(self);
        Box::new(move |phase| {
            if let Some(world) = world.upgrade() {
                world.note(format!("phase {phase:?}"));
            }
        })
    }

    /// Only actors hold the ports from now on.
    pub(crate) fn release(&self) {
        self.ports.lock().unwrap().take();
    }

    fn with<T>(&self, change: impl FnOnce(&mut Script) -> T) -> T {
        change(&mut self.script.lock().unwrap())
    }

    pub(crate) fn note(&self, event: impl Into<String>) {
        let at = self.begun.elapsed();
        self.with(|script| script.log.push((at, event.into())));
        self.changed.notify_waiters();
    }

    pub(crate) fn set_plans(&self, plans: &[SyncPlan]) {
        self.with(|script| script.plans = plans.to_vec());
    }

    pub(crate) fn plays(&self, target: &str, plays: impl IntoIterator<Item = Play>) {
        self.with(|script| script.plays.entry(target.to_owned()).or_default().extend(plays));
    }

    /// The same, instead of what was left to play.
    pub(crate) fn plays_anew(&self, target: &str, plays: impl IntoIterator<Item = Play>) {
        self.with(|script| script.plays.insert(target.to_owned(), plays.into_iter().collect()));
    }

    pub(crate) fn purges(&self, plays: impl IntoIterator<Item = Result<PurgeReport, Fault>>) {
        self.with(|script| script.purges.extend(plays));
    }

    /// What custom codes around runs do, and how long they take.
    pub(crate) fn codes(&self, plays: impl IntoIterator<Item = (Duration, Result<Go, Fault>)>) {
        self.with(|script| script.codes.extend(plays));
    }

    pub(crate) fn leases(&self, plays: impl IntoIterator<Item = Result<(), Fault>>) {
        self.with(|script| script.leases.extend(plays));
    }

    pub(crate) fn loads(&self, plays: impl IntoIterator<Item = Result<Vec<SyncPlan>, Fault>>) {
        self.with(|script| script.loads.extend(plays));
    }

    pub(crate) fn posts(&self, plays: impl IntoIterator<Item = Result<(), Fault>>) {
        self.with(|script| script.posts.extend(plays));
    }

    pub(crate) fn refuse_set_active(&self, fault: Fault) {
        self.with(|script| script.set_active.push_back(Err(fault)));
    }

    pub(crate) fn load_takes(&self, time: Duration) {
        self.with(|script| script.load_takes = time);
    }

    /// So long takes each entry of the run history.
    pub(crate) fn post_takes(&self, time: Duration) {
        self.with(|script| script.post_takes = time);
    }

    pub(crate) fn set_settings(&self, settings: Settings) {
        self.with(|script| script.settings = settings);
    }

    pub(crate) fn lose_lease(&self, fault: Fault) {
        self.with(|script| script.loss = Some(fault));
        self.changed.notify_waiters();
    }

    /// What the control database shows of somebody.
    pub(crate) fn shown(&self, id: &ActorId) -> Option<Snapshot> {
        self.with(|script| script.shown.get(id).cloned())
    }

    /// So many lines were written for that.
    pub(crate) fn shows(&self) -> usize {
        self.with(|script| script.shows)
    }

    /// A WARN or ERROR line with this text is part of the story.
    pub(crate) fn expect_alarm(&self, text: &'static str) {
        self.alarms.0.lock().unwrap().announced.push(text);
    }

    pub(crate) fn log(&self) -> Vec<(Duration, String)> {
        self.with(|script| script.log.clone())
    }

    pub(crate) fn forget(&self) {
        self.with(|script| script.log.retain(|(_, event)| event.starts_with("open") || event.starts_with("close")));
    }

    pub(crate) fn log_of(&self, prefix: &str) -> Vec<(Duration, String)> {
        self.log().into_iter().filter(|(_, event)| event.starts_with(prefix)).collect()
    }

    pub(crate) fn count(&self, prefix: &str) -> usize {
        self.log_of(prefix).len()
    }

    /// Whole seconds at which something happened.
    pub(crate) fn times(&self, prefix: &str) -> Vec<u64> {
        self.log_of(prefix).iter().map(|(at, _)| at.as_secs()).collect()
    }

    pub(crate) fn now(&self) -> u64 {
        self.begun.elapsed().as_secs()
    }

    /// Lets virtual time pass.
    pub(crate) async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    /// Waits, for a virtual hour at most, until something is so.
    pub(crate) async fn until(&self, what: &str, so: impl Fn(&Self) -> bool) {
        let end = Instant::now() + Duration::from_secs(3600);
        while !so(self) {
            assert!(Instant::now() < end, "waited in vain until {what}; seen: {:#?}", self.log());
            let changed = self.changed.notified();
            // The log wakes us; the timer is for what is not in the log, and costs no real time.
            let _ = tokio::time::timeout(Duration::from_millis(100), changed).await;
        }
    }

    pub(crate) async fn until_seen(&self, event: &str, times: usize) {
        self.until(&format!("\"{event}\" was seen {times} times"), |world| world.count(event) >= times).await;
    }
}

/// Says when it is dropped in the middle.
struct Cut(Option<(Arc<World>, String)>);

impl Drop for Cut {
    fn drop(&mut self) {
        if let Some((world, event)) = self.0.take() {
            world.note(event);
        }
    }
}

/// How the log names a KID.
fn place(kid: &KidId) -> &str {
    kid.target().map_or("merge", DbName::as_str)
}

struct ScriptedRounds {
    world: Arc<World>,
    _used: Arc<()>,
    kid: KidId,
}

impl Drop for ScriptedRounds {
    fn drop(&mut self) {
        self.world.note(format!("close {}", place(&self.kid)));
    }
}

impl Rounds for ScriptedRounds {
    fn round<'a>(&'a mut self, reason: Reason, watch: Watch) -> BoxFuture<'a, Result<RoundReport, Fault>> {
        Box::pin(async move {
            let target = place(&self.kid);
            self.world.note(format!("begin {target} {reason:?}"));
            let mut cut = Cut(Some((Arc::clone(&self.world), format!("cut {target}"))));
            let play = self.world.with(|script| script.plays.get_mut(target)?.pop_front());
            watch.at("Snapshot").await?;
            let (mut inserts, mut more, mut away) = (0, false, Vec::new());
            match play.unwrap_or(Play::Deliver(0)) {
                Play::Deliver(n) => inserts = n,
                Play::More(n) => (inserts, more) = (n, true),
                Play::Without(dbs) => away.extend(dbs.iter().map(|&db| (DbName::from(db), "no route".to_owned()))),
                Play::Slow(time) => tokio::time::sleep(time).await,
                Play::Fail(fault) => {
                    cut.0 = None;
                    self.world.note(format!("fail {target}"));
                    return Err(fault);
                }
                Play::Panic => {
                    cut.0 = None;
                    panic!("boom in a round, as the test wants");
                }
                Play::Hang => std::future::pending().await,
                Play::Crawl => loop {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    watch.moved(1);
                },
                Play::Late(time) => {
                    watch.stop().cancelled().await;
                    tokio::time::sleep(time).await;
                }
                Play::Heed => {
                    watch.stop().cancelled().await;
                    cut.0 = None;
                    self.world.note(format!("heeded {target}"));
                    return Err(Fault::transient("cancelled"));
                }
            }
            cut.0 = None;
            self.world.note(format!("end {target}"));
            Ok(RoundReport { inserts, keys: inserts, more, away, ..RoundReport::default() })
        })
    }
}

impl Replicator for Ports {
    fn open(&self, kid: &KidId) -> Box<dyn Rounds> {
        self.world.note(format!("open {}", place(kid)));
        let (world, used) = (Arc::clone(&self.world), Arc::clone(&self.world.kept));
        Box::new(ScriptedRounds { world, _used: used, kid: kid.clone() })
    }

    fn connections(&self) -> BTreeMap<DbName, usize> {
        BTreeMap::new()
    }
}

impl Hooks for Ports {
    fn run(&self, sync: &SyncName, point: Point, brought: RoundReport) -> BoxFuture<'static, Result<Go, Fault>> {
        self.world.note(format!("code {point:?} {sync} {}", brought.inserts));
        let world = Arc::clone(&self.world);
        let (takes, play) = world.with(|script| script.codes.pop_front()).unwrap_or((Duration::ZERO, Ok(Go::On)));
        Box::pin(async move {
            tokio::time::sleep(takes).await;
            world.note(format!("coded {point:?}"));
            play
        })
    }
}

impl Purger for Ports {
    fn purge(&self, _: Watch, paused: BTreeSet<SyncName>) -> BoxFuture<'static, Result<PurgeReport, Fault>> {
        self.world.note("purge");
        if !paused.is_empty() {
            self.world.note(format!("paused {paused:?}"));
        }
        let play = self.world.with(|script| script.purges.pop_front());
        Box::pin(async move { play.unwrap_or(Ok(PurgeReport::default())) })
    }
}

impl Catalog for Ports {
    fn lease(&self) -> BoxFuture<'static, Result<(), Fault>> {
        self.world.note("lease");
        let play = self.world.with(|script| {
            script.loss = None;
            script.leases.pop_front()
        });
        Box::pin(async move { play.unwrap_or(Ok(())) })
    }

    fn lease_lost(&self) -> BoxFuture<'static, Fault> {
        let world = Arc::downgrade(&self.world);
        Box::pin(async move {
            loop {
                let Some(world) = world.upgrade() else { return std::future::pending().await };
                let changed = world.changed.notified();
                if let Some(fault) = world.with(|script| script.loss.clone()) {
                    return fault;
                }
                changed.await;
            }
        })
    }

    fn load(&self) -> BoxFuture<'static, Result<Vec<SyncPlan>, Fault>> {
        self.world.note("load");
        let play = self.world.with(|script| script.loads.pop_front().unwrap_or_else(|| Ok(script.plans.clone())));
        let takes = self.world.with(|script| script.load_takes);
        Box::pin(async move {
            tokio::time::sleep(takes).await;
            play
        })
    }

    fn settings(&self) -> BoxFuture<'static, Result<Settings, Fault>> {
        let settings = self.world.with(|script| script.settings);
        Box::pin(async move { Ok(settings) })
    }

    fn record(&self, run: RunRecord) -> BoxFuture<'static, Result<(), Fault>> {
        let outcome = run.outcome.map_or_else(|fault| fault.message, |report| report.inserts.to_string());
        self.world.note(format!("record {} {outcome}", place(&run.kid)));
        let (play, takes) = self.world.with(|script| (script.posts.pop_front(), script.post_takes));
        Box::pin(async move {
            tokio::time::sleep(takes).await;
            play.unwrap_or(Ok(()))
        })
    }

    fn show_run(&self, run: OpenRun) -> BoxFuture<'static, Result<(), Fault>> {
        self.world.note(format!("run {} {}", place(&run.kid), run.doing.as_deref().unwrap_or("broken off")));
        Box::pin(async { Ok(()) })
    }

    fn set_active(&self, sync: SyncName, active: bool) -> BoxFuture<'static, Result<(), Fault>> {
        self.world.note(format!("set_active {sync} {active}"));
        let play = self.world.with(|script| {
            let play = script.set_active.pop_front().unwrap_or(Ok(()));
            let intent = if active { crate::model::Intent::Active } else { crate::model::Intent::Inactive };
            if play.is_ok() {
                script.plans.iter_mut().filter(|plan| plan.name == sync).for_each(|plan| plan.intent = intent);
            }
            play
        });
        Box::pin(async move { play })
    }

    fn show(&self, changes: Vec<Shown>) -> BoxFuture<'static, Result<(), Fault>> {
        self.world.with(|script| {
            for Shown { id, snapshot } in changes {
                match snapshot {
                    Some(snapshot) => drop(script.shown.insert(id, snapshot)),
                    None => drop(script.shown.remove(&id)),
                }
                script.shows += 1;
            }
        });
        Box::pin(async { Ok(()) })
    }

    fn notify(&self, notice: Notice) -> BoxFuture<'static, Result<(), Fault>> {
        self.world.note(format!("notice {notice:?}"));
        Box::pin(async { Ok(()) })
    }
}

#[derive(Default)]
struct Heard {
    lines: Vec<String>,
    announced: Vec<&'static str>,
}

/// Listens to the log: what is WARN or worse must have been announced by the test.
#[derive(Clone, Default)]
pub(crate) struct Alarms(Arc<Mutex<Heard>>);

impl Alarms {
    pub(crate) fn assert_announced(&self) {
        let heard = self.0.lock().unwrap();
        for line in &heard.lines {
            assert!(heard.announced.iter().any(|text| line.contains(text)), "not announced: {line}");
        }
        for text in &heard.announced {
            assert!(heard.lines.iter().any(|line| line.contains(text)), "announced, but not logged: {text}");
        }
    }
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0 += &format!("{}={value:?} ", field.name());
    }
}

impl tracing::Subscriber for Alarms {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let meta = event.metadata();
        if *meta.level() <= Level::WARN && meta.target().starts_with("bucardo") {
            let mut line = Line(format!("{} ", meta.level()));
            event.record(&mut line);
            self.0.lock().unwrap().lines.push(line.0);
        }
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}
