//! One source with eight targets: how long until the last one is equal, beside a source with one.

use std::time::Instant;

use bucardo::lab::Folder;
use futures_util::future::join_all;

use crate::arguments::Arguments;
use crate::field::{self, DBNAME};
use crate::numbers::{Numbers, median};
use crate::process;
use crate::systems::{Kind, Layout};

const MANY: usize = 8;
const DIGEST: &str = "SELECT count(*), sum(hashtextextended(t::text, 0)::numeric) FROM pgbench_accounts AS t";

pub(crate) async fn measure(kind: Kind, arguments: &Arguments, numbers: &mut Numbers) {
    let Some((one, _)) = seconds(kind, arguments, 1).await else { return };
    let Some((many, peak)) = seconds(kind, arguments, MANY).await else { return };
    numbers.set(kind.name(), "targets_one_s", one);
    numbers.set(kind.name(), "targets_eight_s", many);
    numbers.set(kind.name(), "targets_eight_per_one", many / one);
    numbers.set(kind.name(), "targets_peak_mb", peak);
}

/// The median time until the last of `count` targets is equal, and the peak memory meanwhile.
async fn seconds(kind: Kind, arguments: &Arguments, count: usize) -> Option<(f64, f64)> {
    let folder = Folder::new("bucardo-bench").unwrap();
    let rows = i32::try_from(arguments.changed).unwrap();
    let scale = arguments.changed.div_ceil(100_000);
    let source = field::filled(&folder, "source", &kind.settings(), scale);
    // All targets live on one cluster: eight of them would want more memory than what is measured.
    let target = field::filled(&folder, "target", &kind.settings(), scale);
    let names: Vec<String> = (1..=count).map(|number| format!("bench{number}")).collect();
    for name in &names {
        target.sql("postgres", &format!("CREATE DATABASE {name} TEMPLATE {DBNAME}")).unwrap();
    }
    let mut databases = vec![("A".to_owned(), &source, DBNAME)];
    databases.extend(names.iter().enumerate().map(|(place, name)| (format!("B{place}"), &target, name.as_str())));
    let roles: Vec<String> = (0..count).map(|place| format!("B{place}:target")).collect();
    let sync = vec![format!("dbs=A:source,{}", roles.join(","))];
    let mut daemon = kind.daemon(&Layout { folder: folder.path(), databases, sync, others: Vec::new(), code: None })?;
    daemon.start();

    let client = field::client(&source).await;
    let targets = join_all(names.iter().map(|name| field::client_of(&target, name))).await;
    let update = "UPDATE pgbench_accounts SET abalance = $1 WHERE aid <= $2";
    let arrived = "SELECT count(*) = 2 FROM pgbench_accounts WHERE aid IN (1, $2) AND abalance = $1";
    let (mut times, mut peaks) = (Vec::new(), Vec::new());
    for value in 1..=i32::try_from(arguments.repeats).unwrap() {
        field::settle(&source);
        field::settle(&target);
        for name in &names {
            target.sql(name, "VACUUM ANALYZE").unwrap();
        }
        process::forget_peaks(&daemon.processes());
        client.execute(update, &[&value, &rows]).await.unwrap();
        let committed = Instant::now();
        for target in &targets {
            field::until(target, arrived, &[&value, &rows]).await;
        }
        times.push(committed.elapsed().as_secs_f64());
        peaks.push(process::peak_megabytes(&daemon.processes()));
        for name in &names {
            field::assert_same((&source, DBNAME), (&target, name), DIGEST);
        }
    }
    daemon.end();
    Some((median(&times), peaks.into_iter().fold(0.0, f64::max)))
}
