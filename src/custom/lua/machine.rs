//! One code, compiled, in a Lua of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use mlua::chunk::ChunkMode;
use mlua::{Function, HookTriggers, Lua, LuaOptions, MultiValue, StdLib, Table, Value, VmState};
use serde_json::{Map, Value as Json};
use tokio::sync::mpsc;

use super::around::Around;
use super::convert::{Taker, Unfit, table, to_lua};
use super::handle::Asked;
use super::shape::{self, Packed};
use super::told::{FULL, is_out_of_memory, line, told};
use crate::custom::{Code, CodeError, OUTPUT_BYTES_MAX};

const SANDBOX: &str = include_str!("sandbox.lua");
const PATTERNS: &str = include_str!("patterns.lua");
/// So many steps the library may take for a pattern; about a second.
const PATTERN_STEPS_MAX: f64 = 1e8;
/// After so many instructions it is looked whether the code shall stop.
const LOOK_EVERY: u32 = 1_000;
/// So many calls inside calls are looked through for a line of the code.
const FRAMES_MAX: usize = 200;
/// What a code that is being stopped dies of.
pub(super) const STOPPED: &str = "it shall stop";

/// What one call comes with.
pub(super) struct Call {
    /// What every input has besides.
    pub(super) common: Map<String, Json>,
    pub(super) inputs: Inputs,
    pub(super) shared: Json,
    /// The databases that it may ask; `None`: none.
    pub(super) names: Option<Vec<String>>,
    pub(super) asks: mpsc::Sender<Asked>,
}

