//! Codes that decide conflicts (hook `conflict`): what they are told of each, and what they answer. Pure.
//!
//! Every code is told of a conflict in the words of versions 5 and 4 and in plain ones at once, and answers in
//! whichever it knows.

mod answer;
mod input;

pub use answer::{TO_SOURCE, TO_TARGET, answer};
pub(super) use input::wants_handles;
pub use input::{Asking, one_or_all};

use std::sync::Arc;

use bucardo_actors::model::DbName;
use chrono::{DateTime, Utc};

use super::{Cells, Decision, Forms};
use crate::catalog::{Goat, SyncDetail};

/// The table that conflicts are of.
#[derive(Clone, Copy, Debug)]
pub struct Field<'a> {
    /// The sync.
    pub sync: &'a SyncDetail,
    /// The table.
    pub goat: &'a Goat,
    /// All columns that are copied, those of the key included.
    pub columns: &'a [String],
    /// Types of the key's columns, in their order.
    pub key_types: &'a [String],
    /// Columns whose values Perl codes do not get as texts.
    pub forms: &'a Forms,
}

/// One key that several sources changed, unknown to each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dispute {
    /// Values of the key's columns, in their order.
    pub key: Vec<String>,
    /// The sources that changed it, in the order of the sync.
    pub sides: Vec<Side>,
}

/// What one source did to a disputed key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    /// The source.
    pub db: DbName,
    /// When.
    pub changed: DateTime<Utc>,
    /// The row as it has it, with a value for each of [`Field::columns`]; `None`: it deleted it.
    pub row: Option<Cells>,
}

impl Dispute {
    /// The row of a source; `None` where it has none, or is no side.
    fn row(&self, db: &str) -> Option<&Cells> {
        self.sides.iter().find(|side| side.db.as_str() == db)?.row.as_ref()
    }
}

/// What the codes came to about one conflict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What becomes of the key.
    pub decision: Decision,
    /// The code that decided; `None`: none did, or one that had named a winner for all.
    pub code: Option<Arc<str>>,
}

/// Winners that codes of version 5 name for all conflicts to come that they leave open: of a table or of the sync.
#[derive(Clone, Debug, Default)]
pub struct Winners {
    sync: Option<String>,
    sync_always: Option<String>,
    tables: std::collections::BTreeMap<i32, String>,
    tables_always: std::collections::BTreeMap<i32, String>,
}

impl Winners {
    /// A merge begins, or starts over: only what was said for always counts.
    pub fn begin(&mut self) {
        self.sync = None;
        self.tables.clear();
    }

    /// Takes over what a code said.
    pub fn hear(&mut self, goat: i32, output: &serde_json::Map<String, serde_json::Value>) {
        let said =
            |key: &str| output.get(key).and_then(serde_json::Value::as_str).filter(|text| !text.trim().is_empty());
        let told = |key: &str| said(key).map(str::to_owned);
        self.sync = told("syncwinner").or(self.sync.take());
        self.sync_always = told("syncwinner_always").or(self.sync_always.take());
        self.tables.extend(told("tablewinner").map(|names| (goat, names)));
        self.tables_always.extend(told("tablewinner_always").map(|names| (goat, names)));
    }

    /// The names of who wins what is left open in a table, the strongest first.
    #[must_use]
    pub fn of(&self, goat: i32) -> Option<&str> {
        let table = self.tables.get(&goat).or_else(|| self.tables_always.get(&goat));
        table.or(self.sync.as_ref()).or(self.sync_always.as_ref()).map(String::as_str)
    }

    /// Whether nothing needs to be asked any more in a table.
    #[must_use]
    pub fn is_settled(&self, goat: i32) -> bool {
        self.tables_always.contains_key(&goat) || self.sync_always.is_some()
    }
}
