//! What custom codes write to replicated tables in a merge's own transactions, while triggers are on: it is ruled on once,
//! like a change of the source where it was written, and whatever crashes all sources come to the same.

use bucardo::custom::{Code, Hook};
use serde_json::json;

use crate::support::codes::{Diary, code, give, number, sides};
use crate::support::sync_lab::dying;
use crate::support::{Accident, SyncLab};

const DDL: &str = "CREATE TABLE orders (id int PRIMARY KEY, note text); CREATE TABLE other (id int PRIMARY KEY); \
    CREATE FUNCTION empty() RETURNS int LANGUAGE plpgsql AS $$ BEGIN \
        IF EXISTS (SELECT FROM orders WHERE note = 'code') THEN TRUNCATE orders; END IF; RETURN 1; END $$";
const GOATS: [&str; 2] = ["orders:id", "other:id"];
/// More changes than are few.
const LARGE: usize = 3000;
const ROWS: &str = "SELECT id || coalesce(note, '') FROM orders WHERE id < 10 ORDER BY id";

/// One that finds rows to write to once, and what is there afterwards.
const WRITES: [(&str, &[&str]); 4] = [
    ("UPDATE orders SET note = 'done' WHERE note = 'code'", &["1done", "2"]),
    (
        "INSERT INTO orders SELECT 3, 'made' FROM orders WHERE note = 'code' ON CONFLICT (id) DO NOTHING",
        &["1code", "2", "3made"],
    ),
    ("DELETE FROM orders WHERE note = 'code'", &["2"]),
    ("SELECT empty()", &[]),
];

async fn masters(names: &[&str]) -> SyncLab {
    let mut lab = SyncLab::masters(names, &[], DDL, &GOATS).await;
    lab.on("a").run("INSERT INTO orders VALUES (1, 'first'), (2, NULL)").await;
    lab.settle().await;
    lab
}

fn at(hook: Hook, db: &str, sql: &str) -> Vec<Code> {
    vec![code(hook, &format!("{db}: {sql}"))]
}

/// Whatever is written, at whichever source and hook, among few changes and many, where two merge and three: all have it
/// at once or after the next merge; nobody hears of a conflict; then there is silence. And a change that is made on top of
/// it is none of its rivals, though the source of the code would win.
#[tokio::test]
async fn what_a_code_writes_is_ruled_on_once() {
    for (names, hook, many) in [
        (&["a", "b"][..], Hook::BeforeCheckRows, 1),
        (&["a", "b"], Hook::BeforeTriggerDisable, 1),
        (&["a", "b"], Hook::AfterTriggerEnable, 1),
        (&["a", "b", "c"], Hook::BeforeCheckRows, LARGE),
        (&["a", "b", "c"], Hook::BeforeTriggerDisable, LARGE),
        (&["a", "b", "c"], Hook::AfterTriggerEnable, LARGE),
    ] {
        let mut lab = masters(names).await;
        let last = names[names.len() - 1];
        for (db, (sql, expected)) in
            [("a", WRITES[0]), (last, WRITES[0])].into_iter().chain(WRITES[1..].iter().map(|it| (last, *it)))
        {
            let why = format!("{sql} at {db} among {names:?} at {} with {many} changes", hook.word());
            lab.sync.conflict_strategy = format!("{db} a b");
            give(&mut lab, &Diary::default(), Vec::new());
            lab.on("a").run("TRUNCATE orders, other").await;
            lab.settle().await;
            lab.on("a").run("INSERT INTO orders VALUES (1, 'code'), (2, NULL)").await;
            lab.settle().await;
            give(&mut lab, &Diary::default(), at(hook, db, sql));
            // The code has to see a change at the later hooks.
            lab.on("a").run(&format!("INSERT INTO other SELECT generate_series(1, {many})")).await;
            lab.on("b").run(&format!("INSERT INTO other SELECT generate_series(10001, 10000 + {many})")).await;
            let report = lab.merge().await.unwrap();
            assert_eq!(report.conflicts, 0, "{why}");
            if hook == Hook::AfterTriggerEnable {
                assert_eq!(lab.merge().await.unwrap().conflicts, 0, "{why}");
            }
            for name in names {
                assert_eq!(lab.on(name).rows(ROWS).await, expected, "{why}: {name}");
            }
            // On top of it, at another source.
            let other = if db == "a" { "b" } else { "a" };
            let change = "INSERT INTO orders VALUES (1, 'later') ON CONFLICT (id) DO UPDATE SET note = 'later'";
            lab.on(other).run(change).await;
            lab.on(other)
                .run("INSERT INTO orders VALUES (3, 'later') ON CONFLICT (id) DO UPDATE SET note = 'later'")
                .await;
            for _ in 0..2 {
                assert_eq!(lab.merge().await.unwrap().conflicts, 0, "{why}");
            }
            assert!(lab.merge().await.unwrap().is_empty(), "{why}");
            lab.assert_same().await;
            let later = lab.on(db).number("SELECT count(*) FROM orders WHERE note = 'later'").await;
            assert_eq!(later, 2, "{why}");
        }
    }
}

