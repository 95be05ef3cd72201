//! The listeners: one session on the control database and one on each active source, which turn notifications
//! into messages to the MCP. A session that is lost comes back by itself; what was said meanwhile is lost, so the
//! MCP then looks at every sync of that source, or reads the catalog again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use actix::Addr;
use bucardo_actors::Mcp;
use bucardo_actors::board::ActorId;
use bucardo_actors::messages::{
    CheckDb, ControlHeard, Kick, KickDb, McpPing, PingActor, Reload, ReloadConfig, ReloadSync, SetState, Shutdown,
    StopVac, Wish,
};
use bucardo_actors::model::{DbName, Reason, SyncName};
use futures_util::future::join_all;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_postgres::Notification;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, info, warn};

use super::Numbers;
use super::channels::{self, Request};
use super::hush::{Act, Activity, Hush};
use super::lease::application_name;
use crate::catalog::messages;
use crate::pg::{Access, Connection, Sql, causes, connect};
use crate::source::{Gate, horizon, set_gate};

const DELAY_INITIAL: Duration = Duration::from_secs(1);
const DELAY_MAX: Duration = Duration::from_secs(30);
/// A control database that answered a moment ago also lets us listen, and soon.
const HEARD_WITHIN: Duration = Duration::from_secs(5);

/// A listener that is asked to end may take this long.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// How often the gate of a sync is looked for that was not validated yet.
const GATE_EVERY: Duration = Duration::from_secs(10);

/// Where a listener listens.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Control,
    Source(DbName),
}

/// One source to listen to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) access: Access,
    /// The syncs that read there.
    pub(super) syncs: BTreeSet<SyncName>,
}

/// All listeners. Dropping it ends them.
pub struct Listeners {
    shared: Arc<Shared>,
    workers: Handle,
    sources: Mutex<BTreeMap<DbName, Running>>,
    control: Mutex<Option<Running>>,
}

struct Shared {
    mcp: OnceLock<Addr<Mcp>>,
    /// The backend that sends our own notices.
    own_backend: AtomicI32,
    grace: Duration,
    activity: Activity,
    numbers: Numbers,
}

struct Running {
    access: Access,
    channels: watch::Sender<Vec<String>>,
    /// What is listened to.
    present: watch::Receiver<Vec<String>>,
    task: AbortOnDropHandle<()>,
}

impl Listeners {
    /// No listener yet. `grace` is what a request to stop allows to running rounds; `activity` tells which sources
    /// are busy, and `numbers` who is pinged by which.
    #[must_use]
    pub fn new(workers: Handle, grace: Duration, activity: Activity, numbers: Numbers) -> Self {
        let shared = Shared { mcp: OnceLock::new(), own_backend: AtomicI32::new(0), grace, activity, numbers };
        Self { shared: Arc::new(shared), workers, sources: Mutex::default(), control: Mutex::default() }
    }

    /// To whom messages go.
    pub fn tell(&self, mcp: Addr<Mcp>) {
        // A process has one MCP.
        let _ = self.shared.mcp.set(mcp);
    }

    /// Notices of this backend are our own.
    pub(super) fn set_own_backend(&self, pid: i32) {
        self.shared.own_backend.store(pid, Ordering::Relaxed);
    }

    /// Listens to the control database, for these syncs and databases by name; returns when it does, so that whoever hears that
    /// the daemon is ready is heard by it. A listener that cannot is waited for only a while.
    pub(super) async fn listen_to_control(&self, access: &Access, syncs: &BTreeSet<SyncName>, dbs: &BTreeSet<DbName>) {
        let wanted = channels::control_channels(syncs.iter(), dbs.iter(), &self.shared.numbers.all());
        let mut present = {
            let mut control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
            let running = control.get_or_insert_with(|| self.start(Place::Control, access.clone(), wanted.clone()));
            change(running, wanted.clone());
            running.present.clone()
        };
        let listens = present.wait_for(|present| *present == wanted);
        if tokio::time::timeout(HEARD_WITHIN, listens).await.is_err() {
            debug!("the control database is not listened to yet");
        }
    }

