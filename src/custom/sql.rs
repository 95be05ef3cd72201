//! Statements as codes. The inputs are one jsonb value, `$1`; a result of type `json` or `jsonb` is an object whose
//! keys are put into the input.
//!
//! A statement runs on the database that its first line names (`-- db: NAME`), else on the target of the round, else on
//! the first source.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Map, Value};

use super::hosts::Limits;
use super::statement::{Piece, pieces, sort};
use super::{Code, CodeError, Databases, Found, Host, Statement};

/// Runs codes that are statements.
pub(super) struct SqlHost {
    limits: Limits,
}

impl SqlHost {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits }
    }
}

impl Host for SqlHost {
    fn check<'a>(&'a mut self, code: &'a Code) -> BoxFuture<'a, Result<(), CodeError>> {
        async { statement(code).map(drop) }.boxed()
    }

    fn call<'a>(
        &'a mut self,
        code: &'a Code,
        inputs: Vec<Value>,
        dbs: &'a mut dyn Databases,
    ) -> BoxFuture<'a, Result<Vec<Value>, CodeError>> {
        let timeout = self.limits.timeout;
        async move {
            match tokio::time::timeout(timeout, all(code, inputs, dbs)).await {
                Ok(outputs) => outputs,
                Err(_) => Err(CodeError::Stopped {
                    code: code.name.clone(),
                    why: format!("it took longer than {timeout:?} (customcode_timeout)"),
                }),
            }
        }
        .boxed()
    }
}

async fn all(code: &Code, mut inputs: Vec<Value>, dbs: &mut dyn Databases) -> Result<Vec<Value>, CodeError> {
    let (sql, takes_input) = statement(code)?;
    let names = dbs.names();
    for input in &mut inputs {
        let Value::Object(input) = input else { continue };
        let db = place(code, input, &names)?;
        let values = if takes_input { vec![Some(Value::Object(input.clone()).to_string())] } else { Vec::new() };
        let found = dbs.run(&db, Statement { sql: sql.clone(), values }).await.map_err(|refused| CodeError::Died {
            code: code.name.clone(),
            why: match &refused.sqlstate {
                Some(state) => format!("{} (SQLSTATE {state}, database \"{db}\")", refused.message),
                None => format!("{} (database \"{db}\")", refused.message),
            },
        })?;
        input.extend(result(code, &found)?);
    }
    Ok(inputs)
}

/// The statement to send, and whether it takes the input.
fn statement(code: &Code) -> Result<(String, bool), CodeError> {
    let failed = |why: String| CodeError::Compile { code: code.name.clone(), why };
    sort(&code.source, code.hook.is_strict()).map_err(|refused| failed(refused.message))?;
    let mut sql = code.source.trim_end().to_owned();
    let mut takes_input = false;
    for (piece, place) in pieces(&sql.clone()).into_iter().rev() {
        match piece {
            Piece::Number(1) => {
                sql.replace_range(place, "($1::pg_catalog.jsonb)");
                takes_input = true;
            }
            Piece::Number(number) => return Err(failed(format!("${number}: the inputs are one value, $1"))),
            _ => {}
        }
    }
    Ok((sql, takes_input))
}

fn place(code: &Code, input: &Map<String, Value>, names: &[String]) -> Result<String, CodeError> {
    let named = code.source.lines().next().and_then(|line| line.trim().strip_prefix("-- db:")).map(str::trim);
    let target = input.get("targetname").and_then(Value::as_str).filter(|name| names.iter().any(|it| it == name));
    match named.or(target).or(names.first().map(String::as_str)) {
        Some(name) if names.iter().any(|it| it == name) => Ok(name.to_owned()),
        Some(name) => Err(CodeError::Died {
            code: code.name.clone(),
            why: format!("there is no database \"{name}\" here, only {}", names.join(", ")),
        }),
        None => Err(CodeError::Died { code: code.name.clone(), why: "there is no database here".to_owned() }),
    }
}

fn result(code: &Code, found: &Found) -> Result<Map<String, Value>, CodeError> {
    let garbage = |why: String| CodeError::Garbage { code: code.name.clone(), why };
    let Some(column) = found.columns.first().filter(|column| matches!(column.kind.as_str(), "json" | "jsonb")) else {
        return Ok(Map::new());
    };
    if found.rows.len() > 1 {
        return Err(garbage(format!("{} rows, where one is expected", found.rows.len())));
    }
    match found.rows.first().and_then(|row| row.first()).and_then(Option::as_deref).map(serde_json::from_str) {
        None | Some(Ok(Value::Null)) => Ok(Map::new()),
        Some(Ok(Value::Object(object))) => Ok(object),
        Some(Ok(_)) => Err(garbage(format!("column \"{}\" is no object", column.name))),
        Some(Err(error)) => Err(garbage(error.to_string())),
    }
}
