//! What rounds hand on to other syncs (`makedelta`), and what they do not: chains, rings, roads in both directions,
//! syncs that share tables.

use std::sync::Arc;

use bucardo::catalog::MakeDelta;
use bucardo::source::validate_sync;
use bucardo_actors::model::Fault;
use bucardo_actors::ports::{StepHook, Watch};
use futures_util::FutureExt;

use crate::support::{Web, assert_same};

const ORDERS: &str = "CREATE TABLE orders (id int PRIMARY KEY, note text)";
const GOATS: [&str; 1] = ["orders:id"];

/// Inserts, updates, deletes and changes of keys, few and many at once, arrive at the far end of a chain, once each.
#[tokio::test]
async fn a_chain_hands_on_every_kind_of_change() {
    let mut web = Web::start(&["a", "b", "c", "d"], ORDERS, &GOATS).await;
    web.syncs(&["one: a -> b", "two: b -> c", "three: c -> d"]).await;
    web.on("a").run("INSERT INTO orders SELECT n, 'new ' || n FROM generate_series(1, 20) AS n").await;
    let written = web.settle().await;
    assert_eq!(written.into_values().collect::<Vec<_>>(), [20, 20, 20]);
    web.on("a")
        .run(
            "UPDATE orders SET note = 'changed' WHERE id = 1; DELETE FROM orders WHERE id = 2; \
             UPDATE orders SET id = 103 WHERE id = 3; UPDATE orders SET note = note || '!' WHERE id > 3",
        )
        .await;
    web.settle().await;
    web.assert_same("orders").await;
    // More than travel as parameters.
    web.on("a").run("INSERT INTO orders SELECT n, 'many' FROM generate_series(1000, 4999) AS n").await;
    web.on("a")
        .run("UPDATE orders SET note = 'twice' WHERE id >= 1000; DELETE FROM orders WHERE id BETWEEN 2000 AND 2999")
        .await;
    let written = web.settle().await;
    assert_eq!(written["three->d"], 3000);
    web.assert_same("orders").await;
    let origins = web.on("d").rows("SELECT to_regclass('bucardo.delta_public_orders') IS NULL").await;
    assert_eq!(origins, ["t"], "nobody reads there");
    let origins = "SELECT DISTINCT origin FROM bucardo.delta_public_orders";
    assert_eq!(web.on("b").rows(origins).await, ["one a 0 +"]);
    assert_eq!(web.on("c").rows(origins).await, ["two a,b 0 +"]);
    web.assert_silent().await;
}

/// What is handed on keeps the time at which it was made.
#[tokio::test]
async fn a_change_keeps_its_time() {
    let mut web = Web::start(&["a", "b", "c"], ORDERS, &GOATS).await;
    web.syncs(&["one: a -> b", "two: b -> c"]).await;
    web.on("a").run("INSERT INTO orders VALUES (1)").await;
    web.settle().await;
    let time = "SELECT extract(epoch FROM txntime) FROM bucardo.delta_public_orders";
    assert_eq!(web.on("b").rows(time).await, web.on("a").rows(time).await);
}

/// Without makedelta a change goes one hop, and nothing is written that nobody asked for.
#[tokio::test]
async fn without_makedelta_nothing_is_handed_on() {
    let mut web = Web::start(&["a", "b", "c"], ORDERS, &GOATS).await;
    web.plain_sync("one: a -> b").await;
    web.plain_sync("two: b -> c").await;
    web.on("a").run("INSERT INTO orders VALUES (1, 'from a')").await;
    web.on("b").run("INSERT INTO orders VALUES (2, 'from b')").await;
    web.settle().await;
    assert_eq!(web.on("c").rows("SELECT * FROM orders").await, ["2|from b"]);
    assert_eq!(web.on("b").number("SELECT count(*) FROM bucardo.delta_public_orders").await, 1);
    web.assert_silent().await;
}

