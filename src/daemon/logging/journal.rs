//! The journal of systemd, in its own protocol: one datagram, or file in memory, an event, the fields of the event as fields of the
//! journal, so that `journalctl BUCARDO_SYNC=orders` finds what one sync did.
//!
//! Written here, because a line must carry the same text as in every other log, and because a journal of its own
//! (`LogNamespace=`) has another socket.

use std::io;
use std::path::PathBuf;

use super::entry::{Entry, text};
use super::socket::LogSocket;
use super::syslog::{cut, severity};
use crate::config::LogSettings;

/// Who says it, as in the system log of old.
const IDENT: &str = "Bucardo";
/// Longer values are cut, so that a log cannot be used to fill a disk at once.
const VALUE_BYTES_MAX: usize = 1024 * 1024;

/// A connection to the journal.
pub(super) struct Journal(LogSocket);

impl Journal {
    pub(super) fn new(path: PathBuf) -> Self {
        Self(LogSocket::with_files(path))
    }

    pub(super) fn write(&mut self, entry: &Entry, settings: &LogSettings) -> io::Result<()> {
        self.0.send(&message(entry, settings))
    }
}

fn message(entry: &Entry, settings: &LogSettings) -> Vec<u8> {
    let mut message = Vec::with_capacity(512);
    put(&mut message, "MESSAGE", &entry.bare(settings));
    put(&mut message, "PRIORITY", &severity(entry.level).to_string());
    put(&mut message, "SYSLOG_IDENTIFIER", IDENT);
    put(&mut message, "CODE_FILE", entry.place.file);
    put(&mut message, "CODE_LINE", &entry.place.line.to_string());
    put(&mut message, "CODE_MODULE", entry.place.module);
    put(&mut message, "BUCARDO_PROCESS", entry.role.name());
    if let Some(sync) = &entry.words.sync {
        put(&mut message, "BUCARDO_SYNC", sync);
    }
    for (name, value) in entry.words.fields.iter().filter(|(name, _)| *name != "sync") {
        put(&mut message, &format!("BUCARDO_{}", upper(name)), &text(value));
    }
    message
}

/// Names of fields have letters, digits and underscores only.
fn upper(name: &str) -> String {
    let sane = |sign: char| if sign.is_ascii_alphanumeric() { sign.to_ascii_uppercase() } else { '_' };
    name.chars().map(sane).take(48).collect()
}

/// `NAME=VALUE` and a line end; a value with a line end in it comes after its length.
fn put(message: &mut Vec<u8>, name: &str, value: &str) {
    let value = cut(value, VALUE_BYTES_MAX);
    message.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        message.push(b'\n');
        message.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        message.push(b'=');
    }
    message.extend_from_slice(value.as_bytes());
    message.push(b'\n');
}
