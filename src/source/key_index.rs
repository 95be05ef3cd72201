//! The index on the key of a delta table. A merge looks up the versions of a key that a source has recorded; nothing
//! else does, so only tables of syncs with several sources have one.

use bucardo_actors::model::SyncName;
use tokio_postgres::error::SqlState;

use super::install::{LOCK_PAUSE, LOCK_TIMEOUT, LOCK_TRIES, is_worth_trying_again};
use super::names;
use super::triggers::Captured;
use crate::pg::{Connection, Sql, SqlFile};

const LOCK: SqlFile = SqlFile::new(include_str!("../../sql/source/key_index_lock.sql"));
const UNLOCK: SqlFile = SqlFile::new(include_str!("../../sql/source/key_index_unlock.sql"));
const STATE: SqlFile = SqlFile::new(include_str!("../../sql/source/key_index_state.sql"));

/// A delta table up to this size is indexed at once, which keeps writers waiting for a moment; a larger one while
/// others write to it, which takes longer.
const QUICK_BYTES_MAX: i64 = 4 * 1024 * 1024;

/// Makes the index if it is `wanted`; else drops it, unless other syncs read the delta table. False: transactions of
/// others stand in the way of it for now.
///
/// # Errors
///
/// The server's.
pub(super) async fn keep(
    conn: &Connection,
    sync: &SyncName,
    table: &Captured,
    wanted: bool,
) -> Result<bool, tokio_postgres::Error> {
    conn.batch_execute(&format!("SET lock_timeout = '{LOCK_TIMEOUT}'")).await?;
    let mut tries = 0;
    let ended = loop {
        tries += 1;
        match bring(conn, sync, table, wanted).await {
            Ok(true) => break Ok(true),
            Ok(false) if tries >= LOCK_TRIES => break Ok(false),
            Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) && tries >= LOCK_TRIES => {
                break Ok(false);
            }
            Err(error) if !is_worth_trying_again(&error, tries) => break Err(error),
            Ok(false) | Err(_) => tokio::time::sleep(LOCK_PAUSE * tries).await,
        }
    };
    // After an error the connection is of no use any more.
    if ended.is_ok() {
        conn.batch_execute("RESET lock_timeout").await?;
    }
    ended
}

/// False: another session is at it.
async fn bring(
    conn: &Connection,
    sync: &SyncName,
    table: &Captured,
    wanted: bool,
) -> Result<bool, tokio_postgres::Error> {
    let is_locked: bool = conn.query_one(LOCK.text(), &[]).await?.get("locked");
    if !is_locked {
        return Ok(false);
    }
    let ended = make_or_drop(conn, sync, table, wanted).await;
    if ended.as_ref().err().is_none_or(|error| !error.is_closed()) {
        conn.query_one(UNLOCK.text(), &[]).await?;
    }
    ended.map(|()| true)
}

async fn make_or_drop(
    conn: &Connection,
    sync: &SyncName,
    table: &Captured,
    wanted: bool,
) -> Result<(), tokio_postgres::Error> {
    let index = Sql::ident(&format!("delta_{}_key", table.id));
    let qualified = format!("bucardo.{index}");
    let state = conn.query_one(STATE.text(), &[&qualified, &table.delta.as_str(), &table.id, &sync.as_str()]).await?;
    let (is_there, is_valid, is_shared): (bool, bool, bool) =
        (state.get("is_there"), state.get("is_valid"), state.get("is_shared"));
    if if wanted { is_valid } else { !is_there || is_shared } {
        return Ok(());
    }
    if is_there {
        // No longer wanted, or left over from an attempt that was given up.
        conn.batch_execute(&format!("DROP INDEX IF EXISTS {qualified}")).await?;
    }
    if wanted {
        let how = if state.get::<_, i64>("bytes") > QUICK_BYTES_MAX { "CONCURRENTLY " } else { "" };
        let columns = names::delta_columns(&table.key);
        let sql = format!("CREATE INDEX {how}IF NOT EXISTS {index} ON {} ({columns})", table.delta);
        conn.batch_execute(&sql).await?;
    }
    Ok(())
}
