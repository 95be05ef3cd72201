//! One merge: snapshots of all sources, rulings on every key that somebody has not read, rows and versions to whoever
//! lacks them, positions, and a commit at each source. Any subset of the commits may be lost (see `replication.md`
//! section 6 of the design): the next merge completes the rest from what is recorded.
//!
//! **A backlog is not cut.** A pair takes the transactions up to some point and the rest later; rows are read as they
//! are. A merge that did so would rule on a key by all changes that it sees, and leave those behind the cut unread. If
//! it noted the cut as what its source has settled, these would count as made on top of what was decided about them, and
//! come back as a change that nobody made; if it noted its snapshot, changes of keys that it left out would hide behind
//! versions that they came after. The property test finds runs that go wrong of both (`merges_of_a_part_of_a_backlog_go_wrong`).
//! To cut by tables or keys instead would be sound, as each has its own versions, but would show parts of transactions.
//! So one transaction at each source takes the whole backlog: memory stays flat, but rows stay locked to its end.

use std::collections::BTreeSet;
use std::time::Instant;

use chrono::TimeDelta;
use futures_util::future::try_join_all;

use bucardo_actors::model::{DbName, GoatCounts, RoundReport};
use bucardo_actors::ports::Watch;

use super::arm::{Arm, Look, News, Rows};
use super::aside::Asides;
use super::goat::{Goat, Order};
use super::late::Caught;
use super::log::{Readers, settles};
use super::refuse::{Cautions, Refusal};
use super::strategy::Strategy;
use super::{judge, sequences, spread};
use crate::catalog::SyncDetail;
use crate::custom::Hook;
use crate::engine::again;
use crate::engine::error::RoundError;
use crate::engine::hooks::Hooks;
use crate::engine::onward;
use crate::engine::round::step;
use crate::engine::site::Site;
use crate::engine::step::Step;

/// What a merge keeps for the next one.
#[derive(Default)]
pub(super) struct Kept {
    /// The sources for which it was made.
    pub(super) places: Vec<u16>,
    /// By place of the table.
    pub(super) goats: Vec<Option<Goat>>,
    /// Where logs meet whose keys only a server can compare.
    pub(super) scratch: Option<Site>,
}

/// A merge under way.
pub(super) struct Merge<'a> {
    pub(super) sync: &'a SyncDetail,
    /// The sources of the sync, in order, those that are away included.
    pub(super) names: &'a [String],
    /// Those that take part, in order.
    pub(super) arms: Vec<&'a mut Arm>,
    /// Bits of those that are only read: what is written there fails again and again.
    pub(super) muted: u64,
    /// Whether the sources have second sessions in this merge.
    pub(super) has_second: bool,
    pub(super) kept: &'a mut Kept,
    /// Tables that some source takes no part in merging.
    pub(super) asides: &'a mut Asides,
    /// A person asked for it: what is looked at now and then is looked at now.
    pub(super) is_asked: bool,
    pub(super) watch: &'a Watch,
    /// Custom codes; `None`: there are none.
    pub(super) hooks: Option<&'a mut Hooks>,
    pub(super) cautions: &'a mut Cautions,
    /// Rows of the table that it is at may be refused.
    pub(super) is_careful: bool,
    /// Bits of those where codes have made changes that this merge rules on.
    pub(super) coded: u64,
}

/// How a merge ended.
pub(super) enum Ended {
    Done(Box<Done>),
    /// A table's definition changed under it; nothing was done.
    Again(String),
    /// The first source is to be copied to these before anything is merged; nothing was done.
    Copy(Vec<DbName>),
}

/// A merge that went to its end.
pub(super) struct Done {
    pub(super) report: RoundReport,
    /// Sources that did not commit, and why.
    pub(super) refused: Vec<RoundError>,
}

/// What was written to some sources.
fn sum(rows: &[Rows]) -> Rows {
    let add = |sum: Rows, it: &Rows| Rows {
        deletes: sum.deletes + it.deletes,
        inserts: sum.inserts + it.inserts,
        conflicts: sum.conflicts + it.conflicts,
    };
    rows.iter().fold(Rows::default(), add)
}

/// What a merge comes to.
struct Tally {
    report: RoundReport,
    /// By arm.
    rows: Vec<Rows>,
    oldest: Option<i64>,
    /// The source with the newest change over all tables, once it is asked for.
    leader: Option<Option<u16>>,
}

/// The same, for those arms that merge a table.
struct Share<'t> {
    report: &'t mut RoundReport,
    rows: &'t mut [Rows],
    oldest: &'t mut Option<i64>,
    leader: Option<u16>,
}

