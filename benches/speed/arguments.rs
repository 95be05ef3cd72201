//! What to measure, from the command line.

use std::path::PathBuf;

use crate::parts::Part;
use crate::systems::Kind;

/// One run.
pub(crate) struct Arguments {
    /// What to measure.
    pub(crate) parts: Vec<Part>,
    /// Of whom.
    pub(crate) systems: Vec<Kind>,
    /// `pgbench` scale: 100,000 accounts each.
    pub(crate) scale: u32,
    /// Rows updated for the backlog and the bulk update.
    pub(crate) rows: u32,
    /// Rows that each master changes, that eight targets get, and that are in conflict where codes decide.
    pub(crate) changed: u32,
    /// One-row inserts for the latency.
    pub(crate) inserts: u32,
    /// Interleaved pairs of runs with and without capture.
    pub(crate) pairs: u32,
    /// Length of each of these runs.
    pub(crate) seconds: u32,
    /// Times that copy and backlog are repeated; the median counts.
    pub(crate) repeats: u32,
    /// Where the numbers go as JSON.
    pub(crate) json: PathBuf,
}

impl Arguments {
    pub(crate) const USAGE: &str = "make bench ARGS=\"[latency] [backlog] [copy] [load] [idle] [merge] [targets] [syncs] [wide] [tables] [codes] [--only bucardo,logical,perl] \
         [--scale 10] [--rows 200000] [--changed 100000] [--inserts 200] [--pairs 5] [--seconds 8] [--repeats 3] [--json FILE]\"";

    pub(crate) fn read(words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut arguments = Self {
            parts: Vec::new(),
            systems: Kind::ALL.to_vec(),
            scale: 10,
            rows: 200_000,
            changed: 100_000,
            inserts: 200,
            pairs: 5,
            seconds: 8,
            repeats: 3,
            json: PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/target/bench.json")),
        };
        let mut words = words.filter(|word| word != "--bench");
        while let Some(word) = words.next() {
            let Some(option) = word.strip_prefix("--") else {
                arguments.parts.push(Part::named(&word).ok_or_else(|| format!("there is no part \"{word}\""))?);
                continue;
            };
            let value = words.next().ok_or_else(|| format!("--{option} lacks its value"))?;
            let number = || value.parse::<u32>().map_err(|_| format!("--{option} takes a number, not \"{value}\""));
            match option {
                "only" => arguments.systems = systems(&value)?,
                "scale" => arguments.scale = number()?,
                "rows" => arguments.rows = number()?,
                "changed" => arguments.changed = number()?,
                "inserts" => arguments.inserts = number()?,
                "pairs" => arguments.pairs = number()?,
                "seconds" => arguments.seconds = number()?,
                "repeats" => arguments.repeats = number()?,
                "json" => arguments.json = PathBuf::from(value),
                _ => return Err(format!("there is no option --{option}")),
            }
        }
        if arguments.parts.is_empty() {
            arguments.parts = Part::ALL.to_vec();
        }
        Ok(arguments)
    }

    pub(crate) fn accounts(&self) -> u32 {
        self.scale * 100_000
    }
}

fn systems(names: &str) -> Result<Vec<Kind>, String> {
    let known = |name: &str| Kind::ALL.into_iter().find(|kind| kind.name() == name);
    names.split(',').map(|name| known(name).ok_or_else(|| format!("there is no system \"{name}\""))).collect()
}
