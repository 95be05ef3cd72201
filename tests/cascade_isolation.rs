//! `isolation_level` and `lock_table_force`, and the order of tables, on real servers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bucardo::catalog::LockMode;
use bucardo_actors::model::Fault;
use bucardo_actors::ports::{StepHook, Watch};
use futures_util::FutureExt;

use crate::support::{SyncLab, Web, fresh_database, wait};

const ORDERS: &str = "CREATE TABLE orders (id int PRIMARY KEY, note text)";

/// What a hook sees in the middle of a round.
fn looking(conninfo: String, sql: &'static str, seen: Arc<std::sync::Mutex<Vec<String>>>) -> StepHook {
    Arc::new(move |step: &str| {
        let (is_there, conninfo, seen) = (step.starts_with("rows copied"), conninfo.clone(), seen.clone());
        async move {
            if is_there {
                let (client, connection) = tokio_postgres::connect(&conninfo, tokio_postgres::NoTls)
                    .await
                    .map_err(|error| Fault::transient(error.to_string()))?;
                tokio::spawn(connection);
                let row = client.query_one(sql, &[]).await.map_err(|error| Fault::transient(error.to_string()))?;
                seen.lock().unwrap().push(row.get(0));
            }
            Ok(())
        }
        .boxed()
    })
}

/// The lock of the name is held on both sides until the target has committed, and no longer.
#[tokio::test]
async fn a_forced_lock_is_held_on_both_sides() {
    let mut lab = SyncLab::start(&["b"], ORDERS, &["orders:id"]).await;
    lab.sync.lock = Some(LockMode::ShareRowExclusive);
    let locks = "SELECT coalesce(string_agg(DISTINCT mode, ' '), '') FROM pg_locks \
        WHERE relation = 'public.orders'::regclass AND granted AND mode = 'ShareRowExclusiveLock'";
    for (number, db) in (1..).zip(["a", "b"]) {
        lab.on("a").run(&format!("INSERT INTO orders VALUES ({number})")).await;
        let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
        let hook = looking(lab.on(db).conninfo(), locks, seen.clone());
        lab.round_watched("b", Watch::default().with_hook(hook)).await.unwrap();
        assert_eq!(*seen.lock().unwrap(), ["ShareRowExclusiveLock"], "{db}");
        assert_eq!(lab.on(db).value(locks).await, "", "{db}");
    }
    lab.assert_same().await;
    // Whoever is in the way is waited for.
    lab.on("a").run("INSERT INTO orders VALUES (3)").await;
    let (blocker, looker) = (lab.on("b").session().await, lab.on("b").session().await);
    blocker.batch_execute("BEGIN; LOCK TABLE orders IN ROW EXCLUSIVE MODE").await.unwrap();
    let release = async {
        let waiting = "SELECT count(*) FROM pg_locks WHERE relation = 'public.orders'::regclass AND NOT granted";
        wait::until_equal("the round to wait", Duration::from_secs(30), &1_i64, async || {
            looker.query_one(waiting, &[]).await.unwrap().get(0)
        })
        .await;
        blocker.batch_execute("COMMIT").await.unwrap();
    };
    let (ended, ()) = tokio::join!(lab.round("b"), release);
    assert_eq!(ended.unwrap().inserts, 1);
    lab.assert_same().await;
}

/// Both transactions are serializable; a round that clashes with somebody else starts over by itself.
#[tokio::test]
async fn serializable_rounds_start_over() {
    let mut lab = SyncLab::start(&["b"], ORDERS, &["orders:id"]).await;
    lab.on("a").run("INSERT INTO orders VALUES (1, 'new')").await;
    lab.drain("b").await;
    lab.sync.serializable = true;
    lab.renew();
    let locks = "SELECT coalesce(string_agg(DISTINCT mode, ' '), '') FROM pg_locks \
        WHERE relation IN ('public.orders'::regclass, 'public.orders_pkey'::regclass) AND mode = 'SIReadLock'";
    for (number, db) in (2..).zip(["a", "b"]) {
        lab.on("a").run(&format!("UPDATE orders SET note = 'change {number}'")).await;
        let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
        let hook = looking(lab.on(db).conninfo(), locks, seen.clone());
        lab.round_watched("b", Watch::default().with_hook(hook)).await.unwrap();
        assert_eq!(*seen.lock().unwrap(), ["SIReadLock"], "{db}");
    }
    // The row is changed on the target after the round's snapshot there was taken.
    lab.on("a").run("UPDATE orders SET note = 'wins'").await;
    let (conninfo, times) = (lab.on("b").conninfo(), Arc::new(AtomicU32::new(0)));
    let counted = times.clone();
    let hook: StepHook = Arc::new(move |step: &str| {
        let clashes = step.starts_with("keys read") && counted.fetch_add(1, Ordering::Relaxed) < 2;
        let conninfo = conninfo.clone();
        async move {
            if clashes {
                let (client, connection) = tokio_postgres::connect(&conninfo, tokio_postgres::NoTls).await.unwrap();
                tokio::spawn(connection);
                client.batch_execute("UPDATE orders SET note = note || '!'").await.unwrap();
            }
            Ok(())
        }
        .boxed()
    });
    lab.round_watched("b", Watch::default().with_hook(hook)).await.unwrap();
    assert_eq!(times.load(Ordering::Relaxed), 3);
    lab.assert_same().await;
}

