//! Makes the catalog like a document: in one transaction, which is committed when the databases agree.

use std::collections::BTreeMap;

use bucardo_actors::model::DbName;
use serde_json::{Map, Value, json};
use tokio_postgres::Transaction;
use tokio_postgres::types::Json;

use super::plan::{Change, What};
use super::{Columns, Id, Kind, rows};
use crate::catalog::{SyncDetail, dbs, goats, load_syncs, settings};
use crate::cli::{CliError, Context, Outcome, relations, sync};
use crate::pg::{Sql, SqlFile};

const INSERT: SqlFile = SqlFile::new(include_str!("../../../sql/catalog/document_insert.sql"));
const UPDATE: SqlFile = SqlFile::new(include_str!("../../../sql/catalog/document_update.sql"));
const DELETE: SqlFile = SqlFile::new(include_str!("../../../sql/catalog/document_delete.sql"));

/// What refers to others goes first, and what it refers to last.
const GO_FIRST: [Kind; 7] = [Kind::Name, Kind::Columns, Kind::Rows, Kind::CodeUse, Kind::Code, Kind::Sync, Kind::Part];
const GO_LAST: [Kind; 5] = [Kind::Relgroup, Kind::Relation, Kind::Member, Kind::Dbgroup, Kind::Db];

/// Does it, unless `--dry-run` or the answer to `--confirm` says otherwise.
pub(super) async fn run(ctx: &Context, txn: Transaction<'_>, changes: &[Change]) -> Outcome {
    let before = load_syncs(&txn).await?;
    let removed = |kind: Kind| changes.iter().filter(move |it| it.id.kind == kind && it.what == What::Remove);
    for kind in GO_FIRST {
        for change in removed(kind) {
            remove(&txn, &change.id).await?;
        }
    }
    for change in changes.iter().filter(|it| it.what != What::Remove || it.id.kind == Kind::Setting) {
        put(&txn, change).await?;
    }
    for kind in GO_LAST {
        for change in removed(kind) {
            remove(&txn, &change.id).await?;
        }
    }
    find_keys(&txn, changes).await?;
    let after = load_syncs(&txn).await?;
    let touched: Vec<&SyncDetail> = after.iter().filter(|sync| !before.contains(sync)).collect();
    let gone: Vec<SyncDetail> =
        before.into_iter().filter(|old| !after.iter().any(|sync| sync.name == old.name)).collect();
    // The plan has been told by now.
    let agreed = sync::agreed_first(ctx, &[])?;
    if agreed {
        for detail in &touched {
            sync::validate(ctx, &txn, detail).await.map_err(|error| CliError {
                message: format!("Nothing was changed: sync \"{}\" cannot run: {}", detail.name, error.message),
                ..error
            })?;
        }
    }
    sync::end(ctx, txn, agreed, &[]).await?;
    if agreed {
        sync::forget(ctx, &gone).await;
        ctx.out.say(format!("Applied {} changes; \"bucardo reload\" tells a running daemon", changes.len()));
    } else if ctx.options.dry_run {
        ctx.out.say("Dry run: nothing was changed");
    }
    Ok(0)
}

fn refused(id: &Id) -> impl Fn(tokio_postgres::Error) -> CliError {
    let told = format!("Nothing was changed: {id}");
    move |error| CliError::caused(&told, &error)
}

/// What a row of the catalog is known by.
async fn key(txn: &Transaction<'_>, id: &Id) -> Result<Columns, CliError> {
    let name = |place: usize| id.names.get(place).cloned().unwrap_or_default();
    let relation = async |from: usize| -> Result<i64, CliError> {
        let wanted = [name(from), name(from + 1), name(from + 2)];
        let known = rows::relations(txn).await?;
        known.into_iter().find(|(_, names)| *names == wanted).map(|(number, _)| number).ok_or_else(|| {
            CliError::refuse(format!(
                "Nothing was changed: {id}: there is no table or sequence {}.{} of database {}",
                wanted[1], wanted[2], wanted[0]
            ))
            .hint("a section [table.DATABASE.SCHEMA.NAME] or [sequence.…] adds it")
        })
    };
    let or_null = |text: String| if text.is_empty() { Value::Null } else { Value::String(text) };
    let key = match id.kind {
        Kind::Setting | Kind::Db | Kind::Dbgroup | Kind::Relgroup | Kind::Sync | Kind::Code => {
            json!({"name": name(0)})
        }
        Kind::Member => json!({"dbgroup": name(0), "db": name(1)}),
        Kind::Relation => json!({"db": name(0), "schemaname": name(1), "tablename": name(2)}),
        Kind::Part => json!({"herd": name(0), "goat": relation(1).await?}),
        Kind::CodeUse => {
            let codes = rows::codes(txn).await?;
            let code = codes.into_iter().find(|(_, code)| *code == name(0)).map(|(number, _)| number);
            if id.names.len() == 2 {
                json!({"code": code, "sync": name(1)})
            } else {
                json!({"code": code, "goat": relation(1).await?})
            }
        }
        Kind::Name | Kind::Columns | Kind::Rows => {
            json!({"goat": relation(0).await?, "db": or_null(name(3)), "sync": or_null(name(4))})
        }
    };
    match key {
        Value::Object(key) => Ok(key),
        _ => Ok(Map::new()),
    }
}

