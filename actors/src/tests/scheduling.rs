//! When rounds run: kicks fold, pairs do not wait for each other, every kick is answered once, runs are recorded.

use std::time::Duration;

use super::{Play, Rig, SECOND, World, actors, plan, story};
use crate::board::Doing;
use crate::messages::{KickDb, ReloadSync, SetState, Wish};
use crate::model::{Fault, Reason, SyncPlan};

#[test]
fn kicks_fold_while_a_round_runs() {
    story(|world| async move {
        let rig = Rig::up(&world, &[plan("s", &["b"])]).await;
        world.plays("b", [Play::Slow(5 * SECOND)]);
        rig.kick("s", Reason::Change);
        world.until_seen("begin b", 1).await;
        for _ in 0..1000 {
            rig.kick("s", Reason::Change);
        }
        world.until_seen("end b", 2).await;
        world.pass(60 * SECOND).await;
        assert_eq!(world.times("begin b").len(), 2, "one for the first kick, one for all the others");
        assert_eq!(world.count("notice SyncDone"), 2);
        assert_eq!(world.times("begin b")[1], world.times("end b")[0], "without any wait");
        rig.stop().await;
    });
}

#[test]
fn a_slow_target_does_not_delay_another() {
    story(|world| async move {
        let rig = Rig::up(&world, &[plan("s", &["b", "c"])]).await;
        world.plays("b", [Play::Slow(100 * SECOND)]);
        let start = world.now();
        for n in 1..=5 {
            rig.kick("s", Reason::Change);
            world.until_seen("end c", n).await;
        }
        assert_eq!((world.now(), world.count("end b")), (start, 0));
        // All five wait for b. The first for the round that runs, the others for the next.
        assert_eq!(world.count("notice SyncDone"), 0);
        // Who waits for c hears of it.
        world.until_seen("notice TargetDone(\"s\", \"c\")", 1).await;
        assert_eq!(world.count("notice TargetDone(\"s\", \"b\")"), 0);
        world.until_seen("notice SyncDone", 2).await;
        world.pass(60 * SECOND).await;
        assert!(world.count("notice SyncDone") <= 5 && world.count("notice SyncKill") == 0);
        assert_eq!(world.count("begin b"), 2);
        rig.stop().await;
    });
}

#[test]
fn what_a_round_leaves_behind_is_delivered_at_once() {
    story(|world| async move {
        let rig = Rig::up(&world, &[plan("s", &["b"])]).await;
        world.plays("b", [Play::More(10), Play::More(10), Play::Deliver(5)]);
        assert_eq!(rig.ask("s").await, "notice SyncDone(\"s\")");
        let begins: Vec<String> = world.log_of("begin").into_iter().map(|(_, event)| event).collect();
        assert_eq!(begins, ["begin b Request", "begin b More", "begin b More"]);
        let log = world.log();
        let place = |what: &str| log.iter().position(|(_, event)| event.starts_with(what)).unwrap();
        assert!(place("record b 25") < place("notice SyncDone"), "who hears of the end can read the history");
        assert_eq!(world.count("record"), 1, "one run");
        rig.stop().await;
    });
}

/// Who polls the run history must see a long run while it goes on; of the many short ones nothing is written before they end.
#[test]
fn a_run_that_lasts_is_shown_while_it_goes_on() {
    story(|world| async move {
        let rig = Rig::up(&world, &[plan("s", &["b", "c"])]).await;
        world.plays("b", [Play::Deliver(1), Play::Slow(20 * SECOND)]);
        assert_eq!(rig.ask("s").await, "notice SyncDone(\"s\")");
        assert_eq!(world.count("run"), 0, "it was over at once");
        let begun = world.now();
        assert_eq!(rig.ask("s").await, "notice SyncDone(\"s\")");
        let shown = world.log_of("run b Snapshot");
        assert!(shown[0].0.as_secs() <= begun + 2, "soon: {shown:?}");
        assert!((4..=6).contains(&shown.len()), "now and then again: {shown:?}");
        assert_eq!(world.count("run c"), 0, "its runs are short");
        world.pass(60 * SECOND).await;
        assert_eq!(world.count("run b"), shown.len(), "it is over");
        rig.stop().await;
    });
}

