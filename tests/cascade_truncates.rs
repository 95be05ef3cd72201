//! `TRUNCATE` in syncs with one source: foreign keys, partitions, inheritance, `ONLY`, sequences; handed on to others.

use std::time::Duration;

use crate::support::{Database, SyncLab, Web, all_know};

/// A truncated table has another file; one that was emptied by `DELETE` has the same.
async fn file(database: &Database, table: &str) -> String {
    database.value(&format!("SELECT pg_relation_filenode('{table}')")).await
}

const FAMILY: &str = "CREATE TABLE parent (id int PRIMARY KEY); \
    CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent); \
    CREATE TABLE grandchild (id int PRIMARY KEY, child int REFERENCES child)";

/// Tables that point at each other and are truncated in one batch are truncated together; where one of them keeps its
/// rows, the ones that it points at are emptied row by row.
#[tokio::test]
async fn tables_that_point_at_each_other_are_truncated_together() {
    let mut lab = SyncLab::start(&["b"], FAMILY, &["parent:id", "child:id", "grandchild:id"]).await;
    let fill = "INSERT INTO parent SELECT generate_series(1, 20); INSERT INTO child SELECT n, n FROM generate_series(1, 20) AS n; \
        INSERT INTO grandchild SELECT n, n FROM generate_series(1, 20) AS n";
    lab.on("a").run(fill).await;
    lab.drain("b").await;
    let before = (file(lab.on("b"), "parent").await, file(lab.on("b"), "child").await);
    lab.on("a").run("BEGIN; TRUNCATE parent, child, grandchild; INSERT INTO parent VALUES (7); COMMIT").await;
    let report = lab.round("b").await.unwrap();
    assert_eq!((report.truncates, report.inserts), (3, 1));
    lab.assert_same().await;
    let after = (file(lab.on("b"), "parent").await, file(lab.on("b"), "child").await);
    assert!(before.0 != after.0 && before.1 != after.1, "emptied by DELETE: {before:?} {after:?}");
    // CASCADE empties at the source what is captured on its own.
    lab.on("a").run("TRUNCATE parent CASCADE").await;
    lab.on("a").run(fill).await;
    assert_eq!(lab.round("b").await.unwrap().truncates, 3);
    lab.assert_same().await;
    // On the target a table outside the sync points at one of them: that one, and what it points at, keep their files.
    lab.on("b")
        .run("CREATE TABLE note (id int PRIMARY KEY, child int REFERENCES child); INSERT INTO note VALUES (1, 1)")
        .await;
    lab.renew();
    let before = (file(lab.on("b"), "child").await, file(lab.on("b"), "grandchild").await);
    lab.on("a").run("TRUNCATE parent, child, grandchild").await;
    assert_eq!(lab.round("b").await.unwrap().truncates, 3);
    lab.assert_same().await;
    assert_eq!(lab.on("b").rows("SELECT * FROM note").await, ["1|1"]);
    assert_eq!(file(lab.on("b"), "child").await, before.0);
    assert_ne!(file(lab.on("b"), "grandchild").await, before.1);
}

/// Partitions: one alone, the whole table, one that was detached, one that came later; and a plain table on the target.
#[tokio::test]
async fn partitions_are_truncated_alone_and_together() {
    if !all_know(11, "keys of partitioned tables") {
        return;
    }
    let ddl = "CREATE TABLE log (id int, place text, PRIMARY KEY (id, place)) PARTITION BY LIST (place); \
        CREATE TABLE log_eu PARTITION OF log FOR VALUES IN ('eu'); CREATE TABLE log_us PARTITION OF log FOR VALUES IN ('us')";
    let mut lab = SyncLab::empty(&["b", "c"], ddl, &["log:id,place"]).await;
    lab.on("c").run("DROP TABLE log; CREATE TABLE log (id int, place text, PRIMARY KEY (id, place))").await;
    lab.validate().await.unwrap();
    let fill = "INSERT INTO log SELECT n, p FROM generate_series(1, 1200) AS n, unnest('{eu,us}'::text[]) AS p ON CONFLICT DO NOTHING";
    lab.on("a").run(fill).await;
    for sql in [
        "TRUNCATE log_eu",
        fill,
        "TRUNCATE ONLY log_us; INSERT INTO log VALUES (1, 'us')",
        fill,
        "BEGIN; TRUNCATE log; INSERT INTO log VALUES (2, 'eu'); COMMIT",
        fill,
        "BEGIN; TRUNCATE log_us; TRUNCATE log_eu; COMMIT",
    ] {
        lab.on("a").run(sql).await;
        for target in ["b", "c"] {
            lab.round(target).await.unwrap();
        }
        lab.assert_same().await;
    }
    // What is truncated after it was detached no longer belongs to the table: neither there nor on the targets.
    lab.on("a").run(fill).await;
    lab.on("a").run("ALTER TABLE log DETACH PARTITION log_eu; TRUNCATE log_eu; TRUNCATE log_us").await;
    for target in ["b", "c"] {
        lab.drain(target).await;
        assert_eq!(lab.on(target).number("SELECT count(*) FROM log").await, 0, "{target}");
    }
    // Attached again, empty, and written to through the table.
    lab.on("a").run("ALTER TABLE log ATTACH PARTITION log_eu FOR VALUES IN ('eu')").await;
    lab.validate().await.unwrap();
    lab.on("a").run(fill).await;
    lab.on("a").run("TRUNCATE log_eu; INSERT INTO log VALUES (5, 'eu')").await;
    for target in ["b", "c"] {
        lab.drain(target).await;
    }
    lab.assert_same().await;
}

