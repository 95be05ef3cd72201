//! The place of a source in a merge: open, being connected, or away for a while. One that is away holds up nobody.

use std::time::{Duration, Instant};

use tokio_util::task::AbortOnDropHandle;

use bucardo_actors::model::DbName;

use super::arm::Arm;
use crate::engine::error::RoundError;

/// Pause after the first failure; it doubles with each.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// No pause is longer.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// A source of the sync.
pub(super) struct Seat {
    pub(super) db: DbName,
    /// Place among the sources.
    pub(super) place: u16,
    pub(super) state: State,
    /// Failures in a row.
    failures: u32,
    /// Until then it is only read: what is written there is refused again and again.
    muted: Option<(Instant, String)>,
}

/// Whether a source can take part.
pub(super) enum State {
    Open(Box<Arm>),
    /// Being connected, and why it was away before.
    Dialing(AbortOnDropHandle<Result<Arm, RoundError>>, Option<RoundError>),
    /// Not before then.
    Away(Instant, Option<RoundError>),
}

impl Seat {
    pub(super) fn new(db: DbName, place: u16) -> Self {
        Self { db, place, state: State::Away(Instant::now(), None), failures: 0, muted: None }
    }

    pub(super) fn arm(&mut self) -> Option<&mut Arm> {
        match &mut self.state {
            State::Open(arm) => Some(arm),
            State::Dialing(..) | State::Away(..) => None,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    pub(super) fn is_dialing(&self) -> bool {
        matches!(self.state, State::Dialing(..))
    }

    /// Why it does not take part. One that gives no answer yet is away as before.
    pub(super) fn why_away(&self) -> Option<&RoundError> {
        match &self.state {
            State::Away(_, why) | State::Dialing(_, why) => why.as_ref(),
            State::Open(_) => None,
        }
    }

    /// There was no room for its session, which is no reason to do without it.
    pub(super) fn lacks_room(&mut self) -> Option<RoundError> {
        let State::Away(_, why) = &mut self.state else { return None };
        why.take_if(|why| matches!(why, RoundError::NoRoom { .. }))
    }

    /// It may be there again: it is tried without a pause.
    pub(super) fn hurry(&mut self) {
        if let State::Away(until, _) = &mut self.state {
            *until = Instant::now();
        }
    }

    /// What is known of it may be out of date: it is connected anew.
    pub(super) fn renew(&mut self) {
        if self.is_open() {
            self.state = State::Away(Instant::now(), None);
        }
    }

    /// It is being connected.
    pub(super) fn dial(&mut self, attempt: AbortOnDropHandle<Result<Arm, RoundError>>) {
        let why = match std::mem::replace(&mut self.state, State::Away(Instant::now(), None)) {
            State::Away(_, why) => why,
            State::Open(_) | State::Dialing(..) => None,
        };
        self.state = State::Dialing(attempt, why);
    }

    /// Takes what a finished attempt to connect came to.
    pub(super) async fn answer(&mut self) {
        let State::Dialing(handle, _) = &mut self.state else { return };
        match handle.await {
            Ok(Ok(arm)) => self.state = State::Open(Box::new(arm)),
            Ok(Err(error)) => self.leave(error),
            // A panic was told by the panic hook; the next attempt is another.
            Err(_) => self.state = State::Away(Instant::now() + PAUSE_MIN, None),
        }
    }

    /// Something failed there: it does not take part for a while.
    pub(super) fn leave(&mut self, why: RoundError) {
        self.failures += 1;
        self.state = State::Away(Instant::now() + pause(self.failures), Some(why));
    }

    /// A merge went well there.
    pub(super) fn succeeded(&mut self) {
        if self.muted.is_none() {
            self.failures = 0;
        }
    }

    /// What is written there was refused. After a few times it is only read for a while, so that the others go on.
    pub(super) fn refused(&mut self, why: String, patience: u32) {
        self.failures += 1;
        if self.failures >= patience {
            self.muted = Some((Instant::now() + pause((self.failures + 1).saturating_sub(patience)), why));
        }
    }

    /// Why it is only read now.
    pub(super) fn why_muted(&mut self) -> Option<&str> {
        if self.muted.as_ref().is_some_and(|(until, _)| *until <= Instant::now()) {
            self.muted = None;
        }
        self.muted.as_ref().map(|(_, why)| why.as_str())
    }
}

fn pause(failures: u32) -> Duration {
    (PAUSE_MIN * 2_u32.saturating_pow(failures.saturating_sub(1).min(8))).min(PAUSE_MAX)
}
