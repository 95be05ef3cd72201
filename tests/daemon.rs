//! The daemon as a process: what operators, signals, service managers and failures do to it.

use std::path::Path;
use std::time::Duration;

use bucardo::lab::{Cluster, Folder, Settings, free_port};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Bucardo, Daemon, Database, Proxy, fresh_database, server, wait};

const WITHIN: Duration = Duration::from_secs(30);
const TABLE: &str = "CREATE TABLE orders (id int PRIMARY KEY, note text)";

/// A control database, a source and a target with one table and a sync, not started.
struct Site {
    bucardo: Bucardo,
    control: Database,
    a: Database,
    b: Database,
}

impl Site {
    async fn new() -> Self {
        Self::with_control(fresh_database("control").await).await
    }

    async fn with_control(control: Database) -> Self {
        let (a, b) = (fresh_database("a").await, fresh_database("b").await);
        let bucardo = Bucardo::on(&control);
        bucardo.run(&format!("install --batch --piddir {}", bucardo.home().display()));
        for (name, database) in [("A", &a), ("B", &b)] {
            database.run(TABLE).await;
            bucardo.add_db(name, database);
        }
        bucardo.run("add sync orders relgroup=all dbs=A,B tables=orders");
        Self { bucardo, control, a, b }
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.bucardo.home().join(name)
    }

    /// Waits until a new row on A is on B.
    async fn assert_replicates(&self, id: i32) {
        self.a.run(&format!("INSERT INTO orders VALUES ({id}, 'new')")).await;
        self.assert_arrives(id).await;
    }

    async fn assert_arrives(&self, id: i32) {
        let sql = format!("SELECT note FROM orders WHERE id = {id}");
        wait::until_equal(&format!("row {id} on b"), WITHIN, &vec!["new".to_owned()], async || self.b.rows(&sql).await)
            .await;
    }

    /// `start` in the background, with its log in the home folder.
    fn start(&self) -> Background<'_> {
        let home = self.bucardo.home().display().to_string();
        let started = self.bucardo.call(&["start", "--log-destination", &home]);
        assert_eq!(started.code, 0, "{started:?}\n{}", self.log());
        Background(self)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.file("log.bucardo")).unwrap_or_default()
    }

    fn pid(&self) -> Option<i32> {
        std::fs::read_to_string(self.file("bucardo.mcp.pid")).ok()?.lines().next()?.parse().ok()
    }
}

/// A daemon that runs in the background must not outlive its test.
struct Background<'a>(&'a Site);

impl Drop for Background<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("log of the daemon:\n{}", self.0.log());
        }
        if let Some(pid) = self.0.pid().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// A process that must not outlive its test.
struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn start_returns_when_the_daemon_is_ready_and_stop_when_it_is_gone() {
    let site = Site::new().await;
    let running = site.start();
    let pid = site.pid().expect("a PID file");
    assert_eq!(site.bucardo.run("ping 5"), format!("OK: Got response from PID {pid}\n"));
    site.assert_replicates(1).await;

    let again = site.bucardo.fails("start");
    assert!(again.contains("Cannot start, PID file"), "{again}");
    assert!(again.contains(&format!("PID {pid}")), "{again}");

    let stopped = site.bucardo.run("stop for a test");
    assert!(stopped.contains("fullstopbucardo ... Done"), "{stopped}");
    assert!(!site.file("bucardo.mcp.pid").exists(), "stop returned while the daemon lives");
    assert_eq!(site.bucardo.call(&["ping", "1"]).code, 1);
    let reason = std::fs::read_to_string(site.file("bucardo.restart.reason.txt")).unwrap();
    assert!(reason.trim_end().ends_with("| stop  | for a test"), "{reason}");

    // The stop file of before is no obstacle.
    let started = site.bucardo.run(&format!("start --log-destination {}", site.bucardo.home().display()));
    assert!(started.contains("Removing file"), "{started}");
    site.assert_replicates(2).await;
    site.bucardo.run("stop");
    drop(running);
    assert!(!site.log().contains("WARN") && !site.log().contains("ERROR"), "{}", site.log());
}

