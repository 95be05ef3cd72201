//! `update … column=value` for any table of the catalog.

use tokio_postgres::Transaction;
use tokio_postgres::error::SqlState;

use super::CliError;
use crate::catalog::{CatalogError, Column, Table, columns, write};

/// Columns that an update leaves alone.
const FIXED: [&str; 3] = ["cdate", "copy_request", "key_columns"];
/// Columns whose values may hold passwords.
const SECRET: [&str; 3] = ["dbpass", "dbconn", "dbdsn"];

/// What an update did to one column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    /// The column.
    pub column: String,
    /// Its value as it was.
    pub old: String,
    /// Its value as it is.
    pub new: String,
}

impl Change {
    /// Whether anything is different now.
    pub(super) fn is_change(&self) -> bool {
        self.old != self.new
    }

    /// `X from a to b`, without passwords.
    pub(super) fn told(&self) -> String {
        if SECRET.contains(&self.column.as_str()) {
            return format!("{} from *** to ***", self.column);
        }
        let shown = |value: &str| if value.is_empty() { "''".to_owned() } else { value.to_owned() };
        format!("{} from {} to {}", self.column, shown(&self.old), shown(&self.new))
    }
}

/// Writes `column=value` pairs to a row. Keys are column names, or one of `aliases`.
pub(super) async fn apply(
    transaction: &Transaction<'_>,
    table: Table,
    row: &str,
    pairs: &[(String, String)],
    aliases: &[(&str, &str)],
) -> Result<Vec<Change>, CliError> {
    let known = columns(transaction, table).await?;
    let mut changes = Vec::new();
    for (key, value) in pairs {
        let name = aliases.iter().find(|(alias, _)| alias == key).map_or(key.as_str(), |(_, column)| column);
        if FIXED.contains(&name) || (table == Table::Goat && name == "id") {
            return Err(CliError::refuse(format!("Sorry, the value of {name} cannot be changed")));
        }
        let Some(column) = known.iter().find(|column| column.name == name) else {
            let names: Vec<&str> = known.iter().map(|column| column.name.as_str()).collect();
            return Err(CliError::refuse(format!("Cannot change \"{key}\""))
                .hint(format!("the columns of \"{}\" are {}", table.name(), names.join(", ")))
                .suggest(key, names));
        };
        let written = write(transaction, table, row, column, value).await;
        let Some((old, new)) = written.map_err(|error| invalid(column, value, error))? else {
            return Err(CliError::die(format!("Could not find \"{row}\"")));
        };
        changes.push(Change {
            column: column.name.clone(),
            old: old.unwrap_or_default(),
            new: new.unwrap_or_default(),
        });
    }
    Ok(changes)
}

/// A value that a column does not take: told without the rest of the row, which a server's own words may show.
fn invalid(column: &Column, value: &str, error: CatalogError) -> CliError {
    let CatalogError::Sql { source, .. } = &error else { return error.into() };
    let said = source.as_db_error().filter(|said| {
        let code = said.code().code();
        code.starts_with("22")
            || code == SqlState::CHECK_VIOLATION.code()
            || code == SqlState::NOT_NULL_VIOLATION.code()
    });
    let Some(said) = said else { return error.into() };
    let shown = if SECRET.contains(&column.name.as_str()) { "***" } else { value };
    CliError::die(format!("Invalid value for '{}': {shown}", column.name)).hint(said.message())
}

/// Sorts the words of an update: names, and pairs with `=` or `:`.
pub(super) fn sort_words(words: &[String]) -> (Vec<String>, Vec<(String, String)>) {
    let mut names = Vec::new();
    let mut pairs = Vec::new();
    for word in words {
        match super::words::pair_or_colon(word) {
            Some((key, value)) => pairs.push((key, value.to_owned())),
            None => names.push(word.clone()),
        }
    }
    (names, pairs)
}
