//! What codes are told: one object that says it in the words of Bucardo 3, 4 and 5 at once. Pure.

use std::collections::BTreeMap;

use bucardo_actors::model::DbName;
use serde_json::{Map, Value, json};

use crate::catalog::{Goat, GoatKind, Role, SyncDetail};

/// A code is told so many changed keys at most, of all tables together; how many more there are stands in `rows_left_out`.
pub const ROWS_MAX: i64 = 10_000;

/// Which of the two databases that versions 3 and 4 speak of. In a merge the first source that takes part is the source,
/// and all others are the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Where changes come from.
    Source,
    /// Where they go.
    Target,
}

/// What does not change from one call to the next, and the outputs, none of which is set.
#[must_use]
pub fn base(sync: &SyncDetail, source: Option<&DbName>, target: Option<&DbName>) -> Map<String, Value> {
    let name = |db: Option<&DbName>| db.map(ToString::to_string).unwrap_or_default();
    let goats: Vec<Value> = sync.goats.iter().map(goat).collect();
    let input = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "syncname": sync.name.as_str(),
        "synctype": kind(sync, target),
        "goatlist": goats,
        "rellist": goats,
        "sourcename": name(source),
        "targetname": name(target),
        "kidloop": 0,
        "attempts": 0,
        "message": "",
        "warning": "",
        "error": "",
        "nextcode": false,
        "lastcode": false,
        "endsync": false,
        "runagain": false,
        "skip": false,
        "sendmail": [],
    });
    match input {
        Value::Object(input) => input,
        _ => Map::new(),
    }
}

/// In the words of versions 3 and 4.
fn kind(sync: &SyncDetail, target: Option<&DbName>) -> &'static str {
    match target.and_then(|target| sync.role(target)) {
        Some(Role::Fullcopy) => "fullcopy",
        None if sync.is_fullcopy() => "fullcopy",
        Some(Role::Target) => "pushdelta",
        _ if sync.is_merging() => "swap",
        _ => "pushdelta",
    }
}

fn goat(goat: &Goat) -> Value {
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    json!({
        "id": goat.id,
        "schemaname": goat.schema,
        "tablename": goat.name,
        "safeschema": quoted(&goat.schema),
        "safetable": quoted(&goat.name),
        "reltype": match goat.kind {
            GoatKind::Table => "table",
            GoatKind::Sequence => "sequence",
        },
        "pkey": goat.key,
    })
}

/// What a round has found and done so far, by table.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    tables: BTreeMap<(String, String), Count>,
    keys: i64,
    left_out: i64,
}

#[derive(Clone, Debug, Default)]
struct Count {
    changed: [u64; 2],
    deletes: [u64; 2],
    inserts: [u64; 2],
    keys: Vec<Vec<String>>,
}

impl Counts {
    fn of(&mut self, goat: &Goat) -> &mut Count {
        self.tables.entry((goat.schema.clone(), goat.name.clone())).or_default()
    }

    /// So many changes of a table were found on one side.
    pub fn changed(&mut self, goat: &Goat, side: Side, changes: u64) {
        self.of(goat).changed[side as usize] = changes;
    }

    /// So many rows of a table were deleted and written on one side.
    pub fn written(&mut self, goat: &Goat, side: Side, deletes: u64, inserts: u64) {
        let count = self.of(goat);
        count.deletes[side as usize] += deletes;
        count.inserts[side as usize] += inserts;
    }

    /// These keys of a table were changed, `total` with those that are not at hand.
    pub fn keys(&mut self, goat: &Goat, keys: Vec<Vec<String>>, total: u64) {
        let room = usize::try_from(ROWS_MAX - self.keys).unwrap_or_default();
        let total = i64::try_from(total).unwrap_or(i64::MAX);
        let taken: Vec<Vec<String>> = keys.into_iter().take(room).collect();
        let count = i64::try_from(taken.len()).unwrap_or(i64::MAX);
        self.keys += count;
        self.left_out += (total - count).max(0);
        self.of(goat).keys = taken;
    }

