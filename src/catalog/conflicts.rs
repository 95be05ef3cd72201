//! The conflicts that merges have decided: each with its key, rows and winner, and totals that outlive them.
//!
//! A conflict is told by every source that got the decision, and again after a crash. Its id makes it one: the first
//! time it is written and counted, in the same statement, so that totals and history always agree; later its rows and
//! versions are only completed.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use bucardo_actors::model::{DbName, SyncName};
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use serde_json::{Map, Value};
use tokio_postgres::Client;

use super::CatalogError;
use super::json_twins;
use super::query::{Query, query};

const ADD: Query = query!("write conflicts to the history", "conflict_add");
const UNITE: Query = query!("complete conflicts of the history", "conflict_unite");
/// Rows of conflicts that one statement carries at most, unless a single conflict has more.
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
const BATCH_CONFLICTS_MAX: usize = 1000;

/// One row for which several sources had changes that did not know of each other, and what was decided.
#[derive(Clone, Debug, PartialEq)]
pub struct Conflict {
    /// The same at every source that tells of it, and never that of another conflict.
    pub id: String,
    /// The sync that decided.
    pub sync: SyncName,
    /// Schema of the table, as it is called on the sources.
    pub schema: String,
    /// The table.
    pub table: String,
    /// `{column: text}`
    pub key: Value,
    /// The strategy that decided, in its one spelling.
    pub strategy: String,
    /// Whose row won.
    pub winner: DbName,
    /// `{db: {"time": iso, "db": origin, "serial": n}}`: from which change each row came.
    pub versions: Value,
    /// The row at each database as it was before the decision, in JSON as that database wrote it; it is not looked
    /// into, so that numbers keep all their digits. `None`: there was none.
    pub rows: BTreeMap<DbName, Option<String>>,
    /// When it was decided.
    pub time: DateTime<Utc>,
}

impl Conflict {
    /// Adds what another telling of the same conflict knows; what is known here already stays.
    fn complete(&mut self, other: &Self) {
        for (db, row) in &other.rows {
            self.rows.entry(db.clone()).or_insert_with(|| row.clone());
        }
        if let (Value::Object(known), Value::Object(more)) = (&mut self.versions, &other.versions) {
            for (db, version) in more {
                known.entry(db.clone()).or_insert_with(|| version.clone());
            }
        }
    }

    /// The rows as one JSON object. `quoted`: each row as a text, for rows that PostgreSQL takes as `json` but not as
    /// `jsonb`; so are rows of which it would keep less than there is.
    fn rows_text(&self, quoted: bool) -> String {
        let rows = self.rows.iter().map(|(db, row)| {
            let row = match row {
                None => Cow::Borrowed("null"),
                Some(row) if quoted || json_twins::has_twins(row) => Value::from(row.as_str()).to_string().into(),
                Some(row) => row.as_str().into(),
            };
            format!("{}:{row}", Value::from(db.as_str()))
        });
        format!("{{{}}}", rows.collect::<Vec<_>>().join(","))
    }

    fn bytes(&self) -> usize {
        self.rows.values().flatten().map(String::len).sum()
    }
}

/// Where decided conflicts are kept.
pub trait ConflictStore: Send + Sync {
    /// Keeps conflicts. One that is kept already is completed with the rows and versions that it lacks, and counted
    /// no second time, so that a caller who does not know whether it got through simply tries again.
    ///
    /// # Errors
    ///
    /// What could not be done and why; some of the conflicts may be kept nevertheless. When to try again is up to the
    /// caller.
    fn store<'a>(&'a self, conflicts: &'a [Conflict]) -> BoxFuture<'a, Result<(), String>>;
}

