//! What mail knows beyond the life of one daemon: a file beside the PID file.

use std::io::{self, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::postbox::Postbox;

/// The contents of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Stored {
    /// The daemon that writes mail, until it has said that it ends.
    pub(super) running: Option<u32>,
    pub(super) postbox: Postbox,
}

impl Stored {
    /// What the daemon before this one has left; nothing where there is no file.
    pub(super) fn load(path: &Path) -> io::Result<Self> {
        match std::fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::from),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    /// Replaces the file at once and whole; without anything to keep it goes away.
    pub(super) fn save(&self, path: &Path) -> io::Result<()> {
        if self.running.is_none() && self.postbox.is_empty() {
            return match std::fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
        }
        let mut file = tempfile::NamedTempFile::new_in(path.parent().unwrap_or(Path::new(".")))?;
        serde_json::to_writer(&mut file, self)?;
        file.flush()?;
        file.persist(path)?;
        Ok(())
    }
}
