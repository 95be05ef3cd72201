//! What is left in a database when nobody needs it any more, and how it goes: capture of tables that no sync wants,
//! syncs that the catalog does not know, and everything at once.
//!
//! To drop triggers takes locks on tables that are written to: each table is done on its own, with a short
//! `lock_timeout`, tried again a few times.

use bucardo_actors::model::SyncName;

use super::install::{LOCK, LOCK_PAUSE, LOCK_TIMEOUT, exists, is_worth_trying_again};
use super::lacking_indexes::{self, LackingIndexes};
use super::{forget, perl, registry};
use crate::pg::{Connection, Sql, SqlFile};
use crate::progress;

const LEFTOVERS: SqlFile = SqlFile::new(include_str!("../../sql/source/leftovers.sql"));
const REGISTERED: SqlFile = SqlFile::new(include_str!("../../sql/source/registered_syncs.sql"));
const UNUSED: SqlFile = SqlFile::new(include_str!("../../sql/source/unused.sql"));
const ONE: SqlFile = SqlFile::new(include_str!("../../sql/source/captured_one.sql"));
const UNNEEDED: SqlFile = SqlFile::new(include_str!("../../sql/adopt/unneeded.sql"));
const PIECES: SqlFile = SqlFile::new(include_str!("../../sql/source/pieces.sql"));
const FREEZER_PIECES: SqlFile = SqlFile::new(include_str!("../../sql/source/freezer_pieces.sql"));
/// So many tables or functions are dropped, or moved, in one transaction.
pub(super) const AT_ONCE: i64 = 40;
const DELETE: SqlFile = SqlFile::new(include_str!("../../sql/source/captured_delete.sql"));

/// What this program has in a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftovers {
    /// A catalog is here, too.
    pub is_control: bool,
    /// Equal for equal databases, however they are reached.
    pub identity: String,
    /// The schema `bucardo` is that of another program.
    pub is_foreign: bool,
    /// Triggers on tables outside the schema, each with its table.
    pub triggers: Vec<String>,
    /// Tables in the schema.
    pub tables: i64,
    /// Syncs that something is kept for.
    pub syncs: Vec<String>,
    /// Views of others that read from the schema.
    pub dependents: Vec<String>,
    /// Captured tables that no sync wants.
    pub unused: Vec<String>,
    /// Indexes of others that copies have dropped and not made again.
    pub lacking_indexes: Vec<LackingIndexes>,
}

/// Looks for it; `None`: there is nothing.
///
/// # Errors
///
/// What the server or the connection says.
pub async fn look(conn: &Connection) -> Result<Option<Leftovers>, tokio_postgres::Error> {
    let row = conn.query_one(LEFTOVERS.text(), &[]).await?;
    let (is_ours, is_foreign): (bool, bool) = (row.get("is_ours"), row.get("is_foreign"));
    if !is_ours && !is_foreign {
        return Ok(None);
    }
    let mut syncs: Vec<String> = Vec::new();
    for table in ["track", "position", "captured_sync"] {
        let place = Sql::qualified("bucardo", table);
        if !is_foreign && exists(conn, place.as_str()).await? {
            let rows = conn.query(&REGISTERED.fill(&[("registry", &place)]), &[]).await?;
            syncs.extend(rows.iter().map(|row| row.get::<_, String>("sync")));
        }
    }
    syncs.sort();
    syncs.dedup();
    let mut unused = Vec::new();
    if exists(conn, "bucardo.captured_sync").await? {
        for row in conn.query(UNUSED.text(), &[]).await? {
            unused.push(format!("{}.{}", row.get::<_, &str>("schemaname"), row.get::<_, &str>("tablename")));
        }
    }
    Ok(Some(Leftovers {
        is_control: row.get("is_control"),
        identity: row.get("identity"),
        is_foreign,
        triggers: row.get("triggers"),
        tables: row.get("tables"),
        dependents: row.get("dependents"),
        syncs,
        unused,
        lacking_indexes: if is_foreign { Vec::new() } else { lacking_indexes::look(conn).await? },
    }))
}

/// Forgets a sync that the catalog does not know: nothing is kept for it here any more.
///
/// # Errors
///
/// What the server or the connection says; what was forgotten before stays forgotten.
pub async fn forget(conn: &mut Connection, sync: &SyncName) -> Result<(), tokio_postgres::Error> {
    forget::source(conn, sync).await?;
    registry::forget_positions(conn, sync).await
}

/// Takes away the triggers, functions and delta tables of captured tables that no sync wants; returns these tables.
///
/// # Errors
///
/// What the server or the connection says, also that a table stayed locked; those done before are done.
pub async fn drop_unused(conn: &mut Connection) -> Result<Vec<String>, tokio_postgres::Error> {
    drop_captured(conn, "").await
}

