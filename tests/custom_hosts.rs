//! The hosts of custom code by themselves: what a code gets, what it may ask, and what stops it.

use std::time::Duration;

use bucardo::custom::{
    Code, CodeError, Databases, Found, Hook, Host, Language, Limits, Refused, Statement, ask, ask_each, open,
};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tokio_postgres::Client;

use crate::support::{Town, fresh_database, wait};

/// A transaction on one database, known by two names.
pub(crate) struct Asked<'a> {
    pub(crate) client: &'a Client,
    pub(crate) is_strict: bool,
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

/// The same, for many inputs at once as in rounds; how often it was asked.
pub(crate) struct Sturdy<'a> {
    pub(crate) client: &'a Client,
    pub(crate) calls: u32,
}

impl Databases for Sturdy<'_> {
    fn names(&self) -> Vec<String> {
        vec!["A".to_owned(), "B".to_owned()]
    }

    fn run<'a>(&'a mut self, _: &'a str, statement: Statement) -> BoxFuture<'a, Result<Found, Refused>> {
        self.calls += 1;
        async move { ask(self.client, true, &statement).await }.boxed()
    }

    fn run_each<'a>(
        &'a mut self,
        _: &'a str,
        sql: &'a str,
        calls: Vec<Vec<Option<String>>>,
    ) -> BoxFuture<'a, Result<Vec<Found>, Refused>> {
        self.calls += 1;
        async move { ask_each(self.client, true, sql, &calls).await }.boxed()
    }
}

/// No database at all.
pub(crate) struct Nowhere;

impl Databases for Nowhere {
    fn names(&self) -> Vec<String> {
        Vec::new()
    }

    fn run<'a>(&'a mut self, _: &'a str, _: Statement) -> BoxFuture<'a, Result<Found, Refused>> {
        async { Err(Refused { message: "there is no database here".to_owned(), ..Refused::default() }) }.boxed()
    }
}

const NAME: &str = "it's \"one\"";

pub(crate) fn code(language: Language, source: &str) -> Code {
    Code {
        id: 1,
        name: NAME.to_owned(),
        hook: Hook::Conflict,
        language,
        source: source.to_owned(),
        getdbh: true,
        getrows: false,
        goat: None,
        limits: Limits { timeout: Duration::from_secs(20), memory_mb: 32, ..Limits::default() },
    }
}

pub(crate) fn host(language: Language) -> Box<dyn Host> {
    open()(language)
}

async fn run(language: Language, source: &str, input: Value) -> Result<Value, CodeError> {
    let mut outputs = host(language).call(&code(language, source), vec![input], &mut Nowhere).await?;
    Ok(outputs.pop().unwrap())
}

/// Every kind of value goes through unchanged, what is changed is changed, and what is gone is null.
#[tokio::test]
async fn an_input_comes_back_as_the_code_left_it() {
    let input = json!({
        "text": "ü 'quoted' \"doubly\" \\ \n\t\u{1}\u{1f600} $x @y", "null": null, "number": 12,
        "large": 9_007_199_254_740_993_i64, "fraction": 0.5, "digits": "007", "list": [1, "two", [], {}], "none": {},
        "empty": [], "row": {"a": "1", "b": null}, "gone": {"x": 1}, "nul\0": "a\0b",
    });
    let mut expected = input.clone();
    expected["row"] = json!({"a": "1x", "b": "2"});
    expected["gone"] = Value::Null;
    expected["new"] = json!({"y": ["z"]});
    for (language, source) in [
        (
            Language::Lua,
            "input.row.a = input.row.a .. 'x'; input.row.b = 2 .. ''; input.gone = nil; input.new = {y = {'z'}}
             assert(... == input and input.null == nil and input.large == 9007199254740993)",
        ),
        (
            Language::Perl,
            r#"my ($input) = @_;
            return if exists $input->{dummy};
            use strict; use warnings;
            $_->{row}{a} .= 'x'; $input->{row}{b} = '2'; $input->{gone} = undef; $input->{new} = { y => ['z'] };
            die 'large' if $input->{large} != 9007199254740993 || $input->{digits} + 0 != 7 || defined $_[0]{null};
            local $, = '-'; local $\ = 'x'; $/ = undef;
            return 'nobody looks at this'"#,
        ),
    ] {
        if language == Language::Perl {
            // A text as well as a number there.
            expected["fraction"] = json!("0.5");
        }
        assert_eq!(run(language, source, input.clone()).await, Ok(expected.clone()), "{language:?}");
    }
}

