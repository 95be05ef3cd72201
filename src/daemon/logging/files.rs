//! Log files: one for all, one for each process of old, and the file of warnings.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::entry::{Entry, Role};

/// What the name of each log file begins with.
pub(super) const STEM: &str = "log.bucardo";

/// A file that is kept open, until it is to be opened anew.
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
}

impl LogFile {
    pub(super) fn open(path: PathBuf) -> Result<Self, (PathBuf, io::Error)> {
        match append(&path) {
            Ok(file) => Ok(Self { path, file }),
            Err(error) => Err((path, error)),
        }
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.file = append(&self.path)?;
        Ok(())
    }
}

/// The files of one directory.
pub(super) enum LogFiles {
    /// `log.bucardo`
    One(LogFile),
    /// `log.bucardo.MCP` and so on.
    EachRole(Vec<LogFile>),
}

impl LogFiles {
    /// Opens `log.bucardo[.EXTENSION][.ROLE]` in a directory.
    pub(super) fn open(directory: &Path, extension: &str, separate: bool) -> Result<Self, (PathBuf, io::Error)> {
        let dot = if extension.is_empty() { "" } else { "." };
        let stem = format!("{STEM}{dot}{extension}");
        if separate {
            let each = |role: &Role| LogFile::open(directory.join(format!("{stem}.{}", role.name())));
            return Role::ALL.iter().map(each).collect::<Result<_, _>>().map(Self::EachRole);
        }
        LogFile::open(directory.join(stem)).map(Self::One)
    }

    /// Appends a line to the file of its role.
    pub(super) fn write(&mut self, role: Role, line: &str) -> io::Result<()> {
        let file = match self {
            Self::One(file) => file,
            Self::EachRole(files) => {
                let place = Role::ALL.iter().position(|known| *known == role).unwrap_or_default();
                files.get_mut(place).ok_or(io::ErrorKind::NotFound)?
            }
        };
        file.file.write_all(line.as_bytes())
    }

    /// Opens all files anew; those that cannot be opened go on as they are.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        match self {
            Self::One(file) => file.reopen(),
            // Every file is tried, the first error is told.
            Self::EachRole(files) => files.iter_mut().map(LogFile::reopen).fold(Ok(()), io::Result::and),
        }
    }
}

/// The file of warnings, opened for each line: there are few, and whoever moves it away needs to tell nobody.
pub(super) struct WarningFile(PathBuf);

impl WarningFile {
    /// Tries whether it can be written.
    pub(super) fn open(path: PathBuf) -> Result<Self, (PathBuf, io::Error)> {
        match append(&path) {
            Ok(_) => Ok(Self(path)),
            Err(error) => Err((path, error)),
        }
    }

    /// Appends a line that is a warning, and no other.
    pub(super) fn write(&self, entry: &Entry, line: &str) -> io::Result<()> {
        if entry.is_serious() { append(&self.0)?.write_all(line.as_bytes()) } else { Ok(()) }
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}
