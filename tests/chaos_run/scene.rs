//! The scene: four clusters, a network in front of each, two syncs, one daemon.

use std::cell::RefCell;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use bucardo::lab::{Cluster, Folder, Settings};
use bucardo::pg::connect;
use rustix::process::Signal;

use super::disk::Disk;
use super::load::{self, Load};
use crate::merge_model::dice::Dice;
use crate::support::{Bucardo, Daemon, Database, Proxy, difference, wait};

/// Servers; their databases have the same names. Words that appear nowhere else in a log.
pub(super) const NAMES: [&str; 4] = ["control", "alfa", "bravo", "charlie"];
const ALFA: usize = 1;
const BRAVO: usize = 2;
const CHARLIE: usize = 3;
/// Only this one has a disk that can be filled.
pub(super) const DISK_OF: usize = CHARLIE;
const DISK_MEGABYTES: u32 = 64;

const TABLES: &str = "CREATE TABLE items (id bigserial PRIMARY KEY, orders int, note text);
    CREATE TABLE accounts (id int PRIMARY KEY, balance int, note text)";

/// The grace of `[schedule]`, and what a daemon may take on top of it.
const GRACE: Duration = Duration::from_secs(10);
const STOPS_WITHIN: Duration = Duration::from_secs(20);

/// What stays as it is.
pub(super) struct Stage {
    clusters: RefCell<Vec<Cluster>>,
    disk: RefCell<Option<Disk>>,
    databases: RefCell<Vec<Database>>,
    proxies: RefCell<Vec<Proxy>>,
    bucardo: Bucardo,
    _folder: Folder,
}

/// What deeds are done to. Its parts go in this order: the daemon, then what it needs.
pub(super) struct Scene<'a> {
    pub(super) daemon: Option<Daemon<'a>>,
    pub(super) proxies: Vec<Proxy>,
    databases: Vec<Database>,
    pub(super) clusters: Vec<Cluster>,
    pub(super) disk: Option<Disk>,
    bucardo: &'a Bucardo,
    /// How long the log was when the daemon was started.
    log_before: usize,
}

fn start_clusters(folder: &Path) -> Vec<Cluster> {
    let settings = &Settings::default()
        .set("max_connections", "60")
        .set("shared_buffers", "16MB")
        // A server that stops waits for those who have connected and say nothing, as behind a network that is held up.
        .set("authentication_timeout", "3s")
        // What was deleted makes room on the small disk soon.
        .set("autovacuum_naptime", "1s");
    thread::scope(|scope| {
        let start = |name| scope.spawn(move || Cluster::start(folder, name, settings).unwrap());
        let threads = NAMES.map(start);
        threads.map(|thread| thread.join().unwrap()).into()
    })
}

impl Stage {
    pub(super) async fn build() -> Self {
        let folder = Folder::new("bucardo-test").unwrap();
        let clusters = start_clusters(folder.path());
        let disk = Disk::mount(&folder.path().join("disk"), DISK_MEGABYTES, &clusters[DISK_OF].data());
        let (mut databases, mut proxies) = (Vec::new(), Vec::new());
        for (cluster, name) in clusters.iter().zip(NAMES) {
            let database = Database::create(cluster, name).await;
            proxies.push(Proxy::to(database.port).await);
            databases.push(database);
        }
        let mut space = "";
        if disk.is_some() {
            let place = folder.path().join("disk");
            databases[DISK_OF].run(&format!("CREATE TABLESPACE small LOCATION '{}'", place.display())).await;
            space = " TABLESPACE small";
        }
        for place in [ALFA, BRAVO, CHARLIE] {
            let space = if place == DISK_OF { space } else { "" };
            let orders = format!("CREATE TABLE orders (id int PRIMARY KEY, note text){space}");
            databases[place].run(&format!("{orders}; {TABLES}")).await;
        }
        let control = Database { port: proxies[0].port(), ..databases[0].again().await };
        let mut bucardo = Bucardo::on(&control);
        bucardo.configure(&format!("[log]\nshow_time = \"epoch\"\n[schedule]\ngrace = \"{}s\"\n", GRACE.as_secs()));
        let piddir = bucardo.home().display().to_string();
        bucardo.call(&["install", "--batch", "--piddir", &piddir]).ok();
        for place in [ALFA, BRAVO, CHARLIE] {
            bucardo.add_db_at(NAMES[place], &databases[place], proxies[place].port());
        }
        bucardo.run("add table orders items db=alfa relgroup=pair");
        bucardo.run("add sequence items_id_seq db=alfa relgroup=pair");
        bucardo.run("add table accounts db=alfa relgroup=both");
        bucardo.run("add sync pair relgroup=pair dbs=alfa:source,bravo:target,charlie:target");
        bucardo.run("add sync both relgroup=both dbs=alfa:source,bravo:source,charlie:target");
        Self {
            clusters: RefCell::new(clusters),
            disk: RefCell::new(disk),
            databases: RefCell::new(databases),
            proxies: RefCell::new(proxies),
            bucardo,
            _folder: folder,
        }
    }
}

