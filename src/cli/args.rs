//! The options of the command line, declared once. They may stand anywhere among the words, and may be abbreviated.

use clap::{ArgAction, CommandFactory, FromArgMatches, Parser};

use super::error::CliError;
use super::rc::RcFile;

/// A value that no output shows.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The value itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// Every option, as given on the command line or else in the rc file.
#[derive(Clone, Debug, Default, Parser)]
#[command(
    name = "bucardo",
    disable_help_flag = true,
    disable_version_flag = true,
    infer_long_args = true,
    args_override_self = true
)]
pub struct Options {
    /// Name of the control database, or a whole connection string.
    #[arg(short = 'd', long = "dbname", alias = "db-name")]
    pub dbname: Option<String>,
    /// User of the control database.
    #[arg(short = 'U', long = "dbuser", alias = "db-user")]
    pub dbuser: Option<String>,
    /// Password of that user.
    #[arg(short = 'P', long = "dbpass", alias = "db-pass")]
    pub dbpass: Option<Secret>,
    /// Host of the control database.
    #[arg(short = 'h', long = "dbhost", alias = "db-host")]
    pub dbhost: Option<String>,
    /// Port of the control database.
    #[arg(short = 'p', long = "dbport", alias = "db-port")]
    pub dbport: Option<String>,
    /// The rc file to read, instead of looking for one.
    #[arg(long)]
    pub bucardorc: Option<String>,
    /// Read no rc file.
    #[arg(long)]
    pub no_bucardorc: bool,
    /// More output; repeatable.
    #[arg(short = 'v', long, action = ArgAction::Count)]
    pub verbose: u8,
    /// As `--verbose --verbose`.
    #[arg(long)]
    pub vv: bool,
    /// As `--verbose` three times.
    #[arg(long)]
    pub vvv: bool,
    /// As `--verbose` four times.
    #[arg(long)]
    pub vvvv: bool,
    /// No output but errors; repeatable.
    #[arg(long, action = ArgAction::Count)]
    pub quiet: u8,
    /// Output of `list`, `show` and `status` as JSON.
    #[arg(long)]
    pub json: bool,
    /// The settings file, instead of `/etc/bucardo/bucardo.toml`.
    #[arg(long)]
    pub config: Option<String>,
    /// Start in the foreground, for a service manager.
    #[arg(long)]
    pub foreground: bool,
    /// The background half of `start`: stdin is the pipe that its caller waits at.
    #[arg(long, hide = true)]
    pub detached: bool,
    /// Accepted: the daemon checks no columns when it starts.
    #[arg(long)]
    pub quickstart: bool,
    /// No running counter in `kick NAME SECONDS`.
    #[arg(long)]
    pub notimer: bool,
    /// Print the manual's section.
    #[arg(short = '?', long)]
    pub help: bool,
    /// Print the version.
    #[arg(long)]
    pub version: bool,
    /// Print the manual page, for whoever makes a package.
    #[arg(long, hide = true)]
    pub man_page: bool,
    /// Debug output; repeatable.
    #[arg(long, action = ArgAction::Count)]
    pub debug: u8,
    /// Sort column of `status`; negative: descending.
    #[arg(long, allow_hyphen_values = true)]
    pub sort: Option<String>,
    /// `bucardo_ctl status` shows no runs that are longer ago than so many days.
    #[arg(long, hide = true, overrides_with = "daysback")]
    pub daysback: Option<u32>,
    /// Accepted for old scripts; no effect.
    #[arg(long, alias = "showdays")]
    pub show_days: bool,
    /// Durations of `status` without spaces.
    #[arg(long)]
    pub compress: bool,
    /// Kick again up to this many times when the sync was killed.
    #[arg(long, default_value_t = 0)]
    pub retry: u32,
    /// Seconds between these kicks.
    #[arg(long, alias = "retrysleep", default_value_t = 0)]
    pub retry_sleep: u32,
    /// Ask nothing.
    #[arg(long)]
    pub batch: bool,
    /// Do everything but commit.
    #[arg(long, alias = "dryrun")]
    pub dry_run: bool,
    /// Ask before a commit.
    #[arg(long)]
    pub confirm: bool,
    /// Separator of thousands in the counts of `status`.
    #[arg(long)]
    pub tsep: Option<String>,
    /// The daemon ends when no sync is active.
    #[arg(long, overrides_with = "no_exit_on_nosync")]
    pub exit_on_nosync: bool,
    /// The daemon stays when no sync is active.
    #[arg(long, overrides_with = "exit_on_nosync")]
    pub no_exit_on_nosync: bool,
    /// Whether the daemon logs at all.
    #[arg(long)]
    pub bcverbose: Option<String>,
    /// Whether the daemon sends mail.
    #[arg(long)]
    pub sendmail: Option<String>,
    /// Added to the process titles.
    #[arg(long, alias = "extraname")]
    pub extra_name: Option<String>,
    /// `none`, `syslog`, `stdout`, `stderr` or a directory; repeatable.
    #[arg(long, aliases = ["log-dest", "logdest"])]
    pub log_destination: Vec<String>,
    /// One log file a process.
    #[arg(long, aliases = ["log-sep", "logseparate", "debugfilesep"])]
    pub log_separate: bool,
    /// Extension of the log file.
    #[arg(long, aliases = ["log-ext", "debugname"])]
    pub log_extension: Option<String>,
    /// Delete old log files at start.
    #[arg(long, aliases = ["logclean", "cleandebugs"])]
    pub log_clean: bool,
    /// `text`, or `json` for one object a line.
    #[arg(long)]
    pub log_format: Option<String>,
    /// Warnings are appended to this file, too.
    #[arg(long)]
    pub warning_file: Option<String>,
    /// Version 3 and 4: whether to log to syslog, too.
    #[arg(long)]
    pub debugsyslog: Option<String>,
    /// Version 3 and 4: whether to log to a file.
    #[arg(long)]
    pub debugfile: Option<String>,
    /// Version 3 and 4: the directory of that file.
    #[arg(long)]
    pub debugdir: Option<String>,
    /// `terse`, `normal`, `verbose`, `debug` or `debug2`.
    #[arg(long, alias = "loglevel")]
    pub log_level: Option<String>,
    /// Show the source line in the log.
    #[arg(long, alias = "logshowline")]
    pub log_showline: bool,
    /// `add db` although the test fails; `remove` with everything that refers to it.
    #[arg(long)]
    pub force: bool,
    /// `remove` takes away what is in the databases, too.
    #[arg(long)]
    pub cascade: bool,
    /// `status` again and again, every so many seconds (2).
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "2")]
    pub watch: Option<u64>,
    /// Only this schema (`add all …`); repeatable, wildcards.
    #[arg(short = 'n', long)]
    pub schema: Vec<String>,
    /// Not this schema; repeatable, wildcards.
    #[arg(short = 'N', long)]
    pub exclude_schema: Vec<String>,
    /// Only this table; repeatable, wildcards.
    #[arg(short = 't', long)]
    pub table: Vec<String>,
    /// Not this table; repeatable, wildcards.
    #[arg(short = 'T', long)]
    pub exclude_table: Vec<String>,
    /// As `db=` of `add all …`.
    #[arg(long, alias = "database")]
    pub db: Option<String>,
    /// As `relgroup=` of `add all …`.
    #[arg(long, alias = "relgroup")]
    pub herd: Option<String>,
    /// Directory of PID and stop files.
    #[arg(long, alias = "pid-dir")]
    pub piddir: Option<String>,
    /// So many conflicts at most (`list conflicts`).
    #[arg(long)]
    pub limit: Option<u32>,
    /// Leave what `demo` has built running.
    #[arg(long)]
    pub keep: bool,
    /// Seconds for which the load of `demo` runs.
    #[arg(long)]
    pub seconds: Option<u64>,
    /// The input that `test customcode` gives to a code: a file with a JSON object, or a list of them.
    #[arg(long)]
    pub file: Option<String>,
    /// Verb, nouns and `key=value` words.
    #[arg(value_name = "WORD")]
    pub words: Vec<String>,
}

