//! Files in the directory of PID file and stop file. It belongs to the daemon's account, and root runs commands, too: a
//! link that somebody has put there is not followed, and nothing but plain files is opened.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

/// So much is read of a file at most.
const READ_MAX: u64 = 4096;

/// Opens a file; one that is made is readable for everybody.
pub(super) fn open(path: &Path, flags: OFlags) -> io::Result<File> {
    // A pipe that nobody reads is not waited for.
    let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::from_raw_mode(0o644)) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::LOOP) => return Err(io::Error::other("it is a symbolic link, which is not followed")),
        Err(error) => return Err(error.into()),
    };
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is no plain file")) }
}

/// Whether there is something of this name.
pub(super) fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// The beginning of a file.
pub(super) fn read(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    open(path, OFlags::RDONLY)?.take(READ_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Removes what has this name, if there is something; true if there was.
///
/// # Errors
///
/// It stays.
pub fn remove(path: &Path) -> io::Result<bool> {
    match std::fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Makes a new file in the place of what has this name.
///
/// # Errors
///
/// What was there cannot be removed, or the file cannot be written.
pub fn create(path: &Path, text: &str) -> io::Result<()> {
    remove(path)?;
    open(path, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL)?.write_all(text.as_bytes())
}

/// Makes a new file in the place of what has this name, so that there is one all the time.
///
/// # Errors
///
/// The file cannot be written; then the old one is still there.
pub fn replace(path: &Path, text: &str) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", std::process::id()));
    let fresh = path.with_file_name(name);
    let replaced = create(&fresh, text).and_then(|()| std::fs::rename(&fresh, path));
    if replaced.is_err() {
        // Why it could not be written says more.
        let _ = remove(&fresh);
    }
    replaced
}

/// Appends to a file. One that root makes belongs to whom its directory does: the daemon is to write there, too.
///
/// # Errors
///
/// The file cannot be written.
pub fn append(path: &Path, text: &str) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::APPEND;
    let mut file = match open(path, flags | OFlags::CREATE | OFlags::EXCL) {
        Ok(file) => {
            if rustix::process::geteuid().is_root() {
                let owner = directory(path).metadata()?;
                fchown(&file, Some(owner.uid()), Some(owner.gid()))?;
            }
            file
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => open(path, flags)?,
        Err(error) => return Err(error),
    };
    file.write_all(text.as_bytes())
}

/// The directory of a file.
#[must_use]
pub fn directory(path: &Path) -> PathBuf {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).map_or_else(|| ".".into(), Path::to_owned)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// Whoever owns the directory may put there what he likes, and root writes.
    #[test]
    fn nothing_is_written_through_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let (precious, link) = (dir.path().join("precious"), dir.path().join("link"));
        std::fs::write(&precious, "42\n").unwrap();
        symlink(&precious, &link).unwrap();
        for tried in [append(&link, "x").map(drop), read(&link).map(drop), open(&link, OFlags::RDWR).map(drop)] {
            assert!(tried.unwrap_err().to_string().contains("symbolic link"));
        }
        replace(&link, "new\n").unwrap();
        assert_eq!(read(&link).unwrap(), "new\n", "the link is replaced");
        remove(&link).unwrap();
        symlink(&precious, &link).unwrap();
        create(&link, "stop\n").unwrap();
        assert_eq!(read(&link).unwrap(), "stop\n", "the link is replaced");
        assert_eq!(read(&precious).unwrap(), "42\n");

        remove(&link).unwrap();
        symlink("nothing", &link).unwrap();
        assert!(is_there(&link), "a link to nothing is something");
        let names = dir.path().read_dir().unwrap().count();
        assert_eq!(names, 2, "nothing is left behind");
    }

    #[test]
    fn a_pipe_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, Mode::from_raw_mode(0o600)).unwrap();
        assert!(read(&pipe).unwrap_err().to_string().contains("no plain file"));
        append(&pipe, "x").unwrap_err();
    }

    #[test]
    fn lines_are_appended_and_the_file_belongs_to_the_owner_of_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        let is_root = rustix::process::geteuid().is_root();
        if is_root {
            std::os::unix::fs::chown(dir.path(), Some(65_534), Some(65_534)).unwrap();
        }
        let path = dir.path().join("log");
        append(&path, "one\n").unwrap();
        append(&path, "two\n").unwrap();
        assert_eq!(read(&path).unwrap(), "one\ntwo\n");
        assert_eq!(path.metadata().unwrap().uid(), dir.path().metadata().unwrap().uid());
    }
}