/// A to B to A: both sides' changes arrive, and none comes back.
#[tokio::test]
async fn a_road_in_both_directions_has_no_echo() {
    let mut web = Web::start(&["a", "b"], ORDERS, &GOATS).await;
    web.syncs(&["there: a -> b", "back: b -> a"]).await;
    web.on("a").run("INSERT INTO orders SELECT n, 'a' FROM generate_series(1, 10) AS n").await;
    web.on("b").run("INSERT INTO orders SELECT n, 'b' FROM generate_series(11, 15) AS n").await;
    let written = web.settle().await;
    assert_eq!((written["there->b"], written["back->a"]), (10, 5));
    web.assert_same("orders").await;
    web.assert_silent().await;
    // What came from the other side is a change of one's own when it is changed here.
    web.on("b").run("UPDATE orders SET note = 'changed at b' WHERE id <= 3").await;
    web.on("a").run("DELETE FROM orders WHERE id = 12").await;
    web.settle().await;
    web.assert_same("orders").await;
    assert_eq!(web.on("a").number("SELECT count(*) FROM orders WHERE note = 'changed at b'").await, 3);
    web.assert_silent().await;
}

/// Three syncs in a ring, with changes entering at every place, and from outside the ring: each goes around once.
#[tokio::test]
async fn a_ring_ends_where_a_change_began_and_where_it_entered() {
    let mut web = Web::start(&["a", "b", "c", "outside"], ORDERS, &GOATS).await;
    web.syncs(&["ab: a -> b", "bc: b -> c", "ca: c -> a", "enter: outside -> a"]).await;
    for (place, name) in ["a", "b", "c", "outside"].into_iter().enumerate() {
        let ids = format!("generate_series({place} * 10, {place} * 10 + 9)");
        web.on(name).run(&format!("INSERT INTO orders SELECT n, '{name}' FROM {ids} AS n")).await;
    }
    let written = web.settle().await;
    // Two of the three places, and the outside, have changes that each hop brings.
    assert_eq!((written["ab->b"], written["bc->c"], written["ca->a"]), (30, 30, 20));
    let ring = [web.on("a"), web.on("b"), web.on("c")];
    assert_same("orders", &ring).await;
    assert_eq!(web.on("a").number("SELECT count(*) FROM orders").await, 40);
    web.assert_silent().await;
}

/// Three databases, each pair of neighbours with a sync in both directions: the middle one hands on to either side, and
/// what it handed on does not come back to it.
#[tokio::test]
async fn a_chain_of_roads_in_both_directions_has_no_echo() {
    let mut web = Web::start(&["a", "b", "c"], ORDERS, &GOATS).await;
    web.syncs(&["ab: a -> b", "ba: b -> a", "bc: b -> c", "cb: c -> b"]).await;
    for (place, name) in ["a", "b", "c"].into_iter().enumerate() {
        web.on(name).run(&format!("INSERT INTO orders VALUES ({place}, '{name}')")).await;
    }
    let written = web.settle().await;
    assert_eq!(
        written.into_iter().collect::<Vec<_>>(),
        [("ab->b".to_owned(), 1), ("ba->a".to_owned(), 2), ("bc->c".to_owned(), 2), ("cb->b".to_owned(), 1)]
    );
    web.assert_same("orders").await;
    web.assert_silent().await;
}

/// Everybody sends to everybody, and all change the same keys at once: it ends. (Who wins is not said: that is what
/// several sources in one sync are for.)
#[tokio::test]
async fn everybody_to_everybody_comes_to_rest() {
    let names = ["a", "b", "c", "d"];
    let mut web = Web::start(&names, ORDERS, &GOATS).await;
    let mut lines = Vec::new();
    for from in names {
        for to in names.iter().filter(|to| **to != from) {
            lines.push(format!("{from}{to}: {from} -> {to}"));
        }
    }
    web.syncs(&lines.iter().map(String::as_str).collect::<Vec<_>>()).await;
    for name in names {
        web.on(name).run(&format!("INSERT INTO orders SELECT n, '{name}' FROM generate_series(1, 5) AS n")).await;
    }
    web.settle().await;
    web.assert_silent().await;
}