/// Inheritance: `TRUNCATE` takes the children, too, `ONLY` leaves them; each one that is in the sync is a table of its own.
#[tokio::test]
async fn inheritance_children_are_tables_of_their_own() {
    let ddl = "CREATE TABLE base (id int PRIMARY KEY); CREATE TABLE heir (PRIMARY KEY (id)) INHERITS (base)";
    let mut lab = SyncLab::start(&["b"], ddl, &["base:id", "heir:id"]).await;
    let fill = "INSERT INTO base SELECT generate_series(1, 9); INSERT INTO heir SELECT generate_series(11, 19)";
    lab.on("a").run(fill).await;
    lab.drain("b").await;
    lab.on("a").run("TRUNCATE ONLY base").await;
    assert_eq!(lab.round("b").await.unwrap().truncates, 1);
    lab.assert_same().await;
    assert_eq!(lab.on("b").number("SELECT count(*) FROM base").await, 9);
    lab.on("a").run("INSERT INTO base VALUES (1); TRUNCATE base").await;
    assert_eq!(lab.round("b").await.unwrap().truncates, 2);
    lab.assert_same().await;
    assert_eq!(lab.on("b").number("SELECT count(*) FROM base").await, 0);
}

/// `RESTART IDENTITY` is a change of a sequence, which travels when the sequence is in the sync.
#[tokio::test]
async fn restarted_sequences_travel_on_their_own() {
    let ddl = "CREATE TABLE t (id serial PRIMARY KEY, other serial)";
    let mut lab = SyncLab::start(&["b"], ddl, &["t:id", "t_id_seq"]).await;
    lab.on("a").run("INSERT INTO t SELECT FROM generate_series(1, 50)").await;
    lab.drain("b").await;
    assert_eq!(lab.on("b").number("SELECT last_value FROM t_id_seq").await, 50);
    lab.on("b").run("SELECT setval('t_other_seq', 99)").await;
    lab.on("a").run("TRUNCATE t RESTART IDENTITY; INSERT INTO t SELECT FROM generate_series(1, 3)").await;
    lab.round("b").await.unwrap();
    lab.assert_same().await;
    assert_eq!(lab.on("b").number("SELECT last_value FROM t_id_seq").await, 3);
    assert_eq!(lab.on("b").number("SELECT last_value FROM t_other_seq").await, 99, "not in the sync");
}

/// A truncate is handed on like any change, with the rows before and after it, and goes around a ring once.
#[tokio::test]
async fn truncates_are_handed_on() {
    let ddl = "CREATE TABLE t (id int PRIMARY KEY, note text); CREATE TABLE other (id int PRIMARY KEY)";
    let mut web = Web::start(&["a", "b", "c"], ddl, &["t:id", "other:id"]).await;
    web.syncs(&["ab: a -> b", "bc: b -> c", "ca: c -> a"]).await;
    web.on("a").run("INSERT INTO t SELECT n, 'a' FROM generate_series(1, 30) AS n; INSERT INTO other VALUES (1)").await;
    web.settle().await;
    web.on("a").run("BEGIN; INSERT INTO t VALUES (31); TRUNCATE t; INSERT INTO t VALUES (32, 'after'); COMMIT").await;
    web.settle().await;
    web.assert_same("t").await;
    assert_eq!(web.on("c").rows("SELECT * FROM t").await, ["32|after"]);
    assert_eq!(web.on("c").rows("SELECT origin FROM bucardo.truncated").await, ["bc a,b 0 +"]);
    assert_eq!(web.on("a").number("SELECT count(*) FROM bucardo.truncated").await, 1);
    web.on("b").run("TRUNCATE t, other").await;
    web.on("c").run("INSERT INTO other VALUES (3)").await;
    web.settle().await;
    web.assert_same("t").await;
    web.assert_silent().await;
}

