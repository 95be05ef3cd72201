//! Statements as codes. The inputs are one jsonb value, `$1`; a result of type `json` or `jsonb` is an object whose
//! keys are put into the input.
//!
//! A statement runs on the database that a comment before it names (`-- db: NAME`), else, about refused rows, on the one that
//! refused them, else on the target of the round, else on the first source.

use serde_json::{Map, Value};

use super::host::Runner;
use super::statement::{Piece, pieces, quoted, sort};
use super::{Code, CodeError, Databases, Found, Hook, OUTPUT_BYTES_MAX, Refused, Statement, TOO_MUCH};

/// Runs codes that are statements.
#[derive(Default)]
pub(super) struct SqlHost {
    /// The input that is being run.
    at: Option<usize>,
}

impl Runner for SqlHost {
    async fn check(&mut self, code: &Code) -> Result<(), CodeError> {
        prepared(code).map(drop)
    }

    fn reached(&self) -> Option<usize> {
        self.at
    }

    async fn run(
        &mut self,
        code: &Code,
        common: &Map<String, Value>,
        inputs: Vec<Value>,
        dbs: &mut dyn Databases,
    ) -> Result<Vec<Value>, CodeError> {
        self.at = None;
        let called = tokio::time::timeout(code.limits.timeout, all(code, common, inputs, dbs, &mut self.at)).await;
        called.unwrap_or_else(|_| Err(code.limits.late(&code.name, None)))
    }
}

/// Inputs in the same database are given to the server together.
async fn all(
    code: &Code,
    common: &Map<String, Value>,
    mut inputs: Vec<Value>,
    dbs: &mut dyn Databases,
    reached: &mut Option<usize>,
) -> Result<Vec<Value>, CodeError> {
    let statement = prepared(code)?;
    let names = dbs.names();
    let common_json = json(common);
    let mut from = 0;
    while from < inputs.len() {
        let at = |input: &Value| place(code, statement.db.as_deref(), (input, common), &names);
        let db = at(&inputs[from])?;
        let values = |input: &Value| -> Vec<Option<String>> {
            let own = input.as_object().map_or_else(|| "{}".to_owned(), json);
            statement.takes_input.then(|| Some(joined(&own, &common_json))).into_iter().collect()
        };
        let same = inputs[from..].iter().take_while(|input| at(input).as_ref() == Ok(&db)).count();
        let together = if same > 1 {
            let calls = inputs[from..from + same].iter().map(values).collect();
            dbs.run_each(&db, &statement.sql, calls).await.ok()
        } else {
            None
        };
        let found = match together {
            Some(found) => found,
            // One by one it is seen which of them fails.
            None => {
                let (mut found, mut room) = (Vec::with_capacity(same), OUTPUT_BYTES_MAX);
                for (place, input) in inputs[from..from + same].iter().enumerate() {
                    *reached = Some(from + place);
                    let asked = Statement { sql: statement.sql.clone(), values: values(input) };
                    let one = dbs.run(&db, asked).await.map_err(|refused| died(code, &db, refused))?;
                    let bytes: usize = one.rows.iter().flatten().flatten().map(String::len).sum();
                    let too_much = || CodeError::Stopped { code: code.name.clone(), why: TOO_MUCH.to_owned() };
                    room = room.checked_sub(bytes).ok_or_else(too_much)?;
                    found.push(one);
                }
                found
            }
        };
        for (place, (input, found)) in (from..).zip(inputs[from..].iter_mut().zip(&found)) {
            *reached = Some(place);
            let result = result(code, found)?;
            if let Some(input) = input.as_object_mut() {
                input.extend(result);
            }
        }
        from += same;
    }
    Ok(inputs)
}

fn died(code: &Code, db: &str, refused: Refused) -> CodeError {
    let state = refused.sqlstate.map_or_else(String::new, |state| format!(" (SQLSTATE {state})"));
    CodeError::Died { code: code.name.clone(), why: format!("database \"{db}\": {}{state}", refused.message) }
}

/// One object out of the members of two.
fn joined(own: &str, common: &str) -> String {
    match (own, common) {
        ("{}", other) | (other, "{}") => other.to_owned(),
        _ => format!("{},{}", &own[..own.len() - 1], &common[1..]),
    }
}

/// The input as the server takes it: its jsonb holds no zero byte, so what joins the columns of a key is another one.
fn json(input: &Map<String, Value>) -> String {
    fn without(value: &Value) -> Value {
        let text = |text: &str| text.replace('\0', "\u{1f}");
        match value {
            Value::String(value) => Value::String(text(value)),
            Value::Array(values) => values.iter().map(without).collect(),
            Value::Object(object) => object.iter().map(|(key, value)| (text(key), without(value))).collect(),
            other => other.clone(),
        }
    }
    let plain = serde_json::to_string(input).unwrap_or_default();
    if plain.contains("\\u0000") { without(&Value::Object(input.clone())).to_string() } else { plain }
}

/// A code as it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// The statement; its input is `$1`, of type jsonb.
    pub sql: String,
    /// Whether it has an input.
    pub takes_input: bool,
    /// The database that it names.
    pub db: Option<String>,
}

