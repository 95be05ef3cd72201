//! The numbers as a table beside what is wanted, and as JSON.

use std::fs;

use comfy_table::{CellAlignment, Table, presets};
use serde_json::json;

use crate::arguments::Arguments;
use crate::numbers::Numbers;

/// Measure, heading, decimals.
const MEASURES: [(&str, &str, usize); 35] = [
    ("latency_p50_ms", "one-row insert, commit to visible, p50 (ms)", 2),
    ("latency_p99_ms", "one-row insert, commit to visible, p99 (ms)", 2),
    ("backlog_rows_per_s", "backlog of updated rows (rows/s)", 0),
    ("copy_s", "initial copy (s)", 2),
    ("copy_per_pipe", "initial copy, times a psql pipe", 2),
    ("load_tps", "pgbench on the source, captured (TPS)", 0),
    ("load_tps_per_bare", "pgbench on the source, of bare", 2),
    ("load_cpu_per_bare", "CPU of its sessions per transaction, times bare", 2),
    ("load_durable_tps", "pgbench on the source with fsync, captured (TPS)", 0),
    ("load_durable_tps_per_bare", "pgbench on the source with fsync, of bare", 2),
    ("bulk_update_s", "bulk UPDATE, captured (s)", 2),
    ("bulk_update_per_bare", "bulk UPDATE, times bare", 2),
    ("backlog_peak_mb", "peak memory in the backlog (MB)", 1),
    ("copy_peak_mb", "peak memory in the copy (MB)", 1),
    ("idle_cpu_ms_per_s", "CPU when idle (ms per second)", 2),
    ("processes", "processes of the daemon", 0),
    ("merge_rows_per_s", "two masters, changed rows until both are equal (rows/s)", 0),
    ("merge_peak_mb", "peak memory in the merge (MB)", 1),
    ("conflicts_s", "conflicts decided by the strategy (s)", 2),
    ("codes_lua_s", "added where Lua decides them (s)", 2),
    ("codes_perl_s", "added where Perl decides them (s)", 2),
    ("codes_sql_s", "added where a statement decides them (s)", 2),
    ("targets_one_s", "one target equal (s)", 2),
    ("targets_eight_s", "eight targets equal (s)", 2),
    ("targets_eight_per_one", "eight targets, times one", 2),
    ("targets_peak_mb", "peak memory with eight targets (MB)", 1),
    ("syncs_idle_cpu_ms_per_s", "CPU when 50 syncs are idle (ms per second)", 2),
    ("syncs_peak_mb", "peak memory with 50 syncs (MB)", 1),
    ("wide_latency_p50_ms", "one-row insert among 1,000 idle tables, p50 (ms)", 2),
    ("wide_latency_per_narrow", "the same, times without them", 2),
    ("wide_idle_cpu_ms_per_s", "CPU when all 1,001 are idle (ms per second)", 2),
    ("wide_peak_mb", "peak memory with 1,000 idle tables (MB)", 1),
    ("tables_copy_s", "initial copy of 200 tables (s)", 2),
    ("tables_copy_per_pipe", "initial copy of 200 tables, times pg_dump | psql", 2),
    ("tables_peak_mb", "peak memory in the copy of 200 tables (MB)", 1),
];
const SYSTEMS: [&str; 4] = ["bucardo", "logical", "perl", "pipe"];

/// What this program shall reach: the measure, and its bound.
struct Wanted {
    measure: &'static str,
    bound: Bound,
}