    /// Listens to exactly these sources.
    pub(super) fn listen_to_sources(&self, wanted: BTreeMap<DbName, Source>) {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        sources.retain(|db, running| wanted.get(db).is_some_and(|source| source.access == running.access));
        for (db, source) in wanted {
            let channels = channels::source_channels(source.syncs.iter());
            if let Some(running) = sources.get(&db) {
                // Also when they are the same: a sync that was removed and made again has a new gate.
                running.channels.send_replace(channels);
            } else {
                let started = self.start(Place::Source(db.clone()), source.access, channels);
                sources.insert(db, started);
            }
        }
    }

    fn start(&self, place: Place, access: Access, channels: Vec<String>) -> Running {
        let (channels, wanted) = watch::channel(channels);
        let (subscribed, present) = watch::channel(Vec::new());
        let (shared, own_access) = (Arc::clone(&self.shared), access.clone());
        let listener = Listener { shared, place, access: own_access, channels: wanted, subscribed, missed: false };
        let task = AbortOnDropHandle::new(self.workers.spawn(listener.run()));
        Running { access, channels, present, task }
    }

    /// Ends all listeners; changes in the sources notify nobody from now on.
    pub async fn close(&self) {
        let sources = std::mem::take(&mut *self.sources.lock().unwrap_or_else(PoisonError::into_inner));
        // That of the control database, too: one that is still there when its connection goes would complain.
        let control = self.control.lock().unwrap_or_else(PoisonError::into_inner).take();
        let ends = sources.into_values().chain(control).map(|Running { channels, task, .. }| {
            // A listener without channels says goodbye and ends.
            drop(channels);
            tokio::time::timeout(CLOSE_WITHIN, task)
        });
        join_all(ends).await;
    }
}

fn change(running: &Running, channels: Vec<String>) {
    running.channels.send_if_modified(|present| {
        let differs = *present != channels;
        *present = channels;
        differs
    });
}

type Hushes = BTreeMap<SyncName, Hush>;

async fn sleep_until(due: Option<Instant>) {
    if let Some(due) = due {
        tokio::time::sleep_until(due.into()).await;
    }
}

struct Listener {
    shared: Arc<Shared>,
    place: Place,
    access: Access,
    channels: watch::Receiver<Vec<String>>,
    subscribed: watch::Sender<Vec<String>>,
    /// A session was lost or not to be had: what was said since was not heard.
    missed: bool,
}

impl Listener {
    async fn run(mut self) {
        let mut failures = 0_u32;
        loop {
            let Err(cause) = self.listen(&mut failures).await else { return };
            self.subscribed.send_replace(Vec::new());
            self.missed = true;
            let delay = DELAY_INITIAL.saturating_mul(2_u32.saturating_pow(failures)).min(DELAY_MAX);
            if failures == 0 {
                warn!(place = %self.describe(), error = cause, "cannot listen for kicks and requests, trying again");
            } else {
                debug!(place = %self.describe(), error = cause, ?delay, "still cannot listen");
            }
            failures = failures.saturating_add(1);
            tokio::time::sleep(delay).await;
        }
    }

    /// Listens until the session is lost, which is the error; `Ok`: nobody wants it any more.
    async fn listen(&mut self, failures: &mut u32) -> Result<(), String> {
        let name = application_name("listener");
        let mut connection = Box::pin(connect(&self.access, &name)).await.map_err(|error| causes(&error))?;
        let Some(mut heard) = connection.notifications() else { return Err("no notifications".to_owned()) };
        let mut present = self.channels.borrow_and_update().clone();
        subscribe(&connection, &[], &present).await?;
        self.subscribed.send_replace(present.clone());
        let mut hushes = self.open_gates(&connection, &present).await?;
        if *failures > 0 {
            info!(place = %self.describe(), "listening again");
        }
        *failures = 0;
        self.back();
        if self.place == Place::Control {
            if let Some(mcp) = self.shared.mcp.get().filter(|_| std::mem::take(&mut self.missed)) {
                mcp.do_send(ControlHeard);
            }
            log_messages(&connection).await; // left while nobody listened
        }
        let mut again = Instant::now() + GATE_EVERY;
        loop {
            let lacks_gates = hushes.len() < self.syncs(&present).len();
            let due = hushes.values().filter_map(Hush::due).chain(lacks_gates.then_some(again)).min();
            tokio::select! {
                notification = heard.recv() => match notification {
                    Some(notification) => self.heard(&connection, &notification, &mut hushes).await?,
                    None => return Err("the session was lost".to_owned()),
                },
                changed = self.channels.changed() => {
                    if changed.is_err() {
                        return self.close_gates(&connection, &hushes).await;
                    }
                    let wanted = self.channels.borrow_and_update().clone();
                    subscribe(&connection, &present, &wanted).await?;
                    self.subscribed.send_replace(wanted.clone());
                    present = wanted;
                    hushes = self.open_gates(&connection, &present).await?;
                    self.back();
                }
                () = sleep_until(due), if due.is_some() => {
                    if lacks_gates && again <= Instant::now() {
                        again = Instant::now() + GATE_EVERY;
                        hushes = self.open_gates(&connection, &present).await?;
                    }
                    self.tick(&connection, &mut hushes).await?;
                }
            }
        }
    }

