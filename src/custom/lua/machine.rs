//! One code, compiled, in a Lua of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use mlua::chunk::ChunkMode;
use mlua::{
    Function, HookTriggers, Lua, LuaOptions, MultiValue, StdLib, Table, UserData, UserDataMethods, Value, VmState,
};
use serde_json::Value as Json;
use tokio::sync::{mpsc, oneshot};

use super::convert::{Taker, Unfit, table, to_lua};
use crate::custom::{Code, CodeError, Found, Refused, Statement};

const SANDBOX: &str = include_str!("sandbox.lua");
/// After so many instructions it is looked whether the code shall stop.
const LOOK_EVERY: u32 = 10_000;
/// Keys of an input that are for the code alone.
const OWN: [&str; 4] = ["dbh", "sourcedbh", "targetdbh", "shared"];

/// A statement that a code waits for.
pub(super) struct Asked {
    pub(super) db: String,
    pub(super) statement: Statement,
    pub(super) answer: oneshot::Sender<Result<Found, Refused>>,
}

/// What one call comes with.
pub(super) struct Call {
    pub(super) inputs: Vec<Json>,
    pub(super) shared: Json,
    /// The databases that it may ask; `None`: none.
    pub(super) names: Option<Vec<String>>,
    pub(super) asks: mpsc::Sender<Asked>,
}

/// What became of it.
pub(super) struct Called {
    pub(super) outputs: Vec<Json>,
    pub(super) shared: Json,
}

/// A Lua with one code.
pub(super) struct Machine {
    lua: Lua,
    code: Code,
    function: Function,
    bytes_max: usize,
}

impl Machine {
    /// Compiles a code. `stop` ends whatever it runs, soon.
    pub(super) fn new(code: &Code, memory_mb: u32, stop: &Arc<AtomicBool>) -> Result<Self, CodeError> {
        let failed = |error: mlua::Error| CodeError::Compile { code: code.name.clone(), why: told(&error) };
        let libraries = StdLib::STRING | StdLib::TABLE | StdLib::MATH | StdLib::UTF8;
        let lua = Lua::new_with(libraries, LuaOptions::default()).map_err(failed)?;
        let bytes_max = memory_mb as usize * 1024 * 1024;
        lua.set_memory_limit(bytes_max).map_err(failed)?;
        sandbox(&lua, stop).map_err(failed)?;
        let looked = Arc::clone(stop);
        lua.set_hook(HookTriggers::new().every_nth_instruction(LOOK_EVERY), move |_, _| {
            if looked.load(Ordering::Relaxed) { Err(mlua::Error::runtime("stopped")) } else { Ok(VmState::Continue) }
        })
        .map_err(failed)?;
        let chunk = lua.load(&code.source).set_name(format!("={}", code.name)).set_mode(ChunkMode::Text);
        let function = chunk.into_function().map_err(failed)?;
        Ok(Self { lua, code: code.clone(), function, bytes_max })
    }

    pub(super) fn is_of(&self, code: &Code) -> bool {
        self.code == *code
    }

    /// Runs the code once for each input.
    pub(super) fn run(&self, call: Call) -> Result<Called, CodeError> {
        let died = |error: mlua::Error| self.died(&error);
        let shared = to_lua(&self.lua, &call.shared).map_err(died)?;
        let dbs = call.names.as_ref().map(|names| self.handles(names, &call.asks)).transpose().map_err(died)?;
        let mut outputs = Vec::with_capacity(call.inputs.len());
        for input in call.inputs {
            let Json::Object(given) = input else { continue };
            let input = table(&self.lua, &given).map_err(died)?;
            input.raw_set("shared", &shared).map_err(died)?;
            if let Some(dbs) = &dbs {
                input.raw_set("dbh", dbs).map_err(died)?;
                for (handle, name) in [("sourcedbh", "sourcename"), ("targetdbh", "targetname")] {
                    if let Some(Json::String(name)) = given.get(name) {
                        input.raw_set(handle, dbs.raw_get::<Value>(name.as_str()).map_err(died)?).map_err(died)?;
                    }
                }
            }
            self.lua.globals().raw_set("input", &input).map_err(died)?;
            self.function.call::<MultiValue>(&input).map_err(died)?;
            let output = Taker::new(self.bytes_max).input(&input, &given, &OWN);
            outputs.push(Json::Object(output.map_err(|unfit| self.garbage(unfit))?));
        }
        let shared = Taker::new(self.bytes_max).value(&shared, Some(&call.shared));
        Ok(Called { outputs, shared: shared.map_err(|unfit| self.garbage(unfit))? })
    }

    fn handles(&self, names: &[String], asks: &mpsc::Sender<Asked>) -> mlua::Result<Table> {
        let dbs = self.lua.create_table()?;
        for name in names {
            let handle = Handle { db: name.clone(), asks: asks.clone() };
            dbs.raw_set(name.as_str(), handle)?;
        }
        Ok(dbs)
    }

    fn died(&self, error: &mlua::Error) -> CodeError {
        let code = self.code.name.clone();
        if is_out_of_memory(error) {
            let why = format!("it wanted more than {} MB (customcode_memory_mb)", self.bytes_max >> 20);
            return CodeError::Stopped { code, why };
        }
        CodeError::Died { code, why: told(error) }
    }

    fn garbage(&self, unfit: Unfit) -> CodeError {
        CodeError::Garbage { code: self.code.name.clone(), why: unfit.0 }
    }
}

fn sandbox(lua: &Lua, stop: &Arc<AtomicBool>) -> mlua::Result<()> {
    let stop = Arc::clone(stop);
    let stopped = lua.create_function(move |_, ()| Ok(stop.load(Ordering::Relaxed)))?;
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let started = std::time::Instant::now();
    let clock = lua.create_function(move |_, ()| Ok(started.elapsed().as_secs_f64()))?;
    let date = lua.create_function(|_, ()| Ok(chrono::Local::now().format("%Y-%m-%d %H:%M:%S").to_string()))?;
    let time = lua.create_function(move |_, ()| Ok(now().as_secs()))?;
    lua.load(SANDBOX).set_name("=sandbox").call((stopped, clock, date, time))
}

fn is_out_of_memory(error: &mlua::Error) -> bool {
    match error {
        mlua::Error::MemoryError(_) => true,
        mlua::Error::CallbackError { cause, .. } | mlua::Error::BadArgument { cause, .. } => is_out_of_memory(cause),
        _ => false,
    }
}

/// The message, with code and line, without the stack.
fn told(error: &mlua::Error) -> String {
    let text = match error {
        mlua::Error::RuntimeError(text) => text.clone(),
        mlua::Error::SyntaxError { message, .. } => message.clone(),
        mlua::Error::CallbackError { cause, .. } => told(cause),
        other => other.to_string(),
    };
    text.split("\nstack traceback:").next().unwrap_or_default().trim().to_owned()
}

/// A database, as codes see it.
struct Handle {
    db: String,
    asks: mpsc::Sender<Asked>,
}

impl Handle {
    fn ask(&self, sql: String, values: MultiValue) -> mlua::Result<Found> {
        let values = values.iter().map(value).collect::<mlua::Result<_>>()?;
        let (answer, answered) = oneshot::channel();
        let asked = Asked { db: self.db.clone(), statement: Statement { sql, values }, answer };
        let found = self.asks.blocking_send(asked).ok().and_then(|()| answered.blocking_recv().ok());
        let Some(found) = found else {
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
