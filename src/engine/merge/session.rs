//! The rounds of the KID that merges the sources of a sync.

use std::collections::HashSet;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use tokio_util::task::AbortOnDropHandle;

use bucardo_actors::model::{Cause, DbName, Failure, Fault, Pair, Reason, RoundReport};
use bucardo_actors::ports::{Rounds, Watch};

use super::arm::Arm;
use super::aside::Asides;
use super::conflict;
use super::refuse::Cautions;
use super::round::{Done, Ended, Kept, Merge};
use super::seat::{Seat, State};
use crate::catalog::conflicts::ConflictStore;
use crate::catalog::{Role, SyncDetail};
use crate::custom::{Codes, Hook};
use crate::engine::desk::inherit;
use crate::engine::drift::Drift;
use crate::engine::error::{RoundError, clash_remedy};
use crate::engine::hooks::{Hooks, left};
use crate::engine::pair::PairSession;
use crate::engine::refused::refusal;
use crate::engine::round::step;
use crate::engine::step::Step;
use crate::pg::causes;
use crate::source::join;

/// How often a merge starts over, without those that failed.
const TRIES_MAX: u32 = 8;
/// After so many clashes in a row with local changes, a source is only read for a while.
const PATIENCE: u32 = 4;
/// How long a source that is being connected is waited for when two others are there.
const GRACE: Duration = Duration::from_millis(250);
/// The longest pause before a merge that clashed starts over; pauses are random.
const PAUSE_MAX: Duration = Duration::from_millis(50);

/// The merges of a sync with several sources. Keeps its connections from one round to the next.
///
/// A round merges the sources that can be reached. Whoever fails is left out, and tried again after a pause; the others
/// go on as long as they are two.
pub struct MergeSession {
    sync: Arc<SyncDetail>,
    store: Arc<dyn ConflictStore>,
    names: Vec<String>,
    seats: Vec<Seat>,
    kept: Kept,
    asides: Asides,
    /// Sources that may keep conflicts which are not in the control database yet.
    undelivered: HashSet<DbName>,
    hooks: Option<Box<Hooks>>,
}

impl MergeSession {
    /// Makes the merges of a sync; connecting is part of the first round. Conflicts go to `store`.
    #[must_use]
    pub fn new(sync: Arc<SyncDetail>, store: Arc<dyn ConflictStore>) -> Self {
        let dbs: Vec<DbName> = sync.dbs(Role::Source).filter(|db| db.active).map(|db| db.name.clone()).collect();
        Self {
            names: dbs.iter().map(ToString::to_string).collect(),
            undelivered: dbs.iter().cloned().collect(),
            seats: (0..).zip(dbs).map(|(place, db)| Seat::new(db, place)).collect(),
            sync,
            store,
            kept: Kept::default(),
            asides: Asides::default(),
            hooks: None,
        }
    }

    /// The same, with the custom codes of the sync.
    #[must_use]
    pub fn with_codes(mut self, codes: Option<Codes>) -> Self {
        self.lend(codes);
        self
    }

    fn lend(&mut self, codes: Option<Codes>) {
        let mut dbs = self.seats.iter().map(|seat| &seat.db);
        let (first, next) = (dbs.next(), dbs.next());
        self.hooks = codes.map(|codes| Box::new(Hooks::new(codes, first, next)));
    }

    async fn run(&mut self, is_asked: bool, watch: &Watch) -> Result<RoundReport, RoundError> {
        let Some(hooks) = &mut self.hooks else { return self.tries(is_asked, watch).await };
        hooks.begin_round();
        hooks.outside(Hook::BeforeTxn, watch).await?;
        let mut report = self.tries(is_asked, watch).await?;
        if let Some(hooks) = self.hooks.as_mut().filter(|_| !report.is_empty()) {
            hooks.after(watch).await?;
            report.more |= hooks.runs_again();
        }
        Ok(report)
    }

