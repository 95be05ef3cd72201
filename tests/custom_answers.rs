//! What codes are told of conflicts, and what their answers mean: in the words of versions 3, 4 and 5, and in plain ones.

use chrono::DateTime;
use serde_json::{Map, Value, json};

use bucardo::catalog::{Goat, GoatKind, SyncDetail};
use bucardo::custom::conflict::{Asking, Dispute, Field, Side, Winners, answer};
use bucardo::custom::{Cells, Code, Decision, Forms, Hook, Language, Limits};

use crate::support::sync_lab::empty_sync;

fn goat(key: &[&str]) -> Goat {
    Goat {
        id: 7,
        schema: "public".to_owned(),
        name: "counters".to_owned(),
        kind: GoatKind::Table,
        key: key.iter().map(|&name| name.to_owned()).collect(),
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

fn row(id: &str, hits: Option<&str>) -> Cells {
    [Some(id), hits].into_iter().collect()
}

fn dispute() -> Dispute {
    let side = |db: &str, row: Option<Cells>| Side { db: db.into(), changed: DateTime::UNIX_EPOCH, row };
    Dispute {
        key: vec!["1".to_owned()],
        sides: vec![side("A", Some(row("1", Some("5")))), side("B", Some(row("1", None)))],
    }
}

fn code(language: Language, source: &str) -> Code {
    Code {
        id: 1,
        name: "sum".to_owned(),
        hook: Hook::Conflict,
        language,
        source: source.to_owned(),
        getdbh: false,
        getrows: false,
        goat: None,
        limits: Limits::default(),
    }
}

struct Bench {
    sync: SyncDetail,
    goat: Goat,
    columns: [String; 2],
    types: [String; 1],
    forms: Forms,
}

impl Bench {
    fn new() -> Self {
        Self {
            sync: empty_sync("s"),
            goat: goat(&["id"]),
            columns: ["id".to_owned(), "hits".to_owned()],
            types: ["integer".to_owned()],
            forms: Forms::default(),
        }
    }

    fn field(&self) -> Field<'_> {
        Field { sync: &self.sync, goat: &self.goat, columns: &self.columns, key_types: &self.types, forms: &self.forms }
    }

    /// What a code comes to that changes its input so.
    fn decides(&self, language: Language, change: impl FnOnce(&mut Value)) -> Result<Decision, String> {
        let asking = Asking::new(&code(language, "handled elsewhere"), self.field(), &Map::new());
        let mut input = asking.about(&dispute());
        change(&mut input);
        answer(language, &self.field(), &dispute(), input.as_object().unwrap())
    }
}

#[test]
fn a_code_is_told_what_it_names() {
    let bench = Bench::new();
    let told = |source: &str| {
        let base = Map::from_iter([("syncname".to_owned(), json!("s"))]);
        let asking = Asking::new(&code(Language::Perl, source), bench.field(), &base);
        let mut told = asking.about(&dispute());
        told.as_object_mut().unwrap().extend(asking.common().clone());
        told
    };
    assert_eq!(
        told("$i->{winner} = $i->{rows}{A}{hits} > 1 ? 'A' : 'B'"),
        json!({"rows": {"A": {"id": "1", "hits": "5"}, "B": {"id": "1", "hits": null}}})
    );
    assert_eq!(
        told("for my $key (keys %{ $i->{conflicts} }) { $i->{conflicts}{$key} = 'A' } $i->{syncname}"),
        json!({"syncname": "s", "conflicts": {"1": {"A": 1, "B": 1}}, "key": {"id": "1"}})
    );
    let info = &told("shift->{rowinfo}{action} = 1")["rowinfo"];
    assert_eq!(info["sourcerow"], json!({"id": "1", "hits": "5"}));
    assert_eq!((&info["pkeyname"], &info["pkeytype"], &info["pkey"]), (&json!("id"), &json!("integer"), &json!("1")));
    assert_eq!(info["action"], Value::Null, "nothing is decided");
    let all = told("My::Module::decide(shift)");
    assert!(["rows", "rowinfo", "conflicts", "syncname", "dbinfo"].iter().all(|key| all.get(key).is_some()), "{all}");
}

#[test]
fn plain_words_decide() {
    let bench = Bench::new();
    let lua = |change: fn(&mut Value)| bench.decides(Language::Lua, change);
    assert_eq!(lua(|_| {}), Ok(Decision::Open));
    assert_eq!(lua(|it| it["winner"] = json!("B")), Ok(Decision::Winner("B".to_owned())));
    assert_eq!(lua(|it| it["delete"] = json!(true)), Ok(Decision::Delete));
    assert_eq!(lua(|it| it["skip"] = json!(true)), Ok(Decision::Skip));
    assert_eq!(lua(|it| it["abort"] = json!("look at it")), Ok(Decision::Abort("look at it".to_owned())));
    assert_eq!(lua(|it| it["row"] = json!({"id": 1, "hits": 12.0})), Ok(Decision::Edited(row("1", Some("12")))));
    assert_eq!(lua(|it| it["row"] = json!({"id": "1", "hits": "5"})), Ok(Decision::Winner("A".to_owned())));
    let edited = lua(|it| {
        it["rows"]["B"]["hits"] = json!("6");
        it["winner"] = json!("B");
    });
    assert_eq!(edited, Ok(Decision::Edited(row("1", Some("6")))));
    assert!(lua(|it| it["row"] = json!({"id": 2, "hits": 1})).unwrap_err().contains("key column \"id\""));
    assert!(lua(|it| it["row"] = json!({"id": 1})).unwrap_err().contains("\"hits\" is missing"));
    assert!(lua(|it| it["row"] = json!({"id": 1, "hits": [1]})).unwrap_err().contains("no plain value"));
    assert!(lua(|it| it["row"] = json!({"id": 1, "hits": 1, "x": 1})).unwrap_err().contains("no column \"x\""));
}

#[test]
fn version_5_decides_by_key() {
    let bench = Bench::new();
    let decided = bench.decides(Language::Perl, |it| it["conflicts"]["1"] = json!("A B"));
    assert_eq!(decided, Ok(Decision::Winner("A B".to_owned())));
    assert_eq!(bench.decides(Language::Perl, |it| it["skip"] = json!(1)), Ok(Decision::Open), "the next code is asked");
}

#[test]
fn versions_3_and_4_decide_by_actions() {
    let bench = Bench::new();
    let by = |action: i64, edit: fn(&mut Value)| {
        bench.decides(Language::Perl, |it| {
            it["rowinfo"]["action"] = json!(action);
            edit(it);
        })
    };
    let won = |name: &str| Ok(Decision::Winner(name.to_owned()));
    let edited = |hits: &str| Ok(Decision::Edited(row("1", Some(hits))));
    let same = |_: &mut Value| {};
    assert_eq!(by(0, same), Ok(Decision::Skip));
    for action in [1, 4, 5, 13] {
        assert_eq!(by(action, same), won("A"), "{action}");
    }
    for action in [2, 8, 10, 14] {
        assert_eq!(by(action, same), won("B"), "{action}");
    }
    assert_eq!(by(5, |it| it["rowinfo"]["sourcerow"]["hits"] = json!("9")), edited("9"));
    assert_eq!(by(10, |it| it["rowinfo"]["targetrow"]["hits"] = json!(8)), edited("8"));
    assert_eq!(by(1, |it| it["rowinfo"]["sourcerow"] = Value::Null), Ok(Decision::Delete));
    assert!(by(3, same).unwrap_err().contains("leaves source and target different"));
    assert!(by(16, same).is_err());
}

#[test]
fn a_winner_for_always_outlives_the_merge() {
    let hear = |winners: &mut Winners, key: &str, names: &str| {
        winners.hear(7, &Map::from_iter([(key.to_owned(), json!(names))]));
    };
    let mut winners = Winners::default();
    hear(&mut winners, "syncwinner", "A");
    assert_eq!((winners.of(7), winners.of(8)), (Some("A"), Some("A")));
    hear(&mut winners, "tablewinner", "B");
    assert_eq!((winners.of(7), winners.of(8)), (Some("B"), Some("A")));
    winners.begin();
    assert_eq!(winners.of(7), None);
    hear(&mut winners, "tablewinner_always", "B A");
    winners.begin();
    assert_eq!((winners.of(7), winners.of(8), winners.is_settled(7)), (Some("B A"), None, true));
}

#[test]
fn statements_decide_in_the_words_of_every_version() {
    let bench = Bench::new();
    let sql = |source: &str| Asking::new(&code(Language::Sql, source), bench.field(), &Map::new());
    let told = |source: &str| sql(source).about(&dispute());
    for source in ["SELECT decide($1)", "SELECT jsonb_build_object('conflicts', $1->'conflicts', 'rowinfo', 1)"] {
        let told = told(source);
        assert_eq!(told["conflicts"], json!({"1": {"A": 1, "B": 1}}), "{source}");
        assert_eq!(told["rowinfo"]["pkey"], json!("1"), "{source}");
    }
    assert!(sql("SELECT $1->'rows', $1->'dbinfo'").common().contains_key("dbinfo"));
    let few = told("SELECT $1->'rows'");
    assert_eq!((few.get("conflicts"), few.get("rowinfo")), (None, None), "each conflict costs what is told of it");
    assert!(few.get("key").is_some() && few.get("dbs").is_some());

    let by = |change: fn(&mut Value)| bench.decides(Language::Sql, change);
    assert_eq!(by(|it| it["rowinfo"] = json!({"action": 1})), Ok(Decision::Winner("A".to_owned())));
    assert_eq!(by(|it| it["rowinfo"] = json!({"action": 2})), Ok(Decision::Winner("B".to_owned())));
    assert_eq!(by(|it| it["conflicts"]["1"] = json!("B")), Ok(Decision::Winner("B".to_owned())));
    let pair = Dispute { key: vec!["1".to_owned(), "x".to_owned()], ..dispute() };
    let said = Map::from_iter([("conflicts".to_owned(), json!({"1\u{1f}x": "A"}))]);
    assert_eq!(answer(Language::Sql, &bench.field(), &pair, &said), Ok(Decision::Winner("A".to_owned())));
}
