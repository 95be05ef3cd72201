//! A target that follows one of several sources, and what it thereby knows of the others. The merges are played by SQL:
//! what counts here is what they leave behind.

use std::sync::Arc;

use bucardo::catalog::Role;
use bucardo::engine::PairSession;
use bucardo_actors::model::{Fault, Pair, Reason, RoundReport};
use bucardo_actors::ports::{Rounds, Watch};

use crate::support::SyncLab;
use crate::support::sync_lab::member;

const ORDERS: &str = "CREATE TABLE orders (id int PRIMARY KEY, note text)";

/// Sources `a` and `b`, and the target `t`.
async fn lab() -> SyncLab {
    let mut lab = SyncLab::empty(&["b", "t"], ORDERS, &["orders:id"]).await;
    lab.sync.members[1].role = Role::Source;
    lab.validate().await.unwrap();
    lab
}

async fn follow(lab: &SyncLab, source: &str) -> Result<RoundReport, Fault> {
    let pair = Pair { sync: lab.sync.name.clone(), source: source.into(), target: "t".into() };
    PairSession::new(Arc::new(lab.sync.clone()), pair).round(Reason::Request, Watch::default()).await
}

/// How far `reader` has read `source`.
async fn position(lab: &SyncLab, reader: &str, source: &str) -> String {
    lab.on(reader).value(&format!("SELECT snapshot FROM bucardo.position WHERE source = '{source}'")).await
}

/// `reader` has merged everything that `source` has; its rows are left to the caller.
async fn merged(lab: &SyncLab, reader: &str, source: &str) -> String {
    let now = lab.on(source).value("SELECT txid_current_snapshot()").await;
    lab.on(reader).run(&format!("UPDATE bucardo.position SET snapshot = '{now}' WHERE source = '{source}'")).await;
    now
}

/// Writes as a merge does: not captured.
async fn write_merged(lab: &SyncLab, db: &str, sql: &str) {
    lab.on(db).run(&format!("BEGIN; SET LOCAL session_replication_role = replica; {sql}; COMMIT")).await;
}

#[tokio::test]
async fn what_the_followed_source_has_merged_is_read_from_the_other_too() {
    let lab = lab().await;
    lab.on("b").run("INSERT INTO orders VALUES (1, 'from b')").await;
    let before = position(&lab, "t", "b").await;
    // The merge's rows and its position arrive together, and only when they have committed.
    let merge = lab.on("a").session().await;
    let now = lab.on("b").value("SELECT txid_current_snapshot()").await;
    let sql = format!(
        "BEGIN; SET LOCAL session_replication_role = replica; INSERT INTO orders VALUES (1, 'from b');
         INSERT INTO bucardo.delta_public_orders (id, origin) VALUES (1, 's b 0');
         UPDATE bucardo.position SET snapshot = '{now}' WHERE source = 'b'"
    );
    merge.batch_execute(&sql).await.unwrap();
    assert!(follow(&lab, "a").await.unwrap().is_empty());
    assert_eq!(position(&lab, "t", "b").await, before);
    merge.batch_execute("COMMIT").await.unwrap();
    assert_eq!(follow(&lab, "a").await.unwrap().inserts, 1);
    assert_eq!(position(&lab, "t", "b").await, now);
    assert!(follow(&lab, "b").await.unwrap().is_empty(), "b has nothing new for it");
    lab.assert_same().await;
}

/// Also when the merge had nothing to write: the other source need not keep its changes for ever.
#[tokio::test]
async fn positions_move_on_without_rows() {
    let lab = lab().await;
    let now = merged(&lab, "a", "b").await;
    assert!(follow(&lab, "a").await.unwrap().is_empty());
    assert_eq!(position(&lab, "t", "b").await, now);
    // An idle round writes nothing.
    let idle = "SELECT round || ' ' || xmin FROM bucardo.position WHERE source = 'b'";
    let before = lab.on("t").value(idle).await;
    assert!(follow(&lab, "a").await.unwrap().is_empty());
    assert_eq!(lab.on("t").value(idle).await, before);
}

/// The target reads a row at `b`, then an older one of the same key at `a`, which knows nothing of `b`'s yet; then `a`
/// is gone for good. At `b` the key is unread again, or the target would keep what lost.
#[tokio::test]
async fn an_older_row_of_another_source_does_not_stay() {
    let lab = lab().await;
    lab.on("a").run("INSERT INTO orders VALUES (1, 'older')").await;
    lab.on("b").run("INSERT INTO orders VALUES (1, 'newer')").await;
    assert_eq!(follow(&lab, "b").await.unwrap().inserts, 1);
    assert_eq!(follow(&lab, "a").await.unwrap().inserts, 1);
    assert_eq!(lab.on("t").value("SELECT note FROM orders").await, "older");
    // The merge of the two: b's row wins, and b lacks nothing.
    write_merged(&lab, "a", "UPDATE orders SET note = 'newer'").await;
    assert_eq!(follow(&lab, "b").await.unwrap().inserts, 1);
    lab.assert_same().await;
}

/// A round that takes a part of a backlog has read less than what its source says of the others, and may have brought
/// older rows all the same.
#[tokio::test]
async fn a_part_of_a_backlog_believes_nothing_new() {
    let mut lab = lab().await;
    for id in 1..=4 {
        lab.on("a").run(&format!("INSERT INTO orders VALUES ({id}, 'from a')")).await;
        lab.on("b").run(&format!("INSERT INTO orders VALUES ({}, 'from b')", id + 10)).await;
    }
    lab.sync.batch_rows_max = 2;
    let before = position(&lab, "t", "b").await;
    let now = merged(&lab, "a", "b").await;
    assert!(follow(&lab, "a").await.unwrap().more);
    assert_eq!(position(&lab, "t", "b").await, before);
    while follow(&lab, "a").await.unwrap().more {}
    assert_eq!(position(&lab, "t", "b").await, now);
}

/// The rounds themselves put a target in that was away when the sync was validated, and tell why they cannot.
#[tokio::test]
async fn a_target_that_was_away_is_put_in_by_its_round() {
    let mut lab = SyncLab::empty(&["b", "t"], ORDERS, &["orders:id"]).await;
    lab.sync.members[1].role = Role::Source;
    let away = member("t", &lab.on("t").words_through(1), Role::Target);
    let there = std::mem::replace(&mut lab.sync.members[2], away);
    lab.validate().await.unwrap();
    lab.on("a").run("INSERT INTO orders VALUES (1, 'meanwhile')").await;
    lab.sync.members[2] = there;
    lab.on("t").run("ALTER TABLE orders DROP COLUMN note").await;
    let fault = follow(&lab, "a").await.unwrap_err();
    assert!(fault.message.contains("putting database \"t\" into the sync failed"), "{fault:?}");
    assert!(fault.message.contains("column \"note\" is missing"), "{fault:?}");
    lab.on("t").run("ALTER TABLE orders ADD COLUMN note text").await;
    assert_eq!(follow(&lab, "a").await.unwrap().inserts, 1);
    lab.on("a").run("UPDATE orders SET note = 'later'").await;
    assert_eq!(follow(&lab, "a").await.unwrap().inserts, 1);
    let tracks = "SELECT round FROM bucardo.track WHERE target = 't'";
    assert_eq!((lab.on("a").number(tracks).await, lab.on("b").number(tracks).await), (2, 0));
}
