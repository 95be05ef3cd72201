//! What a code is told of a conflict. A code is told what it names only: each of a hundred thousand conflicts costs what
//! is told of it. One that names none of the things that tell of a conflict hands all of them to somebody else.

use std::borrow::Cow;

use chrono::SecondsFormat;
use serde_json::{Map, Value, json};

use super::{Dispute, Field, Side};
use crate::catalog::Role;
use crate::custom::{Code, Language};
use crate::pg::Sql;

/// Any of these tells of a conflict.
const TELLING: [&str; 3] = ["rows", "rowinfo", "conflicts"];
const HANDLES: [&str; 3] = ["dbh", "sourcedbh", "targetdbh"];

/// Whether a code names none of the things that tell of a conflict.
fn tells_nothing(source: &str) -> bool {
    !TELLING.iter().any(|word| names(source, word))
}

/// Whether a code gets handles of databases.
pub(in crate::custom) fn wants_handles(source: &str) -> bool {
    tells_nothing(source) || HANDLES.iter().any(|word| names(source, word))
}

/// A code that is asked, and what it names.
pub struct Asking<'a> {
    field: Field<'a>,
    common: Map<String, Value>,
    key: bool,
    rows: bool,
    row: bool,
    changed: bool,
    dbs: bool,
    conflicts: bool,
    rowinfo: bool,
    is_perl: bool,
}

impl<'a> Asking<'a> {
    /// `base`: what every code of the sync is told.
    #[must_use]
    pub fn new(code: &Code, field: Field<'a>, base: &Map<String, Value>) -> Self {
        let is_sql = code.language == Language::Sql;
        let has_word = |word: &str| names(&code.source, word);
        let tells_nothing = tells_nothing(&code.source);
        // For other versions: it says what else is said once more, so that statements are not told it unasked, either.
        let asked = |word: &str| has_word(word) || tells_nothing;
        let named = |word: &str| is_sql || asked(word);
        let mut common: Map<String, Value> =
            base.iter().filter(|(key, _)| named(key)).map(|(key, value)| (key.clone(), value.clone())).collect();
        let mut tell = |key: &str, value: &dyn Fn() -> Value| {
            if named(key) {
                common.insert(key.to_owned(), value());
            }
        };
        tell("whenrun", &|| json!(code.hook.word()));
        tell("schemaname", &|| json!(field.goat.schema));
        tell("tablename", &|| json!(field.goat.name));
        if asked("dbinfo") {
            tell("dbinfo", &|| dbinfo(&field));
        }
        Self {
            field,
            common,
            key: named("key"),
            rows: named("rows"),
            row: named("row"),
            changed: named("changed"),
            dbs: named("dbs"),
            conflicts: asked("conflicts"),
            rowinfo: asked("rowinfo"),
            is_perl: code.language == Language::Perl,
        }
    }

    /// Tells of more.
    pub fn tell(&mut self, more: Map<String, Value>) {
        self.common.extend(more);
    }

    /// What is the same for all conflicts.
    #[must_use]
    pub fn common(&self) -> &Map<String, Value> {
        &self.common
    }

    /// The input for one conflict, without what is the same for all.
    #[must_use]
    pub fn about(&self, dispute: &Dispute) -> Value {
        let mut texts = self.texts(dispute).map(|text| json!(text));
        let mut input = self.outline(dispute, || texts.next().unwrap_or_default());
        let mut put = |key: &str, value: Value| drop(input.insert(key.to_owned(), value));
        if self.conflicts {
            let dbs: Map<String, Value> = dispute.sides.iter().map(|side| (side.db.to_string(), json!(1))).collect();
            put("conflicts", json!({joined(&dispute.key): dbs}));
        }
        if self.rowinfo {
            put("rowinfo", self.rowinfo(dispute));
        }
        if self.is_perl {
            self.field.forms.tell(&mut input);
        }
        Value::Object(input)
    }

