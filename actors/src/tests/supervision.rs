//! Who restarts when, what stalls, and that nothing outlives its parent.

use actix::prelude::*;
use tokio_util::sync::CancellationToken;

use super::{Boom, Break, Collected, Collector, FROZEN, FreezeMcp, Play, Rig, SECOND, SyncLife, actors, plan, story};
use crate::board::{ActorId, Doing};
use crate::messages::{KickDb, PurgeNow};
use crate::model::{Cause, Fault, Reason, SyncPlan};
use crate::policy::Exit;
use crate::ports::PurgeReport;

fn down() -> Play {
    Play::Fail(Fault::transient("connection refused").at("b".into()))
}

#[test]
fn a_failed_round_is_repeated_by_itself_after_growing_waits() {
    story(|world| async move {
        let rig = Rig::up(&world, &[plan("s", &["b"])]).await;
        world.expect_alarm("round failed, KID is restarted");
        let start = world.now();
        world.plays("b", [down(), down(), down(), down(), Play::Deliver(7)]);
        rig.kick("s", Reason::Change);
        world.until_seen("end b", 1).await;
        let waits: Vec<u64> = world.times("begin b").iter().map(|at| at - start).collect();
        assert_eq!(waits, [0, 1, 3, 7, 15]);
        assert_eq!(world.count("notice SyncKill"), 1, "the kick is answered once, by the first failure");
        world.until_seen("record b 7", 1).await;
        assert_eq!(world.count("record b connection refused"), 4);
        world.until("the board shows it", |_| rig.kid("s", "b").state == Doing::Idle).await;
        assert_eq!((rig.kid("s", "b").fault, rig.kid("s", "b").counters.failures), (None, 4));

        // A success wipes the slate: the next failure waits as short as the first.
        world.forget();
        let start = world.now();
        world.plays("b", [down()]);
        rig.kick("s", Reason::Change);
        world.until_seen("end b", 1).await;
        assert_eq!(world.now() - start, 1);
        rig.stop().await;
    });
}

#[test]
fn a_kid_out_of_budget_stalls_and_is_tried_again_rarely() {
    story(|world| async move {
        let rig = Rig::up(&world, &[plan("s", &["b", "c"])]).await;
        world.expect_alarm("round failed, KID is restarted");
        world.expect_alarm("KID is stalled");
        world.plays("b", std::iter::repeat_with(down).take(11));
        rig.kick("s", Reason::Change);
        world.until("it stalls", |_| rig.kid("s", "b").state == Doing::Stalled).await;
        assert_eq!(world.count("begin b"), 11, "the round and ten restarts");
        assert_eq!(rig.ctl("s").state, Doing::Stalled);
        assert!(rig.kid("s", "b").next_try.is_some());
        assert_eq!(rig.kid("s", "b").fault.unwrap().message, "connection refused");

        // The other target goes on, and changes do not wake the stalled one.
        let stalled_at = world.now();
        world.forget();
        rig.kick("s", Reason::Change);
        world.until_seen("notice SyncDone", 1).await;
        assert_eq!((world.count("begin b"), world.count("begin c")), (0, 1));

        world.until_seen("end b", 1).await;
        assert_eq!(world.now() - stalled_at, 15 * 60, "nobody had to ask");
        world.until("all is well", |_| rig.ctl("s").state == Doing::Idle).await;
        rig.stop().await;
    });
}