enum Bound {
    Most(f64),
    Least(f64),
    /// At most so many times what this system took.
    MostTimes(f64, &'static str),
    /// At least so many times what this system reached.
    LeastTimes(f64, &'static str),
}

const WANTED: [Wanted; 21] = [
    Wanted { measure: "latency_p50_ms", bound: Bound::Most(5.0) },
    Wanted { measure: "latency_p99_ms", bound: Bound::Most(20.0) },
    Wanted { measure: "backlog_rows_per_s", bound: Bound::LeastTimes(10.0, "perl") },
    Wanted { measure: "backlog_rows_per_s", bound: Bound::LeastTimes(1.5, "logical") },
    Wanted { measure: "copy_s", bound: Bound::MostTimes(1.0, "logical") },
    Wanted { measure: "copy_per_pipe", bound: Bound::Most(1.3) },
    Wanted { measure: "load_tps_per_bare", bound: Bound::Least(0.88) },
    Wanted { measure: "bulk_update_per_bare", bound: Bound::Most(2.0) },
    Wanted { measure: "backlog_peak_mb", bound: Bound::Most(40.0) },
    Wanted { measure: "copy_peak_mb", bound: Bound::Most(40.0) },
    Wanted { measure: "idle_cpu_ms_per_s", bound: Bound::Most(2.0) },
    Wanted { measure: "merge_rows_per_s", bound: Bound::LeastTimes(8.0, "perl") },
    Wanted { measure: "merge_peak_mb", bound: Bound::Most(60.0) },
    Wanted { measure: "codes_lua_s", bound: Bound::Most(2.0) },
    Wanted { measure: "codes_perl_s", bound: Bound::Most(10.0) },
    Wanted { measure: "targets_peak_mb", bound: Bound::Most(60.0) },
    Wanted { measure: "syncs_idle_cpu_ms_per_s", bound: Bound::Most(5.0) },
    Wanted { measure: "syncs_peak_mb", bound: Bound::Most(60.0) },
    Wanted { measure: "wide_latency_per_narrow", bound: Bound::Most(2.0) },
    Wanted { measure: "wide_peak_mb", bound: Bound::Most(60.0) },
    Wanted { measure: "tables_peak_mb", bound: Bound::Most(60.0) },
];

/// Prints both, and writes the JSON to the file of the arguments.
pub(crate) fn print(numbers: &Numbers, arguments: &Arguments) {
    println!("{}", measured(numbers));
    for (system, reason) in &numbers.skipped {
        println!("SKIPPED: {system}: {reason}");
    }
    println!("{}", wanted(numbers));
    let goals: Vec<serde_json::Value> = WANTED.iter().filter_map(|wanted| wanted.told(numbers)).map(|goal| {
        json!({ "measure": goal.measure, "wanted": goal.wanted, "measured": goal.measured, "reached": goal.reached })
    }).collect();
    let json = json!({
        "arguments": { "accounts": arguments.accounts(), "rows": arguments.rows, "changed": arguments.changed, "inserts": arguments.inserts,
            "pairs": arguments.pairs, "seconds": arguments.seconds, "repeats": arguments.repeats },
        "cpus": std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
        "measured": numbers.measured,
        "skipped": numbers.skipped,
        "goals": goals,
    });
    let text = serde_json::to_string_pretty(&json).unwrap();
    println!("{text}");
    if let Some(folder) = arguments.json.parent() {
        fs::create_dir_all(folder).unwrap();
    }
    fs::write(&arguments.json, text + "\n").unwrap();
    println!("written to {}", arguments.json.display());
}

fn measured(numbers: &Numbers) -> Table {
    let systems: Vec<&str> = SYSTEMS.into_iter().filter(|name| numbers.measured.contains_key(name)).collect();
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN);
    table.set_header(std::iter::once("measure").chain(systems.iter().copied()));
    for (measure, heading, decimals) in MEASURES {
        let cell = |system: &&str| match numbers.get(system, measure) {
            Some(value) => format!("{value:.decimals$}"),
            None => String::new(),
        };
        let cells: Vec<String> = systems.iter().map(cell).collect();
        if cells.iter().any(|cell| !cell.is_empty()) {
            table.add_row(std::iter::once(heading.to_owned()).chain(cells));
        }
    }
    right_aligned(table)
}

fn wanted(numbers: &Numbers) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN);
    table.set_header(["goal", "wanted", "measured", ""]);
    for goal in WANTED.iter().filter_map(|wanted| wanted.told(numbers)) {
        let verdict = if goal.reached { "reached" } else { "MISSED" };
        table.add_row([
            goal.heading.to_owned(),
            goal.wanted_text(),
            format!("{:.2}", goal.measured),
            verdict.to_owned(),
        ]);
    }
    right_aligned(table)
}

fn right_aligned(mut table: Table) -> Table {
    for (index, column) in table.column_iter_mut().enumerate() {
        if index > 0 {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

struct Goal {
    measure: &'static str,
    heading: &'static str,
    words: String,
    wanted: f64,
    measured: f64,
    reached: bool,
}

impl Goal {
    fn wanted_text(&self) -> String {
        format!("{} {:.2}", self.words, self.wanted)
    }
}

impl Wanted {
    /// None when the measure, or what it is held against, was not taken.
    fn told(&self, numbers: &Numbers) -> Option<Goal> {
        let measured = numbers.get("bucardo", self.measure)?;
        let heading = MEASURES.iter().find(|(measure, ..)| *measure == self.measure)?.1;
        let other = |system| numbers.get(system, self.measure);
        let (words, wanted, reached) = match self.bound {
            Bound::Most(wanted) => ("at most".to_owned(), wanted, measured <= wanted),
            Bound::Least(wanted) => ("at least".to_owned(), wanted, measured >= wanted),
            Bound::MostTimes(times, system) => {
                let wanted = times * other(system)?;
                (format!("at most {times} x {system} ="), wanted, measured <= wanted)
            }
            Bound::LeastTimes(times, system) => {
                let wanted = times * other(system)?;
                (format!("at least {times} x {system} ="), wanted, measured >= wanted)
            }
        };
        Some(Goal { measure: self.measure, heading, words, wanted, measured, reached })
    }
}
