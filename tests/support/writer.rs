//! An application that writes all the time, and goes on when its server was away.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_postgres::{Client, NoTls};

use super::Database;

/// Inserts, updates and deletes in `orders (id int PRIMARY KEY, note text)`, one short transaction after the other.
pub(crate) struct Writer {
    task: JoinHandle<()>,
    commits: Arc<AtomicU64>,
    stop: Arc<tokio::sync::Notify>,
}

impl Writer {
    const PAUSE: Duration = Duration::from_millis(5);

    /// Starts to write to `database`.
    pub(crate) fn start(database: &Database) -> Self {
        let commits = Arc::new(AtomicU64::new(0));
        let stop = Arc::new(tokio::sync::Notify::new());
        let (conninfo, counted, told) = (database.conninfo(), commits.clone(), stop.clone());
        let task = tokio::spawn(async move {
            tokio::select! {
                () = write(&conninfo, &counted) => {}
                () = told.notified() => {}
            }
        });
        Self { task, commits, stop }
    }

    /// Transactions that were committed so far.
    pub(crate) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// Ends it; what was under way is rolled back.
    pub(crate) async fn stop(self) -> u64 {
        self.stop.notify_one();
        self.task.await.unwrap();
        self.commits.load(Ordering::Relaxed)
    }
}

async fn write(conninfo: &str, commits: &AtomicU64) {
    let mut client: Option<Client> = None;
    let mut turn = 0_u64;
    loop {
        // A pause, so that the load does not depend on how fast the machine is.
        sleep(Writer::PAUSE).await;
        let open = match client.take() {
            Some(open) => open,
            None => match tokio_postgres::connect(conninfo, NoTls).await {
                Ok((open, connection)) => {
                    tokio::spawn(connection);
                    open
                }
                Err(_) => continue,
            },
        };
        turn += 1;
        let sql = format!(
            "BEGIN; INSERT INTO orders SELECT coalesce(max(id), 0) + 1, 'new {turn}' FROM orders; \
             UPDATE orders SET note = note || '+' WHERE id = {turn} / 2; DELETE FROM orders WHERE id = {turn} / 3 AND id % 5 = 0; COMMIT"
        );
        if open.batch_execute(&sql).await.is_ok() {
            commits.fetch_add(1, Ordering::Relaxed);
            client = Some(open);
        }
    }
}
