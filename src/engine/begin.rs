//! How the two transactions of a round begin: `isolation_level` and `lock_table_force`.
//!
//! The source is always read from one snapshot (`REPEATABLE READ`). The target is written under `READ COMMITTED`, also
//! where the setting says `repeatable read`: rounds write there without looking at what is written, and a stricter level
//! would only make them fail when somebody else changed the same row. With `serializable` both transactions are
//! serializable: what is read is a state that the source's serializable transactions agree on, which a snapshot alone
//! need not be (manual, section "Serializable Isolation Level"), and serializable transactions on the target take the
//! round for one of theirs. A round that does not fit starts over.
//!
//! Merges write at every source under `REPEATABLE READ`, or with `serializable` under that: serializable transactions of
//! applications take the merge for one of theirs, and it starts over where it does not fit in. What it read at one source
//! may have been committed at another before this one refuses; then the next merge brings the rest, as after a crash.
//!
//! `lock_table_force` names the mode of a lock that a round takes on all its tables, on both sides, before it reads or
//! writes anything. Whoever holds a lock in the way is waited for as long as [`WAIT`] says.

use crate::catalog::{Goat, SyncDetail};
use crate::pg::Sql;
use bucardo_actors::model::DbName;

/// How long a forced lock is waited for; then the round fails, and is tried again later.
const WAIT: &str = "SET LOCAL lock_timeout = '1min'";

/// A local transaction that keeps a row locked shall not keep a merge, and with it the rows that the merge has locked
/// elsewhere.
const WAIT_IN_MERGE: &str = "SET LOCAL lock_timeout = '2s'";

/// The first statements of the transactions, up to the snapshot.
pub(super) struct Begin {
    pub(super) source: String,
    pub(super) target: String,
}

impl Begin {
    /// Of the rounds of `sync` that bring changes to `target`.
    pub(super) fn changes(sync: &SyncDetail, target: &DbName) -> Self {
        let level = if sync.serializable { "SERIALIZABLE" } else { "REPEATABLE READ" };
        Self {
            source: with_lock(format!("BEGIN ISOLATION LEVEL {level}"), sync, None),
            target: begin_target(sync, target),
        }
    }

    /// Of whole copies: the source is only read, and may be a standby.
    pub(super) fn copies(sync: &SyncDetail, target: &DbName) -> Self {
        let level = if sync.serializable { "SERIALIZABLE" } else { "REPEATABLE READ" };
        let source = with_lock(format!("BEGIN ISOLATION LEVEL {level} READ ONLY"), sync, None);
        Self { source, target: begin_target(sync, target) }
    }
}

/// The first statements of a merge's transaction at `source`, up to the snapshot. One that is only read takes no lock.
pub(super) fn begin_merge(sync: &SyncDetail, source: &DbName, is_read_only: bool) -> String {
    let level = if sync.serializable { "SERIALIZABLE" } else { "REPEATABLE READ" };
    let begin = format!("BEGIN ISOLATION LEVEL {level}; SET LOCAL session_replication_role = replica");
    let begin = if is_read_only { begin } else { with_lock(begin, sync, Some(source)) };
    format!("{begin}; {WAIT_IN_MERGE}")
}

fn begin_target(sync: &SyncDetail, target: &DbName) -> String {
    let begin = if sync.serializable { "BEGIN ISOLATION LEVEL SERIALIZABLE" } else { "BEGIN" };
    let begin = with_lock(format!("{begin}; SET LOCAL session_replication_role = replica"), sync, Some(target));
    // A serializable transaction does not see who came to read after its snapshot, so nobody may come (see `onward`).
    let handing_on = sync.tables().filter(|goat| sync.serializable && sync.makes_delta(goat, target));
    let tables: Vec<Goat> = handing_on.map(|goat| sync.goat_on(goat, target)).collect();
    if tables.is_empty() { begin } else { format!("{begin}; {}", lock(&tables, "ROW EXCLUSIVE")) }
}

/// `db`: where the tables may have names of their own.
fn with_lock(begin: String, sync: &SyncDetail, db: Option<&DbName>) -> String {
    let Some(mode) = sync.lock else { return begin };
    let here = |goat: &Goat| match db {
        Some(db) => sync.goat_on(goat, db),
        None => goat.clone(),
    };
    let tables: Vec<Goat> = sync.tables().map(here).collect();
    if tables.is_empty() {
        return begin;
    }
    format!("{begin}; {WAIT}; {}; SET LOCAL lock_timeout = 0", lock(&tables, mode.words()))
}

/// `LOCK TABLE`; before the first snapshot of the transaction is taken.
fn lock(tables: &[Goat], mode: &str) -> String {
    let names = Sql::join(tables.iter().map(|goat| Sql::qualified(&goat.schema, &goat.name)), ", ");
    format!("LOCK TABLE {names} IN {mode} MODE")
}
