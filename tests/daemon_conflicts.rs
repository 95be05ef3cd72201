//! Conflicts from end to end: two masters and a target, the daemon, and what an operator sees of it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::support::{Database, Town, assert_same, wait};

const WITHIN: Duration = Duration::from_secs(60);
/// A table for each strategy, and who wins its rows 1 (B is newer), 2 (A is newer) and 4 (deleted by A, then changed
/// by B); A wrote last of all.
const TABLES: [(&str, &str, [&str; 3]); 7] = [
    ("t_source", "bucardo_source", ["A", "A", "A"]),
    ("t_target", "bucardo_target", ["B", "B", "B"]),
    ("t_list", "B A", ["B", "B", "B"]),
    ("t_latest", "bucardo_latest", ["B", "A", "B"]),
    ("t_all", "bucardo_latest_all_tables", ["A", "A", "A"]),
    ("t_random", "bucardo_random", ["", "", ""]),
    ("t_skip", "bucardo_skip", ["", "", ""]),
];

/// Two masters and a target; the daemon does not run yet.
async fn masters() -> Town {
    let ddl: Vec<String> = TABLES
        .iter()
        .map(|(table, ..)| format!("CREATE TABLE {table} (id int PRIMARY KEY, note text, price numeric)"))
        .collect();
    let town = Town::found(&ddl.join(";")).await;
    for database in [&town.a, &town.b, &town.c] {
        for (table, ..) in TABLES {
            database.run(&format!("INSERT INTO {table} SELECT n, 'before', 12.10 FROM generate_series(1, 5) n")).await;
        }
    }
    for (name, database) in [("A", &town.a), ("B", &town.b), ("C", &town.c)] {
        town.bucardo.add_db(name, database);
    }
    let names = TABLES.map(|(table, ..)| table).join(",");
    town.bucardo.run(&format!("add sync s tables={names} dbs=A:source,B:source,C"));
    assert!(town.bucardo.run("list sync s").contains("A:source B:source C:target"));
    for (table, words, _) in TABLES.iter().filter(|(table, ..)| *table != "t_latest") {
        let change = format!("conflict_strategy={words}");
        town.bucardo.call(&["update", "table", table, &change]).ok();
    }
    town
}

async fn set(database: &Database, table: &str, id: i32, note: &str) {
    database.run(&format!("UPDATE {table} SET note = '{note}' WHERE id = {id}")).await;
}

/// The history as `list conflicts --json` tells it, by table and id.
fn listed(town: &Town) -> BTreeMap<(String, String), Value> {
    let all: Value = serde_json::from_str(&town.bucardo.run("list conflicts s --limit 1000 --json")).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let entries = all.as_array().unwrap().iter();
    entries.map(|one| ((text(&one["table"]), text(&one["key"]["id"])), one.clone())).collect()
}

fn told(town: &Town) -> i64 {
    let status: Value = serde_json::from_str(&town.bucardo.run("status s --json")).unwrap();
    status["syncs"][0]["conflicts"]["total"].as_i64().unwrap()
}

/// Waits until the totals say so many, and everyone has read everything.
async fn settled(town: &Town, conflicts: i64) {
    let total = "SELECT coalesce(sum(conflicts), 0)::bigint FROM bucardo.conflict_total";
    wait::until_equal("the conflicts in the totals", WITHIN, &conflicts, async || town.control.number(total).await)
        .await;
    town.bucardo.run("kick s 0");
    town.caught_up(&["B", "C"], WITHIN).await;
}

