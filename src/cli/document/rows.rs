//! Between a document and the rows of the catalog.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use tokio_postgres::GenericClient;
use tokio_postgres::types::Json;

use super::{Columns, Document, Id, Kind, TABLES, is_secret, strategy};
use crate::catalog::settings;
use crate::cli::CliError;
use crate::pg::{Sql, SqlFile};

const ROWS: SqlFile = SqlFile::new(include_str!("../../../sql/catalog/document_rows.sql"));
const NORMAL: SqlFile = SqlFile::new(include_str!("../../../sql/catalog/document_normal.sql"));
const DEFAULTS: SqlFile = SqlFile::new(include_str!("../../../sql/catalog/document_defaults.sql"));
/// Settings that are of one installation.
const OWN_SETTINGS: [&str; 3] = ["bucardo_version", "bucardo_initial_version", "piddir"];

/// A table or sequence by database, schema and name.
pub(super) type Relations = BTreeMap<i64, [String; 3]>;

fn failed(error: tokio_postgres::Error) -> CliError {
    CliError::caused("Cannot read the catalog", &error)
}

pub(super) async fn all(client: &impl GenericClient, kind: Kind) -> Result<Vec<Columns>, CliError> {
    let sql = ROWS.fill(&[("table", &Sql::qualified("bucardo", kind.table()))]);
    let rows = client.query(&sql, &[]).await.map_err(failed)?;
    Ok(rows.iter().map(|row| row.get::<_, Json<Columns>>("row").0).collect())
}

/// The values that a table gives to columns which nobody names.
pub(super) async fn defaults(client: &impl GenericClient, kind: Kind) -> Result<Columns, CliError> {
    let row = client.query_one(DEFAULTS.text(), &[&kind.table()]).await.map_err(failed)?;
    let Some(statement) = row.get::<_, Option<&str>>("statement") else { return Ok(Map::new()) };
    Ok(client.query_one(statement, &[]).await.map_err(failed)?.get::<_, Json<Columns>>("row").0)
}

pub(super) async fn relations(client: &impl GenericClient) -> Result<Relations, CliError> {
    let mut relations = Relations::new();
    for row in all(client, Kind::Relation).await? {
        let text = |column: &str| row.get(column).and_then(Value::as_str).unwrap_or_default().to_owned();
        let id = row.get("id").and_then(Value::as_i64).unwrap_or_default();
        relations.insert(id, [text("db"), text("schemaname"), text("tablename")]);
    }
    Ok(relations)
}

pub(super) async fn codes(client: &impl GenericClient) -> Result<BTreeMap<i64, String>, CliError> {
    let read = |row: Columns| Some((row.get("id")?.as_i64()?, row.get("name")?.as_str()?.to_owned()));
    Ok(all(client, Kind::Code).await?.into_iter().filter_map(read).collect())
}

/// What the catalog says.
pub(super) async fn read(client: &impl GenericClient) -> Result<Document, CliError> {
    let mut document = Document::default();
    for (name, setting) in settings::load(client).await?.iter() {
        if setting.value == setting.default || OWN_SETTINGS.contains(&name) {
            continue;
        }
        let id = Id::new(Kind::Setting, &[name]);
        put(&mut document, id, "value", Value::String(setting.value.clone()));
    }
    let (relations, codes) = (relations(client).await?, codes(client).await?);
    for kind in TABLES {
        let defaults = defaults(client, kind).await?;
        for row in all(client, kind).await? {
            let id = id_of(kind, &row, &relations, &codes);
            if document.things.insert(id.clone(), Columns::new()).is_some() {
                return Err(CliError::refuse(format!("The catalog has {id} twice"))
                    .hint("remove one of them: a file can name a thing once"));
            }
            for (column, value) in row {
                if says_something(kind, &column, &value, &defaults) {
                    put(&mut document, id.clone(), &column, value);
                }
            }
        }
    }
    Ok(document)
}

/// Whether a value is part of a document.
fn says_something(kind: Kind, column: &str, value: &Value, defaults: &Columns) -> bool {
    let is_usual = match defaults.get(column) {
        Some(default) => value == default || value.is_null() && default.as_str() == Some(""),
        None => value.is_null() || value.as_str() == Some(""),
    };
    // What the daemon writes there is no wish; a copy is asked for once.
    let is_state = column == "status" && value == "stalled" || kind == Kind::Sync && column == "onetimecopy";
    !kind.left_out().contains(&column) && !is_usual && !is_state
}

