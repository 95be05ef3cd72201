//! Start, lease, reload, shutdown.

use super::{Play, Rig, SECOND, kid, plan, story};
use crate::board::{ActorId, Doing};
use crate::messages::{
    ControlHeard, McpPing, PurgeNow, Reload, ReloadConfig, ReloadSync, SetState, Shutdown, StopFileFound, Wish,
};
use crate::model::{Cause, Fault, Intent, Reason};
use crate::policy::{Exit, Settings};

/// What is on the board can be read in the control database a moment later; a busy sync does not write there all the time.
#[test]
fn the_control_database_shows_how_things_are() {
    story(|world| async move {
        let rig = Rig::up(&world, &[plan("s", &["b"])]).await;
        let shown = |id: ActorId| world.shown(&id).map(|snapshot| snapshot.state);
        let (sync, target) = (|| ActorId::Ctl("s".into()), || ActorId::Kid(kid("s", "b")));
        world.pass(2 * SECOND).await;
        assert_eq!((shown(ActorId::Mcp), shown(ActorId::Vac)), (Some(Doing::Active), Some(Doing::Idle)));
        assert_eq!((shown(sync()), shown(target())), (Some(Doing::Idle), Some(Doing::Idle)));
        assert_eq!(
            (shown(ActorId::Db("a".into())), shown(ActorId::Db("b".into()))),
            (Some(Doing::Active), Some(Doing::Active))
        );

        let before = world.shows();
        for _ in 0..300 {
            rig.kick("s", Reason::Change);
            world.pass(SECOND / 10).await;
        }
        assert!(world.shows() - before < 30, "{} lines for 300 rounds", world.shows() - before);

        world.expect_alarm("KID is stalled");
        world.plays("b", [Play::Fail(Fault::permanent("no table").with_hint("make it"))]);
        rig.kick("s", Reason::Change);
        world.pass(2 * SECOND).await;
        assert_eq!((shown(sync()), shown(target())), (Some(Doing::Stalled), Some(Doing::Stalled)));
        let told = world.shown(&target()).unwrap();
        assert!(told.next_try.is_some() && told.fault.is_some());
        let hint = told.fault.unwrap().hint;
        assert_eq!(hint.as_deref(), Some("make it; then, to have it tried at once: bucardo kick s"));

        rig.mcp.do_send(SetState { sync: "s".into(), wish: Wish::Pause });
        world.pass(2 * SECOND).await;
        assert_eq!(shown(sync()), Some(Doing::Paused));
        rig.reload(&[]).await;
        world.pass(2 * SECOND).await;
        assert_eq!((shown(sync()), shown(target()), shown(ActorId::Db("b".into()))), (None, None, None));
        rig.stop().await;
    });
}

#[test]
fn a_start_is_told_in_order() {
    story(|world| async move {
        let off = crate::model::SyncPlan::inactive("off".into());
        world.set_plans(&[plan("s", &["b"]), plan("t", &["b"]), off]);
        let mut rig = Rig::begin(&world);
        assert_eq!(rig.ready().await, Ok(2), "one is inactive");
        world.until_seen("notice SyncDone", 2).await;
        assert_eq!((rig.ctl("s").is_off(), rig.ctl("off").is_off()), (false, true));
        let notices: Vec<String> = world.log_of("notice").into_iter().map(|(_, event)| event).collect();
        assert_eq!(
            notices[..4],
            ["notice Boot", "notice Activated(\"s\")", "notice Activated(\"t\")", "notice Started"]
        );
        assert_eq!(world.times("begin b Start"), [0, 0]);
        assert_eq!((rig.ctl("s").state, rig.ctl("off").state), (Doing::Idle, Doing::Down));
        rig.mcp.do_send(McpPing);
        world.until_seen("notice McpPong", 1).await;
        rig.stop().await;
        assert_eq!(world.log_of("notice").last().unwrap().1, "notice Stopped");
    });
}

