//! One code, compiled, in a Lua of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use mlua::chunk::ChunkMode;
use mlua::{
    Function, HookTriggers, Lua, LuaOptions, MultiValue, StdLib, Table, UserData, UserDataMethods, Value, VmState,
};
use serde_json::{Map, Value as Json};
use tokio::sync::{mpsc, oneshot};

use super::convert::{Taker, Unfit, table, to_lua};
use super::told::{FULL, is_out_of_memory, line, told};
use crate::custom::{Code, CodeError, Found, MAILS_MAX, Refused, Statement};

const SANDBOX: &str = include_str!("sandbox.lua");
const PATTERNS: &str = include_str!("patterns.lua");
/// So many steps the library may take for a pattern; about a second.
const PATTERN_STEPS_MAX: f64 = 1e8;
/// After so many instructions it is looked whether the code shall stop.
const LOOK_EVERY: u32 = 1_000;
/// So many calls inside calls are looked through for a line of the code.
const FRAMES_MAX: usize = 200;
/// Keys of an input that are for the code alone.
const OWN: [&str; 5] = ["dbh", "sourcedbh", "targetdbh", "shared", "sendmail"];
/// What a code that is being stopped dies of.
const STOPPED: &str = "it shall stop";

/// A statement that a code waits for.
pub(super) struct Asked {
    pub(super) db: String,
    pub(super) statement: Statement,
    pub(super) answer: oneshot::Sender<Result<Found, Refused>>,
}

/// What one call comes with.
pub(super) struct Call {
    /// What every input has besides.
    pub(super) common: Map<String, Json>,
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
    stop: Arc<AtomicBool>,
    /// The input that it is at.
    at: AtomicUsize,
    /// How Lua names the code in what it tells.
    name: String,
}

/// Why a code died.
pub(super) enum Death {
    /// It was told to stop, there.
    Stopped(Option<String>),
    Failed(CodeError),
}

impl From<CodeError> for Death {
    fn from(error: CodeError) -> Self {
        Self::Failed(error)
    }
}

impl Machine {
    /// Compiles a code. `stop` ends whatever it runs, soon.
    pub(super) fn new(code: &Code, stop: &Arc<AtomicBool>) -> Result<Self, CodeError> {
        let failed = |error: mlua::Error| CodeError::Compile { code: code.name.clone(), why: told(&error, &code.name) };
        let libraries = StdLib::STRING | StdLib::TABLE | StdLib::MATH | StdLib::UTF8;
        let lua = Lua::new_with(libraries, LuaOptions::default()).map_err(failed)?;
        let bytes_max = code.limits.memory_mb as usize * 1024 * 1024;
        // What goes a little beyond is seen below, where its line is known.
        lua.set_memory_limit(bytes_max + bytes_max / 8).map_err(failed)?;
        sandbox(&lua, stop).map_err(failed)?;
        let chunk = lua.load(&code.source).set_name(format!("={}", code.name)).set_mode(ChunkMode::Text);
        let function = chunk.into_function().map_err(failed)?;
        let name = function.info().short_src.unwrap_or_default();
        let (looked, here, collects_from) = (Arc::clone(stop), name.clone(), AtomicUsize::new(bytes_max));
        lua.set_hook(HookTriggers::new().every_nth_instruction(LOOK_EVERY), move |lua, _| {
            if looked.load(Ordering::Relaxed) {
                return Err(stopped(lua, &here, STOPPED));
            }
            if lua.used_memory() > collects_from.load(Ordering::Relaxed) {
                lua.gc_collect()?;
                let used = lua.used_memory();
                if used > bytes_max {
                    return Err(stopped(lua, &here, FULL));
                }
                // Not again for each little piece.
                collects_from.store(bytes_max.max(used + bytes_max / 16), Ordering::Relaxed);
            }
            Ok(VmState::Continue)
        })
        .map_err(failed)?;
        Ok(Self { lua, code: code.clone(), function, bytes_max, stop: Arc::clone(stop), at: AtomicUsize::new(0), name })
    }

    pub(super) fn is_of(&self, code: &Code) -> bool {
        self.code == *code
    }

    /// Which input of the last call it was at.
    pub(super) fn reached(&self) -> Option<usize> {
        Some(self.at.load(Ordering::Relaxed))
    }

