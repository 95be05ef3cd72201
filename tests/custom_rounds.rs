//! Custom codes in the rounds of KIDs: where they run, what they are told, and that what they write is as much part of a
//! round as its rows.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bucardo::catalog::{DeleteMethod, Role};
use bucardo::custom::{Code, Hook, open};
use bucardo::engine::hooks::counts;
use bucardo_actors::model::{Failure, Reason};
use bucardo_actors::ports::{Rounds, StepHook, Watch};
use futures_util::FutureExt;
use serde_json::{Value, json};

use crate::support::codes::{Diary, code, give};
use crate::support::ways::Way;
use crate::support::{Accident, SyncLab};

const DDL: &str = "CREATE TABLE orders (id int PRIMARY KEY, note text); \
    CREATE TABLE sums (id int PRIMARY KEY, total int NOT NULL); INSERT INTO sums VALUES (1, 0); \
    CREATE TABLE fired (what text); \
    CREATE FUNCTION fire() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO fired VALUES (NEW.id::text); \
        RETURN NULL; END $$; \
    CREATE TABLE probes (id text); \
    CREATE TRIGGER fire AFTER INSERT ON probes FOR EACH ROW EXECUTE FUNCTION fire()";

/// The hooks of the transactions of a round, in order, but for those of conflicts and exceptions.
const INSIDE: [Hook; 6] = [
    Hook::BeforeCheckRows,
    Hook::BeforeTriggerDisable,
    Hook::AfterTriggerDisable,
    Hook::AfterTableSync,
    Hook::BeforeTriggerEnable,
    Hook::AfterTriggerEnable,
];

async fn lab(codes: Vec<Code>) -> (SyncLab, Diary) {
    with(Way::Pair, codes).await
}

async fn masters(codes: Vec<Code>) -> (SyncLab, Diary) {
    with(Way::Merge, codes).await
}

async fn with(way: Way, codes: Vec<Code>) -> (SyncLab, Diary) {
    let (mut lab, diary) = (way.lab(DDL, &["orders:id"]).await, Diary::default());
    give(&mut lab, &diary, codes);
    (lab, diary)
}

fn everywhere() -> Vec<Code> {
    [Hook::BeforeTxn].into_iter().chain(INSIDE).chain([Hook::AfterTxn]).map(|hook| code(hook, "")).collect()
}

const ALL: [&str; 8] = [
    "before_txn",
    "before_check_rows",
    "before_trigger_disable",
    "after_trigger_disable",
    "after_table_sync",
    "before_trigger_enable",
    "after_trigger_enable",
    "after_txn",
];

/// Each hook once and in order, in pairs, in merges, in whole copies; with nothing to do, those before the look only.
#[tokio::test]
async fn every_hook_runs_in_its_place() {
    let (mut lab, diary) = lab(everywhere()).await;
    assert!(lab.round("b").await.unwrap().is_empty());
    assert_eq!(diary.hooks(), ALL[..2], "nothing to do");
    lab.on("a").run("INSERT INTO orders VALUES (1, 'x')").await;
    lab.round("b").await.unwrap();
    assert_eq!(diary.hooks(), ALL);
    lab.on("a").run("TRUNCATE orders").await;
    lab.round("b").await.unwrap();
    let mut hooks = diary.hooks();
    // The table has another file than the round saw at first: it starts over once.
    hooks.dedup();
    assert_eq!(hooks, ALL, "a truncate");

    let copied = |what: &str| {
        let (hooks, inputs): (Vec<String>, Vec<Value>) = diary.inputs().into_iter().unzip();
        assert_eq!(hooks, ALL, "{what}");
        for input in inputs.iter().filter(|input| ALL[4..].contains(&input["whenrun"].as_str().unwrap())) {
            let dml = &input["dmlcount"];
            assert_eq!(dml["I"]["target"]["public"]["orders"], 2, "{what}: {input}");
            assert_eq!(dml["alldeletes"]["target"], dml["D"]["target"]["public"]["orders"], "{what}: {input}");
        }
        inputs.last().unwrap()["dmlcount"]["alldeletes"]["target"].clone()
    };
    lab.renew();
    lab.on("a").run("INSERT INTO orders VALUES (1, 'x'), (2, 'y')").await;
    (lab.sync.onetimecopy, lab.sync.copy_request) = (1, 1);
    lab.sync.deletemethod = DeleteMethod::Delete;
    assert!(lab.round("b").await.unwrap().copied);
    assert_eq!(copied("a whole copy"), 0);
    lab.renew();
    lab.sync.copy_request = 2;
    assert!(lab.round("b").await.unwrap().copied);
    assert_eq!(copied("another whole copy"), 2);
    lab.renew();
    (lab.sync.copy_request, lab.sync.copy.atomic_bytes) = (3, -1);
    assert!(lab.round("b").await.unwrap().copied);
    assert_eq!(copied("a copy in pieces"), 2);

    lab.renew();
    lab.sync.onetimecopy = 0;
    lab.renew_as(Role::Fullcopy).await;
    let report = lab.round("b").await.unwrap();
    assert_eq!(copied("fullcopy"), 2);
    let mut told = serde_json::Map::new();
    counts(&lab.sync, &report).fill(&mut told);
    assert_eq!(told["dmlcount"]["I"]["target"]["public"]["orders"], 2, "as after_sync has it");
}

