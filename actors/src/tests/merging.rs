//! Several sources: one KID merges them, those that follow get what it merged, and a source may be away.

use std::time::Duration;

use super::{Play, Rig, SECOND, actors, follow, merge, plan, story};
use crate::board::Doing;
use crate::messages::{KickDb, SetState, Shutdown, Wish};
use crate::model::{Fault, Reason, SyncPlan};
use crate::policy::Exit;

/// Two sources, merged.
fn masters(targets: &[&str]) -> SyncPlan {
    SyncPlan { sources: vec!["a".into(), "b".into()], ..plan("s", targets) }
}

fn begins(rig: &Rig) -> Vec<String> {
    rig.world.log_of("begin").into_iter().map(|(_, event)| event).collect()
}

#[test]
fn what_was_merged_reaches_those_that_follow_before_the_answer() {
    story(|world| async move {
        let rig = Rig::up(&world, &[masters(&["c"])]).await;
        world.plays("merge", [Play::Slow(2 * SECOND), Play::Deliver(3)]);
        assert_eq!(rig.ask("s").await, "notice SyncDone(\"s\")");
        assert_eq!(begins(&rig), ["begin merge Request", "begin c Request"], "nothing was merged");
        world.forget();
        world.plays("c", [Play::Deliver(0), Play::Slow(3 * SECOND)]);
        let asked_at = world.now();
        assert_eq!(rig.ask("s").await, "notice SyncDone(\"s\")");
        assert_eq!(begins(&rig), ["begin merge Request", "begin c Request", "begin c Change"]);
        assert_eq!((world.count("end c"), world.now() - asked_at), (2, 3));
        rig.stop().await;
    });
}

#[test]
fn a_large_merge_goes_on_at_once_and_its_parts_are_followed() {
    story(|world| async move {
        let rig = Rig::up(&world, &[masters(&["c"])]).await;
        world.plays("merge", [Play::More(10), Play::Deliver(0)]);
        rig.kick("s", Reason::Change);
        world.until_seen("notice SyncDone", 1).await;
        let merges = world.log_of("begin merge").into_iter().map(|(_, event)| event).collect::<Vec<_>>();
        assert_eq!(merges, ["begin merge Change", "begin merge More"]);
        assert_eq!((world.count("begin c"), world.count("end c")), (2, 2), "the kick, and the part that was merged");
        rig.stop().await;
    });
}

#[test]
fn a_merge_that_clashes_is_soon_tried_again_after_waits_that_differ() {
    story(|world| async move {
        let rig = Rig::up(&world, &[masters(&["c"])]).await;
        world.expect_alarm("round failed, KID is restarted");
        world.plays("merge", (0..6).map(|_| Play::Fail(Fault::transient("could not serialize access"))));
        rig.kick("s", Reason::Change);
        world.until_seen("end merge", 1).await;
        let times: Vec<Duration> = world.log_of("begin merge").iter().map(|(at, _)| *at).collect();
        let waits: Vec<Duration> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert_eq!(waits.len(), 6);
        for (wait, longest) in waits.iter().zip([100, 200, 400, 800, 1600, 3200].map(Duration::from_millis)) {
            // Timers count whole milliseconds.
            let longest_seen = longest + Duration::from_millis(2);
            assert!(*wait >= longest / 2 && *wait <= longest_seen, "{wait:?} is not within a half of {longest:?}");
        }
        let doubled: Vec<Duration> = (0..6).map(|n| waits[0] * 2_u32.pow(n)).collect();
        assert_ne!(waits, doubled, "each wait is drawn anew");
        assert_eq!(world.count("end c"), 1, "who follows was not held up");
        rig.stop().await;
    });
}

#[test]
fn a_merge_goes_on_without_a_source_that_is_away_until_it_is_back() {
    story(|world| async move {
        let rig = Rig::up(&world, &[masters(&[])]).await;
        world.pass(10 * SECOND).await;
        world.forget();
        world
            .expect_alarm("the database is away, the others are merged without it kid=s merge db=b error=\"no route\"");
        world.plays("merge", [Play::Without(&["b"]), Play::Without(&["b"]), Play::Deliver(4)]);
        rig.kick("s", Reason::Change);
        world.until_seen("end merge", 1).await;
        world.until_seen("record merge", 1).await;
        let first = rig.snapshot(merge("s")).away.into_iter().next().expect("b is away");
        assert_eq!((first.0.as_str(), first.1.why.as_str()), ("b", "no route"));
        assert_eq!((rig.ctl("s").state, rig.snapshot(merge("s")).fault), (Doing::Idle, None), "the sync runs");
        rig.kick("s", Reason::Change);
        world.until("the second is over", |_| rig.snapshot(merge("s")).counters.rounds == 3).await;
        assert_eq!(rig.snapshot(merge("s")).away.into_iter().next(), Some(first), "away since the first time");
        rig.mcp.do_send(KickDb { db: "b".into() });
        world.until_seen("begin merge Back", 1).await;
        world.until("b is back", |_| rig.snapshot(merge("s")).away.is_empty()).await;
        world.until_seen("record merge", 2).await;
        rig.stop().await;
    });
}

#[test]
fn every_source_kicks_when_its_listener_is_back() {
    story(|world| async move {
        let rig = Rig::up(&world, &[masters(&["c"])]).await;
        for (n, db) in [(1, "a"), (2, "b")] {
            rig.mcp.do_send(KickDb { db: db.into() });
            world.until_seen("end merge", n).await;
            world.until_seen("end c", n).await;
        }
        rig.mcp.do_send(KickDb { db: "c".into() });
        world.pass(SECOND).await;
        assert_eq!(world.count("begin merge Back"), 2, "c is only written to");
        rig.stop().await;
    });
}

#[test]
fn a_second_source_replaces_pairs_by_a_merge_and_those_that_follow() {
    story(|world| async move {
        let rig = Rig::up(&world, &[plan("s", &["b", "c"])]).await;
        world.plays("c", [Play::Slow(5 * SECOND)]);
        rig.kick("s", Reason::Change);
        world.until_seen("end b", 1).await;
        let changed = SyncPlan { fingerprint: 1, ..masters(&["c"]) };
        rig.reload(&[changed]).await;
        world.until_seen("end merge", 1).await;
        world.until_seen("end c", 2).await;
        world.pass(SECOND).await;
        assert_eq!(rig.snapshot(follow("s", "c")).state, Doing::Idle);
        assert_eq!(actors(&rig.board), 5, "MCP, VAC, CTL, merge and one that follows: {:?}", rig.board.all());
        rig.stop().await;
    });
}

#[test]
fn a_pause_and_a_stop_let_a_merge_finish() {
    story(|world| async move {
        let rig = Rig::up(&world, &[masters(&["c"])]).await;
        world.plays("merge", [Play::Slow(5 * SECOND), Play::Slow(5 * SECOND)]);
        rig.kick("s", Reason::Change);
        world.until_seen("begin merge", 1).await;
        rig.mcp.do_send(SetState { sync: "s".into(), wish: Wish::Pause });
        world.until_seen("end merge", 1).await;
        rig.kick("s", Reason::Change);
        world.pass(100 * SECOND).await;
        assert_eq!((world.count("begin merge"), rig.ctl("s").state), (1, Doing::Paused));
        rig.mcp.do_send(SetState { sync: "s".into(), wish: Wish::Resume });
        world.until_seen("begin merge", 2).await;
        rig.mcp.do_send(Shutdown { grace: 10 * SECOND });
        assert_eq!(rig.finished().await, Exit::Stopped);
        assert_eq!((world.count("end merge"), world.count("cut merge")), (2, 0));
    });
}
