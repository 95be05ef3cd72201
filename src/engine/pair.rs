//! The rounds of one source-target pair.
//!
//! A round locks the target's position (the fence), takes a snapshot of the source, brings the target from the
//! position to the snapshot, and commits rows and new position together. Whatever dies before that commit leaves
//! the target as it was; whatever dies after it leaves only the source's track behind, which the next round mends.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio_postgres::{Row, Statement};

use bucardo_actors::model::{Fault, Pair, Reason, RoundReport};
use bucardo_actors::ports::{Rounds, Watch};

use super::batch::{Batch, Look, Truncated};
use super::error::RoundError;
use super::position::Position;
use super::session::Session;
use super::site::Site;
use super::step::Step;
use super::{apply, copy};
use crate::catalog::SyncDetail;

/// How often a round starts over because a table's definition changed under it, or a cut batch clashed.
const TRIES_MAX: u32 = 5;

/// Pause before a round that could not be serialized starts over; grows with each.
const SERIALIZATION_PAUSE: Duration = Duration::from_millis(50);

/// The target's position, as the fence read it.
pub(super) struct Held {
    pub(super) position: Position,
    pub(super) round: i64,
    pub(super) system_id: i64,
    pub(super) timeline: i64,
    pub(super) copy_request: i64,
}

/// The rounds of one KID. Keeps its connections from one round to the next.
pub struct PairSession {
    sync: Arc<SyncDetail>,
    id: Pair,
    session: Option<Session>,
}

/// What a round came to.
enum Ended {
    Done(RoundReport),
    /// A table's definition changed under it; nothing was done.
    Again(String),
}

impl PairSession {
    /// Makes the rounds of one pair; connecting is part of the first round.
    #[must_use]
    pub fn new(sync: Arc<SyncDetail>, id: Pair) -> Self {
        Self { sync, id, session: None }
    }

    /// The open session, between two rounds.
    pub(super) fn session(&self) -> Option<&Session> {
        self.session.as_ref()
    }

    /// Ends the session; the next round opens another.
    pub(super) async fn close(&mut self) {
        if let Some(session) = self.session.take() {
            session.release().await;
        }
    }

    pub(super) async fn run(&mut self, watch: &Watch) -> Result<RoundReport, RoundError> {
        let began = Instant::now();
        let mut uncut = false;
        let mut changed = String::new();
        for tries_left in (1..=TRIES_MAX).rev() {
            let mut session = match self.session.take() {
                Some(session) => session,
                None => Session::open(&self.sync, &self.id).await?,
            };
            step(watch, Step::Connected).await?;
            let (sync, id) = (&self.sync, &self.id);
            let mut round = Round { sync, id, session: &mut session, watch, uncut, is_cut: false, began };
            match round.run().await {
                Ok(Ended::Done(report)) => {
                    self.session = Some(session);
                    return Ok(report);
                }
                Ok(Ended::Again(table)) => {
                    tracing::info!(kid = %self.id, table, "the definition of the table changed, the round starts over");
                    changed = table;
                    self.session = Some(session);
                }
                // The row that stands in the way may be one whose change was cut off.
                Err(error) if round.is_cut && matches!(error.sqlstate(), Some("23505" | "23P01")) => {
                    tracing::info!(kid = %self.id, "a part of the backlog clashes with the rest, the round takes it whole");
                    uncut = true;
                    session.release().await;
                }
                // What others did meanwhile fits in no order with what this round saw; the next one sees it.
                Err(error) if sync.serializable && tries_left > 1 && error.sqlstate() == Some("40001") => {
                    tracing::info!(kid = %self.id, "the round cannot be serialized, it starts over");
                    session.release().await;
                    tokio::time::sleep(SERIALIZATION_PAUSE * (TRIES_MAX - tries_left + 1)).await;
                }
                Err(error) => {
                    session.release().await;
                    return Err(error);
                }
            }
        }
        Err(RoundError::Restless { table: changed })
    }
}

impl Rounds for PairSession {
    fn round<'a>(&'a mut self, _: Reason, watch: Watch) -> BoxFuture<'a, Result<RoundReport, Fault>> {
        async move {
            let ended = Box::pin(self.run(&watch)).await;
            ended.map_err(|error| error.into_fault(self.id.sync.as_str()))
        }
        .boxed()
    }
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
    })
}

/// One round under way.
pub(super) struct Round<'a> {
    pub(super) sync: &'a SyncDetail,
    pub(super) id: &'a Pair,
    pub(super) session: &'a mut Session,
    pub(super) watch: &'a Watch,
    /// The batch must not be cut.
    uncut: bool,
    /// The batch was cut.
    is_cut: bool,
    began: Instant,
}