/// Writes conflicts to the history and raises the totals; returns those that were not in it before. With `details`
/// off only what is counted is written: no keys, rows and versions.
///
/// Each batch is a transaction of its own.
///
/// # Errors
///
/// [`CatalogError::Sql`]; the same call may be made again.
pub async fn add<'a>(
    client: &mut Client,
    conflicts: &'a [Conflict],
    details: bool,
) -> Result<Vec<Cow<'a, Conflict>>, CatalogError> {
    let mut fresh = Vec::new();
    for batch in batches(united(conflicts)) {
        let is_fresh = match write(client, &batch, details, false).await {
            Err(error) if is_odd_json(&error) => {
                let mut is_fresh = BTreeSet::new();
                for one in batch.chunks(1) {
                    is_fresh.extend(match write(client, one, details, false).await {
                        Err(error) if is_odd_json(&error) => write(client, one, details, true).await?,
                        written => written?,
                    });
                }
                is_fresh
            }
            written => written?,
        };
        fresh.extend(batch.into_iter().filter(|conflict| is_fresh.contains(&conflict.id)));
    }
    Ok(fresh)
}

/// Rows may hold values of the type `json` that `jsonb` has no room for: the escape of NUL, half a surrogate pair, a
/// number beyond all numbers. The server calls these data exceptions, or program limits exceeded.
fn is_odd_json(error: &CatalogError) -> bool {
    let CatalogError::Sql { source, .. } = error else { return false };
    source.code().is_some_and(|state| state.code().starts_with("22") || state.code().starts_with("54"))
}

/// One of each id, in the order of ids.
fn united(conflicts: &[Conflict]) -> Vec<Cow<'_, Conflict>> {
    let mut all: BTreeMap<&str, Cow<'_, Conflict>> = BTreeMap::new();
    for conflict in conflicts {
        all.entry(conflict.id.as_str())
            .and_modify(|known| known.to_mut().complete(conflict))
            .or_insert(Cow::Borrowed(conflict));
    }
    all.into_values().collect()
}

fn batches(conflicts: Vec<Cow<'_, Conflict>>) -> Vec<Vec<Cow<'_, Conflict>>> {
    let mut batches: Vec<Vec<Cow<'_, Conflict>>> = Vec::new();
    let mut bytes = 0;
    for conflict in conflicts {
        bytes += conflict.bytes();
        match batches.last_mut() {
            Some(batch) if bytes <= BATCH_BYTES_MAX && batch.len() < BATCH_CONFLICTS_MAX => batch.push(conflict),
            _ => {
                bytes = conflict.bytes();
                batches.push(vec![conflict]);
            }
        }
    }
    batches
}

/// Writes one batch in one transaction; returns the ids that are new.
async fn write(
    client: &mut Client,
    batch: &[Cow<'_, Conflict>],
    details: bool,
    quoted: bool,
) -> Result<BTreeSet<String>, CatalogError> {
    let texts = |text: fn(&Conflict) -> &str| batch.iter().map(|conflict| text(conflict)).collect::<Vec<_>>();
    let jsons = |json: &dyn Fn(&Conflict) -> String| {
        let empty = || Value::from(Map::new()).to_string();
        batch.iter().map(|conflict| if details { json(conflict) } else { empty() }).collect::<Vec<_>>()
    };
    let ids = texts(|conflict| &conflict.id);
    let (keys, versions) =
        (jsons(&|conflict| conflict.key.to_string()), jsons(&|conflict| conflict.versions.to_string()));
    let rows = jsons(&|conflict| conflict.rows_text(quoted));
    let times: Vec<DateTime<Utc>> = batch.iter().map(|conflict| conflict.time).collect();
    let transaction = client.transaction().await.map_err(ADD.failed())?;
    let added = ADD
        .rows(
            &transaction,
            &[
                &ids,
                &texts(|conflict| conflict.sync.as_str()),
                &texts(|conflict| &conflict.schema),
                &texts(|conflict| &conflict.table),
                &keys,
                &texts(|conflict| &conflict.strategy),
                &texts(|conflict| conflict.winner.as_str()),
                &versions,
                &rows,
                &times,
            ],
        )
        .await?;
    if added.len() < batch.len() {
        UNITE.execute(&transaction, &[&ids, &versions, &rows]).await?;
    }
    transaction.commit().await.map_err(ADD.failed())?;
    Ok(added.iter().map(|row| row.get("id")).collect())
}