impl Options {
    /// How much more to say: 0 to 4.
    #[must_use]
    pub fn verbosity(&self) -> u8 {
        let named = [(self.vv, 2), (self.vvv, 3), (self.vvvv, 4)];
        named.iter().filter(|(given, _)| *given).map(|(_, level)| *level).max().unwrap_or(0).max(self.verbose)
    }

    /// Where the daemon logs to; empty: as the settings say. The words of version 3 and 4 count where none of today's are.
    #[must_use]
    pub fn log_destinations(&self) -> Vec<String> {
        let off = |value: &str| matches!(value.to_lowercase().as_str(), "0" | "false" | "no" | "off");
        if self.bcverbose.as_deref().is_some_and(off) {
            return vec!["none".to_owned()];
        }
        if !self.log_destination.is_empty() {
            return self.log_destination.clone();
        }
        let without_file = self.debugfile.as_deref().is_some_and(off);
        let with_syslog = self.debugsyslog.as_deref().is_some_and(|value| !off(value));
        let mut all: Vec<String> = self.debugdir.iter().filter(|_| !without_file).cloned().collect();
        if with_syslog {
            if all.is_empty() && !without_file {
                all.push(crate::daemon::Log::DIRECTORY.to_owned());
            }
            all.push("syslog".to_owned());
        } else if without_file {
            all.push("none".to_owned());
        }
        all
    }

