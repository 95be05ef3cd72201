//! Applications that write at random, and go on when their server was away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_postgres::{Client, NoTls};

use crate::merge_model::dice::Dice;

/// So that the load does not depend on how fast the machine is.
const PAUSE: Duration = Duration::from_millis(15);
/// A server that is held still answers nobody.
const PATIENCE: Duration = Duration::from_secs(5);
/// Ids, so that tables do not grow without end.
const IDS: usize = 2000;

/// What an application does next.
pub(super) type Statement = fn(&mut Dice, u64) -> String;

/// All applications.
#[derive(Default)]
pub(super) struct Load {
    tasks: Vec<JoinHandle<()>>,
    ends: Arc<AtomicBool>,
    commits: Vec<Arc<AtomicU64>>,
}

impl Load {
    /// One more, which reaches its database with these words.
    pub(super) fn add(&mut self, conninfo: String, mut dice: Dice, statement: Statement) {
        let (ends, commits) = (Arc::clone(&self.ends), Arc::<AtomicU64>::default());
        self.commits.push(Arc::clone(&commits));
        self.tasks.push(tokio::spawn(async move {
            let mut client: Option<Client> = None;
            let mut turn = 0;
            while !ends.load(Ordering::Relaxed) {
                sleep(PAUSE).await;
                turn += 1;
                let sql = statement(&mut dice, turn);
                let open = match client.take() {
                    Some(open) if !open.is_closed() => open,
                    _ => match connect(&conninfo).await {
                        Some(open) => open,
                        None => continue,
                    },
                };
                // A deadlock or a duplicate is life; whoever gives no answer is left.
                match timeout(PATIENCE, open.batch_execute(&sql)).await {
                    Ok(Ok(())) => {
                        commits.fetch_add(1, Ordering::Relaxed);
                        client = Some(open);
                    }
                    Ok(Err(_)) => {
                        let rolled_back = timeout(PATIENCE, open.batch_execute("ROLLBACK")).await;
                        client = matches!(rolled_back, Ok(Ok(()))).then_some(open);
                    }
                    Err(_) => {}
                }
            }
        }));
    }

    /// How many transactions each has committed so far.
    pub(super) fn commits(&self) -> Vec<u64> {
        self.commits.iter().map(|commits| commits.load(Ordering::Relaxed)).collect()
    }

    /// Ends all; how many transactions each has committed.
    pub(super) async fn stop(mut self) -> Vec<u64> {
        self.ends.store(true, Ordering::Relaxed);
        for task in self.tasks.drain(..) {
            task.await.unwrap();
        }
        self.commits()
    }
}

async fn connect(conninfo: &str) -> Option<Client> {
    let (client, connection) = timeout(PATIENCE, tokio_postgres::connect(conninfo, NoTls)).await.ok()?.ok()?;
    tokio::spawn(connection);
    Some(client)
}

/// Orders and their items, of one source.
pub(super) fn orders(dice: &mut Dice, turn: u64) -> String {
    let (id, other, wide) = (dice.below(IDS), dice.below(IDS), dice.below(1500));
    match dice.below(1000) {
        0..400 => format!(
            "INSERT INTO orders SELECT n, repeat('x', {wide}) FROM generate_series({id}, {id} + 20) AS n \
             ON CONFLICT (id) DO UPDATE SET note = 'again {turn}'"
        ),
        400..600 => format!("UPDATE orders SET note = note || '+' WHERE id IN ({id}, {other})"),
        600..750 => format!(
            "BEGIN; INSERT INTO items (orders, note) SELECT {id}, n FROM generate_series(1, 5) AS n; \
             UPDATE items SET note = '{turn}' WHERE orders = {other}; COMMIT"
        ),
        750..900 => format!(
            "BEGIN; DELETE FROM orders WHERE id BETWEEN {id} AND {id} + 10; DELETE FROM items WHERE orders = {id}; COMMIT"
        ),
        900..960 => format!("UPDATE orders SET id = {other} WHERE id = {id}"),
        960..995 => {
            format!("BEGIN; DELETE FROM orders WHERE id % 3 = 0; SELECT pg_sleep(0.1); ROLLBACK; SELECT {turn}")
        }
        _ => "TRUNCATE items".to_owned(),
    }
}

/// Accounts, of two masters.
pub(super) fn accounts(dice: &mut Dice, turn: u64) -> String {
    let (id, other) = (dice.below(100), dice.below(100));
    match dice.below(100) {
        0..40 => format!(
            "INSERT INTO accounts VALUES ({id}, {other}, '{turn}') ON CONFLICT (id) DO UPDATE SET note = '{turn}'"
        ),
        40..75 => format!("UPDATE accounts SET balance = balance + {other} WHERE id IN ({id}, {other})"),
        75..90 => format!("DELETE FROM accounts WHERE id = {id}"),
        _ => format!("UPDATE accounts SET id = {id} WHERE id = {other}"),
    }
}
