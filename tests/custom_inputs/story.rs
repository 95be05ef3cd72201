//! What is told of a round at one place after the other, and what is expected there.

use bucardo::custom::{Code, Hook, Language};
use serde_json::{Map, Value, json};

use super::{MEND, ODD, ORDERS};
use crate::support::SyncLab;
use crate::support::languages::{LANGUAGES, code_in, seen_by, teller};
use crate::support::witness::{Call, Witness};

/// The hooks of a KID.
const HOOKS: [Hook; 10] = [
    Hook::BeforeTxn,
    Hook::BeforeCheckRows,
    Hook::BeforeTriggerDisable,
    Hook::AfterTriggerDisable,
    Hook::Conflict,
    Hook::Exception,
    Hook::AfterTableSync,
    Hook::BeforeTriggerEnable,
    Hook::AfterTriggerEnable,
    Hook::AfterTxn,
];

/// Codes that tell, at every hook in every language: of the sync with handles and keys, of the odd table with neither.
/// The last one of exceptions mends, at a database.
pub(super) fn codes(mend_at: &str) -> Vec<Code> {
    let mut codes = Vec::new();
    for hook in HOOKS {
        for goat in [None, Some(2)] {
            for (language, id) in LANGUAGES.into_iter().zip(codes.len()..) {
                let is_of_sync = goat.is_none();
                let code = code_in(i32::try_from(id).unwrap(), language, hook, &teller(language));
                codes.push(Code { goat, getdbh: is_of_sync, getrows: is_of_sync, ..code });
            }
        }
    }
    let mend = format!("input.dbh.{mend_at}:run([[{MEND}]]) input.runagain = true");
    codes.push(code_in(100, Language::Lua, Hook::Exception, &mend));
    codes
}

/// What the codes of a place were told.
#[derive(Debug)]
struct Told {
    hook: Hook,
    is_of_sync: bool,
    input: Value,
}

/// What was told before the last try of the round is left out, but for what belongs to no try.
fn told(lab: &SyncLab, witness: &Witness) -> Vec<Told> {
    let mut calls: Vec<Vec<Call>> = Vec::new();
    for call in witness.calls().into_iter().filter(|call| call.code.id < 100) {
        match calls.last_mut() {
            Some(of) if of[0].code.id == call.code.id => of.push(call),
            _ => calls.push(vec![call]),
        }
    }
    let mut all = Vec::new();
    for languages in calls.chunks(LANGUAGES.len()) {
        let [lua, perl, sql] = languages else { panic!("some are not called: {languages:?}") };
        let asked = [lua, perl, sql].map(|calls| (calls[0].code.language, calls.len()));
        assert_eq!(asked, LANGUAGES.map(|language| (language, sql.len())));
        for ((lua, perl), sql) in lua.iter().zip(perl).zip(sql) {
            let input = sql.told();
            for call in [lua, perl] {
                let seen = seen_by(call.code.language, &input, |db| lab.on(db).name.clone());
                assert_same(&call.code.name, &call.told(), &seen);
            }
            all.push(Told { hook: sql.code.hook, is_of_sync: sql.code.goat.is_none(), input });
        }
    }
    let last = all.last().unwrap().input["attempts"].clone();
    all.retain(|it| matches!(it.hook, Hook::BeforeTxn | Hook::Exception) || it.input["attempts"] == last);
    all
}

/// Two inputs, key by key.
fn assert_same(what: &str, found: &Value, expected: &Value) {
    let (found, expected) = (found.as_object().unwrap(), expected.as_object().unwrap());
    for key in found.keys().chain(expected.keys()) {
        assert_eq!(found.get(key), expected.get(key), "{what}: {key}");
    }
}

/// Of both tables, at the source and at the target.
#[derive(Clone, Copy, Default)]
pub(super) struct Count {
    pub(super) orders: [u64; 2],
    pub(super) odd: [u64; 2],
}

/// What a round knows of its changes, and has done.
#[derive(Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) changed: Count,
    pub(super) deleted: Count,
    pub(super) inserted: Count,
    /// Nothing is known of any table yet.
    pub(super) is_early: bool,
}

impl Counts {
    pub(super) const EARLY: Self = {
        let none = Count { orders: [0; 2], odd: [0; 2] };
        Self { changed: none, deleted: none, inserted: none, is_early: true }
    };

