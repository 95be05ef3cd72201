//! Reads what the logs of all sources hold of the keys of one table, and rules on each.

use std::io;

use bytes::Bytes;
use futures_util::future::try_join_all;

use super::arm::{FEW, Look, News, Unread};
use super::conflict::{By, Clash, RIVAL, describe};
use super::decide::{Entry, Ruling, Take, Terms, decide, prefer_captured};
use super::dispute::{Disputes, Waiting};
use super::extent::{Extent, log, meet};
use super::goat::{Goat, Order};
use super::log::{Change, Keys, Names, Readers, Roads, Stream, note, passed};
use super::round::Merge;
use super::spool::{Escaped, Spool};
use super::strategy::Strategy;
use super::version::{Origin, Version, timestamp};
use crate::engine::error::RoundError;
use crate::engine::hooks::Hooks;

/// Of so many conflicts that would stop the merge it is seen whether the rows differ at all. More are a matter for somebody.
const COMPARED_MAX: u64 = 1000;

/// The rulings on a table. Lists are in the order of the arms.
pub(super) struct Ruled {
    /// Keys whose row at each source makes room for that of another.
    pub(super) take: Vec<Spool>,
    /// Versions that each source gets: all keys of `take`, and those whose row stays.
    pub(super) record: Vec<Spool>,
    /// Keys whose row others get from each source.
    pub(super) give: Vec<Spool>,
    /// Rows that custom code made.
    pub(super) made: Vec<Spool>,
    /// Conflicts; the same for all, but that only the first source is told what is known of each.
    pub(super) clash: Vec<Spool>,
    pub(super) keys: u64,
    pub(super) conflicts: u64,
    /// When the oldest change was made, in microseconds since 1970.
    pub(super) oldest: Option<i64>,
    /// How new the rows of each source's log are at most, as far as the snapshot shows them and it is known.
    pub(super) newest: Vec<Option<i64>>,
    /// Conflicts decided by times that are closer to each other than the clocks.
    pub(super) uncertain: u64,
    /// Of the version that was recorded last.
    stamp: Option<Stamp>,
}

/// A version as delta tables get it, behind the key.
struct Stamp {
    version: Version,
    /// The databases that it has been to besides.
    passed: String,
    own: Vec<u8>,
    /// Where other syncs shall see it.
    shared: Vec<u8>,
}

impl Stamp {
    /// `now`: the time of a version that has none.
    fn new(names: &Names<'_>, version: Version, passed: String, now: i64) -> Self {
        let db = names.name(version.db);
        let time = if version.is_before() { now } else { version.time };
        let text = |is_shared| {
            let origin = Origin { sync: names.sync, db, passed: &passed, serial: version.serial, is_shared };
            format!("\t{}\t{}", timestamp(time), Escaped(&origin.to_string())).into_bytes()
        };
        let (own, shared) = (text(false), text(true));
        Self { version, passed, own, shared }
    }
}

impl Ruled {
    fn new(arms: usize) -> Self {
        let spools = || (0..arms).map(|_| Spool::new()).collect();
        Self {
            take: spools(),
            record: spools(),
            give: spools(),
            made: spools(),
            clash: spools(),
            keys: 0,
            conflicts: 0,
            oldest: None,
            newest: vec![None; arms],
            uncertain: 0,
            stamp: None,
        }
    }
}

/// What is the same for all keys of a table.
pub(super) struct Bench<'a> {
    pub(super) merge: &'a Merge<'a>,
    pub(super) goat: &'a Goat,
    /// Of the table, among those of the sync.
    pub(super) place: usize,
    readers: &'a [Readers],
    looks: &'a [&'a Look],
    names: Names<'a>,
    pub(super) terms: Terms<'a>,
    /// Each source's truncations of the table, which are changes of every key.
    truncations: Vec<Vec<Change>>,
    /// Whether other syncs at each source shall see what is written there.
    shared: Vec<bool>,
    /// Conflicts are decided by codes.
    has_codes: bool,
}

