//! What a document and a catalog have differently.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::text::shown;
use super::{Columns, Document, Id, Kind};
use crate::cli::{CliError, Context};

/// One thing that is to be done.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Change {
    pub(super) id: Id,
    pub(super) what: What,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum What {
    Add(Columns),
    /// Columns with their values before and after; `None`: what the column has anyway.
    Change(BTreeMap<String, (Option<Value>, Option<Value>)>),
    Remove,
}

/// What has to be done to `current`, so that it becomes like `wanted`.
pub(super) fn compare(current: &Document, wanted: &Document) -> Vec<Change> {
    let mut changes = Vec::new();
    for (id, columns) in &wanted.things {
        let Some(old) = current.things.get(id) else {
            changes.push(Change { id: id.clone(), what: What::Add(columns.clone()) });
            continue;
        };
        let mut different = BTreeMap::new();
        for column in columns.keys().chain(old.keys()) {
            let (before, after) = (old.get(column), columns.get(column));
            // A copy is asked for when a sync is made.
            let is_asked_once = id.kind == Kind::Sync && column == "onetimecopy";
            if before != after && !is_asked_once {
                different.insert(column.clone(), (before.cloned(), after.cloned()));
            }
        }
        if !different.is_empty() {
            changes.push(Change { id: id.clone(), what: What::Change(different) });
        }
    }
    for id in current.things.keys().filter(|id| !wanted.things.contains_key(id)) {
        changes.push(Change { id: id.clone(), what: What::Remove });
    }
    changes.sort_by(|one, other| one.id.cmp(&other.id));
    changes
}

#[derive(Serialize)]
struct Told<'a> {
    what: &'static str,
    thing: String,
    columns: BTreeMap<&'a str, (Option<&'a Value>, Option<&'a Value>)>,
}

/// Shows the changes like a diff.
pub(super) fn tell(ctx: &Context, changes: &[Change]) -> Result<(), CliError> {
    let told: Vec<Told<'_>> = changes.iter().map(told).collect();
    if ctx.out.is_json() {
        return ctx.out.json(&told);
    }
    for change in &told {
        let sign = match change.what {
            "add" => "+",
            "remove" => "-",
            _ => "~",
        };
        ctx.out.say(format!("{sign} {}", change.thing));
        for (column, (before, after)) in &change.columns {
            let (before, after) = (word(*before), word(*after));
            ctx.out.say(match sign {
                "+" => format!("    {column} = {after}"),
                _ => format!("    {column}: {before} -> {after}"),
            });
        }
    }
    let count = |what: &str| told.iter().filter(|change| change.what == what).count();
    ctx.out.say(if told.is_empty() {
        "No changes: the catalog is as the file says".to_owned()
    } else {
        format!("{} to add, {} to change, {} to remove", count("add"), count("change"), count("remove"))
    });
    Ok(())
}

fn told(change: &Change) -> Told<'_> {
    let kind = change.id.kind;
    let (what, columns) = match &change.what {
        What::Add(columns) => {
            ("add", columns.iter().map(|(column, value)| (shown(kind, column), (None, Some(value)))).collect())
        }
        What::Change(columns) => {
            let mut told = BTreeMap::new();
            for (column, (before, after)) in columns {
                told.insert(shown(kind, column), (before.as_ref(), after.as_ref()));
            }
            ("change", told)
        }
        What::Remove => ("remove", BTreeMap::new()),
    };
    Told { what, thing: change.id.to_string(), columns }
}

fn word(value: Option<&Value>) -> String {
    value.map_or_else(|| "(default)".to_owned(), Value::to_string)
}
