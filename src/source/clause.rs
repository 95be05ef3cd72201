//! The SQL that operators write for a table: a select list (`customcols`), a condition (`customselect`). It is tried on
//! the source before anything relies on it.

use postgres_types::Oid;
use serde_json::Value;
use tokio_postgres::{Client, Statement};

use crate::catalog::Goat;
use crate::pg::{RelationName, Sql, causes};

/// Why a clause cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ClauseError {
    /// It is not what is needed.
    #[error("{0}")]
    Unfit(String),
    /// The server refused it, or the connection broke.
    #[error("the server refused it")]
    Sql(#[from] tokio_postgres::Error),
}

impl ClauseError {
    /// The reason in words; `None`: it is not the clause's fault.
    #[must_use]
    pub fn told(&self) -> Option<String> {
        match self {
            Self::Unfit(why) => Some(why.clone()),
            Self::Sql(error) => error.as_db_error().map(|refusal| {
                let class = refusal.code().code().get(..2).unwrap_or_default();
                // 42: syntax, names, types; 22: a literal; 0A: not in this place; 21, 2F, 3F: other faults of the text.
                matches!(class, "42" | "22" | "0A" | "21" | "2F" | "3F").then(|| causes(error))
            })?,
        }
    }
}

/// A column that a select list makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// The column of the table that it is; `None`: an expression.
    pub own: Option<String>,
    /// Its type.
    pub type_oid: Oid,
}

/// Tries a select list on the table `goat`, and returns its columns.
///
/// # Errors
///
/// [`ClauseError::Unfit`]: it is no `SELECT` list, a column has no name or the name of another one, or a column of the
/// key is not in it as it is. [`ClauseError::Sql`]: the server refused it.
pub async fn list_columns(client: &Client, goat: &Goat, clause: &str) -> Result<Vec<Listed>, ClauseError> {
    let unfit = |why: String| Err(ClauseError::Unfit(why));
    let is_select = clause.get(..6).is_some_and(|word| word.eq_ignore_ascii_case("select"))
        && clause[6..].starts_with(|next: char| next.is_whitespace() || "\"(*'+-".contains(next));
    if !is_select {
        return unfit("it does not begin with SELECT".to_owned());
    }
    let table = only(goat);
    // Alone, so that it cannot close a parenthesis; and in parentheses, so that nothing but a query fits.
    let alone = prepare(client, &format!("{clause}\nFROM {table}")).await?;
    prepare(client, &format!("SELECT * FROM ({clause}\nFROM {table}) AS t")).await?;
    let own = client.prepare(&format!("SELECT * FROM {table}")).await?;
    let place = |column: &tokio_postgres::Column| (column.table_oid(), column.column_id());
    let mut columns: Vec<Listed> = Vec::with_capacity(alone.columns().len());
    for column in alone.columns() {
        let name = column.name().to_owned();
        if name == "?column?" {
            return unfit("an expression in it has no name: write AS and a name behind it".to_owned());
        }
        if columns.iter().any(|other| other.name == name) {
            return unfit(format!("it has two columns named \"{name}\""));
        }
        let mut same = own.columns().iter().filter(|own| column.column_id().is_some() && place(own) == place(column));
        let own = same.next().map(|own| own.name().to_owned());
        columns.push(Listed { name, own, type_oid: column.type_().oid() });
    }
    for key in &goat.key {
        if !columns.iter().any(|column| column.name == *key && column.own.as_ref() == Some(key)) {
            return unfit(format!("the key column \"{key}\" is not in it as it is"));
        }
    }
    Ok(columns)
}

/// Tries a condition on the rows of the table `goat`.
///
/// # Errors
///
/// [`ClauseError::Unfit`]: it takes parameters. [`ClauseError::Sql`]: the server refused it.
pub async fn check_filter(client: &Client, goat: &Goat, clause: &str) -> Result<(), ClauseError> {
    let table = only(goat);
    prepare(client, &format!("SELECT FROM {table} WHERE\n{clause}")).await?;
    prepare(client, &format!("SELECT FROM {table} WHERE (\n{clause}\n)")).await.map(drop)
}

/// What a condition on the rows of `goat` reads besides the row that it is about, as the planner has it: tables, among
/// them its own where it looks at other rows of that. What functions read that are not inlined is not seen.
///
/// # Errors
///
/// The server refused it, or the connection broke.
pub async fn filter_reads(client: &Client, goat: &Goat, clause: &str) -> Result<Vec<String>, tokio_postgres::Error> {
    let sql = format!("EXPLAIN (VERBOSE, COSTS OFF, FORMAT JSON) SELECT FROM {} WHERE (\n{clause}\n)", only(goat));
    let plan: Value = client.query_one(&sql, &[]).await?.get(0);
    let mut found = Vec::new();
    scanned(&plan, &mut found);
    // The row itself.
    let own = RelationName::of(&goat.schema, &goat.name).to_string();
    if let Some(place) = found.iter().position(|name| *name == own) {
        found.swap_remove(place);
    }
    found.sort();
    found.dedup();
    Ok(found)
}

/// The tables that a plan scans, once for each scan.
fn scanned(plan: &Value, found: &mut Vec<String>) {
    match plan {
        Value::Array(items) => items.iter().for_each(|item| scanned(item, found)),
        Value::Object(fields) => {
            let word = |name: &str| fields.get(name).and_then(Value::as_str);
            if let (Some(schema), Some(name)) = (word("Schema"), word("Relation Name")) {
                found.push(RelationName::of(schema, name).to_string());
            }
            fields.values().for_each(|field| scanned(field, found));
        }
        _ => {}
    }
}

/// What is to be said of a condition that reads these tables.
#[must_use]
pub fn filter_limit(tables: &[String]) -> String {
    format!(
        "it looks into {}: a change there takes no row in or out, only a change of the row itself does, or a copy of all \
         (onetimecopy=1)",
        tables.join(", ")
    )
}

async fn prepare(client: &Client, sql: &str) -> Result<Statement, ClauseError> {
    let statement = client.prepare(sql).await?;
    if statement.params().is_empty() {
        Ok(statement)
    } else {
        Err(ClauseError::Unfit("it has a parameter such as $1".to_owned()))
    }
}

fn only(goat: &Goat) -> Sql {
    Sql::trusted(format!("ONLY {}", Sql::qualified(&goat.schema, &goat.name)))
}
