//! Order of commits, backlogs, truncation, and time that runs backwards.

use std::sync::Arc;
use std::time::Duration;

use bucardo_actors::model::Failure;
use bucardo_actors::ports::{StepHook, Watch};
use futures_util::FutureExt;

use crate::support::{SyncLab, wait};

const ORDERS: &str = "CREATE TABLE orders (id int PRIMARY KEY, note text, code text UNIQUE)";

async fn lab() -> SyncLab {
    SyncLab::start(&["b"], ORDERS, &["orders:id"]).await
}

/// The fault of the Perl's txntime: a transaction that began first and commits last must not be passed over.
#[tokio::test]
async fn transactions_that_commit_in_another_order_lose_nothing() {
    let mut lab = lab().await;
    let (early, late) = (lab.on("a").session().await, lab.on("a").session().await);
    early.batch_execute("BEGIN; INSERT INTO orders VALUES (1, 'open for long')").await.unwrap();
    late.batch_execute("BEGIN; INSERT INTO orders VALUES (2, 'quick'); COMMIT").await.unwrap();
    assert_eq!(lab.drain("b").await, 1);
    late.batch_execute("BEGIN; UPDATE orders SET note = 'quicker' WHERE id = 2; COMMIT").await.unwrap();
    assert_eq!(lab.drain("b").await, 1);
    early
        .batch_execute("SAVEPOINT x; INSERT INTO orders VALUES (3, 'in a subtransaction'); RELEASE x; COMMIT")
        .await
        .unwrap();
    assert_eq!(lab.drain("b").await, 2);
    lab.assert_same().await;
}

/// A backlog over the limit is cut between transactions, in several rounds; an open transaction is not passed over.
#[tokio::test]
async fn a_long_backlog_is_cut_between_transactions() {
    let mut lab = lab().await;
    lab.sync.batch_rows_max = 1000;
    let open = lab.on("a").session().await;
    open.batch_execute("BEGIN; INSERT INTO orders VALUES (0, 'open')").await.unwrap();
    for batch in 0..10 {
        let (from, to) = (batch * 400 + 1, batch * 400 + 400);
        lab.on("a").run(&format!("INSERT INTO orders SELECT n FROM generate_series({from}, {to}) n")).await;
    }
    let mut seen = Vec::new();
    loop {
        let report = lab.round("b").await.unwrap();
        if report.is_empty() {
            break;
        }
        seen.push((report.inserts, report.more));
    }
    assert_eq!(seen, [(800, true), (800, true), (800, true), (800, true), (800, false)]);
    open.batch_execute("COMMIT").await.unwrap();
    assert_eq!(lab.drain("b").await, 1);
    lab.assert_same().await;
}

/// One transaction is never cut, however large it is.
#[tokio::test]
async fn one_large_transaction_stays_whole() {
    let mut lab = lab().await;
    lab.sync.batch_rows_max = 100;
    lab.on("a").run("INSERT INTO orders SELECT n FROM generate_series(1, 5000) n").await;
    lab.on("a").run("INSERT INTO orders SELECT n FROM generate_series(5001, 5050) n").await;
    let report = lab.round("b").await.unwrap();
    assert_eq!((report.inserts, report.more), (5000, true));
    assert_eq!(lab.round("b").await.unwrap().inserts, 50);
    lab.assert_same().await;
}

/// A unique value moves from one row to another across the cut: the rows are read as they are now, so the first part
/// alone would clash. The round then takes the backlog whole.
#[tokio::test]
async fn a_cut_that_clashes_is_taken_whole() {
    let mut lab = lab().await;
    lab.sync.batch_rows_max = 2000;
    lab.on("a").run("INSERT INTO orders VALUES (1, 'first', 'x'), (2, 'second', 'y')").await;
    lab.drain("b").await;
    lab.on("a").run("UPDATE orders SET note = 'touched' WHERE id = 1").await;
    lab.on("a").run("INSERT INTO orders SELECT n FROM generate_series(100, 2100) n").await;
    lab.on("a").run("UPDATE orders SET code = NULL WHERE id = 2; UPDATE orders SET code = 'y' WHERE id = 1").await;
    lab.drain("b").await;
    lab.assert_same().await;
}

/// Two rows exchange a unique value in one transaction: deleted first, written after, they do not meet.
#[tokio::test]
async fn exchanged_unique_values_do_not_clash() {
    let mut lab = lab().await;
    lab.on("a").run("INSERT INTO orders VALUES (1, '', 'x'), (2, '', 'y')").await;
    lab.drain("b").await;
    lab.on("a")
        .run("BEGIN; UPDATE orders SET code = NULL WHERE id = 1; UPDATE orders SET code = 'x' WHERE id = 2; UPDATE orders SET code = 'y' WHERE id = 1; COMMIT")
        .await;
    lab.drain("b").await;
    lab.assert_same().await;
}

