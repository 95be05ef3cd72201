//! Tables that a pair has put aside, because they cannot be delivered as they are, so that the others go on.
//!
//! A table in quarantine has stopped at a snapshot of its own, which is written in the target's transaction that takes
//! the position past it. Before that transaction, the source is told to keep the table's changes from that snapshot on.
//! So whatever dies in between leaves changes kept for nothing, which the next session notices, and never a change
//! purged that is still to come. Now and then the table is tried again; once it fits, a round brings it from its
//! snapshot to that of the others and takes it out, in one transaction.
//!
//! Other tables may refer to rows that one in quarantine lacks on the target: foreign keys are quiet there while
//! rows are written, and true again when it is back.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use bucardo_actors::model::{DbName, Pair, Quarantined, Reason};

use super::drift::{Drift, remedy};
use super::error::RoundError;
use super::position::Position;
use super::site::Site;
use crate::catalog::Goat;
use crate::pg::{RelationName, SqlFile};

const READ: SqlFile = SqlFile::new(include_str!("../../sql/engine/quarantine_read.sql"));
pub(super) const ADD: SqlFile = SqlFile::new(include_str!("../../sql/engine/quarantine_add.sql"));
pub(super) const LIFT: SqlFile = SqlFile::new(include_str!("../../sql/engine/quarantine_lift.sql"));
const TURN: SqlFile = SqlFile::new(include_str!("../../sql/engine/quarantine_turn.sql"));
pub(super) const HOLD: SqlFile = SqlFile::new(include_str!("../../sql/engine/quarantined_hold.sql"));
pub(super) const RELEASE: SqlFile = SqlFile::new(include_str!("../../sql/engine/quarantined_release.sql"));

/// How long a table stays aside before it is looked at again.
const PAUSE_MIN: Duration = Duration::from_secs(10);
/// The same, for one whose rows are refused again and again.
const PAUSE_MAX: Duration = Duration::from_secs(600);

/// Why a table stays behind that is left to the merges.
const LEFT: &str = "it was not copied with others; the next merge brings its changes";

/// Where a table in quarantine stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Found in this round; the target does not know yet.
    New,
    /// Written at the target.
    Kept,
    /// It fits again: this round is to deliver it.
    Returning,
    /// Delivered, or of no interest any more: comes out with this round's commit.
    Done,
}

/// A table in quarantine.
#[derive(Clone, Debug)]
struct Aside {
    state: State,
    schema: String,
    name: String,
    captured: i32,
    snapshot: Option<Position>,
    whole: bool,
    why: String,
    /// The reason is another one than the target knows.
    is_reworded: bool,
    /// Nothing is wrong with it: see [`Quarantine::leave`].
    is_left: bool,
    since: DateTime<Utc>,
    due: Instant,
    pause: Duration,
}

/// Where a table that comes back has to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Missed {
    /// Its changes since this snapshot.
    Since(Position),
    /// Nobody knows: all its rows.
    All,
}

/// The tables of a pair that are in quarantine, by `schema.table`.
#[derive(Debug, Default)]
pub(super) struct Quarantine {
    /// The target's count of changes to its list when we last read or wrote it.
    turn: Option<i64>,
    /// The list was read and not yet compared with what the source keeps.
    is_read_anew: bool,
    tables: BTreeMap<String, Aside>,
    /// Sequences have no changes to be kept: known to this session only.
    sequences: BTreeMap<String, (String, Instant)>,
}

impl Quarantine {
    /// Whether the ordinary part of a round passes over this table.
    pub(super) fn has(&self, table: &str) -> bool {
        !self.tables.is_empty() && self.tables.contains_key(table)
    }

    /// Whether this sequence is passed over.
    pub(super) fn has_sequence(&self, sequence: &str) -> bool {
        !self.sequences.is_empty() && self.sequences.contains_key(sequence)
    }

    /// Whether this round has to write something here, whatever else it finds.
    pub(super) fn has_work(&self) -> bool {
        self.tables.values().any(|aside| aside.state != State::Kept || aside.is_reworded)
    }

    /// Nothing stays behind that is told of.
    pub(super) fn is_empty(&self) -> bool {
        self.tables.values().all(|aside| aside.is_left) && self.sequences.is_empty()
    }

