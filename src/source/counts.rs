//! How many changes a source keeps, read or not: counted one by one, for those who ask.

use std::collections::HashMap;

use serde::Serialize;

use super::install::exists;
use crate::pg::{Connection, Sql, SqlFile};

const TABLES: SqlFile = SqlFile::new(include_str!("../../sql/source/delta_tables.sql"));
const COUNT: SqlFile = SqlFile::new(include_str!("../../sql/source/delta_count.sql"));

/// The changes that are kept of one table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TableDeltas {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub table: String,
    /// How many changes.
    pub deltas: i64,
    /// The syncs that want them.
    pub syncs: Vec<String>,
}

/// The changes of each captured table that is `wanted`, by schema and name; `None`: nothing was ever installed there.
///
/// # Errors
///
/// The server's.
pub async fn deltas(
    source: &Connection,
    wanted: impl Fn(&str, &str) -> bool,
) -> Result<Option<Vec<TableDeltas>>, tokio_postgres::Error> {
    if !exists(source, "bucardo.captured_sync").await? {
        return Ok(None);
    }
    let rows = source.query(TABLES.text(), &[]).await?;
    let rows: Vec<_> = rows.iter().filter(|row| wanted(row.get("schemaname"), row.get("tablename"))).collect();
    if rows.is_empty() {
        return Ok(Some(Vec::new()));
    }
    let branches = rows.iter().map(|row| {
        let captured = Sql::trusted(row.get::<_, i32>("id").to_string());
        let delta = Sql::qualified("bucardo", row.get("deltaname"));
        Sql::trusted(COUNT.fill(&[("delta", &delta), ("captured", &captured)]))
    });
    let counted = source.query(Sql::join(branches, " UNION ALL ").as_str(), &[]).await?;
    let counts: HashMap<i32, i64> = counted.iter().map(|row| (row.get("captured"), row.get("rows"))).collect();
    let deltas = rows.iter().map(|row| TableDeltas {
        schema: row.get("schemaname"),
        table: row.get("tablename"),
        deltas: counts.get(&row.get("id")).copied().unwrap_or_default(),
        syncs: row.get("syncs"),
    });
    Ok(Some(deltas.collect()))
}
