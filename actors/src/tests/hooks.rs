//! Custom codes around the runs of a sync: no KID begins before those before have ended, and those after come when all
//! have ended well.

use super::{Play, Rig, SECOND, World, plan, story};
use crate::board::Doing;
use crate::model::{AroundRuns, Fault, Reason, SyncPlan};
use crate::ports::Go;

fn coded(name: &str, targets: &[&str]) -> SyncPlan {
    SyncPlan { codes: AroundRuns { before: true, after: true }, ..plan(name, targets) }
}

/// The events of a log, without their times, that begin with one of these words.
fn events(world: &World, words: &[&str]) -> Vec<String> {
    let log = world.log().into_iter().map(|(_, event)| event);
    log.filter(|event| words.iter().any(|word| event.starts_with(word))).collect()
}

#[test]
fn codes_run_around_all_kids_of_a_run() {
    story(|world| async move {
        let rig = Rig::up(&world, &[coded("s", &["b", "c"])]).await;
        world.plays("b", [Play::Deliver(2)]);
        world.plays("c", [Play::More(3), Play::Slow(5 * SECOND)]);
        world.codes([(7 * SECOND, Ok(Go::On)), (3 * SECOND, Ok(Go::On))]);
        let begun = world.now();
        assert_eq!(rig.ask("s").await, "notice SyncDone(\"s\")");
        let told = events(&world, &["code", "begin", "end", "notice SyncDone"]);
        let wanted = [
            "code BeforeSync s 0",
            "coded BeforeSync",
            "begin b Request",
            "end b",
            "begin c Request",
            "end c",
            "begin c More",
            "end c",
            "code AfterSync s 5",
            "coded AfterSync",
            "notice SyncDone(\"s\")",
        ];
        assert_eq!(told, wanted);
        assert_eq!(world.now() - begun, 7 + 5 + 3);
        rig.stop().await;
    });
}

#[test]
fn a_run_that_brought_nothing_ends_without_codes() {
    story(|world| async move {
        let rig = Rig::up(&world, &[coded("s", &["b"])]).await;
        assert_eq!(rig.ask("s").await, "notice SyncDone(\"s\")");
        assert_eq!(events(&world, &["code "]), ["code BeforeSync s 0"]);
        rig.stop().await;
    });
}

/// Kicks that never end do not keep the codes after a run from running, nor does a slow KID keep a quick one waiting.
#[test]
fn a_busy_sync_gets_its_codes_run_and_a_slow_kid_holds_up_nobody() {
    story(|world| async move {
        let rig = Rig::up(&world, &[coded("s", &["b", "c"])]).await;
        world.plays("b", (0..30).map(|_| Play::Deliver(1)));
        world.plays("c", [Play::Slow(10 * SECOND)]);
        rig.kick("s", Reason::Change);
        for n in 1..=5 {
            world.until_seen("end b", n).await;
            rig.kick("s", Reason::Change);
            world.pass(SECOND).await;
        }
        assert_eq!((world.count("end c"), world.count("code BeforeSync")), (0, 1), "one run, and b went on");
        world.until_seen("coded AfterSync", 1).await;
        world.until_seen("end c", 2).await;
        assert_eq!(world.count("code BeforeSync"), 2);
        world.pass(60 * SECOND).await;
        assert_eq!(world.count("code AfterSync"), world.count("coded AfterSync"));
        rig.stop().await;
    });
}

/// A kick that comes while codes run is part of a later run, and is answered.
#[test]
fn a_kick_while_codes_run_is_not_lost() {
    story(|world| async move {
        let rig = Rig::up(&world, &[coded("s", &["b"])]).await;
        world.plays("b", [Play::Deliver(1), Play::Deliver(1)]);
        world.codes([(SECOND, Ok(Go::On)), (5 * SECOND, Ok(Go::On))]);
        rig.kick("s", Reason::Change);
        world.until_seen("code AfterSync", 1).await;
        assert_eq!(rig.ask("s").await, "notice SyncDone(\"s\")");
        world.until_seen("coded AfterSync", 2).await;
        assert_eq!((world.count("begin b"), world.count("code BeforeSync")), (2, 2));
        assert_eq!(world.count("notice SyncKill"), 0);
        rig.stop().await;
    });
}

