//! Values of rows as Perl codes know them, which is how DBD::Pg gives them: 1 and 0 for booleans, references for arrays,
//! bytes for bytea. Codes in other languages get the server's texts. Pure.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// How the values of a column are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Flag,
    Bytes,
    List,
    Flags,
}

/// The columns of a table whose values are not given as texts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forms(BTreeMap<String, Form>);

/// No column is anything but text.
pub(super) static PLAIN: Forms = Forms(BTreeMap::new());

impl Forms {
    /// Of columns with the names of their types, as `format_type` writes them without modifiers.
    pub fn of<'a>(columns: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let form = |(column, kind): (&'a str, &'a str)| {
            let form = match kind {
                "boolean" => Form::Flag,
                "bytea" => Form::Bytes,
                "boolean[]" => Form::Flags,
                // Its elements are not separated by commas.
                "box[]" => return None,
                _ if kind.ends_with("[]") => Form::List,
                _ => return None,
            };
            Some((column.to_owned(), form))
        };
        Self(columns.into_iter().filter_map(form).collect())
    }

    /// Gives the rows of an input, wherever it has some, their forms.
    pub(super) fn tell(&self, input: &mut Map<String, Value>) {
        if self.0.is_empty() {
            return;
        }
        for key in ["rows", "present"] {
            match input.get_mut(key) {
                Some(Value::Array(rows)) => rows.iter_mut().for_each(|row| self.tell_row(row)),
                Some(Value::Object(rows)) => rows.values_mut().for_each(|row| self.tell_row(row)),
                _ => {}
            }
        }
        if let Some(Value::Object(info)) = input.get_mut("rowinfo") {
            let sides = ["sourcerow", "targetrow"];
            info.iter_mut().filter(|(key, _)| sides.contains(&key.as_str())).for_each(|(_, row)| self.tell_row(row));
        }
    }

    fn tell_row(&self, row: &mut Value) {
        let Value::Object(row) = row else { return };
        for (column, form) in &self.0 {
            if let Some(Value::String(text)) = row.get(column)
                && let Some(value) = form.told(text)
            {
                row.insert(column.clone(), value);
            }
        }
    }

    /// What the server reads for a value of a column that a code handed back, where the column has a form; the inner
    /// `None`: it is no such value. `known`: the texts of which one may have been told.
    pub(super) fn text<'a>(
        &self,
        column: &str,
        value: &Value,
        mut known: impl Iterator<Item = &'a str>,
    ) -> Option<Option<String>> {
        let form = self.0.get(column).filter(|_| !value.is_null())?;
        let was_told = |text: &&str| form.told(text).is_some_and(|told| is_same(&told, value));
        Some(known.find(was_told).map(str::to_owned).or_else(|| form.text(value)))
    }
}

/// Words the error that an input tells of as the driver does: what it says in detail has a line of its own.
pub(super) fn tell_error(input: &mut Map<String, Value>) {
    let Some(text) = input.get("error_string").and_then(Value::as_str) else { return };
    let detail = input.get("detail").and_then(Value::as_str).map(|detail| format!(": {detail}"));
    let place = detail.as_ref().and_then(|detail| Some((text.find(detail)?, detail.len())));
    let words = match place {
        Some((at, length)) => {
            let (end, detail) = (at + length, &text[at + 2..at + length]);
            format!("ERROR:  {}\nDETAIL:  {detail}{}", &text[..at], &text[end..])
        }
        None => format!("ERROR:  {text}"),
    };
    if let Some(Value::Object(info)) = input.get_mut("rowinfo") {
        info.insert("dbi_error".to_owned(), json!(words));
    }
    for key in ["error_string", "dbi_error"] {
        input.insert(key.to_owned(), json!(words));
    }
}