    /// The tables and sequences, as they are told of; they stay behind at `db`.
    pub(super) fn told(&self, db: &DbName) -> Vec<Quarantined> {
        let tables = self.tables.iter().filter(|(_, aside)| !aside.is_left).map(|(table, aside)| Quarantined {
            relation: table.clone(),
            is_sequence: false,
            db: db.clone(),
            since: Some(aside.since.into()),
            why: aside.why.clone(),
            remedy: remedy(&aside.why),
        });
        let sequences = self.sequences.iter().map(|(sequence, (why, _))| Quarantined {
            relation: sequence.clone(),
            is_sequence: true,
            db: db.clone(),
            since: None,
            why: why.clone(),
            remedy: remedy(why),
        });
        tables.chain(sequences).collect()
    }

    /// Puts a table aside, or back where it was if it had begun to return. False: it is there already.
    pub(super) fn note(&mut self, pair: &Pair, goat: &Goat, drift: &Drift, now: Instant) -> bool {
        if let Some(aside) = self.tables.get_mut(&drift.table) {
            return aside.fail(drift, now);
        }
        let (table, why) = (&drift.table, &drift.why);
        tracing::warn!(kid = %pair, table, why, "quarantined table: it stays behind until the difference is gone, the others go on");
        let aside = Aside::new(goat, drift.whole, why.clone(), now);
        self.tables.insert(drift.table.clone(), aside);
        true
    }

    /// Leaves a table to the merges: whatever else the position goes past, its changes wait for the next one.
    pub(super) fn leave(&mut self, goat: &Goat, now: Instant) {
        let left = || Aside { is_left: true, ..Aside::new(goat, false, LEFT.to_owned(), now) };
        self.tables.entry(goat.label()).or_insert_with(left);
    }

    /// Passes over a sequence from now on. False: it is passed over already.
    pub(super) fn note_sequence(&mut self, pair: &Pair, drift: &Drift, now: Instant) -> bool {
        let (sequence, why) = (&drift.table, &drift.why);
        let is_new = self.sequences.insert(sequence.clone(), (why.clone(), now + PAUSE_MIN)).is_none();
        if is_new {
            tracing::warn!(kid = %pair, sequence, why, "quarantined sequence: it stays behind until the difference is gone");
        }
        is_new
    }

    /// Whether a table is due for which the session must be made anew: the source's number of it may be another one by
    /// now. Sequences that are due are tried by the new session.
    pub(super) fn wants_new_session(&mut self, reason: Reason, now: Instant) -> bool {
        let is_asked = matches!(reason, Reason::Request);
        let sequences = self.sequences.len();
        self.sequences.retain(|_, (_, due)| !is_asked && *due > now);
        let is_due = |aside: &Aside| aside.state == State::Kept && aside.whole && (is_asked || aside.due <= now);
        sequences != self.sequences.len() || self.tables.values().any(is_due)
    }

    /// The tables whose difference may be gone: those that are due, or all when a person asks.
    pub(super) fn due(&self, reason: Reason, now: Instant) -> Vec<String> {
        let is_asked = matches!(reason, Reason::Request);
        let due = self.tables.iter().filter(|(_, it)| it.state == State::Kept && (is_asked || it.due <= now));
        due.map(|(table, _)| table.clone()).collect()
    }

    /// A table fits again: it returns with this round.
    pub(super) fn fits(&mut self, table: &str) {
        self.set(table, State::Returning);
    }

    /// A table that was due does not fit yet.
    pub(super) fn still(&mut self, drift: &Drift, now: Instant) {
        if let Some(aside) = self.tables.get_mut(&drift.table) {
            aside.reword(drift);
            aside.due = now + PAUSE_MIN;
        }
    }

    /// Where a returning table, which the source has registered as `captured`, begins; `None`: it is not returning.
    pub(super) fn missed(&self, table: &str, captured: i32) -> Option<Missed> {
        let aside = self.tables.get(table).filter(|aside| aside.state == State::Returning)?;
        let known = aside.snapshot.as_ref().filter(|_| !aside.whole && aside.captured == captured);
        Some(known.map_or(Missed::All, |snapshot| Missed::Since(snapshot.clone())))
    }

