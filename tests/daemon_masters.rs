//! Several sources through the daemon: kicks from each, a source that is away, a target that follows.

use std::time::{Duration, Instant};

use crate::support::{Database, Proxy, Town, wait};

const ORDERS: &str = "CREATE TABLE orders (id int PRIMARY KEY, note text)";
/// Well below the period of the look that nobody asked for.
const AT_ONCE: Duration = Duration::from_secs(8);
const SOON: Duration = Duration::from_secs(60);

/// A row written at `from` is on its way to all of `to`.
async fn arrives(from: &Database, to: &[&Database], id: i64, within: Duration) {
    from.run(&format!("INSERT INTO orders VALUES ({id}, '{}')", from.name)).await;
    for database in to {
        let there = format!("SELECT count(*) FROM orders WHERE id = {id}");
        let what = format!("row {id} of {} on {}", from.name, database.name);
        wait::until_equal(&what, within, &1, async || database.number(&there).await).await;
    }
}

fn status(town: &Town) -> serde_json::Value {
    let told: serde_json::Value = serde_json::from_str(&town.bucardo.run("status s --json")).unwrap();
    told["syncs"][0].clone()
}

/// Changes of both sources arrive at once at the other and at the target, one that is asked for is answered when they
/// are there, and afterwards nothing is going on.
#[tokio::test(flavor = "multi_thread")]
async fn changes_of_every_source_arrive_everywhere() {
    let mut town = Town::found(ORDERS).await;
    town.sync_among(town.ports(), "A:source,B:source,C:target", "");
    let daemon = town.daemon().await;
    arrives(&town.a, &[&town.b, &town.c], 1, AT_ONCE).await;
    arrives(&town.b, &[&town.a, &town.c], 2, AT_ONCE).await;
    town.a.run("UPDATE orders SET note = 'A' WHERE id = 2; DELETE FROM orders WHERE id = 1").await;
    town.bucardo.run("kick s 0");
    town.assert_same().await;
    let told = status(&town);
    assert_eq!((&told["state"], &told["merge"]["sources"]), (&"Good".into(), &serde_json::json!(["A", "B"])), "{told}");
    let targets: Vec<String> = told["targets"].as_array().unwrap().iter().map(|target| target.to_string()).collect();
    assert_eq!(targets.len(), 3, "A of B, B of A, and whom C follows: {targets:?}");
    let detail = town.bucardo.run("status s");
    assert!(detail.contains("Merge") && detail.contains("s apart"), "{detail}");
    let clocks: Vec<f64> = told["merge"]["clocks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|clock| clock["ahead_seconds"].as_f64().unwrap())
        .collect();
    assert!(clocks.len() == 2 && clocks.iter().all(|ahead| ahead.abs() < 1.0), "they are on this machine: {told}");
    // Other tests write to the same server, which moves positions on; but no row moves again.
    let rows = "SELECT (SELECT count(*) FROM bucardo.delta_public_orders) + (SELECT count(*) FROM orders)";
    let before = (town.a.number(rows).await, town.b.number(rows).await);
    for _ in 0..3 {
        town.bucardo.run("kick s 0");
        let told = status(&town);
        assert_eq!((town.a.number(rows).await, town.b.number(rows).await), before, "nothing comes back");
        assert!(told["targets"].as_array().unwrap().iter().all(|target| target["waiting"] == 0), "{told}");
    }
    // Each source tells of its changes while somebody listens, and not after that.
    let gate = "SELECT last_value FROM bucardo.gate_s";
    let gates = async || (town.a.number(gate).await, town.b.number(gate).await);
    wait::until_equal("the gates to open", AT_ONCE, &(1, 1), gates).await;
    daemon.stop().await;
    assert_eq!(gates().await, (2, 2));
}

/// One of three sources is away: the others are merged, the sync is well and says who is missing since when; and what
/// was missed arrives as soon as it is back.
#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_away_holds_up_nobody() {
    let mut town = Town::found(ORDERS).await;
    let proxy = Proxy::to(town.c.port).await;
    town.sync_among([town.a.port, town.b.port, proxy.port()], "A:source,B:source,C:source", "");
    let mut daemon = town.daemon().await;
    for word in ["is away", "cannot listen", "cannot purge"] {
        daemon.announce(word);
    }
    arrives(&town.c, &[&town.a, &town.b], 1, AT_ONCE).await;
    proxy.cut();
    for id in 2..6 {
        arrives(&town.a, &[&town.b], id, AT_ONCE).await;
        arrives(&town.b, &[&town.a], id + 10, AT_ONCE).await;
    }
    town.c.run("INSERT INTO orders VALUES (99, 'meanwhile')").await;
    let told = wait::until("status to tell who is away", SOON, async || {
        let told = status(&town);
        if told["merge"]["away"][0]["db"] == "C" { Ok(told) } else { Err(told) }
    })
    .await;
    assert_eq!(told["state"], "Good", "{told}");
    let line = town.bucardo.run("status s");
    assert!(line.contains("A, B, C; C is away since "), "{line}");
    proxy.open();
    let rows = async || {
        (town.a.number("SELECT count(*) FROM orders").await, town.c.number("SELECT count(*) FROM orders").await)
    };
    wait::until_equal("all to be equal", SOON, &(10, 10), rows).await;
    town.assert_same().await;
    wait::until("status to tell that all are there", SOON, async || {
        let told = status(&town);
        if told["merge"]["away"] == serde_json::json!([]) { Ok(()) } else { Err(told) }
    })
    .await;
    let log = daemon.log();
    let away = log.lines().filter(|line| line.contains("the others are merged without it")).count();
    assert_eq!(away, 1, "told once:\n{log}");
    daemon.stop().await;
}

