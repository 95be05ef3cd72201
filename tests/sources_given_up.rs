//! Targets that a source gives up because too much waits for them: nothing is lost on the way back, which is a copy.

use std::sync::Arc;
use std::time::Duration;

use bucardo::catalog::CopyLimits;
use bucardo::pg::{Access, Connection, connect};
use bucardo::source::given_up::{GivenUp, give_up, let_copy};
use bucardo::source::purge::{PurgeLimits, purge};
use bucardo_actors::model::Failure;
use bucardo_actors::ports::{StepHook, Watch};
use futures_util::FutureExt;

use crate::support::{Accident, SyncLab};

const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, v text)";

async fn lab() -> SyncLab {
    let mut lab = SyncLab::start(&["b", "c"], TABLE, &["t:id"]).await;
    lab.on("a").run("INSERT INTO t SELECT n, 'old' FROM generate_series(1, 100) n").await;
    for target in ["b", "c"] {
        lab.drain(target).await;
    }
    lab
}

async fn source(lab: &SyncLab) -> Connection {
    connect(&Access::parse(&lab.on("a").conninfo()).unwrap(), "test").await.unwrap()
}

async fn give_up_c(lab: &SyncLab, how: GivenUp) -> bool {
    give_up(&source(lab).await, (&lab.sync.name, &"c".into()), how).await.unwrap()
}

async fn purge_all(lab: &SyncLab) -> u64 {
    let limits = PurgeLimits { keep: Duration::ZERO, ..PurgeLimits::default() };
    purge(&source(lab).await, &"a".into(), limits, &Watch::default()).await.unwrap().rows
}

/// Changes that c has not read are purged after it was given up; b, which has, is not concerned.
async fn lose_changes_of_c(lab: &mut SyncLab, how: GivenUp) {
    lab.on("a").run("UPDATE t SET v = 'new' WHERE id <= 50; DELETE FROM t WHERE id > 90").await;
    lab.drain("b").await;
    assert_eq!(purge_all(lab).await, 100, "what was read before; the rest waits for c");
    assert!(give_up_c(lab, how).await);
    assert!(!give_up_c(lab, how).await, "once is enough");
    assert_eq!(purge_all(lab).await, 60, "nothing waits for c");
    lab.on("a").run("INSERT INTO t VALUES (1000, 'later')").await;
    lab.drain("b").await;
}

#[tokio::test]
async fn a_target_that_waits_for_a_person_stops_until_a_copy_is_asked_for() {
    let mut lab = lab().await;
    lose_changes_of_c(&mut lab, GivenUp::Waits).await;
    let fault = lab.round("c").await.unwrap_err();
    assert_eq!(fault.failure, Failure::Permanent);
    assert!(fault.message.contains("\"c\" was given up by database \"a\""), "{}", fault.message);
    assert!(fault.hint.unwrap().contains("onetimecopy=1"));
    // A validation registers nobody anew whose changes are gone.
    lab.validate().await.unwrap();
    lab.round("c").await.unwrap_err();
    (lab.sync.onetimecopy, lab.sync.copy_request) = (1, 1);
    lab.renew();
    assert!(lab.round("c").await.unwrap().copied);
    lab.on("a").run("UPDATE t SET v = 'last' WHERE id = 1").await;
    lab.drain("c").await;
    lab.drain("b").await;
    lab.assert_same().await;
}

/// Nobody has ever asked for a copy of this sync, and this one is interrupted in the middle.
#[tokio::test]
async fn a_target_that_is_to_be_copied_comes_back_by_itself() {
    let mut lab = lab().await;
    lose_changes_of_c(&mut lab, GivenUp::Waits).await;
    assert_eq!(let_copy(&source(&lab).await).await.unwrap(), 1, "the policy is another one now");
    lab.sync.copy = CopyLimits { atomic_bytes: 0, ..CopyLimits::default() };
    lab.renew();
    lab.round_failing("c", "copy complete", Accident::Fault).await;
    lab.on("a").run("INSERT INTO t VALUES (1001, 'meanwhile')").await;
    assert_eq!(purge_all(&lab).await, 1, "what came before the copy; later changes are kept again");
    lab.drain("c").await;
    lab.drain("b").await;
    lab.assert_same().await;
    let answered = "SELECT copy_request FROM bucardo.position WHERE sync = 's'";
    assert_eq!(lab.on("c").number(answered).await, 0);
    // Whoever asks for a copy now gets one.
    (lab.sync.onetimecopy, lab.sync.copy_request) = (1, 1);
    lab.renew();
    assert!(lab.round("c").await.unwrap().copied);
    lab.assert_same().await;
}

/// It is given up while its round is committing: the round has seen everything, but must not hide the mark.
#[tokio::test]
async fn a_round_that_runs_meanwhile_does_not_take_the_mark_away() {
    let mut lab = lab().await;
    lab.on("a").run("UPDATE t SET v = 'new'").await;
    let words = (lab.on("a").conninfo(), lab.sync.name.clone());
    let hook: StepHook = Arc::new(move |step: &str| {
        let is_there = step == "target committed";
        let (conninfo, sync) = words.clone();
        async move {
            if is_there {
                let source = connect(&Access::parse(&conninfo).unwrap(), "test").await.unwrap();
                assert!(give_up(&source, (&sync, &"c".into()), GivenUp::Copies).await.unwrap());
            }
            Ok(())
        }
        .boxed()
    });
    assert_eq!(lab.round_watched("c", Watch::default().with_hook(hook)).await.unwrap().inserts, 100);
    lab.on("a").run("DELETE FROM t WHERE id < 10").await;
    lab.drain("b").await;
    purge_all(&lab).await;
    assert!(lab.round("c").await.unwrap().copied, "it would miss the deletes");
    lab.drain("c").await;
    lab.assert_same().await;
}

/// What a target has put aside is kept apart, but not for one that was given up, which says so again with every round.
#[tokio::test]
async fn a_table_that_was_put_aside_holds_nothing_back_then() {
    let mut lab = lab().await;
    lab.on("c").run("ALTER TABLE t DROP COLUMN v").await;
    for _ in 0..2 {
        lab.on("a").run("UPDATE t SET v = v || 'new'").await;
        lab.drain("b").await;
        lab.drain("c").await;
    }
    assert_eq!(purge_all(&lab).await, 100, "the rest waits for the table to come back");
    assert!(give_up_c(&lab, GivenUp::Waits).await);
    lab.round("c").await.unwrap_err();
    assert_eq!(purge_all(&lab).await, 200);
    lab.on("c").run("ALTER TABLE t ADD COLUMN v text").await;
    (lab.sync.onetimecopy, lab.sync.copy_request) = (1, 1);
    lab.renew();
    assert!(lab.round("c").await.unwrap().copied);
    lab.on("a").run("UPDATE t SET v = 'last' WHERE id = 1").await;
    lab.drain("c").await;
    lab.drain("b").await;
    lab.assert_same().await;
}