    async fn tries(&mut self, is_asked: bool, watch: &Watch) -> Result<RoundReport, RoundError> {
        let mut why = self.alone();
        let now = Instant::now();
        self.asides.retry(is_asked, now);
        for seat in &mut self.seats {
            if self.asides.tries_whole(seat.place) || self.asides.tries_sequence(seat.place, is_asked, now) {
                seat.renew();
            }
        }
        let (mut tries, mut doubted, mut cautions) = (0, HashSet::new(), Cautions::default());
        while tries < TRIES_MAX {
            self.connect().await;
            self.greet();
            if let Some(full) = self.seats.iter_mut().find_map(Seat::lacks_room) {
                return Err(full);
            }
            step(watch, Step::Connected).await?;
            if self.seats.iter().filter(|seat| seat.is_open()).count() < 2 {
                return Err(self.alone());
            }
            match self.merge(is_asked, &mut cautions, watch).await {
                Ok(Ended::Done(done)) => return self.finish(*done).await,
                Ok(Ended::Again(table)) => {
                    tracing::info!(sync = %self.sync.name, table, "the definition of the table changed, the merge starts over");
                    self.release().await;
                    why = RoundError::Restless { table };
                    tries += 1;
                }
                Ok(Ended::Copy(empty)) => {
                    self.release().await;
                    return Box::pin(self.copy(empty, watch)).await;
                }
                Err(error @ RoundError::NoRoom { .. }) => return Err(error),
                Err(error @ (RoundError::Code(_) | RoundError::Left)) => {
                    self.release().await;
                    return Err(error);
                }
                Err(error) => {
                    self.release().await;
                    if self.is_heeded(&error, &mut cautions, watch).await? {
                        continue;
                    }
                    if self.goes_on_without(&error, &mut doubted) {
                        continue;
                    }
                    tries += 1;
                    why = RoundError::Clashing { sync: self.sync.name.to_string(), why: causes(&error) };
                    self.blame(error)?;
                    tokio::time::sleep(jitter()).await;
                }
            }
        }
        Err(why)
    }

    /// Copies the first source to others, one after the other: what a pair does for a target.
    async fn copy(&mut self, empty: Vec<DbName>, watch: &Watch) -> Result<RoundReport, RoundError> {
        let mut report = RoundReport { more: true, ..RoundReport::default() };
        let Some(source) = self.seats.first().map(|seat| seat.db.clone()) else { return Ok(report) };
        for target in empty {
            tracing::info!(sync = %self.sync.name, %source, %target, "the first source is copied to another");
            let pair = Pair { sync: self.sync.name.clone(), source: source.clone(), target };
            let codes = self.hooks.take().map(|hooks| hooks.into_codes());
            let mut session = PairSession::new(self.sync.clone(), pair).with_codes(codes);
            // The copy only: a round of the pair would bring changes that nobody has merged.
            let copied = session.copy_only(watch).await;
            let codes = session.into_codes();
            self.lend(codes);
            match copied {
                Ok(Some(copied)) => report.absorb(&RoundReport { more: true, ..copied }),
                Ok(None) => {}
                // Without the first source there is nothing to begin with.
                Err(error) if error.db() == Some(&source) => return Err(error),
                Err(error) => self.blame(error)?,
            }
        }
        Ok(report)
    }

    /// Whether the next try may end otherwise, after a source refused rows: it goes on with care in that table, or
    /// custom codes (hook `exception`) were told of them.
    async fn is_heeded(
        &mut self,
        error: &RoundError,
        cautions: &mut Cautions,
        watch: &Watch,
    ) -> Result<bool, RoundError> {
        if let Some((at, told)) = cautions.take_open() {
            let (Some(goat), Some(hooks)) = (self.sync.tables().nth(at.0), self.hooks.as_deref_mut()) else {
                return Ok(false);
            };
            if !hooks.exception_outside(goat, told, watch).await? {
                cautions.give_up(at);
            }
            return Ok(true);
        }
        let (RoundError::OfTable { table, .. }, Some(_)) = (error, refusal(error)) else { return Ok(false) };
        let Some(place) = self.sync.tables().position(|goat| goat.label() == *table) else { return Ok(false) };
        // Even where nobody can help, the keys have names.
        Ok(cautions.add(place))
    }