/// One target of two syncs is away: when the first KID that waits for it gets there, all others need wait no longer.
#[test]
fn whoever_reaches_a_database_again_wakes_all_who_wait_for_it() {
    story(|world| async move {
        let rig = Rig::up(&world, &[plan("s", &["b"]), plan("t", &["b", "c"])]).await;
        world.expect_alarm("round failed, KID is restarted");
        world.expect_alarm("KID is stalled");
        let away = || Play::Fail(Fault::transient("no route").at("b".into()).because(Cause::Away));
        world.plays("b", std::iter::repeat_with(away).take(2 * 8 - 1));
        rig.kick("s", Reason::Change);
        world.pass(30 * SECOND).await;
        rig.kick("t", Reason::Change);
        let db = || rig.board.get(&ActorId::Db("b".into())).unwrap();
        assert_eq!(db().state, Doing::Stalled);
        assert_eq!(db().fault.unwrap().message, "no route");
        world.until_seen("notice DbActive(\"b\")", 1).await;
        assert_eq!((db().state, db().fault), (Doing::Active, None));
        assert_eq!(world.count("notice DbStalled(\"b\")"), 1, "told of once, whoever lacks it");
        let back = world.now();
        world.until_seen("end b", 2).await;
        assert_eq!(world.now(), back, "the other one waits no longer");
        assert!(world.count("end c") > 0, "nobody else ever waited");
        rig.stop().await;
    });
}

/// A source of one sync is the target of another: its listener is the first to know that it is back.
#[test]
fn a_listener_that_is_back_wakes_also_those_that_write_there() {
    story(|world| async move {
        let writer = SyncPlan { sources: vec!["x".into()], ..plan("t", &["a"]) };
        let rig = Rig::up(&world, &[plan("s", &["b"]), writer]).await;
        world.expect_alarm("round failed, KID is restarted");
        world.expect_alarm("KID is stalled");
        let away = || Play::Fail(Fault::transient("no route").at("a".into()).because(Cause::Away));
        world.plays("a", std::iter::repeat_with(away).take(20));
        rig.kick("t", Reason::Change);
        world.until("the writer is stalled", |_| rig.ctl("t").state == Doing::Stalled).await;
        world.plays_anew("a", [Play::Deliver(3)]);
        let back = world.now();
        rig.mcp.do_send(KickDb { db: "a".into() });
        world.until_seen("end a", 1).await;
        assert_eq!(world.now(), back, "it waits no longer");
        rig.stop().await;
    });
}

#[test]
fn a_permanent_fault_stalls_at_once_and_a_request_tries_again_at_once() {
    story(|world| async move {
        let rig = Rig::up(&world, &[plan("s", &["b"])]).await;
        world.expect_alarm("hint=\"create it; then, to have it tried at once: bucardo kick s\"");
        let missing = || Play::Fail(Fault::permanent("table \"t\" is missing on \"b\"").with_hint("create it"));
        world.plays("b", [missing(), missing()]);
        let asked_at = world.now();
        assert_eq!(rig.ask("s").await, "notice SyncKill(\"s\")");
        assert_eq!(rig.ask("s").await, "notice SyncKill(\"s\")");
        assert_eq!(rig.ask("s").await, "notice SyncDone(\"s\")");
        assert_eq!((world.now(), world.count("begin b")), (asked_at, 3));
        rig.stop().await;
    });
}

#[test]
fn a_reload_and_a_listener_that_is_back_try_stalled_kids_at_once() {
    story(|world| async move {
        let plans = [plan("s", &["b"])];
        let rig = Rig::up(&world, &plans).await;
        world.expect_alarm("KID is stalled");
        let broken = || Play::Fail(Fault::permanent("broken"));
        world.plays("b", [broken(), broken()]);
        rig.kick("s", Reason::Change);
        world.until("it stalls", |_| rig.kid("s", "b").state == Doing::Stalled).await;
        rig.reload(&plans).await;
        world.until_seen("fail b", 2).await;
        world.until("it stalls again", |_| rig.kid("s", "b").state == Doing::Stalled).await;
        rig.mcp.do_send(KickDb { db: "a".into() });
        world.until_seen("end b", 1).await;
        assert!(world.now() < 10);
        rig.stop().await;
    });
}