/// A source of which nobody hears any more, not even that it is gone, is away like any other.
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_source_is_told_of_once() {
    let mut town = Town::found(ORDERS).await;
    let proxy = Proxy::to(town.c.port).await;
    town.sync_among([town.a.port, town.b.port, proxy.port()], "A:source,B:source,C:source", "");
    proxy.cut();
    proxy.stall();
    let mut daemon = town.daemon().await;
    for word in ["is away", "cannot listen", "cannot purge"] {
        daemon.announce(word);
    }
    for id in 1..40 {
        arrives(&town.a, &[&town.b], id, SOON).await;
    }
    daemon.logs("the others are merged without it", SOON).await;
    // Long enough for another attempt to connect, which gets no answer either.
    let (begun, mut id) = (Instant::now(), 40);
    while begun.elapsed() < Duration::from_secs(4) {
        arrives(&town.b, &[&town.a], id, SOON).await;
        id += 1;
    }
    let back = daemon.log().matches("the database is back").count();
    assert_eq!(back, 0, "it never was:\n{}", daemon.log());
    daemon.kill();
}

/// The source that a target follows is away: the other's changes arrive all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_target_follows_another_source() {
    let mut town = Town::found(ORDERS).await;
    let proxy = Proxy::to(town.a.port).await;
    town.sync_among([proxy.port(), town.b.port, town.c.port], "A:source,B:source,C:target", "");
    let mut daemon = town.daemon().await;
    let told =
        ["follows another source", "cannot listen", "cannot purge", "round failed", "purge failed", "is stalled"];
    told.into_iter().for_each(|word| daemon.announce(word));
    // A merge may be under way.
    daemon.announce("the database is away");
    arrives(&town.a, &[&town.b, &town.c], 1, AT_ONCE).await;
    proxy.cut();
    arrives(&town.b, &[&town.c], 2, AT_ONCE).await;
    let told = status(&town);
    let target = told["targets"].as_array().unwrap().iter().find(|target| target["target"] == "C").unwrap();
    assert_eq!((&target["source"], &target["waiting"]), (&"B".into(), &0.into()), "{told}");
    town.a.run("INSERT INTO orders VALUES (3, 'meanwhile')").await;
    proxy.open();
    let rows = async || town.c.number("SELECT count(*) FROM orders").await;
    wait::until_equal("what A wrote meanwhile", SOON, &3, rows).await;
    town.assert_same().await;
    daemon.stop().await;
}
