//! Every setting, its unit and its default. `config/default.toml` says the same to operators.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use bucardo_actors::policy::{Schedule, Supervision};
use serde::Deserialize;

use super::{LogSettings, MailSettings, SettingsError};
use crate::pg::{Access, ConnectError};

/// All settings of the daemon.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// How to reach the control database.
    pub control: ControlWords,
    /// Files and limits of the process.
    pub daemon: DaemonSettings,
    /// The log.
    pub log: LogSettings,
    /// Mail to those who look after it.
    pub mail: MailSettings,
    /// The history of conflicts.
    pub conflicts: ConflictSettings,
    /// The run history.
    pub history: HistorySettings,
    /// The purge of the sources.
    pub purge: PurgeSettings,
    /// When things happen that nobody asked for.
    pub schedule: Schedule,
    /// What is tolerated of each role.
    pub supervision: Supervision,
}

impl Settings {
    /// Refuses values that fit each by itself, but make no sense.
    pub(super) fn check(&self) -> Result<(), SettingsError> {
        let care = &self.supervision;
        let periods = [
            ("schedule.purge_every", self.schedule.purge_every),
            ("supervision.ctl.ping.every", care.ctl.ping.every),
            ("supervision.kid.ping.every", care.kid.ping.every),
            ("supervision.merge.ping.every", care.merge.ping.every),
            ("supervision.vac.ping.every", care.vac.ping.every),
        ];
        match periods.into_iter().find(|(_, every)| every.is_zero()) {
            Some((name, _)) => Err(SettingsError::Value {
                name: name.to_owned(),
                value: "0s".to_owned(),
                why: "it must be above 0".to_owned(),
            }),
            None => Ok(()),
        }
    }
}

/// `[control]`: words of libpq. The password is never shown.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct ControlWords(BTreeMap<String, String>);

impl Default for ControlWords {
    fn default() -> Self {
        Self([("dbname", "bucardo"), ("user", "bucardo")].map(|(word, value)| (word.into(), value.into())).into())
    }
}

impl ControlWords {
    /// The value of one word.
    #[must_use]
    pub fn get(&self, word: &str) -> Option<&str> {
        self.0.get(word).map(String::as_str)
    }

    /// Adds to `access` what it leaves open. A service, or a connection string that is `whole`, only lacks database
    /// and user; and of a service that these words name themselves, not even those.
    ///
    /// # Errors
    ///
    /// [`ConnectError::Conninfo`] for a word that libpq does not know.
    pub fn fill(&self, access: &mut Access, whole: bool) -> Result<(), ConnectError> {
        if access.get("service").is_some() {
            return Ok(());
        }
        let shipped = Self::default();
        let named = !whole && self.get("service").is_some();
        for (word, value) in &self.0 {
            let wanted = if whole {
                matches!(word.as_str(), "dbname" | "user")
            } else {
                !(named && shipped.get(word) == Some(value))
            };
            if wanted && access.get(word).is_none() {
                access.set(word, value)?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for ControlWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.0.iter().map(|(word, value)| (word, if word == "password" { "***" } else { value }));
        f.debug_map().entries(shown).finish()
    }
}

/// `[daemon]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DaemonSettings {
    /// Directory of PID file and stop file.
    pub piddir: PathBuf,
    /// Name of the stop file.
    pub stopfile: String,
    /// Last reason given to `start` or `stop`; relative to `piddir`.
    pub reason_file: PathBuf,
    /// On which hosts the daemon may run; see [`super::host_is_safe`].
    pub host_safety_check: String,
    /// `bucardo start` waits this long until the daemon is ready.
    #[serde(with = "humantime_serde")]
    pub ready_within: Duration,
    /// Threads that do the database work.
    pub worker_threads: usize,
    /// So many megabytes the rounds of all KIDs may take together; 0: no limit.
    pub worker_mb_max: u32,
}

impl Default for DaemonSettings {
    fn default() -> Self {
        Self {
            piddir: "/var/run/bucardo".into(),
            stopfile: "fullstopbucardo".to_owned(),
            reason_file: "bucardo.restart.reason.txt".into(),
            host_safety_check: String::new(),
            ready_within: Duration::from_secs(60),
            worker_threads: 2,
            worker_mb_max: 0,
        }
    }
}

impl DaemonSettings {
    /// `piddir/bucardo.mcp.pid`
    #[must_use]
    pub fn pid_file(&self) -> PathBuf {
        self.piddir.join("bucardo.mcp.pid")
    }

    /// `piddir/stopfile`
    #[must_use]
    pub fn stop_file(&self) -> PathBuf {
        self.piddir.join(&self.stopfile)
    }

    /// The file with the last reason.
    #[must_use]
    pub fn reason_path(&self) -> PathBuf {
        self.piddir.join(&self.reason_file)
    }
}

/// `[conflicts]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConflictSettings {
    /// A decided conflict is in the history for this long; zero: conflicts are only counted.
    #[serde(with = "humantime_serde")]
    pub keep: Duration,
    /// The rows of each conflict are also appended to a file.
    pub log_details: bool,
    /// Which file; relative to the directory of the log.
    pub log_file: PathBuf,
}

impl Default for ConflictSettings {
    fn default() -> Self {
        Self { keep: Duration::from_secs(30 * 24 * 3600), log_details: false, log_file: "bucardo_conflict.log".into() }
    }
}

/// `[history]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HistorySettings {
    /// A run that ended stays in `syncrun` for this long, then it goes to the freezer.
    #[serde(with = "humantime_serde")]
    pub run_keep: Duration,
    /// A day of the freezer is dropped so long after its end; zero: never.
    #[serde(with = "humantime_serde")]
    pub freezer_keep: Duration,
}

impl Default for HistorySettings {
    fn default() -> Self {
        Self { run_keep: Duration::from_secs(24 * 3600), freezer_keep: Duration::from_secs(7 * 24 * 3600) }
    }
}

/// `[purge]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PurgeSettings {
    /// Whether the VAC purges at all.
    pub run: bool,
    /// A database is purged this often at most.
    #[serde(with = "humantime_serde")]
    pub every: Duration,
    /// What is younger stays, although everybody has read it.
    #[serde(with = "humantime_serde")]
    pub keep: Duration,
    /// Rows that one transaction deletes at most.
    pub batch_rows_max: u32,
}

impl Default for PurgeSettings {
    fn default() -> Self {
        Self { run: true, every: Duration::ZERO, keep: Duration::from_secs(45), batch_rows_max: 10_000 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(words: &[(&str, &str)], conninfo: &str, whole: bool) -> String {
        let mut control = ControlWords::default();
        control.0.extend(words.iter().map(|(word, value)| ((*word).to_owned(), (*value).to_owned())));
        let mut access = Access::parse(conninfo).unwrap();
        control.fill(&mut access, whole).unwrap();
        access.describe()
    }

    #[test]
    fn control_words_fill_what_the_command_line_leaves_open() {
        assert_eq!(filled(&[], "", false), "dbname=bucardo user=bucardo");
        assert_eq!(filled(&[("host", "h"), ("user", "u")], "user=me", false), "host=h dbname=bucardo user=me");
        assert_eq!(filled(&[("host", "h")], "host=other dbname=x", true), "host=other dbname=x user=bucardo");
        assert_eq!(filled(&[("host", "h")], "service=s", false), "service=s");
        assert_eq!(filled(&[("service", "s"), ("user", "u")], "", false), "service=s user=u");
    }
}
