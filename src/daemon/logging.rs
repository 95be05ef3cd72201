//! The log: one line an event, to any number of destinations, in the format that operators know.
//!
//! `[LEVEL] [(PID) ][[time] ][#line ]PREFIX message field=value…`

use std::fmt::{self, Write as _};
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, reload};

use crate::config::{Level, LogSettings, ShowTime};

/// Where the daemon's log goes when nothing else is said.
const DIRECTORY: &str = "/var/log/bucardo";
const SYSLOG_SOCKET: &str = "/dev/log";
/// Severities of RFC 3164.
const FACILITIES: [(&str, u8); 10] = [
    ("user", 1),
    ("daemon", 3),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
];

/// Why the log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A file cannot be opened.
    #[error("cannot open the log file \"{}\"", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// There is no such facility.
    #[error("unknown syslog facility \"{0}\"")]
    Facility(String),
}

/// A handle on the log of this process.
#[derive(Clone)]
pub struct Log {
    shared: Arc<Shared>,
    level: reload::Handle<LevelFilter, Registry>,
}

struct Shared {
    settings: RwLock<LogSettings>,
    sinks: Vec<Sink>,
    reopen: AtomicBool,
}

enum Sink {
    Stdout,
    Stderr,
    File { path: PathBuf, file: Mutex<File> },
    Syslog { socket: Mutex<Option<UnixDatagram>>, facility: u8 },
}

impl Log {
    /// Opens every destination and makes this the log of the process. Without a destination in the settings it
    /// is stderr in the foreground and the log directory otherwise.
    ///
    /// # Errors
    ///
    /// [`LogError`] names what cannot be opened.
    pub fn start(settings: &LogSettings, foreground: bool) -> Result<Self, LogError> {
        let usual = [if foreground { "stderr".to_owned() } else { DIRECTORY.to_owned() }];
        let wanted: &[String] = if settings.destinations.is_empty() { &usual } else { &settings.destinations };
        let sinks: Result<Vec<_>, _> =
            wanted.iter().filter_map(|name| Sink::open(name, settings).transpose()).collect();
        let shared =
            Arc::new(Shared { settings: RwLock::new(settings.clone()), sinks: sinks?, reopen: AtomicBool::new(false) });
        let (filter, level) = reload::Layer::new(filter(settings.level));
        // A process has one log; a second start keeps the first, which only tests do.
        let _ = tracing_subscriber::registry().with(filter).with(Lines(Arc::clone(&shared))).try_init();
        Ok(Self { shared, level })
    }

    /// Deletes the log files of former daemons (`log.bucardo.*`) in the directories that are logged to.
    ///
    /// # Errors
    ///
    /// [`LogError::File`] names the one that cannot be deleted.
    pub fn clean(settings: &LogSettings) -> Result<(), LogError> {
        let usual = [DIRECTORY.to_owned()];
        let wanted: &[String] = if settings.destinations.is_empty() { &usual } else { &settings.destinations };
        for directory in wanted.iter().filter(|name| name.starts_with('/')) {
            for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
                if entry.file_name().to_string_lossy().starts_with("log.bucardo.") {
                    let path = entry.path();
                    std::fs::remove_file(&path).map_err(|source| LogError::File { path, source })?;
                }
            }
        }
        Ok(())
    }

    /// The first directory that is logged to; else the usual one.
    #[must_use]
    pub fn directory(settings: &LogSettings) -> PathBuf {
        let named = settings.destinations.iter().find(|name| name.starts_with('/'));
        named.map_or_else(|| PathBuf::from(DIRECTORY), PathBuf::from)
    }

    /// Takes over level and format; destinations stay until a restart.
    pub fn change(&self, settings: &LogSettings) {
        *self.shared.settings.write().unwrap_or_else(PoisonError::into_inner) = settings.clone();
        // Fails only when the log is gone.
        let _ = self.level.modify(|level| *level = filter(settings.level));
    }

    /// Opens plain files anew before the next line, after they were rotated.
    pub fn reopen(&self) {
        self.shared.reopen.store(true, Ordering::Release);
    }

    /// Whether lines go to stdout or stderr, so that these must stay open.
    #[must_use]
    pub fn uses_terminal(&self) -> bool {
        self.shared.sinks.iter().any(|sink| matches!(sink, Sink::Stdout | Sink::Stderr))
    }
}

fn filter(level: Level) -> LevelFilter {
    match level {
        Level::Terse => LevelFilter::WARN,
        Level::Normal => LevelFilter::INFO,
        Level::Verbose | Level::Debug => LevelFilter::DEBUG,
        Level::Debug2 => LevelFilter::TRACE,
    }
}