/// Rules on every key of a table that somebody has not read. `hooks`: they decide its conflicts.
pub(super) async fn table(
    merge: &Merge<'_>,
    goat: &Goat,
    place: usize,
    (readers, looks, news): (&[Readers], &[&Look], &[&News]),
    strategy: &Strategy,
    leader: Option<u16>,
    hooks: Option<&mut Hooks>,
) -> Result<Ruled, RoundError> {
    let truncations: Vec<Vec<Change>> =
        goat.at.iter().zip(news).map(|(at, news)| truncations(at.captured, news)).collect();
    let is_whole = truncations.iter().any(|it| !it.is_empty());
    let changed = (0..merge.arms.len()).filter(|arm| is_whole || news[*arm].tables.contains_key(&place));
    let changed: Vec<usize> = changed.collect();
    let up = merge.arms.iter().fold(0, |bits, arm| bits | arm.bit());
    let now = looks.iter().map(|look| look.now.timestamp_micros()).max().unwrap_or_default();
    let bench = Bench {
        merge,
        goat,
        place,
        readers,
        looks,
        names: Names { sync: merge.sync.name.as_str(), sources: merge.names },
        terms: Terms { up, strategy, now, leader },
        truncations,
        shared: merge.shared(place),
        has_codes: hooks.is_some(),
    };
    // Equality by text needs one order at every source; any other needs one server that knows it.
    let meeting = merge.kept.scratch.as_ref().filter(|_| goat.order == Order::Ranks && changed.len() > 1);
    let extents = changed.iter().map(|arm| {
        let unread = news[*arm].tables.get(&place).copied().unwrap_or_default();
        let extent = if is_whole { Extent::Whole } else { Extent::of(unread) };
        (*arm, extent)
    });
    let mut extents: Vec<(usize, Extent)> = extents.collect();
    let is_bounded = extents.iter().any(|(_, extent)| matches!(extent, Extent::Recent | Extent::Vast));
    let unread = |arm: usize| news[arm].tables.get(&place).copied();
    let floor = if is_bounded { bench.floor(&changed, unread).await? } else { None };
    for (arm, extent) in &mut extents {
        let known = floor.and_then(|floor| merge.arms[*arm].horizons[place].before(floor));
        if let (Extent::Recent | Extent::Vast, Some(txid)) = (*extent, known) {
            *extent = Extent::Since(txid);
        }
    }
    // The first sessions are free to take versions while the second ones read.
    let is_large = extents.iter().all(|(_, extent)| !matches!(extent, Extent::Many | Extent::Whole));
    // Before a conflict stops the merge, its rows are compared.
    let waits = hooks.is_some() || matches!(strategy, Strategy::Abort | Strategy::Custom);
    // Versions of refused rows are to be told apart.
    let is_second = merge.has_second && is_large && meeting.is_none() && !waits && !merge.is_careful;
    let streams = try_join_all(extents.iter().map(|(arm, extent)| async {
        let extent = *extent;
        let second = bench.merge.arms[*arm].second.as_ref().filter(|_| is_second);
        let site = second.unwrap_or(&bench.merge.arms[*arm].site);
        let planning = async {
            let Some(plan) = extent.plan(floor, second.map(|_| &bench.readers[*arm].common)) else { return Ok(()) };
            site.run("planning to read a large delta table", &plan).await
        };
        // Asked at once, answered one after the other.
        let reading = log(site, goat, *arm, extent, (meeting.is_some(), second.is_some()));
        let (planned, rows) = tokio::join!(planning, reading);
        planned?;
        Ok::<_, RoundError>((bench.merge.arms[*arm].place, rows?))
    }));
    let streams = streams.await?;
    let mut keys = match meeting {
        Some(scratch) => {
            let rows = meet(scratch, goat, streams.into_iter().map(|(_, rows)| rows).collect()).await?;
            Keys::new(vec![Stream::new(rows, None)], Order::Ranks)
        }
        None => {
            let streams = streams.into_iter().map(|(place, rows)| Stream::new(rows, Some(place)));
            Keys::new(streams.collect(), goat.order)
        }
    };
    let mut ruled = Ruled::new(merge.arms.len());
    if is_second {
        ruled.record = bench.take_versions().await?;
    }
    let mut disputes = waits.then(Disputes::new);
    let mut ruled = bench.rule(&mut keys, ruled, disputes.as_mut()).await?;
    // What was not read of these is older.
    for (arm, extent) in extents {
        let known = match extent {
            Extent::Since(_) | Extent::Recent => ruled.newest[arm].max(floor),
            Extent::Many | Extent::Whole => ruled.newest[arm],
            Extent::Vast => None,
        };
        ruled.newest[arm] = known;
    }
    if let Some(scratch) = meeting {
        drop(keys);
        scratch.run("ending the comparison of keys", "COMMIT").await?;
    }
    match (disputes, hooks) {
        (Some(disputes), Some(hooks)) => bench.settle(&mut ruled, disputes, hooks).await?,
        (Some(disputes), None) => bench.compare(&mut ruled, disputes).await?,
        (None, _) => {}
    }
    Ok(ruled)
}