/// What a call is about.
pub(super) enum Inputs {
    Whole(Vec<Json>),
    Packed(Packed),
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
    /// `string.unpack`, `next` and `rawset`, whatever codes make of these names.
    library: [Function; 3],
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
        sandbox(&lua, stop, bytes_max).map_err(failed)?;
        let chunk = lua.load(&code.source).set_name(format!("={}", code.name)).set_mode(ChunkMode::Text);
        let function = chunk.into_function().map_err(failed)?;
        let name = function.info().short_src.unwrap_or_default();
        let globals = lua.globals();
        let unpack = globals.get::<Table>("string").and_then(|string| string.get("unpack")).map_err(failed)?;
        let library = [unpack, globals.get("next").map_err(failed)?, globals.get("rawset").map_err(failed)?];
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
        let (code, stop, at) = (code.clone(), Arc::clone(stop), AtomicUsize::new(0));
        Ok(Self { lua, code, function, library, bytes_max, stop, at, name })
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
        let Call { common, inputs, shared: before, names, asks } = call;
        let shared = to_lua(&self.lua, &before).map_err(|error| self.died(&error))?;
        let around = Around::new((&self.lua, &self.stop), &common, &shared, (names, asks));
        let around = around.map_err(|error| self.died(&error))?;
        let outputs = match inputs {
            Inputs::Whole(inputs) => self.whole(inputs, &around)?,
            Inputs::Packed(packed) => self.packed(&packed, &around)?,
        };
        let shared = Taker::new(self.bytes_max).value(&shared, Some(before));
        Ok(Called { outputs, shared: shared.map_err(|unfit| self.garbage(unfit))? })
    }

    fn whole(&self, inputs: Vec<Json>, around: &Around<'_>) -> Result<Vec<Json>, Death> {
        let died = |error: mlua::Error| self.died(&error);
        let mut outputs = Vec::with_capacity(inputs.len());
        let mut taker = Taker::new(OUTPUT_BYTES_MAX);
        for given in inputs {
            self.at.store(outputs.len(), Ordering::Relaxed);
            let Json::Object(given) = given else { continue };
            let input = table(&self.lua, &given).map_err(died)?;
            around.put(&input, &given).map_err(died)?;
            self.lua.globals().raw_set("input", &input).map_err(died)?;
            self.function.call::<MultiValue>(&input).map_err(died)?;
            let output = taker.object(&input, given, |key| around.is_left(key)).map_err(|unfit| self.garbage(unfit))?;
            let sent = input.raw_get::<Value>("sendmail").map_err(died)?;
            outputs.push(self.with_mails(output, sent, around, &mut taker)?);
        }
        Ok(outputs)
    }

    fn packed(&self, packed: &Packed, around: &Around<'_>) -> Result<Vec<Json>, Death> {
        let (died, lua) = (|error: mlua::Error| self.died(&error), &self.lua);
        let left = lua.create_table().map_err(died)?;
        for key in packed.shapes.iter().flat_map(Map::keys).map(String::as_str).chain(around.left()) {
            left.raw_set(key, true).map_err(died)?;
        }
        let base = table(lua, &Map::new()).map_err(died)?;
        around.put(&base, &Map::new()).map_err(died)?;
        let made = packed.shapes.iter().map(|shape| {
            let chunk = lua.load(shape::chunk(shape)).set_name("=shape").set_mode(ChunkMode::Text);
            let [unpack, next, rawset] = &self.library;
            chunk.call::<Function>((&self.function, unpack, next, rawset, lua.globals(), &base, &left))
        });
        let functions: Vec<Function> = made.collect::<mlua::Result<_>>().map_err(died)?;
        let (mut outputs, mut taker) = (Vec::new(), Taker::new(OUTPUT_BYTES_MAX));
        for (shape, texts) in packed.inputs() {
            self.at.store(outputs.len(), Ordering::Relaxed);
            let texts = lua.create_string(texts).map_err(died)?;
            let (changed, sent): (Option<Table>, Value) = functions[shape].call(texts).map_err(died)?;
            let mut output = Map::new();
            if let Some(changed) = changed {
                let mut given = Map::new();
                for key in ["row", "rows"] {
                    if changed.contains_key(key).map_err(died)? {
                        given.extend(packed.shapes[shape].get(key).map(|value| (key.to_owned(), shape::nulls(value))));
                    }
                }
                output = taker.object(&changed, given, |_| false).map_err(|unfit| self.garbage(unfit))?;
            }
            outputs.push(self.with_mails(output, sent, around, &mut taker)?);
        }
        Ok(outputs)
    }

    /// An output with what the code sends: it may have called `sendmail`, or given it a mail (`sent`).
    fn with_mails(
        &self,
        mut output: Map<String, Json>,
        sent: Value,
        around: &Around<'_>,
        taker: &mut Taker,
    ) -> Result<Json, Death> {
        let sent = match sent {
            Value::Nil | Value::Function(_) if around.mails.is_empty() => return Ok(Json::Object(output)),
            Value::Nil | Value::Function(_) => Value::Table(around.mails.clone()),
            given => given,
        };
        let sent = taker.value(&sent, None).map_err(|unfit| self.garbage(unfit))?;
        output.insert("sendmail".to_owned(), sent);
        around.mails.clear().map_err(|error| self.died(&error))?;
        Ok(Json::Object(output))
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

fn sandbox(lua: &Lua, stop: &Arc<AtomicBool>, bytes_max: usize) -> mlua::Result<()> {
    let stop = Arc::clone(stop);
    let stopped = lua.create_function(move |_, ()| Ok(stop.load(Ordering::Relaxed)))?;
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let started = std::time::Instant::now();
    let clock = lua.create_function(move |_, ()| Ok(started.elapsed().as_secs_f64()))?;
    let date = lua.create_function(|_, ()| Ok(chrono::Local::now().format("%Y-%m-%d %H:%M:%S").to_string()))?;
    let time = lua.create_function(move |_, ()| Ok(now().as_secs()))?;
    lua.load(PATTERNS).set_name("=patterns").call::<()>(PATTERN_STEPS_MAX)?;
    lua.load(SANDBOX).set_name("=sandbox").call((stopped, clock, date, time, bytes_max))
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
