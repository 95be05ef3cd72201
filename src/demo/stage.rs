//! What the demonstration builds: three clusters, a control database, a daemon. Dropping it takes everything down.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::lab::{Cluster, Folder, LabError, Settings};
use crate::pg::{Connection, SqlFile, connect};

use super::DemoError;
use super::screen::Screen;

/// Database with the tables, on every cluster.
pub(super) const DBNAME: &str = "demo";
/// The sync.
pub(super) const SYNC: &str = "demo";
/// Names of the databases in the catalog, and of their clusters.
pub(super) const SOURCE: &str = "A";
pub(super) const TARGETS: [&str; 2] = ["B", "C"];

const RELATIONS: SqlFile = SqlFile::new(include_str!("../../sql/demo/relations.sql"));
const HISTORY_KEY: &str = "ALTER TABLE pgbench_history ADD COLUMN id bigserial PRIMARY KEY";
const DAEMON_ENDS_WITHIN: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(50);
const LOG_TAIL_LINES: usize = 20;

/// A table or sequence of the demonstration.
#[derive(Clone, Debug)]
pub(super) struct Relation {
    pub(super) name: String,
    pub(super) is_sequence: bool,
}

/// Everything that was built.
pub(super) struct Stage {
    // Fields are dropped in this order: the clusters before the folder that holds them.
    clusters: Vec<Cluster>,
    program: PathBuf,
    daemon: Option<Pid>,
    folder: Folder,
}

impl Stage {
    /// Starts the clusters, all at once.
    pub(super) fn open(screen: &Screen) -> Result<Self, DemoError> {
        screen.title("Three throwaway PostgreSQL clusters");
        let program = env::current_exe().map_err(system("find", "our own program"))?;
        let folder = Folder::new("bucardo-demo")?;
        // The commit time of every row tells how long its change took.
        let settings = Settings::default().set("track_commit_timestamp", "on").set("max_wal_size", "4GB");
        let (path, settings) = (folder.path(), &settings);
        let started: Vec<Result<Cluster, LabError>> = thread::scope(|scope| {
            let names = [SOURCE, TARGETS[0], TARGETS[1]];
            let threads = names.map(|name| scope.spawn(move || Cluster::start(path, name, settings)));
            threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
        });
        let clusters = started.into_iter().collect::<Result<Vec<_>, _>>()?;
        let stage = Self { clusters, program, daemon: None, folder };
        stage.write_rc()?;
        for cluster in &stage.clusters {
            screen.note(&format!("{}  {}", cluster.name(), cluster.psql_line(DBNAME)));
        }
        screen.note(&format!("in {}", stage.folder.path().display()));
        screen.check()?;
        Ok(stage)
    }

    /// Fills A with pgbench's tables, and gives B and C the same tables, empty.
    pub(super) fn fill(&self, screen: &Screen, scale: u32) -> Result<(), DemoError> {
        screen
            .title(&format!("pgbench tables on A ({} accounts), the same tables, empty, on B and C", scale * 100_000));
        for cluster in &self.clusters {
            cluster.sql("postgres", &format!("CREATE DATABASE {DBNAME}"))?;
        }
        let source = self.cluster(SOURCE)?;
        let mut pgbench = source.client("pgbench");
        pgbench.args(["-i", "-q", "-s", &scale.to_string(), DBNAME]).process_group_of_its_own();
        screen.command(&format!("pgbench -i -s {scale} {DBNAME}"));
        output(pgbench)?;
        screen.command(&format!("psql -c '{HISTORY_KEY}'"));
        source.sql(DBNAME, HISTORY_KEY)?;
        let mut dump = source.client("pg_dump");
        dump.args(["--schema-only", "-d", DBNAME]);
        let schema = output(dump)?;
        for target in TARGETS {
            screen.command(&format!("pg_dump --schema-only A | psql {target}"));
            self.cluster(target)?.sql(DBNAME, &schema)?;
        }
        screen.check()
    }

