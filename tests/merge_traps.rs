//! Merges in the situations that lose or repeat changes in simpler designs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bucardo::catalog::Role;
use bucardo_actors::model::Fault;
use bucardo_actors::ports::{StepHook, Watch};
use futures_util::FutureExt;

use crate::support::sync_lab::member;
use crate::support::{Proxy, SyncLab, wait};

const ORDERS: &str = "CREATE TABLE orders (id int PRIMARY KEY, note text)";

async fn lab(sources: &[&str]) -> SyncLab {
    SyncLab::masters(sources, &[], ORDERS, &["orders:id"]).await
}

/// Fails the first time that the round gets to `step`.
pub(crate) fn failing_once(step: &str) -> (Watch, Arc<AtomicU32>) {
    let step = step.to_owned();
    let hits = Arc::new(AtomicU32::new(0));
    let count = hits.clone();
    let hook: StepHook = Arc::new(move |at: &str| {
        let fails = at.starts_with(&step) && count.fetch_add(1, Ordering::Relaxed) == 0;
        let text = at.to_owned();
        async move { if fails { Err(Fault::transient(format!("the power fails: {text}"))) } else { Ok(()) } }.boxed()
    });
    (Watch::default().with_hook(hook), hits)
}

/// The power fails at every step, also when some sources have committed and others have not: the next merges bring
/// what is missing, no conflict is told twice, and then there is silence.
#[tokio::test]
async fn death_at_every_step_loses_nothing() {
    let mut lab = lab(&["a", "b", "c"]).await;
    lab.on("a").run("INSERT INTO orders SELECT n, '' FROM generate_series(1, 50) n").await;
    lab.settle().await;
    let steps = [
        "connected",
        "snapshot taken",
        "keys read of public.orders",
        "rows deleted of public.orders",
        "rows copied of public.orders",
        "position written",
        "committed on a",
        "committed on b",
        "committed on c",
        "track written",
    ];
    for (number, step) in (1..).zip(steps) {
        lab.on("a").run(&format!("UPDATE orders SET note = 'a{number}' WHERE id <= 3")).await;
        lab.on("b").run(&format!("UPDATE orders SET note = 'b{number}' WHERE id BETWEEN 3 AND 5")).await;
        lab.on("c").run(&format!("DELETE FROM orders WHERE id = 10 + {number}")).await;
        lab.on("c").run(&format!("INSERT INTO orders VALUES (100 + {number}, 'c')")).await;
        let (watch, hits) = failing_once(step);
        lab.merge_watched(watch).await.unwrap_err();
        assert_eq!(hits.load(Ordering::Relaxed), 1, "{step}");
        lab.settle().await;
        lab.assert_same().await;
        assert_eq!(lab.on("a").value("SELECT note FROM orders WHERE id = 3").await, format!("b{number}"), "{step}");
        assert_eq!(lab.conflicts.all().len(), number, "{step}");
    }
    for name in ["a", "b", "c"] {
        assert_eq!(lab.on(name).value("SELECT count(*) FROM bucardo.conflict").await, "0");
    }
}

/// A change that was under way while a merge ran, and whose clock is older than what the merge wrote, is not masked.
#[tokio::test]
async fn a_change_in_flight_is_newer_than_the_merge() {
    let mut lab = lab(&["a", "b"]).await;
    lab.on("a").run("INSERT INTO orders VALUES (1, 'first'), (2, 'first')").await;
    lab.settle().await;
    let other = lab.on("b").session().await;
    other.batch_execute("BEGIN; SELECT txid_current()").await.unwrap();
    lab.on("a").run("UPDATE orders SET note = 'a' WHERE id = 1").await;
    lab.merge().await.unwrap();
    // On top of what the merge wrote, in a transaction that began before it.
    other.batch_execute("UPDATE orders SET note = 'b after a' WHERE id = 1; COMMIT").await.unwrap();
    let report = lab.merge().await.unwrap();
    assert_eq!(report.conflicts, 0);
    assert_eq!(lab.on("a").value("SELECT note FROM orders WHERE id = 1").await, "b after a");
    lab.assert_same().await;
}

