//! A busy source is left quiet, and no change waits for the periodic look because of it.

use std::time::Duration;

use crate::support::{Town, wait};

const ORDERS: &str = "CREATE TABLE orders (id serial PRIMARY KEY, note text)";
/// Well below the period of the look that nobody asked for.
const AT_ONCE: Duration = Duration::from_secs(5);

/// Many small transactions close the gate. One of them stays open, having seen it closed, so that its commit tells
/// nobody; the gate opens again when the others stop, and that commit arrives all the same.
#[tokio::test]
async fn a_commit_that_told_nobody_arrives_at_once() {
    let mut town = Town::found(ORDERS).await;
    town.sync("");
    let daemon = town.daemon().await;
    let gate = "SELECT last_value FROM bucardo.gate_s";
    let late = town.a.session().await;
    wait::until("the gate to close", Duration::from_secs(30), async || {
        for _ in 0..100 {
            town.a.run("INSERT INTO orders (note) VALUES ('quick')").await;
        }
        match town.a.number(gate).await {
            2 => Ok(()),
            open => Err(open),
        }
    })
    .await;
    late.batch_execute("BEGIN; INSERT INTO orders (note) VALUES ('late')").await.unwrap();
    wait::until_equal("the gate to open", AT_ONCE, &1, async || town.a.number(gate).await).await;
    late.batch_execute("COMMIT").await.unwrap();
    for note in ["late", "later"] {
        if note == "later" {
            town.a.run("INSERT INTO orders (note) VALUES ('later')").await;
        }
        let there = format!("SELECT count(*) FROM orders WHERE note = '{note}'");
        wait::until_equal(note, AT_ONCE, &1, async || town.b.number(&there).await).await;
    }
    daemon.stop().await;
    town.assert_same().await;
    // Nobody listens any more: changes need not tell.
    assert_eq!(town.a.number(gate).await, 2);
}

/// A sync that is removed and made again while the daemon runs has another gate: it is opened like the first.
#[tokio::test]
async fn a_sync_made_again_is_heard() {
    let mut town = Town::found(ORDERS).await;
    town.sync("");
    let daemon = town.daemon().await;
    let gate = "SELECT last_value FROM bucardo.gate_s";
    wait::until_equal("the gate to open", AT_ONCE, &1, async || town.a.number(gate).await).await;
    town.bucardo.run("remove sync s");
    town.bucardo.run("add sync s relgroup=s dbs=A:source,B:target,C:target");
    assert_eq!(town.a.number(gate).await, 2);
    town.bucardo.run("reload");
    wait::until_equal("the gate to open again", AT_ONCE, &1, async || town.a.number(gate).await).await;
    town.a.run("INSERT INTO orders (note) VALUES ('again')").await;
    let there = "SELECT count(*) FROM orders WHERE note = 'again'";
    wait::until_equal("the row", AT_ONCE, &1, async || town.b.number(there).await).await;
    daemon.stop().await;
}
