//! The gate of a sync in a source: whether a change notifies.
//!
//! `NOTIFY` serialises commits on a busy server, so while the daemon looks by itself anyway, changes keep quiet. The
//! gate is the value of a sequence: read and written outside transactions, for a fraction of a microsecond.
//!
//! After it is opened again, a transaction that saw it quiet may still be running; its changes come without a word.
//! All of them are below the `xmax` of a snapshot taken after the opening, so once a later snapshot's `xmin` has
//! reached that, one more look finds everything, and every later change notifies.

use bucardo_actors::model::SyncName;

use super::names;
use crate::pg::{Connection, Sql, SqlFile};

const SET: SqlFile = SqlFile::new(include_str!("../../sql/source/gate_set.sql"));
const SNAPSHOT: SqlFile = SqlFile::new(include_str!("../../sql/source/snapshot.sql"));

/// Whether changes notify.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Every changing transaction notifies.
    Notify,
    /// Nobody needs to: the daemon looks by itself.
    Quiet,
}

/// Sets the gate of `sync`, at once and for everybody.
///
/// # Errors
///
/// The server's: `undefined_table` when the sync was never validated there.
pub async fn set_gate(source: &Connection, sync: &SyncName, gate: Gate) -> Result<(), tokio_postgres::Error> {
    let name = Sql::qualified("bucardo", &names::gate(sync.as_str()));
    let value: i64 = if gate == Gate::Notify { 1 } else { 2 };
    source.query_one(SET.text(), &[&name.as_str(), &value]).await?;
    Ok(())
}

/// The `(xmin, xmax)` of a snapshot taken now.
///
/// # Errors
///
/// The server's.
pub async fn horizon(source: &Connection) -> Result<(i64, i64), tokio_postgres::Error> {
    let row = source.query_one(SNAPSHOT.text(), &[]).await?;
    Ok((row.get("xmin"), row.get("xmax")))
}
