//! Sums up rounds to runs, the entries of the run history: a busy KID has hundreds of rounds a second. Pure.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::model::{Fault, KidId, RoundReport};
use crate::ports::{OpenRun, RunRecord};

/// What goes on and on is shown again after so long.
const SHOWN_AGAIN: Duration = Duration::from_secs(5);

/// The runs of a sync that are not yet recorded.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    kids: BTreeMap<KidId, Track>,
}

#[derive(Debug, Default)]
struct Track {
    /// When the present round began.
    round: Option<(SystemTime, Instant)>,
    run: Option<Run>,
    recorded: Option<Instant>,
    /// The run history shows the present run, since then, with this text.
    shown: Option<(Instant, String)>,
}

#[derive(Debug)]
struct Run {
    /// When its first round began, and when that ended.
    since: Instant,
    begun: Instant,
    started: SystemTime,
    ended: SystemTime,
    sum: RoundReport,
}

impl Runs {
    /// A round begins.
    pub(crate) fn begin(&mut self, kid: &KidId, now: Instant) {
        let round = Some((SystemTime::now(), now));
        if let Some(track) = self.kids.get_mut(kid) {
            track.round = round;
        } else {
            self.kids.insert(kid.clone(), Track { round, ..Track::default() });
        }
    }

    /// The runs that go on since `least`, as far as there is something new to show: what they do, and now and then that they
    /// still do it, as the control database may have forgotten. To be asked now and then while [`Runs::under_way`].
    pub(crate) fn lasting(&mut self, least: Duration, doing: impl Fn(&KidId) -> String, now: Instant) -> Vec<OpenRun> {
        let mut lasting = Vec::new();
        for (kid, track) in &mut self.kids {
            let Some(round) = track.round else { continue };
            let (started, since) = track.run.as_ref().map_or(round, |run| (run.started, run.since));
            if now.duration_since(since) < least {
                continue;
            }
            let doing = doing(kid);
            let is_shown = |(at, text): &(Instant, String)| *text == doing && now.duration_since(*at) < SHOWN_AGAIN;
            if !track.shown.as_ref().is_some_and(is_shown) {
                let so_far = track.run.as_ref().map(|run| run.sum.clone()).unwrap_or_default();
                track.shown = Some((now, doing.clone()));
                lasting.push(OpenRun { kid: kid.clone(), started, so_far, doing: Some(doing) });
            }
        }
        lasting
    }

    /// Some round is.
    pub(crate) fn under_way(&self) -> bool {
        self.kids.values().any(|track| track.round.is_some())
    }

    /// The round of a KID was broken off. What the run had done before is recorded later; returns what the run history is
    /// to show no longer, if there is nothing to record.
    pub(crate) fn broken_off(&mut self, kid: &KidId) -> Option<OpenRun> {
        self.kids.get_mut(kid)?.break_off(kid)
    }

    /// A round ended well. Returns the run it belongs to if that is over: when the KID is `idle` and its last record
    /// is `run_max` ago, or when the run is that long.
    pub(crate) fn ended(
        &mut self,
        kid: &KidId,
        report: &RoundReport,
        idle: bool,
        run_max: Duration,
        now: Instant,
    ) -> Option<RunRecord> {
        let track = self.kids.get_mut(kid)?;
        let ended = SystemTime::now();
        let (started, since) = track.round.take().unwrap_or((ended, now));
        let first = || Run { since, begun: now, started, ended, sum: RoundReport::default() };
        let run = track.run.get_or_insert_with(first);
        run.sum.absorb(report);
        run.ended = ended;
        let rested = track.recorded.is_none_or(|at| now.duration_since(at) >= run_max);
        if (idle && rested) || now.duration_since(run.begun) >= run_max { track.take(kid, now) } else { None }
    }

    /// A round, or the KID between two rounds, failed; it is tried again after that time. Returns what to record, in
    /// order.
    pub(crate) fn failed(
        &mut self,
        kid: &KidId,
        fault: Fault,
        again_after: Option<Duration>,
        now: Instant,
    ) -> Vec<RunRecord> {
        let track = self.kids.entry(kid.clone()).or_default();
        let ended = SystemTime::now();
        let (started, _) = track.round.take().unwrap_or((ended, now));
        let before = track.take(kid, now);
        track.shown = None;
        let next_try = again_after.and_then(|after| ended.checked_add(after));
        let failure = RunRecord { kid: kid.clone(), started, ended, outcome: Err(fault), next_try };
        before.into_iter().chain([failure]).collect()
    }

    /// Takes everything that is not yet recorded.
    pub(crate) fn take_all(&mut self, now: Instant) -> Vec<RunRecord> {
        self.kids.iter_mut().filter_map(|(kid, track)| track.take(kid, now)).collect()
    }

    /// Something waits to be recorded.
    pub(crate) fn waiting(&self) -> bool {
        self.kids.values().any(|track| track.run.is_some())
    }

    /// Forgets a KID; returns what is to be recorded, or what is to be shown no longer.
    pub(crate) fn remove(&mut self, kid: &KidId, now: Instant) -> (Option<OpenRun>, Option<RunRecord>) {
        let Some(mut track) = self.kids.remove(kid) else { return (None, None) };
        (track.break_off(kid), track.take(kid, now))
    }
}

impl Track {
    fn break_off(&mut self, kid: &KidId) -> Option<OpenRun> {
        let (started, _) = self.round.take()?;
        if self.run.is_some() {
            return None;
        }
        self.shown.take()?;
        Some(OpenRun { kid: kid.clone(), started, so_far: RoundReport::default(), doing: None })
    }

    fn take(&mut self, kid: &KidId, now: Instant) -> Option<RunRecord> {
        let run = self.run.take()?;
        self.recorded = Some(now);
        self.shown = None;
        let outcome = Ok(run.sum);
        Some(RunRecord { kid: kid.clone(), started: run.started, ended: run.ended, outcome, next_try: None })
    }
}
