//! What codes decide.

use std::collections::BTreeMap;

use serde_json::Value;

/// A row by columns, every value in the output form of its type; `None` is NULL.
pub type Row = BTreeMap<String, Option<String>>;

/// What the codes at one hook came to, all of them together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The round is abandoned: what was done is rolled back, and it is no failure (`endsync`).
    pub endsync: bool,
    /// Exceptions: the table is tried again (`runagain`, `retry`).
    pub runagain: bool,
    /// Conflicts in the style of version 5: this database wins all conflicts of the table that follow.
    pub tablewinner: Option<String>,
    /// The same of all tables.
    pub syncwinner: Option<String>,
}

/// What the codes decide about one conflict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing: the strategy of table or sync decides.
    Open,
    /// The row of this database, or its deletion, wins.
    Winner(String),
    /// All get this row.
    Edited(Row),
    /// The row goes everywhere.
    Delete,
    /// Every database keeps what it has.
    Skip,
    /// The sync stops, with this message.
    Abort(String),
}

/// What Perl holds for true: not the empty string, zero or nothing.
pub(super) fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(flag) => *flag,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty() && text != "0",
        Value::Array(_) | Value::Object(_) => true,
    }
}
