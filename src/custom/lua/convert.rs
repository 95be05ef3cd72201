//! Values between JSON and Lua. NULL is nil: a key that was there and is gone comes back as null.

use mlua::{BorrowedStr, Lua, Table, Value};
use serde_json::{Map, Number, Value as Json};

/// Tables inside tables go so deep at most.
const DEPTH_MAX: u32 = 64;

/// What Lua is given for a value.
pub(super) fn to_lua(lua: &Lua, value: &Json) -> mlua::Result<Value> {
    Ok(match value {
        Json::Null => Value::Nil,
        Json::Bool(flag) => Value::Boolean(*flag),
        Json::Number(number) => match number.as_i64() {
            Some(whole) => Value::Integer(whole),
            None => Value::Number(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::String(lua.create_string(text)?),
        Json::Array(values) => {
            let table = lua.create_table_with_capacity(values.len(), 0)?;
            for (at, value) in values.iter().enumerate() {
                table.raw_set(at + 1, to_lua(lua, value)?)?;
            }
            Value::Table(table)
        }
        Json::Object(object) => Value::Table(table(lua, object)?),
    })
}

pub(super) fn table(lua: &Lua, object: &Map<String, Json>) -> mlua::Result<Table> {
    let table = lua.create_table_with_capacity(0, object.len())?;
    for (key, value) in object.iter().filter(|(_, value)| !value.is_null()) {
        table.raw_set(key.as_str(), to_lua(lua, value)?)?;
    }
    Ok(table)
}

/// Why a value of a code cannot be taken: what, and under which key.
#[derive(Debug)]
pub(super) struct Unfit {
    what: String,
    /// Keys of the input, the innermost first.
    path: Vec<String>,
}

impl Unfit {
    fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), path: Vec::new() }
    }

    fn within(mut self, key: impl ToString) -> Self {
        self.path.push(key.to_string());
        self
    }

    pub(super) fn why(mut self) -> String {
        if self.path.is_empty() {
            return self.what;
        }
        self.path.reverse();
        format!("input.{}: {}", self.path.join("."), self.what)
    }
}

/// A key of a table, in words.
enum Key {
    Text(BorrowedStr),
    Number(String),
}

impl Key {
    fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Number(number) => number,
        }
    }
}

/// Takes values back, up to a number of bytes in all. What was given comes back as it was where nothing has changed.
pub(super) struct Taker {
    left: usize,
    depth: u32,
}

impl Taker {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { left: bytes_max, depth: 0 }
    }

    fn spend(&mut self, bytes: usize) -> Result<(), Unfit> {
        self.left = self.left.checked_sub(bytes + 16).ok_or_else(|| Unfit::new("it is too much to take back"))?;
        Ok(())
    }

    pub(super) fn value(&mut self, value: &Value, given: Option<Json>) -> Result<Json, Unfit> {
        self.spend(0)?;
        match value {
            Value::Nil => Ok(Json::Null),
            Value::Boolean(flag) => Ok(Json::Bool(*flag)),
            Value::Integer(whole) => Ok(Json::from(*whole)),
            Value::Number(number) => match Number::from_f64(*number) {
                Some(number) => Ok(Json::Number(number)),
                None => Err(Unfit::new("it is no finite number")),
            },
            Value::String(text) => match given {
                Some(Json::String(given)) if *text.as_bytes() == *given.as_bytes() => {
                    self.spend(given.len())?;
                    Ok(Json::String(given))
                }
                _ => Ok(Json::String(self.text(text)?)),
            },
            Value::Table(table) => {
                if self.depth > DEPTH_MAX {
                    return Err(Unfit::new("tables inside tables without end"));
                }
                self.depth += 1;
                let taken = match given {
                    Some(Json::Array(given)) => self.array(table, given),
                    Some(Json::Object(given)) => self.object(table, given, |_| false).map(Json::Object),
                    _ if table.raw_len() > 0 => self.array(table, Vec::new()),
                    _ => self.object(table, Map::new(), |_| false).map(Json::Object),
                };
                self.depth -= 1;
                taken
            }
            other => Err(Unfit::new(format!("a {} cannot be taken back", other.type_name()))),
        }
    }

    fn text(&mut self, text: &mlua::LuaString) -> Result<String, Unfit> {
        let bytes = text.as_bytes();
        self.spend(bytes.len())?;
        match std::str::from_utf8(&bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(Unfit::new("it is no text in UTF-8")),
        }
    }

    fn array(&mut self, table: &Table, given: Vec<Json>) -> Result<Json, Unfit> {
        let mut values = Vec::new();
        let mut given = given.into_iter();
        for at in 1..=table.raw_len() {
            let value = table.raw_get::<Value>(at).map_err(|error| Unfit::new(error.to_string()));
            let taken = value.and_then(|value| self.value(&value, given.next()));
            values.push(taken.map_err(|unfit| unfit.within(at))?);
        }
        Ok(Json::Array(values))
    }

    /// An object that a code has changed; `given`: as it was before. Keys that are `left` out are not looked at.
    pub(super) fn object(
        &mut self,
        table: &Table,
        given: Map<String, Json>,
        left: impl Fn(&str) -> bool,
    ) -> Result<Map<String, Json>, Unfit> {
        let before = given.iter().filter(|(key, value)| !value.is_null() && !left(key)).count();
        let (mut object, mut kept, mut unfit) = (given, 0, None);
        let walked = table.for_each(|key: Value, value: Value| {
            let taken = self.key(&key).and_then(|key| {
                let key = key.text();
                if left(key) {
                    return Ok(());
                }
                match object.get_mut(key) {
                    Some(slot) => {
                        kept += usize::from(!slot.is_null());
                        let before = std::mem::take(slot);
                        *slot = self.value(&value, Some(before)).map_err(|unfit| unfit.within(key))?;
                    }
                    None => {
                        let value = self.value(&value, None).map_err(|unfit| unfit.within(key))?;
                        object.insert(key.to_owned(), value);
                    }
                }
                Ok(())
            });
            taken.map_err(|why| {
                unfit = Some(why);
                mlua::Error::runtime("stop")
            })
        });
        if let Some(unfit) = unfit {
            return Err(unfit);
        }
        walked.map_err(|error| Unfit::new(error.to_string()))?;
        if kept < before {
            // Some are gone.
            for (key, slot) in object.iter_mut().filter(|(key, slot)| !slot.is_null() && !left(key)) {
                let now = table.raw_get::<Value>(key.as_str()).map_err(|error| Unfit::new(error.to_string()))?;
                if now.is_nil() {
                    *slot = Json::Null;
                }
            }
        }
        object.retain(|key, _| !left(key));
        Ok(object)
    }

    fn key(&mut self, key: &Value) -> Result<Key, Unfit> {
        match key {
            Value::String(text) => match text.to_str() {
                Ok(text) => {
                    self.spend(text.len())?;
                    Ok(Key::Text(text))
                }
                Err(_) => Err(Unfit::new("it is no text in UTF-8")),
            },
            Value::Integer(whole) => Ok(Key::Number(whole.to_string())),
            other => Err(Unfit::new(format!("a {} cannot be a key", other.type_name()))),
        }
    }
}