/// A row on the target that nobody replicated stands in the way: constraint and value are named, the table waits for a
/// person and stays as it was on the target.
#[tokio::test]
async fn a_unique_clash_names_the_key() {
    let mut lab = lab().await;
    lab.on("b").run("INSERT INTO orders VALUES (77, 'local', 'x')").await;
    lab.on("a").run("INSERT INTO orders VALUES (1, 'new', 'x')").await;
    let said = lab.round("b").await.unwrap().quarantine_told().join(" ");
    assert!(said.contains("public.orders") && said.contains("(code)=(x)"), "{said}");
    assert_eq!(lab.on("b").rows("SELECT id FROM orders").await, ["77"]);
    lab.on("b").run("DELETE FROM orders WHERE id = 77").await;
    lab.drain("b").await;
    lab.assert_same().await;
}

/// TRUNCATE travels, with rows written before and after it, in one batch and across batches.
#[tokio::test]
async fn truncate_travels() {
    let mut lab = lab().await;
    lab.on("a").run("INSERT INTO orders SELECT n FROM generate_series(1, 100) n").await;
    lab.drain("b").await;
    lab.on("a")
        .run("INSERT INTO orders VALUES (500, 'before'); TRUNCATE orders; INSERT INTO orders VALUES (501, 'after')")
        .await;
    let report = lab.round("b").await.unwrap();
    assert_eq!((report.truncates, report.inserts), (1, 1));
    lab.assert_same().await;
    lab.on("a").run("TRUNCATE orders").await;
    assert_eq!(lab.round("b").await.unwrap().truncates, 1);
    lab.assert_same().await;
    assert!(lab.round("b").await.unwrap().is_empty());
}

/// Truncated on a target whose table a foreign key points at: emptied without it.
#[tokio::test]
async fn truncate_where_a_foreign_key_points() {
    let ddl = "CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent)";
    let mut lab = SyncLab::start(&["b"], ddl, &["child:id", "parent:id"]).await;
    lab.on("a").run("INSERT INTO parent VALUES (1), (2); INSERT INTO child VALUES (1, 1)").await;
    lab.drain("b").await;
    lab.on("a").run("TRUNCATE parent, child; INSERT INTO parent VALUES (3)").await;
    lab.drain("b").await;
    lab.assert_same().await;
    // A cascade deletes through the constraint's own trigger; it is captured like any other delete.
    lab.on("a").run("ALTER TABLE child DROP CONSTRAINT child_parent_fkey, ADD FOREIGN KEY (parent) REFERENCES parent ON DELETE CASCADE ON UPDATE CASCADE").await;
    lab.on("a").run("INSERT INTO child VALUES (5, 3)").await;
    lab.drain("b").await;
    lab.on("a").run("UPDATE parent SET id = 4").await;
    lab.drain("b").await;
    lab.assert_same().await;
    lab.on("a").run("DELETE FROM parent").await;
    lab.drain("b").await;
    lab.assert_same().await;
}

/// The target was restored from an older backup: what it lacks is never passed over in silence.
#[tokio::test]
async fn a_target_that_went_back_is_told() {
    let mut lab = lab().await;
    lab.on("a").run("INSERT INTO orders VALUES (1)").await;
    lab.drain("b").await;
    let old = lab.on("b").rows("SELECT snapshot, round FROM bucardo.position").await;
    let (snapshot, round) = old[0].split_once('|').unwrap();
    lab.on("a").run("INSERT INTO orders VALUES (2)").await;
    lab.drain("b").await;
    lab.on("b")
        .run(&format!(
            "UPDATE bucardo.position SET snapshot = '{snapshot}', round = {round}; DELETE FROM orders WHERE id = 2"
        ))
        .await;
    lab.on("a").run("INSERT INTO orders VALUES (3)").await;
    let fault = lab.round("b").await.unwrap_err();
    assert_eq!(fault.failure, Failure::Permanent);
    assert!(fault.message.contains("database \"b\" went back in time"), "{fault}");
    assert!(fault.hint.unwrap().contains("onetimecopy=1"));
    (lab.sync.onetimecopy, lab.sync.copy_request) = (1, 1);
    lab.validate().await.unwrap();
    lab.drain("b").await;
    lab.assert_same().await;
}