    fn told(&self) -> Value {
        let each = |count: &Count, side: usize| match self.is_early {
            true => json!({}),
            false => json!({"public": {"orders": count.orders[side]}, ODD.0: {ODD.1: count.odd[side]}}),
        };
        let sum = |count: &Count, side: usize| count.orders[side] + count.odd[side];
        let sums = |count: &Count| json!({"source": sum(count, 0), "target": sum(count, 1)});
        let both = |count: &Count| json!({"source": each(count, 0), "target": each(count, 1)});
        let (none, changed) = (json!({"source": {}, "target": {}}), &self.changed);
        json!({
            "deltacount": {
                "all": sum(changed, 0) + sum(changed, 1), "allsource": sum(changed, 0), "alltarget": sum(changed, 1),
                "source": each(changed, 0), "target": each(changed, 1),
            },
            "dmlcount": {
                "allinserts": sums(&self.inserted), "allupdates": {"source": 0, "target": 0},
                "alldeletes": sums(&self.deleted), "I": both(&self.inserted), "D": both(&self.deleted),
                "U": none, "N": none,
            },
        })
    }
}

/// A round, and what is told in it at one place after the other.
pub(super) struct Story<'a> {
    lab: &'a SyncLab,
    synctype: &'a str,
    dbs: &'a [&'a str],
    /// The changed keys.
    pub(super) rows: Value,
    pub(super) attempts: u64,
    pub(super) kidloop: u64,
    told: std::vec::IntoIter<Told>,
}

impl<'a> Story<'a> {
    pub(super) fn of(lab: &'a SyncLab, witness: &Witness, synctype: &'a str, dbs: &'a [&'a str]) -> Self {
        let told = told(lab, witness);
        Self { lab, synctype, dbs, rows: json!({}), attempts: 1, kidloop: 1, told: told.into_iter() }
    }

    /// What is told next, of the sync and, where it is not for another table, of the odd table.
    pub(super) fn next(&mut self, hook: Hook, table: Option<(&str, &str)>, counts: Counts, more: &Value) {
        for is_of_sync in [true, false] {
            if !is_of_sync && table == Some(ORDERS) {
                break;
            }
            let found = self.told.next().unwrap_or_else(|| panic!("nothing is told at {hook:?}"));
            let mut expected = self.expected(hook, table, counts, is_of_sync);
            expected.extend(more.as_object().unwrap().clone());
            if let Some(changed) = found.input.get("changed") {
                let is_time =
                    |value: &Value| value.as_str().is_some_and(|time| time.len() == 27 && time.ends_with('Z'));
                assert!(changed.as_object().unwrap().values().all(is_time), "{changed}");
                expected.insert("changed".to_owned(), changed.clone());
            }
            let what = format!("{hook:?} {table:?}, of the sync: {is_of_sync}");
            assert_eq!((found.hook, found.is_of_sync), (hook, is_of_sync), "{what}");
            assert_same(&what, &found.input, &Value::Object(expected));
        }
    }

    fn expected(
        &self,
        hook: Hook,
        table: Option<(&str, &str)>,
        counts: Counts,
        is_of_sync: bool,
    ) -> Map<String, Value> {
        let goat = |id: i32, (schema, table): (&str, &str), safe: (&str, &str), kind: &str, key: &[&str]| {
            json!({"id": id, "schemaname": schema, "tablename": table, "safeschema": safe.0, "safetable": safe.1,
                "reltype": kind, "pkey": key})
        };
        let goats = [
            goat(1, ORDERS, ("\"public\"", "\"orders\""), "table", &["id"]),
            goat(2, ODD, ("\"sc h'e\"", "\"t \"\"x\\\""), "table", &["k y", "n"]),
            goat(3, ("public", "numbers"), ("\"public\"", "\"numbers\""), "sequence", &[]),
        ];
        let attempts = if hook == Hook::BeforeTxn { 1 } else { self.attempts };
        let mut input = json!({
            "version": env!("CARGO_PKG_VERSION"), "syncname": "s", "synctype": self.synctype, "whenrun": hook.word(),
            "goatlist": goats, "rellist": goats, "sourcename": "a", "targetname": "b", "kidloop": self.kidloop, "attempts": attempts,
            "message": "", "warning": "", "error": "", "nextcode": false, "lastcode": false, "endsync": false,
            "runagain": false, "skip": false, "sendmail": [], "shared": {}, "ran_on": self.lab.on("b").name,
        });
        let input = input.as_object_mut().unwrap();
        input.extend(counts.told().as_object().unwrap().clone());
        if is_of_sync {
            let dbs: Map<String, Value> = self.dbs.iter().map(|&db| (db.to_owned(), json!(db))).collect();
            input.extend([
                ("dbh".to_owned(), json!(dbs)),
                ("sourcedbh".to_owned(), json!("a")),
                ("targetdbh".to_owned(), json!("b")),
            ]);
        }
        if let Some((schema, table)) = table {
            input.extend([("schemaname".to_owned(), json!(schema)), ("tablename".to_owned(), json!(table))]);
        }
        if is_of_sync && hook.is_of_changes() && hook != Hook::Exception {
            input.extend([("rows".to_owned(), self.rows.clone()), ("rows_left_out".to_owned(), json!(0))]);
        }
        input.clone()
    }

    /// Nothing more is told.
    pub(super) fn ends(mut self) {
        assert!(self.told.next().is_none());
    }

    /// Before any change is known.
    pub(super) fn before_the_look(&mut self) {
        self.next(Hook::BeforeCheckRows, None, Counts::EARLY, &json!({}));
    }

    pub(super) fn before_the_rows(&mut self, counts: Counts) {
        self.next(Hook::BeforeTriggerDisable, None, counts, &json!({}));
        self.next(Hook::AfterTriggerDisable, None, counts, &json!({}));
    }

    pub(super) fn after_the_rows(&mut self, counts: Counts) {
        for hook in [Hook::BeforeTriggerEnable, Hook::AfterTriggerEnable, Hook::AfterTxn] {
            self.next(hook, None, counts, &json!({}));
        }
    }

    fn database(&self, db: &str) -> Value {
        let of = self.lab.on(db);
        json!({"name": db, "dbtype": "postgres", "status": "active", "role": "source", "priority": 0, "dbhost": of.host,
            "dbport": of.port.to_string(), "dbname": of.name, "dbuser": of.user})
    }

    /// What is told of a conflict of `a` and `b`, but for the names of the key.
    pub(super) fn conflict(&self, key: &Value, columns: &[&str], (a, b): (Value, Value), rowinfo: Value) -> Value {
        let dbinfo: Map<String, Value> = self.dbs.iter().map(|&db| (db.to_owned(), self.database(db))).collect();
        let none: Map<String, Value> = columns.iter().map(|&column| (column.to_owned(), Value::Null)).collect();
        let (mut told, pkey) = (rowinfo, key.as_object().unwrap().values().map(|value| value.as_str().unwrap()));
        let pkey = pkey.collect::<Vec<_>>().join("\u{1f}");
        told.as_object_mut().unwrap().extend([
            ("sourcerow".to_owned(), a.clone()),
            ("targetrow".to_owned(), b.clone()),
            ("pkey".to_owned(), json!(pkey)),
            ("action".to_owned(), Value::Null),
        ]);
        json!({"key": key, "row": none, "rows": {"a": a, "b": b}, "dbs": ["a", "b"], "conflicts": {pkey: {"a": 1, "b": 1}},
            "rowinfo": told, "dbinfo": dbinfo})
    }
}

