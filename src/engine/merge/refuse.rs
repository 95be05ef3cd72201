//! Rows that a source refuses in a merge: which keys they have, what custom codes are told of them, and where those keys
//! wait that nobody could help (`deadletter`), so that the rest of the sync goes on.
//!
//! A merge that meets a refusal starts over and goes on with care in that table: the rows for each source are kept here,
//! and where it does not take them together they are halved until the refused ones are left. What a source refused it has
//! not got, and its log does not say that it has: the version stays with those who have the row. So whoever brings the key
//! again, or is back after a while, finds a source that lacks it. Meanwhile the databases differ in that key.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::try_join_all;
use futures_util::{TryStreamExt, pin_mut};
use postgres_types::ToSql;

use super::goat::Goat;
use super::lines::{Lines, MADE};
use super::pour::receivers;
use super::round::Merge;
use super::spool::Spool;
use super::spread::{Work, makers, of_makers};
use crate::custom::{Hook, Row};
use crate::engine::error::RoundError;
use crate::engine::guard::{LETTERS_ADD, LETTERS_ANY, LETTERS_LIFT};
use crate::engine::intake::Intake;
use crate::engine::refused::{
    Exception, Key, LETTERS_MAX, Letters, PASSES_MAX, PIECE_MAX, Patience, REFUSED_MAX, Refusals, Refused, as_json,
    named, names, refusal, row, rows, undo,
};

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
    /// Whether rows were refused, of whatever table.
    pub(super) fn is_any(&self) -> bool {
        !self.tables.is_empty()
    }

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
        let asked = self.arms.iter().filter(|arm| arm.has_letters).map(|arm| async move {
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
    /// Keys that it can have no rows of.
    foreign: &'a BTreeSet<Key>,
    /// Those of them that wait as dead letters.
    waiting: BTreeSet<Key>,
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
    /// How many were deleted, and written; and which it refused of those that custom codes made, if any.
    Rows(u64, u64, Option<Made>),
    /// Nothing: it refuses rows, and nobody can help.
    Refused(RoundError),
}

/// Rows that custom codes made, and that a source refuses.
struct Made {
    refused: Vec<Refused>,
    error: RoundError,
}

/// Writes the winners' rows of a table to each source, but for those that it refuses. Returns how many were deleted and
/// written at each. Codes are told what each source refuses before anything waits, or is given up. `foreign`: keys that
/// each can have no rows of; `made`: rows that custom codes made for each.
pub(super) async fn bring(
    work: &Work<'_>,
    place: usize,
    foreign: &[BTreeSet<Key>],
    made: Vec<Spool>,
) -> Result<Vec<(u64, u64)>, Refusal> {
    let merge = work.merge;
    let mut counts = vec![(0, 0); merge.arms.len()];
    let Some(goat) = merge.sync.tables().nth(place) else { return Ok(counts) };
    let mut lines = gather(merge, work.goat, work.given).await?;
    for (lines, made) in lines.iter_mut().zip(made) {
        made.each(|row| lines.put(MADE, row)).map_err(|source| RoundError::Spool { source })?;
    }
    let (mut refused, mut unmade) = (None, Vec::new());
    for (arm, lines) in lines.into_iter().enumerate() {
        let (foreign, waiting) = (&foreign[arm], BTreeSet::new());
        let mut bench = Bench { work, goat, place, arm, lines, foreign, waiting };
        if work.taken[arm] > 0 {
            match bench.bring().await? {
                Brought::Rows(deleted, written, made) => {
                    counts[arm] = (deleted, written);
                    unmade.extend(made.map(|made| (arm, made)));
                }
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
        None => park_made(work, goat, unmade).await.map(|()| counts).map_err(Refusal::from),
    }
}

/// Rows that custom codes made wait at the sources that refuse them, as long as another one has them.
async fn park_made(work: &Work<'_>, goat: &crate::catalog::Goat, unmade: Vec<(usize, Made)>) -> Result<(), RoundError> {
    let merge = work.merge;
    let refusing: BTreeMap<Key, Vec<usize>> = unmade.iter().fold(BTreeMap::new(), |mut refusing, (arm, made)| {
        made.refused.iter().for_each(|it| refusing.entry(it.key.clone()).or_insert_with(Vec::new).push(*arm));
        refusing
    });
    for (arm, made) in unmade {
        let mut of: BTreeMap<usize, Vec<Refused>> = BTreeMap::new();
        for it in made.refused {
            let has = |other: &usize| {
                merge.muted & merge.arms[*other].bit() == 0
                    && !refusing.get(&it.key).is_some_and(|arms| arms.contains(other))
            };
            let Some(owner) = (0..merge.arms.len()).find(has) else {
                return Err(of_makers(made.error, merge.sync, &work.goat.label));
            };
            let message =
                format!("the row that custom code \"{}\" made: {}", makers(merge.sync, &work.goat.label), it.message);
            of.entry(owner).or_default().push(Refused { message, ..it });
        }
        for (owner, refused) in of {
            add_letters(merge, goat, (arm, owner), refused.iter()).await?;
        }
    }
    Ok(())
}

/// Writes dead letters at one arm, of rows of another one (`at`).
async fn add_letters<'r>(
    merge: &Merge<'_>,
    goat: &crate::catalog::Goat,
    at: (usize, usize),
    refused: impl Iterator<Item = &'r Refused>,
) -> Result<(), RoundError> {
    let (site, source) = (&merge.arms[at.0].site, merge.arms[at.1].site.db.as_str());
    let Letters { keys, states, errors, tries } = Letters::of(goat, refused);
    let sync = merge.sync.name.as_str();
    let args: [&(dyn ToSql + Sync); 8] = [&sync, &goat.schema, &goat.name, &source, &keys, &states, &errors, &tries];
    let added = site.conn.execute(LETTERS_ADD.text(), &args).await;
    added.map(drop).map_err(site.failed("writing dead letters"))
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
    fn savepoints(&self) -> String {
        format!("a savepoint of table \"{}\"", self.work.goat.label)
    }

    async fn savepoint(&self, sql: &str) -> Result<(), RoundError> {
        self.work.merge.arms[self.arm].site.run(&self.savepoints(), sql).await
    }

    async fn bring(&mut self) -> Result<Brought, Refusal> {
        let all: Vec<usize> = (0..self.lines.ends.len()).collect();
        self.savepoint("SAVEPOINT bucardo_table").await?;
        let error = match self.replace(&all).await {
            Ok((deleted, written)) => {
                self.savepoint("RELEASE SAVEPOINT bucardo_table").await?;
                return Ok(Brought::Rows(deleted, written, None));
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
            if bad.len() > LETTERS_MAX || passes > PASSES_MAX {
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
            let error = named(error, self.goat, &refused);
            return match winners.contains(&MADE) {
                true => Err(of_makers(error, merge.sync, &self.work.goat.label).into()),
                false => Ok(Brought::Refused(error)),
            };
        }
        let (deleted, written) = self.replace(&good).await?;
        let mut made = None;
        if !refused.is_empty() {
            let (sync, db) = (&merge.sync.name, &merge.arms[self.arm].site.db);
            let (table, keys, why) = (&self.work.goat.label, names(self.goat, &refused), refused[0].message.clone());
            made = self.park(refused, &winners).await?.map(|refused| Made { refused, error });
            tracing::warn!(%sync, %db, table, keys, why, "rows were refused and wait as dead letters, the others go on");
        }
        Ok(Brought::Rows(deleted, written, made))
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
        let (mut bad, mut pieces) = (Vec::new(), vec![lines]);
        let (merge, what) = (self.work.merge, self.savepoints());
        let site = &merge.arms[self.arm].site;
        // How the savepoint of the piece before ends: in one breath with what is tried next.
        let mut end = None;
        while let Some(piece) = pieces.pop().filter(|_| bad.len() <= LETTERS_MAX) {
            let is_coarse = bad.len() > REFUSED_MAX;
            if is_coarse && piece.len() > PIECE_MAX {
                pieces.extend(piece.chunks(PIECE_MAX).rev());
                continue;
            }
            let begin = format!("{}SAVEPOINT bucardo_piece", end.unwrap_or_default());
            let (begun, done) = tokio::join!(site.run(&what, &begin), Box::pin(self.insert(piece)));
            begun?;
            let Err(error) = done else {
                end = Some("RELEASE SAVEPOINT bucardo_piece;");
                continue;
            };
            let Some(why) = refusal(&error) else { return Err(error) };
            end = Some("ROLLBACK TO SAVEPOINT bucardo_piece; RELEASE SAVEPOINT bucardo_piece;");
            match piece {
                [] => {}
                some if is_coarse || some.len() == 1 => {
                    for at in some {
                        let key = self.key(*at)?;
                        let (is_foreign, is_unsure) = (self.foreign.contains(&key), some.len() > 1);
                        let refused = Refused { is_foreign, is_unsure, ..Refused::new(key, why) };
                        bad.push(Bad { at: *at, refused });
                    }
                }
                more => {
                    let (left, right) = more.split_at(more.len() / 2);
                    pieces.extend([right, left]);
                }
            }
        }
        if let Some(end) = end {
            self.savepoint(end).await?;
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
        let sure = || bad.iter().zip(winners).filter(|(it, _)| !it.refused.is_unsure);
        let (bad, winners): (Vec<&Bad>, Vec<usize>) = sure().map(|(it, winner)| (it, *winner)).unzip();
        let sent = bad.iter().map(|it| self.row(it.at)).collect::<Result<Vec<Row>, _>>()?;
        let (merge, goat) = (self.work.merge, self.work.goat);
        // What custom codes made is its own.
        let of = |arm: &usize| merge.arms.get(*arm).unwrap_or(&merge.arms[self.arm]).site.db.as_str();
        let sources: Vec<&str> = winners.iter().map(of).collect();
        let refused: Vec<Refused> = bad.iter().map(|it| it.refused.clone()).collect();
        let known = refused.iter().filter(|it| !it.is_foreign);
        let keys: Vec<Key> = known.map(|it| it.key.clone()).collect();
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
        let keys = self.as_json(bad.iter().map(|it| &it.refused).filter(|it| !it.is_foreign));
        let (site, at) = (&self.work.merge.arms[self.arm].site, &self.work.goat.at[self.arm]);
        let kept = site.conn.execute(&at.letters.keep, &[&keys]).await;
        kept.map(drop).map_err(site.failed("keeping rows in place of refused ones"))
    }

    /// These wait as dead letters; this source does not have their versions. Returns those that custom codes made, which
    /// have nobody's row yet.
    async fn park(&mut self, refused: Vec<Refused>, winners: &[usize]) -> Result<Option<Vec<Refused>>, RoundError> {
        self.waiting = refused.iter().filter(|it| it.is_foreign).map(|it| it.key.clone()).collect();
        let merge = self.work.merge;
        let (site, at) = (&merge.arms[self.arm].site, &self.work.goat.at[self.arm]);
        let keys = self.as_json(refused.iter().filter(|it| !it.is_foreign));
        let unrecorded = site.conn.execute(&at.letters.unrecord, &[&keys]).await;
        unrecorded.map_err(site.failed("writing dead letters"))?;
        let mut of: BTreeMap<usize, Vec<Refused>> = BTreeMap::new();
        for (it, winner) in refused.into_iter().zip(winners) {
            of.entry(*winner).or_default().push(it);
        }
        let made = of.remove(&MADE);
        for (winner, refused) in of {
            add_letters(merge, self.goat, (self.arm, winner), refused.iter()).await?;
        }
        Ok(made)
    }

    /// Keys that this source has got, or given, wait no longer; nor do those that it can have no row of, once nobody has.
    async fn lift(&self) -> Result<(), RoundError> {
        let merge = self.work.merge;
        let (site, at) = (&merge.arms[self.arm].site, &self.work.goat.at[self.arm]);
        let failed = || site.failed("taking out dead letters");
        let (sync, schema, table) = (merge.sync.name.as_str(), &self.goat.schema, &self.goat.name);
        let gone = self.foreign.difference(&self.waiting);
        let gone: Vec<String> = gone.map(|key| as_json(self.goat, key).to_string()).collect();
        if !gone.is_empty() {
            site.conn.execute(LETTERS_LIFT.text(), &[&sync, schema, table, &gone]).await.map_err(failed())?;
        }
        self.savepoint("SAVEPOINT bucardo_table").await?;
        let lifted = site.conn.execute(&at.letters.lift, &[&sync, schema, table]).await.map_err(failed());
        let Err(error) = lifted else { return self.savepoint("RELEASE SAVEPOINT bucardo_table").await };
        // Among those that wait are keys that are none for the types here.
        if refusal(&error).is_none() {
            return Err(error);
        }
        self.savepoint("ROLLBACK TO SAVEPOINT bucardo_table; RELEASE SAVEPOINT bucardo_table").await?;
        let lifted = site.conn.execute(&at.letters.lift_texts, &[&sync, schema, table]).await;
        lifted.map(drop).map_err(failed())
    }
}
