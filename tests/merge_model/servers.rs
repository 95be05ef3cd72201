//! Servers as PostgreSQL runs them: transactions that overlap, snapshots, row locks, skewed clocks.

use std::collections::BTreeSet;

use bucardo::engine::merge::version::Version;

use super::dice::Dice;
use super::world::AGE_MAX;

pub(super) const KEYS: usize = 3;

/// A row's content: the number of the write that made it, or none.
pub(super) type Row = Option<usize>;

/// The writes of a key that a row state came after, and the one that it is.
pub(super) type Past = BTreeSet<usize>;

/// What is committed in the eyes of a transaction.
#[derive(Clone, Debug, Default)]
pub(super) struct Snapshot {
    xmax: u64,
    running: BTreeSet<u64>,
}

impl Snapshot {
    pub(super) fn sees(&self, txid: u64) -> bool {
        txid < self.xmax && !self.running.contains(&txid)
    }

    /// The same, without what began from `txid` on.
    pub(super) fn below(&self, txid: u64) -> Self {
        let xmax = self.xmax.min(txid);
        Self { xmax, running: self.running.iter().copied().filter(|running| *running < xmax).collect() }
    }

    pub(super) fn end(&self) -> u64 {
        self.xmax
    }

    /// As a position: what the transaction `own` wrote counts as seen, too.
    pub(super) fn with(&self, own: u64) -> Self {
        let mut with = self.clone();
        with.running.extend(with.xmax..own);
        with.running.remove(&own);
        with.xmax = with.xmax.max(own + 1);
        with
    }
}

/// A row of a delta table.
#[derive(Clone, Debug)]
pub(super) struct Delta {
    pub(super) key: usize,
    pub(super) txid: u64,
    pub(super) time: i64,
    pub(super) origin: Option<Version>,
}

/// A transaction of a client.
pub(super) struct Txn {
    pub(super) txid: u64,
    pub(super) began: i64,
    writes: Vec<(usize, Row, Past)>,
    pub(super) truncates: bool,
}

/// A source.
#[derive(Default)]
pub(super) struct Server {
    pub(super) rows: [Row; KEYS],
    /// Who wrote each row last. A truncate is nobody: no snapshot misses it.
    pub(super) writer: [Option<u64>; KEYS],
    /// The last truncate: who has an older snapshot finds the table empty.
    pub(super) truncated: Option<u64>,
    pub(super) past: [Past; KEYS],
    /// Writes of clients that took effect here.
    pub(super) committed: Past,
    pub(super) log: Vec<Delta>,
    pub(super) active: Vec<Txn>,
    pub(super) next: u64,
    pub(super) skew: i64,
    /// The merge under way here.
    pub(super) merging: Option<u64>,
    /// Keys that it has written.
    pub(super) locked: BTreeSet<usize>,
    /// It has read the table: truncates wait.
    pub(super) is_touched: bool,
    /// How far this database has read each source; itself: what the last merge here saw.
    pub(super) read: Vec<Snapshot>,
    /// What this source has heard of how far the others have read it: sources, then targets.
    pub(super) track: Vec<Snapshot>,
}

/// All writes: the key of each, whether it deleted, what came before it.
#[derive(Default)]
pub(super) struct History {
    pub(super) writes: Vec<(usize, bool, Past)>,
}

impl Server {
    pub(super) fn snapshot(&self) -> Snapshot {
        let running = self.active.iter().map(|txn| txn.txid).chain(self.merging);
        Snapshot { xmax: self.next, running: running.collect() }
    }

    pub(super) fn txid(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    /// A client does something: begins with a write, writes on, truncates, commits, rolls back.
    pub(super) fn stir(&mut self, dice: &mut Dice, now: i64, keys: &[usize], history: &mut History) {
        let choice = dice.below(100);
        if choice < 45 || self.active.is_empty() {
            let is_long = dice.percent(20);
            let age = if is_long { dice.between(0, AGE_MAX) } else { 0 };
            let mut txn = Txn { txid: self.txid(), began: now + self.skew - age, writes: Vec::new(), truncates: false };
            let is_quiet = self.active.is_empty() && self.locked.is_empty() && !self.is_touched;
            if is_quiet && keys.len() == KEYS && dice.percent(10) {
                txn.truncates = true;
                keys.iter().for_each(|key| self.put(&mut txn, *key, true, history));
            } else {
                self.write(&mut txn, dice, keys, history);
            }
            self.active.push(txn);
            if dice.percent(70) {
                self.end(self.active.len() - 1, true);
            }
        } else if choice < 60 {
            let mut txn = self.active.swap_remove(dice.below(self.active.len()));
            self.write(&mut txn, dice, keys, history);
            self.active.push(txn);
        } else {
            self.end(dice.below(self.active.len()), dice.percent(85));
        }
    }

    fn write(&self, txn: &mut Txn, dice: &mut Dice, keys: &[usize], history: &mut History) {
        let key = keys[dice.below(keys.len())];
        let is_own = txn.writes.iter().any(|(it, ..)| *it == key);
        if is_own || !self.locked.contains(&key) && self.writer_in_flight(key).is_none() {
            self.put(txn, key, dice.percent(25), history);
        }
    }

    fn put(&self, txn: &mut Txn, key: usize, deletes: bool, history: &mut History) {
        let own = txn.writes.iter().rev().find(|(it, ..)| *it == key);
        let mut past = own.map_or(&self.past[key], |(_, _, past)| past).clone();
        let write = history.writes.len();
        history.writes.push((key, deletes, past.clone()));
        past.insert(write);
        txn.writes.push((key, (!deletes).then_some(write), past));
    }

    /// Ends a transaction in flight.
    pub(super) fn end(&mut self, place: usize, commits: bool) {
        let txn = self.active.swap_remove(place);
        if !commits {
            return;
        }
        if txn.truncates {
            self.truncated = Some(txn.txid);
        }
        for (key, row, past) in txn.writes {
            self.rows[key] = row;
            self.committed.extend(&past);
            self.past[key] = past;
            self.writer[key] = (!txn.truncates).then_some(txn.txid);
            self.log.push(Delta { key, txid: txn.txid, time: txn.began, origin: None });
        }
    }

    pub(super) fn end_all(&mut self) {
        while !self.active.is_empty() {
            self.end(0, true);
        }
    }

    /// The place of a transaction in flight that has written `key`.
    pub(super) fn writer_in_flight(&self, key: usize) -> Option<usize> {
        self.active.iter().position(|txn| txn.writes.iter().any(|(it, ..)| *it == key))
    }
}