#[tokio::test]
async fn start_says_why_it_did_not() {
    let site = Site::new().await;
    let nobody = free_port().unwrap().to_string();
    let unreachable = site.bucardo.fails(&format!("start --dbport {nobody} --dbpass s3cret"));
    assert!(unreachable.contains("cannot connect to"), "{unreachable}");
    assert!(unreachable.contains("is the server running"), "{unreachable}");
    assert!(!unreachable.contains("s3cret"), "{unreachable}");

    let no_folder = site.bucardo.fails("start --piddir /nonexistent/folder");
    assert!(no_folder.contains("/nonexistent/folder/bucardo.mcp.pid"), "{no_folder}");
    assert!(no_folder.contains("--piddir"), "{no_folder}");

    site.bucardo.run("set host_safety_check=another.host");
    let foreign = site.bucardo.call(&["start"]);
    assert_eq!(foreign.code, 2, "{foreign:?}");
    assert!(foreign.stderr.contains("host_safety_check \"another.host\""), "{foreign:?}");

    site.control.run("UPDATE bucardo.bucardo_config SET setting = '' WHERE name = 'host_safety_check'").await;
    site.control.run("UPDATE bucardo.bucardo_config SET setting = '5.6.0' WHERE name = 'bucardo_version'").await;
    let other = site.bucardo.fails("start");
    assert!(other.contains("Version mismatch: bucardo is 6.0.0, but bucardo database is 5.6.0"), "{other}");
    assert_eq!(site.pid(), None, "nothing runs");
}

#[tokio::test]
async fn a_second_daemon_on_the_same_control_database_refuses() {
    let site = Site::new().await;
    let daemon = Daemon::start(&site.bucardo).await;
    let elsewhere = Folder::new("bucardo-second").unwrap();
    let second =
        site.bucardo.call(&["start", "--piddir", &elsewhere.path().display().to_string(), "--log-destination", "none"]);
    assert_eq!(second.code, 1, "{second:?}");
    assert!(second.stderr.contains("another daemon runs on the control database"), "{second:?}");
    assert!(second.stderr.contains(&format!("bucardo MCP (PID {})", daemon.pid())), "{second:?}");
    site.assert_replicates(1).await;
    daemon.stop().await;
}

#[tokio::test]
async fn sigterm_ends_it_in_order_and_the_stop_file_does_too() {
    let site = Site::new().await;
    let daemon = Daemon::start(&site.bucardo).await;
    site.assert_replicates(1).await;
    daemon.stop().await;
    assert_eq!(site.pid(), None, "the PID file is left behind");

    let mut daemon = Daemon::start(&site.bucardo).await;
    std::fs::write(site.file("fullstopbucardo"), "enough\n").unwrap();
    assert_eq!(daemon.ended(WITHIN).await, 0);
    assert!(daemon.log().contains("Found stopfile: enough"), "{}", daemon.log());
    daemon.assert_quiet();
}

/// The power fails, and when the daemon comes back its PID file is still there.
#[tokio::test]
async fn kill_9_leaves_a_stale_pid_file_that_the_next_start_removes() {
    let site = Site::new().await;
    let running = site.start();
    site.assert_replicates(1).await;
    let killed = site.pid().unwrap();
    kill_process(Pid::from_raw(killed).unwrap(), Signal::KILL).unwrap();
    wait::until("the end of the daemon", WITHIN, async || {
        if Path::new(&format!("/proc/{killed}/cmdline")).exists() { Err("it lives") } else { Ok(()) }
    })
    .await;
    site.a.run("INSERT INTO orders VALUES (2, 'new')").await;

    let home = site.bucardo.home().display().to_string();
    let started = site.bucardo.call(&["start", "--log-destination", &home]);
    assert_eq!(started.code, 0, "{started:?}");
    assert!(started.stderr.contains(&format!("with stale PID {killed}")), "{started:?}");
    site.assert_arrives(2).await;
    site.bucardo.run("stop");
    drop(running);
}

