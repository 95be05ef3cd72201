//! One destination of the log. A line that cannot be written is lost, as the work matters more than its log; but it is
//! counted, and told of.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::LogError;
use super::entry::Entry;
use super::files::{LogFiles, WarningFile};
use super::journal::Journal;
use super::syslog::Syslog;
use crate::config::LogSettings;

/// A destination, and how many lines it has missed.
pub(super) struct Sink {
    name: String,
    out: Out,
    lost: u64,
}

enum Out {
    Stdout,
    Stderr,
    Files(LogFiles),
    Warnings(WarningFile),
    Syslog(Syslog),
    Journal(Journal),
}

impl Sink {
    /// Opens a destination as the settings name it; `None` for `none`.
    pub(super) fn open(name: &str, settings: &LogSettings) -> Result<Option<Self>, LogError> {
        let out = match name {
            "none" => return Ok(None),
            "stdout" => Out::Stdout,
            "stderr" => Out::Stderr,
            "journald" => Out::Journal(Journal::new(settings.journal_socket.clone())),
            "syslog" => {
                let facility = &settings.syslog_facility;
                let syslog = Syslog::new(settings.syslog_socket.clone(), facility);
                Out::Syslog(syslog.ok_or_else(|| LogError::Facility(facility.clone()))?)
            }
            directory => {
                let files = LogFiles::open(Path::new(directory), &settings.extension, settings.separate);
                Out::Files(files.map_err(|(path, source)| LogError::File { path, source })?)
            }
        };
        Ok(Some(Self { name: name.to_owned(), out, lost: 0 }))
    }

    /// The file of warnings.
    pub(super) fn warnings(path: PathBuf) -> Result<Self, LogError> {
        let name = path.display().to_string();
        let file = WarningFile::open(path).map_err(|(path, source)| LogError::File { path, source })?;
        Ok(Self { name, out: Out::Warnings(file), lost: 0 })
    }

    /// Takes every line, and is not the one that complaints about the others go to anyhow.
    pub(super) fn takes_complaints(&self) -> bool {
        self.lost == 0 && !matches!(self.out, Out::Warnings(_))
    }

    /// Writes an event, which is `line` where lines are written. The complaint about the first of several that are lost
    /// is for the other destinations.
    pub(super) fn write(&mut self, entry: &Entry, line: &str, settings: &LogSettings) -> Option<String> {
        if self.lost > 0 {
            let note = Entry::complaint(format!("{} lines of the log could not be written here", self.lost));
            if self.put(&note, &note.whole(settings), settings).is_err() {
                self.lost += 1;
                return None;
            }
            self.lost = 0;
        }
        let error = self.put(entry, line, settings).err()?;
        self.lost = 1;
        Some(format!("cannot write the log to \"{}\": {error}", self.name))
    }

    fn put(&mut self, entry: &Entry, line: &str, settings: &LogSettings) -> io::Result<()> {
        match &mut self.out {
            Out::Stdout => io::stdout().lock().write_all(line.as_bytes()),
            Out::Stderr => io::stderr().lock().write_all(line.as_bytes()),
            Out::Files(files) => files.write(entry.role, line),
            Out::Warnings(file) => file.write(entry, line),
            Out::Syslog(syslog) => syslog.write(entry, settings),
            Out::Journal(journal) => journal.write(entry, settings),
        }
    }

    /// Opens files anew, after they were moved away. The complaint says which cannot be.
    pub(super) fn reopen(&mut self) -> Option<String> {
        let Out::Files(files) = &mut self.out else { return None };
        let error = files.reopen().err()?;
        Some(format!("cannot open the log in \"{}\" anew, the old file goes on: {error}", self.name))
    }
}
