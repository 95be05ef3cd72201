//! Rows that a source refuses in a merge: which keys they have, what custom codes are told of them, and where those keys
//! wait that nobody could help (`deadletter`), so that the rest of the sync goes on.
//!
//! A merge that meets a refusal starts over and goes on with care in that table: the rows for each source are kept here,
//! and where it does not take them together they are halved until the refused ones are left. What a source refused it has
//! not got, and its log does not say that it has: the version stays with those who have the row. So whoever brings the key
//! again, or is back after a while, finds a source that lacks it. Meanwhile the databases differ in that key.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Seek, SeekFrom, Write};

use bytes::Bytes;
use futures_util::future::try_join_all;
use futures_util::{TryStreamExt, pin_mut};
use postgres_types::ToSql;
use tempfile::SpooledTempFile;

use super::goat::Goat;
use super::pour::receivers;
use super::round::Merge;
use super::spread::Work;
use crate::custom::{Hook, Row};
use crate::engine::error::RoundError;
use crate::engine::guard::{LETTERS_ADD, LETTERS_ANY};
use crate::engine::intake::Intake;
use crate::engine::refused::{
    Exception, Key, PASSES_MAX, Patience, REFUSED_MAX, Refusals, Refused, as_json, named, names, refusal, row, rows,
    undo,
};

/// Rows of one receiver are kept in memory while they are few.
const MEMORY_MAX: usize = 512 * 1024;

/// What the tries of one round know of refused rows.
#[derive(Default)]
pub(super) struct Cautions {
    /// Places of tables that are merged with care.
    tables: BTreeSet<usize>,
    /// How often codes were asked about what a source refuses of a table.
    patience: BTreeMap<At, Patience>,
    /// Where codes could not help.
    helpless: BTreeSet<At>,
    /// Why this try fails, for codes.
    open: Option<Told>,
}

/// A table and a source that refuses rows of it: their places.
type At = (usize, u16);

/// What codes are to be told, once the transactions are over.
pub(super) struct Told {
    at: At,
    patience: Patience,
    input: Exception,
}

impl Cautions {
    /// Goes on with care in a table, if that is new.
    pub(super) fn add(&mut self, table: usize) -> bool {
        self.tables.insert(table)
    }

    /// What the codes of a table are to be told, where it was refused.
    pub(super) fn take_open(&mut self) -> Option<(At, Exception)> {
        let Told { at, patience, input } = self.open.take()?;
        self.patience.insert(at, patience);
        Some((at, input))
    }

    /// The codes of a table have not helped.
    pub(super) fn give_up(&mut self, at: At) {
        self.helpless.insert(at);
    }
}

/// Rows for one source, as `COPY` writes them, and whose they are.
struct Lines {
    file: SpooledTempFile,
    /// Where each ends, and the place of the arm that it comes from.
    ends: Vec<(u64, usize)>,
}

impl Lines {
    fn new() -> Self {
        Self { file: SpooledTempFile::new(MEMORY_MAX), ends: Vec::new() }
    }

    fn put(&mut self, winner: usize, row: &[u8]) -> io::Result<()> {
        self.file.write_all(row)?;
        let end = self.ends.last().map_or(0, |(end, _)| *end) + u64::try_from(row.len()).unwrap_or_default();
        self.ends.push((end, winner));
        Ok(())
    }

    fn get(&mut self, at: usize) -> Result<Bytes, RoundError> {
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before].0);
        let mut row = vec![0; usize::try_from(self.ends[at].0 - start).unwrap_or_default()];
        let read = self.file.seek(SeekFrom::Start(start)).and_then(|_| self.file.read_exact(&mut row));
        read.map_err(|source| RoundError::Spool { source })?;
        Ok(Bytes::from(row))
    }
}

/// A line that a source does not take.
struct Bad {
    at: usize,
    refused: Refused,
}

impl Merge<'_> {
    /// Whether a table is to be merged with care: rows of it were refused in this round, or wait somewhere.
    pub(super) async fn takes_care(&self, place: usize) -> Result<bool, RoundError> {
        if self.cautions.tables.contains(&place) {
            return Ok(true);
        }
        let Some(goat) = self.sync.tables().nth(place).filter(|_| self.sync.deadletter) else { return Ok(false) };
        let asked = self.arms.iter().map(|arm| async move {
            let args: [&(dyn ToSql + Sync); 3] = [&self.sync.name.as_str(), &goat.schema, &goat.name];
            let found = arm.site.conn.query_one(LETTERS_ANY.text(), &args).await;
            Ok::<_, RoundError>(found.map_err(arm.site.failed("looking for dead letters"))?.get::<_, bool>("any"))
        });
        Ok(try_join_all(asked).await?.contains(&true))
    }

    /// Keeps what the codes of a table are to be told, once the transactions are over.
    pub(super) fn is_open(&mut self, told: Told) {
        self.cautions.open = Some(told);
    }
}