impl Round<'_> {
    async fn run(&mut self) -> Result<Ended, RoundError> {
        let held = self.fence().await?;
        step(self.watch, Step::Fenced).await?;
        let look = self.look(&held.position).await?;
        step(self.watch, Step::Snapshot).await?;
        let copying = self.sync.onetimecopy > 0 && held.copy_request < self.sync.copy_request;
        if copying {
            // What waits for the tables that are not copied must be known.
            if self.sync.onetimecopy == 2 {
                self.check_time(&held, &look)?;
            }
            return match copy::run(self, &held, look).await? {
                Ok(report) => Ok(Ended::Done(RoundReport { took: self.began.elapsed(), ..report })),
                Err(table) => {
                    self.abandon().await?;
                    Ok(Ended::Again(table))
                }
            };
        }
        self.check_time(&held, &look)?;
        self.session.check_capture().await?;
        let batch = Batch::plan(self.session, &held.position, look, self.sync.batch_rows_max, self.uncut).await?;
        self.is_cut = batch.is_cut;
        let sequences = self.session.sequences.bring(&batch.look.sequences, &self.session.target).await?;
        if batch.is_empty() {
            return self.end_empty(&held, &batch, sequences).await;
        }
        let applied = match apply::batch(self, &batch).await? {
            apply::Ended::Done(applied) => applied,
            apply::Ended::Changed(table) => {
                self.abandon().await?;
                return Ok(Ended::Again(table));
            }
        };
        let (now, looked) = (batch.look.now, batch.look.at);
        self.commit(&held, &batch.position, applied.deletes, applied.inserts, held.copy_request).await?;
        let lag = applied.oldest.map(|oldest| age(oldest, now) + looked.elapsed());
        Ok(Ended::Done(RoundReport {
            deletes: applied.deletes,
            inserts: applied.inserts,
            truncates: applied.truncates,
            keys: applied.keys,
            more: self.is_cut,
            lag,
            took: self.began.elapsed(),
            ..RoundReport::default()
        }))
    }

    async fn fence(&mut self) -> Result<Held, RoundError> {
        let Session { target, begin, statements, .. } = &*self.session;
        fence(target, &begin.target, &statements.fence, self.id).await
    }

    /// Takes the source's snapshot and sees what is unread: one or two round trips however many tables there are.
    async fn look(&mut self, since: &Position) -> Result<Look, RoundError> {
        let (source, statements, id) = (&self.session.source, &self.session.statements, self.id);
        let (since_text, xmin) = (since.to_string(), since.xmin().to_string());
        let since: [&(dyn postgres_types::ToSql + Sync); 3] = [&since_text, &xmin, &true];
        let pair: [&(dyn postgres_types::ToSql + Sync); 2] = [&id.sync.as_str(), &id.target.as_str()];
        let (began, set, looked, truncated, found) = tokio::join!(
            source.run("beginning a transaction", &self.session.begin.source),
            source.conn.query_one(&statements.since, &since),
            source.conn.query_one(&statements.look, &pair),
            source.conn.query(&statements.truncated, &[]),
            self.session.scout.here(source),
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
    fn check_time(&self, held: &Held, look: &Look) -> Result<(), RoundError> {
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
        if track > held.round {
            return back(target, format!("it is at round {}, the source has seen it at round {track}", held.round));
        }
        if track + 1 < held.round {
            return back(source, format!("it knows of round {track}, the target is at round {}", held.round));
        }
        // A crash explains the one round that the source has not heard of; on another timeline, so do lost transactions.
        let timeline = self.session.timeline;
        if track != held.round && held.timeline != timeline {
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
    async fn end_empty(&mut self, held: &Held, batch: &Batch, sequences: u64) -> Result<Ended, RoundError> {
        let settled =
            !held.position.is_settled() && batch.position.is_settled() && batch.position.xmin() >= held.position.xmax();
        let untracked = batch.look.track_round != Some(held.round);
        // What is no news must be behind us before it can be purged.
        if settled || untracked || batch.look.passed_over {
            self.commit(held, &batch.position, 0, 0, held.copy_request).await?;
        } else {
            let end = if sequences > 0 { "COMMIT" } else { "ROLLBACK" };
            let (source, target) = (&self.session.source, &self.session.target);
            tokio::try_join!(target.run("ending an empty round", end), source.run("ending an empty round", "COMMIT"),)?;
        }
        Ok(Ended::Done(RoundReport { took: self.began.elapsed(), ..RoundReport::default() }))
    }

    async fn abandon(&mut self) -> Result<(), RoundError> {
        let (source, target) = (&self.session.source, &self.session.target);
        tokio::try_join!(target.run("giving up a round", "ROLLBACK"), source.run("giving up a round", "ROLLBACK"),)?;
        Ok(())
    }

    /// Writes the new position and commits it with the rows; then tells the source.
    pub(super) async fn commit(
        &mut self,
        held: &Held,
        position: &Position,
        deletes: u64,
        inserts: u64,
        copy_request: i64,
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
        let totals = target
            .conn
            .query_one(&self.session.statements.advance, &args)
            .await
            .map_err(target.failed("writing the position"))?;
        step(self.watch, Step::Positioned).await?;
        if self.sync.serializable {
            // What a serializable transaction has read counts only when it could commit.
            source.run("ending the reading transaction", "COMMIT").await?;
        }
        target.run("committing", "COMMIT").await?;
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
        step(self.watch, Step::Tracked).await
    }
}

fn truncate(row: &Row) -> Truncated {
    Truncated { captured: row.get("captured"), origin: row.get("origin"), txntime: row.get("txntime") }
}

fn age(of: DateTime<Utc>, now: DateTime<Utc>) -> Duration {
    (now - of).to_std().unwrap_or_default()
}