/// A change goes to the far end of a diamond over both sides, and back to its beginning over neither.
#[tokio::test]
async fn a_diamond_does_not_send_back() {
    let mut web = Web::start(&["a", "left", "right", "end"], ORDERS, &GOATS).await;
    web.syncs(&["al: a -> left", "ar: a -> right", "le: left -> end", "re: right -> end", "ea: end -> a"]).await;
    web.on("a").run("INSERT INTO orders VALUES (1, 'x')").await;
    let written = web.settle().await;
    assert!(!written.contains_key("ea->a"), "{written:?}");
    web.assert_same("orders").await;
    web.on("left").run("UPDATE orders SET note = 'y'").await;
    web.settle().await;
    web.assert_same("orders").await;
    assert_eq!(web.on("a").value("SELECT note FROM orders").await, "y");
    web.assert_silent().await;
}

/// Two syncs bring the same table to one database, a third takes it on; a fourth reads the first source on its own.
#[tokio::test]
async fn syncs_that_share_a_table_lose_nothing() {
    let mut web = Web::start(&["a", "b", "hub", "end"], ORDERS, &GOATS).await;
    web.syncs(&["ah: a -> hub", "bh: b -> hub", "he: hub -> end", "ae: a -> end"]).await;
    web.on("a").run("INSERT INTO orders SELECT n, 'a' FROM generate_series(1, 10) AS n").await;
    web.on("b").run("INSERT INTO orders SELECT n, 'b' FROM generate_series(11, 20) AS n").await;
    web.on("hub").run("INSERT INTO orders SELECT n, 'hub' FROM generate_series(21, 30) AS n").await;
    web.settle().await;
    assert_same("orders", &[web.on("hub"), web.on("end")]).await;
    assert_eq!(web.on("end").number("SELECT count(*) FROM orders").await, 30);
    web.on("b").run("DELETE FROM orders WHERE id = 11; UPDATE orders SET id = 112 WHERE id = 12").await;
    web.settle().await;
    assert_same("orders", &[web.on("hub"), web.on("end")]).await;
    web.assert_silent().await;
}

/// The flag of a table beats that of the database: on for one table, off for the other, or for some databases only.
#[tokio::test]
async fn a_table_may_differ_from_its_sync() {
    let ddl = "CREATE TABLE one (id int PRIMARY KEY); CREATE TABLE two (id int PRIMARY KEY); CREATE TABLE three (id int PRIMARY KEY)";
    let mut web = Web::start(&["a", "b", "c"], ddl, &["one:id", "two:id", "three:id"]).await;
    web.syncs(&["first: a -> b", "second: b -> c"]).await;
    web.syncs[0].goats[1].makedelta = Some(MakeDelta::Everywhere(false));
    web.syncs[0].goats[2].makedelta = Some(MakeDelta::In(vec!["b".to_owned()]));
    web.syncs[0].members[1].makedelta = false;
    web.syncs[0].goats[0].makedelta = Some(MakeDelta::Everywhere(true));
    web.on("a").run("INSERT INTO one VALUES (1); INSERT INTO two VALUES (1); INSERT INTO three VALUES (1)").await;
    web.settle().await;
    let counts = "SELECT (SELECT count(*) FROM one), (SELECT count(*) FROM two), (SELECT count(*) FROM three)";
    assert_eq!(web.on("b").rows(counts).await, ["1|1|1"]);
    assert_eq!(web.on("c").rows(counts).await, ["1|0|1"]);
}

