//! Both Bucardos are set up by the same words; where they keep their files, and how they start, differs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bucardo::lab::Cluster;

use crate::field;

/// What one of them is set up with: databases by the names that they get, each with its cluster and name there, and the
/// sync `bench` of all tables of the first one.
pub(crate) struct Layout<'a> {
    /// Where its files go.
    pub(crate) folder: &'a Path,
    /// The control database goes to the cluster of the first one.
    pub(crate) databases: Vec<(String, &'a Cluster, &'a str)>,
    /// Which part each database plays, and what else the sync is told.
    pub(crate) sync: Vec<String>,
    /// Tables of the first one that get a sync of their own, in the same words.
    pub(crate) others: Vec<String>,
    /// A file with a code that decides the conflicts of the sync.
    pub(crate) code: Option<PathBuf>,
}

/// One of the two programs with the options that reach its control database, on the source's cluster.
pub(super) struct Bucardo {
    program: PathBuf,
    home: PathBuf,
    control: Vec<String>,
}

impl Bucardo {
    /// Installs the control database and adds dbs, tables and the sync `bench`.
    pub(super) fn set_up(program: &Path, layout: &Layout<'_>) -> Self {
        let home = layout.folder.join("home");
        fs::create_dir(&home).unwrap();
        let (first, source, _) = &layout.databases[0];
        let control = ["--dbhost", source.host(), "--dbport", &source.port().to_string(), "--dbuser", source.user()];
        let control = control.into_iter().map(str::to_owned).collect();
        let bucardo = Self { program: program.to_owned(), home, control };
        bucardo.run(&["install", "--batch", "--piddir", bucardo.home.to_str().unwrap()]);
        for (name, cluster, dbname) in &layout.databases {
            bucardo.add_db(name, cluster, dbname);
        }
        bucardo.run(&["add", "all", "tables", &format!("db={first}"), "relgroup=bench"]);
        let sync = ["add", "sync", "bench", "relgroup=bench"].into_iter().chain(layout.sync.iter().map(String::as_str));
        bucardo.run(&sync.collect::<Vec<_>>());
        if let Some(code) = &layout.code {
            let source = format!("src_code={}", code.display());
            bucardo.run(&["add", "customcode", "decide", "whenrun=conflict", &source, "sync=bench", "getdbh=false"]);
        }
        for table in &layout.others {
            let relgroup = format!("relgroup={table}");
            bucardo.run(&["add", "table", table, &format!("db={first}"), &relgroup]);
            let sync = ["add", "sync", table, &relgroup].into_iter().chain(layout.sync.iter().map(String::as_str));
            bucardo.run(&sync.collect::<Vec<_>>());
        }
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

    fn add_db(&self, name: &str, cluster: &Cluster, dbname: &str) {
        let words = cluster.conninfo(dbname);
        let mut line = vec!["add", "db", name];
        line.extend(words.split(' '));
        self.run(&line);
    }
}
