//! What the history tells of conflicts, and how it stays bounded.

use std::time::Duration;

use chrono::{DateTime, Local, Utc};
use serde::Serialize;
use tokio_postgres::GenericClient;

use super::CatalogError;
use super::query::{Query, query};

const LIST: Query = query!("read the history of conflicts", "conflict_list");
const TOTALS: Query = query!("read how many conflicts there were", "conflict_totals");
const PRUNE: Query = query!("prune the history of conflicts", "conflict_prune");

/// Which conflicts to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Those of these syncs; `None`: of all.
    pub syncs: Option<Vec<String>>,
    /// Those of tables in this schema.
    pub schema: Option<String>,
    /// Those of tables of this name.
    pub table: Option<String>,
    /// So many at most.
    pub limit: u32,
}

/// A conflict as `list` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its id.
    pub id: String,
    /// The sync that decided.
    pub sync: String,
    /// Schema of the table.
    pub schema: String,
    /// The table.
    pub table: String,
    /// Columns and values of the key.
    pub key: Vec<(String, String)>,
    /// The strategy that decided.
    pub strategy: String,
    /// Whose row won.
    pub winner: String,
    /// When it was decided.
    pub time: DateTime<Utc>,
    /// The rows by database.
    pub rows: Vec<ListedRow>,
    /// Columns in which these rows differ.
    pub differing: Vec<String>,
    /// All of it as JSON, as the server wrote it.
    pub json: String,
}

/// One database's row of a conflict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedRow {
    /// The database.
    pub db: String,
    /// The row as JSON; `None`: it had been deleted.
    pub row: Option<String>,
    /// When it was changed.
    pub changed: Option<String>,
}

/// Conflicts of the history, the newest first.
///
/// # Errors
///
/// [`CatalogError::Sql`].
pub async fn list(client: &impl GenericClient, wanted: &Wanted) -> Result<Vec<Listed>, CatalogError> {
    let limit = i64::from(wanted.limit);
    let rows = LIST.rows(client, &[&wanted.syncs, &wanted.schema, &wanted.table, &limit]).await?;
    let read = |row: &tokio_postgres::Row| {
        let texts = |name: &str| row.get::<_, Vec<String>>(name).into_iter();
        let optional = |name: &str| row.get::<_, Vec<Option<String>>>(name).into_iter();
        let listed = texts("dbs").zip(optional("rows")).zip(optional("times"));
        Listed {
            id: row.get("id"),
            sync: row.get("sync"),
            schema: row.get("schemaname"),
            table: row.get("tablename"),
            key: texts("key_columns").zip(texts("key_values")).collect(),
            strategy: row.get("strategy"),
            winner: row.get("winner"),
            time: row.get("time"),
            rows: listed.map(|((db, row), changed)| ListedRow { db, row, changed }).collect(),
            differing: texts("differing").collect(),
            json: row.get("json"),
        }
    };
    Ok(rows.iter().map(read).collect())
}

/// How many conflicts a table of a sync had, ever.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Total {
    /// The sync.
    #[serde(skip)]
    pub sync: String,
    /// Schema of the table.
    pub schema: String,
    /// The table.
    pub table: String,
    /// How many.
    pub conflicts: i64,
    /// When the last of them was decided.
    pub last: DateTime<Local>,
}

/// All totals, by sync and table; tables without conflicts have none.
///
/// # Errors
///
/// [`CatalogError::Sql`].
pub async fn totals(client: &impl GenericClient) -> Result<Vec<Total>, CatalogError> {
    let read = |row: &tokio_postgres::Row| Total {
        sync: row.get("sync"),
        schema: row.get("schemaname"),
        table: row.get("tablename"),
        conflicts: row.get("conflicts"),
        last: row.get("last"),
    };
    Ok(TOTALS.rows(client, &[]).await?.iter().map(read).collect())
}

/// Deletes up to `batch` conflicts that are in the history for longer than `keep`; returns how many. The totals stay.
///
/// # Errors
///
/// [`CatalogError::Sql`].
pub async fn prune(client: &impl GenericClient, keep: Duration, batch: u32) -> Result<u64, CatalogError> {
    PRUNE.execute(client, &[&keep.as_secs_f64(), &i64::from(batch)]).await
}