#[test]
fn a_second_daemon_ends_with_the_reason() {
    story(|world| async move {
        let held = Fault::permanent("another daemon holds control database \"c\"");
        world.leases([Err(held.clone())]);
        let mut rig = Rig::begin(&world);
        assert_eq!(rig.ready().await, Err(held.clone()));
        assert_eq!(rig.finished().await, Exit::Failed(held));
        assert_eq!(world.count("notice"), 0, "it does not pretend to be the one");
        assert_eq!(world.count("load"), 0);
    });
}

#[test]
fn a_start_waits_some_time_for_the_control_database() {
    story(|world| async move {
        world.expect_alarm("no hold on the control database");
        let refused = || Fault::transient("connection refused");
        world.leases([Err(refused()), Err(refused()), Ok(())]);
        world.loads([Err(refused())]);
        let mut rig = Rig::begin(&world);
        assert_eq!(rig.ready().await, Ok(0));
        assert_eq!(world.times("lease"), [0, 1, 3]);
        assert_eq!(world.times("load"), [3, 7]);
        assert_eq!(world.count("notice Boot"), 1);
        rig.stop().await;
    });
    story(|world| async move {
        world.expect_alarm("no hold on the control database");
        world.leases(std::iter::repeat_with(|| Err(Fault::transient("connection refused"))).take(5));
        let mut rig = Rig::begin(&world);
        assert_eq!(rig.ready().await, Err(Fault::transient("connection refused")));
        assert!(matches!(rig.finished().await, Exit::Failed(_)));
    });
}

#[test]
fn no_round_starts_while_the_lease_is_lost() {
    story(|world| async move {
        let rig = Rig::up(&world, &[plan("s", &["b", "c"])]).await;
        world.expect_alarm("lost the hold on the control database");
        world.expect_alarm("no hold on the control database, trying again");
        world.plays("b", [Play::Slow(5 * SECOND)]);
        rig.kick("s", Reason::Change);
        world.until_seen("end c", 1).await;
        let start = world.now();
        world.leases(std::iter::repeat_with(|| Err(Fault::transient("connection refused"))).take(12));
        world.lose_lease(Fault::transient("connection closed"));
        world.until_seen("lease", 1).await;
        rig.kick("s", Reason::Change);
        world.until_seen("end b", 1).await; // the running round finishes
        let purges = world.count("purge");
        world.until_seen("lease", 12).await;
        assert_eq!((world.count("begin b"), world.count("begin c"), world.count("purge")), (1, 1, purges));
        assert_eq!(rig.board.get(&ActorId::Mcp).unwrap().state, Doing::Down);
        let tries: Vec<u64> = world.times("lease").iter().map(|at| at - start).collect();
        assert_eq!(tries[..7], [1, 3, 7, 15, 31, 61, 91], "it was not held for long");

        world.until_seen("end b", 2).await;
        world.until_seen("notice SyncDone", 2).await;
        assert_eq!((world.count("load"), world.count("open b")), (1, 1), "read again; the KIDs were kept");
        assert_eq!(rig.board.get(&ActorId::Mcp).unwrap().state, Doing::Active);
        assert_eq!(world.count("notice Started"), 0);
        rig.stop().await;
    });
}

#[test]
fn a_catalog_that_was_read_under_a_lost_lease_is_read_again() {
    story(|world| async move {
        world.expect_alarm("lost the hold on the control database");
        world.set_plans(&[plan("s", &["b"])]);
        world.load_takes(10 * SECOND);
        let mut rig = Rig::begin(&world);
        world.until_seen("load", 1).await;
        world.pass(5 * SECOND).await;
        world.lose_lease(Fault::transient("connection closed"));
        rig.ready().await.unwrap();
        assert_eq!((world.times("lease"), world.times("load")), (vec![0, 6], vec![0, 10]));
        world.until_seen("end b", 1).await;
        assert_eq!(world.times("begin b")[0], 20);
        rig.stop().await;
    });
}

#[test]
fn a_daemon_that_finds_its_lease_taken_ends() {
    story(|world| async move {
        let rig = Rig::up(&world, &[plan("s", &["b"])]).await;
        world.expect_alarm("lost the hold on the control database");
        world.expect_alarm("no hold on the control database any more, stopping");
        let taken = Fault::permanent("another daemon holds control database \"c\"");
        world.leases([Err(taken.clone())]);
        world.lose_lease(Fault::transient("connection closed"));
        assert_eq!(rig.finished().await, Exit::Failed(taken));
    });
}

