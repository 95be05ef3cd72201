//! What scripts of earlier versions look at in a source: deltas and tracks, under their names and in their columns.

use crate::support::SyncLab;

const TABLES: &str = "CREATE TABLE orders (id int PRIMARY KEY, note text);
    CREATE SCHEMA \"We-ird\"; CREATE TABLE \"We-ird\".\"it's\" (\"B c\" bytea, txntime int, PRIMARY KEY (\"B c\", txntime))";
const GOATS: [&str; 2] = ["orders:id", "We-ird.it's:B c,txntime"];

async fn lab() -> SyncLab {
    SyncLab::start(&["b", "c"], TABLES, &GOATS).await
}

#[tokio::test]
async fn a_track_row_says_that_every_target_has_read_a_transaction() {
    let mut lab = lab().await;
    let tracks = "SELECT target, count(*) FROM bucardo.track_public_orders GROUP BY target";
    assert!(lab.on("a").rows(tracks).await.is_empty(), "it is there before the first change");
    lab.on("a").run("INSERT INTO orders VALUES (1, 'x'), (2, 'y')").await;
    lab.on("a").run("INSERT INTO orders VALUES (3, 'z')").await;
    assert_eq!(lab.on("a").number("SELECT count(*) FROM bucardo.delta_public_orders").await, 3);
    lab.round("b").await.unwrap();
    assert!(lab.on("a").rows(tracks).await.is_empty(), "c has read nothing");
    let by_target =
        "SELECT targetdb, count(*) FROM bucardo.bucardo_track WHERE tablename = 'orders'::regclass GROUP BY 1";
    assert_eq!(lab.on("a").rows(by_target).await, ["b|2"]);
    lab.round("c").await.unwrap();
    assert_eq!(lab.on("a").rows(tracks).await, ["dbgroup lab|2"], "one row a transaction");
    let pending = "SELECT count(*) FROM bucardo.delta_public_orders AS d WHERE NOT EXISTS (SELECT 1 FROM \
                   bucardo.track_public_orders AS t WHERE t.txntime = d.txntime AND t.target = 'dbgroup lab')";
    assert_eq!(lab.on("a").number(pending).await, 0);
    lab.on("a").run("INSERT INTO orders VALUES (4, 'w')").await;
    assert_eq!(lab.on("a").number(pending).await, 1, "what version 5 counts as pending");
}

#[tokio::test]
async fn hostile_names_and_keys_are_shown_as_they_were() {
    let lab = lab().await;
    lab.on("a").run("INSERT INTO \"We-ird\".\"it's\" VALUES ('\\x01ff', 7); INSERT INTO orders VALUES (5, '')").await;
    let all = "SELECT tablename::regclass, rowid, rowid2, rowid3 FROM bucardo.bucardo_delta ORDER BY 2";
    assert_eq!(lab.on("a").rows(all).await, ["orders|5||", "\"We-ird\".\"it's\"|Af8=|7|"]);
    let names = "SELECT tablename, deltaname, trackname FROM bucardo.bucardo_delta_names ORDER BY 1";
    assert_eq!(
        lab.on("a").rows(names).await,
        [
            "\"We-ird\".\"it's\"|\"delta_We-ird_it's\"|\"track_We-ird_it's\"",
            "public.orders|delta_public_orders|track_public_orders"
        ]
    );
    assert!(lab.on("a").rows("SELECT * FROM bucardo.\"track_We-ird_it's\"").await.is_empty());
    let targets = "SELECT DISTINCT target FROM bucardo.bucardo_delta_targets";
    assert_eq!(lab.on("a").rows(targets).await, ["dbgroup lab"]);
}

/// Another key makes another delta table under the same name, and nothing of the views is in its way.
#[tokio::test]
async fn views_follow_a_table_that_gets_another_key() {
    let mut lab = lab().await;
    for db in ["a", "b", "c"] {
        lab.on(db).run("ALTER TABLE orders DROP CONSTRAINT orders_pkey, ADD PRIMARY KEY (note)").await;
    }
    lab.sync.goats[0].key = vec!["note".into()];
    lab.validate().await.unwrap();
    lab.on("a").run("INSERT INTO orders VALUES (1, 'new')").await;
    assert_eq!(lab.on("a").rows("SELECT rowid FROM bucardo.bucardo_delta").await, ["new"]);
    assert!(lab.on("a").rows("SELECT * FROM bucardo.track_public_orders").await.is_empty());
    let before = lab
        .on("a")
        .rows("SELECT oid, relfilenode FROM pg_class WHERE relnamespace = 'bucardo'::regnamespace ORDER BY 1")
        .await;
    lab.validate().await.unwrap();
    let after = lab
        .on("a")
        .rows("SELECT oid, relfilenode FROM pg_class WHERE relnamespace = 'bucardo'::regnamespace ORDER BY 1")
        .await;
    assert_eq!(before, after, "what is in place stays");
}
