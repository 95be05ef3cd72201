//! The index on the key of a delta table, which earlier versions made for merges. Nothing reads along it any more, and every
//! change of a row pays for it, so it goes.

use tokio_postgres::error::SqlState;

use super::install::{LOCK_PAUSE, LOCK_TIMEOUT, LOCK_TRIES, is_worth_trying_again};
use super::triggers::Captured;
use crate::pg::{Connection, Sql, SqlFile};

const STATE: SqlFile = SqlFile::new(include_str!("../../sql/source/key_index_state.sql"));

/// Drops the index if it is there. False: transactions of others stand in the way of it for now.
///
/// # Errors
///
/// The server's.
pub(super) async fn drop_old(conn: &Connection, table: &Captured) -> Result<bool, tokio_postgres::Error> {
    let index = format!("bucardo.{}", Sql::ident(&format!("delta_{}_key", table.id)));
    if !conn.query_one(STATE.text(), &[&index]).await?.get::<_, bool>("is_there") {
        return Ok(true);
    }
    conn.batch_execute(&format!("SET lock_timeout = '{LOCK_TIMEOUT}'")).await?;
    let mut tries = 0;
    let ended = loop {
        tries += 1;
        match conn.batch_execute(&format!("DROP INDEX IF EXISTS {index}")).await {
            Ok(()) => break Ok(true),
            Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) && tries >= LOCK_TRIES => {
                break Ok(false);
            }
            Err(error) if !is_worth_trying_again(&error, tries) => break Err(error),
            Err(_) => tokio::time::sleep(LOCK_PAUSE * tries).await,
        }
    };
    // After an error the connection is of no use any more.
    if ended.is_ok() {
        conn.batch_execute("RESET lock_timeout").await?;
    }
    ended
}
