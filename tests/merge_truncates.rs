//! `TRUNCATE` where several sources write: a change of every key of the table at its time. Foreign keys, partitions,
//! inheritance, `ONLY` and sequences; and what a target of such a sync gets.

use crate::support::{Database, SyncLab, all_know};

async fn count(database: &Database, table: &str) -> i64 {
    database.number(&format!("SELECT count(*) FROM {table}")).await
}

/// Merges to the end, and lets the target read what `a` knows by then.
async fn settle(lab: &mut SyncLab) {
    lab.settle().await;
    lab.drain("t").await;
    lab.assert_same().await;
}

/// Tables that point at each other, truncated by one statement, by `CASCADE`, and with rows of another source that point at
/// what is gone: every table is decided on its own, and foreign keys are quiet.
#[tokio::test]
async fn tables_that_point_at_each_other_are_emptied_everywhere() {
    let ddl = "CREATE TABLE parent (id int PRIMARY KEY, note text);
        CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent);
        CREATE TABLE grandchild (id int PRIMARY KEY, child int REFERENCES child)";
    let goats = ["parent:id", "child:id", "grandchild:id"];
    let mut lab = SyncLab::masters(&["a", "b"], &["t"], ddl, &goats).await;
    let fill = "INSERT INTO parent SELECT n, 'old' FROM generate_series(1, 1200) n;
        INSERT INTO child SELECT n, n FROM generate_series(1, 1200) n;
        INSERT INTO grandchild SELECT n, n FROM generate_series(1, 1200) n";
    lab.on("a").run(fill).await;
    settle(&mut lab).await;
    // What b wrote before goes, what it wrote after stays.
    lab.on("b").run("INSERT INTO parent VALUES (5001, 'before'); UPDATE parent SET note = 'before' WHERE id = 1").await;
    lab.on("a").run("BEGIN; TRUNCATE parent, child, grandchild; INSERT INTO parent VALUES (7, 'new'); COMMIT").await;
    lab.on("b").run("INSERT INTO parent VALUES (5002, 'after'); INSERT INTO child VALUES (5002, 5002)").await;
    settle(&mut lab).await;
    for db in ["a", "b", "t"] {
        assert_eq!(lab.on(db).rows("SELECT * FROM parent ORDER BY 1").await, ["7|new", "5002|after"], "{db}");
        assert_eq!(lab.on(db).rows("SELECT * FROM child").await, ["5002|5002"], "{db}");
        assert_eq!(count(lab.on(db), "grandchild").await, 0, "{db}");
    }
    // CASCADE empties at the source what is captured on its own.
    lab.on("b").run("TRUNCATE child CASCADE; DELETE FROM parent").await;
    settle(&mut lab).await;
    lab.on("a").run(fill).await;
    settle(&mut lab).await;
    lab.on("a").run("TRUNCATE parent CASCADE").await;
    settle(&mut lab).await;
    assert_eq!(count(lab.on("t"), "grandchild").await, 0);
    // Of a table outside of the sync nothing is taken, though it points at what is emptied.
    for db in ["b", "t"] {
        lab.on(db).run("CREATE TABLE note (id int PRIMARY KEY, parent int REFERENCES parent)").await;
    }
    lab.on("b").run("INSERT INTO parent VALUES (1, 'seen'); INSERT INTO child VALUES (1, 1)").await;
    settle(&mut lab).await;
    for db in ["b", "t"] {
        lab.on(db).run("INSERT INTO note VALUES (1, 1)").await;
    }
    lab.on("a").run("TRUNCATE parent CASCADE").await;
    settle(&mut lab).await;
    for db in ["b", "t"] {
        assert_eq!(count(lab.on(db), "parent").await, 0, "{db}");
        assert_eq!(lab.on(db).rows("SELECT * FROM note").await, ["1|1"], "{db}");
    }
}

/// Several sources truncate the same table: the last truncate takes what was written anywhere before it.
#[tokio::test]
async fn the_last_of_several_truncates_decides() {
    let ddl = "CREATE TABLE t (id int PRIMARY KEY, note text)";
    let mut lab = SyncLab::masters(&["a", "b", "c"], &["t"], ddl, &["t:id"]).await;
    lab.on("a").run("INSERT INTO t SELECT n, 'old' FROM generate_series(1, 50) n").await;
    settle(&mut lab).await;
    for db in ["a", "b"] {
        lab.on(db).run(&format!("TRUNCATE t; INSERT INTO t VALUES (1, '{db}'), (2, '{db}')")).await;
    }
    lab.on("c").run("UPDATE t SET note = 'c' WHERE id > 40").await;
    lab.on("a").run("TRUNCATE t; INSERT INTO t VALUES (3, 'a')").await;
    settle(&mut lab).await;
    // c wrote after the first two truncates, and before the last one.
    for db in ["a", "b", "c", "t"] {
        assert_eq!(lab.on(db).rows("SELECT * FROM t").await, ["3|a"], "{db}");
    }
    assert_eq!(lab.settle().await, 0);
}