async fn remove(txn: &Transaction<'_>, id: &Id) -> Result<(), CliError> {
    let key = key(txn, id).await?;
    let sql = DELETE.fill(&[("table", &Sql::qualified("bucardo", id.kind.table()))]);
    txn.execute(&sql, &[&Json(key)]).await.map_err(refused(id)).map(drop)
}

async fn put(txn: &Transaction<'_>, change: &Change) -> Result<(), CliError> {
    let id = &change.id;
    let table = Sql::qualified("bucardo", id.kind.table());
    if id.kind == Kind::Setting {
        return set(txn, change).await;
    }
    let key = key(txn, id).await?;
    match &change.what {
        What::Add(columns) => {
            let row: Columns = key.into_iter().chain(columns.clone()).collect();
            let names = Sql::idents(row.keys().map(String::as_str));
            let sql = INSERT.fill(&[("table", &table), ("columns", &names)]);
            txn.execute(&sql, &[&Json(row)]).await.map_err(refused(id))?;
        }
        What::Change(columns) => {
            let usual = rows::defaults(txn, id.kind).await?;
            let value = |column: &String, new: &Option<Value>| {
                new.clone().or_else(|| usual.get(column).cloned()).unwrap_or(Value::Null)
            };
            let row: Columns = columns.iter().map(|(column, (_, new))| (column.clone(), value(column, new))).collect();
            let names = Sql::idents(row.keys().map(String::as_str));
            let sql = UPDATE.fill(&[("table", &table), ("columns", &names)]);
            txn.execute(&sql, &[&Json(row), &Json(key)]).await.map_err(refused(id))?;
        }
        What::Remove => {}
    }
    Ok(())
}

async fn set(txn: &Transaction<'_>, change: &Change) -> Result<(), CliError> {
    let name = change.id.names.first().map(String::as_str).unwrap_or_default();
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let value = match &change.what {
        What::Add(columns) => text(columns.get("value")),
        What::Change(columns) => columns.get("value").and_then(|(_, new)| text(new.as_ref())),
        What::Remove => None,
    };
    let value = match value {
        Some(value) => value,
        None => {
            let known = settings::load(txn).await?;
            known.iter().find(|(known, _)| *known == name).map(|(_, it)| it.default.clone()).unwrap_or_default()
        }
    };
    settings::set(txn, name, &value).await.map(drop).map_err(Into::into)
}

/// The keys of new tables, as their databases have them.
async fn find_keys(txn: &Transaction<'_>, changes: &[Change]) -> Result<(), CliError> {
    let mut by_db: BTreeMap<&str, Vec<&Id>> = BTreeMap::new();
    for Change { id, what } in changes.iter().filter(|it| it.id.kind == Kind::Relation) {
        let is_table = |columns: &Columns| !columns.contains_key("reltype");
        if matches!(what, What::Add(columns) if is_table(columns)) {
            by_db.entry(id.names[0].as_str()).or_default().push(id);
        }
    }
    let known = rows::relations(txn).await?;
    for row in dbs::rows(txn, None).await? {
        let Some(ids) = by_db.get(row.name.as_str()) else { continue };
        let found = relations::look(&row).await?;
        for id in ids {
            let is_it = |it: &&crate::source::inspect::Relation| it.schema == id.names[1] && it.name == id.names[2];
            let Some(relation) = found.relations.iter().find(is_it) else {
                return Err(CliError::refuse(format!(
                    "Nothing was changed: database {} has no {id}",
                    DbName::from(row.name.as_str())
                )));
            };
            let number =
                known.iter().find(|(_, names)| names.as_slice() == id.names.as_slice()).map(|(number, _)| *number);
            if let Some(number) = number.and_then(|number| i32::try_from(number).ok()) {
                goats::refresh_key(txn, number, relation).await?;
            }
        }
    }
    Ok(())
}
