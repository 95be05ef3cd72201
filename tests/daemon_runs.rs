//! The run history while runs go on, and after they were broken off.

use std::time::Duration;

use crate::support::{Town, wait};

const ORDERS: &str = "CREATE TABLE orders (id int PRIMARY KEY, note text)";
const SOON: Duration = Duration::from_secs(30);
/// Runs that go on.
const OPEN: &str = "SELECT count(*) FROM bucardo.syncrun WHERE ended IS NULL";

/// A script polls `syncrun` for what runs now. It must find a long run, with what it does, and each run once; and after
/// the daemon was killed in the middle, not find it for ever.
#[tokio::test]
async fn a_long_run_is_an_open_row_until_it_ends_or_the_next_daemon_starts() {
    let mut town = Town::found(ORDERS).await;
    town.sync("");
    let daemon = town.daemon().await;
    town.a.run("INSERT INTO orders VALUES (1, 'quick')").await;
    town.settle(SOON).await;

    let lock = town.b.session().await;
    lock.batch_execute("BEGIN; LOCK TABLE orders").await.unwrap();
    town.a.run("INSERT INTO orders VALUES (2, 'long')").await;
    wait::until_equal("an open row", SOON, &1, async || town.control.number(OPEN).await).await;
    let row = "SELECT sync || ' ' || sourcedb || ' ' || targetdb || ' ' || status FROM bucardo.syncrun \
               WHERE ended IS NULL AND NOT (lastgood OR lastbad OR lastempty) AND pid IS NOT NULL";
    let shown = town.control.value(row).await;
    assert!(shown.starts_with("s A B ") && shown.len() > "s A B ".len(), "{shown}");
    let status = town.bucardo.run("status");
    assert!(status.contains(shown.trim_start_matches("s A B ")), "what the run does is its state: {status}");

    daemon.kill();
    assert_eq!(town.control.number(OPEN).await, 1, "nobody was there to end it");
    lock.batch_execute("COMMIT").await.unwrap();
    let daemon = town.daemon().await;
    town.settle(SOON).await;
    let old = "SELECT count(*) FROM bucardo.syncrun WHERE status = 'Old entry ended' AND ended >= started";
    assert_eq!(town.control.number(old).await, 1);
    wait::until_equal("no open row", SOON, &0, async || town.control.number(OPEN).await).await;

    // One more, that ends well: the row that was open is the one that is the last good one.
    lock.batch_execute("BEGIN; LOCK TABLE orders").await.unwrap();
    town.a.run("INSERT INTO orders VALUES (3, 'long')").await;
    wait::until_equal("an open row", SOON, &1, async || town.control.number(OPEN).await).await;
    let begun = town.control.value("SELECT started::text FROM bucardo.syncrun WHERE ended IS NULL").await;
    lock.batch_execute("COMMIT").await.unwrap();
    wait::until_equal("no open row", SOON, &0, async || town.control.number(OPEN).await).await;
    let ended = format!("SELECT status || ' ' || inserts FROM bucardo.syncrun WHERE started = '{begun}'");
    assert_eq!(town.control.rows(&ended).await, ["Complete 1"]);

    // A look that waits and finds nothing leaves no more than the row that says so.
    lock.batch_execute("BEGIN; LOCK TABLE bucardo.position").await.unwrap();
    town.bucardo.run("kick s");
    wait::until_equal("an open row", SOON, &1, async || town.control.number(OPEN).await).await;
    lock.batch_execute("COMMIT").await.unwrap();
    wait::until_equal("no open row", SOON, &0, async || town.control.number(OPEN).await).await;
    let empty = "SELECT count(*) FROM bucardo.syncrun WHERE status = 'No delta rows found'";
    assert_eq!(town.control.number(empty).await, 1);
    daemon.stop().await;
}