/// A row that a local transaction holds delays what goes there; the others have each other's changes meanwhile.
#[tokio::test]
async fn a_locked_row_keeps_back_only_its_own_database() {
    let mut lab = lab(&["a", "b", "c"]).await;
    lab.on("a").run("INSERT INTO orders VALUES (1, 'first'), (2, 'first')").await;
    lab.settle().await;
    lab.renew();
    let other = lab.on("b").session().await;
    other.batch_execute("BEGIN; SELECT FROM orders WHERE id = 1 FOR UPDATE").await.unwrap();
    lab.on("a").run("UPDATE orders SET note = 'a' WHERE id = 1").await;
    lab.on("b").run("UPDATE orders SET note = 'b' WHERE id = 2").await;
    let report = lab.merge().await.unwrap();
    assert_eq!(report.away.iter().map(|(db, _)| db.as_str()).collect::<Vec<_>>(), ["b"], "{report:?}");
    for (name, notes) in [("a", ["a", "b"]), ("b", ["first", "b"]), ("c", ["a", "b"])] {
        assert_eq!(lab.on(name).rows("SELECT note FROM orders ORDER BY id").await, notes, "at {name}");
    }
    other.batch_execute("COMMIT").await.unwrap();
    // In the same session, in which what was only read has rolled back whatever was made there.
    wait::until("b to take part again", Duration::from_secs(20), async || {
        let report = lab.merge().await.unwrap();
        assert!(report.away.iter().all(|(_, why)| !why.contains("does not exist")), "{report:?}");
        if report.away.is_empty() { Ok(()) } else { Err(report) }
    })
    .await;
    lab.settle().await;
    lab.assert_same().await;
}

/// More keys than travel one by one, in both directions at once.
#[tokio::test]
async fn many_keys_meet() {
    let mut lab = lab(&["a", "b"]).await;
    lab.on("a").run("INSERT INTO orders SELECT n, 'a' FROM generate_series(1, 6000) n").await;
    lab.settle().await;
    lab.on("a").run("UPDATE orders SET note = 'from a' WHERE id <= 4000").await;
    lab.on("b").run("UPDATE orders SET note = 'from b' WHERE id > 3500").await;
    lab.on("b").run("DELETE FROM orders WHERE id > 5500").await;
    let report = lab.merge().await.unwrap();
    assert_eq!((report.keys, report.conflicts), (6000, 500));
    lab.assert_same().await;
    assert_eq!(lab.on("a").value("SELECT count(*) FROM orders WHERE note = 'from b'").await, "2000");
    assert_eq!(lab.settle().await, 0);
    assert_eq!(lab.conflicts.all().len(), 500);
}

/// Keys whose equality is not that of their texts are one key: 1.0 and 1.00.
#[tokio::test]
async fn equal_keys_with_other_texts_are_one_key() {
    let ddl = "CREATE TABLE n (id numeric PRIMARY KEY, note text)";
    let mut lab = SyncLab::masters(&["a", "b"], &[], ddl, &["n:id"]).await;
    lab.on("a").run("INSERT INTO n VALUES (1.0, 'a'), (2, 'a')").await;
    lab.on("b").run("INSERT INTO n VALUES (1.00, 'b'), (3, 'b')").await;
    let report = lab.merge().await.unwrap();
    assert_eq!((report.keys, report.conflicts), (3, 1));
    lab.assert_same().await;
    lab.on("a").run("UPDATE n SET id = 1.000 WHERE id = 1").await;
    lab.settle().await;
    assert_eq!(lab.on("b").value("SELECT id FROM n WHERE id = 1").await, "1.000");
}

/// A truncate is a change of all keys at its time: what the other wrote before it goes, what it wrote later stays.
#[tokio::test]
async fn a_truncate_competes_with_changes_key_by_key() {
    let mut lab = lab(&["a", "b"]).await;
    lab.on("a").run("INSERT INTO orders SELECT n, 'old' FROM generate_series(1, 10) n").await;
    lab.settle().await;
    lab.on("b").run("UPDATE orders SET note = 'before' WHERE id = 1").await;
    lab.on("a").run("TRUNCATE orders").await;
    lab.on("a").run("INSERT INTO orders VALUES (20, 'a')").await;
    lab.on("b").run("UPDATE orders SET note = 'after' WHERE id = 2").await;
    let report = lab.merge().await.unwrap();
    assert_eq!(report.conflicts, 2, "{report:?}");
    lab.assert_same().await;
    assert_eq!(lab.on("a").rows("SELECT id || note FROM orders ORDER BY id").await, ["2after", "20a"]);
    lab.settle().await;
    lab.assert_same().await;
}

