//! Merges that hand changes on to other syncs, and merge what others hand on to them.

use crate::support::{Web, assert_same};

const ORDERS: &str = "CREATE TABLE orders (id int PRIMARY KEY, note text)";
const GOATS: [&str; 1] = ["orders:id"];

/// Two masters, and one-way syncs that begin and end outside: all changes get everywhere, once.
#[tokio::test]
async fn merged_changes_are_handed_on_and_handed_on_changes_are_merged() {
    let mut web = Web::start(&["before", "a", "b", "after"], ORDERS, &GOATS).await;
    web.syncs(&["masters: a b ->", "enter: before -> a", "leave: b -> after"]).await;
    for (place, name) in ["before", "a", "b"].into_iter().enumerate() {
        let ids = format!("generate_series({place} * 2000, {place} * 2000 + 1499)");
        web.on(name).run(&format!("INSERT INTO orders SELECT n, '{name}' FROM {ids} AS n")).await;
    }
    web.settle().await;
    assert_same("orders", &[web.on("a"), web.on("b"), web.on("after")]).await;
    assert_eq!(web.on("after").number("SELECT count(*) FROM orders").await, 4500);
    web.on("before").run("UPDATE orders SET note = 'changed' WHERE id < 10; DELETE FROM orders WHERE id = 10").await;
    web.on("b")
        .run("UPDATE orders SET note = 'at b' WHERE id = 2000; UPDATE orders SET id = 9000 WHERE id = 4000")
        .await;
    web.on("a").run("UPDATE orders SET note = 'at a' WHERE id = 4001").await;
    web.settle().await;
    assert_same("orders", &[web.on("a"), web.on("b"), web.on("after")]).await;
    assert_eq!(web.on("after").value("SELECT note FROM orders WHERE id = 4001").await, "at a");
    web.on("before").run("TRUNCATE orders; INSERT INTO orders VALUES (1, 'after the truncate')").await;
    web.settle().await;
    assert_same("orders", &[web.on("a"), web.on("b"), web.on("after")]).await;
    web.assert_silent().await;
}

/// A merge in a ring with one-way syncs: a change comes back neither to the master where it was made nor to the database
/// from which it came in, although the merge stands in between.
#[tokio::test]
async fn a_ring_through_a_merge_has_no_echo() {
    let mut web = Web::start(&["a", "b", "c"], ORDERS, &GOATS).await;
    web.syncs(&["masters: a b ->", "there: b -> c", "back: c -> a"]).await;
    for (place, name) in ["a", "b", "c"].into_iter().enumerate() {
        web.on(name).run(&format!("INSERT INTO orders VALUES ({place}, '{name}')")).await;
    }
    let written = web.settle().await;
    // To c what a and b wrote; to a what c wrote, and what b wrote over the other road, too.
    assert_eq!(written["there->c"], 2, "{written:?}");
    assert_eq!(written["back->a"], 2, "{written:?}");
    web.assert_same("orders").await;
    web.assert_silent().await;
    web.on("c").run("UPDATE orders SET note = note || '!'").await;
    let written = web.settle().await;
    assert!(!written.contains_key("there->c"), "{written:?}");
    web.assert_same("orders").await;
    web.assert_silent().await;
}

/// Masters with a target that follows, and a way back from it.
#[tokio::test]
async fn a_follower_hands_on_and_the_masters_do_not_hear_themselves() {
    let mut web = Web::start(&["a", "b", "f", "end"], ORDERS, &GOATS).await;
    web.syncs(&["masters: a b -> f", "back: f -> b", "on: f -> end"]).await;
    web.on("a").run("INSERT INTO orders SELECT n, 'a' FROM generate_series(1, 10) AS n").await;
    web.on("b").run("INSERT INTO orders SELECT n, 'b' FROM generate_series(11, 20) AS n").await;
    web.on("f").run("INSERT INTO orders VALUES (21, 'f')").await;
    let written = web.settle().await;
    assert_eq!(written["back->b"], 1, "{written:?}");
    web.assert_same("orders").await;
    web.assert_silent().await;
}

