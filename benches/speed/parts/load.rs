//! What capture costs the writers of the source: two clusters that differ in nothing else, measured in turns.

use std::time::Instant;

use bucardo::lab::Cluster;

use crate::arguments::Arguments;
use crate::field::{self, DBNAME, Field};
use crate::numbers::{Numbers, median};
use crate::systems::Kind;

const CLIENTS: &str = "2";

/// The daemon is down: its own work, and the target's, would take the CPUs that the writers are measured with.
pub(crate) async fn measure(kind: Kind, arguments: &Arguments, numbers: &mut Numbers) {
    let field = Field::open(kind.settings(), arguments.scale);
    let bare = field::filled(&field.folder, "bare", &bucardo::lab::Settings::default(), arguments.scale);
    let _system = kind.set_up(&field);
    let captured = &field.source;

    let (mut rates, mut ratios) = (Vec::new(), Vec::new());
    for pair in 0..arguments.pairs {
        // In turns, and each first as often: whatever drifts, drifts for both.
        let (with, without) = in_turns(pair, captured, &bare, |cluster| transactions_per_second(cluster, arguments));
        rates.push(with);
        ratios.push(with / without);
    }
    numbers.set(kind.name(), "load_tps", median(&rates));
    numbers.set(kind.name(), "load_tps_per_bare", median(&ratios));

    let (mut seconds, mut ratios) = (Vec::new(), Vec::new());
    for pair in 0..arguments.pairs {
        let (with, without) = in_turns(pair, captured, &bare, |cluster| bulk_update_seconds(cluster, arguments.rows));
        seconds.push(with);
        ratios.push(with / without);
    }
    numbers.set(kind.name(), "bulk_update_s", median(&seconds));
    numbers.set(kind.name(), "bulk_update_per_bare", median(&ratios));
}

fn in_turns(pair: u32, captured: &Cluster, bare: &Cluster, mut measure: impl FnMut(&Cluster) -> f64) -> (f64, f64) {
    if pair.is_multiple_of(2) {
        let with = measure(captured);
        (with, measure(bare))
    } else {
        let without = measure(bare);
        (measure(captured), without)
    }
}

fn transactions_per_second(cluster: &Cluster, arguments: &Arguments) -> f64 {
    field::settle(cluster);
    let mut pgbench = cluster.client("pgbench");
    let seconds = arguments.seconds.to_string();
    let printed = field::run(pgbench.args(["-n", "-c", CLIENTS, "-j", CLIENTS, "-T", &seconds, DBNAME]));
    let rates = printed.lines().filter_map(|line| line.strip_prefix("tps = "));
    rates.filter_map(|rest| rest.split(' ').next()?.parse().ok()).next_back().expect("a rate")
}

fn bulk_update_seconds(cluster: &Cluster, rows: u32) -> f64 {
    field::settle(cluster);
    let begun = Instant::now();
    let sql = format!("UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid <= {rows}");
    cluster.sql(DBNAME, &sql).unwrap();
    begun.elapsed().as_secs_f64()
}