/// A source that was away meets what the others did meanwhile.
#[tokio::test]
async fn a_source_that_was_away_catches_up() {
    let mut lab = lab(&["a", "b", "c"]).await;
    lab.on("a").run("INSERT INTO orders SELECT n, 'old' FROM generate_series(1, 10) n").await;
    lab.settle().await;
    let place = lab.sync.members.iter().position(|member| member.db.name.as_str() == "c").unwrap();
    let there = lab.sync.members[place].clone();
    let away = lab.on("c").words_through(1);
    lab.sync.members[place] = member("c", &away, Role::Source);
    lab.renew();
    lab.on("a").run("UPDATE orders SET note = 'a' WHERE id IN (1, 2)").await;
    lab.on("b").run("UPDATE orders SET note = 'b' WHERE id IN (2, 3)").await;
    lab.on("c").run("UPDATE orders SET note = 'c' WHERE id IN (3, 4)").await;
    let report = lab.merge().await.unwrap();
    assert_eq!((report.keys, report.conflicts, report.away.len()), (3, 1, 1));
    assert_eq!(lab.on("a").rows("SELECT note FROM orders WHERE id < 5 ORDER BY id").await, ["a", "b", "b", "old"]);
    lab.sync.members[place] = there;
    lab.renew();
    let report = lab.merge().await.unwrap();
    assert_eq!((report.keys, report.conflicts), (4, 1), "{report:?}");
    lab.assert_same().await;
    assert_eq!(lab.on("a").rows("SELECT note FROM orders WHERE id < 5 ORDER BY id").await, ["a", "b", "c", "c"]);
    assert_eq!(lab.settle().await, 0);
}

/// Sequences are put where the one stands that is furthest along, downwards too.
#[tokio::test]
async fn the_furthest_sequence_counts() {
    let ddl = "CREATE SEQUENCE up; CREATE SEQUENCE down INCREMENT -1";
    let mut lab = SyncLab::masters(&["a", "b"], &[], ddl, &["up", "down"]).await;
    lab.on("a").run("SELECT nextval('up') FROM generate_series(1, 5)").await;
    lab.on("b").run("SELECT nextval('up'); SELECT nextval('down'); SELECT nextval('down')").await;
    lab.merge().await.unwrap();
    for name in ["a", "b"] {
        assert_eq!(lab.on(name).value("SELECT last_value FROM up").await, "5", "at {name}");
        assert_eq!(lab.on(name).value("SELECT last_value FROM down").await, "-2", "at {name}");
    }
}

/// Each strategy has its winner, and all databases are equal after it (but for skip, where each keeps its row).
#[tokio::test]
async fn every_strategy_has_its_winner() {
    for (strategy, winner) in [
        ("bucardo_source", "a"),
        ("target", "b"),
        ("bucardo_latest", "a"),
        ("b a", "b"),
        ("bucardo_latest_all_tables", "b"),
    ] {
        let ddl = format!("{ORDERS}; CREATE TABLE other (id int PRIMARY KEY)");
        let mut lab = SyncLab::masters(&["a", "b"], &[], &ddl, &["orders:id", "other:id"]).await;
        lab.sync.conflict_strategy = strategy.to_owned();
        lab.renew();
        lab.on("b").run("INSERT INTO orders VALUES (1, 'b')").await;
        lab.on("a").run("INSERT INTO orders VALUES (1, 'a')").await;
        lab.on("b").run("INSERT INTO other VALUES (7)").await;
        assert_eq!(lab.merge().await.unwrap().conflicts, 1, "{strategy}");
        lab.assert_same().await;
        assert_eq!(lab.on("a").value("SELECT note FROM orders").await, winner, "{strategy}");
        lab.settle().await;
        lab.assert_same().await;
        let told = lab.conflicts.all();
        assert_eq!((told.len(), told[0].winner.as_str()), (1, winner), "{strategy}");
    }
}