/// A code counts into a row that another master counts into as well: a conflict, and one only. What its sum is written to
/// afterwards is not summed again.
#[tokio::test]
async fn sums_are_right_where_a_code_counts_too() {
    let ddl = "CREATE TABLE sums (id int PRIMARY KEY, n int NOT NULL); CREATE TABLE due (n int)";
    for (names, hook) in [
        (&["a", "b"][..], Hook::BeforeCheckRows),
        (&["a", "b"], Hook::BeforeTriggerDisable),
        (&["a", "b", "c"], Hook::BeforeCheckRows),
        (&["a", "b", "c"], Hook::BeforeTriggerDisable),
    ] {
        let mut lab = SyncLab::masters(names, &[], ddl, &["sums:id"]).await;
        let sum = Diary::of(|code, input| {
            if code.hook == Hook::Conflict {
                let n: i64 = sides(input).iter().map(|row| number(row, "n")).sum();
                input["row"] = json!({"id": input["key"]["id"], "n": n});
            }
        });
        let count = "WITH gone AS (DELETE FROM due RETURNING n) INSERT INTO sums SELECT 1, n FROM gone";
        let mut codes = at(hook, "a", count);
        codes.push(code(Hook::Conflict, ""));
        give(&mut lab, &sum, codes);
        lab.on("a").run("INSERT INTO due VALUES (5)").await;
        for (number, name) in names.iter().enumerate().skip(1) {
            lab.on(name)
                .run(&format!("INSERT INTO sums VALUES (1, {})", 10_i32.pow(u32::try_from(number).unwrap())))
                .await;
        }
        let right = if names.len() == 2 { 15 } else { 115 };
        assert_eq!(lab.merge().await.unwrap().conflicts, 1, "{hook:?}");
        assert_eq!(lab.on("b").number("SELECT n FROM sums").await, right, "{hook:?} of {names:?}");
        lab.on("b").run("UPDATE sums SET n = n + 1000").await;
        for _ in 0..2 {
            assert_eq!(lab.merge().await.unwrap().conflicts, 0, "{hook:?}");
        }
        assert!(lab.merge().await.unwrap().is_empty());
        lab.assert_same().await;
        assert_eq!(lab.on("a").number("SELECT n FROM sums").await, right + 1000, "{hook:?} of {names:?}");
    }
}

/// Codes write at two sources, and only one of them commits: what that one got of the other is what all come to, as nobody
/// else has it. The codes do not run again here, so that it is not made anew.
#[tokio::test]
async fn what_others_have_of_a_code_is_kept_where_it_was_lost() {
    for (sql, expected) in WRITES {
        let mut lab = masters(&["a", "b", "c"]).await;
        lab.on("a").run("UPDATE orders SET note = 'code' WHERE id = 1").await;
        lab.settle().await;
        let both = format!("b: INSERT INTO other VALUES (77)\nc: {sql}");
        give(&mut lab, &Diary::default(), vec![code(Hook::BeforeCheckRows, &both)]);
        let fault = lab.merge_failing("committed on b", Accident::Fault).await;
        assert!(fault.message.contains("power fails"), "{fault}");
        assert_eq!(lab.on("b").rows(ROWS).await, expected, "{sql}");
        for name in ["a", "c"] {
            assert_eq!(lab.on(name).rows(ROWS).await, ["1code", "2"], "{sql}: {name}");
        }
        give(&mut lab, &Diary::default(), Vec::new());
        lab.settle().await;
        lab.assert_same().await;
        assert_eq!(lab.on("c").rows(ROWS).await, expected, "{sql}");
        assert_eq!(lab.on("a").number("SELECT count(*) FROM other WHERE id = 77").await, 1);
    }
}

