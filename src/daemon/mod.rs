//! The daemon: puts the parts together, and holds what belongs to the process.
//!
//! Two runtimes. The control runtime is the main thread: all actors and timers. The worker runtime has the
//! sockets: connections, listeners, rounds, purges.

mod logging;
mod mail;
pub mod piddir;
pub mod pidfile;
mod signals;
mod systemd;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Addr};
use bucardo_actors::board::Board;
use bucardo_actors::health;
use bucardo_actors::messages::{Shutdown, StopFileFound};
use bucardo_actors::model::Fault;
use bucardo_actors::policy::{self, Exit};
use bucardo_actors::work::Workers;
use bucardo_actors::{Mcp, McpConfig, Phase};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tracing::{error, info};

use crate::adapters::{
    Activity, ConflictHistory, ControlDatabase, Listeners, Numbers, SourcePurger, SyncHooks, SyncMap, SyncReplicator,
    Workshop,
};
use crate::config::{Layers, Settings, SettingsError, host_is_safe};
use crate::custom;
use crate::pg::{Access, causes};
use pidfile::PidFile;
use signals::SignalThread;

pub use logging::{Log, LogError};
pub use mail::Mailer;

/// The stop file is looked for this often.
const STOP_FILE_EVERY: Duration = Duration::from_secs(1);
/// Tasks of the workers that have not ended by then are left to the end of the process.
const WORKERS_END_WITHIN: Duration = Duration::from_secs(2);
const WORKER_STACK_BYTES: usize = 1024 * 1024;

/// Is told once whether the daemon is ready, or why it is not.
pub type Announce = Box<dyn FnOnce(Result<(), &DaemonError>)>;

/// Through what the daemon speaks to people.
pub struct Voices {
    /// Its log.
    pub log: Log,
    /// Its mail.
    pub mailer: Arc<Mailer>,
}

impl Voices {
    /// Takes over other settings.
    pub fn change(&self, settings: &Settings) {
        self.log.change(&settings.log);
        self.mailer.change(&settings.mail);
    }
}

/// Everything that a daemon is started with.
pub struct Start {
    /// All settings.
    pub settings: Settings,
    /// Where they came from, without those of the control database: to read them again.
    pub layers: Layers,
    /// The control database.
    pub access: Access,
    /// A service manager or a terminal looks after the process.
    pub foreground: bool,
    /// A daemon without an active sync ends at once.
    pub exit_on_nosync: bool,
    /// Why it is started, as its operator says.
    pub reason: String,
    /// The command line, without passwords.
    pub command_line: String,
    /// Told once: the daemon is ready, or why it is not.
    pub announce: Announce,
}

/// Why the daemon does not run, or ended.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The host is not one that `host_safety_check` allows.
    #[error("this host, \"{host}\", is not allowed by host_safety_check \"{check}\"")]
    Host {
        /// The name of this host.
        host: String,
        /// The setting.
        check: String,
    },
    /// A setting makes no sense.
    #[error(transparent)]
    Settings(Box<SettingsError>),
    /// The stop file is there.
    #[error("Cannot run while this file exists: \"{}\"", .0.display())]
    StopFile(PathBuf),
    /// The PID file is in use or cannot be written.
    #[error("cannot use the PID file \"{}\"", path.display())]
    PidFile {
        /// Which one.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The log cannot be opened.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Threads or signals are not to be had.
    #[error("cannot start the {what}")]
    Process {
        /// What of the process.
        what: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// There is no active sync, and the daemon was to end then.
    #[error("there is no active sync")]
    NoSyncs,
    /// The MCP gave up.
    #[error("{0}")]
    Fault(Fault),
}

impl DaemonError {
    /// The exit code of the process.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        if matches!(self, Self::Host { .. }) { 2 } else { 1 }
    }

    /// What the operator can do, where we know.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Fault(fault) => return fault.hint.clone(),
            Self::Host { .. } => {
                "this control database may be a copy; run the daemon where it belongs, or change the setting"
            }
            Self::StopFile(_) => "remove it, or run \"bucardo start\", which does",
            Self::PidFile { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                "create its directory, or name another one with --piddir"
            }
            Self::PidFile { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                "give this account write access to its directory, or name another one with --piddir"
            }
            Self::Log(error) => error.hint(),
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

/// Runs the daemon until it is asked to stop. Call it on the main thread, outside of any runtime.
///
/// # Errors
///
/// [`DaemonError`]: why it could not start, or ended by itself.
pub fn run(start: Start) -> Result<(), DaemonError> {
    let Start { mut settings, layers, access, foreground, exit_on_nosync, reason, command_line, announce } = start;
    if foreground {
        // Nobody waits at a terminal: a control database that is away is waited for.
        settings.supervision.lease.tries_max = u32::MAX;
    }
    match prepare(&settings, foreground, &command_line) {
        Ok((log, pid_file)) => {
            let ended = Daemon { settings, layers, access, log, exit_on_nosync, reason }.run(announce);
            if let Err(error) = &ended {
                error!(hint = error.hint(), "the daemon ends: {}", causes(error));
            }
            drop(pid_file);
            ended
        }
        Err(error) => {
            announce(Err(&error));
            Err(error)
        }
    }
}

/// Tells the service manager what is waited for before the daemon can start, and that it takes so much longer.
pub fn tell_waiting(what: &str, longer: Duration) {
    systemd::waiting(what, longer);
}

/// What must be right before anything is connected to.
fn prepare(settings: &Settings, foreground: bool, command_line: &str) -> Result<(Log, PidFile), DaemonError> {
    let check = &settings.daemon.host_safety_check;
    let host = host();
    if !host_is_safe(check, &host).map_err(|error| DaemonError::Settings(Box::new(error)))? {
        return Err(DaemonError::Host { host, check: check.clone() });
    }
    let stop_file = settings.daemon.stop_file();
    if piddir::is_there(&stop_file) {
        return Err(DaemonError::StopFile(stop_file));
    }
    let path = settings.daemon.pid_file();
    let pid_file = PidFile::create(&path, command_line).map_err(|source| DaemonError::PidFile { path, source })?;
    let log = Log::start(&settings.log, foreground)?;
    log_panics();
    info!("Starting Bucardo version {}", env!("CARGO_PKG_VERSION"));
    Ok((log, pid_file))
}

fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// A panic is a line in the log; stderr may be gone.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let payload = panic.payload();
        let text = payload.downcast_ref::<&str>().map(ToString::to_string);
        let text = text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_default();
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        error!("panicked at {place}: {text}");
    }));
}