/// Partitions: one alone is a deletion of its rows, the table as a whole is a truncate; rows of another source that went to
/// the partition meanwhile are decided by time.
#[tokio::test]
async fn partitions_are_truncated_alone_and_together() {
    if !all_know(11, "keys of partitioned tables") {
        return;
    }
    let ddl = "CREATE TABLE log (id int, place text, PRIMARY KEY (id, place)) PARTITION BY LIST (place);
        CREATE TABLE log_eu PARTITION OF log FOR VALUES IN ('eu'); CREATE TABLE log_us PARTITION OF log FOR VALUES IN ('us')";
    let mut lab = SyncLab::masters(&["a", "b"], &["t"], ddl, &["log:id,place"]).await;
    let fill = "INSERT INTO log SELECT n, p FROM generate_series(1, 1200) AS n, unnest('{eu,us}'::text[]) AS p ON CONFLICT DO NOTHING";
    lab.on("a").run(fill).await;
    settle(&mut lab).await;
    for (at_a, at_b, left) in [
        ("TRUNCATE log_eu", "INSERT INTO log VALUES (5000, 'eu')", ["eu 1", "us 1200"].as_slice()),
        ("TRUNCATE ONLY log_us; INSERT INTO log VALUES (5001, 'us')", "DELETE FROM log WHERE id = 5000", &["us 1"]),
        ("TRUNCATE log", "INSERT INTO log VALUES (5002, 'eu'), (5002, 'us')", &["eu 1", "us 1"]),
        ("BEGIN; TRUNCATE log; INSERT INTO log VALUES (5003, 'eu'); COMMIT", "TRUNCATE log_us", &["eu 1"]),
        (fill, "SELECT", &["eu 1201", "us 1200"]),
        ("BEGIN; TRUNCATE log_us; TRUNCATE log_eu; COMMIT", "SELECT", &[]),
    ] {
        lab.on("a").run(at_a).await;
        lab.on("b").run(at_b).await;
        settle(&mut lab).await;
        let seen = "SELECT place || ' ' || count(*) FROM log GROUP BY place ORDER BY 1";
        for db in ["a", "b", "t"] {
            assert_eq!(lab.on(db).rows(seen).await, left, "{db} after {at_a}; {at_b}");
        }
    }
}

/// Inheritance: `TRUNCATE` takes the children, too, `ONLY` leaves them; each one that is in the sync is a table of its own.
#[tokio::test]
async fn inheritance_children_are_tables_of_their_own() {
    let ddl = "CREATE TABLE base (id int PRIMARY KEY, note text);
        CREATE TABLE heir (PRIMARY KEY (id)) INHERITS (base); CREATE TABLE loner (PRIMARY KEY (id)) INHERITS (base)";
    let mut lab = SyncLab::masters(&["a", "b"], &["t"], ddl, &["base:id", "heir:id"]).await;
    lab.on("a")
        .run("INSERT INTO base SELECT generate_series(1, 9), 'a'; INSERT INTO heir SELECT generate_series(11, 19), 'a'")
        .await;
    for db in ["a", "b", "t"] {
        lab.on(db).run("INSERT INTO loner VALUES (99, 'own')").await;
    }
    let only = async |lab: &SyncLab, base: i64, heir: i64| {
        for db in ["a", "b", "t"] {
            assert_eq!(count(lab.on(db), "ONLY base").await, base, "base on {db}");
            assert_eq!(count(lab.on(db), "ONLY heir").await, heir, "heir on {db}");
        }
    };
    lab.settle().await;
    lab.drain("t").await;
    only(&lab, 9, 9).await;
    lab.on("a").run("TRUNCATE ONLY base").await;
    lab.on("b").run("UPDATE ONLY base SET note = 'after' WHERE id = 1; INSERT INTO heir VALUES (20, 'b')").await;
    lab.settle().await;
    lab.drain("t").await;
    only(&lab, 1, 10).await;
    for db in ["b", "t"] {
        assert_eq!(count(lab.on(db), "loner").await, 1, "{db}: no truncate");
    }
    // At the source the child that is in no sync is emptied with its parent; elsewhere it is nobody's business.
    lab.on("a").run("TRUNCATE base").await;
    lab.settle().await;
    lab.drain("t").await;
    only(&lab, 0, 0).await;
    assert_eq!(count(lab.on("a"), "loner").await, 0);
    for db in ["b", "t"] {
        assert_eq!(count(lab.on(db), "loner").await, 1, "{db}: not in the sync");
    }
}

/// `RESTART IDENTITY` is a change of a sequence; of those of several sources the furthest along counts.
#[tokio::test]
async fn restarted_sequences_do_not_go_back_where_others_are_ahead() {
    let ddl = "CREATE TABLE t (id serial PRIMARY KEY, note text)";
    let mut lab = SyncLab::masters(&["a", "b"], &["t"], ddl, &["t:id", "t_id_seq"]).await;
    lab.on("a").run("INSERT INTO t (note) SELECT 'old' FROM generate_series(1, 50)").await;
    settle(&mut lab).await;
    lab.on("a").run("TRUNCATE t RESTART IDENTITY; INSERT INTO t (note) VALUES ('new')").await;
    settle(&mut lab).await;
    for db in ["a", "b", "t"] {
        assert_eq!(lab.on(db).rows("SELECT * FROM t").await, ["1|new"], "{db}");
        assert_eq!(
            lab.on(db).number("SELECT last_value FROM t_id_seq").await,
            50,
            "{db}: ids of b are not given twice"
        );
    }
}
