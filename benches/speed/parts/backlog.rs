//! Many rows updated by one statement: how fast the target becomes equal.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::arguments::Arguments;
use crate::field::{self, Field};
use crate::numbers::{Numbers, median};
use crate::process;
use crate::systems::System;

const LOOK_EVERY: Duration = Duration::from_millis(2);
const WITHIN: Duration = Duration::from_secs(300);

pub(crate) async fn measure(field: &Field, system: &dyn System, arguments: &Arguments, numbers: &mut Numbers) {
    let (source, target) = (field::client(&field.source).await, field::client(&field.target).await);
    let rows = i32::try_from(arguments.rows).unwrap();
    let update = "UPDATE pgbench_accounts SET abalance = $1 WHERE aid <= $2";
    // The first and the last row change in one transaction, which arrives whole; the contents are compared afterwards.
    let arrived = "SELECT count(*) = 2 FROM pgbench_accounts WHERE aid IN (1, $2) AND abalance = $1";
    let arrived = target.prepare(arrived).await.unwrap();
    let mut rates = Vec::new();
    let mut peaks = Vec::new();
    for repeat in 1..=i32::try_from(arguments.repeats).unwrap() {
        field.settle();
        let processes = system.processes();
        process::forget_peaks(&processes);
        source.execute(update, &[&(repeat * 1000), &rows]).await.unwrap();
        let committed = Instant::now();
        while !target.query_one(&arrived, &[&(repeat * 1000), &rows]).await.unwrap().get::<_, bool>(0) {
            assert!(committed.elapsed() < WITHIN, "the rows did not arrive within {WITHIN:?}");
            sleep(LOOK_EVERY).await;
        }
        rates.push(f64::from(rows) / committed.elapsed().as_secs_f64());
        peaks.push(process::peak_megabytes(&processes));
        field.assert_equal();
    }
    numbers.set(system.name(), "backlog_rows_per_s", median(&rates));
    if !system.processes().is_empty() {
        numbers.set(system.name(), "backlog_peak_mb", peaks.into_iter().fold(0.0, f64::max));
    }
}
