//! Takes a sync, or tables that left it, out of a source. Triggers and delta tables stay: to drop them takes locks on
//! tables that are written to.
//!
//! Everything here holds the installation lock, so that nothing is switched off that somebody else just switched on.

use bucardo_actors::model::{DbName, SyncName};
use tokio_postgres::Transaction;
use tokio_postgres::error::SqlState;

use super::install::{LOCK, LOCK_PAUSE, LOCK_TIMEOUT, exists, is_worth_trying_again, kicks};
use super::names;
use super::triggers::Captured;
use crate::catalog::{Role, SyncDetail};
use crate::pg::{Connection, Sql, SqlFile};

const HEARD: SqlFile = SqlFile::new(include_str!("../../sql/source/heard.sql"));
const CAPTURED_PRUNE: SqlFile = SqlFile::new(include_str!("../../sql/source/captured_prune.sql"));
const CLEAR_DELTA: SqlFile = SqlFile::new(include_str!("../../sql/source/delta_clear.sql"));
const DROP_GATE: SqlFile = SqlFile::new(include_str!("../../sql/source/gate_drop.sql"));
const FORGET_SYNC: SqlFile = SqlFile::new(include_str!("../../sql/source/forget_sync.sql"));
const ONE: SqlFile = SqlFile::new(include_str!("../../sql/source/captured_one.sql"));
const TRACK_PRUNE: SqlFile = SqlFile::new(include_str!("../../sql/source/track_prune.sql"));

/// Forgets tables and readers that are no longer part of the sync, so that they hold back no purge. `captured` are the
/// tables that stay.
pub(super) async fn what_left(
    conn: &mut Connection,
    source: &DbName,
    sync: &SyncDetail,
    captured: &[i32],
) -> Result<(), tokio_postgres::Error> {
    let txn = conn.transaction().await?;
    txn.batch_execute(LOCK.text()).await?;
    let unwanted = release(&txn, &sync.name, captured).await?;
    let readers = sync.members.iter().filter(|it| it.role != Role::Fullcopy && it.db.name != *source);
    let readers: Vec<&str> = readers.map(|it| it.db.name.as_str()).collect();
    txn.execute(TRACK_PRUNE.text(), &[&sync.name.as_str(), &readers]).await?;
    txn.commit().await?;
    clear(conn, &unwanted).await
}

/// Takes a sync out of a source: nothing is kept for it, and its changes kick nobody.
pub(super) async fn source(conn: &mut Connection, sync: &SyncName) -> Result<(), tokio_postgres::Error> {
    if !exists(conn, "bucardo.track").await? {
        return Ok(());
    }
    let txn = conn.transaction().await?;
    txn.batch_execute(LOCK.text()).await?;
    let unwanted = release(&txn, sync, &[]).await?;
    txn.execute(FORGET_SYNC.text(), &[&sync.as_str()]).await?;
    txn.commit().await?;
    clear(conn, &unwanted).await?;
    drop_gate(conn, sync).await
}

/// Writes the functions of the captured tables that the sync leaves anew, which takes no lock on a table; returns those
/// that no sync wants any more: nothing more is captured there.
async fn release(txn: &Transaction<'_>, sync: &SyncName, stay: &[i32]) -> Result<Vec<i32>, tokio_postgres::Error> {
    let mut unwanted = Vec::new();
    for row in txn.query(CAPTURED_PRUNE.text(), &[&sync.as_str(), &stay]).await? {
        let id: i32 = row.get("captured");
        let row = txn.query_one(ONE.text(), &[&id]).await?;
        let delta = Sql::qualified("bucardo", row.get("deltaname"));
        let (key, by_row) = (row.get("key_columns"), row.get("by_row"));
        let table = Captured { id, delta, key, kicks: kicks(txn, id).await?, by_row };
        let functions = if row.get("wanted") {
            table.functions()
        } else {
            unwanted.push(id);
            table.idle_functions()
        };
        for function in functions {
            txn.batch_execute(&function).await?;
        }
    }
    Ok(unwanted)
}

/// Empties the delta tables that nobody reads, at once however much is in them. What others still write is waited for
/// a short time only: rows that stay are nobody's changes, and go with the next purge.
async fn clear(conn: &mut Connection, unwanted: &[i32]) -> Result<(), tokio_postgres::Error> {
    for id in unwanted {
        let attempt = async {
            let txn = short(conn).await?;
            if let Some(row) = txn.query_opt(ONE.text(), &[id]).await?
                && !row.get::<_, bool>("wanted")
            {
                let delta = Sql::qualified("bucardo", row.get("deltaname"));
                txn.batch_execute(&CLEAR_DELTA.fill(&[("delta", &delta)])).await?;
            }
            txn.commit().await
        };
        passing_over_locks(attempt.await)?;
    }
    Ok(())
}

/// A writer that has kicked holds a lock on the gate until it commits; who waited for that would be waited for by all
/// other writers. A gate that stays is asked by nobody. A daemon that still runs may have noted where it stands meanwhile.
async fn drop_gate(conn: &mut Connection, sync: &SyncName) -> Result<(), tokio_postgres::Error> {
    let gate = Sql::qualified("bucardo", &names::gate(sync.as_str()));
    let script = DROP_GATE.fill(&[("gate", &gate)]);
    let mut tries = 0;
    loop {
        tries += 1;
        let attempt = async {
            let txn = short(conn).await?;
            if !txn.query_one(HEARD.text(), &[&sync.as_str()]).await?.get::<_, bool>("heard") {
                txn.batch_execute(&script).await?;
            }
            txn.commit().await
        };
        match attempt.await {
            Err(error) if is_worth_trying_again(&error, tries) => tokio::time::sleep(LOCK_PAUSE * tries).await,
            ended => return passing_over_locks(ended),
        }
    }
}

/// A transaction that holds the installation lock and waits for no other one for long.
async fn short(conn: &mut Connection) -> Result<Transaction<'_>, tokio_postgres::Error> {
    let txn = conn.transaction().await?;
    txn.batch_execute(&format!("SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'; SET LOCAL client_min_messages = warning"))
        .await?;
    txn.batch_execute(LOCK.text()).await?;
    Ok(txn)
}

/// What could not be had in time stays as it is.
fn passing_over_locks(ended: Result<(), tokio_postgres::Error>) -> Result<(), tokio_postgres::Error> {
    match ended {
        Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => Ok(()),
        ended => ended,
    }
}