impl Form {
    /// A text of the server in this form; `None`: it stays a text.
    fn told(self, text: &str) -> Option<Value> {
        match self {
            Self::Flag => flag(text),
            Self::Bytes => {
                let digits = text.strip_prefix("\\x")?.as_bytes();
                let bytes = digits.chunks(2).map(|pair| {
                    let pair = str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?;
                    u8::from_str_radix(pair, 16).ok().map(char::from)
                });
                bytes.collect::<Option<String>>().map(Value::String)
            }
            Self::List | Self::Flags => {
                let inner = text.strip_prefix('[').map_or(Some(text), |bounds| Some(bounds.split_once('=')?.1))?;
                let mut rest = inner.strip_prefix('{')?;
                elements(&mut rest, self == Self::Flags)
            }
        }
    }

    /// What the server reads; `None`: it is no value of this form.
    fn text(self, value: &Value) -> Option<String> {
        let text = plain(value);
        match self {
            Self::Flag => text.map(|text| match text.as_str() {
                "1" => "t".to_owned(),
                // What Perl has for false.
                "0" | "" => "f".to_owned(),
                _ => text,
            }),
            Self::Bytes => {
                let text = text?;
                let is_hex =
                    |digits: &str| digits.len().is_multiple_of(2) && digits.bytes().all(|it| it.is_ascii_hexdigit());
                if text.strip_prefix("\\x").is_some_and(is_hex) {
                    return Some(text);
                }
                let bytes = text.chars().map(|letter| u8::try_from(letter).ok().map(|byte| format!("{byte:02x}")));
                bytes.collect::<Option<String>>().map(|digits| format!("\\x{digits}"))
            }
            Self::List | Self::Flags => text.or_else(|| list(value)),
        }
    }
}

fn flag(text: &str) -> Option<Value> {
    match text {
        "t" => Some(json!(1)),
        "f" => Some(json!(0)),
        _ => None,
    }
}

/// The elements of an array after its opening brace, and its end.
fn elements(rest: &mut &str, are_flags: bool) -> Option<Value> {
    let mut list = Vec::new();
    loop {
        let first = rest.chars().next()?;
        match first {
            '}' | ',' => {
                *rest = &rest[1..];
                if first == '}' {
                    return Some(Value::Array(list));
                }
            }
            '{' => {
                *rest = &rest[1..];
                list.push(elements(rest, are_flags)?);
            }
            '"' => {
                let mut text = String::new();
                let mut letters = rest[1..].char_indices();
                let end = loop {
                    match letters.next()? {
                        (at, '"') => break at,
                        (_, '\\') => text.push(letters.next()?.1),
                        (_, letter) => text.push(letter),
                    }
                };
                *rest = &rest[end + 2..];
                list.push(Value::String(text));
            }
            _ => {
                let end = rest.find([',', '}'])?;
                let text = &rest[..end];
                *rest = &rest[end..];
                list.push(match text {
                    "NULL" => Value::Null,
                    _ => flag(text).filter(|_| are_flags).unwrap_or_else(|| json!(text)),
                });
            }
        }
    }
}

/// An array as the server reads it.
fn list(value: &Value) -> Option<String> {
    let Value::Array(values) = value else { return None };
    let element = |value: &Value| match value {
        Value::Null => Some("NULL".to_owned()),
        Value::Array(_) => list(value),
        _ => plain(value).map(|text| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))),
    };
    let elements: Option<Vec<String>> = values.iter().map(element).collect();
    elements.map(|elements| format!("{{{}}}", elements.join(",")))
}

fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(if *flag { "1" } else { "0" }.to_owned()),
        _ => None,
    }
}

