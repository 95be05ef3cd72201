//! Single values of catalog tables, for `update`: any column, with the type that the table gives it.

use tokio_postgres::GenericClient;

use super::CatalogError;
use super::query::{Query, query};
use crate::pg::{Sql, SqlFile};

const COLUMNS: Query = query!("read the columns of a table of the catalog", "columns");
const READ: SqlFile = SqlFile::new(include_str!("../../sql/catalog/column_read.sql"));
const WRITE: SqlFile = SqlFile::new(include_str!("../../sql/catalog/column_write.sql"));

/// A table whose rows can be changed column by column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// `customcode`
    Customcode,
    /// `db`
    Db,
    /// `dbgroup`
    Dbgroup,
    /// `goat`, by number
    Goat,
    /// `herd`
    Herd,
    /// `sync`
    Sync,
}

impl Table {
    /// Its name, without schema.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Customcode => "customcode",
            Self::Db => "db",
            Self::Dbgroup => "dbgroup",
            Self::Goat => "goat",
            Self::Herd => "herd",
            Self::Sync => "sync",
        }
    }

    const fn key(self) -> &'static str {
        match self {
            Self::Goat => "id",
            Self::Customcode | Self::Db | Self::Dbgroup | Self::Herd | Self::Sync => "name",
        }
    }
}

/// A column of the catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    type_name: String,
    nullable: bool,
}

/// The columns of a table.
///
/// # Errors
///
/// [`CatalogError::Sql`].
pub async fn columns(client: &impl GenericClient, table: Table) -> Result<Vec<Column>, CatalogError> {
    let rows = COLUMNS.rows(client, &[&table.name()]).await?;
    let read = |row: &tokio_postgres::Row| Column {
        name: row.get("name"),
        type_name: row.get("type"),
        nullable: row.get("nullable"),
    };
    Ok(rows.iter().map(read).collect())
}

/// Writes a value, given as text, and returns it as it was and as it is now; `None`: no such row.
///
/// # Errors
///
/// [`CatalogError::Sql`], for a value that the column does not take, too.
pub async fn write(
    client: &impl GenericClient,
    table: Table,
    row: &str,
    column: &Column,
    value: &str,
) -> Result<Option<(Option<String>, Option<String>)>, CatalogError> {
    let failed = |source| CatalogError::Sql { doing: "write a value of the catalog", source };
    let place = Sql::qualified("bucardo", table.name());
    let (key, name) = (Sql::ident(table.key()), Sql::ident(&column.name));
    let read = READ.fill(&[("table", &place), ("column", &name), ("key", &key)]);
    let Some(found) = client.query_opt(&read, &[&row]).await.map_err(failed)? else { return Ok(None) };
    let old: Option<String> = found.get("value");
    let type_name = Sql::trusted(column.type_name.as_str());
    let write = WRITE.fill(&[("table", &place), ("column", &name), ("type", &type_name), ("key", &key)]);
    // An empty text means "nothing" wherever the column cannot hold an empty text.
    let new = if value.is_empty() && column.nullable && column.type_name != "text" { None } else { Some(value) };
    let written = client.query_one(&write, &[&row, &new]).await.map_err(failed)?;
    Ok(Some((old, written.get("value"))))
}