/// A sync that comes to read the target while rounds go on: the rounds notice, between two of them and under one.
#[tokio::test]
async fn a_reader_that_comes_later_misses_nothing() {
    let mut web = Web::start(&["a", "b", "c"], ORDERS, &GOATS).await;
    web.syncs(&["one: a -> b"]).await;
    web.on("a").run("INSERT INTO orders VALUES (1)").await;
    web.settle().await;
    // Its session is open and knows of nobody. The second sync is validated while a round has looked, but not written.
    let late = web.sync("two: b -> c", true);
    web.on("a").run("INSERT INTO orders VALUES (2)").await;
    let validating = late.clone();
    let hook: StepHook = Arc::new(move |step: &str| {
        let (is_there, sync) = (step.starts_with("keys read of public.orders"), validating.clone());
        async move {
            if is_there {
                validate_sync(&sync).await.map_err(|error| Fault::transient(error.told()))?;
            }
            Ok(())
        }
        .boxed()
    });
    let pair = web.pairs().remove(0);
    web.round_of(&pair, Watch::default().with_hook(hook)).await.unwrap();
    web.syncs.push(late);
    web.settle().await;
    assert_eq!(web.on("c").rows("SELECT id FROM orders").await, ["2"]);
    web.on("a").run("INSERT INTO orders VALUES (3)").await;
    web.settle().await;
    assert_eq!(web.on("c").rows("SELECT id FROM orders ORDER BY 1").await, ["2", "3"]);
    web.assert_silent().await;
}

/// The power fails at every step of a round that hands on: the next one brings the rows and hands on, once.
#[tokio::test]
async fn a_round_that_dies_hands_on_with_its_rows_or_not_at_all() {
    let mut web = Web::start(&["a", "b", "c"], ORDERS, &GOATS).await;
    web.syncs(&["one: a -> b", "two: b -> c"]).await;
    let pair = web.pairs().remove(0);
    let seen = Arc::new(std::sync::Mutex::new(Vec::<String>::new()));
    let noted = seen.clone();
    let hook: StepHook = Arc::new(move |step: &str| {
        noted.lock().unwrap().push(step.to_owned());
        async { Ok(()) }.boxed()
    });
    web.on("a").run("INSERT INTO orders VALUES (0)").await;
    web.round_of(&pair, Watch::default().with_hook(hook)).await.unwrap();
    let all = seen.lock().unwrap().clone();
    assert!(all.len() > 7, "{all:?}");
    for (id, step) in (1..).zip(&all) {
        web.on("a").run(&format!("INSERT INTO orders VALUES ({id})")).await;
        let there = step.clone();
        let hook: StepHook = Arc::new(move |at: &str| {
            let dies = at == there;
            async move { if dies { Err(Fault::transient("the power fails".to_owned())) } else { Ok(()) } }.boxed()
        });
        web.round_of(&pair, Watch::default().with_hook(hook)).await.unwrap_err();
        let (rows, deltas) = (
            web.on("b").number(&format!("SELECT count(*) FROM orders WHERE id = {id}")).await,
            web.on("b").number(&format!("SELECT count(*) FROM bucardo.delta_public_orders WHERE id = {id}")).await,
        );
        assert_eq!(rows, deltas, "{step}");
        web.settle().await;
        assert_eq!(web.on("c").number(&format!("SELECT count(*) FROM orders WHERE id = {id}")).await, 1, "{step}");
        let deltas = format!("SELECT count(*) FROM bucardo.delta_public_orders WHERE id = {id}");
        assert_eq!(web.on("b").number(&deltas).await, 1, "{step}");
    }
    web.assert_same("orders").await;
    web.assert_silent().await;
}

/// A key of another kind at the target: what others read there has columns that the sync's own key has not.
#[tokio::test]
async fn a_reader_with_another_key_is_served() {
    let ddl = "CREATE TABLE orders (id int PRIMARY KEY, code text NOT NULL UNIQUE, note text)";
    let mut web = Web::start(&["a", "b", "c"], ddl, &["orders:id"]).await;
    web.syncs(&["one: a -> b"]).await;
    let mut two = web.sync("two: b -> c", true);
    two.goats[0].key = vec!["code".to_owned()];
    validate_sync(&two).await.unwrap();
    web.syncs.push(two);
    web.on("a").run("INSERT INTO orders SELECT n, 'code ' || n, 'new' FROM generate_series(1, 1500) AS n").await;
    web.settle().await;
    web.on("a").run("UPDATE orders SET code = 'other ' || id WHERE id < 5; DELETE FROM orders WHERE id = 9").await;
    web.settle().await;
    web.assert_same("orders").await;
    web.on("a").run("UPDATE orders SET code = 'all ' || id").await;
    web.settle().await;
    web.assert_same("orders").await;
    web.assert_silent().await;
}
