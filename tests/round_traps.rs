//! What silently loses rows in trigger replication: each of these once did, or nearly.

use crate::support::sync_lab::member;
use crate::support::{SyncLab, all_know};
use bucardo::catalog::Role;

/// A copy of empty tables only (`onetimecopy=2`) leaves filled ones alone, but not the changes that wait for them.
#[tokio::test]
async fn copying_empty_tables_skips_no_change_of_filled_ones() {
    let ddl = "CREATE TABLE filled (id int PRIMARY KEY, v text); INSERT INTO filled VALUES (1, 'old'), (2, 'old');
               CREATE TABLE emptied (id int PRIMARY KEY); INSERT INTO emptied VALUES (1);
               CREATE TABLE bare (id int PRIMARY KEY)";
    let mut lab = SyncLab::start(&["b"], ddl, &["filled:id", "emptied:id", "bare:id"]).await;
    (lab.sync.onetimecopy, lab.sync.copy_request) = (2, 1);
    lab.on("a")
        .run("UPDATE filled SET v = 'new' WHERE id = 1; DELETE FROM filled WHERE id = 2; DELETE FROM emptied; INSERT INTO bare VALUES (1), (2)")
        .await;
    assert!(lab.round("b").await.unwrap().copied);
    lab.assert_same().await;
    assert!(lab.round("b").await.unwrap().is_empty());
}

