//! A sync among such servers, its targets and its purge; and what must be true of them.

use std::collections::BTreeSet;
use std::mem::replace;

use bucardo::engine::merge::strategy::Strategy;
use bucardo::engine::merge::version::Version;

use super::dice::Dice;
use super::servers::{Delta, History, KEYS, Row, Server, Snapshot};

/// Merges until nothing is left to do, at most.
const MERGES_MAX: usize = 6;
/// How long before their first write transactions may have begun.
pub(crate) const AGE_MAX: i64 = 40;

/// What kind of world it is.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) sources: usize,
    pub(crate) targets: usize,
    pub(crate) strategy: Strategy,
    /// How far each clock may be off.
    pub(crate) skew: i64,
    /// Each key is written at one source only.
    pub(crate) is_owned: bool,
    /// Merges take the transactions up to some point only.
    pub(crate) cuts: Option<Cut>,
}

/// What a merge that takes a part of a backlog notes as its source's own snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// The part.
    Part,
    /// All that it saw.
    Seen,
}

/// A pure target.
struct Target {
    rows: [Row; KEYS],
    /// How far it has read each source.
    read: Vec<Snapshot>,
    follows: usize,
}

/// A sync in a world.
pub(crate) struct World {
    pub(super) plan: Plan,
    pub(super) dice: Dice,
    pub(super) servers: Vec<Server>,
    targets: Vec<Target>,
    pub(super) now: i64,
    /// Nobody writes any more.
    pub(super) is_at_rest: bool,
    /// How often something happens between two steps of a merge, of a hundred.
    busy: usize,
    pub(super) history: History,
    /// Keys with a change that is over before the merge writes that did not see it.
    pub(super) overtaken: BTreeSet<usize>,
    pub(crate) conflicts: usize,
    /// The purge under way: sources that it has not come to, and its floor.
    purging: Vec<usize>,
    floor: i64,
}

impl World {
    pub(crate) fn new(seed: u64, plan: Plan) -> Self {
        let mut dice = Dice::new(seed);
        let readers = plan.sources + plan.targets;
        let server = |skew| Server {
            next: 1,
            skew,
            read: vec![Snapshot::default(); plan.sources],
            track: vec![Snapshot::default(); readers],
            ..Server::default()
        };
        let servers = (0..plan.sources).map(|_| server(dice.between(-plan.skew, plan.skew))).collect();
        let target = |follows| Target { rows: [None; KEYS], read: vec![Snapshot::default(); plan.sources], follows };
        let targets = (0..plan.targets).map(|_| target(dice.below(plan.sources))).collect();
        let busy = [5, 20, 60, 100][dice.below(4)];
        Self {
            plan,
            dice,
            servers,
            targets,
            now: 1000,
            is_at_rest: false,
            busy,
            history: History::default(),
            overtaken: BTreeSet::new(),
            conflicts: 0,
            purging: Vec::new(),
            floor: i64::MIN,
        }
    }

    /// The writers work for a while; then all comes to rest. An error says what is wrong then.
    pub(crate) fn run(&mut self) -> Result<(), String> {
        let all: Vec<usize> = (0..self.servers.len()).collect();
        for _ in 0..self.dice.between(5, 40) {
            let busy = replace(&mut self.busy, 60);
            self.stir();
            self.busy = busy;
            if self.dice.percent(40) {
                let share = [50, 80, 100][self.dice.below(3)];
                let up: Vec<usize> = all.iter().copied().filter(|_| self.dice.percent(share)).collect();
                let lost = [0, 20, 50][self.dice.below(3)];
                if up.len() > 1 {
                    self.merge(&up, lost);
                }
            }
        }
        (self.busy, self.is_at_rest) = (0, true);
        self.servers.iter_mut().for_each(Server::end_all);
        let mut merges = 0;
        while self.merge(&all, 0) {
            merges += 1;
            if merges > MERGES_MAX {
                return Err("merges go on for ever".to_owned());
            }
        }
        // One round is enough, from any source.
        for target in 0..self.targets.len() {
            let source = self.dice.below(self.servers.len());
            self.follow(target, source);
        }
        self.verdict()
    }

    /// Something else happens meanwhile.
    pub(super) fn stir(&mut self) {
        if !self.dice.percent(self.busy) {
            return;
        }
        for _ in 0..=self.dice.below(3) {
            self.now += [0, 1, 1, 2, 5][self.dice.below(5)];
            let place = self.dice.below(self.servers.len());
            match self.dice.below(100) {
                0..70 => {
                    let is_ours = |key: &usize| !self.plan.is_owned || key % self.servers.len() == place;
                    let keys: Vec<usize> = (0..KEYS).filter(is_ours).collect();
                    if !keys.is_empty() {
                        self.servers[place].stir(&mut self.dice, self.now, &keys, &mut self.history);
                    }
                }
                70..80 if !self.targets.is_empty() => {
                    let target = self.dice.below(self.targets.len());
                    let source = if self.dice.percent(70) { self.targets[target].follows } else { place };
                    if self.dice.percent(85) {
                        self.follow(target, source);
                    }
                }
                80..97 => self.purge(place),
                // The clock is set.
                97 => self.servers[place].skew = self.dice.between(-self.plan.skew, self.plan.skew),
                _ => {}
            }
        }
    }

