//! Copies that were asked for by `clone`.

use serde::Serialize;
use tokio_postgres::GenericClient;

use super::CatalogError;
use super::query::{Query, query};

const ADD: Query = query!("note a clone", "clone_add");
const LIST: Query = query!("list the clones", "clone_list");

/// A copy that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Clone {
    /// Its number.
    pub id: i32,
    /// The sync whose tables are copied; `None`: the row was made by another program.
    pub sync: Option<String>,
    /// When it was asked for.
    pub started: Option<String>,
    /// started or done.
    pub status: String,
}

/// Notes a copy; returns its number.
///
/// # Errors
///
/// [`CatalogError::Sql`].
pub async fn add(client: &impl GenericClient, sync: &str, options: &str) -> Result<i32, CatalogError> {
    Ok(ADD.row(client, &[&sync, &options]).await?.get("id"))
}

/// All of them, the last one first.
///
/// # Errors
///
/// [`CatalogError::Sql`].
pub async fn list(client: &impl GenericClient) -> Result<Vec<Clone>, CatalogError> {
    let read = |row: &tokio_postgres::Row| Clone {
        id: row.get("id"),
        sync: row.get("sync"),
        started: row.get("started"),
        status: row.get("status"),
    };
    Ok(LIST.rows(client, &[]).await?.iter().map(read).collect())
}
