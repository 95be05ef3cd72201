//! Both Bucardos are set up by the same words; where they keep their files, and how they start, differs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bucardo::lab::Cluster;

use crate::field::{self, DBNAME, Field};

/// One of the two programs with the options that reach its control database, on the source's cluster.
pub(super) struct Bucardo {
    program: PathBuf,
    home: PathBuf,
    control: Vec<String>,
}

impl Bucardo {
    /// Installs the control database and adds dbs, tables and the sync `bench`, which copies when it first starts.
    pub(super) fn set_up(program: &Path, field: &Field) -> Self {
        let home = field.folder.path().join("home");
        fs::create_dir(&home).unwrap();
        let source = &field.source;
        let control = ["--dbhost", source.host(), "--dbport", &source.port().to_string(), "--dbuser", source.user()];
        let control = control.into_iter().map(str::to_owned).collect();
        let bucardo = Self { program: program.to_owned(), home, control };
        bucardo.run(&["install", "--batch", "--piddir", bucardo.home.to_str().unwrap()]);
        bucardo.add_db("A", source);
        bucardo.add_db("B", &field.target);
        bucardo.run(&["add", "all", "tables", "db=A", "relgroup=bench"]);
        bucardo.run(&["add", "sync", "bench", "relgroup=bench", "dbs=A:source,B:target"]);
        bucardo
    }

    /// A call, ready to run. Nothing of the machine's own settings counts.
    pub(super) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("PG") || text.starts_with("BUCARDO") {
                command.env_remove(name);
            }
        }
        command.env("HOME", &self.home).current_dir(&self.home).arg("--no-bucardorc").args(&self.control).args(words);
        command
    }

    pub(super) fn run(&self, words: &[&str]) -> String {
        field::run(&mut self.command(words))
    }

    /// The folder of its PID file and log.
    pub(super) fn home(&self) -> &Path {
        &self.home
    }

    fn add_db(&self, name: &str, cluster: &Cluster) {
        let words = cluster.conninfo(DBNAME);
        let mut line = vec!["add", "db", name];
        line.extend(words.split(' '));
        self.run(&line);
    }
}