    /// The syncs that read here, by the channels of their kicks.
    fn syncs(&self, channels: &[String]) -> Vec<SyncName> {
        let named = |channel: &String| match channels::request(channel, "") {
            Some(Request::Kick(sync)) => Some(sync),
            _ => None,
        };
        if self.place == Place::Control { Vec::new() } else { channels.iter().filter_map(named).collect() }
    }

    /// From now on every change notifies.
    async fn open_gates(&self, connection: &Connection, channels: &[String]) -> Result<Hushes, String> {
        let mut hushes = Hushes::new();
        for sync in self.syncs(channels) {
            if self.gate(connection, &sync, Gate::Notify).await? {
                hushes.insert(sync, Hush::new(Instant::now()));
            }
        }
        // Who went before us may have left a gate closed.
        let (_, xmax) = horizon(connection).await.map_err(|error| causes(&error))?;
        for hush in hushes.values_mut() {
            hush.opened(Instant::now(), xmax);
        }
        Ok(hushes)
    }

    /// Nobody listens any more.
    async fn close_gates(&self, connection: &Connection, hushes: &Hushes) -> Result<(), String> {
        for sync in hushes.keys() {
            self.gate(connection, sync, Gate::Quiet).await?;
        }
        Ok(())
    }

    /// Sets a gate; false: there is none, because the sync was not validated here. Its KIDs will say so.
    async fn gate(&self, connection: &Connection, sync: &SyncName, gate: Gate) -> Result<bool, String> {
        match set_gate(connection, sync, gate).await {
            Ok(()) => Ok(true),
            Err(error) if error.code().is_some() => {
                debug!(%sync, place = %self.describe(), error = %causes(&error), "the sync has no gate");
                Ok(false)
            }
            Err(error) => Err(causes(&error)),
        }
    }

    /// A change of `sync` was heard: too many, and the source is better left quiet.
    async fn count(&self, connection: &Connection, sync: &SyncName, hushes: &mut Hushes) -> Result<(), String> {
        let (Place::Source(db), Some(hush)) = (&self.place, hushes.get_mut(sync)) else { return Ok(()) };
        if hush.heard(Instant::now()) && self.gate(connection, sync, Gate::Quiet).await? {
            hush.closed(Instant::now(), self.shared.activity.rounds(db, sync));
            debug!(%sync, %db, "the source is busy, its changes keep quiet");
        }
        Ok(())
    }

    async fn tick(&self, connection: &Connection, hushes: &mut Hushes) -> Result<(), String> {
        let (Place::Source(db), Some(mcp)) = (&self.place, self.shared.mcp.get()) else { return Ok(()) };
        for (sync, hush) in hushes {
            let act = hush.tick(Instant::now(), self.shared.activity.rounds(db, sync));
            match act {
                Act::Nothing => continue,
                Act::Look => {}
                Act::Open => {
                    self.gate(connection, sync, Gate::Notify).await?;
                    let (_, xmax) = horizon(connection).await.map_err(|error| causes(&error))?;
                    hush.opened(Instant::now(), xmax);
                    debug!(%sync, %db, "the source is no longer busy, its changes notify");
                }
                Act::Settle => {
                    let (xmin, _) = horizon(connection).await.map_err(|error| causes(&error))?;
                    hush.horizon(xmin);
                }
            }
            mcp.do_send(Kick { sync: sync.clone(), reason: Reason::Change });
        }
        Ok(())
    }

