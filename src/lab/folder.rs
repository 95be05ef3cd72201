//! A folder under the temporary directory that goes away with its value.

use std::env;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use super::LabError;
use super::programs::ServerUser;

/// Sockets live in these folders, and the path of a socket holds 107 bytes at most.
const PATH_BYTES_MAX: usize = 60;
const TRIES_MAX: u32 = 1000;

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A new folder with everything in it; dropping it removes both.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    kept: bool,
}

impl Folder {
    /// Makes `<temporary directory>/<prefix>-<pid>-<number>`, readable for all: servers that it will hold may run
    /// as another user. `$TMPDIR` counts unless its path is too long for a socket, or not open to other users
    /// when we are root; then it is `/tmp`.
    ///
    /// # Errors
    ///
    /// [`LabError::Files`]: the folder cannot be made.
    pub fn new(prefix: &str) -> Result<Self, LabError> {
        let base = base();
        let mut tries = 0;
        loop {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let path = base.join(format!("{prefix}-{}-{number}", process::id()));
            match fs::DirBuilder::new().mode(0o755).create(&path) {
                Ok(()) => {
                    // The guard of a server in it removes it, if nobody else is left to.
                    ServerUser::own(ServerUser::needed().unwrap_or_default(), &path)?;
                    return Ok(Self { path, kept: false });
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists && tries < TRIES_MAX => tries += 1,
                Err(source) => return Err(LabError::Files { what: "make folder", path, source }),
            }
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves the folder where it is, for good.
    pub fn keep(&mut self) {
        self.kept = true;
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.kept {
            // What cannot be removed stays in the temporary directory; there is nobody to tell.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

fn base() -> PathBuf {
    let wanted = env::temp_dir();
    let open_to_all = |path: &Path| {
        path.ancestors().all(|part| fs::metadata(part).is_ok_and(|part| part.permissions().mode() & 0o001 != 0))
    };
    let usable = wanted.is_absolute()
        && wanted.as_os_str().len() <= PATH_BYTES_MAX
        && (!rustix::process::geteuid().is_root() || open_to_all(&wanted));
    if usable { wanted } else { PathBuf::from("/tmp") }
}
