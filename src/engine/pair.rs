//! The rounds of one source-target pair.
//!
//! A round locks the target's position (the fence), takes a snapshot of the source, brings the target from the
//! position to the snapshot, and commits rows and new position together. Whatever dies before that commit leaves
//! the target as it was; whatever dies after it leaves only the source's track behind, which the next round mends.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use bucardo_actors::model::{Fault, Pair, Reason, RoundReport};
use bucardo_actors::ports::{Rounds, Watch};

use super::drift::Drift;
use super::error::RoundError;
use super::hooks::{Hooks, left};
use super::join::join;
use super::pleas::{Pleas, may_spare};
use super::quarantine::Quarantine;
use super::refused::refusal;
use super::round::{Ended, Others, Round, step};
use super::session::Session;
use super::step::Step;
use crate::catalog::{Goat, SyncDetail};
use crate::custom::{Codes, Hook};
use crate::pg::causes;

/// How often a round starts over because a table's definition changed under it, or a cut batch clashed.
const TRIES_MAX: u32 = 5;

/// Pause before a round that could not be serialized starts over; grows with each.
const SERIALIZATION_PAUSE: Duration = Duration::from_millis(50);

/// The rounds of one KID. Keeps its connections from one round to the next.
pub struct PairSession {
    sync: Arc<SyncDetail>,
    id: Pair,
    session: Option<Session>,
    quarantine: Quarantine,
    hooks: Option<Box<Hooks>>,
}

impl PairSession {
    /// Makes the rounds of one pair; connecting is part of the first round.
    #[must_use]
    pub fn new(sync: Arc<SyncDetail>, id: Pair) -> Self {
        Self { sync, id, session: None, quarantine: Quarantine::default(), hooks: None }
    }

    /// The same, with the custom codes of the sync.
    #[must_use]
    pub fn with_codes(mut self, codes: Option<Codes>) -> Self {
        self.hooks = codes.map(|codes| Box::new(Hooks::new(codes, Some(&self.id.source), Some(&self.id.target))));
        self
    }

    /// The codes that it was given, for another session.
    pub(super) fn into_codes(self) -> Option<Codes> {
        self.hooks.map(|hooks| hooks.into_codes())
    }

    /// Makes the whole copy that is asked for (`onetimecopy`) and not made yet, and nothing else; `None`: there is none
    /// to make. For whoever replicates in another way between two databases: one source of a sync to another one.
    ///
    /// # Errors
    ///
    /// See [`RoundError`]; a copy in pieces goes on with the next call.
    pub async fn copy_only(&mut self, watch: &Watch) -> Result<Option<RoundReport>, RoundError> {
        let report = Box::pin(self.repeat(Reason::Request, watch, true)).await?;
        Ok((report.copied || report.more).then_some(report))
    }

    pub(super) async fn run(&mut self, reason: Reason, watch: &Watch) -> Result<RoundReport, RoundError> {
        Box::pin(self.repeat(reason, watch, false)).await
    }

    async fn repeat(&mut self, reason: Reason, watch: &Watch, copy_only: bool) -> Result<RoundReport, RoundError> {
        let Some(hooks) = &mut self.hooks else { return Box::pin(self.tries(reason, watch, copy_only)).await };
        hooks.begin_round();
        // In a merge, what surrounds its transactions is its own affair.
        if !copy_only {
            hooks.outside(Hook::BeforeTxn, watch).await?;
        }
        let mut report = Box::pin(self.tries(reason, watch, copy_only)).await?;
        if let Some(hooks) = self.hooks.as_mut().filter(|_| !report.is_empty()) {
            if !copy_only {
                hooks.after(watch).await?;
            }
            report.more |= hooks.runs_again();
        }
        Ok(report)
    }