/// What is shown of a run that nobody will record must not stay open.
#[test]
fn a_run_that_is_broken_off_is_shown_no_longer() {
    story(|world| async move {
        let rig = Rig::up(&world, &[plan("s", &["b"])]).await;
        world.plays("b", [Play::Heed]);
        rig.kick("s", Reason::Change);
        world.until_seen("run b Snapshot", 1).await;
        rig.mcp.do_send(SetState { sync: "s".into(), wish: Wish::Deactivate });
        world.until_seen("run b broken off", 1).await;
        world.pass(60 * SECOND).await;
        assert_eq!((world.count("run b broken off"), world.count("record b")), (1, 0));
        rig.stop().await;
    });
}

#[test]
fn every_kick_is_answered_once() {
    story(|world| async move {
        let rig = Rig::up(&world, &[plan("s", &["b", "c"])]).await;
        world.expect_alarm("round failed");
        world.expect_alarm("unknown, inactive or paused");
        world.plays("b", [Play::Slow(SECOND), Play::Fail(Fault::transient("deadlock"))]);
        assert_eq!(rig.ask("s").await, "notice SyncDone(\"s\")");
        assert_eq!(world.count("end b"), 1, "it waited for the slow one");
        assert_eq!(rig.ask("s").await, "notice SyncKill(\"s\")");
        assert_eq!(world.count("notice TargetKill(\"s\", \"b\")"), 1, "it was b");
        world.until_seen("end b", 2).await;
        assert_eq!(rig.ask("s").await, "notice SyncDone(\"s\")");
        assert_eq!(rig.ask("nosuch").await, "notice SyncError(\"nosuch\")");
        rig.kick("nosuch", Reason::Change); // nobody waits for that
        world.pass(60 * SECOND).await;
        assert_eq!(world.count("notice Sync"), 4);
        rig.stop().await;
    });
}

#[test]
fn a_request_is_answered_by_its_own_rounds_only() {
    story(|world| async move {
        let rig = Rig::up(&world, &[plan("s", &["b"])]).await;
        world.plays("b", [Play::Slow(5 * SECOND), Play::Slow(7 * SECOND)]);
        rig.kick("s", Reason::Change);
        world.until_seen("begin b", 1).await;
        let start = world.now();
        assert_eq!(rig.ask("s").await, "notice SyncDone(\"s\")");
        assert_eq!(world.now() - start, 12, "not when the round ended that began before it was asked");
        world.pass(60 * SECOND).await;
        assert_eq!(world.count("notice SyncDone"), 1);
        rig.stop().await;
    });
}

#[test]
fn a_busy_sync_tells_its_end_only_now_and_then() {
    story(|world| async move {
        let rig = Rig::up(&world, &[plan("s", &["b"])]).await;
        for _ in 0..1000 {
            rig.kick("s", Reason::Change);
            world.pass(Duration::from_millis(5)).await;
        }
        let last = world.now();
        world.pass(60 * SECOND).await;
        let told = world.times("notice SyncDone");
        assert_eq!(world.count("end b"), 1000);
        assert!((19..=22).contains(&told.len()), "four a second: {told:?}");
        assert!(*told.last().unwrap() >= last, "the last one is told");
        rig.stop().await;
    });
}

