//! Merges in the situations that lose or repeat changes in simpler designs.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bucardo::catalog::{LockMode, Role, migrate};
use bucardo::engine::merge::MergeSession;
use bucardo_actors::model::{Fault, Reason};
use bucardo_actors::ports::{Rounds, StepHook, Watch};
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
        assert_eq!(lab.on(name).value("SELECT count(*) FROM bucardo.conflict_kept").await, "0");
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

/// A large merge does not read what is too old to count. The time of a transaction is that of its beginning: what it wrote
/// on top of newer versions needs these, however old it looks.
#[tokio::test]
async fn an_old_transaction_that_wrote_late_comes_after_what_it_saw() {
    let mut lab = lab(&["a", "b"]).await;
    lab.on("a").run("INSERT INTO orders SELECT n, 'first' FROM generate_series(1, 6000) n").await;
    lab.settle().await;
    let old = lab.on("b").session().await;
    old.batch_execute("BEGIN; SELECT txid_current()").await.unwrap();
    lab.on("a").run("UPDATE orders SET note = 'second'").await;
    lab.settle().await;
    old.batch_execute("UPDATE orders SET note = 'old' WHERE id IN (7, 8)").await.unwrap();
    old.batch_execute("COMMIT").await.unwrap();
    lab.on("a").run("UPDATE orders SET note = 'third' WHERE id BETWEEN 8 AND 4000").await;
    lab.on("b").run("UPDATE orders SET note = 'b' WHERE id > 3500").await;
    let report = lab.merge().await.unwrap();
    assert_eq!((report.keys, report.conflicts), (5994, 501));
    lab.assert_same().await;
    let notes = "SELECT string_agg(note, ' ' ORDER BY id) FROM orders WHERE id IN (6, 7, 8, 9, 3501)";
    assert_eq!(lab.on("a").value(notes).await, "second old third third b");
    let newer = "SELECT ((SELECT max(txntime) FROM bucardo.delta_public_orders WHERE id = 7)
                       > (SELECT max(txntime) FROM bucardo.delta_public_orders WHERE id = 6))::text";
    assert_eq!(lab.on("a").value(newer).await, "true");
    assert_eq!(lab.settle().await, 0);
}

/// A transaction that was in progress when a large merge took its snapshots, and ends soon after, makes no merge start over.
#[tokio::test]
async fn a_large_merge_lets_writers_end() {
    let mut lab = lab(&["a", "b"]).await;
    lab.on("a").run("INSERT INTO orders SELECT n, 'a' FROM generate_series(1, 3000) n").await;
    lab.settle().await;
    lab.on("a").run("UPDATE orders SET note = 'more'").await;
    let other = lab.on("b").session().await;
    other.batch_execute("BEGIN; UPDATE orders SET note = 'b' WHERE id = 7").await.unwrap();
    let (other, ruled) = (Arc::new(other), Arc::new(AtomicU32::new(0)));
    let (writer, count) = (other.clone(), ruled.clone());
    let hook: StepHook = Arc::new(move |step: &str| {
        let (is_late, writer) = (step.starts_with("snapshot taken"), writer.clone());
        count.fetch_add(u32::from(step.starts_with("keys read")), Ordering::Relaxed);
        async move {
            if is_late {
                writer.batch_execute("COMMIT").await.unwrap();
            }
            Ok(())
        }
        .boxed()
    });
    let report = lab.merge_watched(Watch::default().with_hook(hook)).await.unwrap();
    assert_eq!((report.keys, report.conflicts, ruled.load(Ordering::Relaxed)), (3000, 1, 1));
    lab.settle().await;
    lab.assert_same().await;
}