/// A PID file whose number belongs to somebody else now: that process must get no signal.
#[tokio::test]
async fn a_pid_that_is_no_daemon_gets_no_signal() {
    let site = Site::new().await;
    let mut other = Killed(std::process::Command::new("sleep").arg("600").spawn().unwrap());
    std::fs::write(site.file("bucardo.mcp.pid"), format!("{}\nbucardo start\nlong ago\n", other.0.id())).unwrap();
    site.bucardo.run("stop");
    assert!(other.0.try_wait().unwrap().is_none(), "a stranger was signalled");
    let _running = site.start();
    assert!(other.0.try_wait().unwrap().is_none(), "a stranger was signalled");
    site.bucardo.run("stop");
}

#[tokio::test]
async fn a_restart_of_the_control_server_needs_no_help() {
    let folder = Folder::new("bucardo-control").unwrap();
    let mut cluster = Cluster::start(folder.path(), "control", &Settings::default()).unwrap();
    let site = Site::with_control(Database::create(&cluster, "control").await).await;
    let mut daemon = Daemon::start(&site.bucardo).await;
    for word in ["the control database", "control database", "run history"] {
        daemon.announce(word);
    }
    site.assert_replicates(1).await;

    cluster.stop().unwrap();
    daemon.logs("lost the hold on the control database", WITHIN).await;
    site.a.run("INSERT INTO orders VALUES (2, 'new')").await;
    cluster.start_again().unwrap();
    daemon.logs("hold on the control database is back", WITHIN).await;
    site.assert_arrives(2).await;
    wait::until("an answer to a ping", WITHIN, async || {
        let answer = site.bucardo.call(&["ping", "1"]);
        if answer.code == 0 { Ok(()) } else { Err(answer) }
    })
    .await;
    site.bucardo.run("kick orders 20");
    daemon.stop().await;
}

/// The connection that holds the lease breaks while both ends live.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_connection_to_the_control_database_comes_back() {
    let control = fresh_database("control").await;
    let proxy = Proxy::to(server().port()).await;
    let site = Site::with_control(Database { port: proxy.port(), ..control }).await;
    let mut daemon = Daemon::start(&site.bucardo).await;
    for word in ["control database", "run history", "freezer", "over their budget"] {
        daemon.announce(word);
    }
    proxy.cut_once();
    daemon.logs("hold on the control database is back", WITHIN).await;
    site.assert_replicates(1).await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_kick_is_answered_whatever_becomes_of_it() {
    let site = Site::new().await;
    let down = site.bucardo.call(&["kick", "orders", "0"]);
    assert_eq!(down.code, 3, "{down:?}");
    assert!(down.stderr.contains("no answer from the daemon"), "{down:?}");
    assert_eq!(site.bucardo.run("kick orders"), "Kicked sync orders\n");

    let mut daemon = Daemon::start(&site.bucardo).await;
    site.a.run("INSERT INTO orders VALUES (1, 'new')").await;
    let done = site.bucardo.run("kick orders 0 --notimer");
    assert_eq!(done, "Kick orders: DONE!\n");
    assert_eq!(site.b.rows("SELECT note FROM orders").await, ["new"]);

    // A target that refuses everything kills the run.
    daemon.announce("round failed");
    daemon.announce("stalled");
    site.b.run("ALTER TABLE bucardo.position RENAME TO elsewhere").await;
    site.a.run("INSERT INTO orders VALUES (10, 'new')").await;
    let killed = site.bucardo.call(&["kick", "orders", "20"]);
    assert_eq!(killed.code, 2, "{killed:?}");
    assert!(killed.stdout.contains("KILLED!") && killed.stdout.contains("Failed : "), "{killed:?}");
    assert!(killed.stdout.contains("the position of sync"), "{killed:?}");
    let status = site.bucardo.run("status orders");
    assert!(status.contains("Bad") && status.contains("1 waiting"), "{status}");

    site.b.run("ALTER TABLE bucardo.elsewhere RENAME TO position").await;
    assert_eq!(site.bucardo.call(&["kick", "orders", "20"]).code, 0);
    // That it was stalled is forgotten soon.
    wait::until_equal("status", WITHIN, &true, async || site.bucardo.run("status").contains("Good")).await;
    daemon.stop().await;
}