/// Skip leaves both rows as they are until the next change; abort stops the merge and names the key.
#[tokio::test]
async fn skip_leaves_and_abort_stops() {
    let mut lab = lab(&["a", "b"]).await;
    lab.sync.conflict_strategy = "bucardo_skip".to_owned();
    lab.renew();
    lab.on("a").run("INSERT INTO orders VALUES (1, 'a')").await;
    lab.on("b").run("INSERT INTO orders VALUES (1, 'b'), (2, 'b')").await;
    assert_eq!(lab.merge().await.unwrap().conflicts, 1);
    lab.settle().await;
    assert_eq!(lab.on("a").rows("SELECT note FROM orders ORDER BY id").await, ["a", "b"]);
    assert_eq!(lab.on("b").rows("SELECT note FROM orders ORDER BY id").await, ["b", "b"]);
    lab.on("a").run("UPDATE orders SET note = 'a2' WHERE id = 1").await;
    assert_eq!(lab.merge().await.unwrap().conflicts, 0);
    lab.assert_same().await;

    lab.sync.conflict_strategy = "bucardo_abort".to_owned();
    lab.renew();
    lab.on("a").run("UPDATE orders SET note = 'x' WHERE id = 1").await;
    lab.on("b").run("UPDATE orders SET note = 'y' WHERE id = 1").await;
    let fault = lab.merge().await.unwrap_err();
    assert!(fault.message.contains("id=1"), "{fault}");
    assert!(fault.hint.is_some_and(|hint| hint.contains("bucardo update sync s conflict_strategy=")));
    lab.sync.conflict_strategy = "bucardo_latest".to_owned();
    lab.renew();
    lab.settle().await;
    lab.assert_same().await;
}

/// `onetimecopy` brings the first source to the others, once, and what is written afterwards is merged.
#[tokio::test]
async fn the_first_source_is_copied_to_the_others() {
    let mut lab = lab(&["a", "b", "c"]).await;
    lab.on("a").run("SET session_replication_role = replica").await;
    lab.on("a").run("INSERT INTO orders SELECT n, 'old' FROM generate_series(1, 10) n").await;
    lab.on("a").run("SET session_replication_role = origin").await;
    assert!(lab.merge().await.unwrap().is_empty());
    (lab.sync.onetimecopy, lab.sync.copy_request) = (1, 1);
    lab.renew();
    let report = lab.merge().await.unwrap();
    assert!(report.copied && report.more, "{report:?}");
    lab.assert_same().await;
    lab.on("c").run("UPDATE orders SET note = 'c' WHERE id = 1").await;
    lab.on("a").run("DELETE FROM orders WHERE id = 2").await;
    lab.settle().await;
    lab.assert_same().await;
    assert_eq!(lab.on("b").value("SELECT count(*) FROM orders WHERE note = 'old'").await, "8");
}

/// A merge that fails while a source is sending rows does not wait for the rest of them.
#[tokio::test]
async fn a_failed_merge_does_not_wait_for_rows_that_nobody_wants() {
    let mut lab = lab(&["a", "b"]).await;
    lab.settle().await;
    lab.on("b")
        .run(
            "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''not today''; END';
             CREATE TRIGGER no BEFORE INSERT ON orders EXECUTE FUNCTION no(); ALTER TABLE orders ENABLE ALWAYS TRIGGER no",
        )
        .await;
    // A minute and more on this network.
    lab.on("a").run("INSERT INTO orders SELECT n, repeat('x', 1000) FROM generate_series(1, 60000) n").await;
    let proxy = Proxy::to(lab.on("a").port).await;
    lab.sync.members[0] = member("a", &lab.on("a").words_through(proxy.port()), Role::Source);
    lab.renew();
    let slow = Arc::new(proxy);
    let hook: StepHook = Arc::new(move |at: &str| {
        if at.starts_with("rows deleted") {
            slow.slow();
        }
        async { Ok(()) }.boxed()
    });
    let merged = lab.merge_watched(Watch::default().with_hook(hook));
    let report = tokio::time::timeout(Duration::from_secs(40), merged).await.expect("it does not wait").unwrap();
    assert!(report.quarantined.concat().contains("not today"), "{report:?}");
}