    fn describe(&self) -> String {
        match &self.place {
            Place::Control => "control database".to_owned(),
            Place::Source(db) => format!("database \"{db}\""),
        }
    }

    /// The session is new: what was said before it began was not heard.
    fn back(&self) {
        if let (Place::Source(db), Some(mcp)) = (&self.place, self.shared.mcp.get()) {
            mcp.do_send(KickDb { db: db.clone() });
        }
    }

    async fn heard(
        &self,
        connection: &Connection,
        notification: &Notification,
        hushes: &mut Hushes,
    ) -> Result<(), String> {
        let own = self.shared.own_backend.load(Ordering::Relaxed);
        if self.place == Place::Control && notification.process_id() == own {
            return Ok(());
        }
        let Some(request) = channels::request(notification.channel(), notification.payload()) else { return Ok(()) };
        let Some(mcp) = self.shared.mcp.get() else { return Ok(()) };
        debug!(?request, place = %self.describe(), "heard");
        match (request, &self.place) {
            (Request::Kick(sync), Place::Source(_)) => {
                mcp.do_send(Kick { sync: sync.clone(), reason: Reason::Change });
                return self.count(connection, &sync, hushes).await;
            }
            // Whoever may write to a source may kick, and nothing else.
            (_, Place::Source(_)) => {}
            (Request::Kick(sync), Place::Control) => mcp.do_send(Kick { sync, reason: Reason::Request }),
            (Request::Ping, _) => mcp.do_send(McpPing),
            (Request::PingVac, _) => mcp.do_send(PingActor { id: ActorId::Vac }),
            (Request::PingNumber(number), _) => {
                if let Some(id) = self.shared.numbers.find(number) {
                    mcp.do_send(PingActor { id });
                }
            }
            (Request::Reload, _) => mcp.do_send(Reload),
            (Request::ReloadConfig, _) => mcp.do_send(ReloadConfig),
            (Request::ReloadSync(sync), _) => mcp.do_send(ReloadSync { sync }),
            (Request::FullStop, _) => mcp.do_send(Shutdown { grace: self.shared.grace }),
            (Request::Activate(sync), _) => mcp.do_send(SetState { sync, wish: Wish::Activate }),
            (Request::Deactivate(sync), _) => mcp.do_send(SetState { sync, wish: Wish::Deactivate }),
            (Request::Pause(sync), _) => mcp.do_send(SetState { sync, wish: Wish::Pause }),
            (Request::Resume(sync), _) => mcp.do_send(SetState { sync, wish: Wish::Resume }),
            (Request::StopVac, _) => mcp.do_send(StopVac),
            (Request::DeadDb(db), _) => mcp.do_send(CheckDb { db }),
            (Request::LogMessage, _) => log_messages(connection).await,
        }
        Ok(())
    }
}

/// `LISTEN` to what is wanted and not present, `UNLISTEN` the other way round.
async fn subscribe(connection: &Connection, present: &[String], wanted: &[String]) -> Result<(), String> {
    let words = |word: &str, channel: &String| format!("{word} {};", Sql::ident(channel));
    let fresh = wanted.iter().filter(|channel| !present.contains(channel)).map(|channel| words("LISTEN", channel));
    let gone = present.iter().filter(|channel| !wanted.contains(channel)).map(|channel| words("UNLISTEN", channel));
    let statements: String = fresh.chain(gone).collect();
    connection.batch_execute(&statements).await.map_err(|error| causes(&error))
}

/// Lines that operators left for the log.
async fn log_messages(connection: &Connection) {
    match messages::take(&**connection).await {
        Ok(lines) => {
            for (text, left_at) in lines {
                let left_at = chrono::DateTime::<chrono::Local>::from(left_at).format("%a %b %e %H:%M:%S %Y");
                // An operator's word counts at every level.
                info!(target: "bucardo::daemon::message", "MESSAGE ({left_at}): {text}");
            }
        }
        Err(error) => warn!(error = %causes(&error), "cannot read the messages for the log"),
    }
}
