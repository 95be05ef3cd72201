//! What a code decided, read from what became of its input.

use serde_json::{Map, Value};

use super::input::joined;
use super::{Dispute, Field};
use crate::custom::forms::PLAIN;
use crate::custom::outcome::is_true;
use crate::custom::{Cells, Decision, Language};

/// Whole numbers that a double holds exactly.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// Bit of `rowinfo.action` of versions 3 and 4: the source's row goes to the target.
pub const TO_TARGET: i64 = 1;
/// The target's row goes to the source.
pub const TO_SOURCE: i64 = 2;
/// Each row, as edited, goes back where it is from.
const SOURCE_BACK: i64 = 4;
const TARGET_BACK: i64 = 8;

/// What a code decided. [`Decision::Open`]: nothing.
///
/// # Errors
///
/// What cannot be understood.
pub fn answer(
    language: Language,
    field: &Field<'_>,
    dispute: &Dispute,
    output: &Map<String, Value>,
) -> Result<Decision, String> {
    // Only Perl codes are told other things than texts.
    let field = &Field { forms: if language == Language::Perl { field.forms } else { &PLAIN }, ..*field };
    if let Some(abort) = output.get("abort").filter(|value| is_true(value)) {
        return Ok(Decision::Abort(abort.as_str().unwrap_or("a custom code says so").to_owned()));
    }
    if output.get("delete").is_some_and(is_true) {
        return Ok(Decision::Delete);
    }
    // In Perl it means, since version 5, that the code passes.
    if language != Language::Perl && output.get("skip").is_some_and(is_true) {
        return Ok(Decision::Skip);
    }
    if let Some(Value::Object(row)) = output.get("row").filter(|row| is_made(row)) {
        return made(field, dispute, row, "row");
    }
    if let Some(winner) = output.get("winner").and_then(name) {
        return won(field, dispute, winner, output);
    }
    let key = joined(&dispute.key);
    // The server's jsonb holds no zero byte.
    let of_key =
        |conflicts: &'_ Value| conflicts.get(&key).or_else(|| conflicts.get(key.replace('\0', "\u{1f}"))).cloned();
    let conflicts = output.get("conflicts").and_then(of_key);
    if let Some(winner) = conflicts.as_ref().and_then(name) {
        return Ok(Decision::Winner(winner.to_owned()));
    }
    match output.get("rowinfo") {
        Some(Value::Object(info)) => acted(language, field, dispute, info),
        _ => Ok(Decision::Open),
    }
}

/// A row of which something is set.
fn is_made(row: &Value) -> bool {
    row.as_object().is_some_and(|row| row.values().any(|value| !value.is_null()))
}

/// The winner's row as the code left it.
fn won(field: &Field<'_>, dispute: &Dispute, winner: &str, output: &Map<String, Value>) -> Result<Decision, String> {
    let row = output.get("rows").and_then(|rows| rows.get(winner));
    match (row, dispute.row(winner)) {
        (Some(Value::Object(row)), before) => {
            let row = complete(field, dispute, row, "rows")?;
            if before == Some(&row) { Ok(Decision::Winner(winner.to_owned())) } else { Ok(Decision::Edited(row)) }
        }
        (Some(Value::Null), Some(_)) if output.contains_key("rows") => Ok(Decision::Delete),
        _ => Ok(Decision::Winner(winner.to_owned())),
    }
}