/// The source lost its last transactions, or is another cluster.
#[tokio::test]
async fn a_source_that_went_back_is_told() {
    let mut lab = lab().await;
    for id in 1..=3 {
        lab.on("a").run(&format!("INSERT INTO orders VALUES ({id})")).await;
        lab.drain("b").await;
    }
    lab.on("a").run("UPDATE bucardo.track SET round = round - 2").await;
    let fault = lab.round("b").await.unwrap_err();
    assert!(fault.message.contains("database \"a\" went back in time"), "{fault}");
    // A standby that was promoted may lack just the last round, and have used its transaction numbers again.
    lab.on("a").run("UPDATE bucardo.track SET round = round + 1").await;
    lab.on("b").run("UPDATE bucardo.position SET timeline = timeline + 1").await;
    let fault = lab.round("b").await.unwrap_err();
    assert!(fault.message.contains("database \"a\" went back in time: it was promoted"), "{fault}");
    // One that lacks nothing goes on.
    lab.on("a").run("UPDATE bucardo.track SET round = round + 1").await;
    lab.round("b").await.unwrap();
    lab.on("b").run("UPDATE bucardo.position SET system_id = 1").await;
    let fault = lab.round("b").await.unwrap_err();
    assert!(fault.message.contains("another cluster"), "{fault}");
}

/// An idle sync writes nothing, neither on the source nor on the target.
#[tokio::test]
async fn an_idle_sync_writes_nothing() {
    let mut lab = lab().await;
    lab.on("a").run("INSERT INTO orders VALUES (1)").await;
    // Transactions of other databases of the server hold the position back; when they have ended, it moves once more.
    wait::until("a settled position", Duration::from_secs(30), async || {
        lab.drain("b").await;
        let snapshot = lab.on("b").value("SELECT snapshot FROM bucardo.position").await;
        if snapshot.ends_with(':') { Ok(()) } else { Err(snapshot) }
    })
    .await;
    let state = "SELECT xmin, round, updated FROM bucardo.";
    let before =
        (lab.on("a").rows(&format!("{state}track")).await, lab.on("b").rows(&format!("{state}position")).await);
    for _ in 0..5 {
        assert!(lab.round("b").await.unwrap().is_empty());
    }
    let after = (lab.on("a").rows(&format!("{state}track")).await, lab.on("b").rows(&format!("{state}position")).await);
    assert_eq!(before, after);
}

/// Sequences arrive with their `is_called`, also when nothing else changed.
#[tokio::test]
async fn sequences_follow() {
    let ddl = "CREATE TABLE t (id int PRIMARY KEY); CREATE SEQUENCE plain; CREATE SEQUENCE \"Odd \"\"one\" START 50 INCREMENT -5 MINVALUE -100 MAXVALUE 100";
    let mut lab = SyncLab::start(&["b"], ddl, &["t:id", "plain", "Odd \"one"]).await;
    let state = "SELECT last_value, is_called FROM plain UNION ALL SELECT last_value, is_called FROM \"Odd \"\"one\"";
    for change in [
        "SELECT nextval('plain')",
        "SELECT setval('plain', 70, false)",
        "SELECT nextval('\"Odd \"\"one\"'), nextval('\"Odd \"\"one\"')",
        "INSERT INTO t VALUES (nextval('plain'))",
    ] {
        lab.on("a").run(change).await;
        lab.round("b").await.unwrap();
        assert_eq!(lab.on("b").rows(state).await, lab.on("a").rows(state).await, "{change}");
    }
    lab.assert_same().await;
}

/// Many tables: what changed arrives, and the round does not hold a lock on every table that did not.
#[tokio::test]
async fn many_idle_tables_are_not_locked() {
    let ddl = "DO $$ BEGIN FOR i IN 1..450 LOOP EXECUTE format('CREATE TABLE t%s (id int PRIMARY KEY)', i); END LOOP; END $$; CREATE SEQUENCE q";
    let names: Vec<String> = (1..=450).map(|n| format!("t{n}:id")).chain(["q".to_owned()]).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut lab = SyncLab::start(&["b"], ddl, &names).await;
    lab.on("a").run("INSERT INTO t1 VALUES (1); INSERT INTO t449 VALUES (2); SELECT nextval('q')").await;
    let database = lab.on("a").name.clone();
    let observer = Arc::new(lab.on("a").session().await);
    let hook: StepHook = Arc::new(move |at: &str| {
        let (observer, database) = (Arc::clone(&observer), database.clone());
        let is_there = at == "snapshot taken";
        async move {
            if is_there {
                let sql = "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database WHERE d.datname = $1 AND l.locktype = 'relation'";
                let locks: i64 = observer.query_one(sql, &[&database]).await.unwrap().get(0);
                assert!(locks < 100, "{locks} locks are held");
            }
            Ok(())
        }
        .boxed()
    });
    let report = lab.round_watched("b", Watch::default().with_hook(hook)).await.unwrap();
    assert_eq!(report.inserts, 2);
    assert_eq!(lab.on("b").rows("SELECT last_value, is_called FROM q").await, ["1|t"]);
    assert!(lab.round("b").await.unwrap().is_empty());
    lab.assert_same().await;
}
