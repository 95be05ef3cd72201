//! Decisions that need no actor: policy, health, agenda, runs, plans, settings.

use std::time::Duration;

use tokio::time::Instant;

use super::{SECOND, follow, kid, merge, plan};
use crate::agenda::{Agenda, Over};
use crate::health::Pulse;
use crate::messages::Pong;
use crate::model::{Cause, Fault, Reason, RoundReport};
use crate::plan::kids;
use crate::policy::{Care, Exit, Ledger, Settings, Supervision, Verdict};
use crate::runs::Runs;

fn flaky() -> Exit {
    Exit::Failed(Fault::transient("deadlock"))
}

#[test]
fn restarts_wait_twice_as_long_each_up_to_the_limit_and_the_budget() {
    let (mut ledger, care, mut now) = (Ledger::default(), Care::default(), Instant::now());
    let mut waits = Vec::new();
    while let Verdict::Restart { after } = ledger.settle(&care, &flaky(), now, 999) {
        waits.push(after.as_secs());
        now += after;
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]);
    assert_eq!(
        ledger.settle(&care, &flaky(), now, 999),
        Verdict::Stall { retry_after: care.stalled.retry_every, again: true }
    );
    assert_eq!(
        ledger.settle(&care, &flaky(), now + care.restart.restarts_window, 999),
        Verdict::Restart { after: SECOND },
        "restarts out of the window no longer count"
    );
}

#[test]
fn luck_shortens_a_wait_as_far_as_the_jitter_lets_it() {
    let care = Supervision::default().merge;
    let wait = |luck| match Ledger::default().settle(&care, &flaky(), Instant::now(), luck) {
        Verdict::Restart { after } => after,
        other => panic!("{other:?}"),
    };
    assert_eq!((wait(0), wait(500)), (Duration::from_millis(100), Duration::from_millis(75)));
    assert!(wait(999) > Duration::from_millis(50) && wait(999) < Duration::from_millis(51));
}

#[test]
fn each_exit_has_its_verdict() {
    let (care, now) = (Care::default(), Instant::now());
    let settle = |exit: &Exit| Ledger::default().settle(&care, exit, now, 999);
    assert_eq!(settle(&Exit::Stopped), Verdict::Forget);
    assert_eq!(settle(&flaky()), Verdict::Restart { after: SECOND });
    assert_eq!(settle(&Exit::Panicked("boom".into())), Verdict::Restart { after: SECOND });
    assert_eq!(settle(&Exit::Unresponsive("still".into())), Verdict::Restart { after: SECOND });
    let stall = Verdict::Stall { retry_after: care.stalled.retry_every, again: false };
    assert_eq!(settle(&Exit::Failed(Fault::permanent("no table"))), stall);
    let of = |cause| Exit::Failed(Fault::transient("clash").because(cause));
    assert_eq!(settle(&of(Cause::Serialization)), Verdict::Restart { after: care.clash.serialization });
    assert_eq!(settle(&of(Cause::Deadlock)), Verdict::Restart { after: care.clash.deadlock });
    let mut ledger = Ledger::default();
    assert!(!ledger.succeeded());
    ledger.settle(&care, &flaky(), now, 999);
    assert!(ledger.succeeded() && !ledger.succeeded(), "trouble is over once");
}

/// `kid_serial_sleep` below 0.
#[test]
fn clashes_that_are_not_to_be_retried_stall_at_once() {
    let mut care = Care::default();
    care.clash.serialization_retry = false;
    let of = |cause| Exit::Failed(Fault::transient("clash").because(cause));
    let settle = |exit: &Exit| Ledger::default().settle(&care, exit, Instant::now(), 999);
    let stall = Verdict::Stall { retry_after: care.stalled.retry_every, again: false };
    assert_eq!(settle(&of(Cause::Serialization)), stall);
    assert!(matches!(settle(&of(Cause::Deadlock)), Verdict::Restart { .. }));
}