#[test]
fn a_paused_sync_starts_no_round_until_it_is_resumed() {
    story(|world| async move {
        let rig = Rig::up(&world, &[plan("s", &["b"])]).await;
        world.expect_alarm("unknown, inactive or paused");
        world.plays("b", [Play::Slow(5 * SECOND)]);
        rig.kick("s", Reason::Change);
        world.until_seen("begin b", 1).await;
        rig.kick("s", Reason::Change);
        rig.kick("s", Reason::Request);
        rig.mcp.do_send(SetState { sync: "s".into(), wish: Wish::Pause });
        world.until_seen("notice SyncKill", 1).await;
        world.until_seen("end b", 1).await;
        rig.kick("s", Reason::Change);
        assert_eq!(rig.ask("s").await, "notice SyncError(\"s\")");
        world.pass(500 * SECOND).await;
        assert_eq!((world.count("begin b"), rig.ctl("s").state), (1, Doing::Paused));
        rig.mcp.do_send(SetState { sync: "s".into(), wish: Wish::Resume });
        world.until_seen("notice SyncDone", 1).await;
        assert_eq!(rig.ctl("s").state, Doing::Idle);
        rig.stop().await;
    });
}

#[test]
fn a_sync_is_checked_now_and_then_although_nobody_kicks() {
    story(|world| async move {
        let mut checked = plan("checked", &["b"]);
        checked.check_every = Some(7 * SECOND);
        let mut default = plan("default", &["c"]);
        default.check_every = None;
        let mut asked = plan("asked", &["d"]);
        (asked.check_every, asked.autokick, asked.listens) = (None, false, false);
        let rig = Rig::up(&world, &[checked, default, asked]).await;
        world.pass(61 * SECOND).await;
        assert_eq!(world.times("begin b Check"), [7, 14, 21, 28, 35, 42, 49, 56]);
        assert_eq!(world.times("begin c Check"), [30, 60]);
        assert_eq!(world.count("begin d"), 0);
        rig.kick("asked", Reason::Change);
        assert_eq!(rig.ask("asked").await, "notice SyncDone(\"asked\")");
        assert_eq!(world.count("begin d"), 1, "changes do not kick it, a request does");
        rig.stop().await;
    });
}

#[test]
fn a_listener_that_is_back_kicks_the_syncs_that_read_there() {
    story(|world| async move {
        let mut other = plan("other", &["c"]);
        other.sources = vec!["x".into()];
        let rig = Rig::up(&world, &[plan("s", &["b"]), other]).await;
        rig.mcp.do_send(KickDb { db: "a".into() });
        world.until_seen("notice SyncDone", 1).await;
        world.pass(SECOND).await;
        assert_eq!((world.count("begin b Back"), world.count("begin c")), (1, 0));
        rig.stop().await;
    });
}

#[test]
fn kids_that_are_not_to_stay_drop_their_connections_after_the_rounds_of_a_kick() {
    story(|world| async move {
        let mut short = plan("s", &["b"]);
        short.kidsalive = false;
        let rig = Rig::up(&world, &[short]).await;
        world.until_seen("close b", 1).await;
        world.plays("b", [Play::More(1), Play::Deliver(1)]);
        assert_eq!(rig.ask("s").await, "notice SyncDone(\"s\")");
        world.until_seen("close b", 2).await;
        assert_eq!((world.count("begin b"), world.count("open b")), (2, 2), "one connection for both rounds");
        // A kick that comes while the KID ends is not lost.
        rig.kick("s", Reason::Change);
        rig.kick("s", Reason::Change);
        world.until_seen("close b", 3).await;
        rig.stop().await;
    });
}

#[test]
fn a_busy_sync_writes_few_entries_of_the_run_history() {
    story(|world| async move {
        let rig = Rig::up(&world, &[plan("s", &["b"])]).await;
        world.pass(10 * SECOND).await;
        world.forget();
        world.plays("b", std::iter::repeat_n(Play::Deliver(1), 200));
        for _ in 0..200 {
            rig.kick("s", Reason::Change);
            world.pass(Duration::from_millis(50)).await;
        }
        world.pass(20 * SECOND).await;
        assert_eq!(world.count("end b"), 200);
        let entries: Vec<String> = world.log_of("record").into_iter().map(|(_, event)| event).collect();
        assert!(entries.len() <= 4, "{entries:?}");
        let rows: u64 = entries.iter().map(|entry| entry["record b ".len()..].parse::<u64>().unwrap()).sum();
        assert_eq!(rows, 200);
        rig.stop().await;
    });
}