/// A code that looks at a value as a number, or that returns it as one, leaves it as it is, to the last digit.
#[tokio::test]
async fn no_digit_of_a_value_gets_lost() {
    let rows = json!({"A": {
        "id": "5", "amount": "12345678901234.1234567", "price": "2.00", "none": "-0", "much": "1e5",
        "half": "0.5", "big": "9223372036854775807", "bigger": "123456789012345678901234567890", "padded": "007",
    }});
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    for (language, source) in [
        (
            Language::Perl,
            "my $i = shift; for (values %{ $i->{rows}{A} }) { my $sum = $_ + 1; die if $_ > 1e40 } $i->{winner} = 'A'",
        ),
        (Language::Lua, "for _, value in pairs(input.rows.A) do assert(value + 1 < 1e40) end input.winner = 'A'"),
    ] {
        let output = run(language, source, json!({"rows": rows})).await.unwrap();
        assert_eq!(output["winner"], json!("A"), "{language:?}");
        for (column, value) in rows["A"].as_object().unwrap() {
            assert_eq!(text(&output["rows"]["A"][column]), text(value), "{language:?}: {column}");
        }
    }
    let db = fresh_database("codes").await;
    let mut dbs = Asked { client: &db.client, is_strict: true };
    let source = "SELECT jsonb_build_object('row', jsonb_build_object('a', 12345678901234.1234567, 'p', 2.00, 'n', 7))";
    db.run("BEGIN").await;
    let outputs = host(Language::Sql).call(&code(Language::Sql, source), vec![json!({})], &mut dbs).await;
    db.run("COMMIT").await;
    assert_eq!(outputs, Ok(vec![json!({"row": {"a": "12345678901234.1234567", "p": "2.00", "n": 7}})]));
}

/// What a code has forked says nothing to the daemon, however it ends, and a call gets no answer but its own.
#[tokio::test]
async fn processes_that_perl_codes_fork_say_nothing() {
    let db = fresh_database("codes").await;
    db.run("BEGIN").await;
    let mut host = host(Language::Perl);
    for end in ["exit 3", "die 'alone'", "return", "$i->{dbh}{A}->do('SELECT 1')", "kill 'TERM', $$; sleep 9"] {
        let source = format!(
            "my $i = shift; my $child = fork; if (!$child) {{ $i->{{n}} = 'forged'; {end}; }} waitpid $child, 0; $i->{{status}} = $?"
        );
        let code = code(Language::Perl, &source);
        for n in 1..=2 {
            let mut dbs = Asked { client: &db.client, is_strict: true };
            let outputs = host.call(&code, vec![json!({"n": n, "dbh": {}})], &mut dbs).await.unwrap();
            let status = match end {
                "exit 3" => 3 << 8,
                "return" => 0,
                _ if end.starts_with("kill") => 0,
                _ => 255 << 8,
            };
            assert_eq!(outputs, [json!({"n": n, "status": status})], "{end}");
        }
    }
    db.run("COMMIT").await;
}