#[tokio::test]
async fn every_hook_of_a_merge_runs_in_its_place() {
    let (mut lab, diary) = masters(everywhere()).await;
    assert!(lab.merge().await.unwrap().is_empty());
    assert_eq!(diary.hooks(), ALL[..2], "nothing to do");
    lab.on("b").run("INSERT INTO orders VALUES (1, 'x')").await;
    lab.merge().await.unwrap();
    assert_eq!(diary.hooks(), ALL);
    assert!(lab.merge().await.unwrap().is_empty());
    assert_eq!(diary.hooks(), ALL[..2], "nothing to do");
}

/// Codes are told names, counts and keys; those of a table only where it changed.
#[tokio::test]
async fn codes_are_told_what_the_round_does() {
    let mut last = code(Hook::AfterTriggerEnable, "");
    last.getrows = true;
    let mut other = code(Hook::AfterTableSync, "");
    other.goat = Some(77);
    let mut own = code(Hook::AfterTableSync, "shared={\"kept\": 1}");
    (own.goat, own.getdbh) = (Some(1), false);
    let (mut lab, diary) = lab(vec![code(Hook::BeforeTriggerDisable, ""), other, own, last]).await;
    lab.on("a").run("INSERT INTO orders VALUES (1, 'x'), (2, 'y')").await;
    lab.round("b").await.unwrap();
    diary.inputs();
    lab.on("a").run("UPDATE orders SET note = 'z' WHERE id = 1").await;
    lab.on("a").run("DELETE FROM orders WHERE id = 2").await;
    lab.round("b").await.unwrap();
    let inputs = diary.inputs();
    let told = |hook: &str| &inputs.iter().find(|(it, _)| it == hook).unwrap().1;
    assert_eq!(inputs.len(), 3, "{inputs:?}");
    let first = told("before_trigger_disable");
    for (key, value) in [
        ("syncname", json!("s")),
        ("synctype", json!("pushdelta")),
        ("sourcename", json!("a")),
        ("targetname", json!("b")),
        ("kidloop", json!(2)),
        ("attempts", json!(1)),
        ("dbh", json!({"a": "a", "b": "b"})),
        ("sourcedbh", json!("a")),
        ("targetdbh", json!("b")),
        ("shared", json!({"kept": 1})),
        ("error", json!("")),
    ] {
        assert_eq!(first[key], value, "{key}");
    }
    assert_eq!(first["goatlist"][0]["tablename"], "orders");
    assert_eq!(first["deltacount"]["source"]["public"]["orders"], 2);
    assert_eq!(first["dmlcount"]["allinserts"]["target"], 0);
    assert!(first.get("rows").is_none(), "it did not ask for them");
    let table = told("after_table_sync");
    assert_eq!((&table["schemaname"], &table["tablename"]), (&json!("public"), &json!("orders")));
    assert!(table.get("dbh").is_none(), "it did not ask for them");
    let last = told("after_trigger_enable");
    assert_eq!(last["rows"], json!({"public": {"orders": {"1": 1, "2": 1}}}));
    assert_eq!(last["rows_left_out"], 0);
    assert_eq!(last["dmlcount"]["D"]["target"]["public"]["orders"], 2);
    assert_eq!(last["dmlcount"]["I"]["target"]["public"]["orders"], 1);
}