    /// Reads the command line, without any rc file.
    ///
    /// # Errors
    ///
    /// A refusal that names the option.
    pub fn read(args: &[String]) -> Result<Self, CliError> {
        let matches = Self::command().try_get_matches_from(args).map_err(|error| refusal(&error))?;
        Self::from_arg_matches(&matches).map_err(|error| refusal(&error))
    }

    /// The options of the command line `args`, for another call of the program. Those are missing that a password may stand in
    /// (`--dbname`, `--dbpass`), and those that say in which way the daemon is started.
    ///
    /// # Errors
    ///
    /// A refusal that names the option.
    pub fn again(args: &[String]) -> Result<Vec<String>, CliError> {
        let command = Self::command();
        let matches = Self::command().try_get_matches_from(args).map_err(|error| refusal(&error))?;
        let mut all = Vec::new();
        for arg in command.get_arguments() {
            let (id, Some(long)) = (arg.get_id().as_str(), arg.get_long()) else { continue };
            let is_given = matches.value_source(id) == Some(clap::parser::ValueSource::CommandLine);
            if !is_given || matches!(id, "dbname" | "dbpass" | "foreground" | "detached") {
                continue;
            }
            match arg.get_action() {
                ArgAction::SetTrue => all.extend(matches.get_flag(id).then(|| format!("--{long}"))),
                ArgAction::Count => all.extend(vec![format!("--{long}"); matches.get_count(id).into()]),
                _ => {
                    let values = matches.get_raw(id).into_iter().flatten();
                    all.extend(values.map(|value| format!("--{long}={}", value.to_string_lossy())));
                }
            }
        }
        Ok(all)
    }

    /// Reads the command line again, with the lines of an rc file that name options; what the command line gives wins.
    ///
    /// # Errors
    ///
    /// A refusal that names the option and says that it stands in the rc file.
    pub fn read_with_rc(args: &[String], rc: &RcFile) -> Result<Self, CliError> {
        let command = Self::command();
        let matches = Self::command().try_get_matches_from(args).map_err(|error| refusal(&error))?;
        let mut all: Vec<String> = args.iter().take(1).cloned().collect();
        for (name, value) in &rc.entries {
            let Some(arg) = option_named(&command, name) else { continue };
            let given = matches.value_source(arg.get_id().as_str());
            if given != Some(clap::parser::ValueSource::CommandLine) {
                all.extend(as_arguments(arg, value));
            }
        }
        all.extend(args.iter().skip(1).cloned());
        let matches = Self::command().try_get_matches_from(&all).map_err(|error| {
            let refused = refusal(&error);
            CliError {
                message: format!("{} (options of rc file \"{}\" included)", refused.message, rc.path),
                ..refused
            }
        })?;
        Self::from_arg_matches(&matches).map_err(|error| refusal(&error))
    }
}

/// The option that an rc line means: a long name or alias, with dashes or underscores.
fn option_named<'a>(command: &'a clap::Command, name: &str) -> Option<&'a clap::Arg> {
    let wanted = name.replace('_', "-").to_lowercase();
    command.get_arguments().find(|arg| {
        arg.get_long() == Some(&wanted)
            || arg.get_all_aliases().is_some_and(|aliases| aliases.contains(&wanted.as_str()))
    })
}

fn as_arguments(arg: &clap::Arg, value: &str) -> Vec<String> {
    let Some(long) = arg.get_long() else { return Vec::new() };
    match arg.get_action() {
        ArgAction::SetTrue => {
            let on = !matches!(value.to_lowercase().as_str(), "" | "0" | "f" | "false" | "no" | "off");
            if on { vec![format!("--{long}")] } else { Vec::new() }
        }
        ArgAction::Count => vec![format!("--{long}"); value.parse::<usize>().unwrap_or(1).min(4)],
        ArgAction::Append => value.split_whitespace().map(|piece| format!("--{long}={piece}")).collect(),
        _ => vec![format!("--{long}={value}")],
    }
}