struct Daemon {
    settings: Settings,
    layers: Layers,
    access: Access,
    log: Log,
    exit_on_nosync: bool,
    reason: String,
}

impl Daemon {
    fn run(self, announce: Announce) -> Result<(), DaemonError> {
        let workers = match self.workers() {
            Ok(workers) => workers,
            Err(error) => {
                announce(Err(&error));
                return Err(error);
            }
        };
        let control = match Builder::new_current_thread().enable_all().build() {
            Ok(control) => control,
            Err(source) => {
                let error = DaemonError::Process { what: "control runtime", source };
                announce(Err(&error));
                return Err(error);
            }
        };
        let system = actix::System::with_tokio_rt(|| control);
        let ended = system.block_on(self.control(&workers, announce));
        workers.shutdown_timeout(WORKERS_END_WITHIN);
        ended
    }

    fn workers(&self) -> Result<Runtime, DaemonError> {
        Builder::new_multi_thread()
            .worker_threads(self.settings.daemon.worker_threads.max(1))
            .max_blocking_threads(4)
            .thread_name("worker")
            .thread_stack_size(WORKER_STACK_BYTES)
            .enable_all()
            .build()
            .map_err(|source| DaemonError::Process { what: "worker runtime", source })
    }

    /// The life of the daemon, on the control runtime.
    async fn control(self, workers: &Runtime, announce: Announce) -> Result<(), DaemonError> {
        let grace = self.settings.schedule.grace;
        let board = Arc::new(Board::default());
        let syncs = SyncMap::default();
        let activity = Activity::default();
        let numbers = Numbers::default();
        let listeners = Listeners::new(workers.handle().clone(), grace, activity.clone(), numbers.clone());
        let listeners = Arc::new(listeners);
        let (ready, is_ready) = oneshot::channel();
        let (finished, is_finished) = oneshot::channel();
        let conflicts = Arc::new(ConflictHistory::new(self.access.clone(), &self.settings));
        let purger =
            Arc::new(SourcePurger::new(self.access.clone(), syncs.clone(), Arc::clone(&conflicts), &self.settings));
        let mailer = Arc::new(Mailer::start(workers.handle(), &self.settings, &host(), Arc::clone(&board)));
        let voices = Voices { log: self.log.clone(), mailer: Arc::clone(&mailer) };
        let post: custom::Post = {
            let mailer = Arc::clone(&mailer);
            Arc::new(move |mail| mailer.tell(mail::Event::Code(mail)))
        };
        let workshop = Workshop::new(custom::open(), Some(post));
        let hooks = Arc::new(SyncHooks::new(syncs.clone(), workshop.clone()));
        let replicator = SyncReplicator::new(syncs.clone(), activity, conflicts).with_codes(workshop);
        replicator.desks().change(&self.settings);
        let catalog = ControlDatabase::new(
            self.access.clone(),
            self.layers.clone(),
            voices,
            syncs,
            Arc::clone(&listeners),
            Arc::clone(&purger),
            (numbers, replicator.desks()),
        );
        let mcp = Mcp::new(McpConfig {
            settings: policy::Settings { supervision: self.settings.supervision, schedule: self.settings.schedule },
            workers: Workers::new(workers.handle().clone()),
            catalog: Arc::new(catalog),
            replicator: Arc::new(replicator),
            hooks,
            purger,
            board: Arc::clone(&board),
            ready,
            finished,
            on_phase: on_phase(Arc::clone(&board)),
        })
        .start();
        listeners.tell(mcp.clone());
        watch_stop_file(self.settings.daemon.stop_file(), mcp.clone(), grace);
        tell_watchdog(mcp.clone());
        let signals = match SignalThread::start(mcp.clone(), self.log.clone(), grace) {
            Ok(signals) => signals,
            Err(source) => {
                let error = DaemonError::Process { what: "signal thread", source };
                announce(Err(&error));
                return Err(error);
            }
        };
        let mut was_ready = false;
        match is_ready.await {
            Ok(Ok(0)) if self.exit_on_nosync => {
                announce(Err(&DaemonError::NoSyncs));
                mcp.do_send(Shutdown { grace });
                let _ = is_finished.await;
                mailer.close(None).await;
                return Err(DaemonError::NoSyncs);
            }
            Ok(Ok(_)) => {
                announce(Ok(()));
                was_ready = true;
                mailer.tell(mail::Event::Started { reason: self.reason });
                systemd::ready(&systemd::summary(&board));
                tell_status(board);
            }
            Ok(Err(fault)) => announce(Err(&DaemonError::Fault(fault))),
            // The MCP died; why, it says below.
            Err(_) => announce(Err(&DaemonError::Fault(Fault::transient("the daemon ended before it was ready")))),
        }
        drop(mcp);
        let exit = is_finished.await.unwrap_or_else(|_| Exit::Panicked("the MCP left no word".to_owned()));
        drop(signals);
        listeners.close().await;
        let fault = exit.fault();
        let last = fault.as_ref().map_or_else(
            || mail::Event::Stopped { reason: stop_reason(&self.settings.daemon.stop_file()) },
            |fault| mail::Event::Killed { error: fault.message.clone(), hint: fault.hint.clone() },
        );
        // Who could not start says so where it was started.
        mailer.close(was_ready.then_some(last)).await;
        match fault {
            None => {
                info!("Bucardo has stopped");
                Ok(())
            }
            Some(fault) => Err(DaemonError::Fault(fault)),
        }
    }
}

