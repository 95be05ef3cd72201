//! The daemon under load, killed and cut in the middle of it: nothing is lost, nothing happens twice.

use std::process::Stdio;
use std::time::Duration;

use crate::support::{Town, Writer, server, wait};

const ORDERS: &str = "CREATE TABLE orders (id int PRIMARY KEY, note text)";
const SOON: Duration = Duration::from_secs(60);

/// TPC-B on A while it is copied and replicated to B and C: afterwards every table is equal.
#[tokio::test]
async fn a_bank_under_load_is_equal_afterwards() {
    let mut town = Town::found("").await;
    let bank = async |args: &[&str]| {
        let mut pgbench = server().client("pgbench");
        pgbench.args(args).arg(&town.a.name).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = pgbench.spawn().unwrap();
        let ended = async || child.try_wait().unwrap().ok_or("it runs");
        assert!(wait::until("the end of pgbench", SOON, ended).await.success());
    };
    bank(&["-i", "-q", "-s", "1"]).await;
    town.a.run("ALTER TABLE pgbench_history ADD id bigserial PRIMARY KEY").await;
    let schema = server().client("pg_dump").args(["--schema-only", "-d", &town.a.name]).output().unwrap();
    for target in [&town.b, &town.c] {
        server().sql(&target.name, std::str::from_utf8(&schema.stdout).unwrap()).unwrap();
    }
    // A load from before the daemon until after the copy: rows change while they are copied.
    let bench = bank(&["-c", "2", "-T", "6", "-n"]);
    let daemon = async {
        let bucardo = &town.bucardo;
        for (name, database) in [("A", &town.a), ("B", &town.b), ("C", &town.c)] {
            bucardo.add_db(name, database);
        }
        bucardo.run("add all tables db=A relgroup=s");
        bucardo.run("add all sequences db=A relgroup=s");
        bucardo.run("add sync s relgroup=s dbs=A:source,B:target,C:target onetimecopy=1");
        town.daemon().await
    };
    let ((), daemon) = tokio::join!(bench, daemon);
    town.caught_up(&["B", "C"], SOON).await;
    daemon.stop().await;
    assert!(town.b.number("SELECT count(*) FROM pgbench_history").await > 100);
    town.learn_tables();
    town.assert_same().await;
}

/// SIGKILL at random moments of a backlog that takes many rounds. The numbers are those of `BUCARDO_TEST_SEED`, where
/// it is set.
#[tokio::test]
async fn a_killed_daemon_loses_nothing_and_repeats_nothing() {
    const ROWS: u64 = 100_000;
    let mut dice = Dice::new();
    let mut town = Town::found(ORDERS).await;
    town.sync("");
    town.bucardo.run("set batch_rows_max=1500");
    let first = town.daemon().await;
    for from in (1..=ROWS).step_by(1000) {
        town.a.run(&format!("INSERT INTO orders SELECT n, 'new' FROM generate_series({from}, {}) n", from + 999)).await;
    }
    let delivered = "SELECT inserts FROM bucardo.position WHERE sync = 's'";
    let mut daemon = first;
    for _ in 0..4 {
        let before = u64::try_from(town.b.number(delivered).await).unwrap();
        let enough = ROWS.min(before + dice.below((ROWS - before) / 2));
        wait::until(&format!("{enough} rows on B"), SOON, async || {
            let seen = town.b.number(delivered).await;
            if u64::try_from(seen).unwrap() >= enough { Ok(()) } else { Err(seen) }
        })
        .await;
        daemon.kill();
        daemon = town.daemon().await;
    }
    town.caught_up(&["B", "C"], SOON).await;
    // Each row was written once: a batch that had been committed was not taken again.
    for target in [&town.b, &town.c] {
        assert_eq!(u64::try_from(target.number(delivered).await).unwrap(), ROWS);
    }
    town.a.run("UPDATE orders SET note = 'old' WHERE id % 3 = 0; DELETE FROM orders WHERE id % 7 = 0").await;
    daemon.kill();
    let mut daemon = town.daemon().await;
    town.settle(SOON).await;
    daemon.announce("stale PID");
    daemon.stop().await;
}

