//! Fifty syncs that have nothing to do for a minute.

use std::time::Duration;

use bucardo::lab::Folder;
use tokio::time::sleep;

use super::idle;
use crate::field::{self, DBNAME};
use crate::numbers::Numbers;
use crate::process;
use crate::systems::{Kind, Layout};

const SYNCS: u32 = 50;
const CALM: Duration = Duration::from_secs(5);
const LENGTH: Duration = Duration::from_secs(60);

pub(crate) async fn measure(numbers: &mut Numbers) {
    let kind = Kind::Bucardo;
    let folder = Folder::new("bucardo-bench").unwrap();
    let [source, target] = ["source", "target"].map(|name| field::cluster(&folder, name, &kind.settings()));
    let script = format!(
        "SELECT format('CREATE TABLE small_%s (id int PRIMARY KEY, note text)', n) FROM generate_series(1, {SYNCS}) AS n \\gexec"
    );
    for cluster in [&source, &target] {
        cluster.sql(DBNAME, &script).unwrap();
    }
    let layout = Layout {
        folder: folder.path(),
        databases: vec![("A".to_owned(), &source, DBNAME), ("B".to_owned(), &target, DBNAME)],
        sync: vec!["dbs=A:source,B:target".to_owned()],
        // Each of one table; the first sync has all.
        others: (2..=SYNCS).map(|number| format!("small_{number}")).collect(),
        code: None,
    };
    let Some(mut daemon) = kind.daemon(&layout) else { return };
    daemon.start();
    sleep(CALM).await;
    let spent = idle::cpu_per_second(&daemon.processes(), LENGTH).await;
    numbers.set(kind.name(), "syncs_idle_cpu_ms_per_s", spent);
    // The start counts too.
    numbers.set(kind.name(), "syncs_peak_mb", process::peak_megabytes(&daemon.processes()));
    daemon.end();
}
