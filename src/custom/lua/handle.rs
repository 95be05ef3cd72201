//! Databases, as Lua codes see them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mlua::{Lua, MultiValue, Table, UserData, UserDataMethods, Value};
use tokio::sync::{mpsc, oneshot};

use super::machine::STOPPED;
use crate::custom::{Found, Refused, Statement};

/// A statement that a code waits for.
pub(super) struct Asked {
    pub(super) db: String,
    pub(super) statement: Statement,
    pub(super) answer: oneshot::Sender<Result<Found, Refused>>,
}

/// A database, as codes see it.
pub(super) struct Handle {
    pub(super) db: String,
    pub(super) asks: mpsc::Sender<Asked>,
    pub(super) stop: Arc<AtomicBool>,
}

impl Handle {
    fn ask(&self, sql: String, values: MultiValue) -> mlua::Result<Found> {
        let values = values.iter().map(value).collect::<mlua::Result<_>>()?;
        let (answer, answered) = oneshot::channel();
        let asked = Asked { db: self.db.clone(), statement: Statement { sql, values }, answer };
        let found = self.asks.blocking_send(asked).ok().and_then(|()| answered.blocking_recv().ok());
        let Some(found) = found else {
            if self.stop.load(Ordering::Relaxed) {
                return Err(mlua::Error::runtime(STOPPED));
            }
            return Err(mlua::Error::runtime("this handle was for an earlier run: take it from input.dbh each time"));
        };
        found.map_err(|refused| {
            let state = refused.sqlstate.map_or_else(String::new, |state| format!(" (SQLSTATE {state})"));
            mlua::Error::runtime(format!("database \"{}\": {}{state}", self.db, refused.message))
        })
    }
}

impl UserData for Handle {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("run", |_, db, (sql, values): (String, MultiValue)| Ok(db.ask(sql, values)?.count));
        methods.add_method("rows", |lua, db, (sql, values): (String, MultiValue)| {
            let found = db.ask(sql, values)?;
            let rows = lua.create_table()?;
            for (at, _) in found.rows.iter().enumerate() {
                rows.raw_set(at + 1, row(lua, &found, at)?)?;
            }
            Ok(rows)
        });
        methods.add_method("row", |lua, db, (sql, values): (String, MultiValue)| {
            let found = db.ask(sql, values)?;
            if found.rows.is_empty() { Ok(None) } else { row(lua, &found, 0).map(Some) }
        });
        methods.add_method("value", |_, db, (sql, values): (String, MultiValue)| {
            Ok(db.ask(sql, values)?.rows.into_iter().next().and_then(|row| row.into_iter().next()).flatten())
        });
    }
}

fn row(lua: &Lua, found: &Found, at: usize) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    for (column, value) in found.columns.iter().zip(&found.rows[at]) {
        table.raw_set(column.name.as_str(), value.as_deref())?;
    }
    Ok(table)
}

/// A value for a statement, as text.
fn value(value: &Value) -> mlua::Result<Option<String>> {
    match value {
        Value::Nil => Ok(None),
        Value::Boolean(flag) => Ok(Some(flag.to_string())),
        Value::Integer(whole) => Ok(Some(whole.to_string())),
        Value::Number(number) => Ok(Some(number.to_string())),
        Value::String(text) => Ok(Some(text.to_str()?.to_owned())),
        other => Err(mlua::Error::runtime(format!("a {} cannot be a value of a statement", other.type_name()))),
    }
}
