//! Many conflicts at once. Between the same databases they differ in texts only, so these go to Lua as one string for each
//! conflict; a function made for their shape builds the input out of it, calls the code, and tells what has changed.

use serde_json::{Map, Value as Json};

use crate::custom::conflict::{Asking, Dispute};

/// So many texts of a conflict at most: they are local variables of a function, which has 200.
const TEXTS_MAX: usize = 120;
/// So many bytes of a conflict at most: they are twice in the memory of Lua for a while.
const BYTES_MAX: usize = 64 * 1024;
/// Stands for NULL: no text of a database has such a byte.
const NULL: &[u8] = b"\0";

/// Conflicts, packed.
pub(super) struct Packed {
    /// What is told of each kind of them; a number is the place of a text.
    pub(super) shapes: Vec<Map<String, Json>>,
    /// The kind of each, and where its texts end in all of them.
    inputs: Vec<(usize, usize)>,
    texts: Vec<u8>,
}

impl Packed {
    /// `None`: they cannot be told so.
    pub(super) fn new(asking: &Asking<'_>, disputes: &[&Dispute]) -> Option<Self> {
        if !asking.is_plain() {
            return None;
        }
        let mut packed = Self { shapes: Vec::new(), inputs: Vec::with_capacity(disputes.len()), texts: Vec::new() };
        // An example of each shape.
        let mut known: Vec<&Dispute> = Vec::new();
        for dispute in disputes {
            let shape = known.iter().position(|known| is_alike(known, dispute));
            if shape.is_none() {
                let mut texts = 0;
                let place = || {
                    texts += 1;
                    Json::from(texts)
                };
                packed.shapes.push(asking.outline(dispute, place));
                known.push(dispute);
                if texts > TEXTS_MAX {
                    return None;
                }
            }
            let from = packed.texts.len();
            // Whether any is NULL.
            packed.texts.push(0);
            for text in asking.texts(dispute) {
                packed.texts[from] |= u8::from(text.is_none());
                let text = text.as_ref().map_or(NULL, |text| text.as_bytes());
                packed.texts.extend_from_slice(&u32::try_from(text.len()).ok()?.to_le_bytes());
                packed.texts.extend_from_slice(text);
            }
            if packed.texts.len() - from > BYTES_MAX {
                return None;
            }
            packed.inputs.push((shape.unwrap_or(packed.shapes.len() - 1), packed.texts.len()));
        }
        Some(packed)
    }

    /// The shape of each conflict, and its texts.
    pub(super) fn inputs(&self) -> impl Iterator<Item = (usize, &[u8])> {
        let mut from = 0;
        self.inputs.iter().map(move |(shape, end)| {
            let texts = &self.texts[from..*end];
            from = *end;
            (*shape, texts)
        })
    }
}

/// Whether the same is told of two conflicts, but for texts.
fn is_alike(one: &Dispute, other: &Dispute) -> bool {
    let of = |dispute: &'_ Dispute, place: usize| {
        let side = &dispute.sides[place];
        (side.db.clone(), side.row.is_some())
    };
    one.sides.len() == other.sides.len() && (0..one.sides.len()).all(|place| of(one, place) == of(other, place))
}