#[test]
fn a_run_history_that_cannot_be_written_stops_nothing() {
    story(|world| async move {
        let rig = Rig::up(&world, &[plan("s", &["b"])]).await;
        world.expect_alarm("an entry of the run history is lost");
        world.posts([Err(Fault::transient("disk full"))]);
        assert_eq!(rig.ask("s").await, "notice SyncDone(\"s\")");
        assert_eq!(rig.ask("s").await, "notice SyncDone(\"s\")");
        rig.stop().await;
    });
}

#[test]
fn a_control_database_that_does_not_keep_up_delays_no_round() {
    story(|world| async move {
        let rig = Rig::up(&world, &[plan("s", &["b"])]).await;
        world.expect_alarm("the control database does not keep up");
        world.expect_alarm("the control database does not answer");
        world.post_takes(1000 * SECOND);
        let start = world.now();
        for n in 1..=1200 {
            rig.kick("s", Reason::Request);
            world.until_seen("end b", n).await;
        }
        assert_eq!(world.now(), start);
        rig.stop().await;
    });
}

/// Whole copies come when they are asked for and when the sync's own timer says so; targets beside them get changes.
#[test]
fn whole_copies_wait_to_be_asked_for() {
    story(|world| async move {
        let mut both = plan("s", &["b"]);
        (both.fullcopies, both.check_every) = (vec!["f".into()], None);
        let mut copies = plan("t", &[]);
        (copies.fullcopies, copies.check_every) = (vec!["g".into()], Some(50 * SECOND));
        let rig = Rig::up(&world, &[both, copies]).await;
        rig.kick("s", Reason::Change);
        rig.kick("t", Reason::Change);
        world.until_seen("end b", 1).await;
        rig.mcp.do_send(SetState { sync: "t".into(), wish: Wish::Pause });
        rig.mcp.do_send(SetState { sync: "t".into(), wish: Wish::Resume });
        world.pass(40 * SECOND).await;
        assert_eq!((world.count("begin f"), world.count("begin g")), (0, 0));
        assert_eq!(rig.ask("s").await, "notice SyncDone(\"s\")");
        assert_eq!((world.count("begin f"), world.count("end f")), (1, 1), "the answer waits for the copy");
        world.until_seen("begin g Check", 1).await;
        assert_eq!(world.count("begin f"), 1, "the daemon's own period copies nothing");
        rig.stop().await;
    });
}

/// A copy that failed is still owed; one that nobody asked for is not made because its KID broke.
#[test]
fn a_failed_copy_is_tried_again() {
    story(|world| async move {
        let mut copies = plan("s", &[]);
        (copies.fullcopies, copies.check_every) = (vec!["f".into()], None);
        let rig = Rig::up(&world, &[copies]).await;
        world.expect_alarm("round failed, KID is restarted");
        world.plays("f", [Play::Fail(Fault::transient("deadlock"))]);
        assert_eq!(rig.ask("s").await, "notice SyncKill(\"s\")");
        world.until_seen("end f", 1).await;
        world.pass(600 * SECOND).await;
        assert_eq!(world.count("begin f"), 2, "the one that failed, and another that did not");
        rig.stop().await;
    });
}