/// Reads a code that is a statement.
///
/// # Errors
///
/// [`CodeError::Compile`], as far as that can be seen without a server.
pub fn prepared(code: &Code) -> Result<Prepared, CodeError> {
    let failed = |why: String| CodeError::Compile { code: code.name.clone(), why };
    sort(&code.source, code.hook.is_strict()).map_err(|refused| failed(refused.message))?;
    let mut sql = code.source.trim_end().to_owned();
    let mut takes_input = false;
    for (piece, place) in pieces(&code.source).into_iter().rev() {
        match piece {
            Piece::Number(1) => {
                sql.replace_range(place, "($1::pg_catalog.jsonb)");
                takes_input = true;
            }
            Piece::Number(number) => return Err(failed(format!("${number}: the inputs are one value, $1"))),
            _ => {}
        }
    }
    let db = named(&code.source).map_err(|line| failed(format!("\"{line}\" names no database: -- db: NAME")))?;
    Ok(Prepared { sql, takes_input, db: db.map(str::to_owned) })
}

/// The database that a comment before the statement names (`-- db: NAME`, in whatever letters and with whatever blanks).
///
/// # Errors
///
/// The comment, where it names none.
fn named(source: &str) -> Result<Option<&str>, &str> {
    let comments = source.lines().map(str::trim).take_while(|line| line.is_empty() || line.starts_with("--"));
    for line in comments {
        let text = line.trim_start_matches('-').trim_start();
        let (word, rest) = text.split_at(text.find(|letter: char| !letter.is_alphanumeric()).unwrap_or(text.len()));
        let name = rest.trim_start().strip_prefix([':', '=']);
        if let Some(name) =
            name.map(str::trim).filter(|_| ["db", "database"].iter().any(|it| word.eq_ignore_ascii_case(it)))
        {
            return if name.is_empty() { Err(line) } else { Ok(Some(name)) };
        }
    }
    Ok(None)
}

fn place(
    code: &Code,
    named: Option<&str>,
    (input, common): (&Value, &Map<String, Value>),
    names: &[String],
) -> Result<String, CodeError> {
    let side = if code.hook == Hook::Exception { "database" } else { "targetname" };
    let target = input.get(side).or_else(|| common.get(side));
    let target = target.and_then(Value::as_str).filter(|name| names.iter().any(|it| it == name));
    let died = |why: String| Err(CodeError::Died { code: code.name.clone(), why });
    match named.or(target).or(names.first().map(String::as_str)) {
        Some(name) if names.iter().any(|it| it == name) => Ok(name.to_owned()),
        Some(name) => died(format!("there is no database \"{name}\" here, only: {}", names.join(", "))),
        None => died("there is no database here".to_owned()),
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
    let returned = found.rows.first().and_then(|row| row.first()).and_then(Option::as_deref);
    match returned.map(|json| serde_json::from_str(&exact(json))) {
        None | Some(Ok(Value::Null)) => Ok(Map::new()),
        Some(Ok(Value::Object(object))) => Ok(object),
        Some(Ok(_)) => Err(garbage(format!("column \"{}\" is no object", column.name))),
        Some(Err(error)) => Err(garbage(error.to_string())),
    }
}

/// JSON of the server whose numbers are kept to the last digit: what is no short whole number becomes a text.
fn exact(json: &str) -> String {
    let (mut kept, mut rest) = (String::with_capacity(json.len()), json);
    while let Some(at) = rest.find(|letter: char| letter == '"' || letter == '-' || letter.is_ascii_digit()) {
        kept.push_str(&rest[..at]);
        rest = &rest[at..];
        let is_text = rest.starts_with('"');
        let end = if is_text {
            quoted(rest, '"', true)
        } else {
            rest.find(|letter: char| !matches!(letter, '0'..='9' | '-' | '+' | '.' | 'e' | 'E')).unwrap_or(rest.len())
        };
        let piece = &rest[..end];
        if is_text || piece.parse::<i64>().is_ok_and(|whole| whole.to_string() == piece) {
            kept.push_str(piece);
        } else {
            kept.extend(["\"", piece, "\""]);
        }
        rest = &rest[end..];
    }
    kept + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_database_is_named_in_a_comment_before_the_statement() {
        for (source, expected) in [
            ("-- db: A\nSELECT 1", Ok(Some("A"))),
            ("--db:A b \nSELECT 1", Ok(Some("A b"))),
            (" -- DB :A\nSELECT 1", Ok(Some("A"))),
            ("\n-- What it does.\n--\n-- Database = ü-1\nSELECT 1", Ok(Some("ü-1"))),
            ("-- db-A: what it does\nSELECT 1", Ok(None)),
            ("-- the db: A\nSELECT 1\n-- db: B", Ok(None)),
            ("SELECT 1 -- db: B", Ok(None)),
            ("-- db:\nSELECT 1", Err("-- db:")),
        ] {
            assert_eq!(named(source), expected, "{source}");
        }
    }

    #[test]
    fn numbers_of_the_server_keep_their_digits() {
        let json = r#"{"a": 12345678901234.1234567, "b": [2.00, -0, 1e-7, -12], "c\"1.5": "2.50 \" 3.5\\", "d": 7, "e": 99999999999999999999}"#;
        let kept: Value = serde_json::from_str(&exact(json)).unwrap();
        let expected = serde_json::json!({
            "a": "12345678901234.1234567", "b": ["2.00", "-0", "1e-7", -12], "c\"1.5": "2.50 \" 3.5\\", "d": 7,
            "e": "99999999999999999999",
        });
        assert_eq!(kept, expected);
    }
}