/// The rows of one table for one receiver.
struct Bench<'a> {
    work: &'a Work<'a>,
    /// Among the tables of the sync.
    goat: &'a crate::catalog::Goat,
    place: usize,
    /// The arm that receives.
    arm: usize,
    lines: Lines,
}

/// Why rows were not written.
pub(super) struct Refusal {
    pub(super) error: RoundError,
    /// What codes are to be told first.
    pub(super) told: Option<Told>,
}

impl From<RoundError> for Refusal {
    fn from(error: RoundError) -> Self {
        Self { error, told: None }
    }
}

/// What one source got.
enum Brought {
    Rows(u64, u64),
    /// Nothing: it refuses rows, and nobody can help.
    Refused(RoundError),
}

/// Writes the winners' rows of a table to each source, but for those that it refuses. Returns how many were deleted and
/// written at each. Codes are told what each source refuses before anything waits, or is given up.
pub(super) async fn bring(work: &Work<'_>, place: usize) -> Result<Vec<(u64, u64)>, Refusal> {
    let merge = work.merge;
    let mut counts = vec![(0, 0); merge.arms.len()];
    let Some(goat) = merge.sync.tables().nth(place) else { return Ok(counts) };
    let lines = gather(merge, work.goat, work.given).await?;
    let mut refused = None;
    for (arm, lines) in lines.into_iter().enumerate() {
        let mut bench = Bench { work, goat, place, arm, lines };
        if work.taken[arm] > 0 {
            match bench.bring().await? {
                Brought::Rows(deleted, written) => counts[arm] = (deleted, written),
                Brought::Refused(error) => {
                    refused.get_or_insert(error);
                    continue;
                }
            }
        }
        if merge.sync.deadletter && merge.muted & merge.arms[arm].bit() == 0 {
            bench.lift().await?;
        }
    }
    match refused {
        Some(error) => Err(error.into()),
        None => Ok(counts),
    }
}

/// Reads the winners' rows, for each receiver.
async fn gather(merge: &Merge<'_>, goat: &Goat, given: &[u64]) -> Result<Vec<Lines>, RoundError> {
    let mut lines: Vec<Lines> = merge.arms.iter().map(|_| Lines::new()).collect();
    let what = format!("reading rows of table \"{}\"", goat.label);
    for winner in (0..merge.arms.len()).filter(|arm| given[*arm] > 0) {
        let site = &merge.arms[winner].site;
        let rows = site.conn.copy_out(&goat.at[winner].rows_out).await.map_err(site.failed(what.as_str()))?;
        pin_mut!(rows);
        while let Some(mut row) = rows.try_next().await.map_err(site.failed(what.as_str()))? {
            merge.watch.moved(1);
            let receivers = receivers(&mut row)?;
            for (arm, lines) in lines.iter_mut().enumerate().filter(|(arm, _)| receivers & merge.arms[*arm].bit() != 0)
            {
                debug_assert_ne!(arm, winner, "who wins keeps its row");
                lines.put(winner, &row).map_err(|source| RoundError::Spool { source })?;
            }
        }
    }
    Ok(lines)
}