/// A limit on how many targets are written to at a time leaves none of them out, even while changes go on and on.
#[test]
fn a_sync_may_limit_how_many_of_its_kids_are_in_a_round() {
    story(|world| async move {
        let mut limited = plan("s", &["b", "c", "d", "e"]);
        limited.at_once_max = Some(2);
        let rig = Rig::up(&world, &[limited]).await;
        for target in ["b", "c", "d", "e"] {
            world.plays(target, std::iter::repeat_n(Play::Slow(SECOND), 100));
        }
        for _ in 0..80 {
            rig.kick("s", Reason::Change);
            world.pass(SECOND / 4).await;
        }
        let (mut running, mut most) = (0_u32, 0);
        for (_, event) in world.log() {
            match event.split_once(' ').unwrap().0 {
                "begin" => running += 1,
                "end" => running -= 1,
                _ => {}
            }
            most = most.max(running);
        }
        assert_eq!(most, 2);
        let rounds = ["begin b", "begin c", "begin d", "begin e"].map(|begin| world.count(begin));
        assert!(rounds.iter().all(|&n| n.abs_diff(10) <= 1), "{rounds:?} of 40 within 20 s");
        rig.stop().await;
    });
}

#[test]
fn syncs_of_a_higher_priority_come_first() {
    story(|world| async move {
        let ranked = |name: &str, target: &str, priority| SyncPlan { priority, ..plan(name, &[target]) };
        let plans = [ranked("a", "x", -1), ranked("b", "y", 7), ranked("c", "z", 0), ranked("d", "w", 7)];
        let order = || {
            let begins = world.log_of("begin").into_iter();
            begins.map(|(_, event)| event.split(' ').nth(1).unwrap().to_owned()).collect::<Vec<_>>()
        };
        world.set_plans(&plans);
        let mut rig = Rig::begin(&world);
        rig.ready().await.unwrap();
        world.until_seen("notice SyncDone", 4).await;
        assert_eq!(order(), ["y", "w", "z", "x"]);
        world.forget();
        rig.reload(&plans).await;
        world.until_seen("notice SyncDone", 4).await;
        assert_eq!(order(), ["y", "w", "z", "x"]);
        rig.stop().await;
    });
}

/// Some tables may kick although the sync as a whole is left alone.
#[test]
fn a_sync_may_listen_without_being_looked_at_by_itself() {
    story(|world| async move {
        let mut told = plan("s", &["b"]);
        (told.autokick, told.check_every) = (false, None);
        let mut deaf = plan("t", &["c"]);
        (deaf.autokick, deaf.listens, deaf.check_every) = (false, false, None);
        let rig = Rig::up(&world, &[told, deaf]).await;
        world.pass(100 * SECOND).await;
        assert_eq!(world.count("begin"), 0);
        rig.kick("s", Reason::Change);
        rig.kick("t", Reason::Change);
        world.until_seen("end b", 1).await;
        rig.mcp.do_send(KickDb { db: "a".into() });
        world.until_seen("begin b Back", 1).await;
        world.pass(100 * SECOND).await;
        assert_eq!((world.count("begin b"), world.count("begin c")), (2, 0));
        rig.stop().await;
    });
}

/// Without `stayalive` and `kidsalive` nobody is there between two runs, and every kick is answered all the same.
#[test]
fn actors_that_do_not_stay_come_with_each_kick_and_go() {
    story(|world| async move {
        let brief =
            SyncPlan { stayalive: false, kidsalive: false, check_every: Some(60 * SECOND), ..plan("s", &["b"]) };
        let rig = Rig::up(&world, std::slice::from_ref(&brief)).await;
        let rests = |_: &World| rig.ctl("s").state == Doing::Finished && actors(&rig.board) == 3;
        world.until("it rests", rests).await;
        assert_eq!(world.count("open b"), world.count("close b"));
        for number in 1..=3 {
            assert_eq!(rig.ask("s").await, "notice SyncDone(\"s\")", "request {number}");
        }
        world.until("it rests again", rests).await;
        world.forget();
        rig.kick("s", Reason::Change);
        world.until_seen("begin b Change", 1).await;
        world.until("it rests after a change", rests).await;
        // Many at once are for one run each, or for the same.
        for _ in 0..5 {
            rig.kick("s", Reason::Request);
        }
        world.until_seen("notice SyncDone", 2).await;
        world.until("it rests after many", rests).await;
        assert_eq!(world.count("notice SyncKill"), 0, "{:#?}", world.log());
        let rested = world.now();
        world.until_seen("begin b Check", 1).await;
        assert!((rested + 55..=rested + 60).contains(&world.now()), "{} after {rested}", world.now());

        // Paused and resumed, changed and removed while it rests.
        world.until("it rests after a look", rests).await;
        rig.mcp.do_send(SetState { sync: "s".into(), wish: Wish::Pause });
        world.until("it is paused", |_| rig.ctl("s").state == Doing::Paused).await;
        rig.mcp.do_send(SetState { sync: "s".into(), wish: Wish::Resume });
        world.until_seen("begin b Start", 1).await;
        rig.reload(&[SyncPlan { stayalive: true, kidsalive: true, ..brief }]).await;
        world.until("it stays", |_| rig.ctl("s").state == Doing::Idle).await;
        rig.stop().await;
    });
}

