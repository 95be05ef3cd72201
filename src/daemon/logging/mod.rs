//! The log: each event goes to any number of destinations, in the format that operators know.
//!
//! Levels, format and destinations may change while the daemon runs. A destination that fails costs the others nothing.

mod entry;
mod files;
mod journal;
mod level;
mod sink;
mod socket;
mod syslog;
#[cfg(test)]
mod tests;
mod words;

use std::io::{self, Write as _};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use tracing::{Event, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, reload};

use crate::config::LogSettings;
use entry::Entry;
use sink::Sink;

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

impl LogError {
    /// What the operator can do.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::File { .. } => "create the directory, or name another destination with --log-destination",
            Self::Facility(_) => "set syslog_facility to one of user, daemon, local0 to local7",
        }
    }
}

/// A handle on the log of this process.
#[derive(Clone)]
pub struct Log {
    shared: Arc<Shared>,
    level: reload::Handle<Targets, Registry>,
}

struct Shared {
    /// Someone else looks after stderr, so that a log may go there unasked.
    foreground: bool,
    how: RwLock<How>,
}

/// How the log is written at present.
struct How {
    settings: LogSettings,
    /// The settings that name these sinks: others may have named some that cannot be opened.
    opened: LogSettings,
    sinks: Vec<Mutex<Sink>>,
}

impl Log {
    /// Where the daemon's log goes when nothing else is said.
    pub const DIRECTORY: &str = "/var/log/bucardo";

    /// Opens every destination and makes this the log of the process. Without a destination in the settings it
    /// is the log directory; in the foreground the journal that reads stderr, or else stderr.
    ///
    /// # Errors
    ///
    /// [`LogError`] names what cannot be opened. A system log that does not answer is none: it may come later.
    pub fn start(settings: &LogSettings, foreground: bool) -> Result<Self, LogError> {
        let how = RwLock::new(How::open(settings, foreground)?);
        let shared = Arc::new(Shared { foreground, how });
        let (filter, level) = reload::Layer::new(level::filter(settings.level));
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
        let usual = [Self::DIRECTORY.to_owned()];
        let wanted: &[String] = if settings.destinations.is_empty() { &usual } else { &settings.destinations };
        for directory in wanted.iter().filter(|name| is_directory(name)) {
            let failed = |source| LogError::File { path: PathBuf::from(directory), source };
            let entries = match std::fs::read_dir(directory) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                entries => entries.map_err(failed)?,
            };
            for entry in entries {
                let entry = entry.map_err(failed)?;
                if entry.file_name().to_string_lossy().starts_with(&format!("{}.", files::STEM)) {
                    let path = entry.path();
                    std::fs::remove_file(&path).map_err(|source| LogError::File { path, source })?;
                }
            }
        }
        Ok(())
    }

    /// Whether there is a syslog facility of this name.
    #[must_use]
    pub fn knows_facility(name: &str) -> bool {
        syslog::facility(name).is_some()
    }

    /// The first directory that is logged to; else the usual one.
    #[must_use]
    pub fn directory(settings: &LogSettings) -> PathBuf {
        let named = settings.destinations.iter().find(|name| is_directory(name));
        named.map_or_else(|| PathBuf::from(Self::DIRECTORY), PathBuf::from)
    }

    /// Takes over level, format and destinations. Destinations that cannot be opened are told of, and the old ones stay.
    pub fn change(&self, settings: &LogSettings) {
        let problem = {
            let mut how = self.shared.how.write().unwrap_or_else(PoisonError::into_inner);
            how.change(settings, self.shared.foreground).err()
        };
        // Fails only when the log is gone.
        let _ = self.level.modify(|filter| *filter = level::filter(settings.level));
        if let Some(error) = problem {
            let cause = crate::pg::causes(&error);
            tracing::warn!(hint = error.hint(), "the log stays where it is: {cause}");
        }
    }

    /// Opens files anew, after they were rotated; what is written from now on is in the new ones.
    pub fn reopen(&self) {
        let how = self.shared.how.read().unwrap_or_else(PoisonError::into_inner);
        let complaints = how.sinks.iter().filter_map(|sink| lock(sink).reopen()).collect();
        how.complain(complaints);
    }
}

fn lock(sink: &Mutex<Sink>) -> std::sync::MutexGuard<'_, Sink> {
    sink.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_directory(name: &str) -> bool {
    name.starts_with('/')
}

impl How {
    fn open(settings: &LogSettings, foreground: bool) -> Result<Self, LogError> {
        let usual = [match foreground {
            true if stderr_is_journal() => "journald".to_owned(),
            true => "stderr".to_owned(),
            false => Log::DIRECTORY.to_owned(),
        }];
        let wanted: &[String] = if settings.destinations.is_empty() { &usual } else { &settings.destinations };
        let sinks = wanted.iter().filter_map(|name| Sink::open(name, settings).transpose());
        let mut sinks = sinks.collect::<Result<Vec<_>, _>>()?;
        if !settings.warning_file.as_os_str().is_empty() {
            // Beside the log files, if there are any.
            let beside = wanted.iter().find(|name| is_directory(name)).map(PathBuf::from);
            let absolute = settings.warning_file.is_absolute().then(PathBuf::new);
            if let Some(directory) = beside.or(absolute) {
                sinks.push(Sink::warnings(directory.join(&settings.warning_file))?);
            }
        }
        let sinks = sinks.into_iter().map(Mutex::new).collect();
        Ok(Self { settings: settings.clone(), opened: settings.clone(), sinks })
    }

    /// Takes over the format, and the destinations if they can be opened; if not, they are tried again with the next change.
    fn change(&mut self, settings: &LogSettings, foreground: bool) -> Result<(), LogError> {
        self.settings = settings.clone();
        if self.opened.goes_elsewhere(settings) {
            *self = Self::open(settings, foreground)?;
        }
        Ok(())
    }

    fn put(&self, entry: &Entry) {
        let line = entry.whole(&self.settings);
        let lost = self.sinks.iter().filter_map(|sink| lock(sink).write(entry, &line, &self.settings)).collect();
        self.complain(lost);
    }

    /// Tells of problems with the log in those destinations that have none; if there are none, on stderr.
    fn complain(&self, complaints: Vec<String>) {
        for complaint in complaints {
            let entry = Entry::complaint(complaint);
            let line = entry.whole(&self.settings);
            let mut told = false;
            for sink in &self.sinks {
                let mut sink = lock(sink);
                let takes = sink.takes_complaints();
                told |= sink.write(&entry, &line, &self.settings).is_none() && takes;
            }
            if !told {
                // Nobody is left to tell when this fails, too.
                let _ = io::stderr().lock().write_all(line.as_bytes());
            }
        }
    }
}

/// The service manager has connected stderr to its journal.
fn stderr_is_journal() -> bool {
    let Some(named) = std::env::var_os("JOURNAL_STREAM") else { return false };
    let stderr = io::stderr();
    let found = rustix::fs::fstat(stderr.as_fd()).map(|stat| format!("{}:{}", stat.st_dev, stat.st_ino));
    found.is_ok_and(|found| *found == *named)
}

struct Lines(Arc<Shared>);

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let entry = Entry::of(event);
        self.0.how.read().unwrap_or_else(PoisonError::into_inner).put(&entry);
    }
}
