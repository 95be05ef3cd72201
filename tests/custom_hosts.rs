//! The hosts of custom code by themselves: what a code gets, what it may ask, and what stops it.

use std::time::Duration;

use bucardo::custom::{Code, CodeError, Databases, Found, Hook, Host, Language, Limits, Refused, Statement, ask, open};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tokio_postgres::Client;

use crate::support::fresh_database;

/// A transaction on one database, known by two names.
struct Asked<'a> {
    client: &'a Client,
    is_strict: bool,
}

impl Databases for Asked<'_> {
    fn names(&self) -> Vec<String> {
        vec!["A".to_owned(), "B".to_owned()]
    }

    fn run<'a>(&'a mut self, db: &'a str, statement: Statement) -> BoxFuture<'a, Result<Found, Refused>> {
        async move {
            assert!(matches!(db, "A" | "B"), "{db}");
            ask(self.client, self.is_strict, &statement).await
        }
        .boxed()
    }
}

/// No database at all.
struct Nowhere;

impl Databases for Nowhere {
    fn names(&self) -> Vec<String> {
        Vec::new()
    }

    fn run<'a>(&'a mut self, _: &'a str, _: Statement) -> BoxFuture<'a, Result<Found, Refused>> {
        async { Err(Refused { message: "there is no database here".to_owned(), sqlstate: None }) }.boxed()
    }
}

fn code(language: Language, source: &str) -> Code {
    Code {
        id: 1,
        name: "it's \"one\"".to_owned(),
        hook: Hook::Conflict,
        language,
        source: source.to_owned(),
        getdbh: true,
        getrows: false,
        goat: None,
    }
}

fn host(language: Language) -> Box<dyn Host> {
    open(Limits { timeout: Duration::from_secs(2), memory_mb: 32 })(language)
}

async fn run(language: Language, source: &str, input: Value) -> Result<Value, CodeError> {
    let mut outputs = host(language).call(&code(language, source), vec![input], &mut Nowhere).await?;
    Ok(outputs.pop().unwrap())
}

/// Every kind of value goes through unchanged, what is changed is changed, and what is gone is null.
#[tokio::test]
async fn an_input_comes_back_as_the_code_left_it() {
    let input = json!({
        "text": "ü 'quoted' \"doubly\" \\ \n\t\u{1}\u{1f600} $x @y", "null": null, "number": 12, "large": 9_007_199_254_740_993_i64,
        "fraction": 0.5, "flag": true, "list": [1, "two", [], {}], "none": {}, "empty": [],
        "row": {"a": "1", "b": null}, "gone": {"x": 1},
    });
    let mut expected = input.clone();
    expected["row"] = json!({"a": "1x", "b": "2"});
    expected["gone"] = Value::Null;
    expected["new"] = json!({"y": ["z"]});
    for (language, source) in [(
        Language::Lua,
        "input.row.a = input.row.a .. 'x'; input.row.b = 2 .. ''; input.gone = nil; input.new = {y = {'z'}}
         assert(... == input and input.null == nil and input.large == 9007199254740993)",
    )] {
        assert_eq!(run(language, source, input.clone()).await, Ok(expected.clone()), "{language:?}");
    }
}

/// A code may ask within the transaction under way, sees errors, and goes on after them.
#[tokio::test]
async fn codes_ask_databases_inside_the_transaction() {
    let db = fresh_database("codes").await;
    db.run("CREATE TABLE t (id int PRIMARY KEY, note text, at timestamptz, raw bytea); SET timezone = 'UTC'").await;
    for (language, source) in [(
        Language::Lua,
        r#"local a = input.dbh.A
        assert(input.sourcedbh.run and input.targetdbh == nil)
        assert(a:run("INSERT INTO t VALUES ($1, $2, '2024-01-02 03:04:05+00', '\\xff'), (2, NULL, NULL, NULL)", 1, "it's") == 2)
        local ok, why = pcall(a.run, a, "INSERT INTO t VALUES (1)")
        assert(not ok and why:find("duplicate key") and why:find("SQLSTATE 23505"), why)
        local ok, refused = pcall(a.run, a, "COMMIT")
        assert(not ok and refused:find("may not run COMMIT"), refused)
        local rows = a:rows("SELECT * FROM t ORDER BY id")
        assert(#rows == 2 and rows[2].note == nil)
        input.found = rows[1]
        input.count = a:value("SELECT count(*) FROM t WHERE id > $1", 0)
        input.none = a:row("SELECT 1 WHERE false") == nil"#,
    )] {
        db.run("BEGIN").await;
        let mut dbs = Asked { client: &db.client, is_strict: true };
        let input = json!({"sourcename": "A", "targetname": ""});
        let outputs = host(language).call(&code(language, source), vec![input], &mut dbs).await.unwrap();
        assert_eq!(
            outputs[0],
            json!({
                "sourcename": "A", "targetname": "", "count": "2", "none": true,
                "found": {"id": "1", "note": "it's", "at": "2024-01-02 03:04:05+00", "raw": "\\xff"},
            })
        );
        db.run("ROLLBACK").await;
    }
    assert_eq!(db.number("SELECT count(*) FROM t").await, 0);
}
