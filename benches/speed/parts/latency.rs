//! One-row inserts: from the commit on the source to the row on the target.

use std::time::{Duration, Instant};

use tokio::time::sleep;
use tokio_postgres::Client;

use crate::arguments::Arguments;
use crate::field::{self, Field};
use crate::numbers::{Numbers, percentile};
use crate::systems::System;

const LOOK_EVERY: Duration = Duration::from_micros(200);
const WITHIN: Duration = Duration::from_secs(120);
/// The first ones warm caches, plans and connections, and are not counted.
const WARM_UP: i32 = 10;

pub(crate) async fn measure(field: &Field, system: &dyn System, arguments: &Arguments, numbers: &mut Numbers) {
    field.settle();
    let (source, target) = (field::client(&field.source).await, field::client(&field.target).await);
    let milliseconds = of_inserts(&source, &target, arguments.inserts).await;
    numbers.set(system.name(), "latency_p50_ms", percentile(&milliseconds, 50));
    numbers.set(system.name(), "latency_p99_ms", percentile(&milliseconds, 99));
}

/// How long each row of the table `probe` took, in milliseconds.
pub(crate) async fn of_inserts(source: &Client, target: &Client, inserts: u32) -> Vec<f64> {
    let insert = source.prepare("INSERT INTO probe (id, note) VALUES ($1, 'new')").await.unwrap();
    let select = target.prepare("SELECT FROM probe WHERE id = $1").await.unwrap();
    let mut milliseconds = Vec::new();
    for id in 1..=WARM_UP + i32::try_from(inserts).unwrap() {
        source.execute(&insert, &[&id]).await.unwrap();
        let committed = Instant::now();
        while target.query_opt(&select, &[&id]).await.unwrap().is_none() {
            assert!(committed.elapsed() < WITHIN, "row {id} did not arrive within {WITHIN:?}");
            sleep(LOOK_EVERY).await;
        }
        if id > WARM_UP {
            milliseconds.push(committed.elapsed().as_secs_f64() * 1000.0);
        }
        // Rows come apart, as from people; another pause each time meets every phase of a system that looks at times.
        sleep(Duration::from_millis(20 + u64::from(id.unsigned_abs()) * 7 % 30)).await;
    }
    milliseconds
}