    /// Runs the code once for each input.
    pub(super) fn run(&self, call: Call) -> Result<Called, Death> {
        let died = |error: mlua::Error| self.died(&error);
        let lua = &self.lua;
        let shared = to_lua(lua, &call.shared).map_err(died)?;
        let dbs = call.names.as_ref().map(|names| self.handles(names, &call.asks)).transpose().map_err(died)?;
        let common: mlua::Result<Vec<(&String, Value)>> =
            call.common.iter().map(|(key, value)| Ok((key, to_lua(lua, value)?))).collect();
        let common = common.map_err(died)?;
        // What is one for all inputs is not taken back.
        let is_left = |key: &str| {
            OWN.contains(&key) || call.common.get(key).is_some_and(|value| value.is_object() || value.is_array())
        };
        // `input.sendmail{subject = …, body = …}`: it is sent when the code has ended well.
        let mails = lua.create_table().map_err(died)?;
        let box_of_mails = mails.clone();
        let sendmail = lua.create_function(move |_, mail: Table| put(&box_of_mails, mail)).map_err(died)?;
        let globals = lua.globals();
        let mut outputs = Vec::with_capacity(call.inputs.len());
        for input in call.inputs {
            self.at.store(outputs.len(), Ordering::Relaxed);
            let Json::Object(given) = input else { continue };
            let input = table(lua, &given).map_err(died)?;
            for (key, value) in &common {
                input.raw_set(key.as_str(), value).map_err(died)?;
            }
            input.raw_set("shared", &shared).map_err(died)?;
            if let Some(dbs) = &dbs {
                input.raw_set("dbh", dbs).map_err(died)?;
                for (handle, side) in [("sourcedbh", "sourcename"), ("targetdbh", "targetname")] {
                    let told = |key: &str| given.get(key).or_else(|| call.common.get(key)).and_then(Json::as_str);
                    if let Some(name) = told(handle).or_else(|| told(side)) {
                        input.raw_set(handle, dbs.raw_get::<Value>(name).map_err(died)?).map_err(died)?;
                    }
                }
            }
            input.raw_set("sendmail", &sendmail).map_err(died)?;
            globals.raw_set("input", &input).map_err(died)?;
            self.function.call::<MultiValue>(&input).map_err(died)?;
            let mut taker = Taker::new(self.bytes_max);
            let mut output = taker.object(&input, given, is_left).map_err(|unfit| self.garbage(unfit))?;
            // It may be called, or be given a mail.
            let sent = match input.raw_get::<Value>("sendmail").map_err(died)? {
                Value::Function(_) => Value::Table(mails.clone()),
                given => given,
            };
            if !matches!(&sent, Value::Table(sent) if sent.is_empty()) {
                let sent = taker.value(&sent, None).map_err(|unfit| self.garbage(unfit))?;
                output.insert("sendmail".to_owned(), sent);
                mails.clear().map_err(died)?;
            }
            outputs.push(Json::Object(output));
        }
        let shared = Taker::new(self.bytes_max).value(&shared, Some(call.shared));
        Ok(Called { outputs, shared: shared.map_err(|unfit| self.garbage(unfit))? })
    }

    fn handles(&self, names: &[String], asks: &mpsc::Sender<Asked>) -> mlua::Result<Table> {
        let dbs = self.lua.create_table()?;
        for name in names {
            let handle = Handle { db: name.clone(), asks: asks.clone(), stop: Arc::clone(&self.stop) };
            dbs.raw_set(name.as_str(), handle)?;
        }
        Ok(dbs)
    }

    fn died(&self, error: &mlua::Error) -> Death {
        let (code, line) = (&self.code.name, line(error, &self.name));
        let place = line.map(|line| format!("line {line}"));
        if self.stop.load(Ordering::Relaxed) {
            return Death::Stopped(place);
        }
        Death::Failed(match is_out_of_memory(error) {
            true => self.code.limits.full(code, place.as_deref()),
            false => CodeError::Died { code: code.clone(), why: told(error, &self.name) },
        })
    }

    fn garbage(&self, unfit: Unfit) -> CodeError {
        CodeError::Garbage { code: self.code.name.clone(), why: unfit.why() }
    }
}

/// Why a code is stopped, with the innermost line of it that runs: it may be in the library.
fn stopped(lua: &Lua, name: &str, why: &str) -> mlua::Error {
    let line = |level| {
        lua.inspect_stack(level, |frame| {
            let is_its = frame.source().short_src.as_deref() == Some(name);
            frame.current_line().filter(|_| is_its)
        })
    };
    let place = (0..FRAMES_MAX).map_while(line).flatten().next();
    mlua::Error::runtime(place.map_or_else(|| why.to_owned(), |line| format!("{name}:{line}: {why}")))
}

