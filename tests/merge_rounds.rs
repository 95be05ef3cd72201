//! Merges of several sources on real servers: what one writes arrives at all, conflicts have one winner, and nothing
//! comes back as a new change.

use std::sync::{Arc, Mutex};

use bucardo_actors::ports::{StepHook, Watch};
use futures_util::FutureExt;

use crate::support::SyncLab;

const ORDERS: &str = "CREATE TABLE orders (id int PRIMARY KEY, note text)";

async fn lab(sources: &[&str]) -> SyncLab {
    SyncLab::masters(sources, &[], ORDERS, &["orders:id"]).await
}

/// Inserts, updates, deletes and changed keys of each source arrive at the others, and then there is silence.
#[tokio::test]
async fn changes_of_each_arrive_at_all() {
    let mut lab = lab(&["a", "b", "c"]).await;
    lab.on("a").run("INSERT INTO orders SELECT n, 'a' FROM generate_series(1, 10) n").await;
    lab.on("b").run("INSERT INTO orders SELECT n, 'b' FROM generate_series(11, 20) n").await;
    let report = lab.merge().await.unwrap();
    assert_eq!((report.keys, report.inserts, report.deletes, report.conflicts), (20, 40, 0, 0));
    lab.assert_same().await;
    assert!(lab.merge().await.unwrap().is_empty());
    lab.on("b").run("UPDATE orders SET note = 'new' WHERE id = 1").await;
    lab.on("c").run("DELETE FROM orders WHERE id = 2").await;
    lab.on("a").run("UPDATE orders SET id = 33 WHERE id = 13").await;
    let report = lab.merge().await.unwrap();
    assert_eq!((report.keys, report.inserts, report.deletes), (4, 4, 6));
    lab.assert_same().await;
    assert!(lab.merge().await.unwrap().is_empty());
    assert_eq!(lab.on("c").value("SELECT count(*) FROM orders").await, "19");
}

/// The later of two changes wins at both, and the conflict is told once with both rows.
#[tokio::test]
async fn a_conflict_has_one_winner() {
    let mut lab = lab(&["a", "b"]).await;
    lab.on("a").run("INSERT INTO orders VALUES (1, 'first'), (2, 'first')").await;
    lab.settle().await;
    lab.on("b").run("UPDATE orders SET note = 'b' WHERE id = 1").await;
    lab.on("a").run("UPDATE orders SET note = 'a' WHERE id = 1").await;
    lab.on("a").run("DELETE FROM orders WHERE id = 2").await;
    lab.on("b").run("UPDATE orders SET note = 'alive' WHERE id = 2").await;
    let report = lab.merge().await.unwrap();
    assert_eq!((report.keys, report.conflicts), (2, 2));
    lab.assert_same().await;
    assert_eq!(lab.on("a").rows("SELECT id || note FROM orders ORDER BY id").await, ["1a", "2alive"]);
    assert!(lab.merge().await.unwrap().is_empty());
    let told = lab.conflicts.all();
    assert_eq!(told.len(), 2, "{told:?}");
    let first = told.iter().find(|it| it.key["id"] == "1").unwrap();
    assert_eq!((first.winner.as_str(), first.strategy.as_str()), ("a", "bucardo_latest"));
    assert_eq!(first.rows[&"b".into()].as_deref(), Some(r#"{"id":1,"note":"b"}"#));
    let second = told.iter().find(|it| it.key["id"] == "2").unwrap();
    assert_eq!(second.rows[&"a".into()], None);
}

/// A large merge that clashes with a local write begins anew, with its second session of each source as before: what the
/// first try had begun there is over.
#[tokio::test]
async fn a_large_merge_that_clashes_begins_anew_with_both_sessions() {
    let mut lab = lab(&["a", "b"]).await;
    lab.on("a").run("INSERT INTO orders SELECT n, 'old' FROM generate_series(1, 5000) n").await;
    lab.settle().await;
    // Second sessions are for merges in which several sources have much to tell.
    lab.on("a").run("UPDATE orders SET note = 'new' WHERE id <= 2500").await;
    lab.on("b").run("UPDATE orders SET note = 'other' WHERE id > 2500").await;
    let local = Arc::new(lab.on("b").session().await);
    // How many sessions of the merge are in a transaction, in each try.
    let tries: Arc<Mutex<Vec<i64>>> = Arc::default();
    let (noted, writer) = (Arc::clone(&tries), Arc::clone(&local));
    let hook: StepHook = Arc::new(move |step: &str| {
        let is_there = step.starts_with("keys read");
        let (noted, writer) = (Arc::clone(&noted), Arc::clone(&writer));
        async move {
            if is_there {
                let busy = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'bucardo KID s merge%' \
                    AND datname = current_database() AND xact_start IS NOT NULL";
                let busy: i64 = writer.query_one(busy, &[]).await.unwrap().get(0);
                let is_first = noted.lock().unwrap().is_empty();
                noted.lock().unwrap().push(busy);
                if is_first {
                    writer.batch_execute("UPDATE orders SET note = 'local' WHERE id = 5").await.unwrap();
                }
            }
            Ok(())
        }
        .boxed()
    });
    lab.merge_watched(Watch::default().with_hook(hook)).await.unwrap();
    let tries = tries.lock().unwrap().clone();
    assert!(tries.len() >= 2, "it did not clash: {tries:?}");
    assert!(tries.iter().all(|busy| *busy == 2), "two sessions in each try: {tries:?}");
    lab.settle().await;
    lab.assert_same().await;
}