/// In the words of versions 3 and 4. What would leave source and target different is refused.
fn acted(
    language: Language,
    field: &Field<'_>,
    dispute: &Dispute,
    info: &Map<String, Value>,
) -> Result<Decision, String> {
    let action = match info.get("action") {
        None | Some(Value::Null) => return Ok(Decision::Open),
        Some(Value::Number(number)) => number.as_i64().or_else(|| whole(number.as_f64()?)),
        Some(Value::String(text)) if text.is_empty() => Some(0),
        Some(Value::String(text)) => text.trim().parse().ok(),
        Some(_) => None,
    };
    let Some(action) = action.filter(|action| (0..16).contains(action)) else {
        return Err("rowinfo.action is a sum of 1, 2, 4 and 8".to_owned());
    };
    let side = |key: &str, at: usize| -> Result<Decision, String> {
        let Some(side) = dispute.sides.get(at) else { return Err(format!("there is no rowinfo.{key} here")) };
        match info.get(key) {
            Some(Value::Object(row)) => {
                let row = complete(field, dispute, row, key)?;
                let is_same = side.row.as_ref() == Some(&row);
                Ok(if is_same { Decision::Winner(side.db.to_string()) } else { Decision::Edited(row) })
            }
            // What a statement does not return is as it was.
            None if language == Language::Sql => Ok(Decision::Winner(side.db.to_string())),
            None if side.row.is_some() => Err(format!("rowinfo.{key} is gone")),
            _ if side.row.is_none() => Ok(Decision::Winner(side.db.to_string())),
            _ => Ok(Decision::Delete),
        }
    };
    let source = || side("sourcerow", 0);
    let target = || side("targetrow", 1);
    let at_source = match action {
        _ if action & TO_SOURCE != 0 => Some(target()?),
        _ if action & SOURCE_BACK != 0 => Some(source()?),
        _ => None,
    };
    let at_target = match action {
        _ if action & TO_TARGET != 0 => Some(source()?),
        _ if action & TARGET_BACK != 0 => Some(target()?),
        _ => None,
    };
    match (at_source, at_target) {
        (None, None) => Ok(Decision::Skip),
        (Some(one), None) | (None, Some(one)) => Ok(one),
        (Some(one), Some(other)) if one == other => Ok(one),
        _ => Err(format!("rowinfo.action {action} leaves source and target different")),
    }
}

fn made(field: &Field<'_>, dispute: &Dispute, row: &Map<String, Value>, of: &str) -> Result<Decision, String> {
    let row = complete(field, dispute, row, of)?;
    // A row that somebody has is that one's.
    match dispute.sides.iter().find(|side| side.row.as_ref() == Some(&row)) {
        Some(side) => Ok(Decision::Winner(side.db.to_string())),
        None => Ok(Decision::Edited(row)),
    }
}

/// A row with all columns, and the key that it had.
fn complete(field: &Field<'_>, dispute: &Dispute, row: &Map<String, Value>, of: &str) -> Result<Cells, String> {
    if let Some(unknown) = row.keys().find(|column| !field.columns.contains(column)) {
        return Err(format!("{of}: the table has no column \"{unknown}\" that is copied"));
    }
    let known = |place: usize| dispute.sides.iter().filter_map(move |side| side.row.as_ref()?.value(place));
    let mut complete = Cells::default();
    for (place, column) in field.columns.iter().enumerate() {
        let Some(value) = row.get(column) else { return Err(format!("{of}: column \"{column}\" is missing")) };
        let formed = field.forms.text(column, value, known(place)).map(|text| text.map(Some));
        let text = formed
            .unwrap_or_else(|| text(value))
            .ok_or_else(|| format!("{of}: column \"{column}\" is no plain value"))?;
        complete.push(text.as_deref());
    }
    for (column, value) in field.goat.key.iter().zip(&dispute.key) {
        // Equal keys need not be written alike: 1.0 is 1.00.
        let Some(place) = field.columns.iter().position(|other| other == column) else { continue };
        let now = complete.value(place);
        if now != Some(value) && !known(place).any(|known| now == Some(known)) {
            return Err(format!("{of}: the key column \"{column}\" may not be changed"));
        }
    }
    Ok(complete)
}

/// As PostgreSQL reads it; the outer `None`: it is no plain value.
fn text(value: &Value) -> Option<Option<String>> {
    match value {
        Value::Null => Some(None),
        Value::String(text) => Some(Some(text.clone())),
        Value::Bool(flag) => Some(Some(if *flag { "t" } else { "f" }.to_owned())),
        Value::Number(number) => {
            let whole = number.as_f64().filter(|_| number.is_f64()).and_then(whole);
            Some(Some(whole.map_or_else(|| number.to_string(), |whole| whole.to_string())))
        }
        Value::Array(_) | Value::Object(_) => None,
    }
}

/// A double that is a whole number: 7.0 is no integer for PostgreSQL.
#[expect(clippy::cast_possible_truncation, reason = "checked")]
fn whole(number: f64) -> Option<i64> {
    (number.fract() == 0.0 && number.abs() < WHOLE_MAX).then_some(number as i64)
}

fn name(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| !text.trim().is_empty())
}