/// A mail goes into the box; of those that are too many only the number.
fn put(mails: &Table, mail: Table) -> mlua::Result<()> {
    if mails.raw_len() < MAILS_MAX {
        return mails.raw_push(mail);
    }
    let more: Option<i64> = mails.raw_get(MAILS_MAX + 1)?;
    mails.raw_set(MAILS_MAX + 1, more.unwrap_or_default() + 1)
}

fn sandbox(lua: &Lua, stop: &Arc<AtomicBool>) -> mlua::Result<()> {
    let stop = Arc::clone(stop);
    let stopped = lua.create_function(move |_, ()| Ok(stop.load(Ordering::Relaxed)))?;
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let started = std::time::Instant::now();
    let clock = lua.create_function(move |_, ()| Ok(started.elapsed().as_secs_f64()))?;
    let date = lua.create_function(|_, ()| Ok(chrono::Local::now().format("%Y-%m-%d %H:%M:%S").to_string()))?;
    let time = lua.create_function(move |_, ()| Ok(now().as_secs()))?;
    lua.load(PATTERNS).set_name("=patterns").call::<()>(PATTERN_STEPS_MAX)?;
    lua.load(SANDBOX).set_name("=sandbox").call((stopped, clock, date, time))
}

/// A database, as codes see it.
struct Handle {
    db: String,
    asks: mpsc::Sender<Asked>,
    stop: Arc<AtomicBool>,
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The patterns of the sandbox are those of the library, whoever matches them.
    #[test]
    fn patterns_mean_what_they_mean_in_the_library() {
        let lua = Lua::new();
        lua.globals().set("patterns", lua.load(PATTERNS).into_function().unwrap()).unwrap();
        let compare = r#"
            local library = {}
            for _, name in ipairs{"find", "match", "gmatch", "gsub"} do library[name] = string[name] end
            patterns(0)
            local function all(iterator)
                local found = {}
                for a, b in iterator do found[#found + 1] = tostring(a) .. "," .. tostring(b) end
                return table.concat(found, ";")
            end
            local function told(...)
                local found = table.pack(...)
                for at = 1, found.n do found[at] = tostring(found[at]):gsub("^patterns:%d+: ", "") end
                return table.concat(found, "|")
            end
            local wrong = {}
            local texts = {"", "a", "aaa", "key = value", "  trim me  ", "x=1,y=22;z", "f(a(b)c)d", "THE (quick) fox", "a.b^c$d-e", "\0\255z"}
            local shapes = {
                "", "a", ".", "^", "$", "^a", "a$", "^$", "a*", "a+", "a-", "a?", "(a)(b)?", "^%s*(.-)%s*$", "(%w+)%s*=%s*(%w+)",
                "%b()", "%f[%a]%a+%f[%A]", "()a()", "(.)%1", "[%a_][%w_]*", "[^=,;]+", "[]]", "[^]]", "[a-]", "%.", "%^%w%$", "x*$",
                "((a)(a))", "%d+", ".-=", "(.*)%((.*)%)", "-", "^-", "a^b", "a$b", "%z", "[%z\255]",
            }
            for _, text in ipairs(texts) do
                for _, shape in ipairs(shapes) do
                    for name, calls in pairs{
                        find = {{}, {2}, {-1}, {1, true}}, match = {{}, {3}}, gmatch = {{}},
                        gsub = {{"<%0>"}, {"%1%%", 1}, {{a = "A", x = false}}, {function(a) return a and #tostring(a) end}},
                    } do
                        for _, more in ipairs(calls) do
                            local function run(f)
                                if name == "gmatch" then return all(f(text, shape)) end
                                return f(text, shape, table.unpack(more))
                            end
                            local wanted, found = told(pcall(run, library[name])), told(pcall(run, string[name]))
                            if wanted:sub(1, 5) == "false" then wanted, found = "false", found:sub(1, 5) end
                            if wanted ~= found then
                                wrong[#wrong + 1] = ("%s(%q, %q): %s, not %s"):format(name, text, shape, found, wanted)
                            end
                        end
                    end
                end
            end
            assert(#wrong == 0, table.concat(wrong, "\n", 1, math.min(#wrong, 20)))
            for _, broken in ipairs{"(", "a*)", "a%", "[a", "[^", "%b", "%bx", "%f", "(()", "%2"} do
                assert(not pcall(string.find, "aaa", broken), broken)
            end"#;
        lua.load(compare).exec().unwrap();
    }
}
