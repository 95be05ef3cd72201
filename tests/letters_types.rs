//! Values that the types of another database do not have, as words of an enumeration and what a domain refuses, in rows and
//! in keys: such rows are told to codes, or wait alone, and everything else goes on.

use bucardo::custom::{Code, Hook};
use serde_json::{Value, json};

use crate::support::SyncLab;
use crate::support::codes::{Diary, code, give};

/// The types are wider at `a`, but have the same names.
const DDL: &str = "CREATE TYPE mood AS ENUM ('glad', 'sad'); CREATE DOMAIN small AS int; \
    CREATE TABLE people (id int PRIMARY KEY, mood mood, size small, moods mood[]); \
    CREATE TABLE moods (mood mood PRIMARY KEY, note text); \
    CREATE TABLE sizes (size small, n int, PRIMARY KEY (size, n)); CREATE TABLE notes (id int PRIMARY KEY)";
const GOATS: [&str; 4] = ["people:id", "moods:mood", "sizes:size,n", "notes:id"];
const WIDEN: &str = "ALTER TYPE mood ADD VALUE 'new'";
const NARROW: &str = "ALTER DOMAIN small ADD CONSTRAINT below CHECK (VALUE < 100)";
const LETTERS: &str = "SELECT tablename || ' ' || coalesce(key ->> 'id', key ->> 'mood', key ->> 'size') || ' ' || sqlstate \
    FROM bucardo.deadletter ORDER BY 1";

async fn counts(lab: &SyncLab, name: &str) -> String {
    let count = |table: &str| format!("(SELECT count(*) FROM {table})");
    lab.on(name)
        .value(&format!("SELECT {}", ["people", "moods", "sizes", "notes"].map(count).join(" || ' ' || ")))
        .await
}

/// Rows of `a`, of which others do not take those with unknown words and with sizes that are too large.
fn fill(rows: u32) -> String {
    format!(
        "INSERT INTO people SELECT n, 'glad', 5, '{{sad}}' FROM generate_series(1, {rows}) n; \
         UPDATE people SET mood = 'new' WHERE id = 3; UPDATE people SET size = 500 WHERE id = 4; \
         UPDATE people SET moods = '{{sad,new}}' WHERE id = 5; \
         INSERT INTO moods VALUES ('glad', 'x'), ('new', 'y'); \
         INSERT INTO sizes SELECT 5, n FROM generate_series(1, {rows}) n; \
         INSERT INTO sizes VALUES (500, 1), (500, 2); INSERT INTO notes VALUES (1)"
    )
}

/// Of few rows and of many those wait that the target's types do not take, be it the key that they do not take; one whose
/// row is deleted waits no longer, and all arrive when the types are alike.
#[tokio::test]
async fn rows_that_a_targets_types_refuse_wait_alone() {
    for rows in [20, 3000] {
        let mut lab = SyncLab::start(&["b"], DDL, &GOATS).await;
        lab.sync.deadletter = true;
        lab.renew();
        lab.on("a").run(WIDEN).await;
        lab.on("b").run(NARROW).await;
        lab.on("a").run(&fill(rows)).await;
        let report = lab.round("b").await.unwrap();
        assert!(report.quarantined.is_empty(), "{:?}", report.quarantined);
        let all = [
            "moods new 22P02",
            "people 3 22P02",
            "people 4 23514",
            "people 5 22P02",
            "sizes 500 23514",
            "sizes 500 23514",
        ];
        assert_eq!(lab.on("b").rows(LETTERS).await, all);
        assert_eq!(counts(&lab, "b").await, format!("{} 1 {rows} 1", rows - 3));
        assert!(lab.round("b").await.unwrap().is_empty(), "the position is past it");
        lab.on("a").run("UPDATE moods SET note = 'z'; DELETE FROM sizes WHERE size = 500 AND n = 2").await;
        lab.drain("b").await;
        assert_eq!(lab.on("b").rows(LETTERS).await, all[..5]);
        assert_eq!(lab.on("b").value("SELECT note FROM moods").await, "z");
        lab.on("a").run("DELETE FROM moods WHERE mood = 'new'; DELETE FROM people WHERE id = 3").await;
        lab.drain("b").await;
        assert_eq!(lab.on("b").rows(LETTERS).await, ["people 4 23514", "people 5 22P02", "sizes 500 23514"]);
        lab.on("a").run("INSERT INTO moods VALUES ('new', 'y')").await;
        lab.drain("b").await;
        assert_eq!(lab.on("b").value("SELECT tries FROM bucardo.deadletter WHERE tablename = 'moods'").await, "1");
        lab.on("b").run(WIDEN).await;
        lab.on("b").run("ALTER DOMAIN small DROP CONSTRAINT below").await;
        lab.on("a").run("UPDATE people SET size = size + 1; UPDATE moods SET note = 'w'; UPDATE sizes SET n = n WHERE size = 500").await;
        lab.drain("b").await;
        assert_eq!(lab.on("b").rows(LETTERS).await, Vec::<String>::new());
        lab.assert_same().await;
    }
}

