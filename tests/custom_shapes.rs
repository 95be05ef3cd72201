//! Lua codes are asked about many conflicts at once in a way of its own: what they decide there is what they decide when
//! they are told of each conflict by itself.

use bucardo::catalog::{Goat, GoatKind};
use bucardo::custom::conflict::{Asking, Dispute, Field, Side, answer};
use bucardo::custom::{Cells, Code, CodeError, Databases, Found, Hook, Language, Limits, Refused, Statement, open};
use chrono::{DateTime, TimeDelta};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Map, Value, json};

use crate::support::sync_lab::empty_sync;

/// Hostile names: each ends a text or a name of Lua, were it not quoted.
const COLUMNS: [&str; 4] = ["id", "note", "end\"]] = 1 --", "\\nil\n"];
const DBS: [&str; 3] = ["A", "b\"] or {}", "C"];

/// All of these name `rows`, and none `rowinfo` or `conflicts`, so that they are told in plain words only.
const CODES: &[&str] = &[
    "local _ = input.rows",
    "input.winner = input.rows.A and 'A' or 'C'",
    "input.rows.C.note = input.rows.C.note .. '!'; input.winner = 'C'",
    "input.rows.C.note = nil; input.winner = 'C'",
    "input.rows.C['\\\\nil\\n'] = 5; input.winner = 'C'",
    "input.rows.C['end\"]] = 1 --'] = 'x'; input.winner = 'C'",
    "input.rows.C.unknown = 'x'; input.winner = 'C'",
    "input.rows.C = nil; input.winner = 'C'",
    "input.rows.C = {id = input.key.id}; input.winner = 'C'",
    "input.rows = nil; input.winner = 'C'",
    "input.rows = {C = {id = input.key.id, note = 'new'}}; input.winner = 'C'",
    "input.rows.D = {}; input.winner = 'A'",
    "input.row.id, input.row.note = input.key.id, input.dbs[1] .. #input.dbs; local _ = input.rows",
    "input.row = {id = input.key.id, note = tostring(input.changed.C)}; local _ = input.rows",
    "input.row = nil; input.delete = input.rows.A == nil",
    "input.skip = true; input.message = 'of ' .. input.key.id; local _ = input.rows",
    "if input.rows.A then input.abort = 'no ' .. input.syncname end",
    "input.tablewinner_always = 'A'; input.warning = input.tablename; local _ = input.rows",
    "input.sendmail{subject = input.key.id, body = 'one'}; input.sendmail{body = 'two'}; local _ = input.rows",
    "input.sendmail = {subject = 'set', body = input.whenrun}; local _ = input.rows",
    "n = (n or 0) + 1; input.message = 'call ' .. n; input.rows.C.note = n; input.winner = 'C'",
    "input.shared.n = (input.shared.n or 0) + 1; input.message = 'n ' .. input.shared.n; local _ = input.rows",
    "_G.input.winner = 'C'; local all = ...; all.message = tostring(all == input); local _ = input.rows",
    "setmetatable(input.rows.C, {__index = function() return 'deep' end}); input.winner = 'C'; input.message = input.rows.C.nothing",
    "next, rawset, string.unpack = nil, nil, nil; input.winner = input.rows.C and 'C' or 'A'",
    "setmetatable(_G, {__newindex = function() error('no globals') end}); input.winner = input.rows.C and 'C'",
    "for key in pairs(input) do input[key] = nil end; local rows",
    "for db, row in pairs(input.rows) do for column in pairs(row) do row[column] = nil end end; input.winner = 'C'",
    "input.goatlist = 5; input.goatlist_too = 5; local _ = input.rows",
    "input.winner = 7; local _ = input.rows",
    "input.rows.C.note = print; input.winner = 'C'",
    "input.other = function() end; local _ = input.rows",
    "input.rows.C.note = '\\255'; input.winner = 'C'",
    "input.rows.C.note = 0/0; input.winner = 'C'",
    "if input.key.id == '4' then error('this one') end; local _ = input.rows",
    "local x = input.rows.A.note",
];

struct Nowhere;

impl Databases for Nowhere {
    fn names(&self) -> Vec<String> {
        DBS.map(str::to_owned).to_vec()
    }

    fn run<'a>(&'a mut self, _: &'a str, _: Statement) -> BoxFuture<'a, Result<Found, Refused>> {
        async { Err(Refused { message: "there is no database here".to_owned(), ..Refused::default() }) }.boxed()
    }
}