#[test]
fn a_panic_in_a_round_ends_only_its_kid() {
    story(|world| async move {
        let rig = Rig::up(&world, &[plan("s", &["b", "c"])]).await;
        world.expect_alarm("error=panicked: boom in a round");
        world.plays("b", [Play::Panic]);
        rig.kick("s", Reason::Change);
        world.until_seen("end b", 1).await;
        assert_eq!((world.count("begin b"), world.count("begin c")), (2, 1));
        assert_eq!(actors(&rig.board), 5, "MCP, VAC, CTL and two KIDs: {:?}", rig.board.all());
        rig.stop().await;
    });
}

/// A panic is a failure like any other: the same waits, the same end, and a person may ask at any time.
#[test]
fn a_kid_that_panics_for_ever_stalls_and_is_tried_again_rarely() {
    story(|world| async move {
        let rig = Rig::up(&world, &[plan("s", &["b", "c"])]).await;
        world.expect_alarm("error=panicked: boom in a round");
        world.plays("b", std::iter::repeat_n(Play::Panic, 12));
        let start = world.now();
        rig.kick("s", Reason::Change);
        world.until("it stalls", |_| rig.kid("s", "b").state == Doing::Stalled).await;
        let waits: Vec<u64> = world.times("begin b").iter().map(|at| at - start).collect();
        assert_eq!(waits[..5], [0, 1, 3, 7, 15]);
        assert_eq!(waits.len(), 11, "the round and ten restarts");
        assert!(rig.kid("s", "b").fault.unwrap().message.contains("panicked: boom in a round"));
        assert_eq!(world.count("end c"), 1, "nobody else felt it");
        let stalled_at = world.now();
        world.until_seen("begin b", 12).await;
        assert_eq!(world.now() - stalled_at, 15 * 60);
        world.until("it stalls again", |_| rig.kid("s", "b").state == Doing::Stalled).await;
        assert_eq!(rig.ask("s").await, "notice SyncDone(\"s\")");
        assert_eq!(rig.kid("s", "b").fault, None);
        rig.stop().await;
    });
}

/// The server ends the session in the middle of a round: the database counts as away until the next round reaches it.
#[test]
fn a_kid_that_the_server_kills_is_back_after_a_second() {
    story(|world| async move {
        let rig = Rig::up(&world, &[plan("s", &["b", "c"])]).await;
        world.expect_alarm("round failed, KID is restarted");
        let killed = || {
            let fault = Fault::transient("terminating connection due to administrator command (SQLSTATE 57P01)");
            Play::Fail(fault.at("b".into()).because(Cause::Away))
        };
        for number in 2..20 {
            // A success in between makes each failure the first: no number of them stalls the KID.
            world.forget();
            world.plays("b", [killed(), Play::Deliver(1)]);
            let start = world.now();
            rig.kick("s", Reason::Change);
            world.until_seen("end b", 1).await;
            assert_eq!((world.now() - start, world.count("begin b"), world.count("begin c")), (1, 2, 1));
            assert_eq!((world.count("open b"), world.count("close b")), (number, number - 1), "in a new session");
            world.until("all is well", |_| rig.kid("s", "b").state == Doing::Idle).await;
            assert_eq!(rig.kid("s", "b").fault, None);
        }
        rig.stop().await;
    });
}

/// A stuck MCP is nothing that the process itself can mend: the service manager hears nothing, and ends it.
#[test]
fn the_watchdog_is_told_nothing_while_the_mcp_is_stuck() {
    story(|world| async move {
        let rig = Rig::up(&world, &[plan("s", &["b"])]).await;
        let beats = std::rc::Rc::new(std::cell::Cell::new(0));
        let counted = std::rc::Rc::clone(&beats);
        crate::health::beat(rig.mcp.clone(), SECOND, move || counted.set(counted.get() + 1));
        world.pass(10 * SECOND).await;
        let well = beats.get();
        assert!((10..=11).contains(&well), "{well}");
        rig.mcp.do_send(FreezeMcp);
        world.pass(FROZEN - 2 * SECOND).await;
        assert!(beats.get() <= well + 1, "{}", beats.get());
        world.pass(12 * SECOND).await;
        assert!(beats.get() >= well + 9, "it goes on once the MCP does: {}", beats.get());
        rig.stop().await;
        // Whoever ends is not stuck.
        let ended = beats.get();
        world.pass(3 * SECOND).await;
        assert!(beats.get() >= ended + 2);
    });
}