/// What decides conflicts is told of the merge that it is in, where no other code asks for it, too.
#[tokio::test]
async fn codes_of_conflicts_are_told_what_the_merge_does() {
    let (mut lab, diary) = masters(vec![code(Hook::Conflict, "winner=\"a\"")]).await;
    lab.on("a").run("INSERT INTO orders VALUES (1, 'x'), (2, 'y')").await;
    lab.on("b").run("INSERT INTO orders VALUES (1, 'z')").await;
    assert_eq!(lab.merge().await.unwrap().conflicts, 1);
    let inputs = diary.inputs();
    let [(_, input)] = inputs.as_slice() else { panic!("{inputs:?}") };
    assert_eq!(input["deltacount"]["source"]["public"]["orders"], 2);
    assert_eq!((&input["deltacount"]["alltarget"], &input["dmlcount"]["allinserts"]["target"]), (&json!(1), &json!(0)));
    let rowinfo = &input["rowinfo"];
    assert_eq!((&rowinfo["sourcerow"]["note"], &rowinfo["targetrow"]["note"]), (&json!("x"), &json!("z")));
    assert!(rowinfo.as_object().unwrap().contains_key("action") && rowinfo["action"].is_null(), "{rowinfo}");
}

/// More changes than are few: they are counted exactly, and the keys are bounded.
#[tokio::test]
async fn many_changes_are_counted_and_their_keys_bounded() {
    let mut first = code(Hook::BeforeTriggerDisable, "");
    first.getrows = true;
    let (mut lab, diary) = lab(vec![first]).await;
    lab.on("a").run("INSERT INTO orders SELECT n, '' FROM generate_series(1, 10500) n").await;
    assert_eq!(lab.round("b").await.unwrap().inserts, 10_500);
    let inputs = diary.inputs();
    let input = &inputs[0].1;
    assert_eq!(input["deltacount"]["all"], 10_500);
    assert_eq!(input["rows"]["public"]["orders"].as_object().unwrap().len(), 10_000);
    assert_eq!(input["rows_left_out"], 500);
    lab.assert_same().await;
}

/// A code that adds at the target, and the power fails at each step: the sum is that of the rounds.
#[tokio::test]
async fn what_codes_write_takes_effect_once_whatever_crashes() {
    let steps = [
        "connected",
        "custom code before_check_rows",
        "snapshot taken",
        "keys read",
        "custom code before_trigger_disable",
        "rows deleted",
        "rows copied",
        "custom code after_table_sync",
        "custom code before_trigger_enable",
        "custom code after_trigger_enable",
        "position written",
        "target committed",
        "track written",
    ];
    let add = "b: UPDATE sums SET total = total + 1";
    let hooks = [Hook::BeforeTriggerDisable, Hook::AfterTableSync, Hook::BeforeTriggerEnable, Hook::AfterTriggerEnable];
    let codes = [code(Hook::BeforeCheckRows, "")].into_iter().chain(hooks.map(|hook| code(hook, add)));
    let (mut lab, _) = lab(codes.collect()).await;
    for (number, step) in (1..).zip(steps) {
        lab.on("a").run(&format!("INSERT INTO orders VALUES ({number}, '{step}')")).await;
        let fault = lab.round_failing("b", step, Accident::Fault).await;
        assert!(fault.message.contains("power fails"), "{fault}");
        lab.drain("b").await;
        lab.assert_same().await;
        let sum = lab.on("b").number("SELECT total FROM sums").await;
        assert_eq!(sum, 4 * number, "after {step}");
    }
}

/// What a code writes before changes are looked for is kept where there are none.
#[tokio::test]
async fn what_codes_write_before_the_look_is_kept_without_changes() {
    let add = "b: UPDATE sums SET total = total + 1\na: UPDATE sums SET total = total + 1";
    let (mut lab, _) = lab(vec![code(Hook::BeforeCheckRows, add)]).await;
    for round in 1..=2 {
        assert!(lab.round("b").await.unwrap().is_empty());
        assert_eq!(lab.on("b").number("SELECT total FROM sums").await, round);
        assert_eq!(lab.on("a").number("SELECT total FROM sums").await, round);
    }
    let (mut lab, _) = masters(vec![code(Hook::BeforeCheckRows, add)]).await;
    assert!(lab.merge().await.unwrap().is_empty());
    assert_eq!(lab.on("b").number("SELECT total FROM sums").await, 1);
}

