//! Custom codes that decide conflicts, on real servers: what they say arrives everywhere, once, whatever crashes.
//!
//! `BUCARDO_SEED` sets the first seed of the random runs, `BUCARDO_RUNS` how many follow it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bucardo::catalog::{Member, Role};
use bucardo::custom::{Code, CodeError, Databases, Hook, Host};
use bucardo_actors::model::Fault;
use bucardo_actors::ports::{StepHook, Watch};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use crate::merge_model::dice::Dice;
use crate::merge_model::seeds;
use crate::support::SyncLab;
use crate::support::codes::{code, decide, number, sides};
use crate::support::sync_lab::{dying, member};

/// The whole story: whose row wins, an edited row, a deletion, everyone's own, and what the strategy decides; and what is
/// told of each afterwards.
#[tokio::test]
async fn what_a_code_decides_arrives_everywhere_and_is_told() {
    let ddl = "CREATE TABLE orders (id int PRIMARY KEY, note text)";
    let mut lab = SyncLab::masters(&["a", "b", "c"], &["t"], ddl, &["orders:id"]).await;
    decide(&mut lab, |_, input| match input["key"]["id"].as_str().unwrap() {
        "1" => input["winner"] = json!("a"),
        "2" => input["row"] = json!({"id": 2, "note": "made"}),
        "3" => input["delete"] = json!(true),
        "4" => input["skip"] = json!(true),
        "5" => {}
        "6" => {
            input["rows"]["b"]["note"] = json!("edited");
            input["winner"] = json!("b");
        }
        "7" => input["rowinfo"]["action"] = json!(2),
        "8" => input["conflicts"]["8"] = json!("b a"),
        // It has not changed the row; a single name wins nevertheless.
        "9" => input["winner"] = json!("c"),
        other => panic!("{other}"),
    });
    lab.on("a").run("INSERT INTO orders SELECT n, 'old' FROM generate_series(1, 9) n").await;
    lab.settle().await;
    lab.on("a").run("UPDATE orders SET note = 'a'").await;
    lab.on("b").run("UPDATE orders SET note = 'b'; DELETE FROM orders WHERE id = 8").await;
    let report = lab.merge().await.unwrap();
    assert_eq!((report.keys, report.conflicts), (9, 9));
    let rows = "SELECT id || note FROM orders WHERE id <> 4 ORDER BY id";
    let expected = ["1a", "2made", "5b", "6edited", "7b", "9old"];
    for name in ["a", "b", "c"] {
        assert_eq!(lab.on(name).rows(rows).await, expected, "{name}");
    }
    for (name, note) in [("a", "a"), ("b", "b"), ("c", "old")] {
        assert_eq!(lab.on(name).value("SELECT note FROM orders WHERE id = 4").await, note, "everyone's own");
    }
    assert!(lab.merge().await.unwrap().is_empty(), "a decision is taken once");
    lab.drain("t").await;
    assert_eq!(lab.on("t").rows(rows).await, expected, "who follows one of them has it, too");
    let told: BTreeMap<String, (String, String)> = lab
        .conflicts
        .all()
        .into_iter()
        .map(|it| (it.key["id"].as_str().unwrap().to_owned(), (it.strategy, it.winner.to_string())))
        .collect();
    let of = |id: &str| (told[id].0.as_str(), told[id].1.as_str());
    assert_eq!(of("1"), ("custom code decide: picked", "a"));
    assert_eq!(of("2"), ("custom code decide: edited", ""));
    assert_eq!(of("3"), ("custom code decide: deleted", ""));
    assert_eq!(of("4"), ("custom code decide: skipped", ""));
    assert_eq!(of("5"), ("bucardo_latest", "b"));
}