fn put(document: &mut Document, id: Id, column: &str, value: Value) {
    if is_secret(&id, column, &value) {
        document.secrets.insert((id, column.to_owned()));
    } else {
        document.things.entry(id).or_default().insert(column.to_owned(), value);
    }
}

fn id_of(kind: Kind, row: &Columns, relations: &Relations, codes: &BTreeMap<i64, String>) -> Id {
    let text = |column: &str| row.get(column).and_then(Value::as_str).unwrap_or_default().to_owned();
    let relation = || {
        let goat = row.get("goat").and_then(Value::as_i64).and_then(|goat| relations.get(&goat));
        goat.cloned().unwrap_or_default().to_vec()
    };
    let names = match kind {
        Kind::Setting | Kind::Db | Kind::Dbgroup | Kind::Relgroup | Kind::Sync | Kind::Code => vec![text("name")],
        Kind::Member => vec![text("dbgroup"), text("db")],
        Kind::Relation => vec![text("db"), text("schemaname"), text("tablename")],
        Kind::Part => [vec![text("herd")], relation()].concat(),
        Kind::CodeUse => {
            let code = row.get("code").and_then(Value::as_i64).and_then(|code| codes.get(&code)).cloned();
            let used = if row.get("sync").is_some_and(Value::is_string) { vec![text("sync")] } else { relation() };
            [vec![code.unwrap_or_default()], used].concat()
        }
        Kind::Name | Kind::Columns | Kind::Rows => [relation(), vec![text("db"), text("sync")]].concat(),
    };
    Id { kind, names }
}

/// Writes the values of a document as the catalog would hold them, and leaves out those that a column has anyway.
pub(super) async fn normalize(
    client: &impl GenericClient,
    path: &str,
    document: &mut Document,
) -> Result<(), CliError> {
    let known = settings::load(client).await?;
    for kind in TABLES {
        let defaults = defaults(client, kind).await?;
        for (id, columns) in document.things.iter_mut().filter(|(id, _)| id.kind == kind) {
            let given: Vec<String> = columns.keys().cloned().collect();
            let sql = NORMAL.fill(&[("table", &Sql::qualified("bucardo", kind.table()))]);
            let row = client
                .query_one(&sql, &[&Json(&*columns)])
                .await
                .map_err(|error| CliError::refuse(format!("{path}: {id}: {}", crate::report::causes(&error))))?;
            let normal = row.get::<_, Json<Columns>>("row").0;
            for column in given {
                let Some(mut value) =
                    normal.get(&column).cloned().filter(|_| !kind.left_out().contains(&column.as_str()))
                else {
                    let names = normal.keys().map(String::as_str).filter(|name| !kind.left_out().contains(name));
                    return Err(CliError::refuse(format!("{path}: {id} has no \"{column}\"")).suggest(&column, names));
                };
                if column == "conflict_strategy" {
                    value = Value::String(strategy(value.as_str().unwrap_or_default()));
                }
                let is_request = kind == Kind::Sync && column == "onetimecopy" && value != 0;
                if is_request || says_something(kind, &column, &value, &defaults) {
                    columns.insert(column, value);
                } else {
                    columns.remove(&column);
                }
            }
        }
    }
    let mut usual = Vec::new();
    for (id, columns) in document.things.iter().filter(|(id, _)| id.kind == Kind::Setting) {
        let name = id.names.first().map(String::as_str).unwrap_or_default();
        let Some((_, setting)) = known.iter().find(|(known, _)| *known == name) else {
            return Err(CliError::refuse(format!("{path}: Unknown setting \"{name}\""))
                .suggest(name, known.iter().map(|(name, _)| name)));
        };
        if OWN_SETTINGS.contains(&name) {
            return Err(CliError::refuse(format!("{path}: setting \"{name}\" is of one installation"))
                .hint("leave it out of the file, and use \"bucardo set\""));
        }
        if columns.get("value").and_then(Value::as_str) == Some(&setting.default) {
            usual.push(id.clone());
        }
    }
    document.things.retain(|id, _| !usual.contains(id));
    Ok(())
}
