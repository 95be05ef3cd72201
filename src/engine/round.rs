//! One round of a source-target pair, step by step (see [`super::pair`] for what starts it over).

use std::collections::HashSet;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use tokio_postgres::{Row, Statement};

use bucardo_actors::model::{Pair, Reason, RoundReport};
use bucardo_actors::ports::Watch;

use super::apply::Applied;
use super::batch::{Batch, Look, Truncated};
use super::error::RoundError;
use super::hearsay::{self, Extent};
use super::hooks::Hooks;
use super::position::{Position, is_other_timeline};
use super::quarantine::Quarantine;
use super::session::Session;
use super::site::Site;
use super::step::Step;
use super::{again, apply, copy, returning};
use crate::catalog::SyncDetail;
use crate::custom::Hook;
use crate::source::given_up::{self, GivenUp};

/// The target's position, as the fence read it.
pub(super) struct Held {
    pub(super) position: Position,
    pub(super) round: i64,
    pub(super) system_id: i64,
    pub(super) timeline: i64,
    /// The last request for a copy that was answered; negative: the one that is under way.
    pub(super) copy_request: i64,
    /// The count of changes to the list of tables in quarantine.
    pub(super) quarantine: i64,
    /// Rows deleted and written in all rounds so far.
    pub(super) totals: (i64, i64),
}

/// What a round came to.
pub(super) enum Ended {
    Done(RoundReport),
    /// A table's definition changed under it; nothing was done.
    Again(String),
    /// The source was told of the round before, which had ended before it could; nothing else was done.
    Told,
}

/// Says where the round is; in tests, the place to fail.
pub(super) async fn step(watch: &Watch, step: Step<'_>) -> Result<(), RoundError> {
    watch.at(&step.to_string()).await.map_err(RoundError::Injected)
}

/// Locks the target's position, in the transaction that will write.
pub(super) async fn fence(target: &Site, begin: &str, statement: &Statement, id: &Pair) -> Result<Held, RoundError> {
    let key: [&(dyn postgres_types::ToSql + Sync); 2] = [&id.sync.as_str(), &id.source.as_str()];
    let (began, row) =
        tokio::join!(target.run("beginning a transaction", begin), target.conn.query_opt(statement, &key),);
    began?;
    let row = row.map_err(|error| match error.code() {
        Some(&tokio_postgres::error::SqlState::LOCK_NOT_AVAILABLE) => RoundError::Fenced { db: target.db.clone() },
        Some(&tokio_postgres::error::SqlState::UNDEFINED_TABLE) => {
            RoundError::NoPosition { sync: id.sync.to_string(), db: target.db.clone() }
        }
        _ => target.failed("locking the position")(error),
    })?;
    let Some(row) = row else {
        return Err(RoundError::NoPosition { sync: id.sync.to_string(), db: target.db.clone() });
    };
    let position = row.get::<_, &str>("snapshot").parse();
    Ok(Held {
        position: position.map_err(|source| RoundError::Position { db: target.db.clone(), source })?,
        round: row.get("round"),
        system_id: row.get("system_id"),
        timeline: row.get("timeline"),
        copy_request: row.get("copy_request"),
        quarantine: row.get("quarantine"),
        totals: (row.get("deletes"), row.get("inserts")),
    })
}

/// The other sources of the sync.
#[derive(Default)]
pub(super) struct Others {
    /// How far the target has read them.
    known: Vec<hearsay::Read>,
    /// How far the source has merged them.
    merged: Vec<hearsay::Read>,
}

/// One round under way.
pub(super) struct Round<'a> {
    pub(super) sync: &'a SyncDetail,
    pub(super) id: &'a Pair,
    pub(super) session: &'a mut Session,
    pub(super) quarantine: &'a mut Quarantine,
    pub(super) watch: &'a Watch,
    /// Custom codes; `None`: there are none.
    pub(super) hooks: Option<&'a mut Hooks>,
    /// The batch must not be cut.
    pub(super) uncut: bool,
    /// The batch was cut.
    pub(super) is_cut: bool,
    /// Nothing is done but a copy.
    pub(super) copy_only: bool,
    /// It copies whole tables.
    pub(super) is_copying: bool,
    /// Rows that a whole copy is refused wait as dead letters.
    pub(super) spares: bool,
    /// Tables (`schema.table`) that a copy passes over.
    pub(super) without: &'a [String],
    /// Tables of which the server refused a statement before, in this round.
    pub(super) doubted: &'a HashSet<String>,
    /// Rows were refused at the commit before, in this round.
    pub(super) is_late: bool,
    /// It is at the commit.
    pub(super) is_committing: bool,
    /// Keys of the sync wait at the target as dead letters.
    pub(super) has_letters: bool,
    /// A savepoint of the table that was written last is open.
    pub(super) has_savepoint: bool,
    pub(super) others: Others,
    pub(super) began: Instant,
}