/// The role got another password, or may not log in for a while: everything else is well, so the daemon waits for it.
#[test]
fn a_running_daemon_waits_until_it_may_log_in_again() {
    story(|world| async move {
        let rig = Rig::up(&world, &[plan("s", &["b"])]).await;
        for alarm in ["lost the hold on the control database", "no hold on the control database, trying again"] {
            world.expect_alarm(alarm);
        }
        world.expect_alarm("the control database lets this daemon in no more");
        let refused = || Fault::permanent("password authentication failed").because(Cause::Away);
        world.leases(std::iter::repeat_with(|| Err(refused())).take(6));
        world.lose_lease(Fault::transient("connection closed"));
        world.until_seen("lease", 7).await;
        world.until_seen("end b", 1).await;
        assert_eq!(rig.board.get(&ActorId::Mcp).unwrap().state, Doing::Active);
        rig.stop().await;
    });
}

#[test]
fn a_reload_keeps_what_did_not_change() {
    story(|world| async move {
        let rig = Rig::up(&world, &[plan("same", &["b"]), plan("new", &["c"]), plan("gone", &["d"])]).await;
        world.plays("b", [Play::Slow(5 * SECOND)]);
        rig.kick("same", Reason::Change);
        world.until_seen("begin b", 1).await;
        let mut new = plan("new", &["c", "e"]);
        new.fingerprint = 1;
        rig.reload(&[plan("same", &["b"]), new, plan("added", &["f"])]).await;
        world.until_seen("notice SyncDone(\"same\")", 2).await;
        world.until_seen("notice SyncDone(\"new\")", 1).await;
        world.until_seen("notice SyncDone(\"added\")", 1).await;
        world.until_seen("notice Deactivated(\"gone\")", 1).await;
        assert_eq!((world.count("open b"), world.count("cut b")), (1, 0), "not touched");
        assert_eq!((world.count("open c"), world.count("close c")), (2, 1), "replaced");
        assert_eq!((world.count("open d"), world.count("close d")), (1, 1), "stopped");
        assert_eq!((world.count("open e"), world.count("open f")), (1, 1));
        for target in ["b", "c", "e", "f"] {
            assert!(world.count(&format!("begin {target} Start")) == 1, "everything is kicked once");
        }
        assert_eq!(world.count("notice Activated(\"added\")"), 1);
        assert!(rig.board.get(&ActorId::Ctl("gone".into())).is_none());
        rig.stop().await;
    });
}

#[test]
fn a_kid_is_replaced_only_after_its_round_and_its_work_is_not_forgotten() {
    story(|world| async move {
        let rig = Rig::up(&world, &[plan("s", &["b"])]).await;
        world.plays("b", [Play::Slow(5 * SECOND), Play::Hang]);
        rig.kick("s", Reason::Change);
        world.until_seen("begin b", 1).await;
        let mut new = plan("s", &["b"]);
        (new.fingerprint, new.autokick) = (1, false);
        rig.kick("s", Reason::Change);
        rig.reload(&[new.clone()]).await;
        world.until_seen("begin b", 2).await;
        assert_eq!((world.count("open b"), world.count("close b"), world.count("cut b")), (2, 1, 0));

        // One that does not end within its grace is cut off.
        let start = world.now();
        new.fingerprint = 2;
        rig.reload(&[new]).await;
        world.until_seen("end b", 2).await;
        assert_eq!(world.now() - start, 33, "grace and cancel");
        assert_eq!((world.count("open b"), world.count("cut b")), (3, 1));
        rig.stop().await;
    });
}

