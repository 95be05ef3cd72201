//! Property tests of the merge's decisions, without a server: whatever was written, whoever was away, whichever commits
//! were lost, all databases are equal once the writers have stopped.
//!
//! `BUCARDO_SEED` sets the first seed, `BUCARDO_RUNS` how many follow it.

pub(crate) mod dice;
mod merging;
mod servers;
mod simple;
mod world;

use bucardo::engine::merge::strategy::Strategy;

use world::{Cut, Plan, World};

/// Sources and targets.
const SHAPES: [(usize, usize); 5] = [(2, 0), (2, 1), (3, 0), (3, 2), (5, 2)];

/// [`Strategy::Custom`]: custom code makes a row of what all rivals have.
fn strategies() -> [Strategy; 9] {
    use Strategy::{Custom, First, Last, Latest, LatestAllTables, Listed, Random, Skip};
    [Latest, First, Last, Listed(vec![1, 0]), Listed(vec![1]), Random, LatestAllTables, Skip, Custom]
}

pub(crate) fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

/// Runs of each kind; `runs` unless the environment says otherwise.
pub(crate) fn seeds(runs: u64) -> std::ops::Range<u64> {
    let first = number("BUCARDO_SEED", 1);
    first..first + number("BUCARDO_RUNS", runs)
}

fn try_worlds(runs: u64, skew: i64, is_owned: bool) {
    for strategy in strategies() {
        for (sources, targets) in SHAPES {
            let plan = Plan { sources, targets, strategy: strategy.clone(), skew, is_owned, cuts: None };
            for seed in seeds(runs) {
                if let Err(wrong) = World::new(seed, plan.clone()).run() {
                    panic!("BUCARDO_SEED={seed}: {wrong} ({plan:?})");
                }
            }
        }
    }
}

/// The model that the design was made with, with the real decisions.
#[test]
fn the_model_of_the_design_ends_equal() {
    for strategy in strategies() {
        for (sources, targets) in SHAPES {
            for seed in seeds(100) {
                let is_equal = simple::run(seed, sources, targets, &strategy);
                // Who skips a conflict keeps its row.
                let is_fine = is_equal || strategy == Strategy::Skip;
                assert!(is_fine, "BUCARDO_SEED={seed}: {sources} sources, {targets} targets, {strategy:?}");
            }
        }
    }
}

/// A local transaction commits after the merge's snapshot; the server refuses what the merge writes; the power fails
/// between two commits; a target changes its source; a purge acts on what it saw long ago.
#[test]
fn servers_that_write_while_they_are_merged_end_equal() {
    try_worlds(60, 0, false);
}

/// The same with clocks that are off and are set meanwhile.
#[test]
fn clocks_that_are_off_do_not_keep_servers_from_ending_equal() {
    try_worlds(60, 10, false);
}

/// One author of each key, however its versions travel: there is nothing to decide.
#[test]
fn keys_that_are_written_at_one_source_only_never_conflict() {
    try_worlds(60, 10, true);
}

/// Why the backlog of a merge is not cut, as that of a pair is: whatever it notes as what a source has settled, a change
/// behind the cut is taken for newer than what was decided about it, or for older than what it came after.
#[test]
fn merges_of_a_part_of_a_backlog_go_wrong() {
    for cut in [Cut::Part, Cut::Seen] {
        let goes_wrong = |strategy: &Strategy, (sources, targets)| {
            let cuts = Some(cut);
            let plan = Plan { sources, targets, strategy: strategy.clone(), skew: 0, is_owned: false, cuts };
            seeds(60)
                .find_map(|seed| World::new(seed, plan.clone()).run().err().map(|wrong| (seed, plan.clone(), wrong)))
        };
        let strategies = strategies();
        let mut worlds = strategies.iter().flat_map(|strategy| SHAPES.map(|shape| (strategy, shape)));
        let found = worlds.find_map(|(strategy, shape)| goes_wrong(strategy, shape));
        eprintln!("{found:?}");
        assert!(found.is_some(), "{cut:?}");
    }
}