fn truncations(captured: i32, news: &News) -> Vec<Change> {
    let events = news.truncated.iter().filter(|it| it.captured == captured);
    events
        .map(|it| Change {
            txid: it.txid,
            micros: it.micros,
            origin: it.origin.as_ref().map(|origin| Bytes::copy_from_slice(origin.as_bytes())),
        })
        .collect()
}

impl Bench<'_> {
    /// The time before which a change counts for nothing: every source has settled it and all others have read it, and
    /// the oldest that is not so is newer. A source rules with a version that is no older than an unread change of its
    /// own, so whatever is older neither is such a version nor has one. `None`: there is no such bound.
    async fn floor(
        &self,
        changed: &[usize],
        unread: impl Fn(usize) -> Option<Unread>,
    ) -> Result<Option<i64>, RoundError> {
        // A change that all have read, but that the source has not settled, makes its version like an unread one.
        if !changed.iter().all(|arm| self.readers[*arm].settled.covers(&self.readers[*arm].common)) {
            return Ok(None);
        }
        let unread = &unread;
        let oldest = try_join_all(changed.iter().map(|arm| async move {
            if let Some(Unread { changes: ..=FEW, oldest: Some(oldest), .. }) = unread(*arm) {
                return Ok(Some(oldest));
            }
            let site = &self.merge.arms[*arm].site;
            let row = site.conn.query_one(&self.goat.at[*arm].logs.oldest, &[]).await;
            let row =
                row.map_err(site.failed(format!("looking for the oldest change of table \"{}\"", self.goat.label)))?;
            Ok::<_, RoundError>(row.get::<_, Option<i64>>("oldest"))
        }));
        Ok(oldest.await?.into_iter().flatten().min())
    }

    fn recording(&self) -> String {
        format!("recording versions of table \"{}\"", self.goat.label)
    }

    /// Has the sources take versions as they are ruled on.
    async fn take_versions(&self) -> Result<Vec<Spool>, RoundError> {
        let what = self.recording();
        let spools = self.merge.arms.iter().zip(&self.goat.at).map(|(arm, at)| {
            let what = what.as_str();
            async move {
                if self.merge.muted & arm.bit() != 0 {
                    return Ok(Spool::new());
                }
                Spool::sending(&arm.site, what, &at.record_in).await
            }
        });
        try_join_all(spools).await
    }

    /// `disputes`: where conflicts wait for custom code, or for their rows to be compared.
    async fn rule(
        &self,
        keys: &mut Keys<'_>,
        mut ruled: Ruled,
        mut disputes: Option<&mut Disputes>,
    ) -> Result<Ruled, RoundError> {
        let recording = self.recording();
        let mut entries: Vec<Entry> = vec![Entry::default(); self.readers.len()];
        let mut present: Vec<(u16, Entry)> = Vec::with_capacity(entries.len());
        let mut roads = Roads::default();
        let mut newest = vec![None; entries.len()];
        // Nobody asks where a change has been unless other syncs see what is written.
        let keeps_roads = self.shared.contains(&true);
        loop {
            roads.clear();
            let see = |place: u16, change: Change| {
                let Some(arm) = self.readers.iter().position(|readers| readers.place == place) else { return };
                note(&mut entries[arm], &change, &self.readers[arm], &self.names);
                newest[arm] = newest[arm].max(Some(change.micros));
                if keeps_roads {
                    roads.add(change, &self.readers[arm], &self.names);
                }
            };
            if !keys.next(see).await? {
                break;
            }
            self.merge.watch.moved(1);
            present.clear();
            for ((entry, readers), truncations) in entries.iter_mut().zip(self.readers).zip(&self.truncations) {
                for change in truncations {
                    note(entry, change, readers, &self.names);
                }
                let entry = std::mem::take(entry);
                if entry.is_unread() {
                    present.push((readers.place, entry));
                }
            }
            prefer_captured(&mut present);
            let Some(ruling) = decide(&present, &self.terms, &keys.keys) else { continue };
            if let Ruling::Abort { rivals } = ruling
                && !self.has_codes
                && disputes.as_ref().is_none_or(|disputes| disputes.count >= COMPARED_MAX)
            {
                return Err(self.abort(rivals, &keys.keys, self.no_winner(), None));
            }
            if let Some(disputes) = disputes.as_mut().filter(|_| ruling.rivals() != 0) {
                let passed = match &ruling {
                    Ruling::Take(take) => self.passed(take, &roads),
                    Ruling::Abort { .. } => {
                        let take = self.latest(&present, &keys.keys);
                        take.map_or_else(String::new, |take| self.passed(&take, &roads))
                    }
                };
                disputes.put(&Waiting { keys: keys.keys.to_vec(), present: present.clone(), ruling, passed })?;
                continue;
            }
            match ruling {
                Ruling::Abort { rivals } => return Err(self.abort(rivals, &keys.keys, self.no_winner(), None)),
                Ruling::Take(take) => {
                    let by = By::Strategy(self.terms.strategy);
                    self.put(&mut ruled, &take, &present, &keys.keys, (self.passed(&take, &roads), by, None))?;
                    for (arm, spool) in self.merge.arms.iter().zip(&mut ruled.record) {
                        spool.pass_on(&arm.site, &recording).await?;
                    }
                }
            }
        }
        ruled.newest = newest;
        Ok(ruled)
    }

    /// Notes what each source does. `passed`: the databases that the row has been to besides; `by`: who decided; `made`: a
    /// row that nobody had before.
    pub(super) fn put(
        &self,
        ruled: &mut Ruled,
        take: &Take,
        present: &[(u16, Entry)],
        keys: &[u8],
        how: (String, By<'_>, Option<&str>),
    ) -> Result<(), RoundError> {
        let fresh = present.iter().filter_map(|(_, entry)| entry.fresh).map(|fresh| fresh.newest).min();
        ruled.oldest = [ruled.oldest, fresh].into_iter().flatten().min();
        self.note(ruled, take, present, keys, how).map_err(|source| RoundError::Spool { source })
    }

    fn note(
        &self,
        ruled: &mut Ruled,
        take: &Take,
        present: &[(u16, Entry)],
        keys: &[u8],
        (passed, by, made): (String, By<'_>, Option<&str>),
    ) -> io::Result<()> {
        ruled.keys += 1;
        let write = take.write & !self.merge.muted;
        let record = take.record & !self.merge.muted;
        let clash = (take.rivals != 0).then(|| {
            let clash = Clash { table: &self.goat.label, names: &self.names, take, present, keys };
            (clash.id(), Escaped(&describe(&clash, &by)).to_string())
        });
        if let Some((id, note)) = &clash {
            ruled.conflicts += 1;
            ruled.uncertain += u64::from(matches!(by, By::Strategy(_)) && self.is_uncertain(take, present));
            for (arm, (spool, readers)) in ruled.clash.iter_mut().zip(self.readers).enumerate() {
                let note = if arm == 0 { note.as_str() } else { "" };
                let rival = if take.rivals & (1 << readers.place) == 0 { "" } else { RIVAL };
                spool.put(keys, format!("\t{id}\t{rival}{note}").as_bytes())?;
            }
        }
        if write == 0 && record == 0 {
            return Ok(());
        }
        // The changes of a transaction have one version.
        let stamp = match ruled.stamp.take() {
            Some(stamp) if stamp.version == take.version && stamp.passed == passed => stamp,
            _ => Stamp::new(&self.names, take.version, passed, self.terms.now),
        };
        for (arm, readers) in self.readers.iter().enumerate() {
            let bit = 1 << readers.place;
            if write & bit != 0 {
                ruled.take[arm].put(keys, b"")?;
            }
            if (write | record) & bit != 0 {
                ruled.record[arm].put(keys, if self.shared[arm] { &stamp.shared } else { &stamp.own })?;
            }
            if let Some(made) = made.filter(|_| write & bit != 0) {
                ruled.made[arm].put(made.as_bytes(), b"")?;
            }
            if readers.place == take.winner && write != 0 {
                ruled.give[arm].put(keys, format!("\t{}", write.cast_signed()).as_bytes())?;
            }
        }
        ruled.stamp = Some(stamp);
        Ok(())
    }

    /// The databases that the winning state has been to on other syncs' roads; nobody asks unless other syncs see what
    /// is written. A decision is a new change of its own, and so is a truncate.
    fn passed(&self, take: &Take, roads: &Roads) -> String {
        let winner = self.readers.iter().position(|readers| readers.place == take.winner);
        let Some(winner) = winner.filter(|winner| self.truncations[*winner].is_empty()) else { return String::new() };
        if take.version.is_decision() || !self.shared.contains(&true) {
            return String::new();
        }
        passed(roads, take.version, &self.readers[winner], &self.names)
    }

    /// What becomes of a key whose rivals have the same row: they all have its newest version, without a conflict.
    pub(super) fn latest(&self, present: &[(u16, Entry)], keys: &[u8]) -> Option<Take> {
        match decide(present, &Terms { strategy: &Strategy::Latest, ..self.terms }, keys)? {
            Ruling::Take(take) => Some(Take { rivals: 0, ..take }),
            Ruling::Abort { .. } => None,
        }
    }

    /// Whether the clocks differ by more than the two newest changes.
    fn is_uncertain(&self, take: &Take, present: &[(u16, Entry)]) -> bool {
        if !matches!(self.terms.strategy, Strategy::Latest | Strategy::LatestAllTables) {
            return false;
        }
        let ahead = |place: u16| {
            let arm = self.readers.iter().position(|readers| readers.place == place);
            arm.map_or(0, |arm| self.looks[arm].ahead)
        };
        let rivals = present.iter().filter(|(place, _)| take.rivals & (1 << place) != 0);
        let versions = rivals.filter_map(|(place, entry)| Some((entry.version(*place)?, ahead(*place))));
        let times = versions.filter(|(version, _)| !version.is_before()).map(|(version, ahead)| (version.time, ahead));
        let mut times: Vec<(i64, i64)> = times.collect();
        times.sort_unstable();
        times.windows(2).last().is_some_and(|pair| (pair[1].0 - pair[0].0) < (pair[1].1 - pair[0].1).abs())
    }

    /// Why nobody wins a conflict.
    pub(super) fn no_winner(&self) -> String {
        match self.terms.strategy {
            Strategy::Custom => "the strategy is bucardo_custom, and no custom code decided".to_owned(),
            _ => "the strategy is to abort".to_owned(),
        }
    }

    /// A conflict that stops the sync; `code`: the custom code that wants it so.
    pub(super) fn abort(&self, rivals: u64, keys: &[u8], why: String, code: Option<&str>) -> RoundError {
        let dbs = self.merge.arms.iter().filter(|arm| rivals & arm.bit() != 0);
        let dbs: Vec<String> = dbs.map(|arm| format!("\"{}\"", arm.site.db)).collect();
        let values = String::from_utf8_lossy(keys).into_owned();
        let key = self.goat.key.iter().zip(values.split('\t'));
        let key: Vec<String> = key.map(|(column, value)| format!("{column}={value}")).collect();
        let table = self.goat.label.clone();
        let mut tables = self.merge.sync.tables();
        let is_of_table = tables.any(|goat| goat.label() == table && goat.conflict_strategy.is_some());
        let (key, dbs, code) = (key.join(", "), dbs.join(" and "), code.map(str::to_owned));
        RoundError::Conflict { table, key, dbs, why, is_of_table, code }
    }
}