/// A code can stop the sync; and where codes are to decide, a conflict that none decides stops it, with the key named.
#[tokio::test]
async fn a_conflict_that_nobody_may_decide_stops_the_sync_with_the_key_named() {
    let ddl = "CREATE TABLE orders (id int PRIMARY KEY, note text)";
    let mut lab = SyncLab::masters(&["a", "b"], &[], ddl, &["orders:id"]).await;
    lab.on("a").run("INSERT INTO orders VALUES (7, 'a')").await;
    lab.on("b").run("INSERT INTO orders VALUES (7, 'b')").await;
    decide(&mut lab, |_, input| input["abort"] = json!("ask the shop"));
    let fault = lab.merge().await.unwrap_err();
    let (error, hint) = (fault.to_string(), fault.hint.unwrap_or_default());
    // Whatever the strategy, the code decides: another one helps nobody at night.
    assert!(hint.contains("bucardo update customcode decide status=inactive"), "{hint}");
    assert!(!hint.contains("conflict_strategy="), "{hint}");
    assert!(
        error.contains("custom code \"decide\" aborts: ask the shop: key id=7 was changed in \"a\" and \"b\""),
        "{error}"
    );
    lab.sync.conflict_strategy = "bucardo_custom".to_owned();
    decide(&mut lab, |_, _| {});
    let error = lab.merge().await.unwrap_err().to_string();
    assert!(error.contains("no custom code decided: key id=7"), "{error}");
    decide(&mut lab, |_, input| input["row"] = json!({"id": 8, "note": "x"}));
    let error = lab.merge().await.unwrap_err().to_string();
    assert!(error.contains("\"decide\" returned what cannot be understood: key 7"), "{error}");
    lab.sync.codes.clear();
    lab.renew();
    let error = lab.merge().await.unwrap_err().to_string();
    assert!(error.contains("no custom code decided: key id=7"), "{error}");
    decide(&mut lab, |_, input| input["tablewinner"] = json!("b"));
    lab.settle().await;
    lab.assert_same().await;
    assert_eq!(lab.on("a").value("SELECT note FROM orders").await, "b");
}

/// Names and values that mean something to whoever handles them carelessly, and a number that is written in two ways.
#[tokio::test]
async fn edited_rows_arrive_to_the_byte() {
    const HOSTILE: &str = "\\ \\N \\. \t \n \r \u{8} ' \" $1 {} ü %";
    let ddl = r#"CREATE SCHEMA "sc h'e"; CREATE TABLE "sc h'e"."t ""x\" ("k y" numeric PRIMARY KEY, "v\'al" text, b bytea,
        l text[], j jsonb, n text, e text)"#;
    let mut lab = SyncLab::masters(&["a", "b", "c"], &[], ddl, &["sc h'e.t \"x\\:k y"]).await;
    let seen: Arc<Mutex<Vec<Value>>> = Arc::default();
    let noted = Arc::clone(&seen);
    decide(&mut lab, move |_, input| {
        noted.lock().unwrap().push(input["rows"].clone());
        let mut row = input["rows"]["b"].clone();
        row["v\\'al"] = json!(format!("{}{HOSTILE}", row["v\\'al"].as_str().unwrap()));
        input["row"] = row;
    });
    for (name, key, text) in [("a", "1.0", "A"), ("b", "1.00", HOSTILE)] {
        let session = lab.on(name).session().await;
        let sql = format!(
            r#"INSERT INTO "sc h'e"."t ""x\" VALUES ({key}, $1, '\x00ff5c0a', ARRAY[$1, NULL, ''], '{{"a": "\\n\""}}', NULL, '')"#
        );
        session.execute(&sql, &[&text]).await.unwrap();
    }
    lab.settle().await;
    lab.assert_same().await;
    let row = seen.lock().unwrap()[0]["b"].clone();
    assert_eq!(
        (&row["v\\'al"], &row["b"], &row["n"], &row["e"]),
        (&json!(HOSTILE), &json!("\\x00ff5c0a"), &Value::Null, &json!(""))
    );
    let session = lab.on("c").session().await;
    let found = session.query_one(r#"SELECT "v\'al", b, l, n IS NULL, e FROM "sc h'e"."t ""x\""#, &[]).await.unwrap();
    assert_eq!(found.get::<_, String>(0), format!("{HOSTILE}{HOSTILE}"));
    assert_eq!(found.get::<_, Vec<u8>>(1), [0, 255, 92, 10]);
    assert_eq!(found.get::<_, Vec<Option<String>>>(2), [Some(HOSTILE.to_owned()), None, Some(String::new())]);
    assert!(found.get::<_, bool>(3));
    assert_eq!(found.get::<_, String>(4), "");
}