/// Whoever rests is no worse off than whoever stays: what was asked for, or has changed, while the control database was
/// away or just before a reload does not wait for the timer.
#[test]
fn one_that_rests_is_looked_at_when_the_control_database_is_back_and_at_a_reload() {
    story(|world| async move {
        let brief = SyncPlan { stayalive: false, kidsalive: false, ..plan("s", &["b"]) };
        let asked = SyncPlan { autokick: false, stayalive: false, kidsalive: false, ..plan("t", &["c"]) };
        let plans = [brief, asked];
        let rig = Rig::up(&world, &plans).await;
        world.expect_alarm("lost the hold on the control database");
        let rests = |_: &World| rig.ctl("s").state == Doing::Finished;
        world.until("it rests", rests).await;
        assert_eq!(rig.ask("t").await, "notice SyncDone(\"t\")");
        world.until("the other one rests", |_| rig.ctl("t").state == Doing::Finished).await;
        world.pass(100 * SECOND).await;

        world.forget();
        let start = world.now();
        world.lose_lease(Fault::transient("connection closed"));
        world.until_seen("begin b Start", 1).await;
        assert!(world.now() - start < 60, "{}", world.now() - start);
        world.until("it rests again", rests).await;

        for number in 2..=3 {
            if number == 2 {
                rig.reload(&plans).await;
            } else {
                rig.mcp.do_send(ReloadSync { sync: "s".into() });
            }
            world.until_seen("begin b Start", number).await;
            world.until("it rests after a reload", rests).await;
        }
        assert_eq!((world.count("begin b"), world.count("begin c")), (3, 0), "who waits for a request still waits");
        rig.stop().await;
    });
}

/// What comes due while a resting sync is paused is left out, and the next is not.
#[test]
fn a_resting_sync_is_checked_again_after_a_pause() {
    story(|world| async move {
        let brief = SyncPlan {
            stayalive: false,
            kidsalive: false,
            autokick: false,
            check_every: Some(4 * SECOND),
            ..plan("s", &["b"])
        };
        let rig = Rig::up(&world, &[brief]).await;
        world.until("it rests", |_| rig.ctl("s").state == Doing::Finished).await;
        rig.mcp.do_send(SetState { sync: "s".into(), wish: Wish::Pause });
        world.pass(30 * SECOND).await;
        assert_eq!((world.count("begin b"), rig.ctl("s").state), (0, Doing::Paused));
        let resumed = world.now();
        rig.mcp.do_send(SetState { sync: "s".into(), wish: Wish::Resume });
        world.until_seen("begin b Check", 1).await;
        assert!(world.now() <= resumed + 4, "{} after {resumed}", world.now());
        world.until_seen("begin b Check", 2).await;
        rig.stop().await;
    });
}