#[test]
fn a_round_that_does_not_move_is_abandoned_and_replaced() {
    story(|world| async move {
        let rig = Rig::up(&world, &[plan("s", &["b"])]).await;
        world.expect_alarm("nothing moved for 600 s at step \"Snapshot\"");
        world.plays("b", [Play::Hang, Play::Slow(20 * SECOND)]);
        let start = world.now();
        rig.kick("s", Reason::Change);
        world.until_seen("end b", 1).await;
        let waited = world.times("begin b")[1] - start;
        assert!((600..=620).contains(&waited), "{waited}");
        assert_eq!((world.count("begin b"), world.count("cut b")), (2, 1), "the end of the old one is no news");
        rig.stop().await;
    });
}

#[test]
fn what_an_abandoned_round_still_reports_does_not_count() {
    story(|world| async move {
        let rig = Rig::up(&world, &[plan("s", &["b"])]).await;
        world.expect_alarm("nothing moved for 600 s");
        world.plays("b", [Play::Late(2 * SECOND), Play::Slow(20 * SECOND)]);
        rig.kick("s", Reason::Change);
        world.until_seen("begin b", 2).await;
        world.until_seen("end b", 1).await; // the abandoned one
        rig.kick("s", Reason::Change);
        world.pass(5 * SECOND).await;
        assert_eq!((world.count("begin b"), world.count("end b")), (2, 1), "one round at a time");
        assert_eq!(rig.kid("s", "b").counters.rounds, 1, "the one at the start");
        world.until_seen("end b", 3).await;
        rig.stop().await;
    });
}

#[test]
fn a_round_that_moves_is_never_abandoned() {
    story(|world| async move {
        let rig = Rig::up(&world, &[plan("s", &["b"])]).await;
        world.plays("b", [Play::Crawl]);
        rig.kick("s", Reason::Change);
        world.pass(5000 * SECOND).await;
        assert_eq!((world.count("begin b"), world.count("cut b")), (1, 0));
        assert_eq!((rig.kid("s", "b").state, rig.kid("s", "b").step.as_str()), (Doing::Running, "Snapshot"));
        rig.stop().await;
        assert_eq!(world.count("cut b"), 1);
    });
}

#[test]
fn a_ctl_that_panics_is_restarted_and_leaves_no_orphans() {
    story(|world| async move {
        let rig = Rig::up(&world, &[plan("s", &["b"]), plan("t", &["c"])]).await;
        world.expect_alarm("CTL ended in disorder");
        world.plays("b", [Play::Hang]);
        rig.kick("s", Reason::Request);
        world.until_seen("begin b", 1).await;
        let start = world.now();
        rig.mcp.do_send(Break { sync: "s".into(), freeze: false });
        world.until_seen("notice SyncKill(\"s\")", 1).await;
        world.until_seen("begin b Start", 1).await;
        assert_eq!(world.now() - start, 1);
        world.until_seen("cut b", 1).await;
        world.until_seen("notice SyncDone(\"s\")", 1).await;
        assert_eq!(world.count("notice SyncKill(\"s\")"), 1);
        assert_eq!(world.count("begin c"), 0, "the other sync is not touched");
        assert_eq!(rig.ctl("s").state, Doing::Idle);
        rig.stop().await;
    });
}

