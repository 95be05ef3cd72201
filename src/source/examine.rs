//! How a database is, as far as replication is concerned; nothing is changed.

use serde::Serialize;

use super::clock::clock_offset;
use super::install::exists;
use super::lacking_indexes::{self, LackingIndexes};
use crate::pg::{Connection, SqlFile};

const EXAMINE: SqlFile = SqlFile::new(include_str!("../../sql/source/examine.sql"));
const BARE: SqlFile = SqlFile::new(include_str!("../../sql/source/bare_tables.sql"));

const SCHEMA_GRANT: SqlFile = SqlFile::new(include_str!("../../sql/source/schema_grant.sql"));

/// The statement that lets the role of this session use what another one has installed; `None`: it may, or nothing is.
///
/// # Errors
///
/// What the server or the connection says.
pub async fn grant_needed(conn: &Connection) -> Result<Option<String>, tokio_postgres::Error> {
    Ok(conn.query_opt(SCHEMA_GRANT.text(), &[]).await?.map(|row| row.get("statement")))
}

/// What was found in a database.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Examined {
    /// Version of the server.
    pub version: String,
    /// The role that was connected as.
    pub role: String,
    /// Whether it may do everything.
    pub is_superuser: bool,
    /// Whether the server follows another one.
    pub is_standby: bool,
    /// How far its clock is ahead of ours, in seconds, give or take [`Self::clock_error`].
    pub clock_offset: f64,
    /// Half of the time that the question took, in seconds.
    pub clock_error: f64,
    /// Sessions that the server allows.
    pub connections_max: i32,
    /// Sessions that there are.
    pub connections: i64,
    /// Age of the oldest open transaction in this database, in seconds.
    pub oldest_transaction: Option<f64>,
    /// Time since the oldest transaction in this database was prepared that has not ended, in seconds.
    pub oldest_prepared: Option<f64>,
    /// Size of all delta tables.
    pub delta_bytes: i64,
    /// Statements that enable triggers of ours which somebody disabled.
    pub disabled: Vec<String>,
    /// Tables that are captured and have no trigger, with their syncs.
    pub bare: Vec<(String, Vec<String>)>,
    /// Indexes that copies have dropped and not made again.
    pub lacking_indexes: Vec<LackingIndexes>,
}

/// Looks at a database.
///
/// # Errors
///
/// What the server or the connection says.
pub async fn examine(conn: &Connection) -> Result<Examined, tokio_postgres::Error> {
    let row = conn.query_one(EXAMINE.text(), &[]).await?;
    let clock = clock_offset(conn).await?;
    let mut bare = Vec::new();
    if exists(conn, "bucardo.captured_sync").await? {
        for row in conn.query(BARE.text(), &[]).await? {
            let name = format!("{}.{}", row.get::<_, &str>("schemaname"), row.get::<_, &str>("tablename"));
            bare.push((name, row.get("syncs")));
        }
    }
    Ok(Examined {
        version: row.get("version"),
        role: row.get("role"),
        is_superuser: row.get("is_superuser"),
        is_standby: row.get("is_standby"),
        clock_offset: clock.ahead_seconds,
        clock_error: clock.error_seconds,
        connections_max: row.get("connections_max"),
        connections: row.get("connections"),
        oldest_transaction: row.get("oldest_transaction"),
        oldest_prepared: row.get("oldest_prepared"),
        delta_bytes: row.get("delta_bytes"),
        disabled: row.get("disabled"),
        bare,
        lacking_indexes: lacking_indexes::look(conn).await?,
    })
}
