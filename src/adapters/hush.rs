//! When changes of a sync keep quiet: while a source is so busy that the daemon looks every few milliseconds anyway,
//! `NOTIFY` is a cost for every writer and news to nobody (see [`crate::source::Gate`]).
//!
//! Pure: the listener tells what it heard and what time it is, and does what it is told.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bucardo_actors::model::{DbName, SyncName};
use dashmap::DashMap;

/// So many notifications …
const HEARD_MAX: u32 = 20;
/// … within this time make a source busy.
const HEARD_WITHIN: Duration = Duration::from_millis(100);
/// How often the daemon looks at a quiet source by itself.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Without a row for this long, a source is no longer busy.
const STILL_AFTER: Duration = Duration::from_millis(500);
/// The longest pause between two looks while old transactions end.
const SETTLE_PAUSE_MAX: Duration = Duration::from_secs(1);

/// Rounds that moved rows, by source and sync.
#[derive(Clone, Default)]
pub struct Activity(Arc<DashMap<(DbName, SyncName), u64>>);

impl Activity {
    /// A round moved rows.
    pub(super) fn moved(&self, source: &DbName, sync: &SyncName) {
        *self.0.entry((source.clone(), sync.clone())).or_default() += 1;
    }

    /// How many did; only its growth means anything.
    pub(super) fn rounds(&self, source: &DbName, sync: &SyncName) -> u64 {
        self.0.get(&(source.clone(), sync.clone())).map_or(0, |rounds| *rounds)
    }
}

/// What a tick asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Nothing,
    /// Look at the source.
    Look,
    /// Open the gate, then say what the horizon is.
    Open,
    /// Look at the source, and say what the horizon is.
    Settle,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Changes notify.
    Loud,
    /// They do not; the daemon looks.
    Quiet { rounds: u64, still_since: Instant },
    /// They do again, but transactions below `xmax` may not know yet.
    Settling { xmax: i64, pause: Duration },
}

/// One sync in one source.
#[derive(Debug)]
pub(super) struct Hush {
    state: State,
    next: Instant,
    window: Instant,
    heard: u32,
}

impl Hush {
    pub(super) fn new(now: Instant) -> Self {
        Self { state: State::Loud, next: now, window: now, heard: 0 }
    }

    /// A change was heard; whether the gate should be closed.
    pub(super) fn heard(&mut self, now: Instant) -> bool {
        if now.duration_since(self.window) > HEARD_WITHIN {
            (self.window, self.heard) = (now, 0);
        }
        self.heard += 1;
        self.heard >= HEARD_MAX && !matches!(self.state, State::Quiet { .. })
    }

    /// The gate is closed.
    pub(super) fn closed(&mut self, now: Instant, rounds: u64) {
        self.state = State::Quiet { rounds, still_since: now };
        self.next = now + LOOK_EVERY;
    }

    /// When to tick next; `None`: changes will be heard.
    pub(super) fn due(&self) -> Option<Instant> {
        (self.state != State::Loud).then_some(self.next)
    }

    /// Time has passed.
    pub(super) fn tick(&mut self, now: Instant, rounds_now: u64) -> Act {
        if now < self.next {
            return Act::Nothing;
        }
        match &mut self.state {
            State::Loud => Act::Nothing,
            State::Quiet { rounds, still_since } => {
                self.next = now + LOOK_EVERY;
                if *rounds != rounds_now {
                    (*rounds, *still_since) = (rounds_now, now);
                }
                if now.duration_since(*still_since) < STILL_AFTER { Act::Look } else { Act::Open }
            }
            State::Settling { pause, .. } => {
                self.next = now + *pause;
                *pause = (*pause * 2).min(SETTLE_PAUSE_MAX);
                Act::Settle
            }
        }
    }

    /// The gate is open; `xmax` is of a snapshot taken after that.
    pub(super) fn opened(&mut self, now: Instant, xmax: i64) {
        self.state = State::Settling { xmax, pause: LOOK_EVERY };
        self.next = now;
    }

    /// A later snapshot; the look that follows it finds everything once `xmin` has reached the horizon.
    pub(super) fn horizon(&mut self, xmin: i64) {
        if matches!(self.state, State::Settling { xmax, .. } if xmin >= xmax) {
            self.state = State::Loud;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A source that chatters is made quiet, looked at while rows move, and made loud again when they stop; the last
    /// look comes after every transaction that may have seen it quiet has ended.
    #[test]
    fn quiet_while_busy_and_loud_again_without_a_gap() {
        let start = Instant::now();
        let at = |millis: u64| start + Duration::from_millis(millis);
        let mut hush = Hush::new(start);
        assert!((0..19).all(|n| !hush.heard(at(n))));
        assert_eq!(hush.due(), None);
        assert!(hush.heard(at(20)));
        hush.closed(at(20), 7);
        assert_eq!(hush.tick(at(21), 7), Act::Nothing);
        assert_eq!(hush.tick(at(25), 7), Act::Look);
        assert_eq!(hush.tick(at(400), 8), Act::Look);
        assert_eq!(hush.tick(at(899), 8), Act::Look);
        assert_eq!(hush.tick(at(904), 8), Act::Open);
        hush.opened(at(904), 1000);
        assert_eq!(hush.tick(at(904), 8), Act::Settle);
        hush.horizon(990);
        assert!(hush.due().is_some());
        assert_eq!(hush.tick(at(909), 8), Act::Settle);
        hush.horizon(1000);
        assert_eq!(hush.due(), None);
    }

    /// A few changes now and then are news.
    #[test]
    fn slow_changes_stay_loud() {
        let start = Instant::now();
        let mut hush = Hush::new(start);
        assert!((0..200).all(|n| !hush.heard(start + Duration::from_millis(n * 10))));
    }
}