impl Sink {
    fn open(name: &str, settings: &LogSettings) -> Result<Option<Self>, LogError> {
        Ok(Some(match name {
            "none" => return Ok(None),
            "stdout" => Self::Stdout,
            "stderr" => Self::Stderr,
            "syslog" => Self::Syslog { socket: Mutex::new(None), facility: facility(&settings.syslog_facility)? },
            directory => {
                let dot = if settings.extension.is_empty() { "" } else { "." };
                let path = Path::new(directory).join(format!("log.bucardo{dot}{}", settings.extension));
                let file = append(&path).map_err(|source| LogError::File { path: path.clone(), source })?;
                Self::File { path, file: Mutex::new(file) }
            }
        }))
    }

    /// A line that cannot be written is lost: the work matters more than its log.
    fn write(&self, level: tracing::Level, line: &str, reopen: bool) {
        match self {
            Self::Stdout => {
                let _ = io::stdout().lock().write_all(line.as_bytes());
            }
            Self::Stderr => {
                let _ = io::stderr().lock().write_all(line.as_bytes());
            }
            Self::File { path, file } => {
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                if reopen && let Ok(fresh) = append(path) {
                    *file = fresh;
                }
                let _ = file.write_all(line.as_bytes());
            }
            Self::Syslog { socket, facility } => {
                let severity = match level {
                    tracing::Level::ERROR => 3,
                    tracing::Level::WARN => 4,
                    tracing::Level::INFO => 6,
                    _ => 7,
                };
                let pid = std::process::id();
                let text = format!("<{}>Bucardo[{pid}]: {}", facility * 8 + severity, line.trim_end());
                let mut socket = socket.lock().unwrap_or_else(PoisonError::into_inner);
                // Once more after syslogd was restarted.
                for _ in 0..2 {
                    if socket.is_none() {
                        *socket =
                            UnixDatagram::unbound().and_then(|fresh| fresh.connect(SYSLOG_SOCKET).map(|()| fresh)).ok();
                    }
                    match socket.as_ref().map(|socket| socket.send(text.as_bytes())) {
                        Some(Ok(_)) | None => return,
                        Some(Err(_)) => *socket = None,
                    }
                }
            }
        }
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

fn facility(name: &str) -> Result<u8, LogError> {
    let found = FACILITIES.iter().find(|(known, _)| *known == name);
    found.map(|(_, number)| *number).ok_or_else(|| LogError::Facility(name.to_owned()))
}

struct Lines(Arc<Shared>);

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let shared = &self.0;
        let line = {
            let settings = shared.settings.read().unwrap_or_else(PoisonError::into_inner);
            let mut words = Words::default();
            event.record(&mut words);
            line(&settings, event.metadata(), &words, &Local)
        };
        let reopen = shared.reopen.swap(false, Ordering::AcqRel);
        for sink in &shared.sinks {
            sink.write(*event.metadata().level(), &line, reopen);
        }
    }
}

/// The message and the fields of an event.
#[derive(Default)]
struct Words {
    message: String,
    fields: String,
    sync: Option<String>,
}

impl Words {
    fn add(&mut self, field: &Field, value: &dyn fmt::Display) {
        match field.name() {
            "message" => {
                let _ = write!(self.message, "{value}");
            }
            name => {
                let value = value.to_string().replace('\n', " ");
                if matches!(name, "sync" | "kid") {
                    self.sync = value.split(' ').next().map(str::to_owned);
                }
                let quote = if value.is_empty() || value.contains(['"', ' ']) { "\"" } else { "" };
                let _ = write!(self.fields, " {name}={quote}{}{quote}", value.replace('"', "'"));
            }
        }
    }
}

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, &format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, &value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.add(field, &crate::pg::causes(value));
    }
}

/// The clock, which a test sets.
trait Clock {
    fn now(&self) -> chrono::DateTime<chrono::Local>;
    fn pid(&self) -> u32;
}

struct Local;

impl Clock for Local {
    fn now(&self) -> chrono::DateTime<chrono::Local> {
        chrono::Local::now()
    }

    fn pid(&self) -> u32 {
        std::process::id()
    }
}

