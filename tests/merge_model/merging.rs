//! Merges as the engine does them: snapshots, rulings, writes under locks, commits one after another.

use std::collections::BTreeMap;

use bucardo::engine::merge::decide::{Entry, Fresh, Ruling, Take, Terms, decide, replace};
use bucardo::engine::merge::strategy::Strategy;

use super::servers::{Delta, KEYS, Past, Row, Server, Snapshot};
use super::world::{Cut, World};

/// What a merge has in hand of one source.
struct Part {
    place: usize,
    snapshot: Snapshot,
    rows: [Row; KEYS],
    past: [Past; KEYS],
    /// Its positions.
    read: Vec<Snapshot>,
    log: Vec<Delta>,
    /// The merge's own transaction there.
    own: u64,
    /// What others will have read.
    upto: Snapshot,
}

/// What a merge does with the keys that have news, and the rows that custom code made.
#[derive(Default)]
struct Rulings {
    takes: Vec<(usize, Take)>,
    made: BTreeMap<usize, (Row, Past)>,
}

impl Rulings {
    /// The row that everybody gets, and what it came after.
    fn winner<'a>(&'a self, parts: &'a [Part], key: usize, take: &Take) -> (Row, &'a Past) {
        if let Some((row, past)) = self.made.get(&key) {
            return (*row, past);
        }
        let part = parts.iter().find(|part| part.place == usize::from(take.winner)).unwrap();
        (part.rows[key], &part.past[key])
    }
}

fn bit(place: usize) -> u64 {
    1 << place
}

fn place(place: usize) -> u16 {
    u16::try_from(place).unwrap()
}

impl World {
    /// A merge among `up`, of which each loses its commit in so many of a hundred cases. Returns whether anything was
    /// written.
    pub(super) fn merge(&mut self, up: &[usize], lost: usize) -> bool {
        let mut parts: Vec<Part> = Vec::new();
        for place in up {
            let mut part = self.servers[*place].open(*place, self.dice.percent(50));
            if self.plan.cuts.is_some() && !self.is_at_rest {
                let cut = self.dice.between(0, i64::try_from(part.snapshot.end()).unwrap());
                part.upto = part.snapshot.below(cut.unsigned_abs());
            }
            parts.push(part);
            self.stir();
        }
        for part in &mut parts {
            let server = &mut self.servers[part.place];
            server.finish_truncates(&mut self.dice);
            server.is_touched = true;
            if server.truncated.is_some_and(|txid| !part.snapshot.sees(txid)) {
                part.rows = [None; KEYS];
            }
        }
        let rulings = self.rule(&parts);
        self.stir();
        let mut order: Vec<usize> = (0..parts.len()).collect();
        for end in (1..order.len()).rev() {
            order.swap(end, self.dice.below(end + 1));
        }
        let mut ready = Vec::new();
        for part in order {
            if self.write(&parts, part, &rulings) {
                ready.push(part);
            } else {
                self.servers[parts[part].place].close();
            }
            self.stir();
        }
        let (mut wrote, mut committed) = (false, 0);
        for part in ready {
            if !self.dice.percent(lost) {
                wrote |= self.commit(&parts, part, &rulings);
                committed |= bit(parts[part].place);
            }
            self.servers[parts[part].place].close();
            self.stir();
        }
        let is_counted = |take: &Take| take.rivals != 0 && (take.write | take.record) & committed != 0;
        self.conflicts += rulings.takes.iter().filter(|(_, take)| is_counted(take)).count();
        for (reader, source) in up.iter().flat_map(|reader| up.iter().map(move |source| (*reader, *source))) {
            if reader != source && self.dice.percent(70) {
                self.servers[source].track[reader] = self.servers[reader].read[source].clone();
            }
        }
        wrote
    }

    fn rule(&mut self, parts: &[Part]) -> Rulings {
        let now = self.now + self.dice.between(-self.plan.skew, self.plan.skew);
        let up = parts.iter().fold(0, |bits, part| bits | bit(part.place));
        let leader = parts.iter().max_by_key(|part| part.newest()).map(|part| place(part.place));
        let terms = Terms { up, strategy: &self.plan.strategy, now, leader };
        let floor = parts.iter().filter_map(|part| part.oldest(parts)).min().unwrap_or(i64::MIN);
        let mut rulings = Rulings::default();
        for key in (0..KEYS).filter(|key| parts.iter().any(|part| part.brings(*key, parts))) {
            let entries = parts.iter().map(|part| (place(part.place), part.entry(key, parts)));
            let present: Vec<(u16, Entry)> = entries.filter(|(_, entry)| entry.unread_by != 0).collect();
            let ruling = decide(&present, &terms, &[u8::try_from(key).unwrap()]);
            // A merge does not read what is too old to count.
            let entries = parts.iter().map(|part| (place(part.place), part.entry_since(key, parts, floor)));
            let recent: Vec<(u16, Entry)> = entries.filter(|(_, entry)| entry.unread_by != 0).collect();
            assert_eq!(decide(&recent, &terms, &[u8::try_from(key).unwrap()]), ruling, "{present:?}");
            match ruling {
                None => {}
                Some(Ruling::Take(take)) => rulings.takes.push((key, take)),
                Some(Ruling::Abort { rivals }) => {
                    assert_eq!(self.plan.strategy, Strategy::Custom, "nothing else aborts here");
                    // A row of its own that has all that the rivals have, or a deletion.
                    let rivals_past = parts.iter().filter(|part| rivals & bit(part.place) != 0);
                    let mut past: Past = rivals_past.flat_map(|part| part.past[key].iter().copied()).collect();
                    let (write, deletes) = (self.history.writes.len(), self.dice.percent(25));
                    self.history.writes.push((key, deletes, past.clone()));
                    past.insert(write);
                    let take = replace(&present, rivals, &terms, &write.to_be_bytes()).unwrap();
                    rulings.takes.push((key, take));
                    rulings.made.insert(key, ((!deletes).then_some(write), past));
                }
            }
        }
        rulings
    }