/// An operator, or a server in need, ends the session of a KID in the middle of the load, again and again.
#[tokio::test]
async fn a_kid_whose_session_is_ended_recovers_alone() {
    let mut town = Town::found(ORDERS).await;
    town.sync("");
    let mut daemon = town.daemon().await;
    daemon.announce("round failed");
    let writer = Writer::start(&town.a);
    for _ in 0..3 {
        let seen = town.b.number("SELECT round FROM bucardo.position WHERE sync = 's'").await;
        let further = format!("SELECT round FROM bucardo.position WHERE sync = 's' AND round > {}", seen + 3);
        // The first wait is a second; a success makes the next failure the first one again.
        wait::until("rounds on B", Duration::from_secs(5), async || town.b.rows(&further).await.pop().ok_or("none"))
            .await;
        let ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'bucardo KID s A->B' \
            AND datname = current_database()";
        assert_eq!(town.b.rows(ended).await, ["t"]);
    }
    let seen = town.b.number("SELECT round FROM bucardo.position WHERE sync = 's'").await;
    let further = format!("SELECT round FROM bucardo.position WHERE sync = 's' AND round > {seen}");
    wait::until("rounds on B", SOON, async || town.b.rows(&further).await.pop().ok_or("none")).await;
    // Both at once, and not one of them again and again while it waits for the other.
    let kids =
        "FROM pg_stat_activity WHERE application_name LIKE 'bucardo KID s A->_' AND datname = current_database()";
    let present = format!("SELECT count(*) {kids}");
    wait::until_equal("KIDs on A", SOON, &2, async || town.a.number(&present).await).await;
    assert_eq!(town.a.rows(&format!("SELECT pg_terminate_backend(pid) {kids}")).await, ["t", "t"]);
    assert!(writer.stop().await > 10);
    town.settle(SOON).await;
    assert!(!daemon.log().contains("KID is stalled"), "{}", daemon.log());
    daemon.stop().await;
}

/// The fault of the Perl's txntime, through the daemon: what began first commits last, and late.
#[tokio::test]
async fn a_transaction_open_for_long_arrives_when_it_commits() {
    let mut town = Town::found(ORDERS).await;
    town.sync("");
    let daemon = town.daemon().await;
    let long = town.a.session().await;
    long.batch_execute("BEGIN; INSERT INTO orders VALUES (1, 'long')").await.unwrap();
    for id in 2..50 {
        town.a.run(&format!("INSERT INTO orders VALUES ({id}, 'short')")).await;
    }
    let on = async |database: &crate::support::Database| database.number("SELECT count(*) FROM orders").await;
    wait::until_equal("the short ones on B", SOON, &48, async || on(&town.b).await).await;
    wait::until_equal("the short ones on C", SOON, &48, async || on(&town.c).await).await;
    long.batch_execute("UPDATE orders SET note = 'touched' WHERE id < 10").await.unwrap();
    town.a.run("UPDATE orders SET note = 'later' WHERE id = 20").await;
    let later = "SELECT count(*) FROM orders WHERE note = 'later'";
    wait::until_equal("the later change on B", SOON, &1, async || town.b.number(later).await).await;
    long.batch_execute("COMMIT").await.unwrap();
    wait::until_equal("the long one on B", SOON, &49, async || on(&town.b).await).await;
    town.settle(SOON).await;
    daemon.stop().await;
}

/// The memory of the daemon does not grow with what it carries: a whole copy, many rows.
#[tokio::test]
async fn memory_stays_flat_whatever_is_carried() {
    const PEAK_KB_MAX: u64 = 40 * 1024;
    let mut town = Town::found(ORDERS).await;
    town.a.run("INSERT INTO orders SELECT n, repeat('x', 100) FROM generate_series(1, 300000) n").await;
    town.sync("onetimecopy=1");
    let daemon = town.daemon().await;
    for target in [&town.b, &town.c] {
        let count = async || target.number("SELECT count(*) FROM orders").await;
        wait::until_equal("the whole copy", SOON, &300_000, count).await;
    }
    let after_copy = daemon.memory_kb("VmHWM");
    town.a.run("UPDATE orders SET note = repeat('y', 100)").await;
    town.settle(SOON).await;
    let after_backlog = daemon.memory_kb("VmHWM");
    println!("peak of the daemon: {after_copy} kB after the copy, {after_backlog} kB after the backlog");
    assert!(after_backlog < PEAK_KB_MAX, "{after_backlog} kB");
    daemon.stop().await;
}

/// Numbers that can be had again.
struct Dice(u64);

impl Dice {
    fn new() -> Self {
        let seed = std::env::var("BUCARDO_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let seed = seed.unwrap_or_else(|| u64::from(now.subsec_nanos()));
        println!("BUCARDO_TEST_SEED={seed}");
        Self(seed | 1)
    }

    /// At least 1, at most `limit`.
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        1 + self.0 % limit.max(1)
    }
}