/// A code that dies of an alarm while it waits for a database gets the next answer, not the one it gave up.
#[tokio::test]
async fn a_perl_code_may_give_up_waiting_for_a_database() {
    let db = fresh_database("codes").await;
    db.run("BEGIN").await;
    let mut host = host(Language::Perl);
    let source = "my $i = shift; my $dbh = $i->{dbh}{A};
        eval { local $SIG{ALRM} = sub { die \"given up\\n\" }; alarm 1; $dbh->do('SELECT pg_sleep(1.5)'); 1 } and die 'late';
        die if $@ ne \"given up\\n\"; alarm 0;
        die 'to be kept' if $i->{dies};
        $i->{found} = $dbh->selectrow_array('SELECT 42')";
    let code = code(Language::Perl, source);
    for (input, expected) in [(json!({"dies": 1}), None), (json!({}), Some(json!({"found": "42"})))] {
        let mut dbs = Asked { client: &db.client, is_strict: true };
        let outputs = host.call(&code, vec![input], &mut dbs).await;
        match expected {
            Some(expected) => assert_eq!(outputs, Ok(vec![expected])),
            None => assert!(outputs.unwrap_err().to_string().contains("to be kept")),
        }
    }
    db.run("COMMIT").await;
}

/// A code may ask within the transaction under way, sees errors, and goes on after them.
#[tokio::test]
async fn codes_ask_databases_inside_the_transaction() {
    let db = fresh_database("codes").await;
    db.run("CREATE TABLE t (id int PRIMARY KEY, note text, at timestamptz, raw bytea); SET timezone = 'UTC'").await;
    let lua = r#"local a = input.dbh.A
        assert(input.sourcedbh.run and input.targetdbh == nil)
        assert(a:run("INSERT INTO t VALUES ($1, $2, '2024-01-02 03:04:05+00', '\\xff'), (2, NULL, NULL, NULL)", 1, "it's") == 2)
        local ok, why = pcall(a.run, a, "INSERT INTO t VALUES (1)")
        assert(not ok and tostring(why):find("duplicate key") and tostring(why):find("SQLSTATE 23505"), why)
        local ok, refused = pcall(a.run, a, "COMMIT")
        assert(not ok and tostring(refused):find("may not run COMMIT"), refused)
        local rows = a:rows("SELECT * FROM t ORDER BY id")
        assert(#rows == 2 and rows[2].note == nil)
        input.found = rows[1]
        input.count = a:value("SELECT count(*) FROM t WHERE id > $1", 0)
        input.none = a:row("SELECT 1 WHERE false") == nil and 1"#;
    let perl = r#"my ($input) = @_;
        my $dbh = $input->{dbh}{A};
        die 'handles' if $input->{sourcedbh} != $dbh || exists $input->{targetdbh};
        my $sth = $dbh->prepare('INSERT INTO t VALUES (?, ?, ?, $$\xff$$), (2, NULL, NULL, NULL) -- ?');
        die 'rows' if $sth->execute(1, "it's", '2024-01-02 03:04:05+00') != 2 || $sth->rows != 2;
        die 'none' if $dbh->do('DELETE FROM t WHERE id = $1', undef, 3) ne '0E0';
        eval { $dbh->do('INSERT INTO t VALUES (1)') };
        die "no: $@" if $@ !~ /\ADBD::Pg::db do failed: ERROR:  duplicate key .* at it's 'one' line 7\.$/s;
        die 'state' if $dbh->state ne '23505' || $dbh->err != 7 || $dbh->errstr !~ /\AERROR:  duplicate key/;
        for my $method (qw(commit rollback begin_work disconnect pg_savepoint)) {
            eval { $dbh->$method('x') };
            die "$method: $@" if $@ !~ /custom code may not/;
        }
        { local $dbh->{RaiseError} = 0; die 'raised' if defined $dbh->do('DROP TABLE t') || $dbh->state ne 'S1000' }
        my $rows = $dbh->selectall_arrayref('SELECT * FROM t ORDER BY id', { Slice => {} });
        $rows->[0]{raw} = '\x' . unpack 'H*', $rows->[0]{raw};
        $input->{found} = $rows->[0];
        my $by_name = $dbh->prepare('SELECT count(*) FROM t WHERE id > :low AND :low::int = 0');
        $by_name->bind_param(':low', 0);
        $by_name->execute;
        ($input->{count}) = $by_name->fetchrow_array;
        $by_name->finish;
        my ($true, $list) = $dbh->selectrow_array('SELECT true, ARRAY[$$a$$, NULL, $$b,"$$]');
        die 'types' if $true ne '1' || join('|', map { defined $_ ? $_ : 'undef' } @$list) ne 'a|undef|b,"';
        die 'quote' if $dbh->selectrow_array('SELECT ' . $dbh->quote("it's \\")) ne "it's \\";
        die 'hash' if $dbh->selectall_hashref('SELECT * FROM t', 'id')->{1}{note} ne "it's";
        die 'column' if "@{ $dbh->selectcol_arrayref('SELECT id FROM t ORDER BY 1') }" ne '1 2';
        # Columns count from one here, and from zero in a slice.
        die 'columns' if $dbh->selectall_arrayref('SELECT 5, 6, 7', { Columns => [1, 3] })->[0][1] != 7;
        die 'slice' if $dbh->selectall_arrayref('SELECT 5, 6, 7', { Slice => [1, 2] })->[0][0] != 6;
        $input->{none} = 1 if !defined $dbh->selectrow_arrayref('SELECT 1 WHERE false')"#;
    let sql = r#"WITH made AS (
            INSERT INTO t VALUES (1, 'it''s', '2024-01-02 03:04:05+00', '\xff'), (2, NULL, NULL, NULL) RETURNING *
        )
        SELECT jsonb_build_object('count', count(*)::text, 'none', 1, 'found', (
            SELECT jsonb_build_object('id', id::text, 'note', note, 'at', at::text, 'raw', raw::text) FROM made WHERE id = 1
        )) FROM made
        WHERE $1->>'sourcename' = 'A' AND $1->'rows' ? E'1\x1f\\u0000'"#;
    for (language, source) in [(Language::Lua, lua), (Language::Perl, perl), (Language::Sql, sql)] {
        db.run("BEGIN").await;
        let mut dbs = Asked { client: &db.client, is_strict: true };
        let input = json!({"sourcename": "A", "targetname": "", "rows": {"1\0\\u0000": 1}});
        let outputs = host(language).call(&code(language, source), vec![input], &mut dbs).await;
        let expected = json!({
            "sourcename": "A", "targetname": "", "rows": {"1\0\\u0000": 1}, "count": "2", "none": 1,
            "found": {"id": "1", "note": "it's", "at": "2024-01-02 03:04:05+00", "raw": "\\xff"},
        });
        assert_eq!(outputs, Ok(vec![expected]), "{language:?}");
        assert_eq!(db.number("SELECT count(*) FROM t").await, 2, "{language:?}: it is the transaction under way");
        db.run("ROLLBACK").await;
    }
    assert_eq!(db.number("SELECT count(*) FROM t").await, 0);
}

/// What all inputs of a call have in common reaches each of them, with the handles of the sides, and is not returned where
/// it is a list or an object; a statement is run once for each input, sees what it wrote before, and keeps their order.
#[tokio::test]
async fn inputs_of_one_call_share_what_they_have_in_common() {
    let db = fresh_database("codes").await;
    db.run("CREATE TABLE t (id int PRIMARY KEY)").await;
    let lua = r"input.n, input.sum = tonumber(input.n), #input.goatlist
        input.targetdbh:run('INSERT INTO t VALUES ($1)', input.n)
        input.seen = input.sourcedbh:value('SELECT count(*) FROM t')
        input.goatlist[3] = {}
        input.sendmail{body = 'mail ' .. input.seen}";
    let perl = r"my ($input) = @_;
        $input->{n} += 0; $input->{sum} = @{ $input->{goatlist} };
        $input->{targetdbh}->do('INSERT INTO t VALUES (?)', undef, $input->{n});
        $input->{seen} = $input->{sourcedbh}->selectrow_array('SELECT count(*) FROM t');
        $input->{goatlist}[2] = {};
        $input->{sendmail}->({body => 'mail ' . $input->{seen}});";
    let sql = r"WITH made AS (INSERT INTO t SELECT ($1->>'n')::int RETURNING id)
        SELECT jsonb_build_object('n', id, 'seen', (SELECT count(*) + 1 FROM t)::text,
            'sum', jsonb_array_length($1->'goatlist')) FROM made";
    let common = json!({"goatlist": [{"id": 1}, {"id": 2}], "sourcedbh": "A", "targetdbh": "B", "targetname": "B",
        "dbh": {"A": "A", "B": "B"}, "sendmail": [], "shared": {}});
    for (language, source) in [(Language::Lua, lua), (Language::Perl, perl), (Language::Sql, sql)] {
        db.run("BEGIN").await;
        let mut dbs = Sturdy { client: &db.client, calls: 0 };
        let inputs = (1..=3000).map(|n| json!({"n": n.to_string()})).collect();
        let code = code(language, source);
        let outputs = host(language).call_with(&code, common.as_object().unwrap(), inputs, &mut dbs).await.unwrap();
        assert_eq!(outputs.len(), 3000);
        for (n, output) in (1..).zip(&outputs) {
            assert_eq!(output["n"], json!(n), "{language:?}");
            assert_eq!(output["seen"], json!(n.to_string()), "{language:?} {n}");
            assert_eq!(output["goatlist"], Value::Null, "{language:?}");
            if language == Language::Sql {
                assert_eq!(output["sum"], json!(2));
            } else {
                assert_eq!(output["sum"], json!(if n == 1 { 2 } else { 3 }), "{language:?} {n}");
                assert_eq!(output["sendmail"], json!([{"body": format!("mail {n}")}]), "{language:?}");
            }
        }
        assert_eq!(dbs.calls, if language == Language::Sql { 1 } else { 6000 }, "{language:?}");
        assert_eq!(db.number("SELECT count(*) FROM t").await, 3000);
        db.run("ROLLBACK").await;
    }
    // Where one fails they are run one by one, up to that one: it is the round that takes back what they did.
    db.run("BEGIN; INSERT INTO t VALUES (2)").await;
    let mut dbs = Sturdy { client: &db.client, calls: 0 };
    let inputs = (1..=3).map(|n| json!({"n": n})).collect();
    let called =
        host(Language::Sql).call_with(&code(Language::Sql, sql), common.as_object().unwrap(), inputs, &mut dbs).await;
    assert!(matches!(&called, Err(CodeError::Died { why, .. }) if why.contains("(SQLSTATE 23505)")), "{called:?}");
    assert_eq!(db.rows("SELECT id FROM t ORDER BY id").await, ["1", "2"]);
    assert_eq!(db.number("SELECT count(*) FROM pg_prepared_statements WHERE name LIKE 'bucardo%'").await, 0);
    db.run("ROLLBACK").await;
}

/// A function that changes the search path is found by the statement that calls it, once and for many inputs.
#[tokio::test]
async fn functions_that_change_the_search_path_do_not_break_their_own_call() {
    let db = fresh_database("codes").await;
    db.run(
        "CREATE SCHEMA app; CREATE TABLE said (n int, what text);
        CREATE FUNCTION turn(n int) RETURNS int LANGUAGE plpgsql AS $$
            BEGIN PERFORM set_config('search_path', 'app', true); INSERT INTO public.said VALUES (n, 'it''s \\'); RETURN n + 1; END $$",
    )
    .await;
    let lua = "input.n = input.dbh.A:value('SELECT turn($1)', input.n)";
    let perl = "my $i = shift; $i->{n} = $i->{dbh}{A}->selectrow_array('SELECT turn(?)', undef, $i->{n})";
    let sql = "SELECT jsonb_build_object('n', turn(($1->>'n')::int)::text)";
    for (language, source) in [(Language::Lua, lua), (Language::Perl, perl), (Language::Sql, sql)] {
        db.run("BEGIN").await;
        let mut dbs = Asked { client: &db.client, is_strict: true };
        let outputs = host(language).call(&code(language, source), vec![json!({"n": 1})], &mut dbs).await.unwrap();
        assert_eq!(outputs[0]["n"], json!("2"), "{language:?}");
        db.run("ROLLBACK").await;
    }
    db.run("BEGIN").await;
    let mut dbs = Sturdy { client: &db.client, calls: 0 };
    let inputs = (1..=3).map(|n| json!({"n": n})).collect();
    let outputs = host(Language::Sql).call(&code(Language::Sql, sql), inputs, &mut dbs).await.unwrap();
    assert_eq!(outputs.iter().map(|it| it["n"].clone()).collect::<Vec<_>>(), [json!("2"), json!("3"), json!("4")]);
    assert_eq!(db.rows("SELECT n FROM public.said ORDER BY n").await, ["1", "2", "3"], "each is run once");
    db.run("ROLLBACK").await;
    db.run("BEGIN").await;
    let values = ["7", "8"].map(|value| Some(value.to_owned())).to_vec();
    let sql = "INSERT INTO said VALUES ($1, $2::text || '?') RETURNING turn(n) -- $3".to_owned();
    let found = ask(&db.client, true, &Statement { sql, values }).await.unwrap();
    assert_eq!((found.rows, found.columns[0].kind.as_str()), (vec![vec![Some("8".to_owned())]], "int4"));
    db.run("ROLLBACK").await;
}

/// Outside of rounds a code may end the transaction itself, and what it refused leaves the next one open.
#[tokio::test]
async fn codes_outside_of_rounds_may_commit() {
    let db = fresh_database("codes").await;
    db.run("CREATE TABLE t (id int); BEGIN").await;
    let mut loose = code(
        Language::Perl,
        r"my $dbh = $_->{dbh}{A};
        $dbh->do('INSERT INTO t VALUES (1)'); $dbh->commit;
        $dbh->do('INSERT INTO t VALUES (2)'); $dbh->rollback;
        $dbh->do('INSERT INTO t VALUES (5)');
        $dbh->pg_savepoint('it'); $dbh->do('INSERT INTO t VALUES (3)'); $dbh->pg_rollback_to('it');
        for my $wrong ('RELEASE no_such', 'ROLLBACK TO no_such', 'SAVEPOINT 1') {
            eval { $dbh->do($wrong) }; die $wrong if $@ !~ /no_such|syntax error/;
        }
        $dbh->pg_savepoint('other'); $dbh->pg_release('other');
        $dbh->do('CREATE TEMP TABLE mine (id int)'); $dbh->do('NOTIFY somebody');
        eval { $dbh->do('DROP TABLE t') }; die if $@ !~ /may not run DROP/;
        eval { $dbh->do('SELECT 1 INTO other') }; die if $@ !~ /may not run SELECT INTO/;
        $dbh->do('INSERT INTO t VALUES (4)');",
    );
    loose.hook = Hook::BeforeTxn;
    let mut dbs = Asked { client: &db.client, is_strict: false };
    host(Language::Perl).call(&loose, vec![json!({})], &mut dbs).await.unwrap();
    db.run("COMMIT").await;
    assert_eq!(db.rows("SELECT id FROM t ORDER BY 1").await, ["1", "4", "5"]);
}

/// What is wrong is told with code and line, before it runs.
#[tokio::test]
async fn codes_that_do_not_compile_are_told_with_their_line() {
    for (language, source, why) in [
        (Language::Lua, "local x = 1\nx = = 2\n", "it's \"one\":2: unexpected symbol near '='"),
        (Language::Lua, "\u{1b}Lua", "attempt to load a binary chunk (mode is 't')"),
        (Language::Perl, "my $x = 1;\n$x = = 2;\n", "syntax error at it's 'one' line 2, near \"= =\""),
        (Language::Perl, "use No::Such::Module;", "Can't locate No/Such/Module.pm in @INC"),
        (Language::Sql, "SELECT 1; DELETE FROM t", "it is more than one statement"),
        (Language::Sql, "DROP TABLE t", "custom code may not run DROP"),
        (Language::Sql, "SELECT $2", "$2: the inputs are one value, $1"),
    ] {
        let error = host(language).check(&code(language, source)).await.unwrap_err();
        let CodeError::Compile { code, why: found } = &error else { panic!("{error:?}") };
        assert_eq!(code, NAME);
        assert!(found.starts_with(why), "{found}");
    }
    for (language, source) in
        [(Language::Lua, "error('no')"), (Language::Perl, "die 'no'"), (Language::Sql, "SELECT 1/0")]
    {
        assert_eq!(host(language).check(&code(language, source)).await, Ok(()), "{language:?}: it is not run");
    }
}

/// A source may end before its text does, as in a file of its own; where these words are part of a text it does not.
#[tokio::test]
async fn a_perl_source_ends_where_it_says_so() {
    for (source, expected) in [
        ("$_->{x} = 1;\n__END__\nan old { version\n", json!(1)),
        ("$_->{x} = 2\n__DATA__", json!(2)),
        ("$_->{x} = <<'TEXT';\n__END__\nTEXT\n$_->{x} .= 3;", json!("__END__\n3")),
        ("$_->{x} = 4 # the last line is a remark", json!(4)),
    ] {
        assert_eq!(run(Language::Perl, source, json!({})).await, Ok(json!({"x": expected})), "{source}");
    }
    let source = "my $x = ;\n__END__\n}";
    let error = host(Language::Perl).check(&code(Language::Perl, source)).await.unwrap_err();
    assert!(error.to_string().contains("syntax error at it's 'one' line 1"), "{error}");
}

/// What codes of earlier versions read of their handles is there. What is not there is said, once for each place.
#[tokio::test]
async fn perl_codes_find_the_attributes_of_their_handles() {
    let db = fresh_database("codes").await;
    db.run("BEGIN").await;
    let source = r#"my ($input) = @_;
        my ($dbh, @warned) = ($input->{dbh}{A});
        local $SIG{__WARN__} = sub { push @warned, @_ };
        for (1, 2) { die 'attribute' if defined $dbh->{NoSuch} }
        $dbh->{NoSuch2} = 1;
        $dbh->{private_of_mine} = $dbh->{private_other} || 5;
        die 'private' if $dbh->{private_of_mine} != 5 || !exists $dbh->{AutoCommit} || exists $dbh->{private_other};
        my $found = $dbh->selectrow_hashref('SELECT current_database() AS db, session_user AS me,
            pg_backend_pid() AS pid, current_setting($$server_version_num$$) AS version');
        die 'version' if $dbh->{pg_server_version} != $found->{version};
        die 'names' if $dbh->{Username} ne $found->{me} || $dbh->{pg_user} ne $found->{me} || $dbh->{Name} ne 'A'
            || $dbh->{pg_db} ne $found->{db} || $dbh->{pg_pid} != $found->{pid} || $dbh->{Driver}{Name} ne 'Pg';
        my $sth = $dbh->prepare('SELECT 1 AS "One", 2 AS two WHERE ? = 1');
        die 'statement' if $sth->{Statement} !~ /One/ || $sth->{Database} != $dbh;
        $sth->execute(1);
        die 'columns' if $sth->{NUM_OF_FIELDS} != 2 || "@{ $sth->{NAME} }" ne 'One two' || $sth->{NAME_uc}[0] ne 'ONE'
            || $sth->{NAME_lc}[0] ne 'one' || $sth->{NAME_hash}{One} != 0 || $sth->{NAME_lc_hash}{two} != 1
            || $sth->{NAME_uc_hash}{TWO} != 1;
        die 'key' if $sth->fetchrow_hashref('NAME_lc')->{one} != 1;
        eval { $dbh->do('SELECT 1/0') };
        die 'errors' if $DBI::err != 7 || $DBI::errstr !~ /division by zero/ || $DBI::state ne '22012'
            || $DBI::errstr ne $dbh->errstr;
        $dbh->do('SELECT 1');
        die 'no errors' if defined $DBI::err || defined $DBI::errstr || $DBI::state ne '';
        { local $dbh->{RaiseError} = 0; die 'raised' if defined $dbh->do('SELECT 1/0') }
        eval { $dbh->do('SELECT 1/0'); 1 } and die 'not raised';
        $input->{warned} = \@warned"#;
    let mut dbs = Asked { client: &db.client, is_strict: true };
    let outputs = host(Language::Perl).call(&code(Language::Perl, source), vec![json!({})], &mut dbs).await.unwrap();
    let place = |line: u32| format!("at it's 'one' line {line}.\n");
    let unknown = [
        format!("Attribute \"NoSuch\" of database handles is not there for custom code {}", place(4)),
        format!("Attribute \"NoSuch2\" of database handles cannot be set by custom code {}", place(5)),
    ];
    assert_eq!(outputs[0]["warned"], json!(unknown));
}

/// Codes that loop, eat memory, die, print garbage or flood are stopped and told with their line; the next call works.
#[tokio::test]
async fn codes_that_go_wrong_are_stopped_and_told_and_the_host_goes_on() {
    use Language::{Lua, Perl};
    let late = "it took longer than 1s (customcode_timeout)";
    for (language, source, expected) in [
        (Lua, "\nerror('boom')", "failed: it's \"one\":2: boom"),
        (Lua, "local x = nil\nx.y = 1", "failed: it's \"one\":2: attempt to index a nil value (local 'x')"),
        (Lua, "\nwhile true do end", "(customcode_timeout); it was at line 2"),
        (Lua, "\nfor _ in ipairs(nil) do end", "failed: it's \"one\":2: "),
        (Lua, "\ntable.sort({3, 'x'})", "failed: it's \"one\":2: attempt to compare"),
        (Lua, "\ntable.unpack({}, 1, 1e8)", "failed: it's \"one\":2: table.unpack: too many elements"),
        (Lua, "\nlocal function f() error('deep', 0) end\nf()", "failed: it's \"one\":2: deep"),
        (Lua, "\nstring.find('a', '(')", "failed: it's \"one\":2: unfinished capture"),
        (Lua, "\n\nerror({})", "failed: it's \"one\":3: table: 0x"),
        (Lua, "\npcall(function()\nwhile true do end end)", "(customcode_timeout); it was at line 3"),
        (
            Lua,
            "local t = {}\nwhile true do t[#t + 1] = ('x'):rep(10000) .. #t end",
            "32 MB (customcode_memory_mb); it was at line 2",
        ),
        (Lua, "input.x = ('x'):rep(1e9)", "it wanted more than 32 MB (customcode_memory_mb); it was at line 1"),
        (Lua, "input.x = {}; input.x.x = input.x", "tables inside tables without end"),
        (Lua, "input.x = print", "print"),
        (Lua, "input.x = function() end", "input.x: a function cannot be taken back"),
        (Lua, "input.x = '\\xff'", "input.x: it is no text in UTF-8"),
        (Lua, "input.x = 0/0", "input.x: it is no finite number"),
        (Lua, "setmetatable({}, {__gc = function() end})", "__gc is not allowed here"),
        (Lua, "table.insert(setmetatable({}, {__len = function() return 1e15 end}), 1, 1)", "without a metatable"),
        (Lua, "\nstring.find(('a'):rep(5000), ('.-'):rep(9) .. 'b')", "(customcode_timeout); it was at line 2"),
        (Lua, "string.gsub(('a'):rep(30), ('a?'):rep(30) .. ('a'):rep(31), '')", late),
        (Lua, "string.find(('a'):rep(4900), '[' .. ('b'):rep(4898) .. 'a]*x')", late),
        (Lua, "string.find(('a'):rep(2e6), ('a'):rep(9e3) .. '.b')", late),
        (Lua, "string.find('a', ('a'):rep(2e4) .. '*')", "the pattern is longer than 10000 bytes"),
        (Lua, "while true do string.rep('', 1 << 62) end", late),
        (Lua, "getmetatable('').__len = nil", "attempt to index a string value"),
        (Lua, "table.concat(setmetatable({}, {__len = function() return 1 << 62 end, __index = rawget}))", "too many"),
        (Lua, "table.concat(setmetatable({}, {__index = ('x').sub}), '', -1 << 62, 1 << 62)", "too many elements"),
        (Lua, "table.sort(setmetatable({}, {__len = function() return 1 << 30 end}))", "without a metatable"),
        (Lua, "table.move({}, 1, 1e15, 2)", "too many elements"),
        (Lua, "os.execute('true')", "attempt to call a nil value (field 'execute')"),
        (Lua, "require('x')", "attempt to call a nil value (global 'require')"),
        (Perl, "\ndie 'boom'", "failed: boom at it's 'one' line 2."),
        (Perl, "\nmy $x = 1;\n$x->method", "line 3."),
        (Perl, "die { a => 1 }", "failed: {a => 1} at it's 'one' line 1."),
        (Perl, "die", "failed: Died at it's 'one' line 1."),
        (Perl, "\nwhile (1) {}", "it took longer than 1s (customcode_timeout); it was at it's 'one' line 2"),
        (Perl, "my $x = 1;\nsleep 30", "(customcode_timeout); it was at it's 'one' line 2"),
        (Perl, "my $x = 1;\nreturn sleep 30", "(customcode_timeout); it was at it's 'one' line 2"),
        (Perl, "$SIG{TERM} = 'IGNORE'; while (1) { eval { sleep 9 } }", late),
        (Perl, "my @x; while (1) { push @x, 'x' x 1000 . @x }", "it wanted more than 32 MB (customcode_memory_mb)"),
        (Perl, "exit 3", "exit was called at it's 'one' line 1"),
        (Perl, "kill 9, $$", "its process ended: signal: 9 (SIGKILL)"),
        (Perl, "while (1) { print STDERR 'x' x 4000, \"\\n\" }", "it wrote more than 4 MB to its standard error"),
        (Perl, "$_->{x} = sub { 1 }", "returned what cannot be understood: a value of type CODE cannot be taken back"),
        (Perl, "$_->{x} = $_", "it wanted more than 32 MB"),
        (
            Perl,
            "no_such_function(1)",
            "Undefined subroutine &BucardoCode1::no_such_function called at it's 'one' line 1.",
        ),
        (Perl, "open my $x, '>&=', 4; print $x \"garbage\\n\"; close $x; syswrite STDOUT, 'more'", ""),
    ] {
        let mut host = host(language);
        let mut code = code(language, source);
        code.limits.timeout = Duration::from_secs(1);
        let started = std::time::Instant::now();
        let called = host.call(&code, vec![json!({})], &mut Nowhere).await;
        match called {
            Err(error) => assert!(error.to_string().contains(expected), "{source}: {error}"),
            Ok(output) => assert!(matches!(expected, "" | "print"), "{source}: {output:?}"),
        }
        assert!(started.elapsed() < Duration::from_secs(6), "{source}: {:?}", started.elapsed());
        let mut next = code.clone();
        next.source = if language == Lua { "input.x = 1" } else { "$_->{x} = 1" }.to_owned();
        next.limits.timeout = Duration::from_secs(20);
        let again = host.call(&next, vec![json!({"y": 2})], &mut Nowhere).await;
        assert_eq!(again, Ok(vec![json!({"x": 1, "y": 2})]), "after {source}");
    }
}

/// A database that never answers.
struct Silent;

impl Databases for Silent {
    fn names(&self) -> Vec<String> {
        vec!["A".to_owned()]
    }

    fn run<'a>(&'a mut self, _: &'a str, _: Statement) -> BoxFuture<'a, Result<Found, Refused>> {
        std::future::pending().boxed()
    }
}

/// What a database refuses, and what it takes too long for, is told with the line of the code, caught or not.
#[tokio::test]
async fn what_fails_in_statements_is_told_with_the_line_of_the_code() {
    let db = fresh_database("codes").await;
    db.run("BEGIN").await;
    for (source, expected) in [
        (
            "\n\ninput.dbh.A:run('SELECT 1/0')",
            "failed: it's \"one\":3: database \"A\": division by zero (SQLSTATE 22012)",
        ),
        (
            "\nlocal ok, why = pcall(function()\ninput.dbh.A:run('SELECT 1/0') end)\nerror(why)",
            ":3: database \"A\": division",
        ),
    ] {
        let mut dbs = Asked { client: &db.client, is_strict: true };
        let called = host(Language::Lua).call(&code(Language::Lua, source), vec![json!({})], &mut dbs).await;
        let told = called.unwrap_err().to_string();
        assert!(told.contains(expected), "{told}");
    }
    for source in ["\ninput.dbh.A:run('SELECT 1')", "\npcall(function() input.dbh.A:run('SELECT 1') end) return"] {
        let mut code = code(Language::Lua, source);
        code.limits.timeout = Duration::from_millis(300);
        let told = host(Language::Lua).call(&code, vec![json!({})], &mut Silent).await.unwrap_err().to_string();
        assert!(told.ends_with("(customcode_timeout); it was at line 2"), "{told}");
    }
}

/// What one call leaves in `shared` the next finds; what is sent by mail comes out.
#[tokio::test]
async fn codes_share_what_they_keep_and_send_mail() {
    let lua = "input.shared.n = (input.shared.n or 0) + 1; input.n = input.shared.n; input.sendmail{subject = 's', body = 'b'}";
    let perl = "my $i = shift; $i->{n} = ++$i->{shared}{n}; $i->{sendmail}->({ subject => 's', body => 'b' })";
    for (language, source) in [(Language::Lua, lua), (Language::Perl, perl)] {
        let (mut host, mut code) = (host(language), code(language, source));
        let mails = json!([{"subject": "s", "body": "b"}]);
        let outputs = host.call(&code, vec![json!({}), json!({})], &mut Nowhere).await.unwrap();
        assert_eq!(outputs[1], json!({"n": 2, "sendmail": mails}), "{language:?}");
        code.id = 2;
        let outputs = host.call(&code, vec![json!({})], &mut Nowhere).await.unwrap();
        assert_eq!(outputs[0], json!({"n": 3, "sendmail": mails}), "{language:?}: another code of the same kid");
    }
}

/// Nothing of the daemon's environment reaches a code, and nothing that a code has started outlives its host.
#[tokio::test]
async fn a_perl_code_knows_no_secrets_and_leaves_no_process() {
    let mut host = host(Language::Perl);
    let source = "my $i = shift; $i->{env} = [sort keys %ENV]; $i->{pid} = $$; $i->{child} = fork; if (!$i->{child}) { sleep 60; kill 9, $$ }";
    let outputs = host.call(&code(Language::Perl, source), vec![json!({})], &mut Nowhere).await.unwrap();
    let known = ["LC_ALL", "PATH", "PERL5LIB", "PWD", "TZ"].map(|name| json!(name));
    assert!(outputs[0]["env"].as_array().unwrap().iter().all(|name| known.contains(name)), "{}", outputs[0]);
    drop(host);
    for process in ["pid", "child"] {
        let path = format!("/proc/{}/status", outputs[0][process]);
        wait::until(process, Duration::from_secs(10), async || {
            let status = std::fs::read_to_string(&path).unwrap_or_default();
            if status.is_empty() || status.contains("State:\tZ") { Ok(()) } else { Err(status) }
        })
        .await;
    }
}

/// The power of the daemon fails while a code loops: the code ends with it.
#[tokio::test]
async fn a_perl_code_ends_with_a_daemon_that_is_killed() {
    let mut town = Town::found("CREATE TABLE t (id int PRIMARY KEY)").await;
    town.sync("");
    let (note, code) = (town.bucardo.home().join("pid"), town.bucardo.home().join("loop.pl"));
    let source = format!("open my $f, '>', '{}' or die; print $f \"$$\\n\"; close $f; while (1) {{}}", note.display());
    std::fs::write(&code, source).unwrap();
    let file = format!("src_code={}", code.display());
    town.bucardo.call(&["add", "customcode", "loop", "whenrun=before_txn", &file, "sync=s"]).ok();
    let daemon = town.daemon().await;
    let within = Duration::from_secs(30);
    let pid = wait::until("the code to run", within, async || {
        let pid = std::fs::read_to_string(&note).unwrap_or_default();
        if pid.ends_with('\n') { Ok(pid.trim().to_owned()) } else { Err(pid) }
    })
    .await;
    daemon.kill();
    wait::until("the end of the code", within, async || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        if status.is_empty() || status.contains("State:\tZ") { Ok(()) } else { Err(status) }
    })
    .await;
}
