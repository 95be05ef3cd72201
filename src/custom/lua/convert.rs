//! Values between JSON and Lua. NULL is nil: a key that was there and is gone comes back as null.

use mlua::{Lua, Table, Value};
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
pub(super) struct Unfit(pub(super) String);

/// Takes values back, up to a number of bytes in all.
pub(super) struct Taker {
    left: usize,
    path: Vec<String>,
}

impl Taker {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { left: bytes_max, path: Vec::new() }
    }

    /// The input that a code has changed; `given`: as it was before. Keys in `but` are not looked at.
    pub(super) fn input(
        &mut self,
        changed: &Table,
        given: &Map<String, Json>,
        but: &[&str],
    ) -> Result<Map<String, Json>, Unfit> {
        self.object(changed, Some(given), but)
    }

    fn spend(&mut self, bytes: usize) -> Result<(), Unfit> {
        self.left = self.left.checked_sub(bytes + 16).ok_or_else(|| self.unfit("it is too much to take back"))?;
        Ok(())
    }

    fn unfit(&self, what: &str) -> Unfit {
        let path = self.path.join(".");
        Unfit(if path.is_empty() { what.to_owned() } else { format!("input.{path}: {what}") })
    }

    pub(super) fn value(&mut self, value: &Value, given: Option<&Json>) -> Result<Json, Unfit> {
        self.spend(0)?;
        match value {
            Value::Nil => Ok(Json::Null),
            Value::Boolean(flag) => Ok(Json::Bool(*flag)),
            Value::Integer(whole) => Ok(Json::from(*whole)),
            Value::Number(number) => match Number::from_f64(*number) {
                Some(number) => Ok(Json::Number(number)),
                None => Err(self.unfit("it is no finite number")),
            },
            Value::String(text) => Ok(Json::String(self.text(text)?)),
            Value::Table(table) => {
                if self.path.len() > DEPTH_MAX as usize {
                    return Err(self.unfit("tables inside tables without end"));
                }
                match given {
                    Some(Json::Array(given)) => self.array(table, given),
                    Some(Json::Object(given)) => self.object(table, Some(given), &[]).map(Json::Object),
                    _ if table.raw_len() > 0 => self.array(table, &[]),
                    _ => self.object(table, None, &[]).map(Json::Object),
                }
            }
            other => Err(self.unfit(&format!("a {} cannot be taken back", other.type_name()))),
        }
    }

    fn text(&mut self, text: &mlua::LuaString) -> Result<String, Unfit> {
        let bytes = text.as_bytes();
        self.spend(bytes.len())?;
        match std::str::from_utf8(&bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(self.unfit("it is no text in UTF-8")),
        }
    }

    fn array(&mut self, table: &Table, given: &[Json]) -> Result<Json, Unfit> {
        let mut values = Vec::new();
        for at in 1..=table.raw_len() {
            self.path.push(at.to_string());
            let value = table.raw_get::<Value>(at).map_err(|error| self.unfit(&error.to_string()))?;
            values.push(self.value(&value, given.get(at - 1))?);
            self.path.pop();
        }
        Ok(Json::Array(values))
    }

    fn object(
        &mut self,
        table: &Table,
        given: Option<&Map<String, Json>>,
        but: &[&str],
    ) -> Result<Map<String, Json>, Unfit> {
        let mut object = Map::new();
        let mut unfit = None;
        let walked = table.for_each(|key: Value, value: Value| {
            let taken = self.key(&key).and_then(|key| {
                if but.contains(&key.as_str()) {
                    return Ok(());
                }
                self.path.push(key);
                let last = self.path.last().map_or("", String::as_str);
                let before = given.and_then(|given| given.get(last)).cloned();
                let value = self.value(&value, before.as_ref())?;
                if let Some(key) = self.path.pop() {
                    object.insert(key, value);
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
        walked.map_err(|error| self.unfit(&error.to_string()))?;
        for (key, _) in given.into_iter().flatten().filter(|(key, _)| !but.contains(&key.as_str())) {
            if !object.contains_key(key) {
                object.insert(key.clone(), Json::Null);
            }
        }
        Ok(object)
    }

    fn key(&mut self, key: &Value) -> Result<String, Unfit> {
        match key {
            Value::String(text) => self.text(text),
            Value::Integer(whole) => Ok(whole.to_string()),
            other => Err(self.unfit(&format!("a {} cannot be a key", other.type_name()))),
        }
    }
}