impl Bench<'_> {
    async fn savepoint(&self, sql: &str) -> Result<(), RoundError> {
        let what = format!("a savepoint of table \"{}\"", self.work.goat.label);
        self.work.merge.arms[self.arm].site.run(&what, sql).await
    }

    async fn bring(&mut self) -> Result<Brought, Refusal> {
        let all: Vec<usize> = (0..self.lines.ends.len()).collect();
        self.savepoint("SAVEPOINT bucardo_table").await?;
        let error = match self.replace(&all).await {
            Ok((deleted, written)) => {
                self.savepoint("RELEASE SAVEPOINT bucardo_table").await?;
                return Ok(Brought::Rows(deleted, written));
            }
            Err(error) => error,
        };
        let site = &self.work.merge.arms[self.arm].site;
        if refusal(&error).is_none() || error.db() != Some(&site.db) || !undo(site).await {
            return Err(error.into());
        }
        let mut bad: Vec<Bad> = Vec::new();
        let mut passes = 0;
        loop {
            let good = self.good(&bad);
            self.savepoint("SAVEPOINT bucardo_table").await?;
            self.work.delete(self.arm).await?;
            let found = self.halve(&good).await?;
            self.savepoint("ROLLBACK TO SAVEPOINT bucardo_table; RELEASE SAVEPOINT bucardo_table").await?;
            passes += 1;
            if found.is_empty() {
                break;
            }
            self.keep_rows(&found).await?;
            bad.extend(found);
            if bad.len() > REFUSED_MAX || passes > PASSES_MAX {
                let refused: Vec<Refused> = bad.into_iter().map(|it| it.refused).collect();
                return Ok(Brought::Refused(named(error, self.goat, &refused)));
            }
        }
        let merge = self.work.merge;
        let winners: Vec<usize> = bad.iter().map(|it| self.lines.ends[it.at].1).collect();
        if let Some((tries, patience)) = self.asks(bad.len()) {
            let input = self.told(&bad, &winners, tries).await?;
            return Err(Refusal { error, told: Some(Told { at: self.at(), patience, input }) });
        }
        let good = self.good(&bad);
        let refused: Vec<Refused> = bad.into_iter().map(|it| it.refused).collect();
        if !refused.is_empty() && !merge.sync.deadletter {
            return Ok(Brought::Refused(named(error, self.goat, &refused)));
        }
        let (deleted, written) = self.replace(&good).await?;
        if !refused.is_empty() {
            self.park(&refused, &winners).await?;
            let (sync, db) = (&merge.sync.name, &merge.arms[self.arm].site.db);
            let (table, keys, why) = (&self.work.goat.label, names(self.goat, &refused), &refused[0].message);
            tracing::warn!(%sync, %db, table, keys, why, "rows were refused and wait as dead letters, the others go on");
        }
        Ok(Brought::Rows(deleted, written))
    }

    fn good(&self, bad: &[Bad]) -> Vec<usize> {
        let bad: BTreeSet<usize> = bad.iter().map(|it| it.at).collect();
        (0..self.lines.ends.len()).filter(|at| !bad.contains(at)).collect()
    }

    /// Deletes what makes room, and writes these lines.
    async fn replace(&mut self, lines: &[usize]) -> Result<(u64, u64), RoundError> {
        let deleted = self.work.delete(self.arm).await?;
        Ok((deleted, self.insert(lines).await?))
    }

    async fn insert(&mut self, lines: &[usize]) -> Result<u64, RoundError> {
        if lines.is_empty() {
            return Ok(0);
        }
        let (merge, goat) = (self.work.merge, self.work.goat);
        let what = format!("writing rows of table \"{}\"", goat.label);
        let mut sink = Intake::open(&merge.arms[self.arm].site, what, &goat.at[self.arm].rows_in).await?;
        for at in lines {
            merge.watch.moved(1);
            sink.row(self.lines.get(*at)?).await?;
        }
        sink.finish().await
    }

    /// Halves what is refused until single lines are left. Their old rows are gone.
    async fn halve(&mut self, lines: &[usize]) -> Result<Vec<Bad>, RoundError> {
        let mut bad = Vec::new();
        let mut pieces = vec![lines];
        while let Some(piece) = pieces.pop().filter(|_| bad.len() <= REFUSED_MAX) {
            self.savepoint("SAVEPOINT bucardo_piece").await?;
            let Err(error) = self.insert(piece).await else {
                self.savepoint("RELEASE SAVEPOINT bucardo_piece").await?;
                continue;
            };
            let Some(why) = refusal(&error) else { return Err(error) };
            self.savepoint("ROLLBACK TO SAVEPOINT bucardo_piece; RELEASE SAVEPOINT bucardo_piece").await?;
            match piece {
                [] => {}
                [at] => bad.push(Bad { at: *at, refused: Refused::new(self.key(*at)?, why) }),
                more => {
                    let (left, right) = more.split_at(more.len() / 2);
                    pieces.extend([right, left]);
                }
            }
        }
        Ok(bad)
    }

    fn row(&mut self, at: usize) -> Result<Row, RoundError> {
        Ok(row(&self.work.goat.columns, &self.lines.get(at)?))
    }

    fn key(&mut self, at: usize) -> Result<Key, RoundError> {
        let row = self.row(at)?;
        let value = |column: &String| row.get(column).cloned().flatten().unwrap_or_default();
        Ok(self.work.goat.key.iter().map(value).collect())
    }

    fn at(&self) -> At {
        (self.place, self.work.merge.arms[self.arm].place)
    }

    /// Whether codes are to be asked first, about so many lines: for which time, and what that leaves of patience.
    fn asks(&self, bad: usize) -> Option<(u32, Patience)> {
        let Merge { hooks, cautions, .. } = self.work.merge;
        let has_codes = hooks.as_ref().is_some_and(|hooks| hooks.has(Hook::Exception, Some(self.goat)));
        if !has_codes || cautions.helpless.contains(&self.at()) {
            return None;
        }
        let mut patience = cautions.patience.get(&self.at()).copied().unwrap_or_default();
        Some((patience.next(bad)?, patience))
    }

    async fn told(&mut self, bad: &[Bad], winners: &[usize], tries: u32) -> Result<Exception, RoundError> {
        let sent = bad.iter().map(|it| self.row(it.at)).collect::<Result<Vec<Row>, _>>()?;
        let (merge, goat) = (self.work.merge, self.work.goat);
        let sources: Vec<&str> = winners.iter().map(|arm| merge.arms[*arm].site.db.as_str()).collect();
        let refused: Vec<Refused> = bad.iter().map(|it| it.refused.clone()).collect();
        let keys: Vec<Key> = refused.iter().map(|it| it.key.clone()).collect();
        let (site, copy) = (&merge.arms[self.arm].site, goat.at[self.arm].letters.rows.as_str());
        let present = rows(site, &goat.label, (copy, &goat.columns), &keys).await?;
        let told = Refusals {
            goat: self.goat,
            key_types: &goat.key_types,
            forms: &goat.forms,
            target: site.db.as_str(),
            first: merge.names[0].as_str(),
            refused: &refused,
            sources: &sources,
            rows: &sent,
            present: &present,
            tries,
        };
        Ok(told.told())
    }

    fn as_json<'r>(&self, refused: impl Iterator<Item = &'r Refused>) -> Vec<String> {
        refused.map(|it| as_json(self.goat, &it.key).to_string()).collect()
    }

    /// What these keys have here makes no room.
    async fn keep_rows(&self, bad: &[Bad]) -> Result<(), RoundError> {
        let keys = self.as_json(bad.iter().map(|it| &it.refused));
        let (site, at) = (&self.work.merge.arms[self.arm].site, &self.work.goat.at[self.arm]);
        let kept = site.conn.execute(&at.letters.keep, &[&keys]).await;
        kept.map(drop).map_err(site.failed("keeping rows in place of refused ones"))
    }

    /// These wait as dead letters; this source does not have their versions.
    async fn park(&self, refused: &[Refused], winners: &[usize]) -> Result<(), RoundError> {
        let merge = self.work.merge;
        let (site, at) = (&merge.arms[self.arm].site, &self.work.goat.at[self.arm]);
        let failed = || site.failed("writing dead letters");
        let keys = self.as_json(refused.iter());
        site.conn.execute(&at.letters.unrecord, &[&keys]).await.map_err(failed())?;
        let from: BTreeSet<usize> = winners.iter().copied().collect();
        for winner in from {
            let of = || refused.iter().zip(winners).filter(|(_, it)| **it == winner).map(|(it, _)| it);
            let keys = self.as_json(of());
            let states: Vec<&str> = of().map(|it| it.sqlstate.as_str()).collect();
            let errors: Vec<&str> = of().map(|it| it.message.as_str()).collect();
            let source = merge.arms[winner].site.db.as_str();
            let args: [&(dyn ToSql + Sync); 7] =
                [&merge.sync.name.as_str(), &self.goat.schema, &self.goat.name, &source, &keys, &states, &errors];
            site.conn.execute(LETTERS_ADD.text(), &args).await.map_err(failed())?;
        }
        Ok(())
    }

    /// Keys that this source has got, or given, wait no longer.
    async fn lift(&self) -> Result<(), RoundError> {
        let merge = self.work.merge;
        let (site, at) = (&merge.arms[self.arm].site, &self.work.goat.at[self.arm]);
        let args: [&(dyn ToSql + Sync); 3] = [&merge.sync.name.as_str(), &self.goat.schema, &self.goat.name];
        let lifted = site.conn.execute(&at.letters.lift, &args).await;
        lifted.map(drop).map_err(site.failed("taking out dead letters"))
    }
}
