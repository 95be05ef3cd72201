//! The first copy, beside a plain pipe between two psql.

use std::time::{Duration, Instant};

use tokio::time::sleep;
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;

use crate::arguments::Arguments;
use crate::field::{self, Field, TABLES};
use crate::numbers::{Numbers, median};
use crate::process;
use crate::systems::System;

const LOOK_EVERY: Duration = Duration::from_millis(5);
const WITHIN: Duration = Duration::from_secs(300);

pub(crate) async fn measure(field: &Field, system: &mut dyn System, arguments: &Arguments, numbers: &mut Numbers) {
    let target = field::client(&field.target).await;
    let last = i32::try_from(arguments.accounts()).unwrap();
    // The time of the accounts counts; a system that copies the small tables later shall not pay for that.
    let accounts = format!("SELECT EXISTS (SELECT FROM {} WHERE aid = $1)", TABLES[0]);
    let others = "SELECT EXISTS (SELECT FROM pgbench_branches) AND EXISTS (SELECT FROM pgbench_tellers)";
    let (mut copies, mut pipes, mut peaks) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..arguments.repeats {
        pipes.push(field.pipe().as_secs_f64());
        system.prepare_copy(field);
        field.settle();
        let processes = system.processes();
        process::forget_peaks(&processes);
        let begun = Instant::now();
        system.copy(field);
        arrived(&target, &accounts, &[&last], begun).await;
        copies.push(begun.elapsed().as_secs_f64());
        arrived(&target, others, &[], begun).await;
        peaks.push(process::peak_megabytes(&system.processes()));
        field.assert_equal();
    }
    numbers.set(system.name(), "copy_s", median(&copies));
    numbers.set("pipe", "copy_s", median(&pipes));
    let ratios: Vec<f64> = copies.iter().zip(&pipes).map(|(copy, pipe)| copy / pipe).collect();
    numbers.set(system.name(), "copy_per_pipe", median(&ratios));
    if !system.processes().is_empty() {
        numbers.set(system.name(), "copy_peak_mb", peaks.into_iter().fold(0.0, f64::max));
    }
}

/// Until the query says so.
async fn arrived(target: &Client, query: &str, parameters: &[&(dyn ToSql + Sync)], begun: Instant) {
    let query = target.prepare(query).await.unwrap();
    while !target.query_one(&query, parameters).await.unwrap().get::<_, bool>(0) {
        assert!(begun.elapsed() < WITHIN, "the copy did not end within {WITHIN:?}");
        sleep(LOOK_EVERY).await;
    }
}