/// A code is told of each, of keys that the target does not know too, and what it mends at the source comes with the next
/// round. Without help the keys are named, and the other tables go on.
#[tokio::test]
async fn codes_are_told_what_a_targets_types_refuse() {
    let mut lab = SyncLab::start(&["b"], DDL, &GOATS).await;
    lab.on("a").run(WIDEN).await;
    lab.on("b").run(NARROW).await;
    lab.on("a").run(&fill(20)).await;
    let report = lab.round("b").await.unwrap();
    let mut why: Vec<(&str, &str)> =
        report.quarantined.iter().map(|it| (it.relation.as_str(), it.why.as_str())).collect();
    why.sort_unstable();
    for ((table, why), (expected, keys)) in why.iter().zip([
        ("public.moods", "refused: mood=new)"),
        ("public.people", "refused: id=3, id=4, id=5)"),
        ("public.sizes", "refused: size=500 n=1, size=500 n=2)"),
    ]) {
        assert_eq!(*table, expected);
        assert!(why.contains(keys), "{table}: {why}");
    }
    assert_eq!(counts(&lab, "b").await, "0 0 0 1");
    let mends = [
        "a: UPDATE people SET mood = 'sad' WHERE mood = 'new'\n\
            a: UPDATE people SET size = 50, moods = '{}' WHERE size = 500 OR 'new' = ANY (moods)\nrunagain=1",
        "a: DELETE FROM moods WHERE mood = 'new'\nrunagain=1",
        "a: UPDATE sizes SET size = 50 WHERE size = 500\nrunagain=1",
    ];
    let diary = Diary::default();
    let of_table = |(goat, mend)| Code { id: goat, goat: Some(goat), ..code(Hook::Exception, mend) };
    give(&mut lab, &diary, (1..).zip(mends).map(of_table).collect());
    let report = lab.round("b").await.unwrap();
    assert!(report.quarantined.is_empty(), "{:?}", report.quarantined);
    let inputs: Vec<Value> = diary.inputs().into_iter().map(|(_, input)| input).collect();
    let told = |table: &str| inputs.iter().find(|input| input["tablename"] == table).unwrap_or(&Value::Null).clone();
    let (people, moods) = (told("people"), told("moods"));
    assert_eq!(people["keys"], json!([{"id": "3"}, {"id": "4"}, {"id": "5"}]));
    assert_eq!((&people["sqlstate"], &people["rows"][0]["mood"]), (&json!("22P02"), &json!("new")));
    assert_eq!((&moods["sqlstate"], &moods["keys"]), (&json!("22P02"), &json!([{"mood": "new"}])));
    assert_eq!((&moods["rows"], &moods["present"]), (&json!([{"mood": "new", "note": "y"}]), &json!([null])));
    assert!(moods["error_string"].as_str().unwrap().contains("mood: \"new\""), "{moods}");
    lab.drain("b").await;
    lab.assert_same().await;
}

