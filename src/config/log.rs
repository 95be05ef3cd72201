//! The settings of the log.

use std::path::PathBuf;

use serde::Deserialize;

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Warnings and errors, and what the daemon was asked to do.
    Terse,
    /// And changes of state.
    Normal,
    /// And each run.
    Verbose,
    /// And what servers and other peers say.
    Debug,
    /// And all else.
    Debug2,
}

/// How a line tells its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ShowTime {
    /// Not at all.
    None,
    /// Seconds since 1970.
    Epoch,
    /// UTC, as text.
    Utc,
    /// Local time, as text.
    Local,
}

/// How lines of files, stdout and stderr look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, with everything that is known, whatever the settings show.
    Json,
}

/// `[log]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSettings {
    /// `stderr`, `stdout`, `syslog`, `journald`, `none`, or directories.
    pub destinations: Vec<String>,
    /// How lines look.
    pub format: LogFormat,
    /// How much.
    pub level: Level,
    /// `log.bucardo.EXTENSION`
    pub extension: String,
    /// A file for each process of old: `log.bucardo.MCP`, `.CTL`, `.KID`, `.VAC`.
    pub separate: bool,
    /// Warnings and errors are appended here, too; relative to the directory of the log. Empty: nowhere.
    pub warning_file: PathBuf,
    /// The process id.
    pub show_pid: bool,
    /// The level of every line; warnings and errors always show theirs.
    pub show_level: bool,
    /// Where in the program the line comes from.
    pub show_line: bool,
    /// The time.
    pub show_time: ShowTime,
    /// strftime pattern; empty: `Fri Nov 20 19:04:14 2026`.
    pub time_format: String,
    /// Three digits of the second's fraction.
    pub fraction: bool,
    /// The sync's name in lines of its controller and kids.
    pub show_sync: bool,
    /// `local0` to `local7`, `daemon`, `user` and so on.
    pub syslog_facility: String,
    /// Where syslogd listens.
    pub syslog_socket: PathBuf,
    /// Where the journal listens.
    pub journal_socket: PathBuf,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            destinations: Vec::new(),
            level: Level::Normal,
            format: LogFormat::Text,
            extension: String::new(),
            separate: false,
            warning_file: "bucardo.warning.log".into(),
            show_pid: true,
            show_level: false,
            show_line: false,
            show_time: ShowTime::Local,
            time_format: String::new(),
            fraction: false,
            show_sync: true,
            syslog_facility: "local1".to_owned(),
            syslog_socket: "/dev/log".into(),
            journal_socket: "/run/systemd/journal/socket".into(),
        }
    }
}

impl LogSettings {
    /// Whether `other` names other destinations, or opens them otherwise.
    #[must_use]
    pub fn goes_elsewhere(&self, other: &Self) -> bool {
        let places = |settings: &Self| {
            let sockets =
                [settings.syslog_socket.clone(), settings.journal_socket.clone(), settings.warning_file.clone()];
            let words = [settings.extension.clone(), settings.syslog_facility.clone()];
            (settings.destinations.clone(), settings.separate, sockets, words)
        };
        places(self) != places(other)
    }
}
