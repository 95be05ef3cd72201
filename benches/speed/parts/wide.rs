//! One table that changes among a thousand that do not: what the idle ones cost.

use std::time::Duration;

use bucardo::lab::Folder;
use tokio::time::sleep;

use super::idle;
use super::latency;
use crate::arguments::Arguments;
use crate::field::{self, DBNAME};
use crate::numbers::{Numbers, percentile};
use crate::process;
use crate::systems::{Kind, Layout};

const TABLES: u32 = 1000;
/// More rows would only take longer: the idle tables cost every round the same.
const INSERTS_MAX: u32 = 100;
const CALM: Duration = Duration::from_secs(3);

/// What one sync took.
struct Taken {
    p50: f64,
    idle: f64,
    peak: f64,
}

pub(crate) async fn measure(kind: Kind, arguments: &Arguments, numbers: &mut Numbers) {
    let Some(narrow) = taken(kind, arguments, 0).await else { return };
    let Some(wide) = taken(kind, arguments, TABLES).await else { return };
    numbers.set(kind.name(), "wide_latency_p50_ms", wide.p50);
    numbers.set(kind.name(), "wide_latency_per_narrow", wide.p50 / narrow.p50);
    numbers.set(kind.name(), "wide_idle_cpu_ms_per_s", wide.idle);
    numbers.set(kind.name(), "wide_peak_mb", wide.peak);
}

async fn taken(kind: Kind, arguments: &Arguments, idle_tables: u32) -> Option<Taken> {
    let folder = Folder::new("bucardo-bench").unwrap();
    // A thousand tables, their captures and the copies of both take many locks in one transaction.
    let settings = kind.settings().set("max_locks_per_transaction", "512");
    let [source, target] = ["source", "target"].map(|name| field::cluster(&folder, name, &settings));
    let script = format!(
        "CREATE TABLE probe (id int PRIMARY KEY, note text NOT NULL);
         SELECT format('CREATE TABLE idle_%s (id int PRIMARY KEY, note text)', n) FROM generate_series(1, {idle_tables}) AS n \\gexec"
    );
    for cluster in [&source, &target] {
        cluster.sql(DBNAME, &script).unwrap();
    }
    let layout = Layout {
        folder: folder.path(),
        databases: vec![("A".to_owned(), &source, DBNAME), ("B".to_owned(), &target, DBNAME)],
        sync: vec!["dbs=A:source,B:target".to_owned()],
        others: Vec::new(),
        code: None,
    };
    let mut daemon = kind.daemon(&layout)?;
    field::settle(&source);
    field::settle(&target);
    daemon.start();
    let (from, to) = (field::client(&source).await, field::client(&target).await);
    let milliseconds = latency::of_inserts(&from, &to, arguments.inserts.min(INSERTS_MAX)).await;
    sleep(CALM).await;
    let idle = idle::cpu_per_second(&daemon.processes(), idle::LENGTH).await;
    // The start counts too: it is then that every table is looked at.
    let peak = process::peak_megabytes(&daemon.processes());
    daemon.end();
    Some(Taken { p50: percentile(&milliseconds, 50), idle, peak })
}
