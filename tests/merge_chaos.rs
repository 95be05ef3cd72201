//! A property test of the merge on real servers: random changes in transactions that overlap with merges, which die at
//! random steps, and sources that are away for some of them.
//!
//! `BUCARDO_SEED` sets the first seed, `BUCARDO_RUNS` how many follow it.

use std::sync::{Arc, Mutex};

use bucardo::catalog::{Member, Role};
use bucardo_actors::model::Fault;
use bucardo_actors::ports::{StepHook, Watch};
use futures_util::FutureExt;
use tokio_postgres::Client;

use crate::merge_model::dice::Dice;
use crate::merge_model::seeds;
use crate::support::SyncLab;
use crate::support::sync_lab::member;

const NAMES: [&str; 3] = ["a", "b", "c"];
const DDL: &str = "CREATE TABLE orders (id int PRIMARY KEY, code int UNIQUE, note text)";
const STRATEGIES: [&str; 5] =
    ["bucardo_latest", "c a b", "bucardo_random", "bucardo_latest_all_tables", "bucardo_source"];
const STEPS: usize = 30;

/// The applications: two sessions at each source, with or without an open transaction.
struct Clients {
    dice: Dice,
    sessions: Vec<(Client, bool)>,
    notes: u32,
}

impl Clients {
    async fn connect(lab: &SyncLab, seed: u64) -> Self {
        let mut sessions = Vec::new();
        for name in NAMES.iter().chain(&NAMES) {
            let session = lab.on(name).session().await;
            session.batch_execute("SET lock_timeout = '20ms'").await.unwrap();
            sessions.push((session, false));
        }
        Self { dice: Dice::new(seed), sessions, notes: 0 }
    }

    /// One of them does something; that the server refuses it is part of life.
    async fn stir(&mut self) {
        let turn = self.dice.below(self.sessions.len());
        let statement = self.statement();
        let (begins, ends) = (self.dice.percent(20), self.dice.percent(50));
        let end = if self.dice.percent(85) { "COMMIT" } else { "ROLLBACK" };
        let (session, is_open) = &mut self.sessions[turn];
        if !*is_open && begins {
            *is_open = session.batch_execute("BEGIN").await.is_ok();
        }
        let failed = session.batch_execute(&statement).await.is_err();
        if *is_open && (ends || failed) {
            let _ = session.batch_execute(end).await;
            *is_open = false;
        }
    }

    fn statement(&mut self) -> String {
        self.notes += 1;
        let (note, dice) = (self.notes, &mut self.dice);
        let (id, other, code) = (dice.below(6), dice.below(6), dice.below(8));
        match dice.below(100) {
            0..30 => format!(
                "INSERT INTO orders (id, note) VALUES ({id}, '{note}') ON CONFLICT (id) DO UPDATE SET note = '{note}'"
            ),
            30..60 => format!("UPDATE orders SET note = '{note}' WHERE id IN ({id}, {other})"),
            60..75 => format!("DELETE FROM orders WHERE id = {id}"),
            75..87 => format!("UPDATE orders SET id = {id}, note = '{note}' WHERE id = {other}"),
            87..95 => format!("UPDATE orders SET code = {code}, note = '{note}' WHERE id = {id}"),
            95..97 => "TRUNCATE orders".to_owned(),
            _ => format!("BEGIN; DELETE FROM orders; INSERT INTO orders VALUES ({id}, {code}, '{note}'); COMMIT"),
        }
    }

    /// Nobody writes any more.
    async fn stop(&mut self) {
        for (session, is_open) in &mut self.sessions {
            if std::mem::take(is_open) {
                let _ = session.batch_execute("COMMIT").await;
            }
        }
    }
}

/// The applications go on between the steps of a merge, which dies at the step of this number, if it gets there.
fn watch(clients: &Arc<tokio::sync::Mutex<Clients>>, dies_at: usize) -> Watch {
    let (clients, steps) = (clients.clone(), Arc::new(Mutex::new(0)));
    let hook: StepHook = Arc::new(move |at: &str| {
        let (clients, steps, at) = (clients.clone(), steps.clone(), at.to_owned());
        async move {
            let step = {
                let mut steps = steps.lock().unwrap();
                *steps += 1;
                *steps
            };
            let mut clients = clients.lock().await;
            if clients.dice.percent(40) {
                clients.stir().await;
            }
            if step == dies_at { Err(Fault::transient(format!("the power fails: {at}"))) } else { Ok(()) }
        }
        .boxed()
    });
    Watch::default().with_hook(hook)
}

/// One run; the sources end equal.
async fn run(seed: u64, strategy: &str) {
    let mut lab = SyncLab::masters(&NAMES, &[], DDL, &["orders:id"]).await;
    lab.sync.conflict_strategy = strategy.to_owned();
    lab.renew();
    let clients = Arc::new(tokio::sync::Mutex::new(Clients::connect(&lab, seed).await));
    let there: Vec<Member> = lab.sync.members.clone();
    let mut conflicts = 0;
    for _ in 0..STEPS {
        let (changes, merges, away, dies_at) = {
            let dice = &mut clients.lock().await.dice;
            (dice.below(4), dice.percent(50), dice.below(9), dice.below(25))
        };
        for _ in 0..changes {
            clients.lock().await.stir().await;
        }
        if !merges {
            continue;
        }
        lab.sync.members.clone_from(&there);
        if let Some(name) = NAMES.get(away) {
            let nowhere = lab.on(name).words_through(1);
            lab.sync.members[away] = member(name, &nowhere, Role::Source);
        }
        lab.renew();
        // Merges that cannot be finished now are part of the story; those that never can are found at the end.
        if let Ok(report) = lab.merge_watched(watch(&clients, dies_at)).await {
            conflicts += report.conflicts;
        }
    }
    clients.lock().await.stop().await;
    lab.sync.members = there;
    lab.renew();
    for name in NAMES {
        // Somebody clears up what stands in the way of each other at different databases.
        lab.on(name).run("UPDATE orders SET code = NULL").await;
    }
    conflicts += settle(&mut lab, seed).await;
    lab.assert_same().await;
    for name in NAMES {
        assert_eq!(
            lab.on(name).value("SELECT count(*) FROM bucardo.conflict_kept").await,
            "0",
            "BUCARDO_SEED={seed}: {name}"
        );
    }
    let told = lab.conflicts.all().len();
    assert!(told > 0 && u64::try_from(told).unwrap() <= 20 * (conflicts + 1), "BUCARDO_SEED={seed}: {told} told");
}

/// Merges until there is silence; returns the conflicts.
async fn settle(lab: &mut SyncLab, seed: u64) -> u64 {
    let (mut conflicts, mut seen) = (0, String::new());
    for _ in 0..20 {
        match lab.merge().await {
            Ok(report) if report.is_empty() && report.away.is_empty() => return conflicts,
            Ok(report) => {
                conflicts += report.conflicts;
                seen = format!("{report:?}");
            }
            Err(fault) => seen = fault.to_string(),
        }
    }
    panic!("BUCARDO_SEED={seed}: the merges find no end; last: {seen}");
}

/// Whatever overlaps, dies or is away: the sources end equal, and nobody is told of a conflict that stays behind.
#[tokio::test(flavor = "multi_thread")]
async fn merges_that_die_at_random_steps_among_random_writes_end_equal() {
    for seed in seeds(2) {
        let strategy = STRATEGIES[usize::try_from(seed).unwrap() % STRATEGIES.len()];
        eprintln!("BUCARDO_SEED={seed} {strategy}");
        run(seed, strategy).await;
    }
}
