//! Conflicts on the command line: strategies as they are written, and the history as it is read.

use std::collections::BTreeMap;

use bucardo::catalog::conflicts::{self, Conflict};
use bucardo::catalog::{load_sync, load_syncs};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::cli_lab::CliLab;

const TABLES: &str = "CREATE TABLE t1 (id int PRIMARY KEY, note text); CREATE TABLE t2 (id int PRIMARY KEY);
    CREATE SEQUENCE counter;";

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_750_000_000 + seconds, 250_000_000).unwrap()
}

fn conflict(id: &str, sync: &str, table: &str, rows: &[(&str, Option<&str>)], seconds: i64) -> Conflict {
    let version = |seconds| json!({"time": at(seconds).to_rfc3339(), "db": "A", "serial": 0});
    Conflict {
        id: id.to_owned(),
        sync: sync.into(),
        schema: "public".to_owned(),
        table: table.to_owned(),
        key: json!({"id": "7"}),
        strategy: "bucardo_latest".to_owned(),
        winner: "B".into(),
        versions: json!({"A": version(seconds - 2), "B": version(seconds - 1)}),
        rows: rows.iter().map(|(db, row)| ((*db).into(), row.map(str::to_owned))).collect::<BTreeMap<_, _>>(),
        time: at(seconds),
    }
}

