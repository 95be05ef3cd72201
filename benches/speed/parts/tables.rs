//! The first copy of a database of many tables, beside a plain pipe.

use std::process::Stdio;
use std::time::{Duration, Instant};

use bucardo::lab::{Cluster, Folder};

use crate::arguments::Arguments;
use crate::field::{self, DBNAME};
use crate::numbers::{Numbers, median};
use crate::process;
use crate::systems::{Kind, Layout};

const TABLES: u32 = 200;
const ROWS: u32 = 5000;

pub(crate) async fn measure(kind: Kind, arguments: &Arguments, numbers: &mut Numbers) {
    let (mut copies, mut ratios, mut peak) = (Vec::new(), Vec::new(), 0.0_f64);
    for _ in 0..arguments.repeats {
        let Some((copy, pipe, memory)) = copied(kind).await else { return };
        copies.push(copy);
        ratios.push(copy / pipe);
        peak = peak.max(memory);
    }
    numbers.set(kind.name(), "tables_copy_s", median(&copies));
    numbers.set(kind.name(), "tables_copy_per_pipe", median(&ratios));
    numbers.set(kind.name(), "tables_peak_mb", peak);
}

/// Seconds of the copy and of the pipe, and the memory at its peak.
async fn copied(kind: Kind) -> Option<(f64, f64, f64)> {
    let folder = Folder::new("bucardo-bench").unwrap();
    let settings = kind.settings().set("max_locks_per_transaction", "512");
    let [source, target] = ["source", "target"].map(|name| field::cluster(&folder, name, &settings));
    for (cluster, rows) in [(&source, ROWS), (&target, 0)] {
        cluster.sql(DBNAME, &tables(rows)).unwrap();
    }
    let pipe = pipe(&source, &target).as_secs_f64();
    target
        .sql(DBNAME, "SELECT 'TRUNCATE ' || string_agg('many_' || n, ', ') FROM generate_series(1, 200) AS n \\gexec")
        .unwrap();
    let layout = Layout {
        folder: folder.path(),
        databases: vec![("A".to_owned(), &source, DBNAME), ("B".to_owned(), &target, DBNAME)],
        sync: vec!["dbs=A:source,B:target".to_owned(), "onetimecopy=1".to_owned()],
        others: Vec::new(),
        code: None,
    };
    let mut daemon = kind.daemon(&layout)?;
    field::settle(&source);
    field::settle(&target);

    let client = field::client(&target).await;
    let each = |text: &dyn Fn(u32) -> String| (1..=TABLES).map(text).collect::<Vec<_>>();
    let last = each(&|table| format!("EXISTS (SELECT FROM many_{table} WHERE id = {ROWS})")).join(" AND ");
    let counts = each(&|table| format!("(SELECT count(*) FROM many_{table})")).join(" + ");
    let begun = Instant::now();
    daemon.launch();
    // Looking at the last rows costs little; that all are there is made sure of once.
    field::until(&client, &format!("SELECT {last}"), &[]).await;
    field::until(&client, &format!("SELECT {counts} = {}", TABLES * ROWS), &[]).await;
    let copy = begun.elapsed().as_secs_f64();
    let peak = process::peak_megabytes(&daemon.processes());
    let digests =
        each(&|table| format!("(SELECT sum(hashtextextended(t::text, {table})::numeric) FROM many_{table} AS t)"));
    field::assert_same((&source, DBNAME), (&target, DBNAME), &format!("SELECT {}", digests.join(" + ")));
    daemon.end();
    Some((copy, pipe, peak))
}

fn tables(rows: u32) -> String {
    format!(
        "SELECT format('CREATE TABLE many_%s AS SELECT n AS id, md5(n::text) AS note, now() AS made FROM generate_series(1, {rows}) AS n', t),
                format('ALTER TABLE many_%s ADD PRIMARY KEY (id)', t)
         FROM generate_series(1, {TABLES}) AS t \\gexec"
    )
}

/// `pg_dump | psql` of the rows.
fn pipe(source: &Cluster, target: &Cluster) -> Duration {
    let begun = Instant::now();
    let mut dump = source.client("pg_dump");
    let mut from = dump.args(["-a", "-d", DBNAME]).stdout(Stdio::piped()).spawn().unwrap();
    let rows = from.stdout.take().unwrap();
    let mut psql = target.client("psql");
    let status = psql.args(["-X", "-q", "-d", DBNAME]).stdin(rows).stdout(Stdio::null()).status().unwrap();
    assert!(from.wait().unwrap().success() && status.success(), "pg_dump | psql");
    begun.elapsed()
}
