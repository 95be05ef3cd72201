//! KIDs that hang, that are refused for ever, and a daemon that is killed in the middle: each meets its policy, and nothing
//! is left behind. (A KID that panics, and one whose session the server ends: `round_steps`, `failures_load`.)

use std::time::{Duration, Instant};

use crate::support::{Daemon, Town, assert_nothing_left, wait};

const ORDERS: &str = "CREATE TABLE orders (id int PRIMARY KEY, note text)";
const SOON: Duration = Duration::from_secs(60);

async fn settled(town: &Town, rows: i64) {
    wait::until_equal("the rows on B", SOON, &rows, async || town.b.number("SELECT count(*) FROM orders").await).await;
    wait::until("the sync is idle", SOON, async || {
        let state = town.control.rows("SELECT state FROM bucardo.state WHERE kind = 'kid' AND db = 'B'").await;
        if state == ["idle"] { Ok(()) } else { Err(state) }
    })
    .await;
}

/// A round that waits for a lock for too long is abandoned; another KID takes over, and when the lock is gone it delivers.
#[tokio::test]
async fn a_kid_that_hangs_in_a_lock_is_replaced() {
    let mut town = Town::found(ORDERS).await;
    town.bucardo.configure(
        "[supervision.kid]\nprogress = { within = \"2s\" }\nping = { every = \"500ms\" }\n\
         restart = { delay_initial = \"200ms\", delay_max = \"1s\", restarts_max = 100 }\n",
    );
    town.sync("");
    let mut daemon = town.daemon().await;
    daemon.announce("nothing moved for");
    daemon.announce("round failed");
    let lock = town.b.session().await;
    lock.batch_execute("BEGIN; LOCK TABLE orders").await.unwrap();
    town.a.run("INSERT INTO orders VALUES (1, 'new')").await;
    daemon.logs("nothing moved for", SOON).await;
    daemon.logs("KID ended in disorder and is restarted", SOON).await;
    wait::until_equal("the row on C", SOON, &1, async || town.c.number("SELECT count(*) FROM orders").await).await;
    lock.batch_execute("COMMIT").await.unwrap();
    settled(&town, 1).await;
    daemon.stop().await;
}

/// A target whose every write clashes: as often as `kid_abort_limit` allows, then rarely, and when the cause is gone nobody
/// has to help.
#[tokio::test]
async fn a_kid_whose_work_fails_for_ever_stalls_and_recovers_alone() {
    let mut town = Town::found(ORDERS).await;
    town.sync("");
    town.bucardo.run("set kid_serial_sleep=0.1 kid_abort_limit=3 ctl_checkabortedkids_time=2");
    town.b
        .run(
            "CREATE FUNCTION clash() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             RAISE 'somebody else was here' USING ERRCODE = '40001'; END $$; \
             CREATE TRIGGER clash BEFORE INSERT ON orders FOR EACH ROW EXECUTE PROCEDURE clash(); \
             ALTER TABLE orders ENABLE ALWAYS TRIGGER clash",
        )
        .await;
    let mut daemon = town.daemon().await;
    daemon.announce("round failed, KID is restarted");
    daemon.announce("KID is stalled");
    town.a.run("INSERT INTO orders VALUES (1, 'new')").await;
    daemon.logs("KID is stalled", SOON).await;
    let restarts = daemon.log().matches("round failed, KID is restarted").count();
    assert_eq!(restarts, 3, "{}", daemon.log());
    assert!(daemon.log().contains("after=100ms") && daemon.log().contains("after=400ms"), "{}", daemon.log());
    wait::until("status says so", SOON, async || {
        let status = town.bucardo.run("status");
        if status.contains("s: stalled since") && status.contains("next try") { Ok(()) } else { Err(status) }
    })
    .await;
    wait::until_equal("the row on C", SOON, &1, async || town.c.number("SELECT count(*) FROM orders").await).await;
    town.b.run("DROP TRIGGER clash ON orders").await;
    settled(&town, 1).await;
    assert_eq!(daemon.log().matches("KID is stalled").count(), 1, "told of once: {}", daemon.log());
    daemon.stop().await;
}

