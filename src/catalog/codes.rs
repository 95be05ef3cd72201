//! Custom codes, and the syncs and tables that they are for.

use serde::{Deserialize, Serialize};
use tokio_postgres::GenericClient;
use tokio_postgres::types::ToSql;

use super::CatalogError;
use super::query::{Query, query};

const LIST: Query = query!("list the custom codes", "code_list");
const ADD: Query = query!("add a custom code", "code_add");
const REMOVE: Query = query!("remove a custom code", "code_remove");
const USE: Query = query!("say what a custom code is for", "code_use");

/// When a code may run, in the words of version 5.
pub const WHENRUN: [&str; 12] = [
    "before_txn",
    "before_check_rows",
    "before_trigger_disable",
    "after_trigger_disable",
    "after_table_sync",
    "exception",
    "conflict",
    "before_trigger_enable",
    "after_trigger_enable",
    "after_txn",
    "before_sync",
    "after_sync",
];

/// What a code is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeUse {
    /// A whole sync.
    pub sync: Option<String>,
    /// Number of a table or sequence, in whatever sync it is.
    pub goat: Option<i32>,
    /// `schema.name` of that table or sequence.
    pub relation: Option<String>,
    /// The database in which it was found.
    pub db: Option<String>,
    /// Whether it runs there.
    pub active: bool,
    /// Higher runs first.
    pub priority: i16,
}

/// A custom code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeListing {
    /// Its number.
    pub id: i32,
    /// Its name.
    pub name: String,
    /// When it runs.
    pub whenrun: String,
    /// What it is written in: lua, perl or sql.
    pub language: String,
    /// Whether it gets database handles.
    pub getdbh: bool,
    /// Whether it gets the keys of the changed rows.
    pub getrows: bool,
    /// active or inactive.
    pub status: String,
    /// Higher runs first.
    pub priority: i16,
    /// A remark.
    pub about: Option<String>,
    /// Its source.
    pub src_code: String,
    /// When it was added.
    pub cdate: String,
    /// What it is for.
    pub uses: Vec<CodeUse>,
}

/// A code that is to be added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCode {
    /// Its name, which must be free.
    pub name: String,
    /// One of [`WHENRUN`].
    pub whenrun: String,
    /// Its source.
    pub src_code: String,
    /// A remark.
    pub about: Option<String>,
    /// Whether it gets database handles.
    pub getdbh: bool,
    /// active or inactive.
    pub status: String,
    /// Higher runs first.
    pub priority: i16,
    /// What it is written in: lua, perl or sql.
    pub language: String,
    /// Whether it gets the keys of the changed rows.
    pub getrows: bool,
}

/// One thing that a code is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'a> {
    /// A sync.
    Sync(&'a str),
    /// A table or sequence, by number.
    Goat(i32),
}

/// All custom codes, by name.
///
/// # Errors
///
/// [`CatalogError::Sql`].
pub async fn list(client: &impl GenericClient) -> Result<Vec<CodeListing>, CatalogError> {
    LIST.listings(client).await
}

/// Adds a code; returns its number.
///
/// # Errors
///
/// [`CatalogError::Sql`].
pub async fn add(client: &impl GenericClient, code: &NewCode) -> Result<i32, CatalogError> {
    let NewCode { name, whenrun, src_code, about, getdbh, status, priority, language, getrows } = code;
    let values: [&(dyn ToSql + Sync); 9] =
        [name, whenrun, src_code, about, getdbh, status, priority, language, getrows];
    let row = ADD.row(client, &values).await?;
    Ok(row.get("id"))
}

/// Removes a code, from everything that it is for.
///
/// # Errors
///
/// [`CatalogError::Sql`].
pub async fn remove(client: &impl GenericClient, id: i32) -> Result<(), CatalogError> {
    REMOVE.execute(client, &[&id]).await.map(drop)
}

/// Says that code `id` is for `place`; where it is already, changes how. `None` leaves what there was.
///
/// # Errors
///
/// [`CatalogError::Sql`].
pub async fn put_use(
    client: &impl GenericClient,
    id: i32,
    place: Place<'_>,
    active: Option<bool>,
    priority: Option<i16>,
) -> Result<(), CatalogError> {
    let (sync, goat) = match place {
        Place::Sync(name) => (Some(name), None),
        Place::Goat(goat) => (None, Some(goat)),
    };
    USE.execute(client, &[&id, &sync, &goat, &active, &priority]).await.map(drop)
}
