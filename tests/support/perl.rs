//! The Perl Bucardo, as the distribution packages it, on a cluster of its own: it makes roles and databases by names that
//! it chooses itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use bucardo::lab::{Cluster, Folder, Settings};
use rustix::process::{Pid, Signal, kill_process};

use super::{Bucardo, Database, wait};

const PROGRAM: &str = "/usr/bin/bucardo";
const WITHIN: Duration = Duration::from_secs(60);

/// The program, its control database, and the cluster that holds this.
pub(crate) struct Perl {
    pub(crate) cluster: Cluster,
    home: Folder,
    _folder: Folder,
}

impl Perl {
    /// Installs it; `None`, said loudly, where it is not there.
    pub(crate) async fn install() -> Option<Self> {
        let text = fs::read(PROGRAM).unwrap_or_default();
        let first = String::from_utf8_lossy(text.split(|byte| *byte == b'\n').next().unwrap_or_default()).into_owned();
        if !(first.starts_with("#!") && first.contains("perl")) {
            eprintln!("SKIPPED: no Perl Bucardo at {PROGRAM} (package bucardo)");
            return None;
        }
        let folder = Folder::new("bucardo-test").unwrap();
        let cluster = Cluster::start(folder.path(), "perl", &Settings::default()).unwrap();
        let admin = Database::of(&cluster, "postgres").await;
        let plperl = "SELECT count(*) FROM pg_available_extensions WHERE name = 'plperlu'";
        if admin.number(plperl).await == 0 {
            eprintln!("SKIPPED: the server has no PL/Perl (package postgresql-plperl-NN)");
            return None;
        }
        admin.run("CREATE DATABASE bucardo").await;
        let home = Folder::new("bucardo-home").unwrap();
        let perl = Self { cluster, home, _folder: folder };
        perl.run(&format!("install --batch --piddir {}", perl.home().display()));
        Some(perl)
    }

    /// Where its PID files and its log are.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    fn command(&self, words: &str) -> Command {
        let mut command = Command::new(PROGRAM);
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("PG") || text.starts_with("BUCARDO") {
                command.env_remove(name);
            }
        }
        command.env("HOME", self.home()).current_dir(self.home()).stdin(Stdio::null()).arg("--no-bucardorc");
        command.args(["--dbhost", self.cluster.host(), "--dbport", &self.cluster.port().to_string()]);
        command.args(["--dbuser", self.cluster.user()]).args(words.split_whitespace());
        command
    }

    /// Runs one call that shall succeed; returns what it printed.
    pub(crate) fn run(&self, words: &str) -> String {
        let output = self.command(words).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (printed, told) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "the Perl program, {words}: {printed}{told}");
        printed
    }

    /// `add db`.
    pub(crate) fn add_db(&self, name: &str, database: &Database) {
        self.run(&format!("add db {name} {}", database.conninfo()));
    }

    /// Starts its daemon, and waits until each of these syncs has had a run.
    pub(crate) async fn start(&self, syncs: &[&str]) {
        let log = self.log();
        fs::remove_file(&log).ok();
        // It keeps the descriptors that it gets.
        let mut command = self.command(&format!("start --log-destination {}", self.home().display()));
        let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
        assert!(status.success(), "the Perl daemon starts");
        for sync in syncs {
            self.logs(&format!("New kid, sync \"{sync}\"")).await;
            self.run(&format!("kick {sync} 0"));
        }
    }

    fn log(&self) -> PathBuf {
        self.home().join("log.bucardo")
    }

    /// Waits until its log has this.
    pub(crate) async fn logs(&self, word: &str) {
        wait::until(&format!("\"{word}\" in the Perl log"), WITHIN, async || {
            let log = fs::read_to_string(self.log()).unwrap_or_default();
            if log.contains(word) { Ok(()) } else { Err(log) }
        })
        .await;
    }

    /// The processes that its PID files name.
    fn processes(&self) -> Vec<i32> {
        let files = fs::read_dir(self.home()).unwrap().filter_map(Result::ok).map(|entry| entry.path());
        let files = files.filter(|path| path.extension().is_some_and(|extension| extension == "pid"));
        let read = |path: PathBuf| fs::read_to_string(path).ok()?.lines().next()?.trim().parse().ok();
        files.filter_map(read).filter(|pid| Path::new(&format!("/proc/{pid}")).exists()).collect()
    }

    /// Ends its daemon as one should.
    pub(crate) async fn stop(&self) {
        self.run("stop");
        wait::until_equal("the end of the Perl daemon", WITHIN, &Vec::new(), async || self.processes()).await;
    }

    /// Ends all its processes without a word.
    pub(crate) fn kill(&self) {
        for pid in self.processes() {
            if let Some(pid) = Pid::from_raw(pid) {
                kill_process(pid, Signal::KILL).ok();
            }
        }
    }

    /// Our program, on the same control database.
    pub(crate) async fn successor(&self) -> Bucardo {
        Bucardo::on(&Database::of(&self.cluster, "bucardo").await)
    }
}

impl Drop for Perl {
    fn drop(&mut self) {
        self.kill();
    }
}