/// Two merges that share a table at one database, with makedelta: what one brings the other takes on; without it, what
/// the other brought is passed over, and does not wait for ever.
#[tokio::test]
async fn two_merges_may_share_a_database() {
    let mut web = Web::start(&["a", "hub", "c"], ORDERS, &GOATS).await;
    web.syncs(&["left: a hub ->", "right: hub c ->"]).await;
    for (place, name) in ["a", "hub", "c"].into_iter().enumerate() {
        web.on(name).run(&format!("INSERT INTO orders VALUES ({place}, '{name}')")).await;
    }
    web.settle().await;
    web.assert_same("orders").await;
    web.assert_silent().await;
    web.on("c").run("UPDATE orders SET note = 'c again'; DELETE FROM orders WHERE id = 0").await;
    web.settle().await;
    web.assert_same("orders").await;
    web.assert_silent().await;

    let mut web = Web::start(&["a", "hub", "c"], ORDERS, &GOATS).await;
    web.plain_sync("left: a hub ->").await;
    web.plain_sync("right: hub c ->").await;
    web.on("a").run("INSERT INTO orders VALUES (1, 'a')").await;
    web.on("c").run("INSERT INTO orders VALUES (2, 'c')").await;
    web.settle().await;
    assert_eq!(web.on("hub").rows("SELECT id FROM orders ORDER BY 1").await, ["1", "2"]);
    assert_eq!(web.on("c").rows("SELECT id FROM orders").await, ["2"]);
    let behind = "SELECT count(*) FROM bucardo.delta_public_orders AS d, bucardo.track AS t \
        WHERE NOT txid_visible_in_snapshot(d.txid, t.snapshot::txid_snapshot)";
    assert_eq!(web.on("hub").number(behind).await, 0);
    web.assert_silent().await;
}

/// What two one-way syncs have brought to both sources of a merge was changed at one place only: that is no conflict, also
/// where one of them is late and has brought an older change, and nothing that is newer is lost.
#[tokio::test]
async fn a_change_that_came_two_ways_is_no_conflict() {
    let mut web = Web::start(&["a", "b", "c"], ORDERS, &GOATS).await;
    web.syncs(&["there: b -> a", "too: b -> c", "masters: a c ->"]).await;
    web.syncs[2].conflict_strategy = "bucardo_abort".to_owned();
    web.on("b").run("INSERT INTO orders SELECT n, 'b' FROM generate_series(1, 50) n").await;
    for (late, early) in [("there", "too"), ("too", "there")] {
        web.round(late).await.unwrap();
        web.on("b").run("UPDATE orders SET note = note || '!' WHERE id <= 20; DELETE FROM orders WHERE id = 50").await;
        web.round(early).await.unwrap();
        web.merge_all().await;
        web.assert_same("orders").await;
        web.settle().await;
        web.assert_same("orders").await;
    }
    // What was made on top of it is newer, whoever made it; at both it is a conflict as ever.
    web.on("a").run("UPDATE orders SET note = 'a' WHERE id = 1").await;
    web.settle().await;
    assert_eq!((web.on("c").value("SELECT note FROM orders WHERE id = 1").await, web.conflicts), ("a".to_owned(), 0));
    web.syncs[2].conflict_strategy = "bucardo_latest".to_owned();
    web.renew();
    web.on("b").run("UPDATE orders SET note = 'b' WHERE id = 2").await;
    web.round("there").await.unwrap();
    web.on("c").run("UPDATE orders SET note = 'c' WHERE id = 2").await;
    web.merge_all().await;
    assert_eq!((web.on("a").value("SELECT note FROM orders WHERE id = 2").await, web.conflicts), ("c".to_owned(), 1));
}

/// Three merges in a ring: what each brings on to the next is no conflict where both ways meet.
#[tokio::test]
async fn merges_in_a_ring_have_no_conflicts_of_their_own_making() {
    let mut web = Web::start(&["a", "b", "c"], ORDERS, &GOATS).await;
    web.syncs(&["one: a b ->", "two: b c ->", "three: c a ->"]).await;
    for (place, name) in ["a", "b", "c"].into_iter().enumerate() {
        let ids = format!("generate_series({place} * 100 + 1, {place} * 100 + 40) AS n");
        web.on(name).run(&format!("INSERT INTO orders SELECT n, '{name}' FROM {ids}")).await;
    }
    web.settle().await;
    web.on("b").run("UPDATE orders SET note = note || '!' WHERE id % 2 = 0; DELETE FROM orders WHERE id = 7").await;
    web.settle().await;
    web.assert_same("orders").await;
    assert_eq!(web.on("c").number("SELECT count(*) FROM orders WHERE note LIKE '%!'").await, 60);
    web.assert_silent().await;
    assert_eq!(web.conflicts, 0);
}