#[tokio::test]
async fn reload_brings_in_new_syncs_and_settings() {
    let site = Site::new().await;
    assert!(site.bucardo.fails("reload").contains("Looks like Bucardo is not running"));
    let daemon = Daemon::start(&site.bucardo).await;
    for database in [&site.a, &site.b] {
        database.run("CREATE TABLE items (id int PRIMARY KEY)").await;
    }
    site.bucardo.run("add sync items relgroup=items dbs=A,B tables=items");
    assert_eq!(site.bucardo.run("reload"), "DONE!\n");
    site.a.run("INSERT INTO items VALUES (1)").await;
    wait::until_equal("the row on b", WITHIN, &1, async || site.b.number("SELECT count(*) FROM items").await).await;

    let reloaded = site.bucardo.run("reload sync items");
    assert!(reloaded.contains("Reload of sync items successful"), "{reloaded}");

    assert!(!daemon.log().contains("DEBUG"));
    site.bucardo.run("set log_level=debug log_showlevel=1");
    assert!(site.bucardo.run("reload config").contains("DONE!"));
    site.bucardo.run("ping");
    daemon.logs("DEBUG", WITHIN).await;

    daemon.signal(Signal::HUP);
    daemon.logs("SIGHUP", WITHIN).await;
    site.assert_replicates(1).await;
    daemon.stop().await;
}

#[tokio::test]
async fn status_is_told_with_and_without_a_daemon() {
    let site = Site::new().await;
    let status = site.bucardo.run("status");
    assert!(status.contains("No records found") && !status.contains("PID of Bucardo MCP"), "{status}");

    let daemon = Daemon::start(&site.bucardo).await;
    site.assert_replicates(1).await;
    wait::until("a good run", WITHIN, async || {
        let status = site.bucardo.run("status");
        if status.contains("Good") { Ok(()) } else { Err(status) }
    })
    .await;
    assert!(site.bucardo.run("status").starts_with(&format!("PID of Bucardo MCP: {}\n", daemon.pid())));
    let json: serde_json::Value = serde_json::from_str(&site.bucardo.run("status --json")).unwrap();
    assert_eq!(json["mcp_pid"], daemon.pid());
    assert_eq!(json["syncs"][0]["name"], "orders");
    assert_eq!(json["syncs"][0]["targets"][0]["inserts"], 1);
    assert_eq!(json["syncs"][0]["targets"][0]["waiting"], 0);
    assert!(site.bucardo.run("status orders").contains("A -> B: 1 rows inserted"));
    assert!(site.bucardo.fails("status nobody").contains("nobody"));
    daemon.stop().await;
}

#[tokio::test]
async fn validate_counts_its_failures() {
    let site = Site::new().await;
    assert_eq!(site.bucardo.run("validate all"), "Validating sync orders ..... OK\n");
    site.b.run("DROP TABLE orders").await;
    let failed = site.bucardo.call(&["validate", "orders"]);
    assert_eq!(failed.code, 1, "{failed:?}");
    assert!(failed.stderr.contains("orders"), "{failed:?}");
    let unknown = site.bucardo.call(&["validate", "nobody"]);
    assert!(unknown.code != 0 && unknown.stderr.contains("Sorry, there is no sync named \"nobody\""), "{unknown:?}");
}
