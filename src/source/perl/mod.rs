//! What the Perl Bucardo has in a database: its triggers, and its tables of changes. It is taken over table by table,
//! and can be given back.
//!
//! Version 5 keeps a table of changes for each table, and beside it the times of the transactions that a *group* of
//! databases has got; versions 3 and 4 keep all changes in one table, and what each *database* has got. What it made is
//! moved to the schema `bucardo_perl` and stays there, for the way back.

mod back;
mod take;

use bucardo_actors::model::{DbName, SyncName};
use postgres_types::Oid;

pub use back::{Back, back};
pub use take::{Pending, pending, take};

use super::given_up::given_up;
use super::install::{begin, exists};
use super::leftovers;
use super::validate::ValidateError;
use crate::pg::{Connection, Sql, SqlFile};

const SHARED: SqlFile = SqlFile::new(include_str!("../../../sql/adopt/shared.sql"));
const LOOK: SqlFile = SqlFile::new(include_str!("../../../sql/adopt/look.sql"));
const SESSIONS: SqlFile = SqlFile::new(include_str!("../../../sql/adopt/sessions.sql"));
const TABLES: SqlFile = SqlFile::new(include_str!("../../../sql/adopt/tables.sql"));
const KEEP: SqlFile = SqlFile::new(include_str!("../../../sql/adopt/keep.sql"));
const KEY_TYPES: SqlFile = SqlFile::new(include_str!("../../../sql/adopt/key_types.sql"));

/// Where everything goes that the Perl program made.
pub const SCHEMA: &str = "bucardo_perl";

/// How a database notes changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// A table of changes for each table.
    Five,
    /// One table of changes, keys as text.
    Four,
}

impl Version {
    fn of(number: Option<i32>) -> Option<Self> {
        match number {
            Some(5) => Some(Self::Five),
            Some(_) => Some(Self::Four),
            None => None,
        }
    }
}

/// What there is of it in a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its tables of changes are in use.
    pub live: Option<Version>,
    /// They are kept aside.
    pub kept: Option<Version>,
    /// Something was taken over here.
    pub has_schema: bool,
    /// It knows of truncations.
    truncates: bool,
}

/// Looks what there is.
///
/// # Errors
///
/// The server's.
pub async fn look(conn: &Connection) -> Result<Found, tokio_postgres::Error> {
    let row = conn.query_one(LOOK.text(), &[]).await?;
    Ok(Found {
        live: Version::of(row.get("live")),
        kept: Version::of(row.get("kept")),
        has_schema: row.get("has_schema"),
        truncates: row.get("truncates"),
    })
}

/// The sessions of a daemon in the database of this session.
///
/// # Errors
///
/// The server's.
pub async fn sessions(conn: &Connection) -> Result<Vec<String>, tokio_postgres::Error> {
    let told = |row: &tokio_postgres::Row| {
        format!("{} (backend PID {})", row.get::<_, &str>("application_name"), row.get::<_, i32>("pid"))
    };
    Ok(conn.query(SESSIONS.text(), &[]).await?.iter().map(told).collect())
}

/// Makes the schema where the Perl program's things are kept.
///
/// # Errors
///
/// The server's.
pub async fn make_room(client: &tokio_postgres::Client) -> Result<(), tokio_postgres::Error> {
    client
        .batch_execute(&format!("SET client_min_messages = warning; {}; RESET client_min_messages", KEEP.text()))
        .await
}

/// Moves what the tables of the Perl program share from one schema to another. The functions of single tables go some at
/// a time: there may be thousands, and each is a lock until its transaction ends (manual, section "Lock Management").
/// What tells that it was moved goes last, in one transaction with what `ours` says, so that the next call goes on.
async fn move_shared(
    conn: &mut Connection,
    (from, to): (&str, &str),
    ours: Option<&SqlFile>,
) -> Result<(), tokio_postgres::Error> {
    let at_once = usize::try_from(leftovers::AT_ONCE).unwrap_or_default();
    loop {
        let txn = begin(conn).await?;
        let rows = txn.query(SHARED.text(), &[&from, &to]).await?;
        let (many, rest): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.get("is_many"));
        for row in many.iter().take(at_once) {
            txn.batch_execute(row.get("statement")).await?;
        }
        if many.is_empty() {
            for row in match ours {
                Some(ours) => txn.query(ours.text(), &[]).await?,
                None => Vec::new(),
            } {
                txn.batch_execute(row.get("statement")).await?;
            }
            for row in rest {
                txn.batch_execute(row.get("statement")).await?;
            }
            return txn.commit().await;
        }
        txn.commit().await?;
    }
}

/// The readers that are given up here: what they lack is gone.
///
/// # Errors
///
/// The server's.
pub async fn readers_given_up(conn: &Connection) -> Result<Vec<(SyncName, DbName)>, tokio_postgres::Error> {
    if !exists(conn, "bucardo.track").await? {
        return Ok(Vec::new());
    }
    Ok(given_up(conn).await?.into_iter().map(|(sync, target, _)| (sync, target)).collect())
}

/// Whether the triggers here are the Perl program's. A source that it serves is not ours to install anything in.
pub(super) async fn is_served(conn: &Connection) -> Result<bool, tokio_postgres::Error> {
    Ok(exists(conn, "bucardo.bucardo_delta_targets").await? && look(conn).await?.live.is_some())
}

/// A table with its triggers.
struct Triggered {
    oid: Oid,
    schema: String,
    name: String,
}

async fn triggered(conn: &Connection) -> Result<Vec<Triggered>, tokio_postgres::Error> {
    let read = |row: &tokio_postgres::Row| Triggered {
        oid: row.get("oid"),
        schema: row.get("schemaname"),
        name: row.get("tablename"),
    };
    Ok(conn.query(TABLES.text(), &[]).await?.iter().map(read).collect())
}

/// The key columns of a table as versions 3 and 4 have them: `rowid`, `rowid2`, …, with the type of each, and whether
/// it is `bytea`, which is kept in base64.
async fn key_types(
    client: &impl tokio_postgres::GenericClient,
    oid: Oid,
    key: &[String],
) -> Result<Vec<(Sql, Sql, bool)>, tokio_postgres::Error> {
    let rows = client.query(KEY_TYPES.text(), &[&oid, &key]).await?;
    let read = |(place, row): (usize, &tokio_postgres::Row)| {
        let rowid = if place == 0 { "rowid".to_owned() } else { format!("rowid{}", place + 1) };
        (Sql::trusted(rowid), Sql::trusted(row.get::<_, String>("type")), row.get("is_bytea"))
    };
    Ok(rows.iter().enumerate().map(read).collect())
}

fn failed<'a>(db: &'a DbName, what: &str) -> impl Fn(tokio_postgres::Error) -> ValidateError + use<'a> {
    let what = what.to_owned();
    move |error| ValidateError::sql(db, what.clone(), error)
}