/// Each strategy picks the row that the manual says, both rows can be looked up, and the counters agree: in status,
/// in the run history, and after a crash.
#[tokio::test]
async fn every_strategy_decides_rows_that_are_listed_and_counted() {
    let town = masters().await;
    for (table, ..) in TABLES {
        set(&town.a, table, 1, "a").await;
        set(&town.b, table, 1, "b").await;
        set(&town.b, table, 2, "b").await;
        set(&town.a, table, 2, "a").await;
        set(&town.a, table, 3, "only a").await;
        town.a.run(&format!("DELETE FROM {table} WHERE id = 4")).await;
        set(&town.b, table, 4, "b").await;
    }
    town.a.run("INSERT INTO t_source VALUES (99, 'the last change of all', 0)").await;
    let file = town.bucardo.home().join("conflicts.csv");
    town.bucardo.run(&format!("set log_conflict_details=1 log_conflict_file={}", file.display()));
    let daemon = town.daemon().await;
    settled(&town, 21).await;

    let lines = std::fs::read_to_string(&file).unwrap().lines().count();
    assert_eq!(lines, 1 + 2 * 21, "a heading, and a line for each row of each conflict");
    let conflicts = listed(&town);
    assert_eq!(conflicts.len(), 21);
    for (table, words, winners) in TABLES {
        for (id, winner) in [1, 2, 4].into_iter().zip(winners) {
            let one = &conflicts[&(table.to_owned(), id.to_string())];
            assert_eq!(one["strategy"], words, "{one}");
            assert!(winner.is_empty() || one["winner"] == winner, "{one}");
            let note = |db: &str| one["rows"][db]["note"].as_str().unwrap_or("(deleted)").to_owned();
            assert_eq!((note("A"), note("B")), (if id == 4 { "(deleted)" } else { "a" }.to_owned(), "b".to_owned()));
            assert!(one["versions"]["A"]["time"].is_string() && one["versions"]["B"]["time"].is_string(), "{one}");
            let row = format!("SELECT coalesce(max(note), '(deleted)') FROM {table} WHERE id = {id}");
            if table == "t_skip" {
                assert_eq!((town.a.value(&row).await, town.b.value(&row).await), (note("A"), note("B")), "{one}");
            } else {
                let winner = one["winner"].as_str().unwrap();
                assert_eq!(town.a.value(&row).await, note(winner), "{one}");
            }
        }
        if table != "t_skip" {
            assert_same(table, &[&town.a, &town.b, &town.c]).await;
        }
        let third = format!("SELECT note FROM {table} WHERE id = 3");
        assert_eq!(town.b.value(&third).await, "only a", "no rival, no conflict");
    }
    let printed = town.bucardo.run("list conflicts s table=t_source");
    assert!(printed.contains("  Won by A (bucardo_source); different in note\n"), "{printed}");
    assert!(printed.contains("\"price\": 12.10"), "numbers as they were: {printed}");
    assert_eq!(told(&town), 21);
    assert_eq!(town.control.number("SELECT sum(conflicts)::bigint FROM bucardo.syncrun WHERE sync = 's'").await, 21);
    for database in [&town.a, &town.b] {
        assert_eq!(database.number("SELECT count(*) FROM bucardo.conflict_kept").await, 0, "moved");
    }

    // Decided is decided: neither a crash nor a look at the same rows tells it again.
    daemon.kill();
    let mut daemon = town.daemon().await;
    // The test writes faster than clocks can be compared.
    daemon.announce("closer than the clocks");
    town.bucardo.run("kick s 0");
    set(&town.b, "t_skip", 1, "b again").await;
    set(&town.b, "t_source", 1, "b again").await;
    let row = "SELECT note FROM t_skip WHERE id = 1";
    wait::until_equal("the next change of a skipped row", WITHIN, &"b again".to_owned(), async || {
        town.a.value(row).await
    })
    .await;
    settled(&town, 21).await;
    assert_same("t_source", &[&town.a, &town.b, &town.c]).await;
    assert_eq!(
        town.a.value("SELECT note FROM t_source WHERE id = 1").await,
        "b again",
        "a later change is no conflict"
    );
    assert_eq!((told(&town), listed(&town).len()), (21, 21));
    daemon.stop().await;
}

/// `bucardo_abort` asks a person: the sync says which row it is, and goes on when the strategy is another one.
#[tokio::test]
async fn abort_names_the_row_and_goes_on_with_another_strategy() {
    let town = masters().await;
    town.bucardo.run("update sync s conflict=abort");
    town.bucardo.run("update table t_source conflict=");
    set(&town.a, "t_source", 3, "a").await;
    set(&town.b, "t_source", 3, "b").await;
    let mut daemon = town.daemon().await;
    daemon.announce("conflict");
    daemon.announce("Conflict");
    wait::until("the trouble in the status", WITHIN, async || {
        let status = town.bucardo.run("status s");
        if status.contains("t_source") && status.contains(": Bad") { Ok(()) } else { Err(status) }
    })
    .await;
    let status = town.bucardo.run("status s");
    assert!(status.contains('3'), "the key is told: {status}");
    assert_eq!(told(&town), 0, "nothing was decided");
    assert_eq!(town.a.value("SELECT note FROM t_source WHERE id = 3").await, "a");
    assert_eq!(town.b.value("SELECT note FROM t_source WHERE id = 3").await, "b");

    town.bucardo.run("update table t_source conflict=target");
    town.bucardo.run("reload s");
    settled(&town, 1).await;
    assert_same("t_source", &[&town.a, &town.b, &town.c]).await;
    assert_eq!(town.a.value("SELECT note FROM t_source WHERE id = 3").await, "b");
    daemon.stop().await;
}