/// Two spellings of a key that are equal by its type (citext) are one key, wherever they are compared.
#[tokio::test]
async fn keys_of_types_with_an_equality_of_their_own() {
    let ddl = "CREATE SCHEMA \"Ext\"; CREATE EXTENSION citext SCHEMA \"Ext\"; CREATE EXTENSION ltree SCHEMA \"Ext\";
               CREATE DOMAIN \"Ext\".nick AS \"Ext\".citext;
               CREATE TABLE c (k \"Ext\".citext PRIMARY KEY, v int); CREATE TABLE l (k \"Ext\".ltree PRIMARY KEY, v int);
               CREATE TABLE d (k \"Ext\".nick, n int, PRIMARY KEY (k, n))";
    let mut lab = SyncLab::start(&["b"], ddl, &["c:k", "l:k", "d:k,n"]).await;
    for change in [
        "INSERT INTO c VALUES ('foo', 1), ('Bar', 1); INSERT INTO l VALUES ('a.b', 1), ('a.c', 1); INSERT INTO d VALUES ('x', 1)",
        "UPDATE c SET k = 'Foo' WHERE k = 'foo'; UPDATE c SET k = 'bAR' WHERE k = 'bar'; UPDATE l SET k = 'b.b' WHERE k = 'a.b'; UPDATE d SET k = 'X'",
        "DELETE FROM c WHERE k = 'bar'; INSERT INTO c VALUES ('BAR', 2); UPDATE c SET v = 3; DELETE FROM l WHERE k = 'a.c'",
        "INSERT INTO c SELECT 'many' || n FROM generate_series(1, 2000) n; UPDATE c SET k = upper(k::text); INSERT INTO l SELECT ('x.' || n)::\"Ext\".ltree FROM generate_series(1, 2000) n",
    ] {
        let change = format!("SET search_path = public, \"Ext\"; {change}");
        lab.on("a").run(&change).await;
        lab.drain("b").await;
        lab.assert_same().await;
    }
}

/// A statement on a parent changes rows of a child, and the child's statement triggers do not fire.
#[tokio::test]
async fn children_change_through_their_parents() {
    let ddl = "CREATE TABLE parent (id int PRIMARY KEY, v text); CREATE TABLE child (PRIMARY KEY (id)) INHERITS (parent);
               CREATE TABLE p (id int, region text, v text, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
               CREATE TABLE p_eu PARTITION OF p FOR VALUES IN ('eu'); CREATE TABLE p_us PARTITION OF p FOR VALUES IN ('us')";
    let mut lab = SyncLab::start(&["b"], ddl, &["parent:id", "child:id", "p_eu:id,region"]).await;
    for change in [
        "INSERT INTO parent VALUES (1, 'p'); INSERT INTO child VALUES (2, 'c'), (3, 'c')",
        "INSERT INTO p VALUES (1, 'eu', 'x'), (2, 'us', 'x'), (3, 'eu', 'x')",
        "UPDATE parent SET v = 'all'",
        "UPDATE p SET v = 'all'",
        "UPDATE parent SET id = 20 WHERE id = 2",
        "UPDATE p SET region = 'us' WHERE id = 1",
        "DELETE FROM parent WHERE id = 3; DELETE FROM p WHERE id = 3",
        "INSERT INTO p_eu VALUES (7, 'eu', 'direct'); UPDATE p_eu SET id = 8; TRUNCATE p",
        "TRUNCATE parent",
    ] {
        lab.on("a").run(change).await;
        lab.drain("b").await;
        for table in ["ONLY parent", "child", "p_eu"] {
            let sql = format!("SELECT * FROM {table} ORDER BY 1");
            assert_eq!(lab.on("b").rows(&sql).await, lab.on("a").rows(&sql).await, "{table} after {change}");
        }
    }
}

/// Row level security hides rows from the role; hidden rows must not look like deleted ones.
#[tokio::test]
async fn rows_hidden_by_policies_are_told() {
    let ddl = "CREATE TABLE t (id int PRIMARY KEY, v text)";
    let mut lab = SyncLab::empty(&["b"], ddl, &["t:id"]).await;
    let role = format!("policed_{}", std::process::id());
    let a = lab.on("a");
    a.run(&format!(
        "CREATE ROLE {role} LOGIN; GRANT CREATE ON DATABASE \"{}\" TO {role}; GRANT SELECT, TRIGGER ON t TO {role};
         CREATE POLICY seen ON t USING (v = 'seen')",
        a.name
    ))
    .await;
    let words = format!("host={} port={} user={role} dbname={}", a.host, a.port, a.name);
    lab.sync.members[0] = member("a", &words, Role::Source);
    lab.validate().await.unwrap();
    lab.on("a").run("INSERT INTO t VALUES (1, 'seen'), (2, 'hidden'); ALTER TABLE t ENABLE ROW LEVEL SECURITY").await;
    let said = lab.round("b").await.unwrap().quarantine_told().join(" ");
    assert!(said.contains("row-level security") && said.contains("\"t\""), "{said}");
    let told = lab.validate().await.unwrap_err().told();
    let remedy = format!("ALTER ROLE \"{role}\" BYPASSRLS");
    assert!(told.contains(&remedy), "{told}");
    lab.on("a").run(&remedy).await;
    lab.validate().await.unwrap();
    lab.drain("b").await;
    lab.assert_same().await;
}

/// A cut batch may also clash on an exclusion constraint; it is then taken whole.
#[tokio::test]
async fn a_cut_that_clashes_on_an_exclusion_is_taken_whole() {
    let ddl = "CREATE TABLE t (id int PRIMARY KEY, note text, r int4range, EXCLUDE USING gist (r WITH &&))";
    let mut lab = SyncLab::start(&["b"], ddl, &["t:id"]).await;
    lab.sync.batch_rows_max = 2000;
    lab.on("a").run("INSERT INTO t VALUES (1, '', '[1,2)'), (2, '', '[5,9)')").await;
    lab.drain("b").await;
    lab.on("a").run("UPDATE t SET note = 'touched' WHERE id = 1").await;
    lab.on("a").run("INSERT INTO t SELECT n FROM generate_series(100, 2100) n").await;
    lab.on("a").run("UPDATE t SET r = NULL WHERE id = 2; UPDATE t SET r = '[5,9)' WHERE id = 1").await;
    lab.drain("b").await;
    lab.assert_same().await;
}

/// Key columns get another type: after the next validation delta rows hold any key that the table does.
#[tokio::test]
async fn keys_may_get_wider_types() {
    let ddl = "CREATE TABLE n (id numeric(5,1) PRIMARY KEY); CREATE TABLE v (id varchar(5) PRIMARY KEY);
               CREATE TABLE c (id char(2) PRIMARY KEY); CREATE TABLE i (id int PRIMARY KEY)";
    let mut lab = SyncLab::start(&["b"], ddl, &["n:id", "v:id", "c:id", "i:id"]).await;
    // A column of a trigger's condition keeps its type, so that trigger goes first.
    lab.on("a").run("INSERT INTO i VALUES (7); DROP TRIGGER bucardo_delta_key ON n; DROP TRIGGER bucardo_delta_key ON v; DROP TRIGGER bucardo_delta_key ON c; DROP TRIGGER bucardo_delta_key ON i").await;
    for name in ["a", "b"] {
        lab.on(name)
            .run("ALTER TABLE n ALTER id TYPE numeric(7,3); ALTER TABLE v ALTER id TYPE text; ALTER TABLE c ALTER id TYPE char(9); ALTER TABLE i ALTER id TYPE bigint")
            .await;
    }
    lab.validate().await.unwrap();
    lab.on("a")
        .run("INSERT INTO n VALUES (1.234), (1.2); INSERT INTO v VALUES ('longer than five'); INSERT INTO c VALUES ('longer'); INSERT INTO i VALUES (5000000000)")
        .await;
    lab.drain("b").await;
    lab.assert_same().await;
}

/// A column that is generated on the source and plain on the target is copied like any other.
#[tokio::test]
async fn generated_values_reach_plain_columns() {
    if !all_know(12, "generated columns") {
        return;
    }
    let ddl = "CREATE TABLE t (id int PRIMARY KEY, g int GENERATED ALWAYS AS (id * 2) STORED)";
    let mut lab = SyncLab::start(&["b"], ddl, &["t:id"]).await;
    lab.on("b").run("ALTER TABLE t ALTER g DROP EXPRESSION").await;
    lab.sync.strict_checking = false;
    lab.on("a").run("INSERT INTO t VALUES (1), (2)").await;
    lab.drain("b").await;
    assert_eq!(lab.on("b").rows("SELECT id, g FROM t ORDER BY 1").await, ["1|2", "2|4"]);
    lab.on("b").run("DELETE FROM t").await;
    (lab.sync.onetimecopy, lab.sync.copy_request) = (1, 1);
    lab.validate().await.unwrap();
    lab.drain("b").await;
    assert_eq!(lab.on("b").rows("SELECT id, g FROM t ORDER BY 1").await, ["1|2", "2|4"]);
}

/// A backlog is cut below what the target has already read (an old transaction committed late): the position only
/// ever grows, and nothing is delivered again.
#[tokio::test]
async fn a_cut_never_takes_the_position_back() {
    let mut lab = SyncLab::start(&["b"], "CREATE TABLE t (id int PRIMARY KEY)", &["t:id"]).await;
    lab.sync.batch_rows_max = 1000;
    let (first, second) = (lab.on("a").session().await, lab.on("a").session().await);
    first.batch_execute("BEGIN; INSERT INTO t SELECT generate_series(1, 900)").await.unwrap();
    second.batch_execute("BEGIN; INSERT INTO t SELECT generate_series(1001, 1900)").await.unwrap();
    lab.on("a").run("INSERT INTO t SELECT generate_series(2001, 2900)").await;
    assert_eq!(lab.drain("b").await, 900);
    let xmax = "SELECT txid_snapshot_xmax(snapshot::txid_snapshot) FROM bucardo.position";
    let before = lab.on("b").number(xmax).await;
    first.batch_execute("COMMIT").await.unwrap();
    second.batch_execute("COMMIT").await.unwrap();
    let report = lab.round("b").await.unwrap();
    assert_eq!((report.inserts, report.more), (900, true));
    assert!(lab.on("b").number(xmax).await >= before);
    let report = lab.round("b").await.unwrap();
    assert_eq!((report.inserts, report.more), (900, false));
    lab.assert_same().await;
}

/// Timeouts that somebody set for the applications of a database do not end a long copy.
#[tokio::test]
async fn timeouts_of_the_database_are_not_ours() {
    let mut lab = SyncLab::start(&["b"], "CREATE TABLE t (id int PRIMARY KEY)", &["t:id"]).await;
    for name in ["a", "b"] {
        let database = lab.on(name);
        database
            .run(&format!(
                "ALTER DATABASE \"{0}\" SET statement_timeout = '20ms'; ALTER DATABASE \"{0}\" SET idle_in_transaction_session_timeout = '20ms'",
                database.name
            ))
            .await;
    }
    lab.on("a").run("INSERT INTO t SELECT generate_series(1, 200000)").await;
    assert_eq!(lab.drain("b").await, 200_000);
}

/// The target database was made anew, so its position is gone: validating with a request for a copy brings it back.
#[tokio::test]
async fn a_target_made_anew_is_copied() {
    let mut lab = SyncLab::start(&["b"], "CREATE TABLE t (id int PRIMARY KEY)", &["t:id"]).await;
    lab.on("a").run("INSERT INTO t VALUES (1), (2)").await;
    lab.drain("b").await;
    lab.on("b").run("DROP SCHEMA bucardo CASCADE; TRUNCATE t").await;
    lab.validate().await.unwrap();
    let fault = lab.round("b").await.unwrap_err();
    assert!(fault.hint.as_ref().is_some_and(|hint| hint.contains("onetimecopy=1")), "{fault:?}");
    (lab.sync.onetimecopy, lab.sync.copy_request) = (1, 1);
    lab.validate().await.unwrap();
    lab.drain("b").await;
    lab.assert_same().await;
}

/// A table that was made anew, or lost its triggers, is not captured; nothing else would tell. What it was written
/// meanwhile arrives when it is captured again.
#[tokio::test]
async fn a_table_that_is_no_longer_captured_is_told() {
    let ddl = "CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE u (id int PRIMARY KEY);
               CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (9)";
    for harm in [
        "DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY)",
        "ALTER TABLE u RENAME TO u_old; CREATE TABLE u (id int PRIMARY KEY)",
        "ALTER TABLE t DISABLE TRIGGER ALL",
        "DROP TRIGGER bucardo_delta_update ON p",
    ] {
        let mut lab = SyncLab::start(&["b"], ddl, &["t:id", "u:id", "p:id"]).await;
        // A partition that came later is no fault: statements on its parent are captured.
        for name in ["a", "b"] {
            lab.on(name).run("CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (19)").await;
        }
        lab.drain("b").await;
        lab.on("a").run(harm).await;
        lab.renew();
        let said = lab.round("b").await.unwrap().quarantine_told().join(" ");
        assert!(said.contains("captur") && said.contains("bucardo validate"), "{harm}: {said}");
        lab.on("a").run("INSERT INTO t VALUES (7); INSERT INTO u VALUES (7); INSERT INTO p VALUES (7)").await;
        lab.drain("b").await;
        lab.validate().await.unwrap();
        lab.on("a").run("INSERT INTO t VALUES (1); INSERT INTO u VALUES (1); INSERT INTO p2 VALUES (11)").await;
        lab.drain("b").await;
        lab.assert_same().await;
    }
}

/// A captured table comes to belong to another one, whose statements change its rows without firing its triggers: that is
/// told, it is captured row by row, and what was missed arrives.
#[tokio::test]
async fn a_table_that_becomes_part_of_another_is_told() {
    let ddl = "CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE q (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
               CREATE TABLE q1 PARTITION OF q FOR VALUES FROM (0) TO (100)";
    for (table, joining, through) in [
        (
            "t",
            "CREATE TABLE p (id int PRIMARY KEY, v text) PARTITION BY RANGE (id); ALTER TABLE p ATTACH PARTITION t DEFAULT",
            "p",
        ),
        (
            "q",
            "CREATE TABLE p (id int PRIMARY KEY, v text) PARTITION BY RANGE (id); ALTER TABLE p ATTACH PARTITION q DEFAULT",
            "p",
        ),
        ("t", "CREATE TABLE p (id int, v text); ALTER TABLE t INHERIT p", "t"),
    ] {
        let mut lab = SyncLab::start(&["b"], ddl, &["t:id", "q:id"]).await;
        lab.on("a").run(&format!("INSERT INTO {table} VALUES (1, 'old'), (2, 'old')")).await;
        lab.drain("b").await;
        lab.on("a").run(joining).await;
        lab.on("a").run(&format!("INSERT INTO {through} VALUES (3, 'through'); UPDATE p SET v = 'p' WHERE id = 1; DELETE FROM p WHERE id = 2")).await;
        let said = lab.round("b").await.unwrap().quarantine_told().join(" ");
        assert!(
            said.contains(&format!("\"public.{table}\"")) && said.contains("bucardo validate"),
            "{joining}: {said}"
        );
        lab.drain("b").await;
        lab.assert_same().await;
        lab.on("a")
            .run(&format!(
                "INSERT INTO {through} VALUES (4, 'again'); UPDATE p SET v = 'pp'; DELETE FROM p WHERE id = 3"
            ))
            .await;
        lab.drain("b").await;
        lab.assert_same().await;
        assert_eq!(lab.round("b").await.unwrap().quarantine_told().join(" "), "", "{joining}");
        if table == "q" {
            // A partition that comes later is captured like the others.
            for name in ["a", "b"] {
                lab.on(name).run("CREATE TABLE q2 PARTITION OF q FOR VALUES FROM (100) TO (200)").await;
            }
            lab.on("a").run("INSERT INTO p VALUES (101, 'late')").await;
            lab.drain("b").await;
            lab.on("a").run("INSERT INTO p VALUES (102, 'late')").await;
            lab.drain("b").await;
            lab.assert_same().await;
        }
    }
}
