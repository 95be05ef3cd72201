//! Keys that wait as dead letters for the sake of another row, which has their unique value. That one may have changed when
//! their table does, so they are sent again then, and not too often: a round that tries them in vain costs what refused
//! rows cost.

use bucardo_actors::model::GoatCounts;
use chrono::{DateTime, Utc};

use super::error::RoundError;
use super::site::Site;
use crate::catalog::SyncDetail;
use crate::pg::SqlFile;
use crate::source::letters::{Waiting, send_again};

const LETTERS_DUE: SqlFile = SqlFile::new(include_str!("../../sql/engine/letters_due.sql"));

/// Notes keys that wait at `target`, of tables that a round has changed there, at the sources whose rows they are, for
/// the next round; returns whether there are any. `of`: who has the rows of a source; `None`: nobody that is up. Nobody is
/// in a transaction.
///
/// # Errors
///
/// A server refused a statement; what was noted stays noted.
pub(super) async fn send<'a>(
    sync: &SyncDetail,
    target: &Site,
    changed: &[GoatCounts],
    of: impl Fn(&str) -> Option<&'a Site>,
) -> Result<bool, RoundError> {
    if !sync.deadletter || changed.is_empty() {
        return Ok(false);
    }
    let goats = || sync.tables().filter(|goat| changed.iter().any(|it| it.goat == goat.id));
    let schemas: Vec<&str> = goats().map(|goat| goat.schema.as_str()).collect();
    let tables: Vec<&str> = goats().map(|goat| goat.name.as_str()).collect();
    let found = target.conn.query(LETTERS_DUE.text(), &[&sync.name.as_str(), &schemas, &tables]).await;
    let mut is_any = false;
    for row in found.map_err(target.failed("looking for dead letters that are due"))? {
        let Some(source) = of(row.get("source")) else { continue };
        let (keys, since): (Vec<String>, Vec<DateTime<Utc>>) = (row.get("keys"), row.get("since"));
        let keys: Vec<(String, DateTime<Utc>)> = keys.into_iter().zip(since).collect();
        let (schema, table) = (row.get("schemaname"), row.get("tablename"));
        let waiting = Waiting { source: source.db.as_str(), db: target.db.as_str(), schema, table, keys: &keys };
        let sent = send_again(&source.conn, sync, waiting).await;
        is_any |= sent.map_err(source.failed(format!("sending keys of table \"{schema}.{table}\" again")))?;
    }
    Ok(is_any)
}