/// `others`: what becomes of what others made of the tables of changes.
async fn drop_captured(conn: &mut Connection, others: &str) -> Result<Vec<String>, tokio_postgres::Error> {
    let mut dropped = Vec::new();
    if !exists(conn, "bucardo.captured_sync").await? {
        return Ok(dropped);
    }
    for row in conn.query(UNUSED.text(), &[]).await? {
        progress::step(|| {
            format!("taking the triggers from {}.{}", row.get::<_, &str>("schemaname"), row.get::<_, &str>("tablename"))
        });
        let (id, delta): (i32, String) = (row.get("id"), row.get("deltaname"));
        let functions: Vec<String> = row.get("functions");
        // CASCADE takes the triggers, and nothing else can depend on a trigger function.
        let mut script: String =
            functions.iter().map(|function| format!("DROP FUNCTION {function} CASCADE;")).collect();
        let view = format!("track_{}", delta.strip_prefix("delta_").unwrap_or(&delta));
        script.push_str(&format!("DROP VIEW IF EXISTS {} {others};", Sql::qualified("bucardo", &view)));
        script.push_str(&format!("DROP TABLE IF EXISTS {} {others}", Sql::qualified("bucardo", &delta)));
        if with_retries(conn, &script, Some(id)).await? {
            dropped.push(format!("{}.{}", row.get::<_, &str>("schemaname"), row.get::<_, &str>("tablename")));
        }
    }
    Ok(dropped)
}

/// Takes the schema `bucardo` away, with the triggers that call its functions, and what is kept of a Perl Bucardo.
///
/// Each captured table is a transaction of its own, and so are some dozens of the rest: everything at once may be more
/// locks than a server has room for (manual, section "Lock Management").
///
/// # Errors
///
/// What the server or the connection says, also that a table stayed locked; what was done before stays done, and the
/// next call goes on.
pub async fn drop_all(conn: &mut Connection) -> Result<(), tokio_postgres::Error> {
    if exists(conn, "bucardo.captured_sync").await? {
        conn.batch_execute(UNNEEDED.text()).await?;
        drop_captured(conn, "CASCADE").await?;
    }
    drop_schema(conn, "bucardo").await?;
    drop_schema(conn, perl::SCHEMA).await?;
    drop_schema(conn, &format!("{}_freezer", perl::SCHEMA)).await
}

/// Drops the freezer of old runs, which belongs to a catalog; what others have in its schema stays, and so does that then.
///
/// # Errors
///
/// As [`drop_all`].
pub async fn drop_freezer(conn: &mut Connection) -> Result<(), tokio_postgres::Error> {
    drop_pieces(conn, &FREEZER_PIECES, &[&AT_ONCE]).await
}

async fn drop_pieces(
    conn: &mut Connection,
    pieces: &SqlFile,
    args: &[&(dyn postgres_types::ToSql + Sync)],
) -> Result<(), tokio_postgres::Error> {
    loop {
        let pieces = conn.query(pieces.text(), args).await?;
        if pieces.is_empty() {
            return Ok(());
        }
        let script: Vec<&str> = pieces.iter().map(|row| row.get("statement")).collect();
        with_retries(conn, &script.join(";"), None).await?;
    }
}

/// Drops a schema, if it is there, piece by piece.
///
/// # Errors
///
/// As [`drop_all`].
pub async fn drop_schema(conn: &mut Connection, schema: &str) -> Result<(), tokio_postgres::Error> {
    drop_pieces(conn, &PIECES, &[&schema, &AT_ONCE]).await?;
    with_retries(conn, &format!("DROP SCHEMA IF EXISTS {} CASCADE", Sql::ident(schema)), None).await.map(drop)
}

async fn with_retries(
    conn: &mut Connection,
    script: &str,
    captured: Option<i32>,
) -> Result<bool, tokio_postgres::Error> {
    let mut tries = 0;
    loop {
        tries += 1;
        match once(conn, script, captured).await {
            Err(error) if is_worth_trying_again(&error, tries) => tokio::time::sleep(LOCK_PAUSE * tries).await,
            ended => return ended,
        }
    }
}

/// What a sync has begun to want meanwhile stays.
async fn once(conn: &mut Connection, script: &str, captured: Option<i32>) -> Result<bool, tokio_postgres::Error> {
    let txn = conn.transaction().await?;
    txn.batch_execute(&format!("SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'; SET LOCAL client_min_messages = warning"))
        .await?;
    txn.batch_execute(LOCK.text()).await?;
    if let Some(id) = captured {
        let row = txn.query_opt(ONE.text(), &[&id]).await?;
        if row.is_none_or(|row| row.get("wanted")) {
            return Ok(false);
        }
        txn.batch_execute(script).await?;
        txn.execute(DELETE.text(), &[&id]).await?;
    } else {
        txn.batch_execute(script).await?;
    }
    txn.commit().await?;
    Ok(true)
}