    async fn tries(&mut self, reason: Reason, watch: &Watch, copy_only: bool) -> Result<RoundReport, RoundError> {
        let began = Instant::now();
        let mut uncut = false;
        let mut changed = String::new();
        let mut doubted = HashSet::new();
        let mut tries = 0;
        let mut reason = reason;
        let mut joined = false;
        let (mut without, mut pleas, mut is_late, mut spares) = (Vec::new(), Pleas::default(), false, false);
        while tries < TRIES_MAX {
            let mut session = match self.take_session(reason).await {
                Ok(session) => session,
                Err(missing) if !joined => {
                    joined = true;
                    join(&self.sync, missing).await?;
                    continue;
                }
                Err(error) => return Err(error),
            };
            step(watch, Step::Connected).await?;
            let (sync, id, quarantine) = (&self.sync, &self.id, &mut self.quarantine);
            let mut hooks = self.hooks.as_deref_mut();
            hooks.iter_mut().for_each(|hooks| hooks.begin_try());
            let (here, others) = (&mut session, Others::default());
            let (is_cut, is_copying, without_now) = (false, false, without.as_slice());
            let mut round = Round {
                sync,
                id,
                session: here,
                quarantine,
                watch,
                hooks,
                uncut,
                is_cut,
                copy_only,
                is_copying,
                without: without_now,
                doubted: &doubted,
                spares,
                is_late,
                is_committing: false,
                has_letters: false,
                has_savepoint: false,
                others,
                began,
            };
            // What was asked for has been looked at, once.
            let asked = std::mem::replace(&mut reason, Reason::More);
            let error = match round.run(asked).await {
                Ok(Ended::Done(report)) => {
                    self.session = Some(session);
                    return Ok(RoundReport { quarantined: self.quarantine.told(&self.id.target), ..report });
                }
                Ok(Ended::Again(table)) => {
                    tracing::info!(kid = %self.id, table, "the definition of the table changed, the round starts over");
                    self.quarantine.unlearn();
                    changed = table;
                    self.session = Some(session);
                    tries += 1;
                    continue;
                }
                Ok(Ended::Told) => {
                    self.quarantine.unlearn();
                    self.session = Some(session);
                    reason = asked;
                    tries += 1;
                    continue;
                }
                Err(error) => error,
            };
            let (is_cut, is_copying, is_committing) = (round.is_cut, round.is_copying, round.is_committing);
            self.quarantine.unlearn();
            session.release().await;
            let heard = (&*self.sync, &self.id.source);
            if pleas.heed(&error, heard, self.hooks.as_deref_mut(), watch).await? {
                continue;
            }
            if !spares && may_spare(&self.sync, &error) {
                spares = true;
                continue;
            }
            // The row that stands in the way may be one whose change was cut off.
            if is_cut && matches!(error.sqlstate(), Some("23505" | "23P01")) {
                tracing::info!(kid = %self.id, "a part of the backlog clashes with the rest, the round takes it whole");
                uncut = true;
                tries += 1;
            } else if is_committing && !is_copying && !is_late && refusal(&error).is_some() {
                tracing::info!(kid = %self.id, error = causes(&error), "rows were refused at the commit, the round starts over and looks for them");
                is_late = true;
            // What others did meanwhile fits in no order with what this round saw; the next one sees it.
            } else if self.sync.serializable && tries + 1 < TRIES_MAX && error.sqlstate() == Some("40001") {
                tracing::info!(kid = %self.id, "the round cannot be serialized, it starts over");
                tries += 1;
                tokio::time::sleep(SERIALIZATION_PAUSE * tries).await;
            } else if let Some(table) = self.copies_without(&error, is_copying, &without) {
                without.push(table);
            } else if !self.goes_on_without(&error, &mut doubted) {
                if joined {
                    return Err(error);
                }
                joined = true;
                join(&self.sync, error).await?;
            }
        }
        Err(RoundError::Restless { table: changed })
    }

    /// The session of the last round, or a new one.
    async fn take_session(&mut self, reason: Reason) -> Result<Session, RoundError> {
        let session = self.session.take();
        let is_outdated = self.quarantine.wants_new_session(reason, Instant::now());
        if let Some(session) = session {
            if !is_outdated {
                return Ok(session);
            }
            session.release().await;
        }
        let mut session = Session::open(&self.sync, &self.id).await?;
        for drift in session.unfit_sequences.drain(..) {
            self.quarantine.note_sequence(&self.id, &drift, Instant::now());
        }
        Ok(session)
    }

    /// The table whose definition keeps a copy from being made, and that it can do without: it comes back by a copy of
    /// its own, in a merge by the next copy that somebody asks for.
    fn copies_without(&mut self, error: &RoundError, is_copying: bool, without: &[String]) -> Option<String> {
        let drift = Drift::of(error).filter(|drift| is_copying && !drift.by_statement)?;
        let goat = self.sync.tables().find(|goat| goat.label() == drift.table)?;
        if without.contains(&drift.table) {
            return None;
        }
        let (now, drift) = (Instant::now(), Drift { whole: true, ..drift });
        if !self.quarantine.note(&self.id, goat, &drift, now) {
            self.quarantine.still(&drift, now);
        }
        Some(drift.table)
    }

    /// Whether a round can do without the table that the last one failed of: it is put aside. Statements may be older
    /// than the difference that they met, so a table is doubted once before that.
    fn goes_on_without(&mut self, error: &RoundError, doubted: &mut HashSet<String>) -> bool {
        let Some(drift) = Drift::of(error) else {
            // A table or sequence that is gone may be missed by a statement that names many; a new session passes it over.
            return error.sqlstate().is_some_and(|code| code.starts_with("42")) && doubted.insert(String::new());
        };
        let now = Instant::now();
        if drift.by_statement && !self.quarantine.has(&drift.table) && doubted.insert(drift.table.clone()) {
            return true;
        }
        let is_it = |goat: &&Goat| goat.label() == drift.table;
        match self.sync.tables().find(is_it) {
            Some(goat) => self.quarantine.note(&self.id, goat, &drift, now),
            None => self.quarantine.note_sequence(&self.id, &drift, now),
        }
    }
}

impl Rounds for PairSession {
    fn round<'a>(&'a mut self, reason: Reason, watch: Watch) -> BoxFuture<'a, Result<RoundReport, Fault>> {
        async move {
            let ended = Box::pin(self.run(reason, &watch)).await;
            let ended = left(&self.sync, ended).await;
            ended.map_err(|error| error.into_fault(self.id.sync.as_str()))
        }
        .boxed()
    }
}