/// A merge takes the forced lock at every source, and is serializable there, where that is asked for.
#[tokio::test]
async fn merges_lock_and_are_serializable() {
    let locks = "SELECT coalesce(string_agg(DISTINCT mode, ' ' ORDER BY mode), '') FROM pg_locks \
        WHERE relation IN ('public.orders'::regclass, 'bucardo.delta_public_orders'::regclass) \
          AND mode IN ('ShareRowExclusiveLock', 'SIReadLock')";
    // Other databases of the server have tests of their own.
    let kept = "SELECT count(*) FROM pg_locks WHERE mode = 'ShareRowExclusiveLock' \
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    let mut lab = SyncLab::masters(&["a", "b"], &[], ORDERS, &["orders:id"]).await;
    (lab.sync.serializable, lab.sync.lock) = (true, Some(LockMode::ShareRowExclusive));
    for (number, db) in (1..).zip(["a", "b"]) {
        lab.on(db).run(&format!("INSERT INTO orders VALUES ({number}, '{db}')")).await;
        lab.renew();
        let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
        let hook = looking(lab.on(db).conninfo(), locks, seen.clone());
        lab.merge_watched(Watch::default().with_hook(hook)).await.unwrap();
        assert_eq!(*seen.lock().unwrap(), ["SIReadLock ShareRowExclusiveLock"], "{db}");
        assert_eq!(lab.on(db).number(kept).await, 0, "{db}");
    }
    lab.assert_same().await;
}

/// Serializable rounds hand on, too: who came to read after a round's snapshot waits until the round has ended.
#[tokio::test]
async fn serializable_rounds_hand_on() {
    let mut web = Web::start(&["a", "b", "c"], ORDERS, &["orders:id"]).await;
    web.syncs(&["one: a -> b", "two: b -> c"]).await;
    web.syncs.iter_mut().for_each(|sync| sync.serializable = true);
    web.on("a").run("INSERT INTO orders SELECT generate_series(1, 1500)").await;
    web.settle().await;
    web.assert_same("orders").await;
    web.assert_silent().await;
}

/// Tables are brought in the order of the relgroup: higher priority first, then as they were added.
#[tokio::test]
async fn tables_come_in_the_order_of_their_group() {
    let database = fresh_database("order").await;
    let mut session = database.session().await;
    bucardo::catalog::migrate::migrate(&mut session).await.unwrap();
    database
        .run(
            "INSERT INTO bucardo.db (name, dbname) VALUES ('a', 'x'), ('b', 'y'); \
             INSERT INTO bucardo.dbgroup (name) VALUES ('g'); \
             INSERT INTO bucardo.dbmap (db, dbgroup, role) VALUES ('a', 'g', 'source'), ('b', 'g', 'target'); \
             INSERT INTO bucardo.herd (name) VALUES ('h'); \
             INSERT INTO bucardo.goat (id, db, schemaname, tablename, makedelta) VALUES \
                 (1, 'a', 's', 'first', NULL), (2, 'a', 's', 'second', 'off'), (3, 'a', 's', 'third', 'b'), (4, 'a', 's', 'top', ''); \
             INSERT INTO bucardo.herdmap (herd, goat, priority) VALUES ('h', 3, 0), ('h', 1, 0), ('h', 2, 5), ('h', 4, 9); \
             INSERT INTO bucardo.sync (name, herd, dbs, isolation_level, lock_table_force) VALUES \
                 ('s', 'h', 'g', 'SERIALIZABLE', 'exclusive')",
        )
        .await;
    let sync = bucardo::catalog::load_sync(&session, &"s".into()).await.unwrap().unwrap();
    let names: Vec<&str> = sync.tables().map(|goat| goat.name.as_str()).collect();
    assert_eq!(names, ["top", "second", "first", "third"]);
    let handing_on: Vec<bool> = sync.tables().map(|goat| sync.makes_delta(goat, &"b".into())).collect();
    assert_eq!(handing_on, [false, false, false, true]);
    assert_eq!((sync.serializable, sync.lock), (true, Some(LockMode::Exclusive)));
    database.run("UPDATE bucardo.sync SET makedelta = true, isolation_level = NULL; UPDATE bucardo.dbmap SET makedelta = false WHERE db = 'b'").await;
    let sync = bucardo::catalog::load_sync(&session, &"s".into()).await.unwrap().unwrap();
    let handing_on: Vec<bool> = sync.tables().map(|goat| sync.makes_delta(goat, &"b".into())).collect();
    assert_eq!((handing_on, sync.serializable), (vec![false, false, false, true], false));
}