#[test]
fn a_sync_with_a_problem_is_not_started_until_the_catalog_is_right() {
    story(|world| async move {
        world.expect_alarm("no active source");
        let mut broken = plan("s", &["b"]);
        broken.sources.clear();
        world.set_plans(&[broken, plan("t", &["c"])]);
        let mut rig = Rig::begin(&world);
        rig.ready().await.unwrap();
        world.until_seen("notice SyncDone(\"t\")", 1).await;
        assert_eq!(rig.ctl("s").state, Doing::Stalled);
        assert_eq!((world.count("notice Activated(\"s\")"), world.count("begin b")), (0, 0));
        assert_eq!(rig.ask("s").await, "notice SyncKill(\"s\")");
        world.set_plans(&[plan("s", &["b"]), plan("t", &["c"])]);
        assert_eq!(rig.ask("s").await, "notice SyncDone(\"s\")");
        assert_eq!(world.count("notice Activated(\"s\")"), 1);
        assert_eq!(world.count("begin c"), 1, "the other sync is not concerned");
        rig.stop().await;
    });
}

#[test]
fn a_problem_that_time_may_heal_is_tried_again_by_itself() {
    story(|world| async move {
        world.expect_alarm("sync cannot run, trying again");
        let mut away = plan("s", &["b"]);
        away.problem = Some(Fault::transient("cannot connect to \"a\""));
        world.loads([Ok(vec![away.clone()]), Ok(vec![away]), Err(Fault::transient("gone"))]);
        world.set_plans(&[plan("s", &["b"])]);
        let mut rig = Rig::begin(&world);
        rig.ready().await.unwrap();
        world.until_seen("notice SyncDone", 1).await;
        assert_eq!(world.times("load"), [0, 1, 3, 7]);
        rig.stop().await;
    });
}

#[test]
fn syncs_are_activated_deactivated_and_reloaded_one_by_one() {
    story(|world| async move {
        let mut off = plan("s", &["b"]);
        off.intent = Intent::Inactive;
        let rig = Rig::up(&world, &[off, plan("t", &["c"])]).await;
        let set = |wish| rig.mcp.do_send(SetState { sync: "s".into(), wish });
        set(Wish::Activate);
        world.until_seen("notice Activated(\"s\")", 1).await;
        world.until_seen("notice SyncDone(\"s\")", 1).await;
        set(Wish::Activate); // again: answered too
        world.until_seen("notice Activated(\"s\")", 2).await;
        rig.mcp.do_send(ReloadSync { sync: "s".into() });
        world.until_seen("notice Reloaded(\"s\")", 1).await;
        world.until_seen("open b", 2).await;
        set(Wish::Deactivate);
        world.until_seen("notice Deactivated(\"s\")", 1).await;
        world.until_seen("close b", 2).await;
        assert_eq!(rig.ctl("s").state, Doing::Down);
        set(Wish::Deactivate);
        world.until_seen("notice Deactivated(\"s\")", 2).await;
        assert_eq!((world.count("set_active s true"), world.count("set_active s false")), (2, 2));

        world.expect_alarm("the sync stays as it was");
        world.refuse_set_active(Fault::permanent("validation failed"));
        set(Wish::Activate);
        world.until_seen("notice SyncError(\"s\")", 1).await;
        world.expect_alarm("cannot reload an unknown sync");
        rig.mcp.do_send(ReloadSync { sync: "nosuch".into() });
        world.until_seen("notice ReloadError(\"nosuch\")", 1).await;
        world.expect_alarm("cannot pause or resume");
        set(Wish::Pause);
        world.until_seen("notice SyncError(\"s\")", 2).await;
        assert_eq!(world.count("open c"), 1, "the other sync is not touched");
        rig.stop().await;
    });
}

/// Who has removed it takes away what the sync kept in its databases, once nobody works on it any more.
#[test]
fn a_sync_that_was_removed_says_when_it_has_ended() {
    story(|world| async move {
        let mut off = plan("off", &["b"]);
        off.intent = Intent::Inactive;
        let rig = Rig::up(&world, &[plan("s", &["b"]), off, plan("t", &["c"])]).await;
        world.set_plans(&[plan("t", &["c"])]);
        rig.mcp.do_send(ReloadSync { sync: "s".into() });
        world.until_seen("notice Deactivated(\"s\")", 1).await;
        world.until_seen("close b", 1).await;
        rig.mcp.do_send(ReloadSync { sync: "off".into() });
        world.until_seen("notice Deactivated(\"off\")", 1).await;
        assert_eq!(world.count("open c"), 1, "the other sync is not touched");
        rig.stop().await;
    });
}

