//! What codes decide.

use std::collections::BTreeMap;

use serde_json::Value;

/// A row by columns, every value in the output form of its type; `None` is NULL.
pub type Row = BTreeMap<String, Option<String>>;

/// The values of a row in the order of its columns, each in the output form of its type; `None` is NULL. Two pieces of
/// memory, however many columns there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cells {
    text: String,
    /// Where each value ends; `None`: it is NULL.
    ends: Vec<Option<usize>>,
}

impl Cells {
    /// One without a value so far; room for so many of them, and so many bytes.
    #[must_use]
    pub fn with_capacity(columns: usize, bytes: usize) -> Self {
        Self { text: String::with_capacity(bytes), ends: Vec::with_capacity(columns) }
    }

    /// Adds the value of the next column.
    pub fn push(&mut self, value: Option<&str>) {
        self.text.push_str(value.unwrap_or_default());
        self.ends.push(value.map(|_| self.text.len()));
    }

    /// The values.
    pub fn values(&self) -> impl Iterator<Item = Option<&str>> {
        let mut from = 0;
        self.ends.iter().map(move |end| {
            let text = &self.text[from..(*end)?];
            from += text.len();
            Some(text)
        })
    }

    /// The value of the column in this place; `None`: NULL, or there is none.
    #[must_use]
    pub fn value(&self, place: usize) -> Option<&str> {
        self.values().nth(place).flatten()
    }
}

impl<'a> FromIterator<Option<&'a str>> for Cells {
    fn from_iter<I: IntoIterator<Item = Option<&'a str>>>(values: I) -> Self {
        let mut row = Self::default();
        values.into_iter().for_each(|value| row.push(value));
        row
    }
}

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
    Edited(Cells),
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