/// The odd table, as `rowinfo` names it.
pub(super) fn odd_info(types: &[&str]) -> Value {
    json!({"schema": ODD.0, "table": ODD.1, "pkeyname": ["k y", "n"], "qpkeyname": ["\"k y\"", "\"n\""], "pkeytype": types})
}

pub(super) fn odd_row(key: &str, n: u32, value: Option<&str>) -> Value {
    json!({"k y": key, "n": n.to_string(), "v'al": value})
}

/// What is told of a row that `db` refused; `source`: whose it is.
pub(super) fn exception(lab: &SyncLab, (db, source): (&str, &str), refused: Option<(&Value, Value)>) -> Value {
    let detail = "Key (\"v'al\")=(taken) already exists.";
    let error = format!("duplicate key value violates unique constraint \"on'e\": {detail}");
    let told = format!("{error} (SQLSTATE 23505, database \"{db}\")");
    let is_source = db == "a" && source != "a";
    let (at_source, at_target, action) = if is_source { (1, 0, 2) } else { (0, 1, 1) };
    let (row, present) = refused.clone().map_or((Value::Null, Value::Null), |(row, present)| (row.clone(), present));
    let key = refused
        .as_ref()
        .map(|(row, _)| format!("{}\u{1f}{}", row["k y"].as_str().unwrap(), row["n"].as_str().unwrap()));
    let mut rowinfo = odd_info(if key.is_some() { &["text", "integer"] } else { &[] });
    let (sourcerow, targetrow) = if is_source { (&present, &row) } else { (&row, &present) };
    rowinfo.as_object_mut().unwrap().extend(
        json!({"pkey": key.as_deref().unwrap_or_default(), "sourcerow": sourcerow, "targetrow": targetrow, "action": action,
            "dbi_error": told, "source_error": at_source, "target_error": at_target})
        .as_object()
        .unwrap()
        .clone(),
    );
    let deltabin = key.as_ref().map_or_else(|| json!({}), |key| json!({source: {key: 1}}));
    let keys: Vec<Value> = refused.iter().map(|(row, _)| json!({"k y": row["k y"], "n": row["n"]})).collect();
    let (rows, presents): (Vec<Value>, Vec<Value>) =
        refused.into_iter().map(|(row, present)| (row.clone(), present)).unzip();
    json!({"attempts": 1, "database": db, "sqlstate": "23505", "constraint": "on'e", "detail": detail, "errors": [error],
        "error_string": told, "dbi_error": told, "source_error": at_source, "target_error": at_target, "rowinfo": rowinfo,
        "deltabin": deltabin, "keys": keys, "rows": rows, "present": presents, "ran_on": lab.on(db).name})
}
