//! What capture costs the writers of the source: two clusters that differ in nothing else, measured in turns.

use std::thread::sleep;
use std::time::{Duration, Instant};

use bucardo::lab::Cluster;

use crate::arguments::Arguments;
use crate::field::{self, DBNAME, Field};
use crate::numbers::{Numbers, median};
use crate::process;
use crate::systems::Kind;

const CLIENTS: &str = "2";

/// The daemon is down: its own work, and the target's, would take the CPUs that the writers are measured with.
pub(crate) async fn measure(kind: Kind, arguments: &Arguments, numbers: &mut Numbers) {
    let field = Field::open(kind.settings(), arguments.scale);
    let bare = field::filled(&field.folder, "bare", &bucardo::lab::Settings::default(), arguments.scale);
    let _system = kind.set_up(&field);
    let captured = &field.source;

    let Writers { rate, ratio, work } = writers(captured, &bare, arguments);
    numbers.set(kind.name(), "load_tps", rate);
    numbers.set(kind.name(), "load_tps_per_bare", ratio);
    numbers.set(kind.name(), "load_cpu_per_bare", work);

    // As servers that keep what they have committed are set: their writers wait for the disk, too.
    durable(&[captured, &bare], "on");
    let Writers { rate, ratio, .. } = writers(captured, &bare, arguments);
    durable(&[captured, &bare], "off");
    numbers.set(kind.name(), "load_durable_tps", rate);
    numbers.set(kind.name(), "load_durable_tps_per_bare", ratio);

    let (mut seconds, mut ratios) = (Vec::new(), Vec::new());
    for pair in 0..arguments.pairs {
        let (with, without) = in_turns(pair, captured, &bare, |cluster| bulk_update_seconds(cluster, arguments.rows));
        seconds.push(with);
        ratios.push(with / without);
    }
    numbers.set(kind.name(), "bulk_update_s", median(&seconds));
    numbers.set(kind.name(), "bulk_update_per_bare", median(&ratios));
}

/// What pgbench reaches with capture: medians over pairs of runs.
struct Writers {
    /// Transactions per second.
    rate: f64,
    /// Of those without capture.
    ratio: f64,
    /// CPU time of a transaction, times that without capture.
    work: f64,
}

fn writers(captured: &Cluster, bare: &Cluster, arguments: &Arguments) -> Writers {
    let (mut rates, mut ratios, mut works) = (Vec::new(), Vec::new(), Vec::new());
    for pair in 0..arguments.pairs {
        // In turns, and each first as often: whatever drifts, drifts for both.
        let (with, without) = in_turns(pair, captured, bare, |cluster| pgbench(cluster, arguments));
        rates.push(with.per_second);
        ratios.push(with.per_second / without.per_second);
        works.push(with.work / without.work);
    }
    Writers { rate: median(&rates), ratio: median(&ratios), work: median(&works) }
}

/// Whether commits wait for the disk. Reading the setting again takes a server a moment.
fn durable(clusters: &[&Cluster], fsync: &str) {
    for cluster in clusters {
        cluster.sql("postgres", &format!("ALTER SYSTEM SET fsync = {fsync}")).unwrap();
        cluster.sql("postgres", "SELECT pg_reload_conf()").unwrap();
        while cluster.sql("postgres", "SHOW fsync").unwrap().trim() != fsync {
            sleep(Duration::from_millis(20));
        }
    }
}

/// One run of pgbench.
struct Run {
    per_second: f64,
    /// CPU time of the sessions per transaction, in some unit: steady where other programs want the CPUs, too.
    work: f64,
}

fn in_turns<T>(pair: u32, captured: &Cluster, bare: &Cluster, mut measure: impl FnMut(&Cluster) -> T) -> (T, T) {
    if pair.is_multiple_of(2) {
        let with = measure(captured);
        (with, measure(bare))
    } else {
        let without = measure(bare);
        (measure(captured), without)
    }
}

fn pgbench(cluster: &Cluster, arguments: &Arguments) -> Run {
    field::settle(cluster);
    let postmaster = cluster.pid().expect("it runs");
    let before = process::ticks_of_ended_children(postmaster);
    let mut pgbench = cluster.client("pgbench");
    let seconds = arguments.seconds.to_string();
    let printed = field::run(pgbench.args(["-n", "-c", CLIENTS, "-j", CLIENTS, "-T", &seconds, DBNAME]));
    let number = |name: &str| {
        let lines = printed.lines().filter_map(|line| line.strip_prefix(name));
        let mut numbers = lines.filter_map(|rest| rest.trim().split([' ', '/']).next()?.parse::<f64>().ok());
        numbers.next_back().unwrap_or_else(|| panic!("pgbench does not tell \"{name}\": {printed}"))
    };
    // The postmaster notices the end of a session a moment after the client.
    sleep(Duration::from_millis(200));
    let ticks = process::ticks_of_ended_children(postmaster) - before;
    Run { per_second: number("tps ="), work: ticks / number("number of transactions actually processed:") }
}

fn bulk_update_seconds(cluster: &Cluster, rows: u32) -> f64 {
    field::settle(cluster);
    let begun = Instant::now();
    let sql = format!("UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid <= {rows}");
    cluster.sql(DBNAME, &sql).unwrap();
    begun.elapsed().as_secs_f64()
}