#[test]
fn settings_are_reloaded_without_touching_a_kid() {
    story(|world| async move {
        let mut default = plan("s", &["b"]);
        default.check_every = None;
        let rig = Rig::up(&world, &[default]).await;
        let mut settings = Settings::default();
        settings.schedule.check_every = 4 * SECOND;
        settings.schedule.purge_every = 5 * SECOND;
        world.set_settings(settings);
        rig.mcp.do_send(ReloadConfig);
        world.until_seen("notice ReloadedConfig", 1).await;
        world.pass(21 * SECOND).await;
        assert_eq!((world.count("begin b Check"), world.count("purge"), world.count("open b")), (5, 4, 1));
        rig.stop().await;
    });
}

#[test]
fn a_shutdown_lets_rounds_finish_and_starts_none() {
    story(|world| async move {
        let rig = Rig::up(&world, &[plan("s", &["b", "c"])]).await;
        world.plays("b", [Play::Slow(5 * SECOND)]);
        world.plays("c", [Play::Heed]);
        rig.kick("s", Reason::Request);
        world.until_seen("begin c", 1).await;
        rig.kick("s", Reason::Change);
        let start = world.now();
        rig.mcp.do_send(Shutdown { grace: 10 * SECOND });
        rig.kick("s", Reason::Change);
        assert_eq!(rig.finished().await, Exit::Stopped);
        assert_eq!(world.now() - start, 10);
        assert_eq!((world.count("begin"), world.count("end b"), world.count("heeded c")), (2, 1, 1));
        assert_eq!(world.times("end b"), [start + 5]);
        assert_eq!(world.count("notice SyncKill"), 1, "the request is answered");
        let log = world.log();
        assert_eq!(log.last().unwrap().1, "notice Stopped", "{log:?}");
    });
}

#[test]
fn a_second_shutdown_cancels_at_once() {
    story(|world| async move {
        let rig = Rig::up(&world, &[plan("s", &["b", "c"])]).await;
        world.plays("b", [Play::Heed]);
        world.plays("c", [Play::Hang]);
        rig.kick("s", Reason::Change);
        world.until_seen("begin c", 1).await;
        let start = world.now();
        rig.mcp.do_send(Shutdown { grace: 1000 * SECOND });
        world.pass(SECOND).await;
        rig.mcp.do_send(Shutdown { grace: 1000 * SECOND });
        world.until_seen("heeded b", 1).await;
        assert_eq!(world.now() - start, 1);
        assert_eq!(rig.finished().await, Exit::Stopped);
        assert_eq!(world.now() - start, 4, "what does not heed is dropped");
        world.until_seen("cut c", 1).await;
    });
}

/// `bucardo stop` makes the stop file and sends a signal: that is one request, and the rounds have their grace. The next
/// signal is another one.
#[test]
fn a_stop_file_and_its_signal_are_one_request() {
    for file_first in [true, false] {
        story(|world| async move {
            let rig = Rig::up(&world, &[plan("s", &["b", "c"])]).await;
            world.plays("b", [Play::Slow(5 * SECOND)]);
            world.plays("c", [Play::Heed]);
            rig.kick("s", Reason::Change);
            world.until_seen("begin c", 1).await;
            let (start, grace) = (world.now(), 1000 * SECOND);
            if file_first {
                rig.mcp.do_send(StopFileFound { grace });
                rig.mcp.do_send(Shutdown { grace });
            } else {
                rig.mcp.do_send(Shutdown { grace });
                rig.mcp.do_send(StopFileFound { grace });
            }
            world.pass(100 * SECOND).await;
            assert_eq!(
                (world.times("end b"), world.count("heeded c")),
                (vec![start + 5], 0),
                "file first: {file_first}"
            );
            rig.mcp.do_send(Shutdown { grace });
            assert_eq!(rig.finished().await, Exit::Stopped);
            assert_eq!((world.now() - start, world.count("heeded c")), (100, 1));
        });
    }
}

