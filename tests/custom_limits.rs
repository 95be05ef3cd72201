//! However many calls codes get while the transactions of a run are open, they are not kept open for longer than the
//! settings allow.

use std::time::{Duration, Instant};

use bucardo::custom::{Code, Hook, Limits, open};

use crate::support::SyncLab;
use crate::support::codes::code;

const DDL: &str = "CREATE TABLE orders (id int PRIMARY KEY, note text)";

fn slow(hook: Hook, seconds: f64) -> Code {
    let source = format!("input.dbh.a:run('SELECT pg_sleep({seconds})')\nif input.rows then input.winner = 'a' end");
    Code { limits: Limits { run: Duration::from_secs(1), ..Limits::default() }, ..code(hook, &source) }
}

async fn conflicting(codes: Vec<Code>) -> SyncLab {
    let mut lab = SyncLab::masters(&["a", "b"], &[], DDL, &["orders:id"]).await;
    for name in ["a", "b"] {
        lab.on(name).run(&format!("INSERT INTO orders SELECT n, '{name}' FROM generate_series(1, 2000) n")).await;
    }
    (lab.hosts, lab.sync.codes) = (Some(open()), codes);
    lab
}

/// Each call is short, and there are many; or one alone is too long for the run. Nothing of it is done, nobody is kept
/// waiting any more, and the setting is named.
#[tokio::test]
async fn codes_of_one_run_end_together() {
    for codes in [
        vec![slow(Hook::Conflict, 0.02)],
        vec![slow(Hook::BeforeCheckRows, 20.0)],
        vec![slow(Hook::BeforeCheckRows, 0.6), slow(Hook::BeforeTriggerDisable, 0.6)],
    ] {
        let why = format!("{codes:?}");
        let mut lab = conflicting(codes).await;
        let began = Instant::now();
        let fault = lab.merge().await.unwrap_err();
        assert!(began.elapsed() < Duration::from_secs(8), "{why}: {:?}", began.elapsed());
        assert!(fault.message.contains("was stopped") && fault.message.contains("customcode_run_timeout"), "{fault}");
        assert_eq!(lab.on("b").number("SELECT count(*) FROM orders WHERE note = 'b'").await, 2000, "{why}");
        lab.on("a").run("SET lock_timeout = '1s'; UPDATE orders SET note = note").await;
    }
}

/// What one run takes is not counted for the next one, nor what another try of it took.
#[tokio::test]
async fn each_run_begins_anew() {
    let mut lab = conflicting(vec![slow(Hook::BeforeCheckRows, 0.4)]).await;
    for _ in 0..4 {
        lab.merge().await.unwrap();
    }
    lab.assert_same().await;
}