/// A code that adds what all sides have adds it once, wherever the merge dies, and though a side may come late.
#[tokio::test]
async fn a_sum_is_taken_once_wherever_a_merge_dies() {
    const STEPS: usize = 16;
    let ddl = "CREATE TABLE sums (id int PRIMARY KEY, n int NOT NULL)";
    let mut lab = SyncLab::masters(&["a", "b", "c"], &[], ddl, &["sums:id"]).await;
    decide(&mut lab, |_, input| {
        let n: i64 = sides(input).iter().map(|row| number(row, "n")).sum();
        input["row"] = json!({"id": input["key"]["id"], "n": n});
    });
    let there: Vec<Member> = lab.sync.members.clone();
    let nowhere = lab.on("c").words_through(1);
    let mut died = Vec::new();
    for (step, is_late) in (1..=STEPS).flat_map(|step| [(step, false), (step, true)]) {
        let id = 2 * step + usize::from(is_late);
        for (name, n) in [("a", 1), ("b", 10), ("c", 100)] {
            lab.on(name).run(&format!("INSERT INTO sums VALUES ({id}, {n})")).await;
        }
        if is_late {
            lab.sync.members[2] = member("c", &nowhere, Role::Source);
        }
        lab.renew();
        if let Err(fault) = lab.merge_watched(dying(step)).await {
            died.push(fault.to_string());
        }
        lab.sync.members.clone_from(&there);
        lab.renew();
        lab.settle().await;
    }
    lab.assert_same().await;
    let wrong = "SELECT id || ' ' || n FROM sums WHERE n <> 111 ORDER BY id";
    assert_eq!(lab.on("a").rows(wrong).await, Vec::<String>::new());
    for step in ["custom code conflict", "committed on a", "committed on b", "committed on c", "rows copied"] {
        assert!(died.iter().any(|fault| fault.contains(step)), "it never died at \"{step}\": {died:?}");
    }
}

const NAMES: [&str; 3] = ["a", "b", "c"];
const IDS: usize = 3;

/// Applications that count, each in the column of its source.
struct Counters {
    dice: Dice,
    sessions: Vec<tokio_postgres::Client>,
    /// By source and key.
    counted: [[i64; IDS]; NAMES.len()],
}

impl Counters {
    async fn count(&mut self) {
        let (at, id) = (self.dice.below(NAMES.len()), self.dice.below(IDS));
        let name = NAMES[at];
        let sql = format!("UPDATE counters SET at_{name} = at_{name} + 1, total = total + 1 WHERE id = {id}");
        // A merge may have the row: the application gives up.
        if self.sessions[at].execute(&sql, &[]).await.is_ok_and(|rows| rows == 1) {
            self.counted[at][id] += 1;
        }
    }
}

