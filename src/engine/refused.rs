//! Keys whose rows a database refuses, in the words of people, of dead letters and of custom codes.

use serde_json::{Map, Value, json};
use tokio_postgres::error::DbError;

use super::error::RoundError;
use crate::catalog::Goat;
use crate::custom::Row;

/// So often codes may ask for a table to be tried again, in one round.
pub(super) const TRIES_MAX: u32 = 3;
/// More refused keys of a table in one round are no exceptions: the table is put aside.
pub(super) const REFUSED_MAX: usize = 1000;
/// What was not refused may clash with rows that a refused key keeps; so often it is looked again.
pub(super) const PASSES_MAX: u32 = 5;
/// So many refused keys are named in one message.
const NAMED_MAX: usize = 10;
/// Classes of SQLSTATE with which a server refuses rows: bad data, integrity, check options, raised by triggers.
const REFUSING: [&str; 4] = ["22", "23", "44", "P0"];

/// The values of a key's columns, as text.
pub(super) type Key = Vec<String>;

/// A key whose row a database does not take.
#[derive(Clone, Debug)]
pub(super) struct Refused {
    pub(super) key: Key,
    pub(super) sqlstate: String,
    pub(super) constraint: Option<String>,
    pub(super) detail: Option<String>,
    pub(super) message: String,
}

impl Refused {
    pub(super) fn new(key: Key, why: &DbError) -> Self {
        Self {
            key,
            sqlstate: why.code().code().to_owned(),
            constraint: why.constraint().map(str::to_owned),
            detail: why.detail().map(str::to_owned),
            message: match why.detail() {
                Some(detail) => format!("{}: {detail}", why.message()),
                None => why.message().to_owned(),
            },
        }
    }
}

/// What a server says that refuses rows.
pub(super) fn refusal(error: &RoundError) -> Option<&DbError> {
    match error {
        RoundError::OfTable { error, .. } => refusal(error),
        RoundError::Sql { source, .. } => {
            let said = source.as_db_error()?;
            REFUSING.iter().any(|class| said.code().code().starts_with(class)).then_some(said)
        }
        _ => None,
    }
}

/// A key as people read it.
fn name(goat: &Goat, key: &[String]) -> String {
    goat.key.iter().zip(key).map(|(column, value)| format!("{column}={value}")).collect::<Vec<_>>().join(" ")
}

pub(super) fn names(goat: &Goat, refused: &[Refused]) -> String {
    let more = refused.len().saturating_sub(NAMED_MAX);
    let mut names: Vec<String> = refused.iter().take(NAMED_MAX).map(|it| name(goat, &it.key)).collect();
    if more > 0 {
        names.push(format!("and {more} more"));
    }
    names.join(", ")
}

/// The same error, with the keys.
pub(super) fn named(error: RoundError, goat: &Goat, refused: &[Refused]) -> RoundError {
    match error {
        RoundError::Sql { what, db, source } => {
            RoundError::Sql { what: format!("{what} (refused: {})", names(goat, refused)), db, source }
        }
        other => other,
    }
}

/// A key as JSON: column and text.
pub(super) fn as_json(goat: &Goat, key: &[String]) -> Value {
    goat.key.iter().zip(key).map(|(column, value)| (column.clone(), json!(value))).collect()
}

/// What codes are told of keys that `target` refused, in the words of versions 3, 4 and 5 and in plain ones. `sources`: whose
/// rows they are, one for each; `first`: the database that is the source to them, which in a merge may be who refused.
pub(super) fn told(
    goat: &Goat,
    (sources, target, first): (&[&str], &str, &str),
    refused: &[Refused],
    rows: &[Row],
    tries: u32,
) -> Map<String, Value> {
    let (at_source, at_target) = if target == first { (1, 0) } else { (0, 1) };
    let Some(first) = refused.first() else { return Map::new() };
    let row = |it: &Refused| -> Value {
        let is_its = |row: &&Row| {
            goat.key.iter().zip(&it.key).all(|(column, value)| row.get(column) == Some(&Some(value.clone())))
        };
        json!(rows.iter().find(is_its))
    };
    let mut joined: Map<String, Value> = Map::new();
    for (source, it) in sources.iter().zip(refused) {
        let of = joined.entry(*source).or_insert_with(|| json!({}));
        of[it.key.join("\0")] = json!(1);
    }
    let text = format!("{} (SQLSTATE {}, database \"{target}\")", first.message, first.sqlstate);
    let one_or_all = |values: &[String]| if let [one] = values { json!(one) } else { json!(values) };
    let rowinfo = json!({
        "schema": goat.schema, "table": goat.name, "pkeyname": one_or_all(&goat.key), "pkey": first.key.join("\0"),
        "sourcerow": row(first), "dbi_error": text, "source_error": at_source, "target_error": at_target,
    });
    let told = json!({
        "error_string": text, "attempts": tries, "deltabin": joined,
        "dbi_error": text, "source_error": at_source, "target_error": at_target, "rowinfo": rowinfo,
        "sqlstate": first.sqlstate, "constraint": first.constraint, "detail": first.detail, "database": target,
        "keys": refused.iter().map(|it| as_json(goat, &it.key)).collect::<Vec<_>>(),
        "rows": refused.iter().map(row).collect::<Vec<_>>(),
        "errors": refused.iter().map(|it| it.message.as_str()).collect::<Vec<_>>(),
    });
    match told {
        Value::Object(told) => told,
        _ => Map::new(),
    }
}
