//! Four masters, written to at random all the time, while connections are cut, a master is away and the daemon is
//! killed again and again: when the writers have stopped, all are equal, and every conflict was told once.
//!
//! `BUCARDO_SEED` gives the numbers, `BUCARDO_CHAOS_SECONDS` how long it goes on, `BUCARDO_AWAY_SECONDS` how long one
//! master is away before that.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_postgres::NoTls;

use crate::merge_model::dice::Dice;
use crate::merge_model::number;
use crate::support::{Bucardo, Daemon, Database, Proxy, difference, server, wait};

/// The masters, and two targets.
const NAMES: [&str; 6] = ["A", "B", "C", "D", "X", "Y"];
const MASTERS: usize = 4;
/// Each master keeps its row in a conflict.
const SKIP: &str = "t_skip";
/// A conflict would stop everything: each master writes keys of its own, so there is none.
const ABORT: &str = "t_abort";
/// A table for each strategy.
const TABLES: [(&str, &str); 9] = [
    (SKIP, "bucardo_skip"),
    (ABORT, "bucardo_abort"),
    ("t_source", "bucardo_source"),
    ("t_target", "bucardo_target"),
    ("t_list", "C A"),
    ("t_random", "bucardo_random"),
    ("t_latest", "bucardo_latest"),
    ("t_all", "bucardo_latest_all_tables"),
    ("t_default", ""),
];
const WITHIN: Duration = Duration::from_secs(90);
const PAUSE: Duration = Duration::from_millis(20);

struct Masters {
    control: Database,
    databases: Vec<Database>,
    proxies: Vec<Proxy>,
    bucardo: Bucardo,
}

impl Masters {
    async fn found() -> Self {
        let control = Database::create(server(), "control").await;
        let bucardo = Bucardo::on(&control);
        let piddir = bucardo.home().display().to_string();
        bucardo.call(&["install", "--batch", "--piddir", &piddir]).ok();
        let (mut databases, mut proxies) = (Vec::new(), Vec::new());
        for name in NAMES {
            let database = Database::create(server(), &name.to_lowercase()).await;
            for (table, _) in TABLES {
                database.run(&format!("CREATE TABLE {table} (id int PRIMARY KEY, code int UNIQUE, note text)")).await;
            }
            let proxy = Proxy::to(database.port).await;
            bucardo.add_db_at(name, &database, proxy.port());
            databases.push(database);
            proxies.push(proxy);
        }
        bucardo.run("add all tables db=A relgroup=s");
        bucardo.run("add sync s relgroup=s dbs=A:source,B:source,C:source,D:source,X:target,Y:target");
        for (table, strategy) in TABLES.iter().filter(|(_, strategy)| !strategy.is_empty()) {
            bucardo.call(&["update", "table", table, &format!("conflict_strategy={strategy}")]).ok();
        }
        Self { control, databases, proxies, bucardo }
    }

    /// What differs, but for this table.
    async fn differences(&self, but: Option<&str>) -> Vec<String> {
        let mut differences = Vec::new();
        for (table, _) in TABLES.iter().filter(|(table, _)| Some(*table) != but) {
            for other in &self.databases[1..] {
                differences.extend(difference(&self.databases[0], other, table).await);
            }
        }
        differences
    }

    async fn are_equal(&self, but: Option<&str>) {
        wait::until("all to be equal", WITHIN, async || {
            let differences = self.differences(but).await;
            if differences.is_empty() { Ok(()) } else { Err(differences) }
        })
        .await;
    }
}

/// An application that writes what comes to its mind.
struct Writer {
    task: JoinHandle<()>,
    ends: Arc<AtomicBool>,
    commits: Arc<AtomicU64>,
}

