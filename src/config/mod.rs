//! How this process runs: compiled-in defaults, file, environment, control database, rc file, command line.
//! What is replicated stands in the control database and is none of these.

mod classic;
mod host;
mod log;
mod mail;
mod password;
mod settings;

use std::path::{Path, PathBuf};

use config::{Config, ConfigError, Environment, File, FileFormat};

pub use classic::{check as check_classic, without_effect};
pub use host::host_is_safe;
pub use log::{Level, LogFormat, LogSettings, ShowTime};
pub use mail::{MailSettings, MailTls};
pub use password::PasswordRef;
pub use settings::{ConflictSettings, ControlWords, DaemonSettings, HistorySettings, PurgeSettings, Settings};

/// The compiled-in layer.
const DEFAULTS: &str = include_str!("../../config/default.toml");
/// Read when it exists and `--config` names no other.
const FILE: &str = "/etc/bucardo/bucardo.toml";
/// `BUCARDO__LOG__LEVEL` is `log.level`.
const PREFIX: &str = "BUCARDO";

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A layer cannot be read, or has a value that does not fit; the message names the key and the layer.
    #[error("cannot read the settings{}", layer.as_ref().map(|file| format!(" (file \"{}\")", file.display())).unwrap_or_default())]
    Layers {
        /// The file that takes part.
        layer: Option<PathBuf>,
        /// Which key, and why.
        source: ConfigError,
    },
    /// A setting has a value that does not fit, or makes no sense.
    #[error("setting \"{name}\" has the value \"{value}\": {why}")]
    Value {
        /// Its name.
        name: String,
        /// Its value.
        value: String,
        /// What it should be.
        why: String,
    },
}

/// A setting under its classic name, from the control database, the rc file or the command line.
pub type ClassicSetting = (String, String);

/// Where the settings of this process come from; the later the field, the stronger.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    /// `--config FILE`; it must exist.
    pub file: Option<PathBuf>,
    /// Settings of the control database that differ from their defaults.
    pub catalog: Vec<ClassicSetting>,
    /// Entries of the rc file that are settings.
    pub rc: Vec<ClassicSetting>,
    /// Values that options of the command line set, by their path (`log.level`).
    pub options: Vec<(&'static str, config::Value)>,
}

impl Layers {
    /// All layers, one over the other.
    ///
    /// # Errors
    ///
    /// [`SettingsError`] names the key, what was found and what was expected.
    pub fn load(&self) -> Result<Settings, SettingsError> {
        let environment = Environment::with_prefix(PREFIX)
            .prefix_separator("__")
            .separator("__")
            .try_parsing(true)
            .list_separator(",")
            .with_list_parse_key("log.destinations");
        self.load_from(environment)
    }

    /// The classic settings that somebody has set although they have no effect, and why not.
    #[must_use]
    pub fn without_effect(&self) -> Vec<(&str, &'static str)> {
        let names = self.catalog.iter().chain(&self.rc).map(|(name, _)| name.as_str());
        names.filter_map(|name| Some((name, without_effect(name)?))).collect()
    }

