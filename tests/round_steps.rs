//! Death at every step of a round: nothing lost, nothing twice.

use bucardo_actors::model::Failure;
use bucardo_actors::ports::Watch;

use crate::support::{Accident, SyncLab};

const ORDERS: &str = "CREATE TABLE orders (id int PRIMARY KEY, note text)";

async fn lab() -> SyncLab {
    SyncLab::start(&["b"], ORDERS, &["orders:id"]).await
}

/// Inserts, updates, deletes and a changed key arrive, and a second round finds nothing.
#[tokio::test]
async fn changes_arrive_once() {
    let mut lab = lab().await;
    lab.on("a").run("INSERT INTO orders SELECT n, 'note ' || n FROM generate_series(1, 10) n").await;
    assert_eq!(lab.round("b").await.unwrap().inserts, 10);
    lab.assert_same().await;
    lab.on("a").run("UPDATE orders SET note = 'new' WHERE id = 1").await;
    lab.on("a").run("DELETE FROM orders WHERE id = 2").await;
    lab.on("a").run("UPDATE orders SET id = 33 WHERE id = 3").await;
    let report = lab.round("b").await.unwrap();
    assert_eq!((report.deletes, report.inserts), (3, 2));
    assert!(report.lag.is_some());
    lab.assert_same().await;
    assert!(lab.round("b").await.unwrap().is_empty());
}

/// The power fails, or the code panics, at each step in turn, in a round that deletes, updates and inserts, with a
/// session that has run before. The next round brings whatever is missing, and no more than that.
#[tokio::test]
async fn death_at_every_step_loses_and_repeats_nothing() {
    let steps = [
        ("connected", false),
        ("fenced", false),
        ("snapshot taken", false),
        ("keys read of public.orders", false),
        ("rows deleted of public.orders", false),
        ("rows copied of public.orders", false),
        ("position written", false),
        ("target committed", true),
        ("track written", true),
    ];
    let mut lab = lab().await;
    lab.on("a").run("INSERT INTO orders SELECT n, '' FROM generate_series(1, 1000) n").await;
    lab.drain("b").await;
    for (number, (step, is_delivered)) in (1..).zip(steps) {
        lab.on("a").run(&format!("UPDATE orders SET note = 'step {number}' WHERE id <= 10")).await;
        lab.on("a").run(&format!("DELETE FROM orders WHERE id = 100 + {number}")).await;
        lab.on("a").run(&format!("INSERT INTO orders VALUES (5000 + {number}, 'n')")).await;
        let before = lab.on("b").rows("SELECT * FROM orders ORDER BY id").await;
        let fault = lab.round_failing("b", step, Accident::Fault).await;
        assert_eq!((fault.failure, fault.message.contains(step)), (Failure::Transient, true), "{fault}");
        if is_delivered {
            lab.assert_same().await;
        } else {
            assert_eq!(lab.on("b").rows("SELECT * FROM orders ORDER BY id").await, before, "half a round at {step}");
        }
        let report = lab.round("b").await.unwrap();
        assert_eq!(report.inserts, if is_delivered { 0 } else { 11 }, "after {step}");
        lab.assert_same().await;
        assert!(lab.round("b").await.unwrap().is_empty(), "after {step}");
    }
}

/// A panic in the middle of a round closes the connections; the fence is free again at once.
#[tokio::test]
async fn a_panic_leaves_the_fence_free() {
    let lab = lab().await;
    lab.on("a").run("INSERT INTO orders VALUES (1, 'x')").await;
    let died = tokio::spawn(async move {
        let mut lab = lab;
        let died = std::panic::AssertUnwindSafe(lab.round_failing("b", "rows copied", Accident::Panic));
        assert!(futures_util::FutureExt::catch_unwind(died).await.is_err());
        lab
    });
    let mut lab = died.await.unwrap();
    let delivered =
        crate::support::wait::until("the round to get the fence", std::time::Duration::from_secs(10), async || {
            lab.round("b").await.map_err(|fault| fault.message)
        });
    assert_eq!(delivered.await.inserts, 1);
    lab.assert_same().await;
}

/// The same deaths inside a whole copy: it takes effect once, and changes made meanwhile arrive after it.
#[tokio::test]
async fn death_in_a_copy_leaves_nothing_half() {
    for step in
        ["snapshot taken", "rows deleted", "rows copied", "position written", "target committed", "track written"]
    {
        let mut lab = SyncLab::empty(&["b"], ORDERS, &["orders:id"]).await;
        (lab.sync.onetimecopy, lab.sync.copy_request) = (1, 1);
        lab.on("a").run("INSERT INTO orders SELECT n, 'old' FROM generate_series(1, 500) n").await;
        lab.on("b").run("INSERT INTO orders VALUES (1, 'stale'), (9999, 'stale')").await;
        lab.validate().await.unwrap();
        lab.round_failing("b", step, Accident::Fault).await;
        let rows = lab.on("b").number("SELECT count(*) FROM orders").await;
        let is_delivered = ["target committed", "track written"].contains(&step);
        assert_eq!(rows, if is_delivered { 500 } else { 2 }, "{step}");
        lab.on("a").run("UPDATE orders SET note = 'new' WHERE id = 7").await;
        lab.drain("b").await;
        lab.assert_same().await;
        let report = lab.round_watched("b", Watch::default()).await.unwrap();
        assert!(report.is_empty(), "{step}: {report:?}");
    }
}

/// The same where nobody knows on which timeline the source was read, as after a round that heard of it from another
/// source: nothing says that it was restored.
#[tokio::test]
async fn a_round_that_the_source_has_not_heard_of_is_no_restore_of_a_source_whose_timeline_is_not_known() {
    let mut lab = lab().await;
    lab.on("a").run("INSERT INTO orders VALUES (1, 'n')").await;
    lab.round_failing("b", "target committed", Accident::Fault).await;
    lab.on("b").run("UPDATE bucardo.position SET timeline = 0").await;
    lab.on("a").run("INSERT INTO orders VALUES (2, 'n')").await;
    assert_eq!(lab.round("b").await.unwrap().inserts, 1);
    lab.assert_same().await;
    assert_ne!(lab.on("b").number("SELECT timeline FROM bucardo.position").await, 0, "it is known now");

    lab.on("a").run("INSERT INTO orders VALUES (3, 'n')").await;
    lab.round_failing("b", "target committed", Accident::Fault).await;
    lab.on("b").run("UPDATE bucardo.position SET timeline = 77").await;
    let fault = lab.round("b").await.unwrap_err();
    assert!(fault.message.contains("promoted or restored"), "one that is known counts: {fault}");
}

/// The power fails between the target's commit and the source's track, again and again: that looks like nobody going
/// back in time.
#[tokio::test]
async fn rounds_that_never_tell_the_source_go_on() {
    let mut lab = lab().await;
    for number in 1..=4 {
        lab.on("a").run(&format!("INSERT INTO orders VALUES ({number}, 'n')")).await;
        let fault = lab.round_failing("b", "target committed", Accident::Fault).await;
        assert!(fault.message.contains("target committed"), "{fault}");
        lab.assert_same().await;
    }
    assert!(lab.round("b").await.unwrap().is_empty());
    let told = lab.on("a").value("SELECT round FROM bucardo.track WHERE target = 'b'").await;
    assert_eq!(lab.on("b").value("SELECT round FROM bucardo.position WHERE source = 'a'").await, told);
}
