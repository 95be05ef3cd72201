//! Taking a sync out of a source: nobody who writes there is held up, and nothing is switched off that others want.

use std::time::Duration;

use bucardo::pg::{Access, connect};
use bucardo::source::{forget_sync, validate_sync};

use crate::support::{SyncLab, wait};

const TABLES: &str = "CREATE TABLE orders (id int PRIMARY KEY, note text)";
const WAITED: &str = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory' \
                      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
const WITHIN: Duration = Duration::from_secs(10);

/// A transaction that has written stays open. It holds the gate; others write on as if nothing were, and the gate and
/// the changes that nobody wants go when it has ended, or stay and harm nobody.
#[tokio::test]
async fn a_writer_that_stays_open_holds_up_nobody() {
    let lab = SyncLab::start(&["b"], TABLES, &["orders:id"]).await;
    lab.on("a").run("SELECT setval('bucardo.gate_s', 1)").await;
    let open = lab.on("a").session().await;
    open.batch_execute("BEGIN; INSERT INTO orders VALUES (1, 'open')").await.unwrap();
    let forgetting = tokio::spawn({
        let sync = lab.sync.clone();
        async move { forget_sync(&sync).await }
    });
    let other = lab.on("a").session().await;
    other.batch_execute("SET statement_timeout = '1s'").await.unwrap();
    let registered = "SELECT count(*) FROM bucardo.captured_sync";
    wait::until_equal("the sync to be forgotten", WITHIN, &0, async || lab.on("a").number(registered).await).await;
    for id in 2..50 {
        other.execute("INSERT INTO orders VALUES ($1, 'other')", &[&id]).await.unwrap();
    }
    open.batch_execute("COMMIT").await.unwrap();
    assert_eq!(forgetting.await.unwrap(), [""; 0]);
    let deltas = "SELECT count(*) FROM bucardo.delta_public_orders WHERE id > 1";
    assert_eq!(lab.on("a").number(deltas).await, 0, "nothing more is captured");
    let gates = "SELECT count(*) FROM pg_class WHERE relname = 'gate_s'";
    assert_eq!(lab.on("a").number(gates).await, 0);
}

/// While one sync leaves a table, another comes to it.
#[tokio::test]
async fn what_another_sync_just_came_to_want_stays_captured() {
    let lab = SyncLab::start(&["b"], TABLES, &["orders:id"]).await;
    let adding = lab.on("a").session().await;
    adding
        .batch_execute(
            "BEGIN; SELECT pg_advisory_xact_lock(hashtext('bucardo bookkeeping'));
             INSERT INTO bucardo.captured_sync (captured, sync, kick) SELECT id, 'other', true FROM bucardo.captured;
             CREATE SEQUENCE bucardo.gate_other",
        )
        .await
        .unwrap();
    let forgetting = tokio::spawn({
        let sync = lab.sync.clone();
        async move { forget_sync(&sync).await }
    });
    wait::until_equal("the removal to wait", WITHIN, &1, async || lab.on("a").number(WAITED).await).await;
    adding.batch_execute("COMMIT").await.unwrap();
    assert_eq!(forgetting.await.unwrap(), [""; 0]);
    lab.on("a").run("INSERT INTO orders VALUES (1, 'new')").await;
    assert_eq!(lab.on("a").number("SELECT count(*) FROM bucardo.delta_public_orders").await, 1);
}

/// A statement that finds no row is no news: it wakes nobody, however often it runs.
#[tokio::test]
async fn a_statement_that_changes_no_row_tells_nobody() {
    let lab = SyncLab::start(&["b"], TABLES, &["orders:id"]).await;
    lab.on("a").run("SELECT setval('bucardo.gate_s', 1)").await;
    let mut listener = connect(&Access::parse(&lab.on("a").conninfo()).unwrap(), "test").await.unwrap();
    listener.batch_execute("LISTEN bucardo").await.unwrap();
    let mut heard = listener.notifications().unwrap();
    lab.on("a").run("DELETE FROM orders; UPDATE orders SET note = 'x'; INSERT INTO orders SELECT 1 WHERE false").await;
    let writer = lab.on("a").again().await;
    writer.run("INSERT INTO orders VALUES (1, 'x')").await;
    let pid = writer.number("SELECT pg_backend_pid()").await;
    let first = tokio::time::timeout(WITHIN, heard.recv()).await.unwrap().unwrap();
    assert_eq!(i64::from(first.process_id()), pid, "who wrote nothing told");
}

/// The view of versions 3 and 4 shows keys: who may use the schema, to purge by cron for instance, may not read them.
#[tokio::test]
async fn keys_are_shown_to_those_who_may_read_the_view() {
    let lab = SyncLab::start(&["b"], TABLES, &["orders:id"]).await;
    let role = format!("cron_{}", std::process::id());
    let a = lab.on("a");
    a.run(&format!("INSERT INTO orders VALUES (1, 'x'); CREATE ROLE {role}; GRANT USAGE ON SCHEMA bucardo TO {role}"))
        .await;
    let theirs = a.again().await;
    theirs.run(&format!("SET SESSION AUTHORIZATION {role}")).await;
    let refusal = theirs.refused("SELECT * FROM bucardo.bucardo_delta_all()").await;
    assert!(refusal.contains("permission denied for view bucardo.bucardo_delta"), "{refusal}");
    assert!(refusal.contains(&format!("GRANT SELECT ON bucardo.bucardo_delta TO {role}")), "{refusal}");
    a.run(&format!("GRANT SELECT ON bucardo.bucardo_delta TO {role}")).await;
    assert_eq!(theirs.rows("SELECT rowid FROM bucardo.bucardo_delta").await, ["1"]);
}

/// What a removed sync has not read is gone at once, however much it is; what another sync reads stays.
#[tokio::test]
async fn what_nobody_reads_any_more_is_emptied() {
    let lab = SyncLab::start(
        &["b"],
        "CREATE TABLE orders (id int PRIMARY KEY, note text); CREATE TABLE items (id int PRIMARY KEY); \
         CREATE TABLE lines (id int PRIMARY KEY)",
        &["orders:id", "items:id", "lines:id"],
    )
    .await;
    let a = lab.on("a");
    for table in ["orders", "items", "lines"] {
        a.run(&format!("INSERT INTO {table} SELECT n FROM generate_series(1, 1000) AS n")).await;
    }
    a.run(
        "INSERT INTO bucardo.captured_sync (captured, sync, kick) \
         SELECT id, 'other', false FROM bucardo.captured WHERE tablename = 'items'",
    )
    .await;
    // Rows, and whether there is any space of them.
    let kept = async |table: &str| {
        let relation = format!("bucardo.delta_public_{table}");
        let rows = a.number(&format!("SELECT count(*) FROM {relation}")).await;
        (rows, a.number(&format!("SELECT pg_relation_size('{relation}')")).await > 0)
    };
    // A table leaves the sync,
    let mut smaller = lab.sync.clone();
    smaller.goats.retain(|goat| goat.name != "lines");
    validate_sync(&smaller).await.unwrap();
    assert_eq!((kept("lines").await, kept("orders").await), ((0, false), (1000, true)));
    // and the sync its source.
    assert_eq!(forget_sync(&smaller).await, [""; 0]);
    assert_eq!((kept("orders").await, kept("items").await), ((0, false), (1000, true)));
}