    /// Writes at one source, under locks. False when the server refuses.
    fn write(&mut self, parts: &[Part], part: usize, rulings: &Rulings) -> bool {
        let part = &parts[part];
        let server = &mut self.servers[part.place];
        for (key, take) in rulings.takes.iter().filter(|(_, take)| take.write & bit(part.place) != 0) {
            let (before, row) = (part.rows[*key], rulings.winner(parts, *key, take).0);
            if before.is_none() && row.is_none() {
                if self.plan.strategy == Strategy::Custom {
                    // Whoever inserts it meanwhile does not see what is gone.
                    self.overtaken.insert(*key);
                }
                continue;
            }
            // It waits for whoever has the row.
            while let Some(writer) = server.writer_in_flight(*key) {
                let commits = self.dice.percent(60);
                server.end(writer, commits);
            }
            if server.log.iter().any(|delta| delta.key == *key && !part.snapshot.sees(delta.txid)) {
                // With 40001, or with a unique violation.
                if server.writer[*key].is_some_and(|txid| !part.snapshot.sees(txid))
                    && (before.is_some() || server.rows[*key].is_some())
                {
                    return false;
                }
                // Written and gone again, or truncated.
                self.overtaken.insert(*key);
            }
            server.locked.insert(*key);
        }
        true
    }

    /// Commits at one source. Returns whether there was anything to.
    fn commit(&mut self, parts: &[Part], part: usize, rulings: &Rulings) -> bool {
        let part = &parts[part];
        let server = &mut self.servers[part.place];
        let mut wrote = false;
        let is_for_it = |take: &Take| (take.write | take.record) & bit(part.place) != 0;
        for (key, take) in rulings.takes.iter().filter(|(_, take)| is_for_it(take)) {
            wrote = true;
            if take.write & bit(part.place) != 0 {
                let (row, past) = rulings.winner(parts, *key, take);
                if server.locked.contains(key) {
                    server.rows[*key] = row;
                    server.writer[*key] = Some(part.own);
                    if self.plan.strategy == Strategy::Custom {
                        // Nothing is lost in a conflict, so whatever the row lacks is lost.
                        server.past[*key].clear();
                    }
                }
                server.past[*key].extend(past);
            }
            let (time, origin) = (take.version.time, Some(take.version));
            server.log.push(Delta { key: *key, txid: part.own, time, origin });
        }
        for other in parts {
            let is_seen = self.plan.cuts == Some(Cut::Seen) && other.place == part.place;
            let read = if is_seen { &other.snapshot } else { &other.upto };
            server.read[other.place] = read.with(other.own);
        }
        wrote
    }
}

impl Part {
    fn newest(&self) -> Option<i64> {
        self.log.iter().map(|delta| delta.time).max()
    }

    /// Whether a change of the key that somebody has not read is in the part that is taken.
    fn brings(&self, key: usize, parts: &[Self]) -> bool {
        self.log
            .iter()
            .filter(|delta| delta.key == key && self.upto.sees(delta.txid))
            .any(|delta| parts.iter().any(|it| it.place != self.place && !it.read[self.place].sees(delta.txid)))
    }

    /// When the oldest change of any key was made that somebody has not read, or this source has not settled.
    fn oldest(&self, parts: &[Self]) -> Option<i64> {
        let is_unread = |delta: &&Delta| parts.iter().any(|it| !it.read[self.place].sees(delta.txid));
        self.log.iter().filter(is_unread).map(|delta| delta.time).min()
    }

    fn entry(&self, key: usize, parts: &[Self]) -> Entry {
        self.entry_since(key, parts, i64::MIN)
    }

    /// The same, without changes that are older than `floor`.
    fn entry_since(&self, key: usize, parts: &[Self], floor: i64) -> Entry {
        let mut entry = Entry::default();
        for delta in self.log.iter().filter(|delta| delta.key == key && delta.time >= floor) {
            for reader in parts.iter().filter(|it| it.place != self.place) {
                if !reader.read[self.place].sees(delta.txid) {
                    entry.unread_by |= bit(reader.place);
                }
            }
            match delta.origin {
                Some(version) => entry.recorded.push(version),
                None if self.read[self.place].sees(delta.txid) => entry.settled = entry.settled.max(Some(delta.time)),
                None => {
                    let fresh = entry.fresh.get_or_insert(Fresh { count: 0, newest: i64::MIN });
                    fresh.count += 1;
                    fresh.newest = fresh.newest.max(delta.time);
                }
            }
        }
        entry
    }
}

impl Server {
    /// Begins a merge's transaction; its first write comes before its snapshot, or after.
    fn open(&mut self, place: usize, is_early: bool) -> Part {
        let early = is_early.then(|| self.txid());
        self.merging = early;
        let snapshot = self.snapshot();
        let own = early.unwrap_or_else(|| self.txid());
        self.merging = Some(own);
        Part {
            place,
            rows: self.rows,
            past: self.past.clone(),
            read: self.read.clone(),
            log: self.log.iter().filter(|delta| snapshot.sees(delta.txid)).cloned().collect(),
            upto: snapshot.clone(),
            snapshot,
            own,
        }
    }

    /// Ends the truncates in flight: the merge waits for them before it reads the table.
    fn finish_truncates(&mut self, dice: &mut super::dice::Dice) {
        while let Some(place) = self.active.iter().position(|txn| txn.truncates) {
            self.end(place, dice.percent(70));
        }
    }

    fn close(&mut self) {
        self.locked.clear();
        self.is_touched = false;
        self.merging = None;
    }
}
