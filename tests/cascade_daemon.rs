//! Syncs that hand changes on to each other, under the daemon: it is woken for every hop, may be killed, and rests.

use std::time::Duration;

use bucardo::lab::{Cluster, Folder, Settings};

use crate::support::{Daemon, Town, Writer, difference, wait};

const ORDERS: &str = "CREATE TABLE orders (id int PRIMARY KEY, note text)";
const SOON: Duration = Duration::from_secs(60);
/// Three hops, on a busy machine, with a program that is not optimised. Nothing but the hops themselves wakes the next.
const HOPS_WITHIN: Duration = Duration::from_secs(10);

/// A cluster of its own: nobody else's transactions move positions.
struct Alone {
    cluster: Cluster,
    _folder: Folder,
}

impl Alone {
    fn start() -> Self {
        let folder = Folder::new("bucardo-test").unwrap();
        let settings =
            Settings::default().set("max_connections", "60").set("shared_buffers", "16MB").set("autovacuum", "off");
        let cluster = Cluster::start(folder.path(), "alone", &settings).unwrap();
        Self { cluster, _folder: folder }
    }

    async fn town(&self, lines: &[(&str, &str)]) -> Town {
        let mut town = Town::found_on([&self.cluster; 4], ORDERS).await;
        for (name, database) in [("A", &town.a), ("B", &town.b), ("C", &town.c)] {
            town.bucardo.add_db(name, database);
        }
        for (name, dbs) in lines {
            town.bucardo.run(&format!("add sync {name} tables=orders dbs={dbs} makedelta=on"));
        }
        town.learn_tables();
        town
    }
}

async fn same(town: &Town, within: Duration) {
    wait::until("A, B and C to be the same", within, async || {
        for target in [&town.b, &town.c] {
            if let Some(difference) = difference(&town.a, target, "orders").await {
                return Err(difference);
            }
        }
        Ok(())
    })
    .await;
}

/// Positions, and the newest delta rows (old ones may be purged meanwhile).
async fn traces(town: &Town) -> Vec<String> {
    let mut traces = Vec::new();
    for database in [&town.a, &town.b, &town.c] {
        let positions = "SELECT concat_ws(' ', sync, source, snapshot, round) FROM bucardo.position ORDER BY 1";
        traces.extend(database.rows(positions).await);
        if database.value("SELECT to_regclass('bucardo.delta_public_orders') IS NOT NULL").await == "t" {
            traces.extend(database.rows("SELECT max(txid) FROM bucardo.delta_public_orders").await);
        }
    }
    traces
}

/// Kicks that move nothing: after the last round has found its end, no position is written and no delta row.
async fn rests(town: &Town, syncs: &[&str]) {
    let kick = || syncs.iter().for_each(|sync| drop(town.bucardo.run(&format!("kick {sync} 60"))));
    kick();
    let before = wait::until("positions to stay", SOON, async || {
        let before = traces(town).await;
        kick();
        let after = traces(town).await;
        if before == after { Ok(after) } else { Err((before, after)) }
    })
    .await;
    for _ in 0..5 {
        kick();
    }
    assert_eq!(traces(town).await, before);
}

/// A ring of three, changes at every place; the daemon is killed again and again while they are made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ring_survives_kills_and_comes_to_rest() {
    let alone = Alone::start();
    let town =
        alone.town(&[("ab", "A:source,B:target"), ("bc", "B:source,C:target"), ("ca", "C:source,A:target")]).await;
    let mut daemon = town.daemon().await;
    town.a.run("INSERT INTO orders VALUES (-1, 'a')").await;
    town.b.run("INSERT INTO orders VALUES (-2, 'b')").await;
    town.c.run("INSERT INTO orders VALUES (-3, 'c')").await;
    same(&town, HOPS_WITHIN).await;
    rests(&town, &["ab", "bc", "ca"]).await;
    let writer = Writer::start(&town.a);
    for kill in 1..=5 {
        let (commits, rounds) = (writer.commits(), "SELECT sum(round)::bigint FROM bucardo.position");
        let before = town.c.number(rounds).await;
        wait::until("rounds on C", SOON, async || {
            let moved = town.c.number(rounds).await > before + 3 && writer.commits() > commits + 5;
            if moved { Ok(()) } else { Err(writer.commits()) }
        })
        .await;
        daemon.kill();
        town.b.run(&format!("INSERT INTO orders VALUES ({}, 'while it is dead')", -10 - kill)).await;
        daemon = town.daemon().await;
    }
    assert!(writer.stop().await > 25);
    same(&town, SOON).await;
    assert_eq!(town.c.number("SELECT count(*) FROM orders WHERE note LIKE 'while%'").await, 5);
    rests(&town, &["ab", "bc", "ca"]).await;
    daemon.stop().await;
}

/// A to B to A and on to C: nothing echoes, and the hop to C begins at once. Without the flag nothing goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_road_back_and_a_road_on() {
    let alone = Alone::start();
    let town =
        alone.town(&[("there", "A:source,B:target"), ("back", "B:source,A:target"), ("on", "B:source,C:target")]).await;
    let daemon: Daemon<'_> = town.daemon().await;
    town.a.run("INSERT INTO orders SELECT n, 'a' FROM generate_series(1, 2000) AS n").await;
    same(&town, HOPS_WITHIN).await;
    town.b.run("UPDATE orders SET note = 'b' WHERE id <= 10; DELETE FROM orders WHERE id = 11").await;
    same(&town, HOPS_WITHIN).await;
    town.a.run("TRUNCATE orders; INSERT INTO orders VALUES (5, 'after')").await;
    same(&town, HOPS_WITHIN).await;
    rests(&town, &["there", "back", "on"]).await;
    let origins = "SELECT DISTINCT origin FROM bucardo.delta_public_orders WHERE origin IS NOT NULL";
    assert_eq!(town.a.rows(origins).await, ["back B 0 +"]);
    // The flag of one database in its group.
    town.bucardo.run("update sync there makedelta=off");
    town.bucardo.run("update dbgroup there A:source B:target:makedelta=off");
    town.bucardo.run("reload sync there");
    town.a.run("INSERT INTO orders VALUES (6, 'not for others')").await;
    wait::until_equal("the row on B", SOON, &1, async || {
        town.b.number("SELECT count(*) FROM orders WHERE id = 6").await
    })
    .await;
    town.b.run("INSERT INTO orders VALUES (7, 'for all')").await;
    wait::until_equal("the row on C", SOON, &1, async || {
        town.c.number("SELECT count(*) FROM orders WHERE id = 7").await
    })
    .await;
    assert_eq!(town.c.number("SELECT count(*) FROM orders WHERE id = 6").await, 0);
    daemon.stop().await;
}