impl Round<'_> {
    pub(super) async fn run(&mut self, reason: Reason) -> Result<Ended, RoundError> {
        self.check_tables(reason).await?;
        let held = self.fence().await?;
        step(self.watch, Step::Fenced).await?;
        if self.copy_only && !copy::is_due(self.sync, &held) {
            self.session.target.run("ending an empty round", "ROLLBACK").await?;
            return Ok(Ended::Done(RoundReport::default()));
        }
        if self.copy_only {
            self.leave_uncopied(&held);
        }
        self.hold(&held).await?;
        let coded = self.before_check().await?;
        let look = self.look(&held.position, coded).await?;
        step(self.watch, Step::Snapshot).await?;
        let given_up = look.track_round.and_then(GivenUp::of);
        if let Some(how) = given_up.filter(|how| *how != GivenUp::KeptAgain) {
            return self.come_back(how, &held).await;
        }
        if look.track_round.is_some_and(|track| track + 1 == held.round) && self.check_time(&held, &look).is_ok() {
            self.tell(&held).await?;
            return Ok(Ended::Told);
        }
        let is_needed = given_up.is_some();
        if is_needed || copy::is_due(self.sync, &held) {
            self.is_copying = true;
            return match copy::run(self, &held, look, is_needed).await? {
                Ok(report) => Ok(Ended::Done(RoundReport { took: self.began.elapsed(), ..report })),
                Err(table) => {
                    self.abandon().await?;
                    Ok(Ended::Again(table))
                }
            };
        }
        self.check_time(&held, &look)?;
        let (session, quarantine) = (&mut *self.session, &mut *self.quarantine);
        let wanted = |place: usize| !quarantine.has(&session.tables[place].label);
        let batch = Batch::plan(session, &held.position, look, self.sync.batch_rows_max, self.uncut, wanted).await?;
        self.is_cut = batch.is_cut;
        let passed = |sequence: &str| quarantine.has_sequence(sequence);
        let sequences = session.sequences.bring(&batch.look.sequences, &session.target, passed).await?;
        if self.is_cut {
            // A table that returns is brought to the snapshot of the others, not to a cut.
            quarantine.wait();
        }
        if batch.is_empty() && !quarantine.has_work() {
            return self.end_empty(&held, &batch, sequences > 0 || coded).await;
        }
        let applied = match self.apply(&batch).await? {
            Ok(applied) => applied,
            Err(table) => {
                self.abandon().await?;
                return Ok(Ended::Again(table));
            }
        };
        self.check_late().await?;
        self.at_last_change().await?;
        let (now, looked) = (batch.look.now, batch.look.at);
        let extent = if self.is_cut { Extent::Part } else { Extent::Whole };
        let rows = (applied.deletes, applied.inserts);
        self.commit(&held, &batch.position, rows, held.copy_request, extent).await?;
        let (source, target) = (&self.session.source, &self.session.target);
        let is_again = self.has_letters && again::send(self.sync, target, &applied.goats, |_| Some(source)).await?;
        let lag = applied.oldest.map(|oldest| age(oldest, now) + looked.elapsed());
        Ok(Ended::Done(RoundReport {
            deletes: applied.deletes,
            inserts: applied.inserts,
            truncates: applied.truncates,
            keys: applied.keys,
            more: self.is_cut || is_again,
            goats: applied.goats,
            lag,
            took: self.began.elapsed(),
            ..RoundReport::default()
        }))
    }

    /// Sees, now and then, what became of the tables: is all captured, and do those in quarantine fit again? Neither
    /// side is in a transaction.
    async fn check_tables(&mut self, reason: Reason) -> Result<(), RoundError> {
        for drift in self.session.check(self.sync, reason, self.watch).await? {
            let goat = self.sync.tables().find(|goat| goat.label() == drift.table);
            if let Some(goat) = goat {
                self.quarantine.note(self.id, goat, &drift, Instant::now());
            }
        }
        self.quarantine.learn(self.id, &self.session.target, None).await?;
        returning::check(self, reason).await
    }

    /// What a copy for merges does not copy is theirs: their changes have versions, and meet those of others. Those that
    /// are copied are not left any more when that is known.
    fn leave_uncopied(&mut self, held: &Held) {
        let all_are_copied = self.sync.onetimecopy == 1 && held.copy_request >= 0;
        for goat in self.sync.tables().filter(|goat| goat.ghost || !all_are_copied) {
            self.quarantine.leave(goat, Instant::now());
        }
    }

    /// What is put aside is kept at the source before the position goes past it.
    async fn hold(&mut self, held: &Held) -> Result<(), RoundError> {
        let session = &self.session;
        self.quarantine.learn(self.id, &session.target, Some(held.quarantine)).await?;
        let captured = |label: &str| {
            let table = session.tables.iter().find(|table| table.label == label);
            table.map(|table| table.captured)
        };
        self.quarantine.hold(self.id, &session.source, &held.position, captured).await
    }

    /// Delivers the batch, and what returning tables missed; the inner error names a table whose definition changed.
    async fn apply(&mut self, batch: &Batch) -> Result<Result<Applied, String>, RoundError> {
        let mut applied = match apply::batch(self, batch).await? {
            apply::Ended::Done(applied) => applied,
            apply::Ended::Changed(table) => return Ok(Err(table)),
        };
        Ok(returning::deliver(self, &mut applied).await?.map(|()| applied))
    }

    /// Begins the target's transaction and locks the position in it.
    pub(super) async fn fence(&mut self) -> Result<Held, RoundError> {
        let Session { target, begin, statements, hearsay, .. } = &*self.session;
        let fencing = fence(target, &begin.target, &statements.fence, self.id);
        let sync = self.sync.name.as_str();
        let known = async {
            match hearsay {
                Some(hearsay) => hearsay.known(target, sync).await,
                None => Ok(Vec::new()),
            }
        };
        let letters = async {
            match &statements.letters {
                Some(letters) => target.conn.query_one(letters, &[&sync]).await.map(|row| row.get("any")),
                None => Ok(false),
            }
        };
        let (held, known, letters) = tokio::join!(fencing, known, letters);
        let held = held?;
        self.others.known = known?;
        self.has_letters = letters.map_err(target.failed("looking for dead letters"))?;
        Ok(held)
    }

    /// Runs the codes that come before changes are looked for; returns whether there are any. The source's transaction
    /// has begun then.
    async fn before_check(&mut self) -> Result<bool, RoundError> {
        if !self.hooks.as_ref().is_some_and(|hooks| hooks.has(Hook::BeforeCheckRows, None)) {
            return Ok(false);
        }
        self.session.source.run("beginning a transaction", &self.session.begin.source).await?;
        self.at(Hook::BeforeCheckRows, None).await?;
        Ok(true)
    }

    /// Takes the source's snapshot and sees what is unread: one or two round trips however many tables there are.
    async fn look(&mut self, since: &Position, has_begun: bool) -> Result<Look, RoundError> {
        let (source, statements, id) = (&self.session.source, &self.session.statements, self.id);
        let (since_text, xmin) = (since.to_string(), since.xmin().to_string());
        let since: [&(dyn postgres_types::ToSql + Sync); 3] = [&since_text, &xmin, &true];
        let pair: [&(dyn postgres_types::ToSql + Sync); 2] = [&id.sync.as_str(), &id.target.as_str()];
        let begin = if has_begun { "" } else { self.session.begin.source.as_str() };
        let merged = async {
            match &self.session.hearsay {
                Some(hearsay) => hearsay.merged(source, id.sync.as_str()).await,
                None => Ok(Vec::new()),
            }
        };
        let (began, set, looked, truncated, found, merged) = tokio::join!(
            source.run("beginning a transaction", begin),
            source.conn.query_one(&statements.since, &since),
            source.conn.query_one(&statements.look, &pair),
            source.conn.query(&statements.truncated, &[]),
            self.session.scout.here(source),
            merged,
        );
        began?;
        let failed = || source.failed("looking for changes");
        set.map_err(failed())?;
        let looked = looked.map_err(failed())?;
        let found = match self.session.scout.apart([&since_text, &xmin]).await? {
            Some(found) => found,
            None => found?,
        };
        let (news, old): (Vec<&Row>, Vec<&Row>) = found.tables.iter().partition(|row| row.get("news"));
        let truncated = truncated.map_err(failed())?;
        let truncates_passed_over = truncated.iter().any(|row| {
            let captured: i32 = row.get("captured");
            !row.get::<_, bool>("news") && self.session.tables.iter().any(|table| table.captured == captured)
        });
        self.others.merged = merged?;
        let position: Result<Position, _> = looked.get::<_, &str>("snapshot").parse();
        Ok(Look {
            position: position.map_err(|error| RoundError::Position { db: source.db.clone(), source: error })?,
            now: looked.get("now"),
            at: Instant::now(),
            track_round: looked.get("round"),
            pending: news.iter().map(|row| (row.get("place"), row.get("bytes"))).collect(),
            passed_over: !old.is_empty() || truncates_passed_over,
            truncated: truncated.into_iter().filter(|row| row.get("news")).map(|row| truncate(&row)).collect(),
            sequences: found.sequences,
        })
    }

    /// Neither side may have gone back in time since the last round: changes would be skipped in silence.
    pub(super) fn check_time(&self, held: &Held, look: &Look) -> Result<(), RoundError> {
        let (source, target) = (&self.session.source.db, &self.session.target.db);
        let back = |db: &bucardo_actors::model::DbName, how: String| Err(RoundError::WentBack { db: db.clone(), how });
        if held.system_id != self.session.system_id {
            return back(source, "it is another cluster than the one that was read before".to_owned());
        }
        let Some(track) = look.track_round else {
            return Err(RoundError::NotInstalled {
                what: format!("the track of target \"{target}\""),
                db: source.clone(),
            });
        };
        if track < 0 {
            // The source keeps changes for it; what position it has is from an earlier time.
            return Err(RoundError::NoPosition { sync: self.sync.name.to_string(), db: target.clone() });
        }
        if track > held.round {
            return back(target, format!("it is at round {}, the source has seen it at round {track}", held.round));
        }
        if track + 1 < held.round {
            return back(source, format!("it knows of round {track}, the target is at round {}", held.round));
        }
        // A crash explains the one round that the source has not heard of; on another timeline, so do lost transactions.
        let timeline = self.session.timeline;
        if track != held.round && is_other_timeline(held.timeline, timeline) {
            let how = format!(
                "it was promoted or restored (timeline {timeline}, before {}) and does not know of round {}",
                held.timeline, held.round
            );
            return back(source, how);
        }
        if look.position.xmax() < held.position.xmax() {
            return back(
                source,
                format!(
                    "its transactions end at {}, the target has read up to {}",
                    look.position.xmax(),
                    held.position.xmax()
                ),
            );
        }
        Ok(())
    }

    /// Ends a round that found nothing. Writes nothing, unless transactions that held back the position have all
    /// ended, or there were changes that are no news here: then the purge may go on.
    async fn end_empty(&mut self, held: &Held, batch: &Batch, has_written: bool) -> Result<Ended, RoundError> {
        let settled =
            !held.position.is_settled() && batch.position.is_settled() && batch.position.xmin() >= held.position.xmax();
        let untracked = batch.look.track_round != Some(held.round);
        let has_news = !self.believed(Extent::Nothing).is_empty();
        // What is no news must be behind us before it can be purged.
        if settled || untracked || has_news || batch.look.passed_over {
            self.commit(held, &batch.position, (0, 0), held.copy_request, Extent::Nothing).await?;
        } else {
            let end = if has_written { "COMMIT" } else { "ROLLBACK" };
            let (source, target) = (&self.session.source, &self.session.target);
            tokio::try_join!(target.run("ending an empty round", end), source.run("ending an empty round", "COMMIT"),)?;
        }
        Ok(Ended::Done(RoundReport { took: self.began.elapsed(), ..RoundReport::default() }))
    }

    /// Writes the track of the round before, on its own: this round may end like that one, and a source that knows of
    /// none of two rounds looks like one that went back in time.
    async fn tell(&mut self, held: &Held) -> Result<(), RoundError> {
        self.abandon().await?;
        let (source, id, text) = (&self.session.source, self.id, held.position.to_string());
        let (deletes, inserts) = held.totals;
        let args: [&(dyn postgres_types::ToSql + Sync); 6] =
            [&id.sync.as_str(), &id.target.as_str(), &text, &held.round, &deletes, &inserts];
        let told = source.conn.execute(&self.session.statements.track, &args).await;
        told.map_err(source.failed("writing the track"))?;
        Ok(())
    }

    /// A target that was given up is back: when it is to be copied, its changes are kept again first.
    async fn come_back(&mut self, how: GivenUp, held: &Held) -> Result<Ended, RoundError> {
        let id = self.id;
        if how == GivenUp::Waits && !copy::is_due(self.sync, held) {
            return Err(RoundError::GivenUp { db: id.target.clone(), by: id.source.clone() });
        }
        self.abandon().await?;
        let source = &self.session.source;
        let kept = given_up::take_back(&source.conn, &id.sync, &id.target).await;
        kept.map_err(source.failed("keeping changes for a target that is back"))?;
        tracing::info!(kid = %id, "the target was given up, it is copied anew");
        Ok(Ended::Told)
    }

    async fn abandon(&mut self) -> Result<(), RoundError> {
        let (source, target) = (&self.session.source, &self.session.target);
        tokio::try_join!(target.run("giving up a round", "ROLLBACK"), source.run("giving up a round", "ROLLBACK"),)?;
        Ok(())
    }

    fn believed(&self, extent: Extent) -> Vec<hearsay::Read> {
        if self.others.merged.is_empty() {
            return Vec::new();
        }
        // What lacks changes of one table has a part only.
        let lacks_some = !self.quarantine.is_empty();
        let extent = if lacks_some && extent == Extent::Whole { Extent::Part } else { extent };
        if lacks_some && extent == Extent::Nothing {
            return Vec::new();
        }
        hearsay::believed(&self.others.known, &self.others.merged, extent)
    }

    /// Writes the new position and commits it with the rows (deleted, written); then tells the source.
    pub(super) async fn commit(
        &mut self,
        held: &Held,
        position: &Position,
        (deletes, inserts): (u64, u64),
        copy_request: i64,
        extent: Extent,
    ) -> Result<(), RoundError> {
        let (source, target, id) = (&self.session.source, &self.session.target, self.id);
        let (text, round) = (position.to_string(), held.round + 1);
        let count = |rows: u64| i64::try_from(rows).unwrap_or(i64::MAX);
        let (deletes, inserts) = (count(deletes), count(inserts));
        let args: [&(dyn postgres_types::ToSql + Sync); 9] = [
            &id.sync.as_str(),
            &id.source.as_str(),
            &text,
            &round,
            &deletes,
            &inserts,
            &copy_request,
            &self.session.system_id,
            &self.session.timeline,
        ];
        self.quarantine.write(id, target).await?;
        let totals = target
            .conn
            .query_one(&self.session.statements.advance, &args)
            .await
            .map_err(target.failed("writing the position"))?;
        if let Some(hearsay) = &self.session.hearsay {
            hearsay.write(target, id.sync.as_str(), &self.believed(extent)).await?;
        }
        step(self.watch, Step::Positioned).await?;
        if self.sync.serializable {
            // What a serializable transaction has read counts only when it could commit.
            source.run("ending the reading transaction", "COMMIT").await?;
        }
        self.is_committing = true;
        target.run("committing", "COMMIT").await?;
        self.is_committing = false;
        step(self.watch, Step::TargetCommitted).await?;
        let (deletes, inserts): (i64, i64) = (totals.get("deletes"), totals.get("inserts"));
        let args: [&(dyn postgres_types::ToSql + Sync); 6] =
            [&id.sync.as_str(), &id.target.as_str(), &text, &round, &deletes, &inserts];
        let end = if self.sync.serializable { "" } else { "COMMIT" };
        let (ended, tracked) = tokio::join!(
            source.run("ending the reading transaction", end),
            source.conn.execute(&self.session.statements.track, &args),
        );
        ended?;
        tracked.map_err(source.failed("writing the track"))?;
        self.quarantine.committed(id, source).await?;
        step(self.watch, Step::Tracked).await
    }
}

pub(super) fn truncate(row: &Row) -> Truncated {
    Truncated { captured: row.get("captured"), origin: row.get("origin"), txntime: row.get("txntime") }
}

fn age(of: DateTime<Utc>, now: DateTime<Utc>) -> Duration {
    (now - of).to_std().unwrap_or_default()
}
