//! Keys whose rows a database refused are sent again.

use chrono::{DateTime, Utc};

use crate::catalog::SyncDetail;
use crate::pg::{Connection, Sql, SqlFile};

use super::exists;
use super::names::{delta_column, delta_columns};

const DELTA: SqlFile = SqlFile::new(include_str!("../../sql/source/letters_delta.sql"));
const TOTAL: SqlFile = SqlFile::new(include_str!("../../sql/source/letters_total.sql"));
const RETRY: SqlFile = SqlFile::new(include_str!("../../sql/source/letters_retry.sql"));

/// Keys of a table that wait at one database.
#[derive(Clone, Copy, Debug)]
pub struct Waiting<'a> {
    /// The database that has the rows: the one that `conn` goes to.
    pub source: &'a str,
    /// The one that refused them.
    pub db: &'a str,
    /// Schema of the table.
    pub schema: &'a str,
    /// Its name.
    pub table: &'a str,
    /// As JSON, column and text, and since when they wait.
    pub keys: &'a [(String, DateTime<Utc>)],
}

/// How many keys of a sync wait at a database, and since when the oldest one does; `None`: no key.
///
/// # Errors
///
/// The server refused the question.
pub async fn total(conn: &Connection, sync: &str) -> Result<Option<(i64, DateTime<Utc>)>, tokio_postgres::Error> {
    if !exists(conn, "bucardo.deadletter").await? {
        return Ok(None);
    }
    let row = conn.query_one(TOTAL.text(), &[&sync]).await?;
    Ok(row.get::<_, Option<DateTime<Utc>>>("oldest").map(|oldest| (row.get("keys"), oldest)))
}

/// Notes keys at their source for the database that refused them, so that the sync sends it their present rows. In merges
/// they keep the version that they have: what is sent again is no newer than it was, and nobody else has to take it. False:
/// the table is not captured there.
///
/// # Errors
///
/// The server refused a statement; nothing is noted.
pub async fn send_again(
    conn: &Connection,
    sync: &SyncDetail,
    waiting: Waiting<'_>,
) -> Result<bool, tokio_postgres::Error> {
    let Waiting { source, db, schema, table, keys } = waiting;
    let Some(row) = conn.query_opt(DELTA.text(), &[&schema, &table]).await? else { return Ok(false) };
    let (delta, columns): (String, Vec<String>) = (row.get("deltaname"), row.get("key_columns"));
    let values = columns.iter().map(|column| Sql::trusted(format!("k.{}", Sql::ident(&delta_column(column)))));
    let pairs = columns.iter().map(|column| {
        Sql::trusted(format!("{}, n.key::jsonb -> {}", Sql::literal(&delta_column(column)), Sql::literal(column)))
    });
    // Of whatever type the key is; one that is written otherwise is as good as purged.
    let on = columns.iter().map(|column| {
        let column = Sql::ident(&delta_column(column));
        Sql::trusted(format!("d.{column}::text = k.{column}::text"))
    });
    let sql = RETRY.fill(&[
        ("delta", &Sql::qualified("bucardo", &delta)),
        ("columns", &delta_columns(&columns)),
        ("values", &Sql::join(values, ", ")),
        ("pairs", &Sql::join(pairs, ", ")),
        ("on", &Sql::join(on, " AND ")),
    ]);
    let (keys, since): (Vec<&str>, Vec<DateTime<Utc>>) = keys.iter().map(|(key, since)| (key.as_str(), *since)).unzip();
    conn.execute(&sql, &[&keys, &since, &sync.name.as_str(), &source, &db, &sync.is_merging()]).await?;
    Ok(true)
}