/// Names, keys and rows that break whatever is put together as text, and values that `json` takes and `jsonb` does not.
#[tokio::test]
async fn hostile_rows_are_decided_and_listed_like_any_other() {
    let ddl =
        r#"CREATE TABLE "we'ird ""x"" {} $1" ("k'ey" text, n numeric, j json, "no""te" text, PRIMARY KEY ("k'ey", n))"#;
    let town = Town::found(ddl).await;
    for (name, database) in [("A", &town.a), ("B", &town.b)] {
        town.bucardo.add_db(name, database);
    }
    town.bucardo.run("add all tables db=A relgroup=r");
    town.bucardo.run("add sync s relgroup=r dbs=A:source,B:source conflict_strategy=B");
    let table = r#""we'ird ""x"" {} $1""#;
    let key = r#"E'it''s\n"quoted" \\ {}\t$1 é😀', 12.10"#;
    for (database, note) in [(&town.a, "a"), (&town.b, "b")] {
        let json = r#"'{"nul": "\u0000", "half": "\ud800", "big": 1e999999}'"#;
        database.run(&format!("INSERT INTO {table} VALUES ({key}, {json}, E'{note}\\n\\\\')")).await;
    }
    let daemon = town.daemon().await;
    let total = "SELECT coalesce(sum(conflicts), 0)::bigint FROM bucardo.conflict_total";
    wait::until_equal("the conflict", WITHIN, &1, async || town.control.number(total).await).await;
    assert_same(table, &[&town.a, &town.b]).await;
    let all: Value = serde_json::from_str(&town.bucardo.run("list conflicts --json")).unwrap();
    let one = &all[0];
    assert_eq!((one["winner"].as_str(), one["strategy"].as_str()), (Some("B"), Some("B")), "{one}");
    assert_eq!(one["table"], "we'ird \"x\" {} $1");
    assert_eq!(one["key"]["k'ey"], "it's\n\"quoted\" \\ {}\t$1 é😀");
    assert_eq!(one["key"]["n"], "12.10");
    let row = one["rows"]["A"].as_str().expect("jsonb cannot hold it, so it is a text");
    assert!(
        row.contains(r#""nul": "\u0000", "half": "\ud800", "big": 1e999999"#) && row.contains(r#""a\n\\""#),
        "{row}"
    );
    let printed = town.bucardo.run("list conflicts");
    assert!(
        printed.contains("k'ey=it's\\n\"quoted\" \\ {}\\t$1 é😀, n=12.10") || printed.contains("n=12.10, k'ey="),
        "{printed}"
    );
    daemon.stop().await;
}

/// The control database takes no conflicts for a while, and the daemon is killed meanwhile: merging goes on, and every
/// conflict is told in the end, once.
#[tokio::test]
async fn conflicts_wait_at_the_sources_until_they_can_be_kept() {
    let town = Town::found("CREATE TABLE t (id int PRIMARY KEY, note text)").await;
    for (name, database) in [("A", &town.a), ("B", &town.b)] {
        town.bucardo.add_db(name, database);
        database.run("INSERT INTO t SELECT n, 'before' FROM generate_series(1, 700) n").await;
    }
    town.bucardo.run("add sync s tables=t dbs=A:source,B:source autokick=0 conflict_strategy=source");
    town.control.run("ALTER TABLE bucardo.conflict RENAME TO hidden").await;
    let mut daemon = town.daemon().await;
    for (database, note) in [(&town.a, "a"), (&town.b, "b")] {
        database.run(&format!("UPDATE t SET note = '{note}'")).await;
    }
    town.bucardo.run("kick s 0");
    assert_same("t", &[&town.a, &town.b]).await;
    assert_eq!(town.b.value("SELECT DISTINCT note FROM t").await, "a", "decided");
    daemon.logs("conflicts wait in the database", WITHIN).await;
    daemon.announce("conflicts wait in the database");
    daemon.announce("the history of conflicts is not pruned");
    daemon.assert_quiet();
    assert_eq!(told(&town), 0);
    let waiting = "SELECT count(DISTINCT id) FROM bucardo.conflict_kept";
    assert_eq!(town.a.number(waiting).await, 700);
    daemon.kill();

    town.control.run("ALTER TABLE bucardo.hidden RENAME TO conflict").await;
    let mut daemon = town.daemon().await;
    daemon.announce("conflicts wait in the database");
    daemon.announce("the history of conflicts is not pruned");
    town.bucardo.run("kick s 0");
    for database in [&town.a, &town.b] {
        wait::until_equal("no conflict that waits", WITHIN, &0, async || database.number(waiting).await).await;
    }
    assert_eq!((told(&town), listed(&town).len()), (700, 700));
    assert_eq!(town.control.number("SELECT sum(conflicts)::bigint FROM bucardo.syncrun WHERE sync = 's'").await, 700);
    daemon.stop().await;
}