fn line(settings: &LogSettings, about: &Metadata<'_>, words: &Words, clock: &dyn Clock) -> String {
    let mut line = String::with_capacity(160);
    let serious = *about.level() <= tracing::Level::WARN;
    if settings.show_level || serious {
        let _ = write!(line, "{} ", about.level());
    }
    if settings.show_pid {
        let _ = write!(line, "({}) ", clock.pid());
    }
    time(&mut line, settings, clock.now());
    if settings.show_line {
        let _ = write!(line, "#{}:{} ", about.target(), about.line().unwrap_or(0));
    }
    let role = role(about.target());
    line.push_str(role);
    if settings.show_sync
        && matches!(role, "CTL" | "KID")
        && let Some(sync) = &words.sync
    {
        let _ = write!(line, " ({sync})");
    }
    let text = format!(" {}{}", words.message, words.fields);
    line.push_str(&text.replace('\n', " "));
    line.push('\n');
    line
}

fn time(line: &mut String, settings: &LogSettings, now: chrono::DateTime<chrono::Local>) {
    let pattern = if settings.time_format.is_empty() { "%a %b %e %H:%M:%S %Y" } else { &settings.time_format };
    let mut text = String::new();
    let written = match settings.show_time {
        ShowTime::None => return,
        ShowTime::Epoch => write!(text, "{}", now.timestamp()),
        ShowTime::Utc => write!(text, "{}", now.to_utc().format(pattern)),
        ShowTime::Local => write!(text, "{}", now.format(pattern)),
    };
    if written.is_err() {
        // A pattern that makes no sense; the time still does.
        text = now.to_rfc3339();
    }
    if settings.fraction {
        let _ = write!(text, ".{:03}", now.timestamp_subsec_millis());
    }
    let _ = write!(line, "[{text}] ");
}

/// Which process of old a line would have come from.
fn role(target: &str) -> &'static str {
    match target.rsplit("::").next() {
        Some("ctl" | "plan") => "CTL",
        Some("kid" | "pair" | "replicator") => "KID",
        Some("vac" | "purge" | "purger") => "VAC",
        _ if target.contains("::engine::") => "KID",
        _ => "MCP",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed;

    impl Clock for Fixed {
        fn now(&self) -> chrono::DateTime<chrono::Local> {
            chrono::DateTime::from_timestamp(1_795_000_000, 7_000_000).unwrap().with_timezone(&chrono::Local)
        }

        fn pid(&self) -> u32 {
            42
        }
    }

    struct Capture(LogSettings, Mutex<Vec<String>>);

    impl<S: Subscriber> Layer<S> for &'static Capture {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let mut words = Words::default();
            event.record(&mut words);
            self.1.lock().unwrap().push(line(&self.0, event.metadata(), &words, &Fixed));
        }
    }

    fn captured(settings: LogSettings, log: impl FnOnce()) -> Vec<String> {
        let capture: &'static Capture = Box::leak(Box::new(Capture(settings, Mutex::new(Vec::new()))));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(capture), log);
        capture.1.lock().unwrap().clone()
    }

    #[test]
    fn lines_have_the_format_that_operators_know() {
        let settings = LogSettings { show_time: ShowTime::Utc, ..LogSettings::default() };
        let lines = captured(settings, || {
            tracing::info!(target: "bucardo_actors::kid", kid = %"orders A->B", rows = 7, "round done");
            tracing::warn!(target: "bucardo_actors::mcp", error = "no\nroute", "cannot listen");
        });
        assert_eq!(
            lines,
            [
                "(42) [Wed Nov 18 11:06:40 2026] KID (orders) round done kid=\"orders A->B\" rows=7\n",
                "WARN (42) [Wed Nov 18 11:06:40 2026] MCP cannot listen error=\"no route\"\n",
            ]
        );
    }

    #[test]
    fn parts_can_be_switched() {
        let settings = LogSettings {
            show_pid: false,
            show_level: true,
            show_time: ShowTime::Epoch,
            fraction: true,
            ..LogSettings::default()
        };
        let lines = captured(settings, || tracing::info!(target: "bucardo_actors::vac", "purged"));
        assert_eq!(lines, ["INFO [1795000000.007] VAC purged\n"]);
    }

    #[test]
    fn files_are_opened_anew_on_request() {
        let dir = tempfile::tempdir().unwrap();
        let settings = LogSettings { extension: "x".to_owned(), ..LogSettings::default() };
        let sink = Sink::open(dir.path().to_str().unwrap(), &settings).unwrap().unwrap();
        let path = dir.path().join("log.bucardo.x");
        sink.write(tracing::Level::INFO, "one\n", false);
        std::fs::rename(&path, dir.path().join("old")).unwrap();
        sink.write(tracing::Level::INFO, "two\n", false);
        sink.write(tracing::Level::INFO, "three\n", true);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "three\n");
        assert_eq!(std::fs::read_to_string(dir.path().join("old")).unwrap(), "one\ntwo\n");
    }
}
