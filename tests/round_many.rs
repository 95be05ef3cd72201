//! Syncs of so many tables that a session of its own asks which of them changed, and asks only those that were ever
//! written to.

use crate::support::SyncLab;

const TABLES: usize = 210;

/// Every way to find the changed ones among many: nothing was ever written, one was, many were, and what was written is
/// purged and vacuumed away. A transaction that is open meanwhile is found when it commits.
#[tokio::test]
async fn changes_among_many_tables_are_found_however_many_were_ever_written_to() {
    let tables: String = (0..TABLES).map(|n| format!("CREATE TABLE t{n} (id int PRIMARY KEY);")).collect();
    let goats: Vec<String> = (0..TABLES).map(|n| format!("t{n}:id")).collect();
    let goats: Vec<&str> = goats.iter().map(String::as_str).collect();
    let mut lab = SyncLab::start(&["b"], &tables, &goats).await;
    assert_eq!(lab.drain("b").await, 0, "no delta table has a page");

    let open = lab.on("a").session().await;
    open.batch_execute("BEGIN; INSERT INTO t7 VALUES (1)").await.unwrap();
    lab.on("a").run("INSERT INTO t209 VALUES (1)").await;
    assert_eq!(lab.drain("b").await, 1, "the last one changed");
    open.batch_execute("COMMIT").await.unwrap();
    assert_eq!(lab.drain("b").await, 1, "what was open has committed");
    lab.assert_same().await;

    let many: String = (100..180).map(|n| format!("INSERT INTO t{n} VALUES (1);")).collect();
    lab.on("a").run(&format!("BEGIN; {many} COMMIT")).await;
    assert_eq!(lab.drain("b").await, 80, "more than are asked one by one");
    lab.on("a").run("UPDATE t100 SET id = 2").await;
    assert!(lab.drain("b").await > 0, "one of those that have pages");
    lab.assert_same().await;

    for n in 100..180 {
        lab.on("a").run(&format!("DELETE FROM bucardo.delta_public_t{n}")).await;
        lab.on("a").run(&format!("VACUUM bucardo.delta_public_t{n}")).await;
    }
    assert_eq!(lab.drain("b").await, 0, "the pages are gone");
    lab.on("a").run("INSERT INTO t101 VALUES (2)").await;
    lab.on("a").run("TRUNCATE t7").await;
    lab.drain("b").await;
    lab.assert_same().await;
}
