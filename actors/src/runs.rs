//! Sums up rounds to runs, the entries of the run history: a busy KID has hundreds of rounds a second. Pure.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::model::{Fault, KidId, RoundReport};
use crate::ports::RunRecord;

/// The runs of a sync that are not yet recorded.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    kids: BTreeMap<KidId, Track>,
}

#[derive(Debug, Default)]
struct Track {
    /// When the present round began.
    round: Option<SystemTime>,
    run: Option<Run>,
    recorded: Option<Instant>,
}

#[derive(Debug)]
struct Run {
    begun: Instant,
    started: SystemTime,
    ended: SystemTime,
    sum: RoundReport,
}

impl Runs {
    /// A round begins.
    pub(crate) fn begin(&mut self, kid: &KidId) {
        if let Some(track) = self.kids.get_mut(kid) {
            track.round = Some(SystemTime::now());
        } else {
            self.kids.insert(kid.clone(), Track { round: Some(SystemTime::now()), ..Track::default() });
        }
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
        let started = track.round.take().unwrap_or(ended);
        let run = track.run.get_or_insert_with(|| Run { begun: now, started, ended, sum: RoundReport::default() });
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
        let started = track.round.take().unwrap_or(ended);
        let before = track.take(kid, now);
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

    pub(crate) fn remove(&mut self, kid: &KidId, now: Instant) -> Option<RunRecord> {
        self.kids.remove(kid)?.take(kid, now)
    }
}

impl Track {
    fn take(&mut self, kid: &KidId, now: Instant) -> Option<RunRecord> {
        let run = self.run.take()?;
        self.recorded = Some(now);
        let outcome = Ok(run.sum);
        Some(RunRecord { kid: kid.clone(), started: run.started, ended: run.ended, outcome, next_try: None })
    }
}