/// A sync brings one partition; another reads the whole table there: what it is told of is that partition's rows, no
/// more. And the reverse.
#[tokio::test]
async fn partitions_and_their_table_are_handed_on_to_each_other() {
    if !all_know(11, "keys of partitioned tables") {
        return;
    }
    let ddl = "CREATE TABLE log (id int, place text, PRIMARY KEY (id, place)) PARTITION BY LIST (place); \
        CREATE TABLE log_eu PARTITION OF log FOR VALUES IN ('eu'); CREATE TABLE log_us PARTITION OF log FOR VALUES IN ('us')";
    let mut web = Web::start(&["a", "b", "c"], ddl, &["log_eu:id,place"]).await;
    web.syncs(&["part: a -> b"]).await;
    let mut whole = web.sync("whole: b -> c", true);
    whole.goats[0].name = "log".to_owned();
    bucardo::source::validate_sync(&whole).await.unwrap();
    web.syncs.push(whole);
    web.on("b").run("INSERT INTO log VALUES (1, 'us'), (2, 'us')").await;
    web.on("a").run("INSERT INTO log_eu SELECT n, 'eu' FROM generate_series(1, 1100) AS n").await;
    web.settle().await;
    assert_eq!(web.on("c").number("SELECT count(*) FROM log").await, 1102);
    web.on("a").run("TRUNCATE log_eu; INSERT INTO log_eu VALUES (3, 'eu')").await;
    web.settle().await;
    assert_eq!(web.on("c").rows("SELECT * FROM log ORDER BY 1").await, ["1|us", "2|us", "3|eu"]);
    web.assert_silent().await;

    let mut web = Web::start(&["a", "b", "c"], ddl, &["log:id,place"]).await;
    web.syncs(&["whole: a -> b"]).await;
    let mut part = web.sync("part: b -> c", true);
    part.goats[0].name = "log_eu".to_owned();
    bucardo::source::validate_sync(&part).await.unwrap();
    web.syncs.push(part);
    web.on("a")
        .run("INSERT INTO log SELECT n, p FROM generate_series(1, 5) AS n, unnest('{eu,us}'::text[]) AS p")
        .await;
    web.settle().await;
    assert_eq!(web.on("c").rows("SELECT DISTINCT place FROM log").await, ["eu"]);
    web.on("a").run("TRUNCATE log; INSERT INTO log VALUES (9, 'eu')").await;
    web.settle().await;
    assert_eq!(web.on("c").rows("SELECT * FROM log").await, ["9|eu"]);
    web.assert_silent().await;
}

/// Several syncs read parts of what a sync brings: all are told, before the rows go and after they came.
#[tokio::test]
async fn several_readers_are_told_of_one_table() {
    let ddl = "CREATE TABLE log (id int, place text, PRIMARY KEY (id, place)) PARTITION BY LIST (place); \
        CREATE TABLE log_eu PARTITION OF log FOR VALUES IN ('eu'); CREATE TABLE log_us PARTITION OF log FOR VALUES IN ('us')";
    let mut web = Web::start(&["a", "b", "c"], ddl, &["log:id,place"]).await;
    web.syncs(&["whole: a -> b"]).await;
    for part in ["log_eu", "log_us"] {
        let mut sync = web.sync(&format!("{part}: b -> c"), true);
        sync.goats[0].name = part.to_owned();
        bucardo::source::validate_sync(&sync).await.unwrap();
        web.syncs.push(sync);
    }
    for (change, rows) in [
        ("INSERT INTO log VALUES (1, 'eu'), (2, 'us'), (3, 'us')", &["1|eu", "2|us", "3|us"][..]),
        ("UPDATE log SET id = 4 WHERE id = 1; DELETE FROM log WHERE id = 2", &["3|us", "4|eu"]),
        ("UPDATE log SET place = 'eu' WHERE id = 3", &["3|eu", "4|eu"]),
    ] {
        web.on("a").run(change).await;
        tokio::time::timeout(Duration::from_secs(60), web.settle()).await.expect("rounds that end");
        assert_eq!(web.on("c").rows("SELECT * FROM log ORDER BY 1").await, rows, "{change}");
    }
    web.assert_silent().await;
}

/// A table that is copied whole into a database where others read it: they get all of it, and lose what was there.
#[tokio::test]
async fn whole_copies_are_handed_on() {
    let ddl = "CREATE TABLE t (id int PRIMARY KEY, note text)";
    let mut web = Web::start(&["a", "b", "c"], ddl, &["t:id"]).await;
    web.on("a").run("INSERT INTO t SELECT n, 'old' FROM generate_series(1, 1500) AS n").await;
    web.syncs(&["ab: a -> b", "bc: b -> c"]).await;
    web.on("c").run("INSERT INTO t VALUES (9001, 'of c')").await;
    web.syncs[0].onetimecopy = 1;
    web.syncs[0].copy_request = 1;
    web.settle().await;
    // Nothing was there before, so nothing is taken from c but what has a key that came.
    assert_eq!(web.on("c").number("SELECT count(*) FROM t").await, 1501);
    web.on("b").run("SET session_replication_role = replica; INSERT INTO t VALUES (9002, 'of b')").await;
    web.syncs[0].copy_request = 2;
    web.renew();
    web.settle().await;
    web.assert_same("t").await;
    web.syncs[0].onetimecopy = 0;
    web.renew();
    web.assert_silent().await;
}
