//! The functions that cron jobs call on a source, and the commands beside them: what has not been read stays.

use std::time::Duration;

use bucardo::source::purge::{PurgeLimits, purge};
use bucardo_actors::ports::Watch;

use crate::support::{SyncLab, Town};

const TABLES: &str = "CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE u (a text, b date, PRIMARY KEY (a, b))";
const KEPT: &str = "SELECT count(*) FROM bucardo.delta_public_t";

async fn lab() -> SyncLab {
    SyncLab::start(&["b", "c"], TABLES, &["t:id", "u:a,b"]).await
}

async fn call(lab: &SyncLab, function: &str) -> String {
    lab.on("a").value(&format!("SELECT bucardo.{function}")).await
}

#[tokio::test]
async fn bucardo_purge_delta_deletes_only_what_all_have_read() {
    let mut lab = lab().await;
    lab.on("a").run("INSERT INTO t SELECT generate_series(1, 5); INSERT INTO u VALUES ('x', '2026-01-01')").await;
    lab.drain("b").await;
    let nothing = "Tables processed: 2 Rows deleted from bucardo_delta: 0";
    assert_eq!(call(&lab, "bucardo_purge_delta('0 seconds'::interval)").await, nothing, "c has read nothing");
    lab.drain("c").await;
    assert_eq!(call(&lab, "bucardo_purge_delta('1 hour')").await, nothing, "all is younger than that");
    let all = "Tables processed: 2 Rows deleted from bucardo_delta: 6";
    assert_eq!(call(&lab, "bucardo_purge_delta('0 seconds')").await, all);
    let refused = lab.on("a").refused("SELECT bucardo.bucardo_purge_delta(NULL::interval)").await;
    assert!(refused.contains("needs an interval"), "{refused}");
}

/// A cron job runs as whoever may use the schema: it needs no rights on the tables, and no superuser.
#[tokio::test]
async fn the_functions_need_no_superuser() {
    let mut lab = lab().await;
    lab.on("a").run("INSERT INTO t VALUES (1); UPDATE t SET v = 'x'").await;
    for target in ["b", "c"] {
        lab.drain(target).await;
    }
    let role = format!("cron_{}", lab.on("a").name);
    lab.on("a").run(&format!("CREATE ROLE {role}; GRANT USAGE ON SCHEMA bucardo TO {role}; SET ROLE {role}")).await;
    assert_eq!(call(&lab, "bucardo_compress_delta()").await, "Rows deleted from bucardo_delta: 1");
    let purged = call(&lab, "bucardo_purge_delta('0 seconds')").await;
    assert_eq!(purged, "Tables processed: 2 Rows deleted from bucardo_delta: 1");
    lab.on("a").run(&format!("RESET ROLE; DROP OWNED BY {role}; DROP ROLE {role}")).await;
}

/// The only copies of a change that may go are those that a later one tells as well, to every reader there can be.
#[tokio::test]
async fn bucardo_compress_delta_keeps_what_tells_of_each_key() {
    let mut lab = lab().await;
    let a = lab.on("a");
    // A transaction that began first and ends last.
    let long = a.session().await;
    long.batch_execute("BEGIN; INSERT INTO t VALUES (100, 'long')").await.unwrap();
    a.run("INSERT INTO t SELECT n, 'one' FROM generate_series(1, 3) n").await;
    a.run("BEGIN; UPDATE t SET v = 'two' WHERE id = 1; UPDATE t SET v = 'three' WHERE id = 1; COMMIT").await;
    a.run("INSERT INTO u VALUES ('x', '2026-01-01'); UPDATE u SET a = 'y'").await;
    assert_eq!(a.number(KEPT).await, 5);
    // Those of one transaction are seen together by everybody.
    assert_eq!(call(&lab, "bucardo_compress_delta('t')").await, "Rows deleted from bucardo_delta: 1");
    // The insert and the last update: a mark between them has yet to be made.
    assert_eq!(call(&lab, "bucardo_compress_delta('public', 't')").await, "Rows deleted from bucardo_delta: 0");
    let a = lab.on("a");
    a.run("UPDATE t SET v = 'four' WHERE id IN (1, 2)").await;
    long.batch_execute("UPDATE t SET v = 'long' WHERE id = 3; COMMIT").await.unwrap();
    let form = "bucardo_compress_delta('t'::regclass)";
    assert_eq!(call(&lab, form).await, "Rows deleted from bucardo_delta: 3", "two of key 1, one of key 2");
    let left = "SELECT string_agg(id::text, ',' ORDER BY id, txid) FROM bucardo.delta_public_t";
    assert_eq!(lab.on("a").value(left).await, "1,2,3,3,100", "of key 3 nobody knows which came first");
    let all = "Rows deleted from bucardo_delta: 1";
    assert_eq!(call(&lab, "bucardo_compress_delta()").await, all, "the update of u names the old key again");
    for target in ["b", "c"] {
        lab.drain(target).await;
    }
    lab.assert_same().await;
    let refused = lab.on("a").refused("SELECT bucardo.bucardo_compress_delta('public', 'none')").await;
    assert!(refused.contains("No changes are captured of table public.none"), "{refused}");
}