/// Requests that nobody heard are in the catalog; without a hold on the control database it is not asked.
#[test]
fn a_listener_of_the_control_database_that_is_back_has_the_catalog_read() {
    story(|world| async move {
        let rig = Rig::up(&world, &[plan("s", &["b"])]).await;
        world.set_plans(&[crate::model::SyncPlan::inactive("s".into())]);
        rig.mcp.do_send(ControlHeard);
        world.until_seen("notice Deactivated(\"s\")", 1).await;
        world.until_seen("notice ReloadedMcp", 1).await;

        world.expect_alarm("lost the hold on the control database");
        world.expect_alarm("no hold on the control database, trying again");
        world.leases([Err(Fault::transient("connection refused"))]);
        world.lose_lease(Fault::transient("connection closed"));
        world.until_seen("lease", 1).await;
        let before = world.count("load");
        rig.mcp.do_send(ControlHeard);
        world.pass(SECOND / 2).await;
        assert_eq!(world.count("load"), before, "it is away");
        world.load_takes(5 * SECOND);
        world.until_seen("load", before + 1).await;
        rig.mcp.do_send(ControlHeard);
        world.until_seen("load", before + 2).await;
        rig.stop().await;
    });
}

#[test]
fn a_shutdown_before_the_start_is_done_says_so() {
    story(|world| async move {
        world.expect_alarm("no hold on the control database");
        world.leases([Err(Fault::transient("connection refused"))]);
        let mut rig = Rig::begin(&world);
        world.until_seen("lease", 1).await;
        world.pass(SECOND / 2).await;
        rig.mcp.do_send(Shutdown { grace: SECOND });
        assert_eq!(rig.ready().await.unwrap_err().message, "asked to stop before it was ready");
        assert_eq!(rig.finished().await, Exit::Stopped);
        world.pass(10 * SECOND).await;
        assert_eq!(world.count("lease"), 1);
    });
}

/// Whoever watches over the daemon is told of every reload, once, until the last of those that overlap has ended.
#[test]
fn reloads_and_the_end_are_told_as_phases() {
    story(|world| async move {
        let rig = Rig::up(&world, &[plan("s", &["b"])]).await;
        rig.mcp.do_send(ReloadConfig);
        rig.mcp.do_send(Reload);
        rig.mcp.do_send(Reload);
        world.until_seen("notice ReloadedMcp", 2).await;
        world.until_seen("phase Reloaded", 1).await;
        assert_eq!(world.count("phase Reloading"), 1);

        // One that fails has ended, too.
        world.expect_alarm("reload failed");
        world.loads([Err(Fault::transient("connection refused"))]);
        rig.mcp.do_send(Reload);
        world.until_seen("phase Reloaded", 2).await;
        rig.stop().await;
        let phases: Vec<String> = world.log_of("phase").into_iter().map(|(_, event)| event).collect();
        let reload = ["phase Reloading", "phase Reloaded"];
        assert_eq!(phases, [reload[0], reload[1], reload[0], reload[1], "phase Stopping"]);
    });
}

/// What a source keeps for the targets of a paused sync is no fault of theirs.
#[test]
fn who_purges_knows_which_syncs_are_paused() {
    story(|world| async move {
        let rig = Rig::up(&world, &[plan("s", &["b"]), plan("t", &["c"])]).await;
        rig.mcp.do_send(SetState { sync: "s".into(), wish: Wish::Pause });
        world.until_seen("notice Paused", 1).await;
        world.forget();
        rig.mcp.do_send(PurgeNow);
        world.until_seen("purge", 1).await;
        assert_eq!(world.count("paused {\"s\"}"), 1, "{:?}", world.log());
        rig.mcp.do_send(SetState { sync: "s".into(), wish: Wish::Resume });
        world.until_seen("notice Resumed", 1).await;
        world.forget();
        rig.mcp.do_send(PurgeNow);
        world.until_seen("purge", 1).await;
        assert_eq!(world.count("paused"), 0);
        rig.stop().await;
    });
}