    /// Writes what is known so far into an input.
    pub fn fill(&self, input: &mut Map<String, Value>) {
        let sides = [Side::Source, Side::Target];
        let names = ["source", "target"];
        let sum = |of: fn(&Count) -> &[u64; 2], side: Side| -> u64 {
            self.tables.values().map(|count| of(count)[side as usize]).sum()
        };
        let each = |of: fn(&Count) -> &[u64; 2], side: Side| -> Value {
            let mut schemas = Map::new();
            for ((schema, table), count) in &self.tables {
                let tables = schemas.entry(schema.clone()).or_insert_with(|| Value::Object(Map::new()));
                tables[table] = json!(of(count)[side as usize]);
            }
            Value::Object(schemas)
        };
        let pair = |value: &dyn Fn(Side) -> Value| -> Value {
            let pairs = sides.iter().zip(names).map(|(side, name)| (name.to_owned(), value(*side)));
            Value::Object(pairs.collect())
        };
        let changed: fn(&Count) -> &[u64; 2] = |count| &count.changed;
        let inserts: fn(&Count) -> &[u64; 2] = |count| &count.inserts;
        let deletes: fn(&Count) -> &[u64; 2] = |count| &count.deletes;
        let (from, to) = (sum(changed, Side::Source), sum(changed, Side::Target));
        input.insert(
            "deltacount".to_owned(),
            json!({
                "all": from + to,
                "allsource": from,
                "alltarget": to,
                "source": each(changed, Side::Source),
                "target": each(changed, Side::Target),
            }),
        );
        // A changed row is deleted and written anew, so nothing is an update.
        input.insert(
            "dmlcount".to_owned(),
            json!({
                "allinserts": pair(&|side| json!(sum(inserts, side))),
                "allupdates": pair(&|_| json!(0)),
                "alldeletes": pair(&|side| json!(sum(deletes, side))),
                "I": pair(&|side| each(inserts, side)),
                "U": pair(&|_| json!({})),
                "D": pair(&|side| each(deletes, side)),
                "N": pair(&|_| json!({})),
            }),
        );
    }

    /// The changed keys as codes get them: schema, table, and the key's columns joined.
    #[must_use]
    pub fn rows(&self, separator: &str) -> (Value, i64) {
        let mut schemas = Map::new();
        for ((schema, table), count) in self.tables.iter().filter(|(_, count)| !count.keys.is_empty()) {
            let keys: Map<String, Value> = count.keys.iter().map(|key| (key.join(separator), json!(1))).collect();
            let tables = schemas.entry(schema.clone()).or_insert_with(|| Value::Object(Map::new()));
            tables[table] = Value::Object(keys);
        }
        (Value::Object(schemas), self.left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn goat(name: &str) -> Goat {
        Goat {
            id: 1,
            schema: "public".to_owned(),
            name: name.to_owned(),
            kind: GoatKind::Table,
            key: vec!["id".to_owned()],
            autokick: None,
            strict_checking: true,
            analyze_after_copy: true,
            vacuum_after_copy: true,
            rebuild_index: None,
            ghost: false,
            conflict_strategy: None,
            makedelta: None,
        }
    }

    #[test]
    fn counts_are_told_in_the_words_of_version_4() {
        let mut counts = Counts::default();
        counts.changed(&goat("a"), Side::Source, 3);
        counts.changed(&goat("b"), Side::Target, 2);
        counts.written(&goat("a"), Side::Target, 1, 2);
        counts.written(&goat("a"), Side::Target, 1, 0);
        let mut input = Map::new();
        counts.fill(&mut input);
        let delta = &input["deltacount"];
        assert_eq!((&delta["all"], &delta["allsource"], &delta["alltarget"]), (&json!(5), &json!(3), &json!(2)));
        assert_eq!(delta["source"], json!({"public": {"a": 3, "b": 0}}));
        let dml = &input["dmlcount"];
        assert_eq!(dml["allinserts"], json!({"source": 0, "target": 2}));
        assert_eq!(dml["alldeletes"], json!({"source": 0, "target": 2}));
        assert_eq!(dml["I"]["target"], json!({"public": {"a": 2, "b": 0}}));
    }

    #[test]
    fn keys_are_bounded_and_those_left_out_are_counted() {
        let mut counts = Counts::default();
        let keys = |count: i64| (0..count).map(|n| vec![n.to_string(), "x".to_owned()]).collect::<Vec<_>>();
        counts.keys(&goat("a"), keys(ROWS_MAX - 1), 9_999);
        counts.keys(&goat("b"), keys(5), 7);
        let (rows, left_out) = counts.rows("\0");
        assert_eq!(left_out, 6);
        assert_eq!(rows["public"]["b"], json!({"0\u{0}x": 1}));
        assert_eq!(rows["public"]["a"].as_object().map(Map::len), Some(9_999));
    }
}