/// Codes write before the rulings and after them in one transaction: the former is not ruled on again, and the latter is
/// news. A sync of so many tables has other sessions look for changes, which do not see what this one has written.
#[tokio::test]
async fn what_codes_write_before_and_after_the_rulings_is_told_apart() {
    const TABLES: usize = 201;
    let tables: String = (1..=TABLES).map(|n| format!("; CREATE TABLE t{n} (id int PRIMARY KEY)")).collect();
    let names: Vec<String> = (1..=TABLES).map(|n| format!("t{n}:id")).collect();
    let goats: Vec<&str> = GOATS.into_iter().chain(names.iter().map(String::as_str)).collect();
    // Three would not wait for one that takes long to prepare so many tables.
    let mut lab = SyncLab::masters(&["a", "b"], &[], &format!("{DDL}{tables}"), &goats).await;
    lab.on("a").run("INSERT INTO orders VALUES (1, 'code'), (2, NULL)").await;
    lab.settle().await;
    let first = at(Hook::BeforeCheckRows, "b", WRITES[0].0);
    let then = "INSERT INTO orders SELECT 3, 'made' FROM orders WHERE note = 'done' ON CONFLICT (id) DO NOTHING";
    give(&mut lab, &Diary::default(), [first, at(Hook::AfterTriggerEnable, "b", then)].concat());
    lab.sync.conflict_strategy = "b a".to_owned();
    assert_eq!(lab.merge().await.unwrap().conflicts, 0);
    assert_eq!(lab.on("a").rows(ROWS).await, ["1done", "2"]);
    assert_eq!(lab.on("b").rows(ROWS).await, ["1done", "2", "3made"]);
    lab.on("a").run("UPDATE orders SET note = 'later' WHERE id = 1").await;
    for _ in 0..2 {
        assert_eq!(lab.merge().await.unwrap().conflicts, 0);
    }
    assert!(lab.merge().await.unwrap().is_empty());
    lab.assert_same().await;
    assert_eq!(lab.on("b").rows(ROWS).await, ["1later", "2", "3made"]);
}

/// A code that adds something to a replicated row, and takes note of it in the same transaction: wherever the merge dies,
/// and at whichever source it writes, the sum is right everywhere. The source of the code commits before the others do, or
/// none of them.
#[tokio::test]
async fn what_a_code_adds_is_added_once_wherever_a_merge_dies() {
    const STEPS: usize = 24;
    let ddl = "CREATE TABLE sums (id int PRIMARY KEY, n int NOT NULL); CREATE TABLE other (id int PRIMARY KEY); \
        CREATE TABLE due (id int, n int)";
    let add = "WITH gone AS (DELETE FROM due RETURNING *) \
        UPDATE sums SET n = sums.n + gone.n FROM gone WHERE sums.id = gone.id";
    let names = ["a", "b", "c"];
    for (db, hook) in [
        ("a", Hook::BeforeCheckRows),
        ("b", Hook::BeforeCheckRows),
        ("c", Hook::BeforeTriggerDisable),
        ("b", Hook::AfterTriggerEnable),
    ] {
        let mut lab = SyncLab::masters(&names, &[], ddl, &["sums:id", "other:id"]).await;
        lab.on("a").run(&format!("INSERT INTO sums SELECT n, 0 FROM generate_series(1, {STEPS}) n")).await;
        lab.settle().await;
        give(&mut lab, &Diary::default(), at(hook, db, add));
        let mut died = Vec::new();
        for step in 1..=STEPS {
            lab.on(db).run(&format!("INSERT INTO due VALUES ({step}, 5)")).await;
            lab.on("a").run(&format!("INSERT INTO other VALUES ({step})")).await;
            if let Err(fault) = lab.merge_watched(dying(step)).await {
                died.push(fault.to_string());
            }
            lab.renew();
            lab.settle().await;
            for name in names {
                let wrong = format!("SELECT id || ' ' || n FROM sums WHERE id <= {step} AND n <> 5");
                let why = format!("at {db}, {hook:?}, step {step}, {:?}: {name}", died.last());
                assert_eq!(lab.on(name).rows(&wrong).await, Vec::<String>::new(), "{why}");
            }
        }
        lab.assert_same().await;
        for step in ["snapshot taken", "rows copied", "committed on a", "committed on b", "committed on c"] {
            assert!(died.iter().any(|fault| fault.contains(step)), "it never died at \"{step}\": {died:?}");
        }
        assert!(lab.conflicts.all().is_empty(), "{db} {hook:?}");
    }
}

/// The source of the code cannot commit: the others do not go without it.
#[tokio::test]
async fn nobody_commits_what_the_source_of_a_code_refuses() {
    let mut lab = masters(&["a", "b"]).await;
    let refuse = "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not today'; END $$; \
        CREATE CONSTRAINT TRIGGER no AFTER UPDATE ON orders DEFERRABLE INITIALLY DEFERRED \
        FOR EACH ROW WHEN (NEW.note = 'done') EXECUTE FUNCTION no(); ALTER TABLE orders ENABLE ALWAYS TRIGGER no";
    lab.on("b").run(refuse).await;
    lab.on("a").run("UPDATE orders SET note = 'code' WHERE id = 1; INSERT INTO other VALUES (1)").await;
    lab.settle().await;
    give(&mut lab, &Diary::default(), at(Hook::BeforeCheckRows, "b", WRITES[0].0));
    lab.merge().await.ok();
    assert_eq!(lab.on("a").rows(ROWS).await, ["1code", "2"]);
    assert_eq!(lab.on("b").rows(ROWS).await, ["1code", "2"]);
    lab.on("b").run("DROP TRIGGER no ON orders").await;
    lab.renew();
    lab.settle().await;
    assert_eq!(lab.on("a").rows(ROWS).await, ["1done", "2"]);
    lab.assert_same().await;
}
