//! The model of the design, `merge_model.py`, with the real decisions in its merge: servers without overlapping
//! transactions, one clock, logs that are lists.

use bucardo::engine::merge::decide::{Entry, Ruling, Take, Terms, decide, replace};
use bucardo::engine::merge::strategy::Strategy;
use bucardo::engine::merge::version::Version;

use super::dice::Dice;

const KEYS: usize = 3;
const MERGES_MAX: usize = 20;

type Rows = [Option<i64>; KEYS];

struct Model<'a> {
    dice: Dice,
    strategy: &'a Strategy,
    sources: usize,
    /// Of sources, then of targets.
    rows: Vec<Rows>,
    /// Of sources: every change, written there or merged in.
    logs: Vec<Vec<(usize, Version)>>,
    /// How much of each source's log each database has read.
    read: Vec<Vec<usize>>,
    clock: i64,
}

impl Model<'_> {
    fn tick(&mut self) -> i64 {
        self.clock += 1;
        self.clock
    }

    fn write(&mut self, source: usize) {
        let (time, key) = (self.tick(), self.dice.below(KEYS));
        self.rows[source][key] = (!self.dice.percent(20)).then_some(time);
        self.logs[source].push((key, Version { time, db: u16::try_from(source).unwrap(), serial: 0 }));
    }

    fn entry(&self, source: usize, key: usize, up: &[usize]) -> Entry {
        let of_key = |log: &[(usize, Version)]| log.iter().any(|(it, _)| *it == key);
        let is_unread =
            |reader: &&usize| **reader != source && of_key(&self.logs[source][self.read[source][**reader]..]);
        let unread_by = up.iter().filter(is_unread).fold(0, |bits, reader| bits | 1 << reader);
        let recorded = self.logs[source].iter().filter(|(it, _)| *it == key).map(|(_, version)| *version).collect();
        Entry { unread_by, recorded, ..Entry::default() }
    }

    fn merge(&mut self, up: &[usize], commits: &[usize]) {
        let bits = up.iter().fold(0, |bits, source| bits | 1 << source);
        let now = self.tick();
        let terms = Terms { up: bits, strategy: self.strategy, now, leader: None };
        let rule = |key: usize| -> Option<(usize, Take)> {
            let entries = up.iter().map(|source| (u16::try_from(*source).unwrap(), self.entry(*source, key, up)));
            let present: Vec<(u16, Entry)> = entries.filter(|(_, entry)| entry.unread_by != 0).collect();
            match decide(&present, &terms, &[u8::try_from(key).unwrap()])? {
                Ruling::Take(take) => Some((key, take)),
                // Custom code makes a row of its own.
                Ruling::Abort { rivals } => Some((key, replace(&present, rivals, &terms, &now.to_be_bytes())?)),
            }
        };
        let takes: Vec<(usize, Take)> = (0..KEYS).filter_map(rule).collect();
        let before = self.rows.clone();
        for source in commits {
            for (key, take) in &takes {
                if take.write & 1 << source != 0 {
                    let won = before.get(usize::from(take.winner));
                    self.rows[*source][*key] = won.map_or((now % 4 != 0).then_some(-now), |rows| rows[*key]);
                }
                if (take.write | take.record) & 1 << source != 0 {
                    self.logs[*source].push((*key, take.version));
                }
            }
        }
        // What this merge wrote itself nobody who committed needs to read.
        for (source, other) in commits.iter().flat_map(|source| up.iter().map(move |other| (*source, *other))) {
            if source != other {
                self.read[other][source] = self.logs[other].len();
            }
        }
    }

    fn purge(&mut self) {
        let readers = self.rows.len();
        let is_unread =
            |source: usize, at: usize| (0..readers).any(|reader| reader != source && self.read[source][reader] <= at);
        let entries = |source: usize| self.logs[source].iter().enumerate();
        let unread = (0..self.sources).flat_map(|source| entries(source).filter(move |(at, _)| is_unread(source, *at)));
        let floor = unread.map(|(_, (_, version))| *version).min();
        let goes = |source: usize, at: usize, version: Version| {
            !is_unread(source, at) && floor.is_none_or(|floor| version < floor)
        };
        let gone = |source: usize| entries(source).map(|(at, (_, version))| goes(source, at, *version)).collect();
        let gone: Vec<Vec<bool>> = (0..self.sources).map(gone).collect();
        for ((log, read), gone) in self.logs.iter_mut().zip(&mut self.read).zip(gone) {
            for read in read {
                *read -= gone[..*read].iter().filter(|gone| **gone).count();
            }
            let mut gone = gone.into_iter();
            log.retain(|_| !gone.next().unwrap());
        }
    }

    fn follow(&mut self, target: usize, source: usize) {
        for (key, _) in &self.logs[source][self.read[source][target]..] {
            self.rows[target][*key] = self.rows[source][*key];
        }
        self.read[source][target] = self.logs[source].len();
    }
}

/// One run. Whether all are equal at its end.
pub(super) fn run(seed: u64, sources: usize, targets: usize, strategy: &Strategy) -> bool {
    let dbs = sources + targets;
    let mut model = Model {
        dice: Dice::new(seed),
        strategy,
        sources,
        rows: vec![Rows::default(); dbs],
        logs: vec![Vec::new(); sources],
        read: vec![vec![0; dbs]; sources],
        clock: 0,
    };
    for _ in 0..model.dice.between(10, 80) {
        let mut some = |of: Vec<usize>| -> Vec<usize> { of.into_iter().filter(|_| model.dice.percent(80)).collect() };
        let up = some((0..sources).collect());
        let commits = some(up.clone());
        match model.dice.below(100) {
            0..50 => {
                let source = model.dice.below(sources);
                model.write(source);
            }
            50..80 if up.len() > 1 => model.merge(&up, &commits),
            80..90 if targets > 0 && !up.is_empty() => {
                let target = sources + model.dice.below(targets);
                let source = up[model.dice.below(up.len())];
                model.follow(target, source);
            }
            _ => model.purge(),
        }
    }
    let all: Vec<usize> = (0..sources).collect();
    for merges in 0.. {
        if merges == MERGES_MAX {
            return false;
        }
        let before = model.logs.clone();
        model.merge(&all, &all);
        if model.logs == before {
            break;
        }
    }
    for (target, source) in (sources..dbs).flat_map(|target| (0..sources).map(move |source| (target, source))) {
        model.follow(target, source);
    }
    model.rows.iter().all(|rows| *rows == model.rows[0])
}