    /// One round of a target, from the source that it follows or another one.
    fn follow(&mut self, target: usize, source: usize) {
        let sources = self.servers.len();
        let (server, it) = (&self.servers[source], &mut self.targets[target]);
        let snapshot = server.snapshot();
        for delta in &server.log {
            if snapshot.sees(delta.txid) && !it.read[source].sees(delta.txid) {
                it.rows[delta.key] = server.rows[delta.key];
            }
        }
        // What its source had read of the others has come with this.
        it.read = server.read.clone();
        it.read[source] = snapshot;
        it.follows = source;
        for other in 0..sources {
            if other == source || self.dice.percent(60) {
                self.servers[other].track[sources + target] = self.targets[target].read[other].clone();
            }
        }
    }

    /// One step of a purge: the floor is read, or applied to a source.
    fn purge(&mut self, source: usize) {
        if !self.purging.is_empty() {
            self.purging.retain(|it| *it != source);
            self.servers[source].purge(source, self.floor);
        } else if self.servers.iter().all(|server| server.merging.is_none()) {
            let floors = self.servers.iter().enumerate().map(|(place, server)| server.floor(place, self.now));
            // Rows are kept for longer than clocks are off.
            self.floor = floors.min().unwrap() - 2 * self.plan.skew;
            self.purging = (0..self.servers.len()).collect();
        }
    }

    fn verdict(&self) -> Result<(), String> {
        let first = &self.servers[0].rows;
        if self.plan.strategy != Strategy::Skip {
            for (place, server) in self.servers.iter().enumerate() {
                if server.rows != *first {
                    return Err(format!("source {place} has {:?}, source 0 {first:?}", server.rows));
                }
            }
            for (place, target) in self.targets.iter().enumerate() {
                if target.rows != *first {
                    return Err(format!("target {place} has {:?}, the sources {first:?}", target.rows));
                }
            }
        }
        // With more sources, one that missed how others agreed may meet a change that its own came after, unknown to
        // both: that is decided like a conflict, which the newest survives.
        if self.plan.strategy == Strategy::Latest || self.servers.len() == 2 {
            (0..KEYS).filter(|key| !self.overtaken.contains(key)).try_for_each(|key| self.last_write(key))?;
        }
        if self.plan.strategy == Strategy::Custom {
            let committed = || self.servers.iter().flat_map(|server| &server.committed);
            let is_lost = |write: &&usize| {
                let key = self.history.writes[**write].0;
                !self.overtaken.contains(&key) && !self.servers[0].past[key].contains(*write)
            };
            if let Some(write) = committed().find(is_lost) {
                return Err(format!("write {write} is lost: no row came after it"));
            }
        }
        let writes = self.history.writes.len();
        if self.conflicts > if self.plan.is_owned { 0 } else { writes } {
            return Err(format!("{} conflicts, {writes} writes", self.conflicts));
        }
        Ok(())
    }

    /// A write that came after all others of its key stays.
    fn last_write(&self, key: usize) -> Result<(), String> {
        let known: BTreeSet<usize> = self.servers.iter().flat_map(|server| server.past[key].iter().copied()).collect();
        for write in &known {
            let (_, deletes, past) = &self.history.writes[*write];
            let row = (!deletes).then_some(*write);
            if past.len() + 1 == known.len() && self.servers[0].rows[key] != row {
                return Err(format!(
                    "key {key} has {:?}: write {write} came after all others",
                    self.servers[0].rows[key]
                ));
            }
        }
        Ok(())
    }
}

impl Server {
    /// Versions from this time on may be needed, or are still to come.
    fn floor(&self, place: usize, now: i64) -> i64 {
        let is_unread = |delta: &&Delta| {
            let mut readers = self.track.iter().enumerate().filter(|(reader, _)| *reader != place);
            !self.read[place].sees(delta.txid) || readers.any(|(_, track)| !track.sees(delta.txid))
        };
        let unread = self.log.iter().filter(is_unread).map(|delta| delta.version(place).time).min();
        let running = self.active.iter().map(|txn| txn.began).min();
        [unread, running].into_iter().flatten().fold(now + self.skew - AGE_MAX, i64::min)
    }

    fn purge(&mut self, place: usize, floor: i64) {
        let (track, settled) = (&self.track, &self.read[place]);
        self.log.retain(|delta| {
            let mut readers = track.iter().enumerate().filter(|(reader, _)| *reader != place);
            let is_read = settled.sees(delta.txid) && readers.all(|(_, track)| track.sees(delta.txid));
            !is_read || delta.version(place).time >= floor
        });
    }
}

impl Delta {
    pub(super) fn version(&self, source: usize) -> Version {
        let native = || Version { time: self.time, db: u16::try_from(source).unwrap(), serial: 0 };
        self.origin.unwrap_or_else(native)
    }
}