impl Tally {
    fn new(arms: usize) -> Self {
        Self { report: RoundReport::default(), rows: vec![Rows::default(); arms], oldest: None, leader: None }
    }

    fn all(&mut self) -> Share<'_> {
        let leader = self.leader.flatten();
        Share { report: &mut self.report, rows: &mut self.rows, oldest: &mut self.oldest, leader }
    }
}

impl Merge<'_> {
    /// Merges. After an error the transactions are still open.
    pub(super) async fn run(&mut self) -> Result<Ended, RoundError> {
        let began = Instant::now();
        let sync = self.sync;
        self.check_capture().await?;
        let mut looks = self.begin().await?;
        step(self.watch, Step::Snapshot).await?;
        let empty = self.uncopied(&looks);
        if !empty.is_empty() {
            return Ok(Ended::Copy(empty));
        }
        self.at(Hook::BeforeCheckRows, None).await?;
        let (mut readers, mut news) = self.news(&looks).await?;
        if self.let_writers_end(&looks, &news).await? {
            looks = self.begin().await?;
            self.at(Hook::BeforeCheckRows, None).await?;
            (readers, news) = self.news(&looks).await?;
        }
        let looked: Vec<&Look> = looks.iter().collect();
        let mut tally = Tally::new(self.arms.len());
        let late = self.late(&looks);
        let mut places = places(&self.arms, &news);
        places.retain(|place| !late.contains(place));
        let set = sequences::bring(&self.arms, &self.leads()?, &news, self.muted).await?;
        // What is no news must be behind us before it can be purged.
        let passed_over = news.iter().any(|news| news.passed_over);
        let all: Vec<usize> = (0..self.arms.len()).collect();
        let is_aside = !self.stops(&looks).is_empty() || !self.stale(&looks, &[], &all).is_empty();
        let is_quiet = places.is_empty() && late.is_empty() && !is_aside;
        if is_quiet && !passed_over && !settles(&readers, &looks) {
            let end = if set > 0 || self.looks_with_codes() { "COMMIT" } else { "ROLLBACK" };
            try_join_all(self.arms.iter().map(|arm| arm.site.run("ending an empty merge", end))).await?;
            return Ok(Ended::Done(Box::new(Done { report: RoundReport::default(), refused: Vec::new() })));
        }
        self.kept.goats.resize_with(self.arms[0].tables.len(), || None);
        for place in places.iter().chain(&late) {
            if tally.leader.is_none() && self.strategy(*place)? == Strategy::LatestAllTables {
                tally.leader = Some(self.leader(&news).await?);
            }
        }
        if news.iter().filter(|news| news.is_large()).count() > 1 {
            self.open_second().await?;
        }
        let has_changes = !places.is_empty() || !late.is_empty();
        if has_changes {
            places.extend(self.at_first_change(&places, &readers, &mut news).await?);
            places.retain(|place| !late.contains(place));
        }
        let news: Vec<&News> = news.iter().collect();
        let places: Vec<usize> = places.into_iter().collect();
        for (at, place) in places.iter().copied().enumerate() {
            let takers = self.takers(place);
            let before = tally.rows.clone();
            let merged = if takers.len() == self.arms.len() {
                self.table(place, (&readers, &looked, &news), &mut tally.all()).await
            } else {
                self.part(place, takers, &looked, Some(&news), &mut tally).await
            };
            match merged.map_err(|error| self.of(place, error)) {
                Ok(Ok(())) => self.at_table(place, &before, &tally.rows).await?,
                Ok(Err(label)) => return Ok(Ended::Again(label)),
                Err(error) => {
                    self.foresee(&error, &places[at + 1..]).await;
                    return Err(error);
                }
            }
        }
        let mut caught = Vec::new();
        for place in late {
            let arms = self.takers(place);
            let before = tally.rows.clone();
            let merged = self.part(place, arms.clone(), &looked, None, &mut tally).await;
            if let Err(label) = merged.map_err(|error| self.of(place, error))? {
                return Ok(Ended::Again(label));
            }
            self.at_table(place, &before, &tally.rows).await?;
            caught.push(Caught { table: place, arms });
        }
        self.close_second().await;
        if has_changes {
            self.at_last_change(&looks).await?;
        }
        let Tally { mut report, rows, oldest, .. } = tally;
        (report.deletes, report.inserts) = (sum(&rows).deletes, sum(&rows).inserts);
        let (committed, refused) = self.commit(&looks, &rows, &caught).await?;
        // What went with a transaction is decided, and counted, by the next merge.
        report.conflicts = committed.iter().map(|arm| rows[*arm].conflicts).sum();
        if committed.is_empty() {
            // The next merge does, and counts, all of it.
            (report.deletes, report.inserts) = (0, 0);
            report.goats.clear();
        }
        for Caught { table, arms } in caught {
            let sources: Vec<u16> =
                arms.iter().filter(|arm| committed.contains(arm)).map(|arm| self.arms[*arm].place).collect();
            self.asides.merged(&sync.name, table, &sources);
        }
        let may_wait = |arm: &&Arm| arm.has_letters || self.cautions.is_any();
        for arm in committed.iter().map(|arm| &*self.arms[*arm]).filter(may_wait) {
            let up = || committed.iter().map(|arm| &self.arms[*arm].site);
            let of = |name: &str| up().find(|site| site.db.as_str() == name);
            report.more |= again::send(sync, &arm.site, &report.goats, of).await?;
        }
        report.lag = oldest.map(|micros: i64| lag(micros, &looks));
        report.took = began.elapsed();
        Ok(Ended::Done(Box::new(Done { report, refused })))
    }

    /// The same error, of this table, if a table can be put aside for it.
    pub(super) fn of(&self, place: usize, error: RoundError) -> RoundError {
        match (self.sync.tables().nth(place), &error) {
            (Some(goat), RoundError::Sql { .. } | RoundError::Table { .. }) => error.of_table(&goat.label()),
            _ => error,
        }
    }

    /// Puts tables aside whose changes are not captured at some source.
    async fn check_capture(&mut self) -> Result<(), RoundError> {
        let (sync, asides, is_asked, watch) = (self.sync, &*self.asides, self.is_asked, self.watch);
        let checks = self.arms.iter_mut().map(|arm| async {
            let found = arm.check(sync, is_asked || asides.tries(arm.place), watch).await?;
            Ok::<_, RoundError>((arm.place, arm.site.db.clone(), found))
        });
        for (source, db, found) in try_join_all(checks).await? {
            for (table, mut drift) in found {
                if let Some(goat) = sync.tables().nth(table) {
                    drift.table = goat.label();
                }
                self.asides.note(&sync.name, table, (source, &db), &drift, Instant::now());
            }
        }
        Ok(())
    }

    /// Begins the transactions at all sources.
    async fn begin(&mut self) -> Result<Vec<Look>, RoundError> {
        let (sync, muted) = (self.sync, self.muted);
        let mut looks = try_join_all(self.arms.iter_mut().map(|arm| arm.begin(sync, muted))).await?;
        if self.check_times(&looks)? {
            // Now, not with this merge's own: it may end like the one that left them behind, and a source that knows
            // of none of two rounds looks like one that went back in time.
            self.mend_tracks(&looks).await?;
            looks = try_join_all(self.arms.iter_mut().map(|arm| arm.begin(sync, muted))).await?;
            self.check_times(&looks)?;
        }
        self.keep_out(&looks);
        if self.hold(&looks).await? {
            looks = try_join_all(self.arms.iter_mut().map(|arm| arm.begin(sync, muted))).await?;
            self.check_times(&looks)?;
        }
        Ok(looks)
    }

    /// How the sources have been read, and what has changed there since.
    async fn news(&mut self, looks: &[Look]) -> Result<(Vec<Readers>, Vec<News>), RoundError> {
        let looked: Vec<&Look> = looks.iter().collect();
        let readers = self.readers(&looked, None)?;
        let news = try_join_all(self.arms.iter_mut().zip(&readers).map(|(arm, it)| arm.news(&it.common)));
        let mut news = news.await?;
        self.hear_own(Hook::BeforeCheckRows, &readers, &mut news).await?;
        Ok((readers, news))
    }

    /// Merges a table among all arms; the inner error names it, when its definition has changed.
    async fn table(
        &mut self,
        place: usize,
        (readers, looks, news): (&[Readers], &[&Look], &[&News]),
        tally: &mut Share<'_>,
    ) -> Result<Result<(), String>, RoundError> {
        let sources: Vec<u16> = self.arms.iter().map(|arm| arm.place).collect();
        let goat = match self.kept.goats[place].take().filter(|goat| goat.sources == sources) {
            Some(goat) => goat,
            None => Goat::prepare(self.sync, &self.arms, place).await?,
        };
        if !self.is_current(&goat).await? {
            return Ok(Err(goat.label));
        }
        self.lock_second(&goat).await;
        step(self.watch, Step::Keys(&goat.label)).await?;
        let strategy = self.strategy(place)?;
        self.is_careful = self.takes_care(place).await?;
        self.open_scratch(&goat).await?;
        let mut hooks = self.hooks.take();
        let judges = hooks.as_deref_mut().filter(|hooks| hooks.judge(self.sync.tables().nth(place)));
        let ruled = judge::table(self, &goat, place, (readers, looks, news), &strategy, tally.leader, judges).await;
        self.hooks = hooks;
        let ruled = ruled?;
        for ((arm, look), newest) in self.arms.iter_mut().zip(looks).zip(&ruled.newest) {
            if let Some(newest) = newest {
                arm.horizons[place].note(look.snapshot.xmin(), *newest);
            }
        }
        let (keys, before) = (ruled.keys, sum(tally.rows));
        tally.report.keys += keys;
        *tally.oldest = [*tally.oldest, ruled.oldest].into_iter().flatten().min();
        let written: Vec<bool> = ruled.record.iter().map(|spool| spool.rows > 0).collect();
        let care = self.is_careful.then_some(place);
        if let Err(Refusal { error, told }) = spread::table(self, &goat, looks, ruled, tally.rows, care).await {
            if let Some(told) = told {
                self.is_open(told);
            }
            return Err(error);
        }
        self.wake(place, &written).await?;
        if let Some(goat) = self.sync.tables().nth(place) {
            let now = sum(tally.rows);
            let (deletes, inserts) = (now.deletes - before.deletes, now.inserts - before.inserts);
            tally.report.goats.push(GoatCounts { goat: goat.id, keys, deletes, inserts });
        }
        self.kept.goats[place] = Some(goat);
        Ok(Ok(()))
    }

    /// Merges a table among some of the arms, by where they have stopped with it. `news`: of all arms; `None`: since then.
    async fn part(
        &mut self,
        place: usize,
        takers: Vec<usize>,
        looks: &[&Look],
        news: Option<&[&News]>,
        tally: &mut Tally,
    ) -> Result<Result<(), String>, RoundError> {
        if takers.is_empty() {
            return Ok(Ok(()));
        }
        let looks: Vec<&Look> = takers.iter().map(|arm| looks[*arm]).collect();
        let arms = self.arms.iter_mut().enumerate().filter(|(arm, _)| takers.contains(arm));
        let mut part = Merge {
            sync: self.sync,
            names: self.names,
            arms: arms.map(|(_, arm)| &mut **arm).collect(),
            muted: self.muted,
            has_second: self.has_second,
            kept: &mut *self.kept,
            asides: &mut *self.asides,
            is_asked: self.is_asked,
            watch: self.watch,
            hooks: self.hooks.as_deref_mut(),
            cautions: &mut *self.cautions,
            is_careful: false,
            coded: self.coded,
        };
        let readers = part.readers(&looks, Some(place))?;
        let own: Vec<News>;
        let news: Vec<&News> = match news {
            Some(news) => takers.iter().map(|arm| news[*arm]).collect(),
            None => {
                let name = &part.sync.name;
                let asked = part.arms.iter().zip(&readers).map(|(arm, it)| arm.news_of(name, place, &it.common));
                own = try_join_all(asked).await?;
                own.iter().collect()
            }
        };
        let mut rows = vec![Rows::default(); takers.len()];
        let mut share = Share { rows: &mut rows, ..tally.all() };
        let merged = part.table(place, (&readers, &looks, &news), &mut share).await?;
        self.has_second = part.has_second;
        for (arm, it) in takers.iter().zip(rows) {
            tally.rows[*arm].deletes += it.deletes;
            tally.rows[*arm].inserts += it.inserts;
            tally.rows[*arm].conflicts += it.conflicts;
        }
        Ok(merged)
    }

    /// Whether other syncs at each source shall see what is written to a table there (`makedelta`).
    pub(super) fn shared(&self, place: usize) -> Vec<bool> {
        let goat = self.sync.tables().nth(place);
        let shared = |arm: &&mut Arm| goat.is_some_and(|goat| self.sync.makes_delta(goat, &arm.site.db));
        self.arms.iter().map(shared).collect()
    }

    /// Wakes the other syncs that shall see what was written to a table, when that commits.
    async fn wake(&self, place: usize, written: &[bool]) -> Result<(), RoundError> {
        let shared = self.shared(place);
        let arms = self.arms.iter().zip(shared.iter().zip(written));
        let told = arms.filter(|(arm, (shared, written))| **shared && **written && self.muted & arm.bit() == 0);
        let readers = told.filter_map(|(arm, _)| Some((&arm.site, arm.tables.get(place)?.captured)));
        let waking = readers.map(|(site, captured)| onward::wake_readers(site, &self.sync.name, captured));
        try_join_all(waking).await.map(drop)
    }

    /// Opens the session where logs meet, for keys that only a server can compare: at the first of the sources that
    /// merge the table.
    async fn open_scratch(&mut self, goat: &Goat) -> Result<(), RoundError> {
        let db = &self.arms[0].site.db;
        if goat.order != Order::Ranks || self.kept.scratch.as_ref().is_some_and(|scratch| scratch.db == *db) {
            return Ok(());
        }
        let name = format!("bucardo KID {} merge", self.sync.name);
        self.kept.scratch = Some(Site::of(self.sync, db, &name).await?);
        Ok(())
    }

    /// Sources that wait for a whole copy of the first one (`onetimecopy`).
    fn uncopied(&self, looks: &[Look]) -> Vec<DbName> {
        let Some(first) = self.names.first().map(|name| DbName::from(name.as_str())) else { return Vec::new() };
        let others = self.arms.iter().zip(looks).filter(|(arm, _)| arm.site.db != first);
        let waiting = others.filter(|(_, look)| {
            let answered = look.held.get(&first).map_or(0, |held| held.copy_request);
            answered < 0 || self.sync.onetimecopy > 0 && answered < self.sync.copy_request
        });
        waiting.map(|(arm, _)| arm.site.db.clone()).collect()
    }

    /// How the others have read each source; or a table there.
    fn readers(&self, looks: &[&Look], table: Option<usize>) -> Result<Vec<Readers>, RoundError> {
        let position = |reader: &Arm, look: &Look, db: &DbName| {
            if let Some(stopped) = table.and_then(|table| self.stopped(table, look, db)) {
                return Ok(stopped.clone());
            }
            Ok(look.held.get(db).ok_or_else(|| self.no_position(reader))?.position.clone())
        };
        let one = |(place, arm): (usize, &&mut Arm)| {
            let db = &arm.site.db;
            let others = self.arms.iter().zip(looks).enumerate().filter(|(other, _)| *other != place);
            let positions = others.map(|(_, (reader, look))| Ok((reader.bit(), position(reader, look, db)?)));
            let positions = positions.collect::<Result<Vec<_>, RoundError>>()?;
            let settled = position(arm, looks[place], db)?;
            Readers::new(arm.place, positions, settled, looks[place].txid).ok_or_else(|| self.no_position(arm))
        };
        self.arms.iter().enumerate().map(one).collect()
    }

    /// The arms in the order in which they commit, but for those that are only read. Where codes have made changes that
    /// others get, they come first: if they did not commit, the others would have what nobody had, and codes would make it
    /// once more.
    pub(super) fn committing(&self) -> Vec<usize> {
        let mut order: Vec<usize> =
            (0..self.arms.len()).filter(|arm| self.muted & self.arms[*arm].bit() == 0).collect();
        order.sort_by_key(|arm| self.coded & self.arms[*arm].bit() == 0);
        order
    }

    pub(super) fn no_position(&self, arm: &Arm) -> RoundError {
        RoundError::NoPosition { sync: self.sync.name.to_string(), db: arm.site.db.clone() }
    }

    /// Whether the table is at every source what its statements were made for. Its lock is held from here on.
    async fn is_current(&self, goat: &Goat) -> Result<bool, RoundError> {
        let looked = self.arms.iter().zip(&goat.at).map(|(arm, at)| async move {
            let failed = arm.site.failed(format!("reading the definition of table \"{}\"", goat.label));
            let row = arm.site.conn.query_one(&at.definition, &[]).await.map_err(failed)?;
            let is_same = row.get::<_, Option<&str>>("signature") == Some(at.signature.as_str());
            Ok::<_, RoundError>(is_same && !row.get::<_, bool>("moved"))
        });
        Ok(try_join_all(looked).await?.into_iter().all(|same| same))
    }
}

/// The tables that changed at some source, in order.
pub(super) fn places(arms: &[&mut Arm], news: &[News]) -> BTreeSet<usize> {
    let mut places = BTreeSet::new();
    for (arm, news) in arms.iter().zip(news) {
        places.extend(news.tables.keys());
        let is_truncated = |captured: i32| news.truncated.iter().any(|it| it.captured == captured);
        places.extend(arm.tables.iter().enumerate().filter(|(_, it)| is_truncated(it.captured)).map(|(at, _)| at));
    }
    places
}

fn lag(oldest: i64, looks: &[Look]) -> std::time::Duration {
    let look = &looks[0];
    let age = look.now.timestamp_micros() - oldest;
    TimeDelta::microseconds(age).to_std().unwrap_or_default() + look.at.elapsed()
}