/// A KID that failed keeps its controller: who else would start it again?
#[test]
fn an_actor_that_does_not_stay_stays_while_a_kid_is_in_trouble() {
    story(|world| async move {
        let brief = SyncPlan { stayalive: false, kidsalive: false, ..plan("s", &["b"]) };
        let rig = Rig::up(&world, &[brief]).await;
        world.expect_alarm("round failed, KID is restarted");
        let fail = || Play::Fail(Fault::transient("no route"));
        world.plays("b", [fail(), fail(), Play::Deliver(3)]);
        rig.kick("s", Reason::Change);
        world.until_seen("end b", 1).await;
        world.until("it rests", |_| rig.ctl("s").state == Doing::Finished).await;
        assert_eq!((world.count("begin b"), world.now() < 10), (3, true));
        rig.stop().await;
    });
}

/// A whole copy that fails is not over: it is stalled, with why and when it is tried again, and then it is.
#[test]
fn a_copy_on_request_that_fails_is_stalled_and_tried_again() {
    story(|world| async move {
        let copies = SyncPlan {
            stayalive: false,
            kidsalive: false,
            autokick: false,
            check_every: None,
            fullcopies: vec!["b".into()],
            ..plan("s", &["b"])
        };
        let rig = Rig::up(&world, &[copies]).await;
        world.expect_alarm("KID is stalled");
        world.plays("b", [Play::Fail(Fault::permanent("no such format").with_hint("another format"))]);
        assert_eq!(rig.ask("s").await, "notice SyncKill(\"s\")");
        world.pass(5 * SECOND).await;
        let (sync, kid) = (rig.ctl("s"), rig.kid("s", "b"));
        assert_eq!((sync.state, kid.state), (Doing::Stalled, Doing::Stalled));
        assert!(sync.next_try.is_some() && sync.fault.unwrap().message.contains("no such format"));
        assert_eq!(world.count("begin b"), 1, "it is not tried again at once");
        world.until_seen("begin b Request", 2).await;
        assert!((890..=1000).contains(&world.now()), "{}", world.now());
        world.until("it rests", |_| rig.ctl("s").state == Doing::Finished).await;

        // Somebody kicks while it is stalled.
        world.plays("b", [Play::Fail(Fault::permanent("no such format"))]);
        assert_eq!(rig.ask("s").await, "notice SyncKill(\"s\")");
        world.pass(5 * SECOND).await;
        assert_eq!(rig.ask("s").await, "notice SyncDone(\"s\")");
        world.until("it rests again", |_| rig.ctl("s").state == Doing::Finished).await;
        assert_eq!(rig.ctl("s").fault, None);
        rig.stop().await;
    });
}

/// `maxkicks` and `lifetime`: a new controller with new KIDs, and whoever asked hears nothing of it.
#[test]
fn a_controller_that_is_worn_out_is_replaced_at_a_kick() {
    story(|world| async move {
        let tough = SyncPlan { kicks_max: Some(3), lifetime: Some(100 * SECOND), ..plan("s", &["b"]) };
        let rig = Rig::up(&world, &[tough]).await;
        for (kicks, opened) in [(3, 1), (3, 2), (3, 3)] {
            for _ in 0..kicks {
                assert_eq!(rig.ask("s").await, "notice SyncDone(\"s\")");
            }
            assert_eq!(world.count("open b"), opened, "{:#?}", world.log());
        }
        world.pass(101 * SECOND).await;
        assert_eq!(rig.ask("s").await, "notice SyncDone(\"s\")");
        assert_eq!(world.count("open b"), 4);
        assert_eq!(world.count("notice SyncKill"), 0);
        // One that is in the middle of a round finishes it first.
        world.plays("b", [Play::Slow(5 * SECOND)]);
        for _ in 0..4 {
            rig.kick("s", Reason::Request);
        }
        world.until_seen("open b", 5).await;
        world.until_seen("notice SyncDone", 12).await;
        assert_eq!((world.count("cut b"), world.count("notice SyncKill")), (0, 0));
        rig.stop().await;
    });
}