    fn load_from(&self, environment: Environment) -> Result<Settings, SettingsError> {
        let usual = Path::new(FILE);
        let layer = self.file.clone().or_else(|| usual.exists().then(|| usual.to_owned()));
        let fault = |source| SettingsError::Layers { layer: layer.clone(), source };
        let mut builder = Config::builder().add_source(File::from_str(DEFAULTS, FileFormat::Toml));
        if let Some(file) = &layer {
            builder = builder.add_source(File::from(file.as_path()).format(FileFormat::Toml));
        }
        builder = builder.add_source(environment);
        for (name, value) in self.catalog.iter().chain(&self.rc) {
            for (path, value) in classic::translate(name, value)? {
                builder = builder.set_override(path, value).map_err(fault)?;
            }
        }
        for (path, value) in &self.options {
            builder = builder.set_override(*path, value.clone()).map_err(fault)?;
        }
        let settings: Settings = builder.build().and_then(Config::try_deserialize).map_err(fault)?;
        settings.check()?;
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::time::Duration;

    use super::*;

    fn load(layers: &Layers, environment: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        let variables: HashMap<String, String> =
            environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let source = Environment::with_prefix(PREFIX)
            .prefix_separator("__")
            .separator("__")
            .try_parsing(true)
            .list_separator(",")
            .with_list_parse_key("log.destinations")
            .source(Some(variables));
        layers.load_from(source)
    }

    fn file(text: &str) -> (tempfile::NamedTempFile, Layers) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let layers = Layers { file: Some(file.path().to_owned()), ..Layers::default() };
        (file, layers)
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<ClassicSetting> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_compiled_in_file_says_what_the_code_says() {
        assert_eq!(load(&Layers::default(), &[]).unwrap(), Settings::default());
    }

    #[test]
    fn the_example_can_be_read() {
        let (_file, layers) = file(include_str!("../../config/example.toml"));
        let settings = load(&layers, &[]).unwrap();
        assert_eq!(settings.control.get("sslmode"), Some("verify-full"));
        assert_eq!(settings.supervision, Settings::default().supervision);
    }

    #[test]
    fn later_layers_win() {
        let (_file, mut layers) = file("[log]\nlevel = \"debug\"\n[daemon]\npiddir = \"/a\"\nstopfile = \"x\"\n");
        let environment = [("BUCARDO__DAEMON__PIDDIR", "/b"), ("BUCARDO__LOG__DESTINATIONS", "stderr,/tmp")];
        let settings = load(&layers, &environment).unwrap();
        assert_eq!(settings.log.level, Level::Debug);
        assert_eq!(settings.daemon.piddir, Path::new("/b"));
        assert_eq!(settings.daemon.stopfile, "x");
        assert_eq!(settings.log.destinations, ["stderr", "/tmp"]);

        layers.catalog =
            pairs(&[("piddir", "/c"), ("log_level", "VERBOSE"), ("vac_sleep", "90"), ("unknown_here", "1")]);
        layers.catalog.extend(pairs(&[("conflict_keep", "0"), ("log_conflict_details", "1")]));
        layers.rc = pairs(&[("piddir", "/d")]);
        layers.options = vec![("log.level", "terse".into())];
        let settings = load(&layers, &environment).unwrap();
        assert_eq!(settings.daemon.piddir, Path::new("/d"));
        assert_eq!(settings.log.level, Level::Terse);
        assert_eq!(settings.schedule.purge_every, Duration::from_secs(90));
        assert_eq!((settings.conflicts.keep, settings.conflicts.log_details), (Duration::ZERO, true));
    }

    /// Each classic setting of supervision has the effect that it says.
    #[test]
    fn classic_settings_become_care() {
        let of = |catalog: &[(&str, &str)]| {
            load(&Layers { catalog: pairs(catalog), ..Layers::default() }, &[]).unwrap().supervision
        };
        let (usual, wait) = (of(&[]), Duration::from_millis(2500));
        for (set, changed) in [
            (("kid_restart_sleep", "2.5"), {
                let mut care = usual;
                (care.kid.restart.delay_initial, care.merge.restart.delay_initial) = (wait, wait);
                care
            }),
            (("kid_abort_limit", "3"), {
                let mut care = usual;
                (care.kid.restart.restarts_max, care.merge.restart.restarts_max) = (3, 3);
                care
            }),
            (("kid_serial_sleep", "2.5"), {
                let mut care = usual;
                (care.kid.clash.serialization, care.merge.clash.serialization) = (wait, wait);
                care
            }),
            (("kid_deadlock_sleep", "-1"), {
                let mut care = usual;
                (care.kid.clash.deadlock, care.merge.clash.deadlock) = (Duration::ZERO, Duration::ZERO);
                (care.kid.clash.deadlock_retry, care.merge.clash.deadlock_retry) = (false, false);
                care
            }),
            (("ctl_checkonkids_time", "2.5"), {
                let mut care = usual;
                (care.kid.ping.every, care.merge.ping.every) = (wait, wait);
                care
            }),
            (("ctl_checkabortedkids_time", "2.5"), {
                let mut care = usual;
                (care.kid.stalled.retry_every, care.merge.stalled.retry_every) = (wait, wait);
                care
            }),
            (("mcp_pingtime", "2.5"), {
                let mut care = usual;
                (care.kid.stalled.away_every, care.merge.stalled.away_every) = (wait, wait);
                care
            }),
            (("mcp_vactime", "2.5"), {
                let mut care = usual;
                care.vac.ping.every = wait;
                care
            }),
            (("mcp_dbproblem_sleep", "2.5"), {
                let mut care = usual;
                (care.lease.delay_initial, care.lease.delay_max) = (wait, wait);
                care
            }),
            (("mcp_dbproblem_sleep", "0"), {
                let mut care = usual;
                care.lease.regain = false;
                care
            }),
        ] {
            assert_ne!(changed, usual);
            assert_eq!(of(&[set]), changed, "{set:?}");
        }
        let layers = Layers { catalog: pairs(&[("kid_sleep", "3"), ("log_level", "debug")]), ..Layers::default() };
        let told = layers.without_effect();
        assert!(matches!(told[..], [("kid_sleep", why)] if why.contains("sleeps in a loop")), "{told:?}");
    }

    #[test]
    fn a_wrong_key_or_value_is_named() {
        let told = |text: &str| {
            let (_file, layers) = file(text);
            crate::pg::causes(&load(&layers, &[]).unwrap_err())
        };
        let error = told("[supervision.kid.restart]\ndelay_initial = \"soon\"\n");
        assert!(error.contains("supervision.kid.restart.delay_initial"), "{error}");
        let error = told("[log]\nlevle = \"debug\"\n");
        assert!(error.contains("levle"), "{error}");
        let missing = Layers { file: Some("/nonexistent/x.toml".into()), ..Layers::default() };
        let error = crate::pg::causes(&load(&missing, &[]).unwrap_err());
        assert!(error.contains("/nonexistent/x.toml"), "{error}");
    }

    /// What is done again without a pause leaves no time for anything else.
    #[test]
    fn a_period_of_zero_is_refused() {
        for name in ["supervision.ctl", "supervision.kid", "supervision.merge", "supervision.vac"] {
            let (_file, layers) = file(&format!("[{name}]\nping = {{ every = \"0s\" }}\n"));
            let error = load(&layers, &[]).unwrap_err().to_string();
            assert_eq!(error, format!("setting \"{name}.ping.every\" has the value \"0s\": it must be above 0"));
        }
        let error = load(&Layers::default(), &[("BUCARDO__SCHEDULE__PURGE_EVERY", "0ms")]).unwrap_err().to_string();
        assert!(error.contains("\"schedule.purge_every\""), "{error}");
    }

    #[test]
    fn the_password_of_the_control_database_is_not_shown() {
        let settings = load(&Layers::default(), &[("BUCARDO__CONTROL__PASSWORD", "geheim")]).unwrap();
        assert_eq!(settings.control.get("password"), Some("geheim"));
        assert!(!format!("{settings:?}").contains("geheim"));
    }
}
