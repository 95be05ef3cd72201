//! Custom names, column lists and row filters, as operators see and change them.

use serde::{Deserialize, Serialize};
use tokio_postgres::GenericClient;
use tokio_postgres::types::Json;

use super::CatalogError;
use crate::pg::{Sql, SqlFile};

const LIST: SqlFile = SqlFile::new(include_str!("../../sql/catalog/mapping_list.sql"));
const ADD: SqlFile = SqlFile::new(include_str!("../../sql/catalog/mapping_add.sql"));
const REMOVE: SqlFile = SqlFile::new(include_str!("../../sql/catalog/mapping_remove.sql"));

/// What a mapping changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MappingKind {
    /// The name of a table or sequence on targets.
    Name,
    /// The columns of a table on targets.
    Columns,
    /// The rows of a table that targets get.
    Rows,
}

impl MappingKind {
    /// Its table in the catalog, which is also the noun of its commands.
    #[must_use]
    pub const fn table(self) -> &'static str {
        match self {
            Self::Name => "customname",
            Self::Columns => "customcols",
            Self::Rows => "customselect",
        }
    }

    /// The column that holds the name or clause.
    #[must_use]
    pub const fn column(self) -> &'static str {
        match self {
            Self::Name => "newname",
            Self::Columns | Self::Rows => "clause",
        }
    }

    fn fill(self, file: SqlFile) -> String {
        let (table, column) = (Sql::qualified("bucardo", self.table()), Sql::ident(self.column()));
        file.fill(&[("mappings", &table), ("clause", &column)])
    }

    fn failed(self, doing: [&'static str; 3]) -> impl FnOnce(tokio_postgres::Error) -> CatalogError {
        let [name, columns, rows] = doing;
        let doing = match self {
            Self::Name => name,
            Self::Columns => columns,
            Self::Rows => rows,
        };
        move |source| CatalogError::Sql { doing, source }
    }
}

/// A custom name, column list or row filter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MappingListing {
    /// Its number.
    pub id: i32,
    /// Number of the table or sequence.
    pub goat: i32,
    /// Schema of the table or sequence.
    pub schemaname: String,
    /// Name of the table or sequence.
    pub tablename: String,
    /// The name or clause.
    pub text: Option<String>,
    /// For this database only.
    pub db: Option<String>,
    /// For this sync only.
    pub sync: Option<String>,
    /// When it was added.
    pub cdate: String,
}

/// All mappings of a kind, by number.
///
/// # Errors
///
/// [`CatalogError::Sql`].
pub async fn list(client: &impl GenericClient, kind: MappingKind) -> Result<Vec<MappingListing>, CatalogError> {
    let failed = || kind.failed(["list the custom names", "list the custom columns", "list the row filters"]);
    let rows = client.query(&kind.fill(LIST), &[]).await.map_err(failed())?;
    rows.iter().map(|row| row.try_get::<_, Json<_>>("listing").map(|json| json.0).map_err(failed())).collect()
}

/// Adds a mapping of table or sequence `goat`; returns its number.
///
/// # Errors
///
/// [`CatalogError::Sql`].
pub async fn add(
    client: &impl GenericClient,
    kind: MappingKind,
    goat: i32,
    text: &str,
    db: Option<&str>,
    sync: Option<&str>,
) -> Result<i32, CatalogError> {
    let row = client.query_one(&kind.fill(ADD), &[&goat, &text, &db, &sync]).await;
    let failed = kind.failed(["add a custom name", "add custom columns", "add a row filter"]);
    row.map_err(failed).map(|row| row.get("id"))
}

/// Removes a mapping.
///
/// # Errors
///
/// [`CatalogError::Sql`].
pub async fn remove(client: &impl GenericClient, kind: MappingKind, id: i32) -> Result<(), CatalogError> {
    let table = Sql::qualified("bucardo", kind.table());
    let sql = REMOVE.fill(&[("mappings", &table)]);
    let failed = kind.failed(["remove a custom name", "remove custom columns", "remove a row filter"]);
    client.execute(&sql, &[&id]).await.map_err(failed).map(drop)
}