    /// A table has got all that it missed, or is none of the sync's any more.
    pub(super) fn done(&mut self, table: &str) {
        self.set(table, State::Done);
    }

    /// A table that was put aside in this round has the rows that it shall have; it misses changes only.
    pub(super) fn keeps_rows(&mut self, table: &str) {
        if let Some(aside) = self.tables.get_mut(table).filter(|aside| aside.state == State::New) {
            aside.whole = false;
        }
    }

    /// The tables that were returning wait for a later round.
    pub(super) fn wait(&mut self) {
        for aside in self.tables.values_mut().filter(|aside| aside.state == State::Returning) {
            aside.state = State::Kept;
        }
    }

    fn set(&mut self, table: &str, state: State) {
        if let Some(aside) = self.tables.get_mut(table) {
            aside.state = state;
        }
    }

    /// How the last round ended is not known: the list is read again.
    pub(super) fn unlearn(&mut self) {
        self.turn = None;
    }

    /// Reads the target's list unless ours is of the same `turn`; `None`: the target is not locked yet, a first look.
    pub(super) async fn learn(&mut self, pair: &Pair, target: &Site, turn: Option<i64>) -> Result<(), RoundError> {
        if self.turn.is_some() && (turn.is_none() || turn == self.turn) {
            return Ok(());
        }
        let rows = target.conn.query(READ.text(), &[&pair.sync.as_str(), &pair.source.as_str()]).await;
        let rows = rows.map_err(target.failed("reading which tables are in quarantine"))?;
        let mut known = BTreeMap::new();
        for row in &rows {
            self.turn = Some(row.get("turn"));
            let Some(schema) = row.get::<_, Option<String>>("schemaname") else { continue };
            let name: String = row.get("tablename");
            let table = RelationName::of(&schema, &name).to_string();
            let position: Result<Position, _> = row.get::<_, &str>("snapshot").parse();
            let position = position.map_err(|source| RoundError::Position { db: target.db.clone(), source })?;
            let ours = self.tables.get(&table);
            let reworded = ours.filter(|aside| aside.is_reworded);
            let now = Instant::now();
            let aside = Aside {
                // What we thought new or done, and what the target has, tells how our last commit ended.
                state: match ours.map(|aside| aside.state) {
                    Some(State::Returning) => State::Returning,
                    _ => State::Kept,
                },
                schema,
                name,
                captured: row.get("captured"),
                snapshot: Some(position),
                whole: row.get::<_, bool>("whole") || reworded.is_some_and(|aside| aside.whole),
                why: reworded.map_or_else(|| row.get("why"), |aside| aside.why.clone()),
                is_reworded: reworded.is_some(),
                is_left: ours.map_or(row.get::<_, &str>("why") == LEFT, |aside| aside.is_left),
                since: row.get("since"),
                due: ours.map_or(now, |aside| aside.due),
                pause: ours.map_or(PAUSE_MIN, |aside| aside.pause),
            };
            known.insert(table, aside);
        }
        for (table, aside) in std::mem::take(&mut self.tables) {
            if aside.state == State::New {
                known.entry(table).or_insert(aside);
            }
        }
        self.tables = known;
        self.is_read_anew = true;
        Ok(())
    }

    /// Has the source keep what newly quarantined tables miss from `position` on, before the position goes past it;
    /// and, when our list was read anew, forget what it keeps for no table. `captured` is the source's number of a
    /// table. The target is locked; the source is in no transaction.
    pub(super) async fn hold(
        &mut self,
        pair: &Pair,
        source: &Site,
        position: &Position,
        captured: impl Fn(&str) -> Option<i32>,
    ) -> Result<(), RoundError> {
        if self.is_read_anew {
            self.release(pair, source).await?;
            self.is_read_anew = false;
        }
        for (table, aside) in self.tables.iter_mut().filter(|(_, aside)| aside.state == State::New) {
            let Some(id) = captured(table) else { continue };
            let args: [&(dyn postgres_types::ToSql + Sync); 4] =
                [&pair.sync.as_str(), &pair.target.as_str(), &id, &position.to_string()];
            let held = source.conn.execute(HOLD.text(), &args).await;
            held.map_err(source.failed(format!("keeping the changes of quarantined table \"{table}\"")))?;
            (aside.captured, aside.snapshot) = (id, Some(position.clone()));
        }
        Ok(())
    }