/// An operator who is called at night sees which row it was, who won, and what was lost.
#[tokio::test]
async fn conflicts_are_listed_with_both_rows_the_newest_first() {
    let lab = CliLab::start().await;
    let (a, _b) = (lab.db("A", TABLES).await, lab.db("B", TABLES).await);
    lab.bucardo.run("add sync s tables=t1 dbs=A,B");
    assert_eq!(lab.bucardo.run("list conflicts"), "There were no conflicts\n");
    assert_eq!(lab.bucardo.run("list conflicts --json"), "[]\n");

    let rows = [
        ("A", Some(r#"{"id": 7, "note": "from a", "price": 12.10, "big": 12345678901234567890.5}"#)),
        ("B", Some(r#"{"id": 7, "note": "from b", "price": 12.10, "big": 12345678901234567890.5}"#)),
    ];
    let all = [
        conflict("1", "s", "t1", &rows, 10),
        conflict("2", "gone", "t2", &[("A", None), ("B", Some("{\"id\": 7}"))], 20),
        conflict("3", "s", "t\n2\u{1b}[2J", &[], 5),
    ];
    let mut session = lab.control.session().await;
    conflicts::add(&mut session, &all, true).await.unwrap();

    let printed = lab.bucardo.run("list conflicts");
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(lines[0], "Conflicts: 3, the newest first");
    assert!(lines[2].ends_with("  Sync gone  Table public.t2  Key id=7"), "{printed}");
    assert_eq!(lines[3], "  Won by B (bucardo_latest)");
    assert!(lines[4].starts_with("    A  ") && lines[4].ends_with("  (deleted)"), "{printed}");
    assert!(lines[5].starts_with("  * B  ") && lines[5].ends_with(".250000  {\"id\": 7}"), "{printed}");
    assert!(lines[7].ends_with("  Sync s  Table public.t1  Key id=7"), "{printed}");
    assert_eq!(lines[8], "  Won by B (bucardo_latest); different in note");
    assert!(lines[9].contains("\"from a\"") && lines[10].contains("\"from b\""), "{printed}");
    assert!(lines[9].contains("12345678901234567890.5") && lines[9].contains("12.10"), "every digit: {printed}");
    assert!(lines[12].contains("Table public.t\\n2\\u{1b}[2J"), "nothing reaches the terminal: {printed}");

    assert_eq!(lab.bucardo.run("list conflict s").lines().next(), Some("Conflicts: 2, the newest first"));
    let one = lab.bucardo.run("list conflicts s --limit 1");
    assert!(one.starts_with("Conflicts: 2; the newest 1 of them"), "{one}");
    assert_eq!(one.lines().filter(|line| line.contains("  Sync ")).count(), 1);
    assert!(lab.bucardo.run("list conflicts table=public.t2").contains("Sync gone"));
    assert_eq!(lab.bucardo.run("list conflicts table=other.t2"), "There were no conflicts\n");
    let printed = lab.bucardo.run("list conflicts s limit=1 --json");
    assert!(printed.contains("12345678901234567890.5"), "{printed}");
    let json: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(json.as_array().unwrap().len(), 1);
    assert_eq!((json[0]["winner"].as_str(), json[0]["rows"]["A"]["note"].as_str()), (Some("B"), Some("from a")));
    assert_eq!((json[0]["key"]["id"].as_str(), json[0]["versions"]["B"]["serial"].as_i64()), (Some("7"), Some(0)));
    let refusal = lab.refused(255, &["list", "conflicts", "nosuch"]).await;
    assert!(refusal.starts_with("No such sync: nosuch"), "{refusal}");
    lab.refused(1, &["remove", "conflicts", "s"]).await;

    // A key has its columns in its own order, `json` keeps a key that it has twice, and who had no row has deleted none.
    a.run("CREATE TABLE pair (region text, id int, doc json, PRIMARY KEY (region, id))").await;
    lab.bucardo.run("add table pair db=A");
    let twins = r#"{"region":"x","id":7,"doc":{"a":1,"a":2}}"#;
    let odd = Conflict {
        key: json!({"id": "7", "region": "x"}),
        versions: json!({"A": {"time": at(0).to_rfc3339(), "db": "A", "serial": 0}}),
        ..conflict("4", "s", "pair", &[("A", Some(twins)), ("B", None)], 30)
    };
    conflicts::add(&mut session, &[odd], true).await.unwrap();
    let printed = lab.bucardo.run("list conflicts s limit=1");
    for word in ["Table public.pair  Key region=x, id=7\n", twins, "  (no row)"] {
        assert!(printed.contains(word), "{word}: {printed}");
    }
}

#[tokio::test]
async fn totals_stay_when_the_history_is_pruned_and_status_tells_them() {
    let lab = CliLab::start().await;
    let _dbs = (lab.db("A", TABLES).await, lab.db("B", TABLES).await);
    lab.bucardo.run("add sync s tables=t1,t2 dbs=A,B");
    lab.bucardo.run("add sync quiet tables=t1 dbs=A,B");
    assert!(!lab.bucardo.run("status").contains("Conflicts"), "nobody needs an empty column");
    let mut session = lab.control.session().await;
    let all: Vec<Conflict> =
        (0..5).map(|id| conflict(&id.to_string(), "s", if id == 0 { "t2" } else { "t1" }, &[], id)).collect();
    conflicts::add(&mut session, &all, true).await.unwrap();

    let told = |text: String| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let table = told(lab.bucardo.run("status"));
    assert!(table[0].ends_with("Conflicts"), "{table:?}");
    assert!(table.iter().any(|line| line.starts_with(" s ") && line.ends_with("| 5")), "{table:?}");
    assert!(table.iter().any(|line| line.starts_with(" quiet ") && line.ends_with("| 0")), "{table:?}");
    let detail = lab.bucardo.run("status s");
    assert!(detail.contains(": 5 (the last one: Jun 15, 2025 "), "{detail}");
    assert!(detail.contains("Conflicts in") && detail.contains(": public.t1 : 4"), "{detail}");

    lab.control.run("UPDATE bucardo.conflict SET cdate = now() - interval '10 days' WHERE id <> '4'").await;
    let day = std::time::Duration::from_secs(24 * 3600);
    use bucardo::catalog::conflict_history::prune;
    assert_eq!(prune(&session, day, 3).await.unwrap(), 3, "a batch has a bound");
    assert_eq!(prune(&session, day, 3).await.unwrap(), 1);
    assert_eq!(prune(&session, day, 3).await.unwrap(), 0, "what is young stays");
    let printed = lab.bucardo.run("list conflicts s");
    assert!(printed.starts_with("Conflicts: 5; the newest 1 of them"), "{printed}");
    let json: Value = serde_json::from_str(&lab.bucardo.run("status --json")).unwrap();
    let sync = json["syncs"].as_array().unwrap().iter().find(|sync| sync["name"] == "s").unwrap();
    assert_eq!(sync["conflicts"]["total"], 5);
    assert_eq!(sync["conflicts"]["tables"][1]["conflicts"], 1);
    assert!(sync["conflicts"]["last"].as_str().unwrap().starts_with("2025-06-15T"));
    lab.control.run("DELETE FROM bucardo.conflict").await;
    assert_eq!(lab.bucardo.run("list conflicts s"), "There were 5 conflicts; none of them is kept any longer\n");
}

/// Upstream takes any text and fails when the first conflict occurs; here the words are checked when they are written.
#[tokio::test]
async fn strategies_are_checked_when_they_are_written() {
    let lab = CliLab::start().await;
    let _dbs = (lab.db("A", TABLES).await, lab.db("B", TABLES).await, lab.db("C", TABLES).await);
    lab.bucardo.run("add sync s tables=t1,t2,counter dbs=A,B");
    let stored = || async { lab.control.value("SELECT conflict_strategy FROM bucardo.sync").await };
    assert_eq!(stored().await, "", "who says nothing follows the setting");
    for (word, expected) in [
        ("standard_conflict=source", "bucardo_source"),
        ("conflict=Target", "bucardo_target"),
        ("conflict_strategy=skip", "bucardo_skip"),
        ("conflict_strategy=bucardo_random", "bucardo_random"),
        ("conflict_strategy=latest_all", "bucardo_latest_all_tables"),
        ("conflict_strategy=abort", "bucardo_abort"),
        ("conflict_strategy=bucardo_custom", "bucardo_custom"),
        ("conflict_strategy=default", "bucardo_latest"),
        ("conflict_strategy=B,A", "B A"),
    ] {
        let printed = lab.bucardo.run(&format!("update sync s {word}"));
        assert!(printed.starts_with(&format!("Set conflict strategy to '{expected}'\n")), "{word}: {printed}");
        assert_eq!(stored().await, expected, "{word}");
    }
    for words in [
        &["update", "sync", "s", "conflict_strategy=newest"][..],
        &["update", "sync", "s", "conflict_strategy=A C"],
        &["add", "sync", "x", "tables=t1", "dbs=A,B", "standard_conflict=oldest"],
        &["update", "table", "public.t1", "standard_conflict=oldest"],
        &["add", "table", "t1", "standard_conflict=oldest"],
        &["add", "all", "tables", "db=C", "standard_conflict=oldest"],
        &["set", "default_conflict_strategy=oldest"],
    ] {
        let refusal = lab.refused(255, words).await;
        for word in ["bucardo_latest", "bucardo_skip", "bucardo_abort", "names of databases"] {
            assert!(refusal.contains(word), "{words:?} names {word}: {refusal}");
        }
    }
    for (word, expected) in [("standard_conflict=lowest", "bucardo_lowest"), ("conflict_strategy=B,A", "B A")] {
        lab.bucardo.run(&format!("update sequence counter {word}"));
        let listed = lab.bucardo.run("list sequences");
        assert!(listed.contains(&format!("(conflict_strategy:{expected})")), "{listed}");
    }
    for (refused, why) in [
        (["update", "sequence", "counter", "standard_conflict=random"], "means nothing for a sequence"),
        (["update", "sequence", "counter", "standard_conflict=B,X"], "\"X\" is not a db of the catalog"),
        (["update", "table", "public.t1", "standard_conflict=lowest"], "is one of sequences"),
    ] {
        let refusal = lab.refused(255, &refused).await;
        assert!(refusal.contains(why), "{refusal}");
    }
    lab.bucardo.run("update sequence counter conflict_strategy=");
    assert_eq!(lab.bucardo.run("list sequences"), "Sequence: public.counter  DB: A  Syncs: s\n");
    lab.refused(255, &["set", "conflict_keep=-1"]).await;
}

/// A sync of its own words, a table of its own, and the setting for those who say nothing.
#[tokio::test]
async fn tables_win_over_syncs_and_syncs_over_the_setting() {
    let lab = CliLab::start().await;
    let _dbs = (lab.db("A", TABLES).await, lab.db("B", TABLES).await);
    lab.bucardo.run("add table t1 db=A standard_conflict=target");
    lab.bucardo.run("add sync s tables=t1,t2 dbs=A,B");
    let loaded = || async {
        let sync = load_sync(&lab.control.session().await, &"s".into()).await.unwrap().unwrap();
        let goats: Vec<_> = sync.goats.iter().map(|goat| goat.conflict_strategy.clone()).collect();
        (sync.conflict_strategy, goats)
    };
    assert_eq!(loaded().await, ("bucardo_latest".to_owned(), vec![Some("bucardo_target".to_owned()), None]));
    lab.bucardo.run("set default_conflict_strategy=source");
    assert_eq!(loaded().await.0, "bucardo_source");
    let json: Value = serde_json::from_str(&lab.bucardo.run("list sync s --json")).unwrap();
    assert_eq!(json[0]["conflict_strategy"], "bucardo_source", "the one that counts");
    lab.bucardo.run("update table t1 standard_conflict=");
    lab.bucardo.run("update table t2 conflict_strategy=skip");
    assert!(lab.bucardo.run("list table t2").contains("  (conflict_strategy:bucardo_skip)"));
    lab.bucardo.run("update sync s conflict=abort");
    assert_eq!(loaded().await, ("bucardo_abort".to_owned(), vec![None, Some("bucardo_skip".to_owned())]));
    lab.bucardo.run("update sync s conflict=");
    lab.bucardo.run("set default_standard_conflict=none");
    assert_eq!(loaded().await.0, "bucardo_latest");
}

/// Names of databases must be sources: a target has nothing to win with.
#[tokio::test]
async fn strategies_name_sources_of_the_sync() {
    let lab = CliLab::start().await;
    let _dbs = (lab.db("A", TABLES).await, lab.db("B", TABLES).await, lab.db("C", TABLES).await);
    lab.bucardo.run("add dbgroup g A:source B:source C:target");
    lab.bucardo.run("add relgroup r t1 db=A");
    lab.control
        .run("INSERT INTO bucardo.sync (name, herd, dbs, conflict_strategy) VALUES ('s', 'r', 'g', 'B A')")
        .await;
    let refusal = lab.refused(1, &["update", "sync", "s", "conflict=C,A"]).await;
    assert!(refusal.contains("\"C A\" of sync \"s\"") && refusal.contains("\"C\" is not a source"), "{refusal}");
    assert!(refusal.contains("its sources are A, B"), "{refusal}");
    let refusal = lab.refused(1, &["update", "table", "t1", "conflict=C"]).await;
    assert!(refusal.contains("of table \"public.t1\""), "{refusal}");
    lab.bucardo.run("update dbgroup g A:source B:source C:source");
    lab.bucardo.run("update sync s conflict=C,A");
    let refusal = lab.refused(1, &["update", "dbgroup", "g", "A:source", "B:source", "C:target"]).await;
    assert!(refusal.contains("\"C\" is not a source"), "the strategy would mean nothing: {refusal}");

    // What was written behind the program's back is found, too, and may be mended one after the other.
    lab.control
        .run("UPDATE bucardo.goat SET conflict_strategy = 'odd'; UPDATE bucardo.sync SET conflict_strategy = 'X'")
        .await;
    let session = lab.control.session().await;
    let problems = || async {
        load_syncs(&session).await.unwrap().iter().flat_map(bucardo::source::strategies::problems).collect::<Vec<_>>()
    };
    let told = problems().await;
    assert!(told[0].contains("\"X\" of sync \"s\"") && told[1].contains("\"odd\" of table \"public.t1\""), "{told:?}");
    lab.bucardo.run("update sync s conflict=latest");
    lab.bucardo.run("update table t1 conflict=");
    assert_eq!(problems().await, [""; 0]);
}