/// The same among masters, whichever of them has the narrower types: a conflict about a key that one of them does not know
/// is decided and told like any other.
#[tokio::test]
async fn rows_that_a_masters_types_refuse_wait_alone() {
    for (narrow, wide, third, rows) in [("b", "a", "c", 20), ("a", "b", "c", 20), ("b", "a", "c", 3000)] {
        let mut lab = SyncLab::masters(&["a", "b", "c"], &[], DDL, &GOATS).await;
        lab.sync.deadletter = true;
        lab.renew();
        lab.on(wide).run(WIDEN).await;
        lab.on(third).run(WIDEN).await;
        lab.on(narrow).run(NARROW).await;
        lab.on(wide).run(&fill(rows)).await;
        lab.on(narrow).run("INSERT INTO sizes VALUES (6, 1)").await;
        lab.settle().await;
        let all = [
            "moods new 22P02",
            "people 3 22P02",
            "people 4 23514",
            "people 5 22P02",
            "sizes 500 23514",
            "sizes 500 23514",
        ];
        assert_eq!(lab.on(narrow).rows(LETTERS).await, all);
        assert_eq!(counts(&lab, narrow).await, format!("{} 1 {} 1", rows - 3, rows + 1));
        assert_eq!(counts(&lab, third).await, format!("{rows} 2 {} 1", rows + 3));

        lab.on(wide).run("UPDATE moods SET note = 'w'; DELETE FROM sizes WHERE size = 500 AND n = 2").await;
        lab.on(third).run("UPDATE moods SET note = 't' WHERE mood = 'new'").await;
        lab.settle().await;
        let told = lab.conflicts.all();
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!((&told[0].key, told[0].table.as_str()), (&json!({"mood": "new"}), "moods"));
        assert_eq!(lab.on(narrow).rows(LETTERS).await, all[..5]);
        assert_eq!(lab.on(narrow).rows("SELECT mood || note FROM moods").await, ["gladw"]);
        assert_eq!(lab.on(narrow).value("SELECT tries FROM bucardo.deadletter WHERE tablename = 'moods'").await, "2");
        assert_eq!(lab.on(wide).rows("SELECT note FROM moods ORDER BY mood").await, ["w", "t"]);

        lab.on(third).run("DELETE FROM moods WHERE mood = 'new'; DELETE FROM people WHERE id = 3").await;
        lab.settle().await;
        assert_eq!(lab.on(narrow).rows(LETTERS).await, ["people 4 23514", "people 5 22P02", "sizes 500 23514"]);
        lab.on(third).run("INSERT INTO moods VALUES ('new', 'again')").await;
        lab.settle().await;
        assert_eq!(lab.on(narrow).rows(LETTERS).await.len(), 4);
        lab.on(narrow).run(WIDEN).await;
        lab.on(narrow).run("ALTER DOMAIN small DROP CONSTRAINT below").await;
        lab.on(wide).run("UPDATE people SET size = size + 1; UPDATE moods SET note = 'w'; UPDATE sizes SET n = n WHERE size = 500").await;
        lab.settle().await;
        assert_eq!(lab.on(narrow).rows(LETTERS).await, Vec::<String>::new());
        lab.assert_same().await;
    }
}

/// Codes of masters are told, too, and mend a row at whichever of them. Without help the table is put aside where it does
/// not fit, and the keys are named.
#[tokio::test]
async fn codes_are_told_what_a_masters_types_refuse() {
    let mut lab = SyncLab::masters(&["a", "b"], &[], DDL, &GOATS).await;
    lab.on("a").run(WIDEN).await;
    lab.on("a").run("INSERT INTO moods VALUES ('glad', 'x'), ('new', 'y'); INSERT INTO notes VALUES (1)").await;
    let report = lab.merge().await.unwrap();
    let [out] = report.quarantined.as_slice() else { panic!("{report:?}") };
    assert!(out.why.contains("refused: mood=new)") && out.relation == "public.moods", "{}", out.why);
    assert_eq!(counts(&lab, "b").await, "0 0 0 1");
    let diary = Diary::default();
    give(
        &mut lab,
        &diary,
        vec![code(Hook::Exception, "a: UPDATE moods SET mood = 'sad' WHERE mood = 'new'\nrunagain=1")],
    );
    let report = lab.merge().await.unwrap();
    assert!(report.quarantined.is_empty(), "{:?}", report.quarantined);
    lab.settle().await;
    let inputs = diary.inputs();
    let [(_, told)] = inputs.as_slice() else { panic!("once: {inputs:?}") };
    assert_eq!((&told["sqlstate"], &told["keys"]), (&json!("22P02"), &json!([{"mood": "new"}])));
    assert_eq!((&told["rows"], &told["present"]), (&json!([{"mood": "new", "note": "y"}]), &json!([null])));
    lab.assert_same().await;
}