/// Rows of several winners go to several receivers at once, among them a row that is wider than what is sent in one piece.
#[tokio::test]
async fn many_rows_of_three_go_all_ways() {
    let mut lab = lab(&["a", "b", "c"]).await;
    lab.on("a").run("INSERT INTO orders SELECT n, 'first' FROM generate_series(1, 9000) n").await;
    lab.settle().await;
    for (name, from, to) in [("a", 1, 4000), ("b", 3001, 6500), ("c", 6001, 9000)] {
        lab.on(name).run(&format!("UPDATE orders SET note = '{name}' WHERE id BETWEEN {from} AND {to}")).await;
        lab.on(name).run(&format!("UPDATE orders SET note = repeat('{name}', 200000) WHERE id = {from} + 10")).await;
    }
    lab.on("c").run("DELETE FROM orders WHERE id > 8000").await;
    let report = lab.merge().await.unwrap();
    assert_eq!((report.keys, report.conflicts), (9000, 1500));
    lab.assert_same().await;
    let counted =
        "SELECT count(*) FILTER (WHERE note = 'a') || ' ' || count(*) FILTER (WHERE length(note) = 200000) FROM orders";
    assert_eq!(lab.on("b").value(counted).await, "2999 3");
    assert_eq!(lab.settle().await, 0);
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

/// The merge may hold the tables for itself (`lock_table_force`): where keys are compared nobody asks for them.
#[tokio::test]
async fn keys_are_compared_while_the_tables_are_locked() {
    let ddl = "CREATE EXTENSION citext SCHEMA public; CREATE DOMAIN price AS numeric(6,2) CHECK (VALUE < 1000);
        CREATE COLLATION \"any \"\"case\" (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
        CREATE TABLE n (id numeric PRIMARY KEY, note text); CREATE TABLE d (id price PRIMARY KEY, note text);
        CREATE TABLE c (id citext, x char(4), note text, PRIMARY KEY (id, x));
        CREATE TABLE w (id text COLLATE \"any \"\"case\" PRIMARY KEY, note text)";
    let mut lab = SyncLab::masters(&["a", "b"], &[], ddl, &["n:id", "d:id", "c:id,x", "w:id"]).await;
    lab.sync.lock = Some(LockMode::AccessExclusive);
    lab.on("a").run("INSERT INTO n VALUES (1.0, 'a'), (2, 'a'); INSERT INTO d VALUES (1.5, 'a'), (2, 'a')").await;
    lab.on("a").run("INSERT INTO c VALUES ('One', 'x', 'a'); INSERT INTO w VALUES ('One', 'a'), ('Two', 'a')").await;
    lab.on("b").run("INSERT INTO n VALUES (1.00, 'b'), (3, 'b'); INSERT INTO d VALUES (1.50, 'b'), (3, 'b')").await;
    lab.on("b").run("INSERT INTO c VALUES ('ONE', 'x', 'b'); INSERT INTO w VALUES ('ONE', 'b')").await;
    let report = lab.merge().await.unwrap();
    assert!(report.away.is_empty(), "{report:?}");
    assert_eq!((report.keys, report.conflicts), (9, 4));
    lab.assert_same().await;
    assert_eq!(lab.settle().await, 0);
}

/// Where such keys are compared is a third session. It asks for no lock of the table: whoever wants that for itself waits
/// for the merge, and would be waited for, for ever, as no server sees that the merge waits for that session.
#[tokio::test]
async fn comparing_keys_waits_for_nobody() {
    let ddl = "CREATE TABLE n (id numeric PRIMARY KEY, note text)";
    let mut lab = SyncLab::masters(&["a", "b"], &[], ddl, &["n:id"]).await;
    lab.on("a").run("INSERT INTO n VALUES (1.0, 'a')").await;
    lab.on("b").run("INSERT INTO n VALUES (1.00, 'b')").await;
    let (wants, looks) = (Arc::new(lab.on("a").session().await), Arc::new(lab.on("a").session().await));
    let hits = Arc::new(AtomicU32::new(0));
    let hook: StepHook = Arc::new(move |at: &str| {
        let is_first = at.starts_with("keys read") && hits.fetch_add(1, Ordering::Relaxed) == 0;
        let (wants, looks) = (wants.clone(), looks.clone());
        async move {
            if is_first {
                tokio::spawn(async move { wants.batch_execute("BEGIN; LOCK TABLE n; COMMIT").await.unwrap() });
                // Ends with the merge's own time limit at the latest.
                let waiting = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND NOT granted";
                while looks.query_one(waiting, &[]).await.unwrap().get::<_, i64>(0) == 0 {}
            }
            Ok(())
        }
        .boxed()
    });
    let merged = lab.merge_watched(Watch::default().with_hook(hook));
    let report = tokio::time::timeout(Duration::from_secs(30), merged).await.expect("a merge that ends").unwrap();
    assert!(report.away.is_empty(), "{report:?}");
    assert_eq!(report.conflicts, 1);
    lab.assert_same().await;
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
    // The same row on both sides is no conflict.
    for db in ["a", "b"] {
        lab.on(db).run("UPDATE orders SET note = 'alike' WHERE id = 1; INSERT INTO orders VALUES (9, NULL)").await;
    }
    assert_eq!(lab.merge().await.unwrap().conflicts, 0);
    lab.assert_same().await;
    lab.on("a").run("UPDATE orders SET note = 'x' WHERE id = 1").await;
    lab.on("b").run("UPDATE orders SET note = 'y' WHERE id = 1").await;
    let fault = lab.merge().await.unwrap_err();
    assert!(fault.message.contains("id=1"), "{fault}");
    assert!(fault.hint.is_some_and(|hint| hint.contains("bucardo update sync s conflict_strategy=")));
    // Where the table's own word decides, another one of the sync would change nothing.
    lab.sync.goats[0].conflict_strategy = Some("bucardo_abort".to_owned());
    lab.renew();
    let fault = lab.merge().await.unwrap_err();
    assert!(fault.hint.is_some_and(|hint| hint.contains("bucardo update table public.orders conflict_strategy=")));
    lab.sync.goats[0].conflict_strategy = None;
    lab.sync.conflict_strategy = "bucardo_latest".to_owned();
    lab.renew();
    lab.settle().await;
    lab.assert_same().await;
    // It is not kept as one either, whatever the strategy.
    let told = lab.conflicts.all().len();
    for db in ["a", "b"] {
        lab.on(db).run("DELETE FROM orders WHERE id = 9; UPDATE orders SET note = 'again' WHERE id < 3").await;
    }
    assert_eq!((lab.merge().await.unwrap().conflicts, lab.conflicts.all().len()), (0, told));
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

/// A copy of empty tables takes nothing past the merges: what waits for the filled ones meets what the others have, is
/// ruled on, and leaves its versions. Nor does it take a sequence back.
#[tokio::test]
async fn a_copy_of_empty_tables_leaves_the_rest_to_merges() {
    let ddl = format!("{ORDERS}; CREATE TABLE bare (id int PRIMARY KEY); CREATE SEQUENCE numbers");
    for bytes in [i64::MAX, 0] {
        let mut lab = SyncLab::masters(&["a", "b"], &[], &ddl, &["orders:id", "bare:id", "numbers"]).await;
        lab.sync.copy.atomic_bytes = bytes;
        lab.on("a").run("INSERT INTO orders VALUES (1, 'old'), (2, 'old'), (3, 'old')").await;
        lab.settle().await;
        let bare =
            "SET session_replication_role = replica; INSERT INTO bare VALUES (7); RESET session_replication_role";
        lab.on("a").run(bare).await;
        lab.on("a").run("UPDATE orders SET note = 'a' WHERE id < 3; SELECT setval('numbers', 10)").await;
        lab.on("b").run("UPDATE orders SET note = 'b' WHERE id = 1; SELECT setval('numbers', 50)").await;
        (lab.sync.onetimecopy, lab.sync.copy_request) = (2, 1);
        lab.renew();
        let report = lab.merge().await.unwrap();
        assert!(report.copied && report.quarantined.is_empty(), "{report:?}");
        assert_eq!(lab.on("b").rows("SELECT id FROM bare").await, ["7"]);
        assert_eq!(lab.on("b").rows("SELECT note FROM orders ORDER BY id").await, ["b", "old", "old"]);
        assert_eq!(lab.merge().await.unwrap().conflicts, 1);
        lab.settle().await;
        for db in ["a", "b"] {
            assert_eq!(lab.on(db).rows("SELECT note FROM orders ORDER BY id").await, ["b", "a", "old"], "{db}");
            assert_eq!(lab.on(db).number("SELECT last_value FROM numbers").await, 50, "{db}");
            let kept = "SELECT (SELECT count(*) FROM bucardo.quarantine) + (SELECT count(*) FROM bucardo.quarantined)";
            assert_eq!(lab.on(db).number(kept).await, 0, "{db}");
        }
        let told = "SELECT count(*) FROM bucardo.delta_public_orders WHERE id = 2 AND origin IS NOT NULL";
        assert_eq!(lab.on("b").number(told).await, 2, "whoever follows b hears of both changes at a");
        lab.assert_same().await;
    }
}

/// A merge that fails while a source is sending does not wait for the rest, nor does the next one.
#[tokio::test]
async fn a_failed_merge_does_not_wait_for_what_nobody_wants() {
    let ddl = "CREATE TABLE wide (id int, pad text, note text, PRIMARY KEY (id, pad))";
    let mut lab = SyncLab::masters(&["a", "b"], &[], ddl, &["wide:id,pad"]).await;
    lab.sync.conflict_strategy = "bucardo_abort".to_owned();
    // Its log takes half a minute on a slow network; the first key of it is a conflict.
    for db in ["a", "b"] {
        lab.on(db)
            .run(&format!("INSERT INTO wide SELECT n, repeat('x', 1200), '{db}' FROM generate_series(1, 20000) n"))
            .await;
    }
    let proxy = Arc::new(Proxy::to(lab.on("a").port).await);
    lab.sync.members[0] = member("a", &lab.on("a").words_through(proxy.port()), Role::Source);
    let mut session = MergeSession::new(Arc::new(lab.sync.clone()), Arc::new(lab.conflicts.clone()));
    let hook: StepHook = Arc::new(move |at: &str| {
        if at.starts_with("keys read") {
            proxy.slow();
        } else {
            proxy.open();
        }
        async { Ok(()) }.boxed()
    });
    for _ in 0..2 {
        let merged = session.round(Reason::Request, Watch::default().with_hook(hook.clone()));
        let merged = tokio::time::timeout(Duration::from_secs(12), merged).await.expect("it does not wait");
        assert!(merged.unwrap_err().message.contains("the strategy is to abort"));
    }
}

/// A local change, or a row of the same key, that commits after the merge has read: the server refuses what the merge
/// writes, and the same round starts over and finds it.
#[tokio::test]
async fn a_merge_that_clashes_with_a_local_change_starts_over() {
    for (local, id, refused) in [
        ("UPDATE orders SET note = 'b' WHERE id = 1", 1, "could not serialize"),
        ("INSERT INTO orders VALUES (2, 'b')", 2, "duplicate key"),
    ] {
        let mut lab = lab(&["a", "b"]).await;
        lab.on("a").run("INSERT INTO orders VALUES (1, 'first')").await;
        lab.settle().await;
        lab.on("a").run("UPDATE orders SET note = 'a' WHERE id = 1; INSERT INTO orders VALUES (2, 'a')").await;
        let (session, reads) = (Arc::new(lab.on("b").session().await), Arc::new(AtomicU32::new(0)));
        let counted = reads.clone();
        let hook: StepHook = Arc::new(move |at: &str| {
            let is_first = at.starts_with("keys read") && counted.fetch_add(1, Ordering::Relaxed) == 0;
            let session = session.clone();
            async move {
                if is_first {
                    session.batch_execute(local).await.unwrap();
                }
                Ok(())
            }
            .boxed()
        });
        let report = lab.merge_watched(Watch::default().with_hook(hook)).await.unwrap();
        assert_eq!((reads.load(Ordering::Relaxed), report.conflicts, report.away.len()), (2, 1, 0), "{refused}");
        lab.assert_same().await;
        assert_eq!(lab.on("a").value(&format!("SELECT note FROM orders WHERE id = {id}")).await, "b", "{refused}");
    }
}

/// An application and a merge hold rows of two tables that the other one wants: the server ends the merge, which lets the
/// application finish, starts over after a pause, and finds what it wrote.
#[tokio::test]
async fn a_merge_that_meets_a_deadlock_starts_over() {
    let ddl = "CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE u (id int PRIMARY KEY, v text)";
    let mut lab = SyncLab::masters(&["a", "b"], &[], ddl, &["t:id", "u:id"]).await;
    for db in ["a", "b"] {
        // The merge is the one that looks for a deadlock first.
        let limit = "ALTER DATABASE \"{}\" SET deadlock_timeout = '50ms'".replace("{}", &lab.on(db).name);
        lab.on(db).run(&limit).await;
    }
    lab.on("a").run("INSERT INTO t VALUES (1, 'first'); INSERT INTO u VALUES (1, 'first')").await;
    lab.settle().await;
    lab.renew();
    lab.on("a").run("UPDATE t SET v = 'a'; UPDATE u SET v = 'a'").await;
    let local = Arc::new(lab.on("b").session().await);
    local.batch_execute("SET deadlock_timeout = '60s'; BEGIN; UPDATE u SET v = 'b'").await.unwrap();
    let pid: i32 = local.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    let blocked = Arc::new(lab.on("b").session().await);
    let (waits, tries) = (Arc::new(Mutex::new(None)), Arc::new(AtomicU32::new(0)));
    let (waiting, tried) = (waits.clone(), tries.clone());
    let hook: StepHook = Arc::new(move |at: &str| {
        // Its row of t is deleted: the application wants it, and the merge goes on to that of u.
        let is_first = at.starts_with("rows deleted of public.t") && tried.fetch_add(1, Ordering::Relaxed) == 0;
        if is_first {
            let local = local.clone();
            let wants = async move { local.batch_execute("UPDATE t SET v = 'b'; COMMIT").await };
            *waiting.lock().unwrap() = Some(tokio::spawn(wants));
        }
        let blocked = blocked.clone();
        async move {
            while is_first
                && blocked
                    .query("SELECT FROM pg_locks WHERE NOT granted AND pid = $1", &[&pid])
                    .await
                    .unwrap()
                    .is_empty()
            {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Ok(())
        }
        .boxed()
    });
    let report = lab.merge_watched(Watch::default().with_hook(hook)).await.unwrap();
    let wants = waits.lock().unwrap().take().expect("the merge deleted a row of t");
    wants.await.unwrap().expect("the application was let through");
    assert!(tries.load(Ordering::Relaxed) >= 2, "the merge started over");
    assert_eq!(report.away, [], "the source was not left out for it");
    lab.settle().await;
    lab.assert_same().await;
    assert_eq!(lab.on("a").rows("SELECT v FROM t UNION ALL SELECT v FROM u").await, ["b", "b"]);
    assert_eq!(lab.conflicts.all().len(), 2);
}

/// The only database that a strategy names wins also where others are in conflict.
#[tokio::test]
async fn a_single_name_wins_every_conflict() {
    let mut lab = lab(&["a", "b", "c"]).await;
    lab.on("a").run("INSERT INTO orders VALUES (1, 'a'), (2, 'a')").await;
    lab.settle().await;
    lab.sync.conflict_strategy = "a".to_owned();
    lab.renew();
    lab.on("b").run("UPDATE orders SET note = 'b'").await;
    lab.on("c").run("UPDATE orders SET note = 'c' WHERE id = 1").await;
    assert_eq!(lab.merge().await.unwrap().conflicts, 1);
    lab.settle().await;
    lab.assert_same().await;
    assert_eq!(lab.on("c").rows("SELECT note FROM orders ORDER BY id").await, ["a", "b"]);
    assert_eq!(lab.conflicts.all()[0].winner.as_str(), "a");
}

/// What the manual says of sources that are away at different times: a decision that a source knows only through another
/// one is a rival once more, unless the newest change wins. All end equal; the history tells of one conflict more.
#[tokio::test]
async fn sources_that_are_away_in_turn_decide_a_conflict_twice() {
    for (strategy, winner, expected) in [("a c b", "a", [1, 2, 3]), ("bucardo_latest", "c", [1, 2, 2])] {
        let mut lab = lab(&["a", "b", "c"]).await;
        lab.on("a").run("INSERT INTO orders VALUES (1, 'first'), (2, 'first')").await;
        lab.settle().await;
        lab.sync.conflict_strategy = strategy.to_owned();
        let members = lab.sync.members.clone();
        let mut conflicts = Vec::new();
        for (away, change) in [("c", ["a", "b"].as_slice()), ("a", &["c"]), ("b", &[])] {
            for db in change {
                lab.on(db).run(&format!("UPDATE orders SET note = '{db}' WHERE id = 1")).await;
            }
            if away == "c" {
                lab.on("b").run("UPDATE orders SET note = 'only b' WHERE id = 2").await;
            }
            let place = members.iter().position(|member| member.db.name.as_str() == away).unwrap();
            lab.sync.members.clone_from(&members);
            lab.sync.members[place] = member(away, &lab.on(away).words_through(1), Role::Source);
            lab.renew();
            lab.settle().await;
            conflicts.push(lab.conflicts.all().len());
        }
        lab.sync.members.clone_from(&members);
        lab.renew();
        lab.settle().await;
        lab.assert_same().await;
        assert_eq!(conflicts, expected, "{strategy}");
        let rows = lab.on("b").rows("SELECT note FROM orders ORDER BY id").await;
        assert_eq!(rows, [winner, "only b"], "{strategy}");
    }
}

/// The catalog may be in the database of a source, and has a table of conflicts of its own. One that was installed when
/// both had the same name is brought up to date.
#[tokio::test]
async fn a_source_may_hold_the_catalog() {
    let mut lab = SyncLab::empty(&["b"], "CREATE TABLE orders (id int PRIMARY KEY, note text)", &["orders:id"]).await;
    migrate::migrate(&mut lab.on("a").session().await).await.unwrap();
    lab.sync.members.iter_mut().for_each(|member| member.role = Role::Source);
    lab.validate().await.unwrap();
    lab.on("b")
        .run(
            "ALTER TABLE bucardo.conflict_kept RENAME TO conflict; \
             ALTER INDEX bucardo.conflict_kept_pkey RENAME TO conflict_pkey",
        )
        .await;
    lab.validate().await.unwrap();
    for name in ["a", "b"] {
        lab.on(name).run(&format!("INSERT INTO orders VALUES (1, '{name}')")).await;
    }
    lab.settle().await;
    lab.assert_same().await;
    assert_eq!(lab.conflicts.all().len(), 1);
}