#[test]
fn a_ctl_that_panicked_looks_for_what_it_forgot_even_if_changes_do_not_kick_it() {
    story(|world| async move {
        let mut asked = plan("s", &["b"]);
        asked.autokick = false;
        let rig = Rig::up(&world, &[asked]).await;
        world.expect_alarm("CTL ended in disorder");
        assert_eq!(world.count("begin b"), 0);
        rig.mcp.do_send(Break { sync: "s".into(), freeze: false });
        world.until_seen("end b", 1).await;
        rig.stop().await;
    });
}

#[test]
fn a_ctl_that_does_not_answer_is_abandoned() {
    story(|world| async move {
        let rig = Rig::up(&world, &[plan("s", &["b"])]).await;
        world.expect_alarm("error=\"did not answer 3 pings in a row\"");
        let start = world.now();
        rig.mcp.do_send(Break { sync: "s".into(), freeze: true });
        rig.kick("s", Reason::Request);
        world.until_seen("begin b Start", 1).await;
        let waited = world.now() - start;
        assert!((25..=40).contains(&waited), "{waited}");
        world.until_seen("notice SyncDone", 1).await;
        // The frozen one cannot be killed, but nothing below it lives.
        assert_eq!(world.count("open b") - world.count("close b"), 1, "{:#?}", world.log());
        rig.stop().await;
        // Thawed long after, it finds nobody who listens.
        world.pass(100_000 * SECOND).await;
        assert_eq!(world.count("begin b"), 1);
    });
}

#[test]
fn the_end_of_the_mcp_ends_everything() {
    story(|world| async move {
        let rig = Rig::up(&world, &[plan("s", &["b", "c"])]).await;
        world.plays("b", [Play::Hang]);
        rig.kick("s", Reason::Change);
        world.until_seen("end c", 1).await;
        rig.mcp.do_send(Boom);
        let exit = rig.finished().await;
        assert!(matches!(exit, Exit::Panicked(_)), "{exit:?}");
        world.until_seen("cut b", 1).await;
    });
}

#[test]
fn the_vac_purges_on_its_period_and_on_request_and_is_restarted() {
    story(|world| async move {
        world.set_plans(&[plan("s", &["b"])]);
        let mut rig = Rig::begin(&world);
        rig.ready().await.unwrap();
        world.until_seen("purge", 3).await;
        assert_eq!(world.times("purge"), [0, 30, 60]);
        rig.mcp.do_send(PurgeNow);
        world.until_seen("purge", 4).await;
        assert_eq!(world.now(), 60);

        world.expect_alarm("purge failed, VAC is restarted");
        world.purges([Err(Fault::transient("no route")), Ok(PurgeReport { rows: 9, held_back: 0 })]);
        world.until_seen("purge", 6).await;
        assert_eq!(world.times("purge")[4..], [90, 91]);

        world.expect_alarm("VAC is stalled");
        world.purges([Err(Fault::permanent("no right"))]);
        world.until_seen("purge", 8).await;
        assert_eq!(world.times("purge")[6..], [121, 121 + 15 * 60]);
        assert_eq!(rig.board.get(&crate::board::ActorId::Vac).unwrap().counters.purged, 9);
        rig.stop().await;
    });
}

#[test]
fn a_lifeline_tells_once_why_and_cancels_what_is_below() {
    story(|_| async move {
        let parent = Collector::default().start();
        let root = CancellationToken::new();
        let life = |generation| SyncLife::new("s".into(), generation, parent.clone().recipient(), root.child_token());
        let one = life(1);
        let below = one.watch().stop().child_token();
        drop(one);
        assert!(below.is_cancelled() && !root.is_cancelled());
        drop(life(2));
        let two = life(3);
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let _two = two;
            panic!("boom with a lifeline, as the test wants");
        }));
        assert!(caught.is_err());
        let news = parent.send(Collected).await.unwrap();
        assert_eq!(news[..2], [(1, Exit::Stopped), (2, Exit::Stopped)]);
        assert!(matches!(&news[2], (3, Exit::Panicked(_))) && news.len() == 3, "{news:?}");
    });
}
