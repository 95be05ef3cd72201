//! The PID file: line 1 the process id, line 2 the command line, line 3 the start time.
//!
//! The daemon keeps the file locked as long as it lives, so a file that a killed daemon left behind is told from
//! one in use whatever process has got the number since.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::process::{Pid, Signal, kill_process};

use super::piddir;

const LOOKS_MAX: u32 = 10;
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What a PID file says about the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// There is no file.
    Absent,
    /// The daemon with this process id lives.
    Running(i32),
    /// The file was left behind; the number it holds, if any, is not a daemon's.
    Stale(Option<i32>),
}

impl Presence {
    /// Looks at the file.
    ///
    /// # Errors
    ///
    /// The file is there, but cannot be read.
    pub fn of(path: &Path) -> io::Result<Self> {
        let mut file = match piddir::open(path, OFlags::RDONLY) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::Absent),
            Err(error) => return Err(error),
        };
        let pid = read_pid(&mut file)?;
        let locked = flock(&file, FlockOperation::NonBlockingLockShared).is_err();
        Ok(match pid {
            // A Perl daemon does not lock its file, but names itself.
            Some(pid) if locked || is_perl_daemon(pid) => Self::Running(pid),
            pid => Self::Stale(pid),
        })
    }
}

fn read_pid(file: &mut File) -> io::Result<Option<i32>> {
    let mut text = String::new();
    file.take(4096).read_to_string(&mut text)?;
    Ok(text.lines().next().and_then(|line| line.trim().parse().ok()).filter(|pid| *pid > 0))
}

fn is_perl_daemon(pid: i32) -> bool {
    command_line(pid).is_some_and(|line| line.starts_with("Bucardo Master Control Program"))
}

/// The command line of a process, if there is one of this number.
#[must_use]
pub fn command_line(pid: i32) -> Option<String> {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    Some(String::from_utf8_lossy(&bytes).replace('\0', " ").trim().to_owned())
}

/// Sends a signal to the daemon of this file. `None`: there is none; a process that is no daemon gets no signal.
///
/// # Errors
///
/// The file cannot be read, or the signal cannot be sent (another user's daemon).
pub fn signal(path: &Path, signal: Signal) -> io::Result<Option<i32>> {
    let Presence::Running(raw) = Presence::of(path)? else { return Ok(None) };
    let Some(pid) = Pid::from_raw(raw) else { return Ok(None) };
    kill_process(pid, signal)?;
    Ok(Some(raw))
}

/// The PID file of this process. Dropping it removes the file and its lock.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    _locked: File,
}

impl PidFile {
    /// Writes the file, with this command line, and locks it; one that was left behind is replaced.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` with the other's process id in its text: a daemon lives. Others: the file cannot be written.
    pub fn create(path: &Path, command_line: &str) -> io::Result<Self> {
        if let Presence::Running(pid) = Presence::of(path)? {
            return Err(taken(path, pid));
        }
        let mut file = claim(path)?;
        let own = std::process::id();
        file.set_len(0)?;
        file.rewind()?;
        write!(file, "{own}\n{command_line}\n{}\n", chrono::Local::now().format("%a %b %e %H:%M:%S %Y"))?;
        Ok(Self { path: path.to_owned(), _locked: file })
    }
}

/// The file of this name, locked. Others may remove it, or make another, until it is.
fn claim(path: &Path) -> io::Result<File> {
    let mut looks = 0;
    loop {
        let (mut file, is_writable) = match piddir::open(path, OFlags::RDWR | OFlags::CREATE) {
            Ok(file) => (file, true),
            // Another account has left it behind: it makes way for one of our own.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && piddir::is_there(path) => {
                (piddir::open(path, OFlags::RDONLY)?, false)
            }
            Err(error) => return Err(error),
        };
        let is_locked = flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok();
        if is_locked && is_at(&file, path)? {
            if is_writable {
                return Ok(file);
            }
            piddir::remove(path)?;
            continue;
        }
        looks += 1;
        // Whoever only looks (`status`) holds the lock for a moment; a daemon for as long as it lives.
        if looks > LOOKS_MAX {
            return Err(taken(path, read_pid(&mut file)?.unwrap_or(0)));
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Whether the file is the one of this name: it may have been removed after it was opened.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let own = file.metadata()?;
    match path.symlink_metadata() {
        Ok(found) => Ok((found.dev(), found.ino()) == (own.dev(), own.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Still locked here, so nobody else's file is removed.
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the PID file");
        }
    }
}

fn taken(path: &Path, pid: i32) -> io::Error {
    let text = format!("File \"{}\" already exists (PID={pid}): cannot run until it is removed", path.display());
    io::Error::new(io::ErrorKind::AlreadyExists, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_left_behind_is_replaced_and_one_in_use_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bucardo.mcp.pid");
        assert_eq!(Presence::of(&path).unwrap(), Presence::Absent);

        // A number that certainly belongs to somebody else.
        std::fs::write(&path, "1\ninit\nnow\n").unwrap();
        assert_eq!(Presence::of(&path).unwrap(), Presence::Stale(Some(1)));
        assert_eq!(signal(&path, Signal::TERM).unwrap(), None);

        let held = PidFile::create(&path, "bucardo start").unwrap();
        let own = i32::try_from(std::process::id()).unwrap();
        assert_eq!(Presence::of(&path).unwrap(), Presence::Running(own));
        let error = PidFile::create(&path, "bucardo start").unwrap_err();
        assert!(error.to_string().contains(&format!("already exists (PID={own})")), "{error}");

        drop(held);
        assert_eq!(Presence::of(&path).unwrap(), Presence::Absent);
    }

    /// A daemon that ends removes its file; whoever has opened it before that must not hold what has no name any more.
    #[test]
    fn a_file_that_is_removed_while_it_is_waited_for_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bucardo.mcp.pid");
        let old = piddir::open(&path, OFlags::RDWR | OFlags::CREATE).unwrap();
        flock(&old, FlockOperation::NonBlockingLockExclusive).unwrap();
        let waiting = std::thread::spawn({
            let path = path.clone();
            move || PidFile::create(&path, "bucardo start")
        });
        let opened = || {
            let links = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
            links.filter(|link| std::fs::read_link(link.path()).is_ok_and(|to| to == path)).count()
        };
        while opened() < 2 && !waiting.is_finished() {
            std::thread::yield_now();
        }
        std::fs::remove_file(&path).unwrap();
        drop(old);
        let held = waiting.join().unwrap().unwrap();
        let own = i32::try_from(std::process::id()).unwrap();
        assert_eq!(Presence::of(&path).unwrap(), Presence::Running(own));
        assert!(PidFile::create(&path, "bucardo start").is_err());
        drop(held);
    }

    #[test]
    fn a_link_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (precious, path) = (dir.path().join("precious"), dir.path().join("bucardo.mcp.pid"));
        std::fs::write(&precious, "secret\n").unwrap();
        std::os::unix::fs::symlink(&precious, &path).unwrap();
        let error = PidFile::create(&path, "bucardo start").unwrap_err();
        assert!(error.to_string().contains("symbolic link"), "{error}");
        assert_eq!(std::fs::read_to_string(&precious).unwrap(), "secret\n");
    }
}