/// Triggers fire for what codes write up to before_trigger_disable, and at after_trigger_enable; not in between.
#[tokio::test]
async fn triggers_fire_for_codes_at_both_ends_only() {
    let write = |hook: Hook, db: &str| code(hook, &format!("{db}: INSERT INTO probes VALUES ('{}')", hook.word()));
    let fire = ["after_trigger_enable", "before_check_rows", "before_trigger_disable"];
    let (mut lab, _) = lab(INSIDE.iter().map(|hook| write(*hook, "b")).collect()).await;
    lab.on("a").run("INSERT INTO orders VALUES (1, 'x')").await;
    lab.round("b").await.unwrap();
    assert_eq!(lab.on("b").number("SELECT count(*) FROM probes").await, 6);
    assert_eq!(lab.on("b").rows("SELECT what FROM fired ORDER BY 1").await, fire);

    let (mut lab, _) = masters(INSIDE.iter().map(|hook| write(*hook, "b")).collect()).await;
    lab.on("a").run("INSERT INTO orders VALUES (1, 'x')").await;
    lab.merge().await.unwrap();
    assert_eq!(lab.on("b").number("SELECT count(*) FROM probes").await, 6);
    assert_eq!(lab.on("b").rows("SELECT what FROM fired ORDER BY 1").await, fire);
}

/// What a code of a merge writes to a replicated table while triggers are on is a change like any other, also of the row
/// that the merge has just brought.
#[tokio::test]
async fn what_codes_write_in_a_merge_is_merged_next() {
    let once = "b: UPDATE orders SET note = 'by code' WHERE note = 'x'";
    let (mut lab, _) = masters(vec![code(Hook::AfterTriggerEnable, once)]).await;
    for strategy in ["bucardo_latest", "a b"] {
        lab.renew();
        strategy.clone_into(&mut lab.sync.conflict_strategy);
        lab.on("a").run("DELETE FROM orders; INSERT INTO orders VALUES (1, 'x'), (2, 'y')").await;
        lab.on("b").run("INSERT INTO orders VALUES (1, 'old') ON CONFLICT (id) DO UPDATE SET note = 'old'").await;
        lab.on("a").run("UPDATE orders SET note = 'x' WHERE id = 1").await;
        lab.settle().await;
        lab.assert_same().await;
        assert_eq!(lab.on("a").rows("SELECT note FROM orders ORDER BY id").await, ["by code", "y"], "{strategy}");
    }
}

/// A code at `before_txn` or `after_txn` has transactions of its own, committed when it has ended.
#[tokio::test]
async fn codes_around_the_round_have_transactions_of_their_own() {
    let before = "b: UPDATE sums SET total = total + 1\na: UPDATE sums SET total = 7";
    let (mut lab, _) =
        lab(vec![code(Hook::BeforeTxn, before), code(Hook::AfterTxn, "b: UPDATE sums SET total = total + 10")]).await;
    lab.round("b").await.unwrap();
    assert_eq!(lab.on("b").number("SELECT total FROM sums").await, 1);
    assert_eq!(lab.on("a").number("SELECT total FROM sums").await, 7);
    lab.on("a").run("INSERT INTO orders VALUES (1, 'x')").await;
    lab.round("b").await.unwrap();
    assert_eq!(lab.on("b").number("SELECT total FROM sums").await, 12);
}

/// A database that refuses at the commit what codes wrote: it is named with what it said and with who wrote there, and
/// nobody else is.
#[tokio::test]
async fn a_commit_that_is_refused_names_who_wrote_there() {
    let (mut lab, _) = lab(Vec::new()).await;
    lab.on("b")
        .run("CREATE TABLE late (id int PRIMARY KEY, parent int REFERENCES late DEFERRABLE INITIALLY DEFERRED)")
        .await;
    let named = |name: &str, lines: &str| Code { name: name.to_owned(), ..code(Hook::BeforeTxn, lines) };
    lab.sync.codes = vec![
        named("adds", "a: UPDATE sums SET total = 7"),
        named("breaks", "b: INSERT INTO late VALUES (1, 2)"),
        named("looks", "b: SELECT 1"),
    ];
    let fault = lab.round("b").await.unwrap_err();
    let told = "what custom codes did at before_txn cannot be committed on database \"b\": ";
    assert!(fault.message.starts_with(told) && fault.message.contains("\"late_parent_fkey\""), "{fault}");
    assert!(fault.message.ends_with("; codes that used it: breaks, looks; committed before: a"), "{fault}");
    assert_eq!(fault.failure, Failure::Transient);
    assert!(fault.hint.unwrap().contains("status=inactive"));
    assert_eq!(lab.on("a").number("SELECT total FROM sums").await, 7);
}