    /// Writes what became of the tables, in the target's transaction that writes the position.
    pub(super) async fn write(&mut self, pair: &Pair, target: &Site) -> Result<(), RoundError> {
        if !self.has_work() {
            return Ok(());
        }
        let (sync, source) = (pair.sync.as_str(), pair.source.as_str());
        let mut has_changed = false;
        for aside in self.tables.values() {
            let written = match (aside.state, &aside.snapshot) {
                (State::Done, _) => {
                    target.conn.execute(LIFT.text(), &[&sync, &source, &aside.schema, &aside.name]).await
                }
                (State::New, Some(snapshot)) => aside.add(sync, source, snapshot, target).await,
                (_, Some(snapshot)) if aside.is_reworded => aside.add(sync, source, snapshot, target).await,
                _ => continue,
            };
            written.map_err(target.failed("writing which tables are in quarantine"))?;
            has_changed = true;
        }
        if has_changed {
            let row = target.conn.query_one(TURN.text(), &[&sync, &source]).await;
            let row = row.map_err(target.failed("writing which tables are in quarantine"))?;
            self.turn = Some(row.get("turn"));
        }
        Ok(())
    }

    /// The target has committed what was written; the source may forget what it kept for tables that are back.
    pub(super) async fn committed(&mut self, pair: &Pair, source: &Site) -> Result<(), RoundError> {
        if !self.has_work() {
            return Ok(());
        }
        let before = self.tables.len();
        self.tables.retain(|table, aside| {
            aside.is_reworded = false;
            match aside.state {
                State::Done if aside.is_left => {}
                State::Done => {
                    tracing::info!(kid = %pair, table, "the table left quarantine and has what the others have");
                }
                State::New if aside.snapshot.is_some() => aside.state = State::Kept,
                State::New | State::Kept | State::Returning => {}
            }
            aside.state != State::Done
        });
        if self.tables.len() == before { Ok(()) } else { self.release(pair, source).await }
    }

    async fn release(&self, pair: &Pair, source: &Site) -> Result<(), RoundError> {
        let captured: Vec<i32> = self.tables.values().map(|aside| aside.captured).collect();
        let args: [&(dyn postgres_types::ToSql + Sync); 3] = [&pair.sync.as_str(), &pair.target.as_str(), &captured];
        let released = source.conn.execute(RELEASE.text(), &args).await;
        released.map(drop).map_err(source.failed("forgetting what was kept for quarantined tables"))
    }
}

impl Aside {
    fn new(goat: &Goat, whole: bool, why: String, now: Instant) -> Self {
        Self {
            state: State::New,
            schema: goat.schema.clone(),
            name: goat.name.clone(),
            captured: 0,
            snapshot: None,
            whole,
            why,
            is_reworded: false,
            is_left: false,
            since: Utc::now(),
            due: now + PAUSE_MIN,
            pause: PAUSE_MIN,
        }
    }

    async fn add(
        &self,
        sync: &str,
        source: &str,
        snapshot: &Position,
        target: &Site,
    ) -> Result<u64, tokio_postgres::Error> {
        let Self { schema, name, captured, whole, why, .. } = self;
        let snapshot = snapshot.to_string();
        target.conn.execute(ADD.text(), &[&sync, &source, schema, name, captured, &snapshot, whole, why]).await
    }

    /// Its delivery failed. False: nobody was delivering it.
    fn fail(&mut self, drift: &Drift, now: Instant) -> bool {
        if self.state != State::Returning {
            return false;
        }
        self.state = State::Kept;
        self.reword(drift);
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        self.due = now + self.pause;
        true
    }

    fn reword(&mut self, drift: &Drift) {
        self.is_left = false;
        self.is_reworded |= self.why != drift.why || (drift.whole && !self.whole);
        self.why.clone_from(&drift.why);
        self.whole |= drift.whole;
    }
}
