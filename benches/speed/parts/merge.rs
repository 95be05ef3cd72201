//! Two masters that changed many rows each, every tenth of them the same ones: how fast both are equal. Counted from the
//! moment when both have committed, to the moment when both show the first and the last row that only the other changed
//! and agree on the first and the last that both did. Whole tables are compared after that, and their cost is not counted;
//! whoever is not equal by then is given the time until it is. Looking costs a few thousandths of the machine.

use std::time::{Duration, Instant};

use bucardo::lab::{Cluster, Folder};
use tokio::time::sleep;
use tokio_postgres::Client;

use crate::arguments::Arguments;
use crate::field::{self, DBNAME};
use crate::numbers::{Numbers, median};
use crate::process;
use crate::systems::{Kind, Layout};

const DIGEST: &str = "SELECT count(*), sum(hashtextextended(t::text, 0)::numeric) FROM pgbench_accounts AS t";

/// Often enough for times of a second, seldom enough to leave the CPUs to what is measured.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The rows that each changes, first and last.
struct Changed {
    by_first: (i32, i32),
    by_second: (i32, i32),
}

impl Changed {
    /// The last tenth of the one's rows are the first tenth of the other's.
    fn of(rows: i32) -> Self {
        Self { by_first: (1, rows), by_second: (rows - rows / 10 + 1, 2 * rows - rows / 10) }
    }
}

pub(crate) async fn measure(kind: Kind, arguments: &Arguments, numbers: &mut Numbers) {
    let folder = Folder::new("bucardo-bench").unwrap();
    let changed = Changed::of(i32::try_from(arguments.changed).unwrap());
    let scale = arguments.scale.max(changed.by_second.1.unsigned_abs().div_ceil(100_000));
    let masters = ["first", "second"].map(|name| field::filled(&folder, name, &kind.settings(), scale));
    let [first, second] = &masters;
    let layout = Layout {
        folder: folder.path(),
        databases: vec![("A".to_owned(), first, DBNAME), ("B".to_owned(), second, DBNAME)],
        sync: vec!["dbs=A:source,B:source".to_owned(), "conflict_strategy=bucardo_latest".to_owned()],
        others: Vec::new(),
        code: None,
    };
    let Some(mut daemon) = kind.daemon(&layout) else { return };
    daemon.start();

    let mut clients = (field::client(first).await, field::client(second).await);
    let (mut rates, mut peaks) = (Vec::new(), Vec::new());
    for repeat in 1..=i32::try_from(arguments.repeats).unwrap() {
        masters.iter().for_each(field::settle);
        let processes = daemon.processes();
        process::forget_peaks(&processes);
        let committed = change(&mut clients, &changed, repeat).await;
        equal(&clients, &changed, repeat).await;
        let mut elapsed = committed.elapsed();
        // What has been looked at is there; where it came before the rest, the time of the rest counts.
        while !is_same(first, second) {
            elapsed = committed.elapsed();
            assert!(elapsed.as_secs() < 300, "the masters did not become equal");
        }
        rates.push(f64::from(2 * arguments.changed) / elapsed.as_secs_f64());
        peaks.push(process::peak_megabytes(&daemon.processes()));
    }
    daemon.end();
    numbers.set(kind.name(), "merge_rows_per_s", median(&rates));
    numbers.set(kind.name(), "merge_peak_mb", peaks.into_iter().fold(0.0, f64::max));
}

/// Both change their rows, neither knowing of the other, and commit at the same moment.
async fn change(clients: &mut (Client, Client), changed: &Changed, value: i32) -> Instant {
    let update = "UPDATE pgbench_accounts SET abalance = $1 WHERE aid BETWEEN $2 AND $3";
    let (one, other) = tokio::join!(clients.0.transaction(), clients.1.transaction());
    let (one, other) = (one.unwrap(), other.unwrap());
    let ((from, to), (low, high), negative) = (changed.by_first, changed.by_second, -value);
    one.execute(update, &[&value, &from, &to]).await.unwrap();
    other.execute(update, &[&negative, &low, &high]).await.unwrap();
    let (one, other) = tokio::join!(one.commit(), other.commit());
    one.unwrap();
    other.unwrap();
    Instant::now()
}

/// Until each has the first and the last row that only the other one changed, and both agree on those that both did.
async fn equal(clients: &(Client, Client), changed: &Changed, value: i32) {
    let arrived = "SELECT count(*) = 2 FROM pgbench_accounts WHERE aid IN ($1, $2) AND abalance = $3";
    let ((from, to), (low, high), negative) = (changed.by_first, changed.by_second, -value);
    let (before, after) = (low - 1, to + 1);
    // One after the other: it is over when both are, whoever is looked at first.
    field::until_every(LOOK_EVERY, &clients.0, arrived, &[&after, &high, &negative]).await;
    field::until_every(LOOK_EVERY, &clients.1, arrived, &[&from, &before, &value]).await;
    let agreed = "SELECT array_agg(abalance ORDER BY aid) FROM pgbench_accounts WHERE aid IN ($1, $2)";
    loop {
        let one = clients.0.query_one(agreed, &[&low, &to]).await.unwrap();
        let other = clients.1.query_one(agreed, &[&low, &to]).await.unwrap();
        if one.get::<_, Vec<i32>>(0) == other.get::<_, Vec<i32>>(0) {
            return;
        }
        sleep(LOOK_EVERY).await;
    }
}

fn is_same(first: &Cluster, second: &Cluster) -> bool {
    first.sql(DBNAME, DIGEST).unwrap() == second.sql(DBNAME, DIGEST).unwrap()
}
