//! One event of the log, and how it is written: as a line for people, as a line of JSON, as a message for a system log
//! that knows time and process by itself.
//!
//! `[LEVEL] [(PID) ][[time] ][#line ]PREFIX message field=value…`, with the word `Warning` in what is unexpected.

use std::fmt::Write as _;

use chrono::{DateTime, Local, SecondsFormat};
use serde_json::{Map, Value};
use tracing::{Event, Level};

use super::words::Words;
use crate::config::{LogFormat, LogSettings, ShowTime};

/// As `ctime` writes it.
const TIME: &str = "%a %b %e %H:%M:%S %Y";

/// Which process of old a line would have come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Mcp,
    Ctl,
    Kid,
    Vac,
}

impl Role {
    /// All of them.
    pub(super) const ALL: [Self; 4] = [Self::Mcp, Self::Ctl, Self::Kid, Self::Vac];

    /// By the module that an event comes from; custom codes by who runs them.
    fn of(target: &str, words: &Words) -> Self {
        if let Some(whenrun) = words.field("whenrun") {
            return if matches!(whenrun, "before_sync" | "after_sync") { Self::Ctl } else { Self::Kid };
        }
        match target.rsplit("::").next() {
            Some("ctl" | "plan") => Self::Ctl,
            Some("kid" | "pair" | "replicator") => Self::Kid,
            Some("vac" | "purge" | "purger") => Self::Vac,
            _ if target.contains("::engine::") => Self::Kid,
            _ => Self::Mcp,
        }
    }

    /// As lines and file names show it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Mcp => "MCP",
            Self::Ctl => "CTL",
            Self::Kid => "KID",
            Self::Vac => "VAC",
        }
    }
}

/// Where in the program an event comes from.
pub(super) struct Place {
    pub(super) module: &'static str,
    pub(super) file: &'static str,
    pub(super) line: u32,
}

/// One event.
pub(super) struct Entry {
    pub(super) level: Level,
    pub(super) role: Role,
    pub(super) time: DateTime<Local>,
    pub(super) pid: u32,
    pub(super) words: Words,
    /// Where in the program it comes from.
    pub(super) place: Place,
}

impl Entry {
    /// What `event` says, now.
    pub(super) fn of(event: &Event<'_>) -> Self {
        let about = event.metadata();
        let mut words = Words::default();
        event.record(&mut words);
        Self {
            level: *about.level(),
            role: Role::of(about.target(), &words),
            time: Local::now(),
            pid: std::process::id(),
            words,
            place: Place {
                module: about.target(),
                file: about.file().unwrap_or_default(),
                line: about.line().unwrap_or_default(),
            },
        }
    }

    /// A complaint about the log itself.
    pub(super) fn complaint(message: String) -> Self {
        let words = Words { message, ..Words::default() };
        let place = Place { module: module_path!(), file: file!(), line: line!() };
        let (level, role) = (Level::WARN, Role::Mcp);
        Self { level, role, time: Local::now(), pid: std::process::id(), words, place }
    }

    /// A warning or an error.
    pub(super) fn is_serious(&self) -> bool {
        self.level <= Level::WARN
    }

    fn warning(&self) -> &'static str {
        if self.is_serious() { "Warning: " } else { "" }
    }

    /// The line that the settings ask for, with its end.
    pub(super) fn whole(&self, settings: &LogSettings) -> String {
        match settings.format {
            LogFormat::Text => self.line(settings),
            LogFormat::Json => self.json(),
        }
    }

    /// The line for people, with its end.
    fn line(&self, settings: &LogSettings) -> String {
        let mut line = String::with_capacity(160);
        if settings.show_level || self.is_serious() {
            let _ = write!(line, "{} ", self.level);
        }
        if settings.show_pid {
            let _ = write!(line, "({}) ", self.pid);
        }
        self.show_time(&mut line, settings);
        if settings.show_line {
            let _ = write!(line, "#{}:{} ", self.place.module, self.place.line);
        }
        line.push_str(&self.bare(settings));
        line.push('\n');
        line
    }

    /// Prefix, message and fields, in one line.
    pub(super) fn bare(&self, settings: &LogSettings) -> String {
        let mut line = self.role.name().to_owned();
        if settings.show_sync
            && matches!(self.role, Role::Ctl | Role::Kid)
            && let Some(sync) = &self.words.sync
        {
            let _ = write!(line, " ({sync})");
        }
        let _ = write!(line, " {}{}", self.warning(), self.words.message);
        for (name, value) in &self.words.fields {
            let text = text(value);
            let quote = if text.is_empty() || text.contains(|sign: char| sign == '"' || sign.is_whitespace()) {
                "\""
            } else {
                ""
            };
            let _ = write!(line, " {name}={quote}{}{quote}", text.replace('"', "'"));
        }
        // Whatever a name or a server's message holds, it neither starts a line nor moves a terminal's cursor.
        line.chars().map(|sign| if sign.is_control() { ' ' } else { sign }).collect()
    }

    /// A line of JSON, with its end: everything, whatever the settings show.
    fn json(&self) -> String {
        let mut object = Map::new();
        let mut put = |name: &str, value: Value| object.insert(name.to_owned(), value);
        put("time", self.time.to_rfc3339_opts(SecondsFormat::Millis, false).into());
        put("level", self.level.as_str().into());
        put("pid", self.pid.into());
        put("process", self.role.name().into());
        if let Some(sync) = &self.words.sync {
            put("sync", sync.as_str().into());
        }
        put("message", format!("{}{}", self.warning(), self.words.message).into());
        let fields = self.words.fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        put("fields", Value::Object(fields.collect()));
        put("place", format!("{}:{}", self.place.module, self.place.line).into());
        let mut line = Value::Object(object).to_string();
        line.push('\n');
        line
    }

    fn show_time(&self, line: &mut String, settings: &LogSettings) {
        let pattern = if settings.time_format.is_empty() { TIME } else { &settings.time_format };
        let mut text = String::new();
        let written = match settings.show_time {
            ShowTime::None => return,
            ShowTime::Epoch => write!(text, "{}", self.time.timestamp()),
            ShowTime::Utc => write!(text, "{}", self.time.to_utc().format(pattern)),
            ShowTime::Local => write!(text, "{}", self.time.format(pattern)),
        };
        if written.is_err() {
            // A pattern that makes no sense; the time still does.
            text = self.time.to_rfc3339();
        }
        if settings.fraction {
            let _ = write!(text, ".{:03}", self.time.timestamp_subsec_millis());
        }
        let _ = write!(line, "[{text}] ");
    }
}

/// A value as a line shows it.
pub(super) fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