impl Writer {
    /// `place`: of the master among these.
    fn start(database: &Database, seed: u64, place: usize) -> Self {
        let (ends, commits) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (conninfo, told, counted) = (database.conninfo(), ends.clone(), commits.clone());
        let task = tokio::spawn(async move {
            let mut dice = Dice::new(seed);
            let (client, connection) = tokio_postgres::connect(&conninfo, NoTls).await.unwrap();
            tokio::spawn(connection);
            client.batch_execute("SET lock_timeout = '1s'").await.unwrap();
            let mut note = 0;
            while !told.load(Ordering::Relaxed) {
                sleep(PAUSE).await;
                note += 1;
                // A duplicate key, a lock that takes too long: life goes on.
                if client.batch_execute(&statement(&mut dice, place, &format!("{seed}-{note}"))).await.is_ok() {
                    counted.fetch_add(1, Ordering::Relaxed);
                } else {
                    let _ = client.batch_execute("ROLLBACK").await;
                }
            }
        });
        Self { task, ends, commits }
    }

    async fn stop(self) -> u64 {
        self.ends.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
        self.commits.load(Ordering::Relaxed)
    }
}

fn statement(dice: &mut Dice, place: usize, note: &str) -> String {
    let (table, _) = TABLES[dice.below(TABLES.len())];
    let (id, other, code) = (dice.below(60), dice.below(60), dice.below(1000));
    if table == ABORT {
        let (id, other) = (id / MASTERS * MASTERS + place, other / MASTERS * MASTERS + place);
        return match dice.below(100) {
            0..40 => format!(
                "INSERT INTO {table} (id, note) VALUES ({id}, '{note}') ON CONFLICT (id) DO UPDATE SET note = '{note}'"
            ),
            40..70 => format!("UPDATE {table} SET note = '{note}' WHERE id IN ({id}, {other})"),
            70..85 => format!("DELETE FROM {table} WHERE id = {id}"),
            _ => format!("UPDATE {table} SET id = {id}, note = '{note}' WHERE id = {other}"),
        };
    }
    match dice.below(1000) {
        0..300 => format!(
            "INSERT INTO {table} (id, note) VALUES ({id}, '{note}') ON CONFLICT (id) DO UPDATE SET note = '{note}'"
        ),
        300..600 => format!("UPDATE {table} SET note = '{note}' WHERE id IN ({id}, {other})"),
        600..730 => format!("DELETE FROM {table} WHERE id = {id}"),
        730..850 => format!("UPDATE {table} SET id = {id}, note = '{note}' WHERE id = {other}"),
        // Unique here; with a row of another master it may clash.
        850..880 => format!("UPDATE {table} SET code = {code} WHERE id = {id}"),
        880..930 => format!("UPDATE {table} SET code = NULL WHERE code IS NOT NULL"),
        930..995 => format!(
            "BEGIN; DELETE FROM {table} WHERE id BETWEEN {id} AND {other}; SELECT pg_sleep(0.05); \
             INSERT INTO {table} VALUES ({id}, NULL, '{note}') ON CONFLICT DO NOTHING; COMMIT"
        ),
        _ => format!("TRUNCATE {table}"),
    }
}

