//! Two masters that changed the same many rows: how long until both are equal, when the strategy of the sync decides, and
//! how much longer when a code in Lua, Perl or SQL compares each pair of rows.

use std::time::{Duration, Instant};

use bucardo::lab::Folder;
use tokio::time::sleep;

use crate::arguments::Arguments;
use crate::field::{self, DBNAME};
use crate::numbers::{Numbers, median};
use crate::systems::{Kind, Layout};

const LUA: &str = "local a, b = input.rows.A, input.rows.B
if tonumber(a.abalance) > tonumber(b.abalance) then input.winner = 'A' else input.winner = 'B' end";
const PERL: &str = "my ($input) = @_;
$input->{winner} = $input->{rows}{A}{abalance} > $input->{rows}{B}{abalance} ? 'A' : 'B';";
const SQL: &str = "SELECT jsonb_build_object('winner', CASE WHEN ($1->'rows'->'A'->>'abalance')::int
    > ($1->'rows'->'B'->>'abalance')::int THEN 'A' ELSE 'B' END)";
const LOOK_EVERY: Duration = Duration::from_millis(10);

pub(crate) async fn measure(arguments: &Arguments, numbers: &mut Numbers) {
    let (kind, name) = (Kind::Bucardo, Kind::Bucardo.name());
    let Some(plain) = conflicts(kind, arguments, None).await else { return };
    numbers.set(name, "conflicts_s", plain);
    for (measure, file, source) in
        [("codes_lua_s", "decide.lua", LUA), ("codes_perl_s", "decide.pl", PERL), ("codes_sql_s", "decide.sql", SQL)]
    {
        if let Some(seconds) = conflicts(kind, arguments, Some((file, source))).await {
            numbers.set(name, measure, seconds - plain);
        }
    }
}

/// Seconds from the moment when both have committed until both have the same rows; the median of the repeats.
async fn conflicts(kind: Kind, arguments: &Arguments, code: Option<(&str, &str)>) -> Option<f64> {
    let folder = Folder::new("bucardo-bench").unwrap();
    let rows = i32::try_from(arguments.changed).unwrap();
    let scale = arguments.scale.max(arguments.changed.div_ceil(100_000));
    let masters = ["first", "second"].map(|name| field::filled(&folder, name, &kind.settings(), scale));
    let [first, second] = &masters;
    let code = code.map(|(file, source)| {
        let path = folder.path().join(file);
        std::fs::write(&path, source).unwrap();
        path
    });
    let layout = Layout {
        folder: folder.path(),
        databases: vec![("A".to_owned(), first, DBNAME), ("B".to_owned(), second, DBNAME)],
        sync: vec!["dbs=A:source,B:source".to_owned(), "conflict_strategy=bucardo_latest".to_owned()],
        others: Vec::new(),
        code,
    };
    let mut daemon = kind.daemon(&layout)?;
    daemon.start();
    let mut clients = (field::client(first).await, field::client(second).await);
    let mut times = Vec::new();
    for repeat in 1..=i32::try_from(arguments.repeats).unwrap() {
        masters.iter().for_each(field::settle);
        let update = "UPDATE pgbench_accounts SET abalance = $1 WHERE aid <= $2";
        let (one, other) = tokio::join!(clients.0.transaction(), clients.1.transaction());
        let (one, other) = (one.unwrap(), other.unwrap());
        one.execute(update, &[&repeat, &rows]).await.unwrap();
        other.execute(update, &[&-repeat, &rows]).await.unwrap();
        let (one, other) = tokio::join!(one.commit(), other.commit());
        one.unwrap();
        other.unwrap();
        let committed = Instant::now();
        let differ = "SELECT array_agg(DISTINCT abalance) FROM pgbench_accounts WHERE aid IN (1, $1)";
        loop {
            let one: Vec<i32> = clients.0.query_one(differ, &[&rows]).await.unwrap().get(0);
            let other: Vec<i32> = clients.1.query_one(differ, &[&rows]).await.unwrap().get(0);
            if one == other && one.len() == 1 {
                break;
            }
            assert!(committed.elapsed() < Duration::from_secs(300), "the masters did not become equal");
            sleep(LOOK_EVERY).await;
        }
        times.push(committed.elapsed().as_secs_f64());
    }
    daemon.end();
    Some(median(&times))
}
