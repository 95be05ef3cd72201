//! Tables and delta tables that get another file (`ALTER TABLE … TYPE` and the like) under a round: to snapshots taken
//! before, the new file looks empty.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bucardo_actors::ports::{StepHook, Watch};
use futures_util::FutureExt;

use crate::support::{SyncLab, wait};

/// Runs statements at `db` the first time that a round gets to `step`, and commits them.
async fn running_once(lab: &SyncLab, db: &str, step: &'static str, sql: &str) -> Watch {
    let session = Arc::new(lab.on(db).session().await);
    let (sql, ran) = (Arc::<str>::from(sql), Arc::new(AtomicBool::new(false)));
    let hook: StepHook = Arc::new(move |at: &str| {
        let (session, sql) = (session.clone(), sql.clone());
        let is_it = at == step && !ran.swap(true, Ordering::Relaxed);
        async move {
            if is_it {
                session.batch_execute(&sql).await.unwrap();
            }
            Ok(())
        }
        .boxed()
    });
    Watch::default().with_hook(hook)
}

/// A table is rewritten when the round has taken its snapshot and not read it yet.
#[tokio::test]
async fn a_table_rewritten_under_a_round_does_not_arrive_empty() {
    let ddl = "CREATE TABLE t (id int PRIMARY KEY, v int);
               CREATE TABLE p (id int PRIMARY KEY, v int) PARTITION BY RANGE (id);
               CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10);
               CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (9000)";
    let mut lab = SyncLab::start(&["b"], ddl, &["t:id", "p:id"]).await;
    for is_known in [false, true] {
        for table in ["t", "p"] {
            for (kind, changes) in [("int", 20), ("int", 3000)] {
                lab.on("a").run(&format!("INSERT INTO {table} SELECT n, 0 FROM generate_series(1, {changes}) n ON CONFLICT (id) DO UPDATE SET v = excluded.v - 1")).await;
                lab.drain("b").await;
                if !is_known {
                    lab.renew();
                }
                lab.on("a").run(&format!("UPDATE {table} SET v = v + 1")).await;
                let rewrite = format!("ALTER TABLE {table} ALTER v TYPE {kind} USING v + 0");
                let watch = running_once(&lab, "a", "snapshot taken", &rewrite).await;
                let report = lab.round_watched("b", watch).await.unwrap();
                let seen = format!("{table}, {changes} changes, {is_known}: {report:?}");
                assert_eq!(
                    report.inserts,
                    lab.on("a").number(&format!("SELECT count(*) FROM {table}")).await.cast_unsigned(),
                    "{seen}"
                );
                lab.assert_same().await;
            }
        }
    }
}

/// What a validation runs when a key column has become wider.
const RETYPE: &str = "ALTER TABLE bucardo.delta_public_t ALTER COLUMN id TYPE bigint";

/// A delta table gets another file after the snapshot and before the question what is unread: the round waits for it.
#[tokio::test]
async fn a_delta_table_rewritten_before_it_is_asked_loses_no_change() {
    let ddl = "CREATE TABLE t (id int PRIMARY KEY, v int); CREATE TABLE u (id int PRIMARY KEY)";
    let mut lab = SyncLab::start(&["b"], ddl, &["t:id", "u:id"]).await;
    lab.on("a").run("INSERT INTO t VALUES (1, 0), (2, 0)").await;
    lab.drain("b").await;
    lab.on("a").run("UPDATE t SET v = 1 WHERE id = 1; DELETE FROM t WHERE id = 2; INSERT INTO u VALUES (1)").await;
    let (retyping, looker) = (lab.on("a").session().await, lab.on("a").session().await);
    retyping.batch_execute(&format!("BEGIN; {RETYPE}")).await.unwrap();
    let end = async {
        let waiting =
            "SELECT count(*) FROM pg_locks WHERE relation = 'bucardo.delta_public_t'::regclass AND NOT granted";
        wait::until_equal("the round to wait", Duration::from_secs(30), &1_i64, async || {
            looker.query_one(waiting, &[]).await.unwrap().get(0)
        })
        .await;
        retyping.batch_execute("COMMIT").await.unwrap();
    };
    let (report, ()) = tokio::join!(lab.round("b"), end);
    assert_eq!(report.unwrap().keys, 3);
    lab.assert_same().await;
}

/// With many tables another session asks what is unread, and the round holds no lock on a delta table until it reads it.
#[tokio::test]
async fn a_delta_table_rewritten_before_it_is_read_loses_no_change() {
    let ddl = "CREATE TABLE t (id int PRIMARY KEY, v int); CREATE TABLE u (id int PRIMARY KEY);
               DO $$ BEGIN FOR i IN 1..200 LOOP EXECUTE format('CREATE TABLE t%s (id int PRIMARY KEY)', i); END LOOP; END $$";
    let names: Vec<String> =
        (1..=200).map(|n| format!("t{n}:id")).chain(["t:id".to_owned(), "u:id".to_owned()]).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut lab = SyncLab::start(&["b"], ddl, &names).await;
    for is_known in [false, true] {
        lab.on("a")
            .run(
                "INSERT INTO t VALUES (1, 0), (2, 0) ON CONFLICT (id) DO NOTHING; INSERT INTO u SELECT count(*) FROM u",
            )
            .await;
        if is_known {
            lab.drain("b").await;
            lab.on("a")
                .run("UPDATE t SET v = 1 WHERE id = 1; DELETE FROM t WHERE id = 2; INSERT INTO u VALUES (2)")
                .await;
        }
        let watch = running_once(
            &lab,
            "a",
            "snapshot taken",
            &RETYPE.replace("bigint", if is_known { "bigint" } else { "numeric" }),
        )
        .await;
        assert_eq!(lab.round_watched("b", watch).await.unwrap().keys, 3, "{is_known}");
        lab.assert_same().await;
    }
}

/// The same in a merge, which asks after its snapshots are taken.
#[tokio::test]
async fn a_delta_table_rewritten_under_a_merge_loses_no_change() {
    let ddl = "CREATE TABLE t (id int PRIMARY KEY, v int)";
    let mut lab = SyncLab::masters(&["a", "b"], &[], ddl, &["t:id"]).await;
    lab.on("a").run("INSERT INTO t VALUES (1, 0), (2, 0), (3, 0)").await;
    lab.settle().await;
    for (kind, step) in [("bigint", "snapshot taken"), ("numeric", "snapshot taken")] {
        lab.on("a").run("UPDATE t SET v = v + 1 WHERE id = 1").await;
        lab.on("b").run("UPDATE t SET v = v + 1 WHERE id = 2").await;
        let watch = running_once(&lab, "a", step, &RETYPE.replace("bigint", kind)).await;
        lab.merge_watched(watch).await.unwrap();
        lab.settle().await;
        lab.assert_same().await;
    }
    assert_eq!(lab.on("b").rows("SELECT v FROM t ORDER BY id").await, ["2", "2", "0"]);
}