/// One master is away: the other three and the targets go on without it.
async fn one_is_away(masters: &Masters, lasts: Duration) {
    let (ends, mut id) = (Instant::now() + lasts, 1000);
    masters.proxies[3].cut();
    masters.databases[3].run("INSERT INTO t_default VALUES (999, NULL, 'D')").await;
    while Instant::now() < ends {
        id += 1;
        masters.databases[id % 3].run(&format!("INSERT INTO t_default VALUES ({id}, NULL, 'meanwhile')")).await;
        for place in [0, 1, 2, 4, 5] {
            let (what, database) = (format!("row {id} at {}", NAMES[place]), &masters.databases[place]);
            let rows = format!("SELECT count(*) FROM t_default WHERE id = {id}");
            wait::until_equal(&what, Duration::from_secs(20), &1, async || database.number(&rows).await).await;
        }
    }
    eprintln!("{} rows while one was away", id - 1000);
    masters.proxies[3].open();
    masters.are_equal(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn four_masters_in_chaos_end_equal() {
    let seed = number("BUCARDO_SEED", u64::from(std::process::id()));
    eprintln!("BUCARDO_SEED={seed}");
    let lasts = Duration::from_secs(number("BUCARDO_CHAOS_SECONDS", 8));
    let mut dice = Dice::new(seed);
    let masters = Masters::found().await;
    let mut daemon = Daemon::start(&masters.bucardo).await;
    one_is_away(&masters, Duration::from_secs(number("BUCARDO_AWAY_SECONDS", 3))).await;
    let writers = (1..).zip(&masters.databases[..MASTERS]).zip(0..);
    let writers = writers.map(|((number, database), place)| Writer::start(database, seed * 10 + number, place));
    let writers: Vec<Writer> = writers.collect();
    let ends = Instant::now() + lasts;
    while Instant::now() < ends {
        sleep(Duration::from_millis(dice.between(200, 900).unsigned_abs())).await;
        match dice.below(10) {
            0..2 => {
                daemon.kill();
                daemon = Daemon::start(&masters.bucardo).await;
            }
            2..7 => masters.proxies[dice.below(NAMES.len())].cut_once(),
            // Away until something else happens to it.
            7 => masters.proxies[dice.below(NAMES.len())].cut(),
            _ => masters.proxies.iter().for_each(Proxy::open),
        }
    }
    masters.proxies.iter().for_each(Proxy::open);
    let mut commits = 0;
    for writer in writers {
        commits += writer.stop().await;
    }
    eprintln!("{commits} transactions");
    // Rows of different masters with the same code wait for a person.
    for database in &masters.databases[..MASTERS] {
        for (table, _) in TABLES {
            database.run(&format!("UPDATE {table} SET code = NULL WHERE code IS NOT NULL")).await;
        }
    }
    masters.are_equal(Some(SKIP)).await;
    // Everything is decided; then somebody does away with what was left different.
    masters.bucardo.run("kick s 0");
    masters.databases[0]
        .run(&format!("TRUNCATE {SKIP}; INSERT INTO {SKIP} SELECT n, NULL, 'A' FROM generate_series(30, 80) n"))
        .await;
    masters.are_equal(None).await;
    let listed = || async {
        let kept = masters.control.number("SELECT count(*) FROM bucardo.conflict").await;
        let total =
            masters.control.number("SELECT coalesce(sum(conflicts), 0)::bigint FROM bucardo.conflict_total").await;
        let mut waiting = 0;
        for database in &masters.databases[..MASTERS] {
            waiting += database.number("SELECT count(*) FROM bucardo.conflict_kept").await;
        }
        (kept, total, waiting)
    };
    let (kept, total, _) = wait::until("conflicts to be told", WITHIN, async || {
        let told = listed().await;
        if told.2 == 0 { Ok(told) } else { Err(told) }
    })
    .await;
    assert_eq!(kept, total, "the history and the totals");
    assert!(total > 0, "there were conflicts");
    let status: serde_json::Value = serde_json::from_str(&masters.bucardo.run("status s --json")).unwrap();
    assert_eq!(status["syncs"][0]["conflicts"]["total"], total, "{status}");
    // Silence: nothing comes back.
    let deltas = async || {
        let mut rows = Vec::new();
        for database in &masters.databases[..MASTERS] {
            for (table, _) in TABLES {
                rows.push(database.number(&format!("SELECT count(*) FROM bucardo.delta_public_{table}")).await);
            }
        }
        rows
    };
    masters.bucardo.run("kick s 0");
    let before = deltas().await;
    for _ in 0..3 {
        masters.bucardo.run("kick s 0");
    }
    assert!(deltas().await.iter().zip(&before).all(|(after, before)| after <= before), "merges write no more");
    assert!(masters.differences(None).await.is_empty());
    daemon.kill();
}