#[test]
fn a_database_that_is_away_is_tried_every_half_minute_for_ever() {
    let (mut ledger, care, mut now) = (Ledger::default(), Care::default(), Instant::now());
    let exit = Exit::Failed(Fault::transient("no route").at("b".into()).because(Cause::Away));
    let mut waits = Vec::new();
    for _ in 0..100 {
        let (after, stalled) = match ledger.settle(&care, &exit, now, 999) {
            Verdict::Restart { after } => (after, None),
            Verdict::Stall { retry_after, again } => (retry_after, Some(again)),
            Verdict::Forget => panic!("it failed"),
        };
        waits.push((after.as_secs(), stalled));
        now += after;
    }
    let growing = [1, 2, 4, 8, 16].map(|wait| (wait, None));
    assert_eq!(waits[..5], growing);
    assert_eq!(waits[5], (30, Some(false)), "told of once");
    assert!(waits[6..].iter().all(|wait| *wait == (30, Some(true))), "{waits:?}");
}

#[test]
fn settings_are_text_and_refuse_what_they_do_not_know() {
    let care: Care = serde_json::from_str(r#"{"restart": {"delay_max": "90s"}, "ping": {"missed_max": 5}}"#).unwrap();
    assert_eq!((care.restart.delay_max, care.ping.missed_max), (Duration::from_secs(90), 5));
    assert_eq!(care.restart.delay_initial, Care::default().restart.delay_initial);
    let error = serde_json::from_str::<Supervision>(r#"{"kid": {"restart": {"delay_min": "1s"}}}"#).unwrap_err();
    assert!(error.to_string().contains("unknown field `delay_min`"), "{error}");
    let text = serde_json::to_string(&Settings::default()).unwrap();
    assert_eq!(serde_json::from_str::<Settings>(&text).unwrap(), Settings::default());
    assert!(text.contains(r#""retry_every":"15m""#), "{text}");
}

#[test]
fn silence_and_stillness_make_sick_but_idleness_does_not() {
    let (care, start) = (Care::default(), Instant::now());
    let mut pulse = Pulse::new(start);
    assert!(pulse.ask() && !pulse.ask(), "one question at a time");
    assert_eq!(pulse.answered(None, &care, start), None);
    assert_eq!(pulse.answered(None, &care, start), None);
    assert_eq!(pulse.answered(Some(&Pong::default()), &care, start), None);
    assert_eq!(pulse.answered(None, &care, start), None, "counted in a row only");
    assert_eq!(pulse.answered(None, &care, start), None);
    assert!(pulse.answered(None, &care, start).is_some());

    let mut pulse = Pulse::new(start);
    let idle = Pong::default();
    assert_eq!(pulse.answered(Some(&idle), &care, start + 10_000 * SECOND), None);
    let busy = |work_done| Pong { busy: true, work_done, doing: "Keys".into() };
    assert_eq!(pulse.answered(Some(&busy(1)), &care, start + 10_590 * SECOND), None);
    assert_eq!(pulse.answered(Some(&busy(2)), &care, start + 11_180 * SECOND), None);
    assert_eq!(pulse.answered(Some(&busy(2)), &care, start + 11_779 * SECOND), None);
    let sick = pulse.answered(Some(&busy(2)), &care, start + 11_780 * SECOND);
    assert_eq!(sick.as_deref(), Some("nothing moved for 600 s at step \"Keys\""));
}

fn agenda(targets: &[&str]) -> Agenda<u32> {
    let mut agenda = Agenda::new();
    for target in targets {
        agenda.add(kid("s", target));
    }
    agenda
}

#[test]
fn an_agenda_answers_each_kick_when_all_rounds_after_it_have_ended() {
    let (b, c) = (kid("s", "b"), kid("s", "c"));
    let mut agenda = agenda(&["b", "c"]);
    assert!(agenda.kick(Reason::Request, |_| true, |_| true, 1).is_empty());
    assert_eq!(agenda.kick(Reason::Change, |_| true, |_| true, 2), [2], "the same rounds serve both");
    assert_eq!(agenda.due(), [b.clone(), c.clone()]);
    assert_eq!(agenda.begin(&b), Some(Reason::Request));
    assert_eq!(agenda.begin(&b), None);
    assert!(agenda.kick(Reason::Change, |_| true, |_| true, 3).is_empty(), "b has begun without it");
    agenda.begin(&c);
    assert_eq!(agenda.ended(&c, false), Over::none());
    assert_eq!(agenda.ended(&b, false), Over { asked: vec![1], unasked: vec![] });
    assert_eq!(agenda.due(), std::slice::from_ref(&b), "c began after the third kick");
    agenda.begin(&b);
    assert_eq!(agenda.ended(&b, true), Over::none(), "more is left");
    assert_eq!(agenda.begin(&b), Some(Reason::More));
    assert_eq!(agenda.ended(&b, false).unasked, [3]);
    assert!(agenda.due().is_empty() && agenda.idle(&b) && agenda.running() == 0);
}

/// A merge leaves work for those that follow the sources; who waits for the merge waits for them too.
#[test]
fn an_agenda_passes_on_what_a_round_leaves_for_others() {
    let (first, b, c) = (merge("s"), follow("s", "b"), follow("s", "c"));
    let mut agenda = Agenda::new();
    [&first, &b, &c].into_iter().for_each(|kid| agenda.add(kid.clone()));
    let follows = |kid: &crate::model::KidId| kid.target().is_some();
    agenda.kick(Reason::Request, |_| true, |_| true, 1);
    agenda.begin(&first);
    agenda.begin(&b);
    assert_eq!(agenda.ended(&b, false), Over::none());
    agenda.kick(Reason::Change, |_| true, |_| true, 2);
    agenda.pass_on(&first, follows, |kid| *kid != c);
    assert_eq!(agenda.ended(&first, false), Over::none(), "b has not yet what was merged");
    assert_eq!(agenda.due(), [c.clone(), first.clone(), b.clone()], "the longest at rest comes first");
    agenda.begin(&c);
    assert_eq!(agenda.ended(&c, false), Over::none());
    agenda.begin(&b);
    assert_eq!(agenda.ended(&b, false).asked, [1], "the second kick's merge has not begun");
    agenda.begin(&first);
    assert_eq!(agenda.ended(&first, false).unasked, [2]);
}

#[test]
fn a_reason_that_says_more_is_kept() {
    use Reason::{Back, Change, Check, More, Request, Start};
    for (first, then, both) in
        [(Back, Change, Back), (Change, Back, Back), (Check, More, Check), (Request, Start, Request)]
    {
        assert_eq!(first.and(then), both, "{first:?} {then:?}");
    }
}

#[test]
fn a_request_is_not_answered_by_rounds_that_began_before_it() {
    let b = kid("s", "b");
    let mut agenda = agenda(&["b"]);
    agenda.kick(Reason::Change, |_| true, |_| true, 1);
    agenda.begin(&b);
    assert_eq!(agenda.kick(Reason::Request, |_| true, |_| true, 2), [1], "nobody is told of the round that runs");
    assert_eq!(agenda.ended(&b, false), Over::none());
    agenda.begin(&b);
    assert_eq!(agenda.ended(&b, false).asked, [2]);
}

#[test]
fn an_agenda_keeps_the_work_of_a_kid_that_failed_or_left() {
    let (b, c) = (kid("s", "b"), kid("s", "c"));
    let mut agenda = agenda(&["b", "c"]);
    agenda.kick(Reason::Change, |_| true, |_| true, 1);
    agenda.begin(&b);
    agenda.begin(&c);
    agenda.interrupted(&c);
    assert_eq!(agenda.due(), std::slice::from_ref(&c));
    assert_eq!(agenda.failed(&b, true).unasked, [1]);
    assert_eq!(agenda.due(), [b.clone(), c.clone()]);
    assert!(agenda.kick(Reason::Change, |_| true, |kid| *kid != b, 2).is_empty());
    agenda.begin(&c);
    assert_eq!(agenda.ended(&c, false).unasked, [2], "b cannot run and is not waited for");
    assert_eq!(agenda.kick(Reason::Change, |_| true, |_| false, 3), [3]);
    agenda.kick(Reason::Change, |_| true, |_| true, 4);
    agenda.begin(&c);
    agenda.ended(&c, false);
    assert_eq!(agenda.remove(&b).unasked, [4], "a KID that is gone is not waited for");
}

#[test]
fn an_agenda_stays_small_while_one_kid_hangs() {
    let (b, c) = (kid("s", "b"), kid("s", "c"));
    let mut agenda = agenda(&["b", "c"]);
    let mut shared = 0;
    for n in 0..10_000 {
        shared += usize::from(!agenda.kick(Reason::Change, |_| true, |_| true, n).is_empty());
        agenda.begin(&b);
        agenda.begin(&c);
        agenda.ended(&c, false);
    }
    assert_eq!(shared, 10_000 - 16);
    assert_eq!(agenda.ended(&b, false).unasked, [0]);
    agenda.begin(&b);
    assert_eq!(agenda.ended(&b, false).unasked.len(), 15);
}

#[test]
fn runs_sum_up_rounds() {
    let (b, max, start) = (kid("s", "b"), 5 * SECOND, Instant::now());
    let rows = |n| RoundReport { inserts: n, keys: n, ..RoundReport::default() };
    let sum = |record: crate::ports::RunRecord| record.outcome.unwrap().inserts;
    let mut runs = Runs::default();
    runs.begin(&b, start);
    assert!(runs.ended(&b, &rows(1), false, max, start).is_none(), "it goes on");
    runs.begin(&b, start);
    assert_eq!(runs.ended(&b, &rows(2), true, max, start).map(sum), Some(3), "the first run is recorded at once");
    runs.begin(&b, start);
    assert!(runs.ended(&b, &rows(4), true, max, start + SECOND).is_none(), "the next one only later");
    assert!(runs.waiting());
    runs.begin(&b, start);
    let failed = runs.failed(&b, Fault::transient("deadlock"), Some(SECOND), start + 2 * SECOND);
    assert_eq!(failed.len(), 2);
    assert_eq!(failed[0].outcome.as_ref().unwrap().inserts, 4);
    assert!(failed[1].outcome.is_err() && !runs.waiting());
    runs.begin(&b, start);
    runs.ended(&b, &rows(8), false, max, start + 3 * SECOND);
    runs.begin(&b, start);
    assert_eq!(runs.ended(&b, &rows(16), false, max, start + 8 * SECOND).map(sum), Some(24), "long enough");
}

#[test]
fn a_plan_has_one_kid_per_target_or_says_why_not() {
    let targets: Vec<String> = kids(&plan("s", &["b", "c"])).unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(targets, ["s a->b", "s a->c"]);
    let mut several = plan("s", &["c", "b"]);
    (several.sources, several.fullcopies) = (vec!["a".into(), "b".into()], vec!["f".into()]);
    let works: Vec<String> = kids(&several).unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(works, ["s merge", "s a->f", "s ->c"], "b is merged, and follows nobody");
    several.targets.clear();
    assert_eq!(kids(&several).unwrap().len(), 2, "sources need no target");
    let refused = |change: fn(&mut crate::model::SyncPlan)| {
        let mut plan = plan("s", &["b"]);
        change(&mut plan);
        kids(&plan).unwrap_err()
    };
    let none = refused(|plan| plan.sources.clear());
    assert_eq!(none.message, "sync \"s\" has no active source");
    assert!(none.failure == crate::model::Failure::Permanent && none.hint.is_some());
    assert_eq!(refused(|plan| plan.targets.clear()).message, "sync \"s\" has no active target");
    assert_eq!(refused(|plan| plan.problem = Some(Fault::transient("away"))).message, "away");
}
