//! The hands of a copy in pieces: several pairs of connections that read under one snapshot and commit piece by piece.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bucardo_actors::model::Pair;
use bucardo_actors::ports::Watch;
use futures_util::future::join_all;
use tokio_postgres::Statement;
use tokio_postgres::error::SqlState;
use tokio_util::sync::CancellationToken;

use super::copier::Copier;
use super::journal::{Chunk, Journal};
use super::plan::Task;
use super::progress::Progress;
use super::whole::Whole;
use crate::catalog::SyncDetail;
use crate::engine::error::RoundError;
use crate::engine::round::step;
use crate::engine::session::release;
use crate::engine::site::Site;
use crate::engine::step::Step;
use crate::pg::{Sql, SqlFile, causes};

const EXPORT: SqlFile = SqlFile::new(include_str!("../../../sql/copy/export.sql"));
const ALIVE: SqlFile = SqlFile::new(include_str!("../../../sql/copy/alive.sql"));
const CHUNK_DONE: SqlFile = SqlFile::new(include_str!("../../../sql/copy/chunk_done.sql"));
const TABLE_STATE: SqlFile = SqlFile::new(include_str!("../../../sql/copy/table_state.sql"));
const EXISTS: SqlFile = SqlFile::new(include_str!("../../../sql/source/exists.sql"));

/// Triggers and foreign keys stay quiet. Pieces need not be on disk before the commit that finishes the copy is, which
/// comes after them: what a crash takes, the journal does not know either.
const SESSION: &str = "SET session_replication_role = replica; SET synchronous_commit = off; SET lock_timeout = '1min'";
/// How often people are told how far it is.
const TELL_EVERY: Duration = Duration::from_secs(2);

/// A session of the source that keeps a snapshot for others.
pub(super) struct Holder {
    site: Site,
    snapshot: Sql,
}

impl Holder {
    /// Takes over the snapshot of the transaction that `source` is in.
    pub(super) async fn take(sync: &SyncDetail, id: &Pair, source: &Site) -> Result<Self, RoundError> {
        let export = async |site: &Site| {
            let row = site.conn.query_one(EXPORT.text(), &[]).await.map_err(site.failed("exporting the snapshot"))?;
            Ok(Sql::literal(row.get("snapshot")))
        };
        let site = Site::of(sync, &id.source, &format!("bucardo KID {id} snapshot")).await?;
        import(&site, &export(source).await?).await?;
        let snapshot = export(&site).await?;
        Ok(Self { site, snapshot })
    }
}

/// Begins a transaction that reads under another session's snapshot.
async fn import(site: &Site, snapshot: &Sql) -> Result<(), RoundError> {
    let sql = format!("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT {snapshot}");
    site.conn.batch_execute(&sql).await.map_err(|source| match source.code() {
        Some(
            &(SqlState::INVALID_PARAMETER_VALUE
            | SqlState::UNDEFINED_OBJECT
            | SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE),
        ) => RoundError::SnapshotLost { db: site.db.clone(), source },
        _ => site.failed("taking the snapshot of the copy")(source),
    })
}

/// What the hands work on.
pub(super) struct Crew<'a> {
    sync: &'a SyncDetail,
    id: &'a Pair,
    watch: &'a Watch,
    holder: &'a Holder,
    /// The round that the copy belongs to, as the position has it.
    round: i64,
    attempt: i32,
    tasks: &'a [Task],
    progress: Progress,
    queue: Mutex<VecDeque<Work>>,
    /// Pieces that are not there yet, of each table and of all.
    left: Vec<AtomicUsize>,
    all_left: AtomicUsize,
    stopped: AtomicBool,
    failed: CancellationToken,
    /// Rows that are refused wait as dead letters.
    pub(super) spares: bool,
}

/// What a hand does next; places of tables and pieces.
enum Work {
    Piece(usize, usize),
    /// All pieces are there; indexes, vacuum and analyze are missing.
    Finish(usize),
}