    /// Installs the control database and adds dbs, tables, sequences and the sync.
    pub(super) fn configure(&self, screen: &Screen) -> Result<(), DemoError> {
        screen.title("Control database, on the cluster of A; then dbs, tables, sequences and a sync A to B and C");
        let control = self.cluster(SOURCE)?;
        self.bucardo(screen, &["install", "--batch"])?;
        for cluster in &self.clusters {
            let words = cluster.conninfo(DBNAME);
            let mut line = vec!["add", "db", cluster.name()];
            line.extend(words.split(' '));
            self.bucardo(screen, &line)?;
        }
        self.bucardo(screen, &["add", "all", "tables", "db=A", "relgroup=demo"])?;
        self.bucardo(screen, &["add", "all", "sequences", "db=A", "relgroup=demo"])?;
        let dbs = "dbs=A:source,B:target,C:target";
        self.bucardo(screen, &["add", "sync", SYNC, "relgroup=demo", dbs, "onetimecopy=1"])?;
        debug_assert_eq!(control.name(), SOURCE);
        screen.check()
    }

    /// Starts the daemon and notes its process.
    pub(super) fn start_daemon(&mut self, screen: &Screen) -> Result<(), DemoError> {
        let started = self.bucardo(screen, &["start"]);
        // A start that reports a failure may have left a process all the same.
        self.daemon = self.daemon_pid();
        started?;
        screen.check()
    }

    /// Runs our own binary as an operator would, shows the line and what it printed, and returns the latter.
    pub(super) fn bucardo(&self, screen: &Screen, words: &[&str]) -> Result<String, DemoError> {
        let line = format!("bucardo {}", words.join(" "));
        screen.command(&line);
        let mut command = self.command();
        command.args(words);
        let told = output(command)?;
        screen.note(told.trim_end());
        Ok(told)
    }

    /// Tables and sequences of A.
    pub(super) async fn relations(&self) -> Result<Vec<Relation>, DemoError> {
        let source = self.connect(SOURCE).await?;
        let rows = source.query(RELATIONS.text(), &[]).await;
        let rows = rows.map_err(|source| DemoError::Sql { what: "list the tables", cluster: SOURCE, source })?;
        Ok(rows.iter().map(|row| Relation { name: row.get("name"), is_sequence: row.get("is_sequence") }).collect())
    }

    /// A session in the demonstration's database on a cluster.
    pub(super) async fn connect(&self, cluster: &'static str) -> Result<Connection, DemoError> {
        let failed = |source| DemoError::Connect { cluster, source };
        let access = self.cluster(cluster)?.access(DBNAME).map_err(failed)?;
        connect(&access, "bucardo demo").await.map_err(failed)
    }

    /// The cluster of this name.
    pub(super) fn cluster(&self, name: &str) -> Result<&Cluster, DemoError> {
        let found = self.clusters.iter().find(|cluster| cluster.name() == name);
        debug_assert!(found.is_some(), "there is no cluster {name}");
        found.ok_or_else(|| system("find cluster", name)(std::io::ErrorKind::NotFound.into()))
    }

    /// Where the daemon writes its log.
    pub(super) fn log(&self) -> PathBuf {
        self.folder.path().join("log.bucardo")
    }