/// The daemon is killed while a KID waits for a lock: no session of it stays, and the next one starts without a word.
#[tokio::test]
async fn a_killed_daemon_leaves_no_session_behind() {
    let mut town = Town::found(ORDERS).await;
    town.sync("");
    let daemon = town.daemon().await;
    let lock = town.b.session().await;
    lock.batch_execute("BEGIN; LOCK TABLE orders").await.unwrap();
    town.a.run("INSERT INTO orders VALUES (1, 'new')").await;
    let blocked = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' \
                   AND application_name LIKE 'bucardo KID s%'";
    wait::until_equal("a KID that waits on B", SOON, &1, async || town.b.number(blocked).await).await;
    let pid = daemon.pid().to_string();
    daemon.kill();
    assert_nothing_left(&[&town.control, &town.a, &town.b, &town.c]).await;
    // The PID file is there, and nobody takes it for a daemon that runs.
    let file = town.bucardo.home().join("bucardo.mcp.pid");
    assert_eq!(std::fs::read_to_string(&file).unwrap().lines().next(), Some(pid.as_str()));
    assert!(town.bucardo.call(&["ping", "1"]).code != 0);
    let status = town.bucardo.run("status");
    assert!(!status.contains(&format!("PID of Bucardo MCP: {pid}")), "{status}");
    assert!(town.bucardo.fails("reopen").contains("Bucardo is not running"));
    // Nor does it when the number has become another program's.
    std::fs::write(&file, format!("{}\nbucardo start\n", std::process::id())).unwrap();
    let mut daemon = Daemon::start(&town.bucardo).await;
    daemon.announce("stale PID");
    lock.batch_execute("COMMIT").await.unwrap();
    settled(&town, 1).await;
    daemon.stop().await;
}

/// `stop` is quick, succeeds when nothing runs, and a daemon holds on to nothing that its caller has open.
#[tokio::test]
async fn start_and_stop_are_quick_and_hold_on_to_nothing() {
    let mut town = Town::found(ORDERS).await;
    town.sync("");
    assert_eq!(town.bucardo.call(&["stop", "nothing runs"]).code, 0);
    let home = town.bucardo.home().display().to_string();
    // The caller holds a lock on a file, and its children inherit it.
    let lock = town.bucardo.home().join("lock");
    let started = town.bucardo.command(&["start", "--log-destination", &home]);
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "exec 9>\"$LOCK\"; flock 9; \"$@\"", "sh"]).arg(started.get_program()).args(started.get_args());
    shell.env("LOCK", &lock).env("HOME", town.bucardo.home()).current_dir(town.bucardo.home());
    let shell = shell.output().unwrap();
    assert!(shell.status.success(), "{shell:?}");
    let free = std::process::Command::new("flock").arg("-n").arg(&lock).arg("true").status().unwrap();
    let began = Instant::now();
    let stopped = town.bucardo.call(&["stop", "enough"]);
    let took = began.elapsed();
    assert_eq!(stopped.code, 0, "{stopped:?}");
    assert!(free.success(), "the daemon keeps its caller's file open");
    assert!(took < Duration::from_secs(2), "an idle daemon took {took:?} to stop");
    let reasons = std::fs::read_to_string(town.bucardo.home().join("bucardo.restart.reason.txt.log")).unwrap();
    assert_eq!(reasons.lines().count(), 3, "{reasons}");
    assert!(reasons.contains("| stop  | nothing runs") && reasons.contains("| stop  | enough"), "{reasons}");
}

/// What somebody changes in the catalog by SQL counts after a reload; what cannot be is said where it was asked for.
#[tokio::test]
async fn changes_of_the_catalog_by_sql_take_effect_at_a_reload() {
    let mut town = Town::found(ORDERS).await;
    town.sync("");
    let mut daemon = town.daemon().await;
    let refused = town.control.session().await;
    for wrong in [
        "UPDATE bucardo.sync SET isolation_level = 'read committed'",
        "UPDATE bucardo.sync SET onetimecopy = 7",
        "UPDATE bucardo.sync SET name = 'not a name'",
        "UPDATE bucardo.sync SET herd = 'nobody'",
        "UPDATE bucardo.sync SET status = 'perhaps'",
        "UPDATE bucardo.sync SET maxkicks = -1",
        "UPDATE bucardo.sync SET lifetime = '-1 hour'",
        "UPDATE bucardo.dbmap SET role = 'boss'",
    ] {
        assert!(refused.batch_execute(wrong).await.is_err(), "accepted: {wrong}");
    }
    // C is no longer a target.
    town.control.run("DELETE FROM bucardo.dbmap WHERE db = 'C'").await;
    town.bucardo.run("reload sync s");
    town.a.run("INSERT INTO orders VALUES (1, 'new')").await;
    settled(&town, 1).await;
    assert_eq!(town.c.number("SELECT count(*) FROM orders").await, 0);

    // Nobody is left to write to.
    daemon.announce("sync is stalled");
    daemon.announce("has no active target");
    town.control.run("DELETE FROM bucardo.dbmap WHERE db = 'B'").await;
    let reloaded = town.bucardo.call(&["reload", "sync", "s"]);
    assert!(reloaded.stdout.contains("Reload of sync s failed"), "{reloaded:?}");
    assert!(reloaded.stderr.contains("sync \"s\" has no active target database ("), "{reloaded:?}");
    wait::until("status says why", SOON, async || {
        let status = town.bucardo.run("status");
        if status.contains("s: stalled") && status.contains("no active target") { Ok(()) } else { Err(status) }
    })
    .await;
    daemon.stop().await;
}