impl<'a> Scene<'a> {
    /// Takes the stage, and starts the daemon.
    pub(super) async fn open(stage: &'a Stage) -> Self {
        Self {
            daemon: Some(Daemon::start(&stage.bucardo).await),
            proxies: stage.proxies.take(),
            databases: stage.databases.take(),
            clusters: stage.clusters.take(),
            disk: stage.disk.take(),
            bucardo: &stage.bucardo,
            log_before: 0,
        }
    }

    /// Whether this run has a disk that can be filled.
    pub(super) fn has_disk(&self) -> bool {
        self.disk.is_some()
    }

    /// Applications on all sources.
    pub(super) fn load(&self, seed: u64) -> Load {
        let mut all = Load::default();
        let mut dice = Dice::new(seed ^ 0x5eed);
        for (place, statement) in
            [(ALFA, load::orders as load::Statement), (ALFA, load::accounts), (BRAVO, load::accounts)]
        {
            let seed = dice.between(0, i64::from(u32::MAX)).unsigned_abs();
            all.add(self.databases[place].conninfo(), Dice::new(seed), statement);
        }
        all
    }

    pub(super) fn start_daemon(&mut self) {
        assert!(self.daemon.is_none(), "there is one daemon");
        self.log_before = self.log().len();
        self.daemon = Some(Daemon::spawn(self.bucardo));
    }

    /// It must be alive: nobody but this test may end it.
    pub(super) fn look_after_daemon(&mut self) {
        let ended = self.daemon.as_mut().and_then(Daemon::has_ended);
        assert!(ended.is_none(), "the daemon ended by itself with {ended:?}:\n{}", self.log());
    }

    /// SIGTERM, in the middle of everything; how long the end took.
    pub(super) async fn end_daemon(&mut self) -> Duration {
        let Some(mut daemon) = self.daemon.take() else { return Duration::ZERO };
        let begun = Instant::now();
        daemon.signal(Signal::TERM);
        let code = daemon.ended(STOPS_WITHIN).await;
        // One that still waits for the control database has begun nothing: the signal just ends it.
        if code == -1 && !self.log()[self.log_before..].contains("Starting Bucardo") {
            return begun.elapsed();
        }
        assert_eq!(code, 0, "the daemon that was asked to stop\n{}", self.log());
        begun.elapsed()
    }

    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(self.bucardo.log()).unwrap_or_default()
    }

    /// New sessions of the test, after servers were killed.
    pub(super) async fn reconnect(&mut self) {
        for (database, cluster) in self.databases.iter_mut().zip(&self.clusters) {
            let words = cluster.access(&database.name).unwrap();
            // One whose process was killed last may still recover.
            wait::until(&database.name, STOPS_WITHIN, async || connect(&words, "test").await).await;
            database.client = database.session().await;
        }
    }

    /// What differs from the first source.
    pub(super) async fn differences(&self) -> Vec<String> {
        let mut differences = Vec::new();
        let tables = ["public.orders", "public.items", "public.accounts"];
        for (table, place) in tables.iter().flat_map(|table| [(table, BRAVO), (table, CHARLIE)]) {
            differences.extend(difference(&self.databases[ALFA], &self.databases[place], table).await);
        }
        // A row that is written on a target after a switch must not clash.
        let behind = "SELECT last_value < (SELECT coalesce(max(id), 0) FROM items) FROM items_id_seq";
        for place in [BRAVO, CHARLIE] {
            if self.databases[place].value(behind).await == "true" {
                differences.push(format!("items_id_seq is behind on {}", NAMES[place]));
            }
        }
        differences
    }
}