    /// Whether the next try can do without the table of which this one failed: it is put aside at the source at fault.
    /// Statements may be older than the difference that they met, so a table is doubted once before that. A clash of
    /// rows is none of a table.
    fn goes_on_without(&mut self, error: &RoundError, doubted: &mut HashSet<(String, DbName)>) -> bool {
        let is_clash = matches!(error.sqlstate(), Some("23505" | "23P01"));
        let drift = Drift::of(error).filter(|_| !is_clash);
        let seat = self.seats.iter_mut().find(|seat| error.db() == Some(&seat.db));
        let Some(seat) = seat else { return false };
        let Some(drift) = drift else {
            // A sequence that is gone is missed by a statement that names many; a new connection passes it over.
            let is_missed = error.sqlstate().is_some_and(|code| code.starts_with("42"));
            if is_missed && doubted.insert((String::new(), seat.db.clone())) {
                seat.renew();
                return true;
            }
            return false;
        };
        if let Some(sequence) = self.sync.sequences().position(|goat| goat.label() == drift.table) {
            let (place, db) = (seat.place, seat.db.clone());
            if let Some(arm) = seat.arm() {
                arm.sequences[sequence] = None;
            }
            self.asides.note_sequence(&self.sync.name, sequence, (place, &db), &drift, Instant::now());
            return true;
        }
        let Some(table) = self.sync.tables().position(|goat| goat.label() == drift.table) else { return false };
        let is_sure = !drift.by_statement || !doubted.insert((drift.table.clone(), seat.db.clone()));
        if drift.by_statement && is_sure && self.asides.has(table, seat.place) {
            // It has no part in the merge of the table already: what failed is something else.
            return false;
        }
        if is_sure {
            self.asides.note(&self.sync.name, table, (seat.place, &seat.db), &drift, Instant::now());
        }
        true
    }

    /// Takes note of what cannot be used at sources that were connected anew. Statements of before are none of theirs.
    fn greet(&mut self) {
        for seat in &mut self.seats {
            let (place, db) = (seat.place, seat.db.clone());
            let Some(unfit) = seat.arm().and_then(|arm| arm.unfit_sequences.take()) else { continue };
            self.kept = Kept::default();
            for (sequence, drift) in unfit {
                self.asides.note_sequence(&self.sync.name, sequence, (place, &db), &drift, Instant::now());
            }
        }
    }

    async fn merge(&mut self, is_asked: bool, cautions: &mut Cautions, watch: &Watch) -> Result<Ended, RoundError> {
        let mut muted = 0;
        for seat in &mut self.seats {
            if seat.why_muted().is_some() {
                muted |= 1 << seat.place;
            }
        }
        let places = self.open_places();
        if self.kept.places != places {
            // Statements are made for the sources that take part.
            self.kept = Kept { places, ..Kept::default() };
        }
        let arms: Vec<&mut Arm> = self.seats.iter_mut().filter_map(Seat::arm).collect();
        let (sync, names) = (&*self.sync, self.names.as_slice());
        let (kept, asides) = (&mut self.kept, &mut self.asides);
        let mut hooks = self.hooks.as_deref_mut();
        hooks.iter_mut().for_each(|hooks| hooks.begin_try());
        let mut merge = Merge {
            sync,
            names,
            arms,
            muted,
            has_second: false,
            kept,
            asides,
            is_asked,
            watch,
            hooks,
            cautions,
            is_careful: false,
            coded: 0,
        };
        let ended = Box::pin(merge.run()).await;
        if muted != 0 {
            // What was made in the transaction of a source that is only read has gone with it.
            self.kept = Kept::default();
        }
        ended
    }