/// What `bucardo stop` was given.
fn stop_reason(stop_file: &Path) -> String {
    piddir::read(stop_file).unwrap_or_default().trim().to_owned()
}

/// Ends the daemon when the stop file appears.
fn watch_stop_file(path: PathBuf, mcp: actix::Addr<Mcp>, grace: Duration) {
    actix::spawn(async move {
        let mut timer = tokio::time::interval(STOP_FILE_EVERY);
        loop {
            timer.tick().await;
            if piddir::is_there(&path) {
                info!(file = %path.display(), "Found stopfile: {}", stop_reason(&path));
                mcp.do_send(StopFileFound { grace });
                return;
            }
        }
    });
}

/// From this thread and by way of the MCP, so that the service manager hears nothing when one of them is stuck.
fn tell_watchdog(mcp: Addr<Mcp>) {
    if let Some(every) = systemd::watchdog_every() {
        health::beat(mcp, every, systemd::watchdog);
    }
}

/// The line in `systemctl status` is this old at most.
const STATUS_EVERY: Duration = Duration::from_secs(10);

/// Keeps the line in `systemctl status` up to date.
fn tell_status(board: Arc<Board>) {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return;
    }
    actix::spawn(async move {
        let mut timer = tokio::time::interval(STATUS_EVERY);
        let mut told = String::new();
        loop {
            timer.tick().await;
            let now = systemd::summary(&board);
            if now != told {
                systemd::status(&now);
                told = now;
            }
        }
    });
}

/// Tells the service manager what the MCP is about.
fn on_phase(board: Arc<Board>) -> Box<dyn Fn(Phase)> {
    Box::new(move |phase| match phase {
        Phase::Reloading => systemd::reloading(),
        Phase::Reloaded => systemd::ready(&systemd::summary(&board)),
        Phase::Stopping => systemd::stopping(),
    })
}