/// The source of a chunk that returns a function, which runs a code about one conflict of this shape after another. It
/// gets the texts of each, and returns what the code has changed of the input, if anything, and what became of `sendmail`.
///
/// The chunk gets the code, `string.unpack`, `next`, `rawset`, the code's variables, what every input has besides, and the
/// keys that are not looked at afterwards.
pub(super) fn chunk(shape: &Map<String, Json>) -> String {
    let (mut tables, mut compare) = (String::new(), String::new());
    let mut fields = Vec::with_capacity(shape.len());
    for (key, value) in shape {
        let told = quoted(key);
        let changed = match (key.as_str(), value) {
            ("rows", Json::Object(sides)) => Some(rows(sides, &mut tables)),
            ("row", _) => {
                tables.push_str("local row = {}\n");
                Some("input.row ~= row or next(row) ~= nil".to_owned())
            }
            _ => None,
        };
        // What a code changes elsewhere means nothing.
        if let Some(changed) = &changed {
            compare
                .push_str(&format!("if {changed} then changed = changed or {{}}; changed.{key} = input.{key} end\n"));
        }
        let value = if changed.is_some() { key.clone() } else { expression(value) };
        fields.push(format!("[{told}] = {value}"));
    }
    let texts = texts(&Json::Object(shape.clone()));
    let names = list((0..=texts).map(|text| format!("v{text}")));
    let (format, fields) = ("s4".repeat(texts), fields.join(", "));
    let nulls: String = (1..=texts).map(|text| format!("if v{text} == NULL then v{text} = nil end\n")).collect();
    format!(
        "local code, unpack, next, rawset, globals, base, left = ...
local NULL = '\\0'
local function count(t)
    local n = 0
    for _ in next, t do n = n + 1 end
    return n
end
return function(texts)
local {names} = unpack('<B{format}', texts)
if v0 ~= 0 then
{nulls}end
{tables}local input = {{{fields}}}
for key, value in next, base do input[key] = value end
rawset(globals, 'input', input)
code(input)
local changed
{compare}for key, value in next, input do
    if value ~= base[key] and not left[key] then
        changed = changed or {{}}
        changed[key] = value
    end
end
local sent = input.sendmail
if sent == base.sendmail then sent = nil end
return changed, sent
end"
    )
}

/// Makes the tables of all rows; returns what is true once one of them has changed.
fn rows(sides: &Map<String, Json>, tables: &mut String) -> String {
    let mut changed = vec![
        "input.rows ~= rows".to_owned(),
        format!("count(rows) ~= {}", sides.values().filter(|row| row.is_object()).count()),
    ];
    let mut all = Vec::new();
    let sides = sides.iter().filter_map(|(db, row)| Some((quoted(db), row.as_object()?)));
    for (at, (db, row)) in sides.enumerate() {
        tables.push_str(&format!("local row{at} = {}\n", object(row)));
        all.push(format!("[{db}] = row{at}"));
        changed.push(format!("rows[{db}] ~= row{at}"));
        changed.extend(row.iter().map(|(column, text)| format!("row{at}[{}] ~= {}", quoted(column), expression(text))));
        let set: Vec<String> = row.values().map(|text| format!("({} and 1 or 0)", expression(text))).collect();
        let (all, set) = (row.len(), set.join(" + "));
        changed.push(format!("count(row{at}) ~= (v0 == 0 and {all} or {set})"));
    }
    tables.push_str(&format!("local rows = {{{}}}\n", all.join(", ")));
    changed.join(" or ")
}

fn expression(value: &Json) -> String {
    match value {
        Json::Null => "nil".to_owned(),
        Json::Bool(flag) => flag.to_string(),
        Json::Number(text) => format!("v{text}"),
        Json::String(text) => quoted(text),
        Json::Array(values) => format!("{{{}}}", list(values.iter().map(expression))),
        Json::Object(fields) => object(fields),
    }
}

fn object(fields: &Map<String, Json>) -> String {
    format!("{{{}}}", list(fields.iter().map(|(key, value)| format!("[{}] = {}", quoted(key), expression(value)))))
}

fn list(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(", ")
}

/// How many texts there are.
fn texts(value: &Json) -> usize {
    match value {
        Json::Number(_) => 1,
        Json::Array(values) => values.iter().map(texts).sum(),
        Json::Object(fields) => fields.values().map(texts).sum(),
        _ => 0,
    }
}

/// A text as Lua reads it, whatever it is.
fn quoted(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b' ' | b'_' | b'.' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => char::from(byte).to_string(),
        _ => format!("\\{byte:03}"),
    };
    format!("\"{}\"", text.bytes().map(byte).collect::<String>())
}

/// What may be missing in a changed `rows` or `row` was NULL.
pub(super) fn nulls(value: &Json) -> Json {
    match value {
        Json::Object(fields) => fields.iter().map(|(key, value)| (key.clone(), nulls(value))).collect(),
        _ => Json::Null,
    }
}

#[cfg(test)]
mod tests {
    use mlua::Lua;

    use super::*;

    #[test]
    fn texts_are_quoted_for_lua_whatever_they_are() {
        let hostile = "\"]] .. os.exit() --\n\\0\u{7f}ü%q";
        let lua = Lua::new();
        let read: mlua::LuaString = lua.load(format!("return {}", quoted(hostile))).eval().unwrap();
        assert_eq!(read.as_bytes(), hostile.as_bytes());
    }
}