fn code(source: &str) -> Code {
    Code {
        id: 1,
        name: "judge".to_owned(),
        hook: Hook::Conflict,
        language: Language::Lua,
        source: source.to_owned(),
        getdbh: true,
        getrows: false,
        goat: None,
        limits: Limits::default(),
    }
}

/// Conflicts of two and three sides, with and without rows and values.
fn disputes() -> Vec<Dispute> {
    let side = |db: usize, values: Option<[Option<&str>; 4]>| Side {
        db: DBS[db].into(),
        changed: DateTime::UNIX_EPOCH + TimeDelta::seconds(i64::try_from(db).unwrap()),
        row: values.map(|values| values.into_iter().collect::<Cells>()),
    };
    let hostile = [Some("9"), Some("\\0 \u{1}'\"\n\u{1f600}"), Some(""), Some("NULL")];
    let row = |id| Some([Some(id), Some("a note"), None, Some("4")]);
    let sides = vec![
        vec![side(0, row("1")), side(2, row("1"))],
        vec![side(0, row("2")), side(1, row("2")), side(2, row("2"))],
        vec![side(0, None), side(2, row("3"))],
        vec![side(0, row("4")), side(2, Some([Some("4"), None, None, None]))],
        vec![side(0, row("5")), side(2, None)],
        vec![side(1, Some(hostile)), side(2, Some(hostile))],
        vec![side(0, row("7")), side(2, row("7"))],
    ];
    let key = ["1", "2", "3", "4", "5", "9", "7"];
    key.iter().zip(sides).map(|(key, sides)| Dispute { key: vec![(*key).to_owned()], sides }).collect()
}

fn goat() -> Goat {
    Goat {
        id: 7,
        schema: "public".to_owned(),
        name: "notes".to_owned(),
        kind: GoatKind::Table,
        key: vec!["id".to_owned()],
        autokick: None,
        strict_checking: true,
        analyze_after_copy: false,
        vacuum_after_copy: false,
        rebuild_index: None,
        ghost: false,
        conflict_strategy: None,
        makedelta: None,
    }
}

/// What is heard of an output besides the decision.
fn told(output: &Value) -> Vec<String> {
    let keys = ["message", "warning", "sendmail", "tablewinner_always", "skip", "goatlist_too"];
    let is_said =
        |value: &&Value| !value.is_null() && **value != json!("") && **value != json!(false) && **value != json!([]);
    keys.iter().filter_map(|key| Some(format!("{key}: {}", output.get(key).filter(is_said)?))).collect()
}

#[tokio::test]
async fn conflicts_told_at_once_are_decided_as_those_told_one_by_one() {
    let (sync, goat, disputes) = (empty_sync("s"), goat(), disputes());
    let (columns, types) = (COLUMNS.map(str::to_owned), ["integer".to_owned()]);
    let forms = bucardo::custom::Forms::default();
    let field = Field { sync: &sync, goat: &goat, columns: &columns, key_types: &types, forms: &forms };
    let base = json!({"syncname": "s", "message": "", "skip": false, "goatlist": [1], "sendmail": [], "shared": {}});
    let asked: Vec<&Dispute> = disputes.iter().collect();
    let mut decided = 0;
    for source in CODES {
        let code = code(source);
        let asking = Asking::new(&code, field, base.as_object().unwrap_or(&Map::new()));
        assert!(asking.is_plain(), "{source}");
        let heard = |outputs: Result<Vec<Value>, CodeError>, at: Option<usize>| {
            let outputs = outputs.map_err(|error| (error.to_string(), at))?;
            let of = |(dispute, output): (&Dispute, &Value)| {
                (answer(Language::Lua, &field, dispute, output.as_object().unwrap()), told(output))
            };
            Ok::<_, (String, Option<usize>)>(disputes.iter().zip(&outputs).map(of).collect::<Vec<_>>())
        };
        let mut host = open()(Language::Lua);
        let inputs = disputes.iter().map(|dispute| asking.about(dispute)).collect();
        let outputs = host.call_with(&code, asking.common(), inputs, &mut Nowhere).await;
        let expected = heard(outputs, host.reached());
        let mut host = open()(Language::Lua);
        let outputs = host.settle(&code, &asking, &asked, &mut Nowhere).await;
        assert_eq!(heard(outputs, host.reached()), expected, "{source}");
        decided += usize::from(expected.is_ok());
    }
    assert!((20..CODES.len()).contains(&decided), "some fail, most do not: {decided}");
}