#[test]
fn a_code_can_leave_the_run_before_it_begins() {
    story(|world| async move {
        let rig = Rig::up(&world, &[coded("s", &["b", "c"])]).await;
        world.codes([(SECOND, Ok(Go::Leave))]);
        assert_eq!(rig.ask("s").await, "notice SyncDone(\"s\")");
        assert_eq!(events(&world, &["code ", "begin"]), ["code BeforeSync s 0"]);
        world.plays("b", [Play::Deliver(1)]);
        assert_eq!(rig.ask("s").await, "notice SyncDone(\"s\")");
        assert_eq!((world.count("begin b"), world.count("code AfterSync")), (1, 1));
        rig.stop().await;
    });
}

/// A code that fails fails the run: who asked hears of it, the run history has it, and the sync is tried again later.
#[test]
fn a_code_that_fails_ends_the_run_and_the_sync_is_tried_again() {
    story(|world| async move {
        let rig = Rig::up(&world, &[coded("s", &["b"])]).await;
        world.expect_alarm("sync cannot run, trying again");
        world.codes([(SECOND, Err(Fault::transient("custom code \"x\" asked to end: no")))]);
        assert_eq!(rig.ask("s").await, "notice SyncKill(\"s\")");
        assert_eq!(world.count("begin"), 0);
        assert_eq!(events(&world, &["record"]), ["record b custom code \"x\" asked to end: no"]);
        world.until("the sync is down", |_| rig.ctl("s").state == Doing::Down).await;
        world.until_seen("end b", 1).await;
        world.until_seen("coded BeforeSync", 2).await;
        rig.stop().await;
    });
}

/// A KID that fails is no end that codes wait for; the others are answered.
#[test]
fn a_kid_that_fails_ends_the_run_without_codes() {
    story(|world| async move {
        let rig = Rig::up(&world, &[coded("s", &["b", "c"])]).await;
        world.expect_alarm("round failed, KID is restarted");
        world.plays("b", [Play::Fail(Fault::transient("boom")), Play::Deliver(4)]);
        world.plays("c", [Play::Deliver(1)]);
        assert_eq!(rig.ask("s").await, "notice SyncKill(\"s\")");
        world.until_seen("end b", 1).await;
        world.until_seen("coded AfterSync", 1).await;
        assert_eq!(events(&world, &["code AfterSync"]), ["code AfterSync s 4"], "of the run that went well");
        rig.stop().await;
    });
}

/// A stop lets codes after a run end, and those before it are broken off.
#[test]
fn a_stop_lets_codes_after_a_run_end() {
    story(|world| async move {
        let rig = Rig::up(&world, &[coded("s", &["b"])]).await;
        world.plays("b", [Play::Slow(2 * SECOND), Play::Deliver(1)]);
        world.codes([(SECOND, Ok(Go::On)), (SECOND, Ok(Go::On)), (4 * SECOND, Ok(Go::On))]);
        assert_eq!(rig.ask("s").await, "notice SyncDone(\"s\")");
        rig.kick("s", Reason::Change);
        world.until_seen("code AfterSync", 1).await;
        let kept = std::sync::Arc::clone(&world);
        rig.stop().await;
        assert_eq!(kept.count("coded AfterSync"), 1);
    });
}

/// A sync without codes never asks, and its KIDs wait for nobody.
#[test]
fn without_codes_nobody_is_asked() {
    story(|world| async move {
        let rig = Rig::up(&world, &[plan("s", &["b"])]).await;
        world.plays("b", [Play::Deliver(1)]);
        assert_eq!(rig.ask("s").await, "notice SyncDone(\"s\")");
        assert_eq!(world.count("code"), 0);
        rig.stop().await;
    });
}