/// One pair of connections.
struct Hand {
    source: Site,
    target: Site,
    alive: Statement,
    chunk_done: Statement,
}

impl<'a> Crew<'a> {
    /// A crew for these tables.
    pub(super) fn new(
        (sync, id, watch): (&'a SyncDetail, &'a Pair, &'a Watch),
        holder: &'a Holder,
        (round, attempt): (i64, i32),
        tasks: &'a [Task],
    ) -> Self {
        let waiting = |task: &Task| task.chunks.iter().filter(|chunk| !chunk.is_done).count();
        let left: Vec<AtomicUsize> = tasks.iter().map(|task| AtomicUsize::new(waiting(task))).collect();
        let mut queue = VecDeque::new();
        for (place, task) in tasks.iter().enumerate() {
            let pieces = task.chunks.iter().enumerate().filter(|(_, chunk)| !chunk.is_done);
            queue.extend(pieces.map(|(chunk, _)| Work::Piece(place, chunk)));
            if waiting(task) == 0 && !task.is_done {
                queue.push_back(Work::Finish(place));
            }
        }
        let all_left = AtomicUsize::new(tasks.iter().map(waiting).sum());
        Self {
            sync,
            id,
            watch,
            holder,
            round,
            attempt,
            tasks,
            progress: Progress::of(tasks),
            queue: Mutex::new(queue),
            left,
            all_left,
            stopped: AtomicBool::new(false),
            failed: CancellationToken::new(),
            spares: false,
        }
    }

    /// Copies what is left; `leader` tells meanwhile how far it is. False: it was told to stop before the end.
    pub(super) async fn run(&self, leader: &Site) -> Result<bool, RoundError> {
        let waiting = self.queue.lock().unwrap_or_else(PoisonError::into_inner).len();
        if self.all_left.load(Ordering::Relaxed) == 0 {
            self.release().await?;
        }
        let hands = (0..self.sync.copy.workers.clamp(1, waiting.max(1))).map(|number| self.work(number));
        tokio::select! {
            ended = join_all(hands) => ended.into_iter().collect::<Result<(), RoundError>>()?,
            told = self.tell(leader) => told?,
        }
        Ok(!self.stopped.load(Ordering::Relaxed))
    }

    /// Rows that this attempt has written.
    pub(super) fn rows(&self) -> u64 {
        self.progress.rows()
    }

    async fn tell(&self, leader: &Site) -> Result<(), RoundError> {
        let journal = Journal { target: leader, id: self.id };
        loop {
            let (tables, rows, bytes) = self.progress.now();
            journal.progress(tables, rows, bytes).await?;
            tokio::time::sleep(TELL_EVERY).await;
        }
    }

    fn next(&self) -> Option<Work> {
        if self.watch.stop().is_cancelled() {
            self.stopped.store(true, Ordering::Relaxed);
            return None;
        }
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// One hand, until nothing is left or another one fails. A source or target that has no room for one more connection
    /// is served by fewer.
    async fn work(&self, number: usize) -> Result<(), RoundError> {
        let hand = match self.hand(number).await {
            Ok(hand) => hand,
            // As the limits of the databases want it.
            Err(RoundError::NoRoom { .. }) if number > 0 => return Ok(()),
            Err(error @ RoundError::Connect { .. }) if number > 0 => {
                let (kid, cause) = (self.id, causes(&error));
                tracing::info!(%kid, cause, "the copy goes on with fewer connections");
                return Ok(());
            }
            Err(error) => {
                self.failed.cancel();
                return Err(error);
            }
        };
        let ended = tokio::select! {
            ended = self.toil(&hand) => ended,
            () = self.failed.cancelled() => Ok(()),
        };
        if ended.is_err() {
            self.failed.cancel();
        }
        if self.failed.is_cancelled() {
            // The next attempt should not find the position locked.
            release(&hand.source, &hand.target).await;
        }
        ended
    }

    async fn toil(&self, hand: &Hand) -> Result<(), RoundError> {
        while let Some(work) = self.next() {
            match work {
                Work::Piece(place, chunk) => {
                    let task = &self.tasks[place];
                    if let Some(whole) = &task.whole {
                        self.piece(hand, task, whole, &task.chunks[chunk]).await?;
                    }
                    if self.all_left.fetch_sub(1, Ordering::AcqRel) == 1 {
                        self.release().await?;
                    }
                    if self.left[place].fetch_sub(1, Ordering::AcqRel) == 1 {
                        self.finish(hand, task).await?;
                    }
                }
                Work::Finish(place) => self.finish(hand, &self.tasks[place]).await?,
            }
        }
        Ok(())
    }

    /// Everything is read: the snapshot holds back the source no longer.
    async fn release(&self) -> Result<(), RoundError> {
        self.holder.site.run("ending the snapshot of the copy", "COMMIT").await
    }

    async fn hand(&self, number: usize) -> Result<Hand, RoundError> {
        let name = format!("bucardo KID {} copy {number}", self.id);
        let open = async |db| match number {
            0 => Site::of(self.sync, db, &name).await,
            _ => Site::spare(self.sync, db, &name).await,
        };
        let (source, target) = tokio::try_join!(open(&self.id.source), open(&self.id.target))?;
        target.run("setting up the session", SESSION).await?;
        let prepare = async |sql: &SqlFile| {
            target.conn.prepare(sql.text()).await.map_err(target.failed("preparing the journal of the copy"))
        };
        let (alive, chunk_done) = tokio::try_join!(prepare(&ALIVE), prepare(&CHUNK_DONE))?;
        Ok(Hand { source, target, alive, chunk_done })
    }

    fn key(&self) -> (&str, &str) {
        (self.id.sync.as_str(), self.id.source.as_str())
    }

    /// Begins a transaction of the target and sees that the copy is still ours.
    async fn begin(&self, hand: &Hand) -> Result<(), RoundError> {
        let (target, (sync, source)) = (&hand.target, self.key());
        let key: [&(dyn postgres_types::ToSql + Sync); 2] = [&sync, &source];
        let (begun, row) =
            tokio::join!(target.run("beginning a transaction", "BEGIN"), target.conn.query_opt(&hand.alive, &key));
        begun?;
        let row = row.map_err(target.failed("looking at the position"))?;
        if row.is_some_and(|row| row.get::<_, i64>("round") == self.round) {
            Ok(())
        } else {
            Err(RoundError::Fenced { db: target.db.clone() })
        }
    }

    /// Copies a piece: its rows and its entry in the journal commit together.
    async fn piece(&self, hand: &Hand, task: &Task, whole: &Whole, chunk: &Chunk) -> Result<(), RoundError> {
        let (source, target, label) = (&hand.source, &hand.target, &whole.label);
        let (imported, begun) = tokio::join!(import(source, &self.holder.snapshot), self.begin(hand));
        imported?;
        begun?;
        let (low, high) = (chunk.low.as_deref(), chunk.high.as_deref());
        let copier = Copier { sync: self.sync, source, target, watch: self.watch, without: &[], spares: self.spares };
        if !task.is_new {
            // Changes that an interrupted attempt has brought meanwhile may lie there.
            let sql = match &whole.split {
                Some(split) => split.delete(low, high),
                None => format!("DELETE FROM {}", whole.table),
            };
            let done = copier.patiently(target.conn.batch_execute(&sql)).await;
            done.map_err(target.failed(format!("emptying a part of table \"{label}\"")))?;
        }
        let out = match &whole.split {
            Some(split) if low.is_some() || high.is_some() => &split.out(low, high),
            _ => &whole.out,
        };
        let (mut bytes, mut counted) = (0, self.progress.piece(task.chunk_bytes()));
        let mut moved = |rows: u64, more: u64| {
            self.watch.moved(rows.max(1));
            bytes += more;
            counted.moved(rows, more);
        };
        let copied = copier.pour(whole, out, &mut moved).await?;
        copier.check_unchanged(whole).await?;
        step(self.watch, Step::Piece(label, chunk.number)).await?;
        let (sync, from) = self.key();
        let (rows, bytes) = (i64::try_from(copied).unwrap_or(i64::MAX), i64::try_from(bytes).unwrap_or(i64::MAX));
        let args: [&(dyn postgres_types::ToSql + Sync); 7] =
            [&sync, &from, &task.goat, &chunk.number, &self.attempt, &rows, &bytes];
        let noted = target.conn.execute(&hand.chunk_done, &args).await;
        if noted.map_err(target.failed("writing the journal of the copy"))? != 1 {
            return Err(RoundError::NoJournal { sync: sync.to_owned(), db: target.db.clone() });
        }
        let (committed, ended) =
            tokio::join!(target.run("committing", "COMMIT"), source.run("ending the reading transaction", "COMMIT"));
        committed?;
        ended?;
        counted.done();
        step(self.watch, Step::PieceCommitted(label, chunk.number)).await
    }

    /// Makes the indexes of a table whose pieces are all there, and tends it.
    async fn finish(&self, hand: &Hand, task: &Task) -> Result<(), RoundError> {
        let (target, label) = (&hand.target, &task.label());
        let (sync, source, watch, spares) = (self.sync, &hand.source, self.watch, self.spares);
        let copier = Copier { sync, source, target, watch, without: &[], spares };
        if !task.indexes.is_empty() {
            self.begin(hand).await?;
            self.index(hand, task, &copier).await?;
            self.note(target, task, "copied").await?;
            target.run("committing", "COMMIT").await?;
            step(self.watch, Step::Indexed(label)).await?;
        }
        if let Some(sql) = task.whole.as_ref().and_then(|whole| copier.aftercare(whole)) {
            copier.tend_one(label, &sql).await?;
        }
        self.note(target, task, "done").await?;
        self.progress.table_done();
        Ok(())
    }

    /// Makes the indexes that are missing, in a transaction that is open.
    async fn index(&self, hand: &Hand, task: &Task, copier: &Copier<'_>) -> Result<(), RoundError> {
        let (target, label) = (&hand.target, &task.label());
        let mut waiting: Vec<_> = task.indexes.iter().collect();
        loop {
            let mut refused = None;
            for (place, index) in waiting.iter().enumerate() {
                let making = || target.failed(format!("making an index of table \"{label}\""));
                let known = target.conn.query_one(EXISTS.text(), &[&index.name]).await.map_err(making())?;
                if known.get("exists") {
                    continue;
                }
                let Err(error) = copier.patiently(target.conn.batch_execute(&index.making)).await else { continue };
                // A table that is copied no longer may be gone, or be another one; its indexes are gone with what it was.
                if task.whole.is_some() || !error.code().is_some_and(|code| code.code().starts_with("42")) {
                    return Err(making()(error));
                }
                if error.code() != Some(&SqlState::UNDEFINED_TABLE) {
                    let (kid, index, cause) = (self.id, &index.making, causes(&error));
                    tracing::warn!(%kid, table = label, index, cause, "an index that was dropped for a copy cannot be made again");
                }
                refused = Some(place);
                break;
            }
            let Some(place) = refused else { return Ok(()) };
            target.run("giving up a transaction", "ROLLBACK").await?;
            self.begin(hand).await?;
            waiting.remove(place);
        }
    }

    async fn note(&self, target: &Site, task: &Task, state: &str) -> Result<(), RoundError> {
        let (sync, source) = self.key();
        let noted = target.conn.execute(TABLE_STATE.text(), &[&sync, &source, &task.goat, &state]).await;
        noted.map(drop).map_err(target.failed("writing the journal of the copy"))
    }
}