    /// Ends a merge that went to its end.
    async fn finish(&mut self, done: Done) -> Result<RoundReport, RoundError> {
        let Done { mut report, refused } = done;
        let failed: Vec<&DbName> = refused.iter().filter_map(RoundError::db).collect();
        // One whose connection was lost may have committed.
        self.undelivered.extend(failed.iter().copied().cloned());
        for seat in self.seats.iter_mut().filter(|seat| seat.is_open() && !failed.contains(&&seat.db)) {
            seat.succeeded();
        }
        if report.conflicts > 0 {
            self.undelivered.extend(self.seats.iter().map(|seat| seat.db.clone()));
        }
        report.more |= !refused.is_empty();
        if !refused.is_empty() {
            self.release().await;
        }
        for error in refused {
            self.blame(error)?;
        }
        self.deliver().await;
        self.tell_away(&mut report);
        for seat in &mut self.seats {
            let source = seat.place;
            if let Some(arm) = seat.arm() {
                self.asides.sequences_fit(&self.sync.name, source, |place| arm.sequences[place].is_some());
            }
        }
        report.quarantined = self.asides.told();
        Ok(report)
    }

    /// Connects sources that are away and due. Those that take long are left for the next round.
    async fn connect(&mut self) {
        let now = Instant::now();
        for seat in &mut self.seats {
            if matches!(&seat.state, State::Away(until, _) if *until <= now) {
                let (sync, db, place) = (self.sync.clone(), seat.db.clone(), seat.place);
                let dial = inherit(async move { Box::pin(open(&sync, &db, place)).await });
                seat.dial(AbortOnDropHandle::new(tokio::spawn(dial)));
            }
        }
        let all = async |seats: &mut Vec<Seat>| {
            join_all(seats.iter_mut().map(Seat::answer)).await;
        };
        if tokio::time::timeout(GRACE, all(&mut self.seats)).await.is_err() {
            while self.seats.iter().filter(|seat| seat.is_open()).count() < 2 {
                let dialing: Vec<_> =
                    self.seats.iter_mut().filter(|seat| seat.is_dialing()).map(|seat| seat.answer().boxed()).collect();
                if dialing.is_empty() {
                    break;
                }
                futures_util::future::select_all(dialing).await;
            }
        }
    }

    fn open_places(&self) -> Vec<u16> {
        self.seats.iter().filter(|seat| seat.is_open()).map(|seat| seat.place).collect()
    }

    /// Notes who is to blame for a merge that failed. An error that is nobody's own ends the round.
    fn blame(&mut self, error: RoundError) -> Result<(), RoundError> {
        let Some(seat) = self.seats.iter_mut().find(|seat| error.db() == Some(&seat.db)) else {
            return Err(error);
        };
        match error.sqlstate() {
            // To be only read did not help.
            _ if seat.why_muted().is_some() => seat.leave(error),
            // A row that somebody holds: the others have waited long enough.
            Some("55P03") => seat.refused(causes(&error), 1),
            // A serialization failure, a deadlock, a unique or exclusion clash.
            Some("40001" | "40P01" | "23505" | "23P01") => {
                tracing::debug!(sync = %self.sync.name, db = %seat.db, error = causes(&error), "a merge clashed, it starts over");
                seat.refused(causes(&error), PATIENCE);
            }
            _ => seat.leave(error),
        }
        Ok(())
    }

    /// Says who does not take part, and why.
    fn tell_away(&mut self, report: &mut RoundReport) {
        for seat in &mut self.seats {
            let why = match seat.why_away() {
                Some(error) => Some(causes(error)),
                None => seat.why_muted().map(|why| {
                    let next = clash_remedy(why, self.sync.name.as_str()).map(|next| format!("; {next}"));
                    format!("what other sources have cannot be written there: {why}{}", next.unwrap_or_default())
                }),
            };
            report.away.extend(why.map(|why| (seat.db.clone(), why)));
        }
    }

