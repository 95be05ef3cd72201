//! The history of conflicts in the control database.

use std::collections::BTreeMap;

use bucardo::catalog::conflicts::{self, Conflict};
use bucardo::catalog::migrate;
use chrono::{DateTime, Utc};
use serde_json::json;
use tokio_postgres::Client;

use crate::support::{Database, fresh_database};

async fn catalog() -> (Database, Client) {
    let database = fresh_database("conflicts").await;
    let mut session = database.session().await;
    migrate::migrate(&mut session).await.unwrap();
    (database, session)
}

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
}

fn conflict(id: &str, table: &str, rows: &[(&str, Option<&str>)], time: i64) -> Conflict {
    Conflict {
        id: id.to_owned(),
        sync: "s".into(),
        schema: "public".to_owned(),
        table: table.to_owned(),
        key: json!({"id": "1"}),
        strategy: "bucardo_latest".to_owned(),
        winner: "a".into(),
        versions: json!({"a": {"time": "2027-01-15T08:00:00Z", "db": "a", "serial": 0}}),
        rows: rows.iter().map(|(db, row)| ((*db).into(), row.map(str::to_owned))).collect::<BTreeMap<_, _>>(),
        time: at(time),
    }
}

async fn totals(database: &Database) -> Vec<String> {
    database.rows("SELECT tablename, conflicts, extract(epoch FROM last)::bigint - 1800000000 FROM bucardo.conflict_total ORDER BY 1").await
}

/// A daemon that dies after the commit, and two sources that tell of the same decision: each conflict counts once.
#[tokio::test]
async fn a_conflict_told_again_is_completed_and_counts_once() {
    let (database, mut session) = catalog().await;
    let one = conflict("1", "t", &[("a", Some(r#"{"id": 1, "amount": 12.10}"#))], 5);
    let other = conflict("2", "t", &[("a", None)], 9);
    assert_eq!(conflicts::add(&mut session, &[one, other.clone()], true).await.unwrap().len(), 2);
    assert_eq!(totals(&database).await, ["t|2|9"]);

    let mut by_b = conflict("1", "t", &[("a", Some("{\"id\": 7}")), ("b", Some("{\"id\": 1}"))], 5);
    by_b.versions = json!({"b": {"serial": 3}});
    let third = conflict("3", "u", &[], 7);
    let again = [by_b.clone(), third, by_b, other];
    let fresh = conflicts::add(&mut session, &again, true).await.unwrap();
    assert_eq!(fresh.iter().map(|conflict| conflict.id.as_str()).collect::<Vec<_>>(), ["3"]);
    assert_eq!(totals(&database).await, ["t|2|9", "u|1|7"]);
    assert_eq!(
        database.value("SELECT rows FROM bucardo.conflict WHERE id = '1'").await,
        r#"{"a": {"id": 1, "amount": 12.10}, "b": {"id": 1}}"#,
        "what was told first stays, digits and all"
    );
    let versions = "SELECT versions->'a'->>'db', versions->'b'->>'serial' FROM bucardo.conflict WHERE id = '1'";
    assert_eq!(database.rows(versions).await, ["a|3"]);
}

/// In one call, too.
#[tokio::test]
async fn the_tellings_of_one_call_are_united() {
    let (database, mut session) = catalog().await;
    let tellings = [
        conflict("1", "t", &[("b", Some("{\"id\": 2}"))], 1),
        conflict("1", "t", &[("a", Some("{\"id\": 1}")), ("b", None)], 1),
    ];
    assert_eq!(conflicts::add(&mut session, &tellings, true).await.unwrap().len(), 1);
    let rows = database.value("SELECT rows FROM bucardo.conflict").await;
    assert_eq!(rows, r#"{"a": {"id": 1}, "b": {"id": 2}}"#);
    assert_eq!(totals(&database).await, ["t|1|1"]);
}

/// Nothing that a table may hold keeps a conflict from being stored, or spoils another one in the same batch.
#[tokio::test]
async fn hostile_names_keys_and_rows_arrive_unchanged() {
    let (database, mut session) = catalog().await;
    let name = "we'ird\"\\ \n\t{}😀 table";
    let text = "it's \"quoted\" \\ back\nnew\tline 😀 \u{7f} \u{fffe} $1 {hole} ''";
    let mut hostile = conflict("o'\"\\\n😀", name, &[], 1);
    hostile.schema = name.to_uppercase();
    hostile.key = json!({ text: text });
    let row = json!({ text: text }).to_string();
    hostile.rows = BTreeMap::from([("a".into(), Some(row)), ("b".into(), None)]);
    // What the type json takes and jsonb does not.
    let odd = [r#"{"j": {"nul": "\u0000"}}"#, r#"{"j": ["\ud800"]}"#, r#"{"j": 1e999999}"#];
    let odd: Vec<Conflict> =
        odd.iter().enumerate().map(|(id, row)| conflict(&format!("odd{id}"), "t", &[("a", Some(*row))], 2)).collect();
    let all: Vec<Conflict> = std::iter::once(hostile).chain(odd).collect();
    assert_eq!(conflicts::add(&mut session, &all, true).await.unwrap().len(), 4);
    assert_eq!(conflicts::add(&mut session, &all, true).await.unwrap().len(), 0);

    let row = session
        .query_one("SELECT id, schemaname, tablename, key, rows FROM bucardo.conflict WHERE id LIKE 'o''%'", &[])
        .await
        .unwrap();
    assert_eq!(row.get::<_, String>("id"), "o'\"\\\n😀");
    assert_eq!(row.get::<_, String>("tablename"), name);
    assert_eq!(row.get::<_, serde_json::Value>("key"), json!({ text: text }));
    assert_eq!(row.get::<_, serde_json::Value>("rows"), json!({"a": { text: text }, "b": null}));
    assert_eq!(
        database.rows("SELECT rows->>'a' FROM bucardo.conflict WHERE id LIKE 'odd%' ORDER BY id").await,
        [r#"{"j": {"nul": "\u0000"}}"#, r#"{"j": ["\ud800"]}"#, r#"{"j": 1e999999}"#],
        "as texts"
    );
    assert_eq!(database.number("SELECT sum(conflicts)::bigint FROM bucardo.conflict_total").await, 4);
}

/// Far more than one statement takes.
#[tokio::test]
async fn many_conflicts_are_written_in_batches_and_all_counted() {
    let (database, mut session) = catalog().await;
    let wide = format!("{{\"note\": \"{}\"}}", "x".repeat(100_000));
    let all: Vec<Conflict> = (0..2500)
        .map(|id| conflict(&format!("{id}"), "t", &[("a", if id % 25 == 0 { Some(&wide) } else { None })], id))
        .collect();
    assert_eq!(conflicts::add(&mut session, &all, true).await.unwrap().len(), 2500);
    assert_eq!(totals(&database).await, ["t|2500|2499"]);
    assert_eq!(database.number("SELECT count(*) FROM bucardo.conflict").await, 2500);
}

/// Somebody does not want rows of customers in the control database.
#[tokio::test]
async fn without_details_a_conflict_is_only_counted() {
    let (database, mut session) = catalog().await;
    let one = conflict("1", "t", &[("a", Some("{\"secret\": 1}"))], 5);
    conflicts::add(&mut session, std::slice::from_ref(&one), false).await.unwrap();
    conflicts::add(&mut session, &[one], false).await.unwrap();
    assert_eq!(totals(&database).await, ["t|1|5"]);
    assert_eq!(database.rows("SELECT key, versions, rows FROM bucardo.conflict").await, ["{}|{}|{}"]);
}