/// Writers, readers, the VAC and a cron job at the same time: nobody waits for anybody.
#[tokio::test]
async fn a_purge_blocks_nobody() {
    let mut lab = lab().await;
    lab.on("a").run("INSERT INTO t SELECT generate_series(1, 1000)").await;
    for target in ["b", "c"] {
        lab.drain(target).await;
    }
    let (writer, reader, cron) =
        (lab.on("a").session().await, lab.on("a").session().await, lab.on("a").session().await);
    for session in [&writer, &reader, &cron] {
        session.batch_execute("SET lock_timeout = '1s'").await.unwrap();
    }
    writer.batch_execute("BEGIN; UPDATE t SET v = 'open' WHERE id < 10").await.unwrap();
    let look = "SELECT FROM bucardo.delta_public_t";
    reader.batch_execute(&format!("BEGIN ISOLATION LEVEL REPEATABLE READ; {look}")).await.unwrap();
    // The purge is not committed while the others go on.
    cron.batch_execute("BEGIN; SELECT bucardo.bucardo_purge_delta('0 seconds')").await.unwrap();
    writer.batch_execute("UPDATE t SET v = 'again' WHERE id < 20; COMMIT").await.unwrap();
    writer.batch_execute("UPDATE t SET v = 'more'").await.unwrap();
    reader.batch_execute(&format!("{look}; COMMIT")).await.unwrap();
    let source = bucardo::pg::connect(&lab.sync.members[0].db.access, "test").await.unwrap();
    let limits = PurgeLimits { keep: Duration::ZERO, ..PurgeLimits::default() };
    let db = lab.sync.members[0].db.name.clone();
    let vac = async || purge(&source, &db, limits, &Watch::default()).await.unwrap().rows;
    assert_eq!(vac().await, 0, "another one is at work");
    lab.drain("b").await;
    cron.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(vac().await, 1000);
    lab.drain("c").await;
    lab.assert_same().await;
}

/// `delta` counts, `purge` deletes, of databases, syncs and tables, while no daemon runs.
#[tokio::test]
async fn delta_and_purge_work_from_the_command_line() {
    let mut town = Town::found(TABLES).await;
    town.sync("");
    town.a.run("INSERT INTO t SELECT generate_series(1, 7); INSERT INTO u VALUES ('x', '2026-01-01')").await;
    let counted = town.bucardo.run("delta");
    assert_eq!(counted, "Total deltas across all targets: 8\n  Total deltas for database A: 8\n");
    let table = town.bucardo.run("delta public.t");
    assert!(table.ends_with("  Total deltas for database A: 7\n    public.t: 7\n"), "{table}");
    let json: serde_json::Value = serde_json::from_str(&town.bucardo.run("delta s --json")).unwrap();
    assert_eq!((&json["total"], &json["databases"][0]["tables"][1]["deltas"]), (&8.into(), &1.into()), "{json}");
    assert_eq!(town.bucardo.call(&["delta", "B"]).code, 1, "B is no source");
    assert!(town.bucardo.fails("purge nothing").contains("no database, sync or table named \"nothing\""));

    let before = town.bucardo.run("purge");
    assert_eq!(before, "Checking db A\nA: Tables processed: 2 Rows deleted: 0\n", "nobody has read anything");
    let all_read = "UPDATE bucardo.track SET snapshot = txid_current_snapshot()";
    town.a.run(all_read).await;
    for delta in ["t", "u"] {
        town.a.run(&format!("UPDATE bucardo.delta_public_{delta} SET txntime = txntime - interval '1 minute'")).await;
    }
    assert_eq!(town.bucardo.run("purge t"), "Checking db A\nA: Tables processed: 1 Rows deleted: 7\n");
    assert_eq!(town.bucardo.run("purge A"), "Checking db A\nA: Tables processed: 2 Rows deleted: 1\n");
}