    /// Whether the inputs of conflicts between the same databases differ in [`Asking::texts`] only.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        !self.conflicts && !self.rowinfo && !self.is_perl
    }

    /// What is told of a conflict in plain words: `text` gives each of [`Asking::texts`], in their order.
    pub(in crate::custom) fn outline(&self, dispute: &Dispute, mut text: impl FnMut() -> Value) -> Map<String, Value> {
        let mut input = Map::new();
        let mut put = |key: &str, value: Value| drop(input.insert(key.to_owned(), value));
        let (sides, columns) = (&dispute.sides, self.field.columns);
        if self.key {
            put("key", self.field.goat.key.iter().map(|column| (column.clone(), text())).collect());
        }
        if self.rows {
            let mut row = || columns.iter().map(|column| (column.clone(), text())).collect();
            let mut side = |side: &Side| (side.db.to_string(), side.row.as_ref().map_or(Value::Null, |_| row()));
            put("rows", sides.iter().map(&mut side).collect());
        }
        if self.row {
            // What is not set is NULL, in each language.
            put("row", columns.iter().map(|column| (column.clone(), Value::Null)).collect());
        }
        if self.changed {
            put("changed", sides.iter().map(|side| (side.db.to_string(), text())).collect());
        }
        if self.dbs {
            put("dbs", sides.iter().map(|side| json!(side.db.as_str())).collect());
        }
        input
    }

    /// The texts of a conflict that are told in plain words; `None`: NULL.
    pub(in crate::custom) fn texts<'d>(&self, dispute: &'d Dispute) -> impl Iterator<Item = Option<Cow<'d, str>>> {
        let key = dispute.key.iter().filter(|_| self.key).map(|value| Some(Cow::Borrowed(value.as_str())));
        let rows = dispute.sides.iter().filter(|_| self.rows).filter_map(|side| side.row.as_ref());
        let rows = rows.flat_map(|row| row.values().map(|value| value.map(Cow::Borrowed)));
        let changed = dispute.sides.iter().filter(|_| self.changed);
        let time = |side: &Side| Some(Cow::Owned(side.changed.to_rfc3339_opts(SecondsFormat::Micros, true)));
        key.chain(rows).chain(changed.map(time))
    }

    /// The first two sides are source and target.
    fn rowinfo(&self, dispute: &Dispute) -> Value {
        let goat = self.field.goat;
        let row = |at: usize| {
            let row = dispute.sides.get(at).and_then(|side| side.row.as_ref());
            row.map_or(Value::Null, |row| {
                let pairs = self.field.columns.iter().zip(row.values());
                pairs.map(|(column, value)| (column.clone(), json!(value))).collect()
            })
        };
        let quoted: Vec<String> = goat.key.iter().map(|name| Sql::ident(name).to_string()).collect();
        json!({
            "sourcerow": row(0),
            "targetrow": row(1),
            "schema": goat.schema,
            "table": goat.name,
            "pkeyname": one_or_all(&goat.key),
            "qpkeyname": one_or_all(&quoted),
            "pkeytype": one_or_all(self.field.key_types),
            "pkey": joined(&dispute.key),
            // A code sets it; until then nothing is decided.
            "action": Value::Null,
        })
    }
}

/// The key in the words of version 5.
pub(super) fn joined(key: &[String]) -> String {
    key.join("\0")
}

/// What a key's columns have, in the words of versions 3 and 4: one value, or a list.
#[must_use]
pub fn one_or_all(values: &[String]) -> Value {
    match values {
        [one] => json!(one),
        all => json!(all),
    }
}

fn dbinfo(field: &Field<'_>) -> Value {
    let one = |member: &crate::catalog::Member| {
        let (db, of) = (&member.db, |word: &str| member.db.access.get(word).map(str::to_owned));
        let info = json!({
            "name": db.name.as_str(),
            "dbtype": db.kind,
            "status": if db.active { "active" } else { "inactive" },
            "role": match member.role {
                Role::Source => "source",
                Role::Target => "target",
                Role::Fullcopy => "fullcopy",
            },
            "priority": member.priority,
            "dbhost": of("host"),
            "dbport": of("port"),
            "dbname": of("dbname"),
            "dbuser": of("user"),
        });
        (db.name.to_string(), info)
    };
    field.sync.members.iter().map(one).collect()
}

/// Whether a code has this word, as a whole one.
fn names(source: &str, word: &str) -> bool {
    let is_part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    source.match_indices(word).any(|(at, _)| {
        let (before, after) = (source[..at].chars().next_back(), source[at + word.len()..].chars().next());
        !is_part(before) && !is_part(after)
    })
}