/// Whether a code has handed back what it was told: in Perl a number may have become a text.
fn is_same(told: &Value, value: &Value) -> bool {
    match (told, value) {
        (Value::Array(told), Value::Array(values)) => {
            told.len() == values.len() && told.iter().zip(values).all(|(told, value)| is_same(told, value))
        }
        (Value::Null, Value::Null) => true,
        _ => plain(told).is_some_and(|told| plain(value).is_some_and(|value| told == value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forms() -> Forms {
        Forms::of([
            ("on", "boolean"),
            ("raw", "bytea"),
            ("list", "text[]"),
            ("flags", "boolean[]"),
            ("boxes", "box[]"),
            ("note", "text"),
        ])
    }

    #[test]
    fn texts_of_the_server_get_the_forms_of_the_driver() {
        let row = |value: Value| Map::from_iter([("rows".to_owned(), json!({"A": value, "B": null}))]);
        let mut input = row(json!({
            "on": "f", "raw": "\\x00ff41", "list": "[0:1]={\"a,\\\"\\\\\",NULL,\"NULL\",{x,\"\"}}", "flags": "{t,f,NULL}",
            "boxes": "{(1,1),(0,0)}", "note": "t",
        }));
        forms().tell(&mut input);
        let expected = json!({
            "on": 0, "raw": "\0\u{ff}A", "list": ["a,\"\\", null, "NULL", ["x", ""]], "flags": [1, 0, null],
            "boxes": "{(1,1),(0,0)}", "note": "t",
        });
        assert_eq!(input, row(expected));
        for (column, text) in [("on", "maybe"), ("raw", "\\x0"), ("raw", "plain"), ("list", "{a"), ("list", "a")] {
            let mut input = row(json!({column: text}));
            forms().tell(&mut input);
            assert_eq!(input, row(json!({column: text})), "what is something else stays");
        }
    }

    #[test]
    fn errors_have_the_words_of_the_driver() {
        for (text, detail, expected) in [
            (
                "no: Key (a)=(1: 2). (SQLSTATE 23505)",
                Some("Key (a)=(1: 2)."),
                "ERROR:  no\nDETAIL:  Key (a)=(1: 2). (SQLSTATE 23505)",
            ),
            ("no (SQLSTATE 23514)", None, "ERROR:  no (SQLSTATE 23514)"),
        ] {
            let told =
                json!({"error_string": text, "dbi_error": text, "detail": detail, "rowinfo": {"dbi_error": text}});
            let Value::Object(mut input) = told else { panic!() };
            tell_error(&mut input);
            assert_eq!((&input["error_string"], &input["dbi_error"]), (&json!(expected), &json!(expected)));
            assert_eq!(input["rowinfo"]["dbi_error"], expected);
        }
        let mut none = Map::new();
        tell_error(&mut none);
        assert!(none.is_empty());
    }

    #[test]
    fn what_codes_hand_back_is_what_they_were_told_or_what_the_server_reads() {
        let forms = forms();
        let back = |column: &str, value: Value, known: &'static str| {
            forms.text(column, &value, [known].into_iter()).map(Option::unwrap)
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(back("note", json!("1"), "x"), None);
        assert_eq!(back("on", Value::Null, "t"), None);
        for (value, text) in
            [(json!(1), "t"), (json!("1"), "t"), (json!(0), "f"), (json!(""), "f"), (json!("yes"), "yes")]
        {
            assert_eq!(back("on", value, "t"), some(text));
        }
        assert_eq!(back("raw", json!("\0\u{ff}"), "\\x00ff"), some("\\x00ff"));
        assert_eq!(back("raw", json!("\\A"), "\\x00ff"), some("\\x5c41"));
        assert_eq!(back("raw", json!("\\x41"), "\\x00ff"), some("\\x41"), "the server's form");
        assert_eq!(forms.text("raw", &json!("\u{100}"), std::iter::empty()), Some(None));
        assert_eq!(back("list", json!(["1", 2]), "[0:1]={1,2}"), some("[0:1]={1,2}"), "it is what was told");
        let made = json!(["a\"\\", null, ["NULL", 3]]);
        assert_eq!(back("list", made, "{}"), some("{\"a\\\"\\\\\",NULL,{\"NULL\",\"3\"}}"));
        assert_eq!(back("list", json!([]), "{x}"), some("{}"));
        assert_eq!(forms.text("list", &json!({"a": 1}), std::iter::empty()), Some(None));
    }
}