    fn alone(&self) -> RoundError {
        let up: Vec<String> =
            self.seats.iter().filter(|seat| seat.is_open()).map(|seat| format!("\"{}\"", seat.db)).collect();
        let away = self.seats.iter().filter_map(|seat| seat.why_away().map(|error| causes(error)));
        let away: Vec<String> = away.collect();
        let up = if up.is_empty() { "none".to_owned() } else { format!("only {}", up.join(" and ")) };
        // To reach it again does not help one that lacks what the sync keeps there.
        let lacks_something =
            self.seats.iter().filter_map(Seat::why_away).any(|why| why.failure() == Failure::Permanent);
        let cause = if lacks_something { Cause::Other } else { Cause::Away };
        RoundError::Alone { sync: self.sync.name.to_string(), up, away: away.join("; "), cause }
    }

    /// Ends the transactions of a merge that failed. What was made in them is gone with them; and with a source that
    /// does not stop sending rows, its connection.
    async fn release(&mut self) {
        self.kept = Kept::default();
        let ends = self.seats.iter_mut().map(|seat| async {
            let Some(arm) = seat.arm() else { return };
            // The second session of a large merge is in a transaction of its own.
            if let Some(second) = arm.second.take()
                && second.give_up().await
            {
                arm.second = Some(second);
            }
            if !arm.site.give_up().await {
                seat.renew();
            }
        });
        join_all(ends).await;
    }

    /// Moves the conflicts that sources keep to the control database.
    async fn deliver(&mut self) {
        let waiting: Vec<DbName> = self.undelivered.iter().cloned().collect();
        for seat in self.seats.iter_mut().filter(|seat| waiting.contains(&seat.db)) {
            let Some(arm) = seat.arm() else { continue };
            match conflict::deliver(&self.sync.name, &arm.site, self.store.as_ref()).await {
                Ok(true) => {
                    self.undelivered.remove(&seat.db);
                }
                Ok(false) => {}
                Err(error) => seat.leave(error),
            }
        }
    }
}

/// Connects a source; one that was away when the sync was validated is installed first.
async fn open(sync: &SyncDetail, db: &DbName, place: u16) -> Result<Arm, RoundError> {
    match Box::pin(Arm::open(sync, db, place)).await {
        Err(RoundError::NotInstalled { .. } | RoundError::NoPosition { .. }) => {}
        opened => return opened,
    }
    let joined = Box::pin(join(sync, db)).await.map_err(|source| RoundError::Join { db: db.clone(), source })?;
    tracing::info!(sync = %sync.name, %db, "the database is put into the sync");
    for warning in joined.into_iter().flat_map(|validated| validated.warnings) {
        tracing::warn!(sync = %sync.name, %db, "{warning}");
    }
    Box::pin(Arm::open(sync, db, place)).await
}

/// A random pause, so that two merges that clash do not do so again.
fn jitter() -> Duration {
    let random = RandomState::new().build_hasher().finish() % 1000;
    PAUSE_MAX.mul_f64(f64::from(u32::try_from(random).unwrap_or_default()) / 1000.0)
}

impl Rounds for MergeSession {
    fn round<'a>(&'a mut self, reason: Reason, watch: Watch) -> BoxFuture<'a, Result<RoundReport, Fault>> {
        async move {
            if matches!(reason, Reason::Back | Reason::Start | Reason::Request) {
                self.seats.iter_mut().for_each(Seat::hurry);
            }
            let ended = Box::pin(self.run(matches!(reason, Reason::Request), &watch)).await;
            let ended = left(&self.sync, ended).await;
            ended.map_err(|error| error.into_fault(self.sync.name.as_str()))
        }
        .boxed()
    }
}
