//! The program, run as an operator runs it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use bucardo::lab::Folder;

use super::Database;

/// What one call of the program did.
#[derive(Debug)]
pub(crate) struct Output {
    /// Its exit code; -1 after a signal.
    pub(crate) code: i32,
    /// What it printed.
    pub(crate) stdout: String,
    /// What it complained of.
    pub(crate) stderr: String,
}

impl Output {
    /// The output of a call that succeeded.
    pub(crate) fn ok(self) -> String {
        assert!(self.code == 0, "exit {}: {}{}", self.code, self.stdout, self.stderr);
        self.stdout
    }

    /// The complaint of a call that failed.
    pub(crate) fn failed(self) -> String {
        assert!(self.code != 0, "succeeded: {}{}", self.stdout, self.stderr);
        self.stderr
    }
}

/// The program with the options that reach one control database, and a home of its own.
pub(crate) struct Bucardo {
    options: Vec<String>,
    variables: Vec<(&'static str, String)>,
    watched: bool,
    home: Folder,
}

impl Bucardo {
    /// For the control database in `control`, which need not be installed yet.
    pub(crate) fn on(control: &Database) -> Self {
        let options = [
            ("--dbhost", control.host.clone()),
            ("--dbport", control.port.to_string()),
            ("--dbuser", control.user.clone()),
            ("--dbname", control.name.clone()),
        ];
        let options = options.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect();
        let home = Folder::new("bucardo-home").expect("a home folder");
        // The first rc file that exists is the only one: this one hides the machine's.
        std::fs::write(home.path().join(".bucardorc"), "").expect("an empty rc file");
        Self { options, variables: Vec::new(), watched: false, home }
    }

    /// Where PID file, log and rc file of this control database are.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// The log of a daemon that was started here.
    pub(crate) fn log(&self) -> PathBuf {
        self.home().join("bucardo.log")
    }

    /// A call, ready to run: nothing of the caller's environment and home directory counts.
    pub(crate) fn command<S: AsRef<str>>(&self, words: &[S]) -> Command {
        self.command_of(Path::new(env!("CARGO_BIN_EXE_bucardo")), words)
    }

    fn command_of<S: AsRef<str>>(&self, program: &Path, words: &[S]) -> Command {
        let mut command = Command::new(program);
        if self.watched {
            // As systemd does it: the variable names the very process that it is given to.
            command = Command::new("sh");
            command.args(["-c", r#"WATCHDOG_PID=$$ exec "$0" "$@""#, env!("CARGO_BIN_EXE_bucardo")]);
        }
        let foreign = |name: &str| name.starts_with("PG") || name.starts_with("BUCARDO");
        for (name, _) in std::env::vars_os().filter(|(name, _)| foreign(&name.to_string_lossy())) {
            command.env_remove(name);
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.env("HOME", self.home()).current_dir(self.home()).stdin(Stdio::null());
        command.args(&self.options).args(words.iter().map(AsRef::as_ref));
        command
    }

    /// Runs one call to its end.
    pub(crate) fn call<S: AsRef<str>>(&self, words: &[S]) -> Output {
        Self::end(self.command(words))
    }

    /// Runs one call to its end, under another name of the program.
    pub(crate) fn call_as<S: AsRef<str>>(&self, name: &str, words: &[S]) -> Output {
        let link = self.home().join(name);
        if !link.exists() {
            std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_bucardo"), &link).expect("a link to the program");
        }
        Self::end(self.command_of(&link, words))
    }

    fn end(mut command: Command) -> Output {
        let output = command.output().expect("the program runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let code = output.status.code().unwrap_or(-1);
        Output { code, stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    /// Runs one call, given as words with blanks between, that shall succeed; returns what it printed.
    pub(crate) fn run(&self, words: &str) -> String {
        self.call(&words.split_whitespace().collect::<Vec<_>>()).ok()
    }

    /// Runs one call, given as words with blanks between, that shall fail; returns what it complained of.
    pub(crate) fn fails(&self, words: &str) -> String {
        self.call(&words.split_whitespace().collect::<Vec<_>>()).failed()
    }

    /// `add db NAME …` for a database.
    pub(crate) fn add_db(&self, name: &str, database: &Database) -> String {
        self.add_db_at(name, database, database.port)
    }

    /// The same, reached through another port (a [`super::Proxy`]).
    pub(crate) fn add_db_at(&self, name: &str, database: &Database, port: u16) -> String {
        self.run(&format!("add db {name} {}", database.words_through(port)))
    }

    /// Runs the program as a service manager does that listens at this socket and waits so long for a beat.
    pub(crate) fn serve(&mut self, socket: &Path, watchdog: Duration) {
        self.watched = true;
        self.variables =
            vec![("NOTIFY_SOCKET", socket.display().to_string()), ("WATCHDOG_USEC", watchdog.as_micros().to_string())];
    }

    /// Has the control database reached through another port (a [`super::Proxy`]).
    pub(crate) fn reach_control_at(&mut self, port: u16) {
        let place = self.options.iter().position(|word| word == "--dbport").expect("its port is an option");
        self.options[place + 1] = port.to_string();
    }

    /// Settings of the daemon, as a file would have them.
    pub(crate) fn configure(&mut self, toml: &str) {
        let path = self.home().join("bucardo.toml");
        std::fs::write(&path, toml).expect("a settings file");
        self.options.extend(["--config".to_owned(), path.display().to_string()]);
    }
}
