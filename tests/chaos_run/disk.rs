//! A small disk that can be filled: a tmpfs, where we may mount one.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A mounted tmpfs. Dropping it takes it away.
pub(super) struct Disk {
    path: PathBuf,
}

impl Disk {
    /// Mounts one at `path` for the owner of `server`'s files; `None`, said loudly, where that is not allowed.
    pub(super) fn mount(path: &Path, megabytes: u32, server: &Path) -> Option<Self> {
        fs::create_dir(path).unwrap();
        let owner = fs::metadata(server).unwrap();
        let options = format!("size={megabytes}m,mode=0700,uid={},gid={}", owner.uid(), owner.gid());
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "bucardo-test"]).arg(path).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self { path: path.to_owned() }),
            Ok(output) => skipped(&String::from_utf8_lossy(&output.stderr)),
            Err(error) => skipped(&error.to_string()),
        }
    }

    /// Leaves no room for anything.
    pub(super) fn fill(&self) {
        let mut file = File::create(self.filler()).unwrap();
        let piece = vec![0; 64 * 1024];
        // Until it fails: that is what full means.
        while file.write_all(&piece).is_ok() {}
    }

    /// Makes room again.
    pub(super) fn free(&self) {
        fs::remove_file(self.filler()).unwrap();
    }

    fn filler(&self) -> PathBuf {
        self.path.join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: the server on it may be about to end.
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}

fn skipped(why: &str) -> Option<Disk> {
    eprintln!("SKIPPED: no full disk in this run, a tmpfs cannot be mounted: {}", why.trim());
    None
}