/// A code that ends the session that it works in, even if it hides that it has failed, is named, and so is what happened.
#[tokio::test]
async fn a_code_that_ends_its_own_session_is_named() {
    let plain = "input.dbh.b:run('SELECT pg_terminate_backend(pg_backend_pid())')";
    let hidden = format!("pcall(function() {plain} end)");
    for hook in [Hook::BeforeTxn, Hook::BeforeCheckRows, Hook::AfterTableSync, Hook::AfterTxn] {
        for source in [plain, &hidden] {
            let (mut lab, _) = lab(vec![code(hook, source)]).await;
            lab.hosts = Some(open());
            lab.on("a").run("INSERT INTO orders VALUES (1, 'x')").await;
            let fault = lab.round("b").await.unwrap_err();
            let name = format!("at {}", hook.word());
            assert!(fault.message.contains(&name) && fault.message.contains("terminating connection"), "{fault}");
        }
    }
    let (mut lab, _) = masters(vec![code(Hook::BeforeTriggerDisable, &hidden)]).await;
    lab.hosts = Some(open());
    lab.on("a").run("INSERT INTO orders VALUES (1, 'x')").await;
    let fault = lab.merge().await.unwrap_err();
    assert!(fault.message.contains("\"at before_trigger_disable\""), "{fault}");
}

/// `error` fails the round, with a hint; `endsync` leaves it after a pause and is no failure; and nothing that codes wrote is
/// done. What they do at each hook and in other languages: `custom_outputs`.
#[tokio::test]
async fn a_code_can_fail_a_round_or_leave_it() {
    let (hook, write) = (Hook::BeforeTriggerEnable, "b: UPDATE sums SET total = total + 1\n");
    let (mut lab, _) = lab(vec![code(hook, &format!("{write}error=\"no\""))]).await;
    lab.on("a").run("INSERT INTO orders VALUES (1, 'x')").await;
    let fault = lab.round("b").await.unwrap_err();
    let told = "custom code \"at before_trigger_enable\" asked to end: no";
    assert_eq!((fault.message.as_str(), fault.failure), (told, Failure::Transient));
    assert!(fault.hint.unwrap().contains("status=inactive"));
    lab.sync.codes = vec![code(hook, &format!("{write}endsync=1"))];
    lab.sync.endsync_sleep = Duration::from_millis(20);
    let began = std::time::Instant::now();
    assert!(lab.round("b").await.unwrap().is_empty());
    assert!(began.elapsed() >= lab.sync.endsync_sleep);
    assert_eq!(lab.on("b").number("SELECT total FROM sums").await, 0);
    lab.renew();
    lab.sync.codes.clear();
    assert_eq!(lab.round("b").await.unwrap().inserts, 1);
}

/// The KID of whole copies keeps its codes though one of them left a round or failed it, and copies that codes ask for
/// come to an end.
#[tokio::test]
async fn whole_copies_keep_their_codes_and_end() {
    let (mut lab, diary) = lab(vec![code(Hook::BeforeTriggerEnable, "endsync=1")]).await;
    lab.on("a").run("INSERT INTO orders VALUES (1, 'x')").await;
    lab.renew_as(Role::Fullcopy).await;
    let mut copies = lab.copies("b");
    for _ in 0..2 {
        assert!(copies.round(Reason::Request, Watch::default()).await.unwrap().is_empty());
        assert_eq!(diary.hooks(), ["before_trigger_enable"]);
    }
    lab.sync.codes = vec![code(Hook::AfterTxn, "runagain=1")];
    let mut copies = lab.copies("b");
    let mut reason = Reason::Request;
    let mut count = 0;
    while copies.round(reason, Watch::default()).await.unwrap().more {
        (reason, count) = (Reason::More, count + 1);
        assert!(count < 10, "copies without end");
    }
    assert!(count > 0, "it asked for more");
}

/// Without codes there is no host, and no step that could be theirs.
#[tokio::test]
async fn a_round_without_codes_asks_nobody() {
    let opened: Arc<Mutex<u32>> = Arc::default();
    let steps: Arc<Mutex<Vec<String>>> = Arc::default();
    let (mut lab, diary) = lab(Vec::new()).await;
    let (count, hosts) = (Arc::clone(&opened), diary.hosts());
    lab.hosts = Some(Arc::new(move |language| {
        *count.lock().unwrap() += 1;
        hosts(language)
    }));
    let seen = Arc::clone(&steps);
    let hook: StepHook = Arc::new(move |step: &str| {
        seen.lock().unwrap().push(step.to_owned());
        async { Ok(()) }.boxed()
    });
    lab.on("a").run("INSERT INTO orders VALUES (1, 'x')").await;
    lab.round_watched("b", Watch::default().with_hook(hook)).await.unwrap();
    assert_eq!(*opened.lock().unwrap(), 0);
    let steps = steps.lock().unwrap();
    assert!(steps.len() > 5 && !steps.iter().any(|step| step.contains("code")), "{steps:?}");
}
