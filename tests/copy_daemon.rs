//! Initial copies of the daemon: killed in the middle, watched from outside.

use std::time::Duration;

use crate::support::{Town, Writer, wait};

const SOON: Duration = Duration::from_secs(90);
const ORDERS: &str =
    "CREATE TABLE orders (id int PRIMARY KEY, note text); CREATE TABLE items (id int PRIMARY KEY, body text)";
const DONE: &str = "SELECT count(*) FROM bucardo.copy_chunk WHERE state = 'done'";

/// SIGKILL again and again while two targets are filled and an application writes: every attempt keeps the pieces of
/// those before, the status tells how far it is, and in the end all are equal.
#[tokio::test]
async fn a_daemon_killed_in_a_copy_goes_on_piece_by_piece() {
    let mut town = Town::found(ORDERS).await;
    town.a.run("INSERT INTO orders SELECT n, repeat('x', 500) FROM generate_series(1, 20000) n").await;
    town.a.run("INSERT INTO items SELECT n, repeat('y', 500) FROM generate_series(1, 10000) n").await;
    town.sync("onetimecopy=1");
    for setting in ["copy_atomic_mb=0", "copy_chunk_mb=1", "copy_workers=2"] {
        town.bucardo.run(&format!("set {setting}"));
    }
    let writer = Writer::start(&town.a);
    let mut daemon = town.daemon().await;
    for pieces in [2, 5, 8] {
        wait::until(&format!("{pieces} pieces on B"), SOON, async || {
            let journal = "SELECT (to_regclass('bucardo.copy_chunk') IS NOT NULL)::int";
            let done = if town.b.number(journal).await == 1 { town.b.number(DONE).await } else { 0 };
            if done >= pieces { Ok(()) } else { Err(done) }
        })
        .await;
        daemon.kill();
        if town.b.number("SELECT count(*) FROM bucardo.copy_job WHERE finished IS NULL").await == 1 {
            let told = town.bucardo.run("status s");
            assert!(told.contains("copying ") && told.contains(" of 2 tables"), "{told}");
            assert!(town.bucardo.run("status s --json").contains("\"bytes_total\""));
            assert!(town.bucardo.run("status").contains("Copying "));
        }
        daemon = town.daemon().await;
    }
    let done = "SELECT onetimecopy FROM bucardo.sync";
    wait::until_equal("both copies", SOON, &0, async || town.control.number(done).await).await;
    assert!(writer.stop().await > 0);
    assert!(town.b.number("SELECT count(*) FROM bucardo.copy_chunk WHERE attempt = 1").await >= 2);
    assert!(!town.bucardo.run("status s").contains("copying"));
    town.settle(SOON).await;
    daemon.announce("stale PID");
    daemon.announce("another round still writes");
    daemon.stop().await;
}

/// A stop in the middle of a copy waits for no more than the pieces under way; the next start goes on.
#[tokio::test]
async fn a_stop_in_a_copy_leaves_the_rest_for_the_next_start() {
    let mut town = Town::found(ORDERS).await;
    town.a.run("INSERT INTO orders SELECT n, repeat('x', 500) FROM generate_series(1, 20000) n").await;
    town.sync("onetimecopy=2");
    for setting in ["copy_atomic_mb=0", "copy_chunk_mb=1", "copy_workers=1"] {
        town.bucardo.run(&format!("set {setting}"));
    }
    let daemon = town.daemon().await;
    wait::until("a journal on B", SOON, async || {
        let journal = "SELECT (to_regclass('bucardo.copy_chunk') IS NOT NULL)::int";
        if town.b.number(journal).await == 1 { Ok(()) } else { Err("none") }
    })
    .await;
    daemon.stop().await;
    let daemon = town.daemon().await;
    town.settle(SOON).await;
    daemon.stop().await;
}

/// A table that joins a running sync is told not to be copied, and the command that is named copies it.
#[tokio::test]
async fn rows_of_a_table_that_joins_are_copied_when_asked_for() {
    let mut town = Town::found(ORDERS).await;
    town.a.run("INSERT INTO orders VALUES (1, 'old'); INSERT INTO items VALUES (1, 'old')").await;
    for (name, database) in [("A", &town.a), ("B", &town.b), ("C", &town.c)] {
        town.bucardo.add_db(name, database);
    }
    town.bucardo.run("add table orders db=A relgroup=s");
    town.bucardo.run("add sync s relgroup=s dbs=A:source,B:target,C:target onetimecopy=1");
    let daemon = town.daemon().await;
    wait::until_equal("the order", SOON, &1, async || town.b.number("SELECT count(*) FROM orders").await).await;
    let told = town.bucardo.run("add table items db=A relgroup=s");
    assert!(told.contains("are not copied") && told.contains("bucardo update sync s onetimecopy=2"), "{told}");
    let done = "SELECT onetimecopy FROM bucardo.sync";
    wait::until_equal("both copies", SOON, &0, async || town.control.number(done).await).await;
    town.bucardo.run("update sync s onetimecopy=2");
    town.bucardo.run("validate s");
    town.bucardo.run("reload sync s");
    for target in [&town.b, &town.c] {
        wait::until_equal("the item", SOON, &1, async || target.number("SELECT count(*) FROM items").await).await;
    }
    // What has rows already is left as it is, and named.
    let log = daemon.log();
    let line =
        log.lines().find(|line| line.contains("not copied, as they have rows there already")).unwrap_or_default();
    for word in ["public.orders", "bucardo update sync s onetimecopy=1"] {
        assert!(line.contains(word), "{word}: {line}");
    }
    assert!(!line.contains("public.items"), "{line}");
    daemon.stop().await;
    town.learn_tables();
    town.assert_same().await;
}