    /// Prints the end of the daemon's log.
    pub(super) fn show_log(&self, screen: &Screen) {
        let Ok(log) = fs::read_to_string(self.log()) else { return };
        screen.title("The end of the daemon's log");
        let lines: Vec<&str> = log.lines().collect();
        screen.note(&lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n"));
    }

    /// Stops the daemon and the clusters, and removes every file.
    pub(super) fn close(mut self, screen: &Screen) {
        if self.daemon.is_some() {
            // A daemon that cannot be asked is ended by its process, below.
            let _ = self.bucardo(screen, &["stop"]);
        }
        self.end_daemon();
        let path = self.folder.path().to_owned();
        drop(self);
        screen.note(&format!("stopped daemon and clusters, removed {}", path.display()));
    }

    /// Leaves everything running, and says how to look at it and how to end it.
    pub(super) fn leave(mut self, screen: &Screen) -> Result<(), DemoError> {
        let path = self.folder.path().to_owned();
        let stop = path.join("stop");
        fs::write(&stop, self.stop_script()).map_err(system("write", &stop))?;
        screen.title("Everything is left running");
        for cluster in &self.clusters {
            screen.note(&format!("{}  {}", cluster.name(), cluster.psql_line(DBNAME)));
        }
        screen.note(&format!("bucardo --bucardorc {} status", self.rc().display()));
        screen.note(&format!("log: {}", self.log().display()));
        screen.note(&format!("stop and remove it: sh {}", stop.display()));
        self.daemon = None;
        self.folder.keep();
        for cluster in self.clusters.drain(..) {
            cluster.leave();
        }
        Ok(())
    }

    fn stop_script(&self) -> String {
        let folder = self.folder.path().display();
        let mut script = format!("# Ends this demonstration and removes its folder.\ncd '{folder}' || exit 1\n");
        script += &format!("'{}' --bucardorc '{}' stop\n", self.program.display(), self.rc().display());
        for cluster in &self.clusters {
            // The first line of the file is the postmaster's process; SIGINT is its fast shutdown.
            script += &format!("kill -INT \"$(head -n 1 {}/data/postmaster.pid)\"\n", cluster.name());
        }
        script += "while ls */data/postmaster.pid >/dev/null 2>&1; do sleep 0.1; done\n";
        script += &format!("cd / && rm -rf '{folder}'\n");
        script
    }

    fn rc(&self) -> PathBuf {
        self.folder.path().join("bucardorc")
    }

    /// The options that reach the control database, so that the lines on the screen are as short as usual.
    fn write_rc(&self) -> Result<(), DemoError> {
        let (control, folder) = (self.cluster(SOURCE)?, self.folder.path().display());
        let text = format!(
            "dbhost = {}\ndbport = {}\ndbuser = {}\ndbname = bucardo\npiddir = {folder}\nlog_destination = {folder}\n",
            control.host(),
            control.port(),
            control.user(),
        );
        fs::write(self.rc(), text).map_err(system("write", self.rc()))
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        for (name, _) in env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("PG") || text.starts_with("BUCARDO") {
                command.env_remove(name);
            }
        }
        // Passwords that `install` makes go to the password file of this home, which goes with the folder.
        command.env("HOME", self.folder.path());
        command.arg("--bucardorc").arg(self.rc()).current_dir(self.folder.path()).process_group_of_its_own();
        command
    }

    fn daemon_pid(&self) -> Option<Pid> {
        let text = fs::read_to_string(self.folder.path().join("bucardo.mcp.pid")).ok()?;
        text.lines().next()?.trim().parse().ok().and_then(Pid::from_raw)
    }

    /// Ends the daemon by its process, first with patience.
    fn end_daemon(&mut self) {
        let Some(daemon) = self.daemon.take() else { return };
        for signal in [Signal::TERM, Signal::KILL] {
            let deadline = Instant::now() + DAEMON_ENDS_WITHIN;
            let _ = kill_process(daemon, signal);
            while test_kill_process(daemon).is_ok() {
                if Instant::now() > deadline {
                    break;
                }
                thread::sleep(LOOK_EVERY);
            }
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.end_daemon();
    }
}

/// Ctrl-C at the terminal reaches a whole process group; we end our children in order instead.
pub(super) trait OwnGroup {
    fn process_group_of_its_own(&mut self) -> &mut Self;
}

impl OwnGroup for Command {
    fn process_group_of_its_own(&mut self) -> &mut Self {
        std::os::unix::process::CommandExt::process_group(self, 0)
    }
}

/// Runs a command to its end; what it printed, or what it complained of.
pub(super) fn output(mut command: Command) -> Result<String, DemoError> {
    let program = PathBuf::from(command.get_program());
    let output = command.stdin(Stdio::null()).output().map_err(system("run", &program))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let words = command.get_args().map(|word| word.to_string_lossy().into_owned());
    let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let line = std::iter::once(name).chain(words).collect::<Vec<_>>().join(" ");
    let told = [output.stdout, output.stderr].concat();
    Err(DemoError::Program { line, told: String::from_utf8_lossy(&told).trim().to_owned() })
}

pub(super) fn system(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> DemoError {
    let path = path.into();
    move |source| DemoError::System { what, path, source }
}
