//! The system log as of old: a datagram of RFC 3164, as `syslog(3)` writes it.

use std::io;
use std::path::PathBuf;

use tracing::Level;

use super::entry::Entry;
use super::socket::LogSocket;
use crate::config::LogSettings;

/// Who says it.
const IDENT: &str = "Bucardo";
/// More than a syslogd takes unless it is told to.
const TEXT_BYTES_MAX: usize = 8000;
/// The names that `openlog(3)` knows, without `LOG_`.
const FACILITIES: [(&str, u8); 20] = [
    ("kern", 0),
    ("user", 1),
    ("mail", 2),
    ("daemon", 3),
    ("auth", 4),
    ("syslog", 5),
    ("lpr", 6),
    ("news", 7),
    ("uucp", 8),
    ("cron", 9),
    ("authpriv", 10),
    ("ftp", 11),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
];

/// A connection to syslogd.
pub(super) struct Syslog {
    socket: LogSocket,
    facility: u8,
}

impl Syslog {
    /// For messages of this facility; `None`: there is none of that name.
    pub(super) fn new(path: PathBuf, name: &str) -> Option<Self> {
        Some(Self { socket: LogSocket::new(path), facility: facility(name)? })
    }

    pub(super) fn write(&mut self, entry: &Entry, settings: &LogSettings) -> io::Result<()> {
        let text = entry.bare(settings);
        let priority = self.facility * 8 + severity(entry.level);
        let time = entry.time.format("%b %e %H:%M:%S");
        let text = format!("<{priority}>{time} {IDENT}[{}]: {}", entry.pid, cut(&text, TEXT_BYTES_MAX));
        self.socket.send(text.as_bytes())
    }
}

/// The number of a facility, named as `local1` or `LOG_LOCAL1`.
pub(super) fn facility(name: &str) -> Option<u8> {
    let name = name.to_lowercase();
    let name = name.strip_prefix("log_").unwrap_or(&name);
    FACILITIES.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
}

/// The severity of RFC 3164.
pub(super) fn severity(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

/// The beginning of a text that may be too long.
pub(super) fn cut(text: &str, bytes_max: usize) -> &str {
    let end = (0..=bytes_max.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    &text[..end.unwrap_or(0)]
}