/// The first line of clap's message; its usage lines know nothing of our verbs.
fn refusal(error: &clap::Error) -> CliError {
    let text = error.render().to_string();
    let line = text.lines().next().unwrap_or("wrong option").trim_start_matches("error: ").to_owned();
    CliError::refuse(line).hint("\"bucardo help\" lists the options")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(line: &str) -> Vec<String> {
        std::iter::once("bucardo").chain(line.split_whitespace()).map(str::to_owned).collect()
    }

    #[test]
    fn options_stand_anywhere_and_may_be_abbreviated() {
        let options = Options::read(&args("add --dbh localhost db A -p 5433 dbname=x --dry --quie")).unwrap();
        assert_eq!(options.words, ["add", "db", "A", "dbname=x"]);
        assert_eq!(options.dbhost.as_deref(), Some("localhost"));
        assert_eq!(options.dbport.as_deref(), Some("5433"));
        assert!(options.dry_run);
        assert_eq!(options.quiet, 1);
    }

    #[test]
    fn an_ambiguous_or_unknown_option_is_refused_by_name() {
        let error = Options::read(&args("list --nonsense")).unwrap_err();
        assert_eq!(error.code, 1);
        assert!(error.message.contains("--nonsense"), "{}", error.message);
        assert!(Options::read(&args("list --dbp x")).is_err(), "--dbpass or --dbport");
    }

    #[test]
    fn verbosity_takes_the_loudest() {
        assert_eq!(Options::read(&args("list -vv")).unwrap().verbosity(), 2);
        assert_eq!(Options::read(&args("list --vvv")).unwrap().verbosity(), 3);
        assert_eq!(Options::read(&args("list --verbose --verbose")).unwrap().verbosity(), 2);
    }

    #[test]
    fn the_command_line_wins_over_the_rc_file() {
        let rc = RcFile::parse("x", "dbport = 1\ndbhost: here\nlog_dest = /a\nquiet=1\nkid_sleep = 3\nbatch = 0\n").0;
        let options = Options::read_with_rc(&args("list -p 2"), &rc).unwrap();
        assert_eq!(options.dbport.as_deref(), Some("2"));
        assert_eq!(options.dbhost.as_deref(), Some("here"));
        assert_eq!(options.log_destination, ["/a"]);
        assert_eq!(options.quiet, 1);
        assert!(!options.batch);
        let options = Options::read_with_rc(&args("list --logdest /b"), &rc).unwrap();
        assert_eq!(options.log_destination, ["/b"]);
    }

    #[test]
    fn the_password_is_never_shown() {
        let options = Options::read(&args("list -P geheim")).unwrap();
        assert_eq!(options.dbpass.as_ref().map(Secret::reveal), Some("geheim"));
        assert!(!format!("{options:?}").contains("geheim"));
    }

    /// The reason may look like anything, and so may values.
    #[test]
    fn options_are_given_on_without_words_and_passwords() {
        let line = "-d postgres://u:x@h/d --dbpas y -Pz -h start restart --log-dest restart --logdest /b stop -vv \
                    --exit-on-nosync --no-exit-on-nosync --sort -3 --watch --foreground -- --dry-run";
        let again = Options::again(&args(line)).unwrap();
        assert_eq!(
            again,
            [
                "--dbhost=start",
                "--verbose",
                "--verbose",
                "--sort=-3",
                "--no-exit-on-nosync",
                "--log-destination=restart",
                "--log-destination=/b",
                "--watch=2"
            ]
        );
    }

    #[test]
    fn log_destinations_of_old_and_new() {
        let of = |line: &str| Options::read(&args(line)).unwrap().log_destinations();
        assert!(of("start").is_empty());
        assert_eq!(of("start --logdest syslog --log-dest=/a --debugdir /b"), ["syslog", "/a"]);
        assert_eq!(of("start --debugdir=/b --debugsyslog=1"), ["/b", "syslog"]);
        assert_eq!(of("start --debugsyslog=1 --debugfile=0"), ["syslog"]);
        assert_eq!(of("start --debugsyslog=1"), ["/var/log/bucardo", "syslog"]);
        assert_eq!(of("start --debugfile=0 --debugdir /b"), ["none"]);
        assert_eq!(of("start --bcverbose=0 --logdest /a"), ["none"]);
    }

    #[test]
    fn sort_takes_a_negative_column() {
        assert_eq!(Options::read(&args("status --sort -3")).unwrap().sort.as_deref(), Some("-3"));
    }
}
