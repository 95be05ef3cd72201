//! Indexes of a target that a copy in pieces has dropped, to make them again at its end, and that are not made yet.

use serde::Serialize;

use super::install::exists;
use crate::pg::{Connection, SqlFile};

const LACKING: SqlFile = SqlFile::new(include_str!("../../sql/copy/lacking_indexes.sql"));

/// The indexes that a table lacks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LackingIndexes {
    /// The sync whose copy dropped them.
    pub sync: String,
    /// `schema.table`
    pub table: String,
    /// What makes them again.
    pub statements: Vec<String>,
}

impl LackingIndexes {
    /// What is lost if nobody makes them, for people.
    #[must_use]
    pub fn told(&self) -> String {
        let Self { sync, table, statements } = self;
        format!(
            "table {table} lacks indexes that a copy of sync \"{sync}\" dropped and did not come to make again: {}",
            statements.join("; ")
        )
    }
}

/// Looks for them in a database.
pub(super) async fn look(conn: &Connection) -> Result<Vec<LackingIndexes>, tokio_postgres::Error> {
    if !exists(conn, "bucardo.copy_table").await? {
        return Ok(Vec::new());
    }
    let rows = conn.query(LACKING.text(), &[]).await?;
    let lacking = |row: &tokio_postgres::Row| LackingIndexes {
        sync: row.get("sync"),
        table: row.get("label"),
        statements: row.get("indexes"),
    };
    Ok(rows.iter().map(lacking).collect())
}