/// Whatever overlaps, dies or is away: every count is in the sum, and once.
async fn count(seed: u64) {
    let ddl = "CREATE TABLE counters (id int PRIMARY KEY, at_a int NOT NULL, at_b int NOT NULL, at_c int NOT NULL, \
        total int NOT NULL)";
    let mut lab = SyncLab::masters(&NAMES, &[], ddl, &["counters:id"]).await;
    lab.on("a").run("INSERT INTO counters SELECT n, 0, 0, 0, 0 FROM generate_series(0, 2) n").await;
    lab.settle().await;
    decide(&mut lab, |_, input| {
        let most = |column: &str| sides(input).iter().map(|row| number(row, column)).max().unwrap();
        let (a, b, c) = (most("at_a"), most("at_b"), most("at_c"));
        input["row"] = json!({"id": input["key"]["id"], "at_a": a, "at_b": b, "at_c": c, "total": a + b + c});
    });
    let mut sessions = Vec::new();
    for name in NAMES {
        let session = lab.on(name).session().await;
        session.batch_execute("SET lock_timeout = '20ms'").await.unwrap();
        sessions.push(session);
    }
    let counters = Counters { dice: Dice::new(seed), sessions, counted: Default::default() };
    let counters = Arc::new(tokio::sync::Mutex::new(counters));
    let there: Vec<Member> = lab.sync.members.clone();
    let (mut conflicts, mut deaths) = (0, 0);
    for _ in 0..25 {
        let (counts, away, dies_at) = {
            let dice = &mut counters.lock().await.dice;
            (dice.below(5), dice.below(8), dice.below(24))
        };
        for _ in 0..counts {
            counters.lock().await.count().await;
        }
        lab.sync.members.clone_from(&there);
        if let Some(name) = NAMES.get(away) {
            let nowhere = lab.on(name).words_through(1);
            lab.sync.members[away] = member(name, &nowhere, Role::Source);
        }
        lab.renew();
        let (others, steps) = (Arc::clone(&counters), Arc::new(Mutex::new(0)));
        let hook: StepHook = Arc::new(move |at: &str| {
            let (others, steps, at) = (Arc::clone(&others), Arc::clone(&steps), at.to_owned());
            async move {
                let step = {
                    let mut steps = steps.lock().unwrap();
                    *steps += 1;
                    *steps
                };
                let mut others = others.lock().await;
                if others.dice.percent(40) {
                    others.count().await;
                }
                if step == dies_at { Err(Fault::transient(format!("the power fails: {at}"))) } else { Ok(()) }
            }
            .boxed()
        });
        match lab.merge_watched(Watch::default().with_hook(hook)).await {
            Ok(report) => conflicts += report.conflicts,
            Err(_) => deaths += 1,
        }
    }
    lab.sync.members = there;
    lab.renew();
    lab.settle().await;
    lab.assert_same().await;
    let counted = counters.lock().await.counted;
    let expected: Vec<String> = (0..IDS)
        .map(|id| {
            format!(
                "{id} {} {} {} {}",
                counted[0][id],
                counted[1][id],
                counted[2][id],
                counted.iter().map(|of| of[id]).sum::<i64>()
            )
        })
        .collect();
    let found = "SELECT concat_ws(' ', id, at_a, at_b, at_c, total) FROM counters ORDER BY id";
    assert_eq!(lab.on("b").rows(found).await, expected, "BUCARDO_SEED={seed}");
    assert!(conflicts > 0 && deaths > 0, "BUCARDO_SEED={seed}: {conflicts} conflicts, {deaths} deaths");
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_of_three_masters_are_right_whatever_dies() {
    for seed in seeds(2) {
        eprintln!("BUCARDO_SEED={seed}");
        count(seed).await;
    }
}

/// Codes are told only of conflicts, and many of them in few calls.
#[tokio::test]
async fn many_conflicts_are_decided_in_batches() {
    let ddl = "CREATE TABLE orders (id int PRIMARY KEY, note text)";
    let mut lab = SyncLab::masters(&["a", "b"], &[], ddl, &["orders:id"]).await;
    let asked: Arc<Mutex<u64>> = Arc::default();
    let noted = Arc::clone(&asked);
    decide(&mut lab, move |_, input| {
        *noted.lock().unwrap() += 1;
        input["row"] = json!({"id": input["key"]["id"], "note": "both"});
    });
    lab.on("a").run("INSERT INTO orders SELECT n, 'a' FROM generate_series(1, 20000) n").await;
    lab.on("b").run("INSERT INTO orders SELECT n, 'b' FROM generate_series(5001, 25000) n").await;
    let report = lab.merge().await.unwrap();
    assert_eq!((report.keys, report.conflicts, *asked.lock().unwrap()), (25_000, 15_000, 15_000));
    lab.assert_same().await;
    assert_eq!(lab.on("b").value("SELECT count(*) FROM orders WHERE note = 'both'").await, "15000");
    assert!(lab.merge().await.unwrap().is_empty());
}

/// A row that a code made and that clashes with another one is the code's fault, by name, and no source is left out for it.
#[tokio::test]
async fn a_made_row_that_clashes_names_its_code() {
    let ddl = "CREATE TABLE orders (id int PRIMARY KEY, note text UNIQUE)";
    let mut lab = SyncLab::masters(&["a", "b"], &[], ddl, &["orders:id"]).await;
    decide(&mut lab, |_, input| input["row"] = json!({"id": 1, "note": "taken"}));
    lab.on("a").run("INSERT INTO orders VALUES (1, 'x'), (2, 'taken')").await;
    lab.settle().await;
    lab.on("a").run("UPDATE orders SET note = 'a' WHERE id = 1").await;
    lab.on("b").run("UPDATE orders SET note = 'b' WHERE id = 1").await;
    let fault = lab.merge().await.unwrap_err();
    let told = "custom code \"decide\" returned what cannot be understood: table \"public.orders\" on database ";
    assert!(fault.message.starts_with(told) && fault.message.contains("orders_note_key"), "{}", fault.message);
    decide(&mut lab, |_, input| input["row"] = json!({"id": 1, "note": "free"}));
    lab.merge().await.unwrap();
    lab.assert_same().await;
}

/// Narrow rows, and then such as fill the memory when a thousand of them are read at once.
#[tokio::test]
async fn conflicts_of_wide_rows_are_told_a_few_at_a_time() {
    let ddl = "CREATE TABLE orders (id int PRIMARY KEY, note text)";
    let mut lab = SyncLab::masters(&["a", "b"], &[], ddl, &["orders:id"]).await;
    let most: Arc<Mutex<usize>> = Arc::default();
    let noted = Arc::clone(&most);
    lab.hosts = Some(Arc::new(move |_| Box::new(Widths(Arc::clone(&noted)))));
    lab.sync.codes = vec![Code { getdbh: false, ..code(Hook::Conflict, "") }];
    lab.renew();
    let rows = "INSERT INTO orders SELECT n, repeat($$LETTER$$, CASE WHEN n > 3000 AND n % 50 < 9 THEN 1000000 ELSE 3 END) \
        FROM generate_series(1, 3600) n";
    lab.on("a").run(&rows.replace("LETTER", "a")).await;
    lab.on("b").run(&rows.replace("LETTER", "b")).await;
    let report = lab.merge().await.unwrap();
    assert_eq!((report.keys, report.conflicts), (3600, 3600));
    let most = *most.lock().unwrap();
    assert!(most <= 17 << 20, "{most} bytes at once");
    lab.assert_same().await;
    assert_eq!(lab.on("b").value("SELECT count(*) FROM orders WHERE note LIKE 'a%'").await, "3600");
}

/// Notes how much a call comes with; the first source wins.
struct Widths(Arc<Mutex<usize>>);

impl Host for Widths {
    fn check<'a>(&'a mut self, _: &'a Code) -> BoxFuture<'a, Result<(), CodeError>> {
        async { Ok(()) }.boxed()
    }

    fn call<'a>(
        &'a mut self,
        _: &'a Code,
        mut inputs: Vec<Value>,
        _: &'a mut dyn Databases,
    ) -> BoxFuture<'a, Result<Vec<Value>, CodeError>> {
        let rows = inputs.iter().flat_map(|input| input["rows"].as_object().unwrap().values());
        let bytes = rows.map(|row| row["note"].as_str().unwrap().len()).sum();
        let mut most = self.0.lock().unwrap();
        *most = most.max(bytes);
        inputs.iter_mut().for_each(|input| input["winner"] = json!("a"));
        async { Ok(inputs) }.boxed()
    }
}
