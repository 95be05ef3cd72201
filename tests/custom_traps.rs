//! What custom codes leave behind, die of and take for granted, and what is told of it.

use std::time::Duration;

use bucardo::custom::{Code, Hook, Language, open};
use serde_json::{Value, json};

use crate::custom_hosts::{Asked, Nowhere, Sturdy, code, host};
use crate::support::codes::code as at;
use crate::support::{SyncLab, fresh_database, wait};

async fn dies(source: &str) -> String {
    let called = host(Language::Perl).call(&code(Language::Perl, source), vec![json!({})], &mut Nowhere).await;
    called.unwrap_err().to_string()
}

/// A host without DBI: codes that load it and its friends compile, their constants mean something, and a connection of
/// their own is refused with a word about handles.
#[tokio::test]
async fn perl_codes_load_dbi_where_there_is_none() {
    let db = fresh_database("codes").await;
    db.run("CREATE TABLE t (id int, raw bytea); BEGIN").await;
    let source = r#"BEGIN { @INC = grep { ref } @INC }
        use DBI 1.600 qw(:sql_types looks_like_number); use DBD::Pg qw(:pg_types :async); use DBIx::Safe;
        my ($input) = @_;
        my $sth = $input->{dbh}{A}->prepare('INSERT INTO t VALUES (?, ?)');
        $sth->bind_param(1, 7, SQL_INTEGER);
        $sth->bind_param(2, "\x00\xff", { pg_type => PG_BYTEA });
        $sth->execute;
        $input->{found} = unpack 'H*', $input->{dbh}{A}->selectrow_array('SELECT raw FROM t');
        $input->{numbers} = join ',', map { looks_like_number($_) ? 1 : 0 } '1e5', ' 2 ', 'x', '';
        $input->{why} = [map { eval $_; $@ } 'DBI->connect("dbi:Pg:dbname=x")', 'DBIx::Safe->new({})', 'DBD::Pg::none()']"#;
    let mut dbs = Asked { client: &db.client, is_strict: true };
    let outputs = host(Language::Perl).call(&code(Language::Perl, source), vec![json!({})], &mut dbs).await.unwrap();
    assert_eq!((&outputs[0]["found"], &outputs[0]["numbers"]), (&json!("00ff"), &json!("1,1,0,0")));
    for (why, function) in
        outputs[0]["why"].as_array().unwrap().iter().zip(["DBI::connect", "DBIx::Safe::new", "DBD::Pg::none"])
    {
        let why = why.as_str().unwrap();
        assert!(why.starts_with(&format!("{function}: ")) && why.contains("is not installed here"), "{why}");
        assert!(why.contains("$input->{dbh}{NAME}"), "{why}");
    }
    assert!(
        dies("BEGIN { @INC = grep { ref } @INC } use DBI;\nDBI->connect('x')").await.contains("at it's 'one' line 2.")
    );
}

/// Where DBI is installed it is the real one, and its variables tell of whichever handle was used last.
#[tokio::test]
async fn perl_codes_that_have_dbi_may_use_it() {
    let db = fresh_database("codes").await;
    db.run("BEGIN").await;
    let source = r#"my ($input) = @_;
        $input->{is_there} = eval { require DBI; require DBD::Pg; 1 } && DBI->can('install_driver') ? 1 : 0;
        return if !$input->{is_there};
        my $own = DBI->connect("dbi:Pg:$input->{place}", undef, undef, { RaiseError => 1, PrintError => 0 });
        my $dbh = $input->{dbh}{A};
        my @told;
        for my $handle ($dbh, $own, $dbh, $own) {
            eval { $handle->do('SELECT no_such_column') };
            push @told, "$DBI::state " . ($DBI::errstr =~ /no_such_column/ ? 1 : 0);
            $handle->do('SELECT 1');
            push @told, defined $DBI::err ? $DBI::err : 'none';
        }
        eval { $dbh->do('SELECT 1/0') };
        $input->{told} = [@told, $DBI::state]"#;
    let mut dbs = Asked { client: &db.client, is_strict: true };
    let input = json!({"place": db.conninfo().replace(' ', ";")});
    let outputs = host(Language::Perl).call(&code(Language::Perl, source), vec![input], &mut dbs).await.unwrap();
    if outputs[0]["is_there"] == 0 {
        eprintln!("SKIPPED: no DBD::Pg (package libdbd-pg-perl)");
        return;
    }
    let told = ["42703 1", "none"].repeat(4);
    assert_eq!(outputs[0]["told"], json!([&told[..], &["22012"]].concat()));
}

/// What a Perl code dies of is told in words, with the line where it died.
#[tokio::test]
async fn perl_codes_that_die_of_objects_are_told_in_words() {
    for (source, expected) in [
        ("die { code => 1, text => 'no' }", r#"failed: {code => 1, text => "no"} at it's 'one' line 1."#),
        ("\ndie [1, [2, { a => undef }]]", "failed: [1, [2, {a => undef}]] at it's 'one' line 2."),
        (
            "die bless { message => 'x y' }, 'My::Error'",
            r#"failed: My::Error {message => "x y"} at it's 'one' line 1."#,
        ),
        (
            "{ package Told; use overload '\"\"' => sub { \"told: $_[0]{text}\" } }\n\ndie bless { text => 'no' }, 'Told'",
            "failed: told: no at it's 'one' line 3.",
        ),
        ("die \\'referred'", "failed: referred at it's 'one' line 1."),
        ("my $x = {}; $x->{x} = $x; die $x", "failed: {x => {x => {x => HASH}}} at it's 'one' line 1."),
        ("my $x = sub { 1 };\ndie $x;", "failed: CODE at it's 'one' line 2."),
        ("\neval { die { code => 1 } };\ndie $@", "failed: {code => 1} at it's 'one' line 3."),
        ("\ndie \"no line\\n\"", "failed: no line at it's 'one' line 2."),
        ("eval { die { code => 1 } };\n\ndie 'later'", "failed: later at it's 'one' line 3."),
        ("die { map { $_ => 1 } 10 .. 99 }", "28 => 1, 29 => 1, ...} at it's 'one' line 1."),
    ] {
        let told = dies(source).await;
        assert!(told.ends_with(expected), "{source}: {told}");
    }
    assert!(dies("die { x => 'y' x 1e6 }").await.len() < 400);
}

/// What takes too much memory is told with its line, as far as Perl comes to tell it.
#[tokio::test]
async fn perl_codes_that_want_too_much_memory_are_told_with_their_line() {
    for source in [
        "my @x;\nwhile (1) { push @x, 'x' x 1000 . @x }",
        "sub grow { my @x;\npush @x, [1] while 1 }\ngrow()",
        "eval {\nmy $x = 'x'; $x .= $x while 1 }; die 'never'",
    ] {
        let told = dies(source).await;
        assert!(told.ends_with("32 MB (customcode_memory_mb); it was at it's 'one' line 2"), "{source}: {told}");
    }
    // What a code has left in this variable is no death.
    let source = "system('false'); $_->{x} = $? >> 8; `true`; $? = 256;";
    let mut host = host(Language::Perl);
    for _ in 0..2 {
        let outputs = host.call(&code(Language::Perl, source), vec![json!({})], &mut Nowhere).await;
        assert_eq!(outputs, Ok(vec![json!({"x": 1})]));
    }
    assert!(dies("kill 'TERM', $$; sleep 5").await.contains("; it was at it's 'one' line 1"));
}

/// Processes in sessions of their own, and those whose parents have ended, end with the host of the code that started them.
#[tokio::test]
async fn no_process_of_a_perl_code_outlives_its_host() {
    let mut host = host(Language::Perl);
    let source = r#"use POSIX (); my $i = shift;
        pipe my $read, my $write;
        my $first = fork;
        if (!$first) {
            POSIX::setsid();
            if (!fork) { syswrite $write, "$$\n"; sleep 60 }
            POSIX::_exit(0);
        }
        waitpid $first, 0;
        $i->{orphan} = readline($read) + 0;
        $i->{leader} = fork;
        if (!$i->{leader}) { POSIX::setsid(); syswrite $write, "there\n"; sleep 60; POSIX::_exit(0) }
        readline $read"#;
    let code = code(Language::Perl, source);
    let outputs = host.call(&code, vec![json!({})], &mut Nowhere).await.unwrap();
    let of = |process: &str| format!("/proc/{}/status", outputs[0][process]);
    let read = |process: &str| std::fs::read_to_string(of(process)).unwrap_or_default();
    for process in ["orphan", "leader"] {
        assert!(read(process).contains("State:\tS"), "{process} runs: {}", read(process));
    }
    drop(host);
    for process in ["orphan", "leader"] {
        wait::until(process, Duration::from_secs(10), async || {
            let status = read(process);
            if status.is_empty() || status.contains("State:\tZ") { Ok(()) } else { Err(status) }
        })
        .await;
    }
}

const DDL: &str = "CREATE TABLE t (id int PRIMARY KEY); \
    CREATE FUNCTION fail(state text) RETURNS int LANGUAGE plpgsql AS $$ BEGIN \
        RAISE EXCEPTION 'it fails' USING ERRCODE = state, DETAIL = 'more of it'; END $$";

fn statement(language: Language, sql: &str) -> Code {
    let source = match language {
        Language::Lua => format!("input.dbh.b:run([[{sql}]])"),
        Language::Perl => format!("$_->{{dbh}}{{b}}->do(q{{{sql}}})"),
        Language::Sql => sql.to_owned(),
    };
    Code { language, name: "code".to_owned(), ..at(Hook::BeforeCheckRows, &source) }
}

/// What passes by itself is no reason to switch a code off; what the code itself does is.
#[tokio::test]
async fn advice_about_codes_that_fail_fits_what_they_failed_of() {
    let mut lab = SyncLab::start(&["b"], DDL, &["t:id"]).await;
    lab.hosts = Some(open());
    for language in [Language::Lua, Language::Perl, Language::Sql] {
        for (sql, advice) in [
            (
                "SELECT pg_terminate_backend(pg_backend_pid())",
                "why the session was lost is in the log of the server of database \"b\"",
            ),
            ("SELECT fail('40P01')", "see what keeps the server of database \"b\" busy"),
            ("SELECT fail('55P03')", "see what keeps the server of database \"b\" busy"),
            ("SELECT 1/0", "status=inactive"),
            ("SELECT fail('P0001')", "status=inactive"),
        ] {
            lab.sync.codes = vec![statement(language, sql)];
            lab.renew();
            let fault = lab.round("b").await.unwrap_err();
            let hint = fault.hint.unwrap();
            assert!(hint.contains(advice), "{language:?} {sql}: {} ({hint})", fault.message);
            assert!(advice == "status=inactive" || !hint.contains("inactive"), "{hint}");
            assert!(fault.message.starts_with("custom code \"code\" failed: "), "{}", fault.message);
        }
    }
}

/// The session of a kid lives on: no lock that a code has taken there does.
#[tokio::test]
async fn locks_that_codes_take_end_with_them() {
    let mut lab = SyncLab::start(&["b"], DDL, &["t:id"]).await;
    lab.hosts = Some(open());
    for language in [Language::Lua, Language::Perl, Language::Sql] {
        lab.sync.codes = vec![statement(language, "SELECT pg_advisory_lock(7)")];
        lab.renew();
        lab.on("a").run("DELETE FROM t; INSERT INTO t VALUES (1)").await;
        lab.round("b").await.unwrap();
        let locks = "SELECT count(*) FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database \
            WHERE l.locktype = 'advisory' AND d.datname = current_database()";
        assert_eq!(lab.on("b").number(locks).await, 0, "{language:?}");
    }
}

/// A Lua code that asks for more than there is room for is told with its line.
#[tokio::test]
async fn lua_codes_that_repeat_too_much_are_told_with_their_line() {
    for source in [
        "\ninput.x = ('x'):rep(1e9)",
        "\nlocal x = string.rep('x', 1 << 62, 'y')",
        "\npcall(string.rep, 'x', 1e18) error('not enough memory')",
    ] {
        let called = host(Language::Lua).call(&code(Language::Lua, source), vec![json!({})], &mut Nowhere).await;
        let told = called.unwrap_err().to_string();
        assert!(told.ends_with("32 MB (customcode_memory_mb); it was at line 2"), "{source}: {told}");
    }
    let fine = host(Language::Lua)
        .call(&code(Language::Lua, "input.x = ('x'):rep(3, '-') .. ('y'):rep(-1e9)"), vec![json!({})], &mut Nowhere)
        .await;
    assert_eq!(fine, Ok::<Vec<Value>, _>(vec![json!({"x": "x-x-x"})]));
}

/// Whatever a code dies of is told in one line that is not too long, and nothing that it does outlives its call.
#[tokio::test]
async fn what_codes_die_of_is_told_in_one_line() {
    let db = fresh_database("codes").await;
    db.run("CREATE FUNCTION say() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION '%', E'a\\nERROR b' || repeat('x', 100000); END $$; BEGIN").await;
    let long = "ERROR b xx";
    for (language, source) in [
        (Language::Lua, "error('a\\nERROR b ' .. ('x'):rep(1e6))"),
        (
            Language::Lua,
            "error(setmetatable({}, {__tostring = function() return 'a\\nERROR b ' .. ('x'):rep(1e6) end}))",
        ),
        (Language::Lua, "input.dbh.A:run('SELECT say()')"),
        (Language::Lua, "input.dbh.A:run(('x'):rep(1e6))"),
        (Language::Perl, "die qq{a\\nERROR b } . 'x' x 1e6"),
        (Language::Perl, "$_->{dbh}{A}->do('SELECT say()')"),
        (Language::Sql, "SELECT say()"),
    ] {
        let mut dbs = Asked { client: &db.client, is_strict: true };
        let called = host(language).call(&code(language, source), vec![json!({"sourcename": "A"})], &mut dbs).await;
        let told = called.unwrap_err().to_string();
        assert!(!told.contains('\n') && told.chars().count() < 2200, "{language:?} {source}: {told}");
        assert!(
            told.contains(long) || told.contains("ERROR bxx") || told.contains("XXX"),
            "{language:?} {source}: {told}"
        );
    }
    db.run("ROLLBACK").await;
}

/// The handler of an error runs under the same limits as anything else: no thread is left behind that never ends.
#[tokio::test]
async fn lua_codes_are_stopped_in_handlers_of_errors_too() {
    for source in [
        "xpcall(function() while true do end end, function()\nwhile true do end end)",
        "xpcall(error, function()\nwhile true do end end)",
        "\nwhile true do xpcall(function() while true do end end, function() return 1 end) end",
    ] {
        let mut code = code(Language::Lua, source);
        code.limits.timeout = Duration::from_millis(300);
        let called = host(Language::Lua).call(&code, vec![json!({})], &mut Nowhere).await;
        let told = called.unwrap_err().to_string();
        assert!(told.contains("(customcode_timeout); it was at line "), "{source}: {told}");
    }
    let source = "local function twice(x) return x, x end
        input.x = {xpcall(twice, error, 2)}
        input.y = {xpcall(error, function(why, more) return why .. '!', more end, 'no', 0)}
        input.z = {xpcall(error, error, 'no', 0)}";
    let outputs = host(Language::Lua).call(&code(Language::Lua, source), vec![json!({})], &mut Nowhere).await.unwrap();
    assert_eq!(outputs[0], json!({"x": [true, 2, 2], "y": [false, "no!"], "z": [false, "no"]}));
}

/// What codes leave of many inputs is bounded as a whole, whatever they leave of each.
#[tokio::test]
async fn codes_that_return_too_much_of_many_inputs_are_stopped() {
    let db = fresh_database("codes").await;
    db.run("BEGIN").await;
    for (language, source) in [
        (Language::Lua, "input.x = ('y'):rep(3e6)"),
        (Language::Perl, "$_->{x} = 'y' x 3e6"),
        (Language::Sql, "SELECT jsonb_build_object('x', repeat('y', 3000000))"),
    ] {
        let mut dbs = Sturdy { client: &db.client, calls: 0 };
        let inputs = vec![json!({"sourcename": "A", "text": "z".repeat(300_000)}); 50];
        let called = host(language).call(&code(language, source), inputs, &mut dbs).await;
        let told = called.unwrap_err().to_string();
        let wanted = match language {
            Language::Lua => "it is too much to take back",
            _ => "was stopped: what it returned of one call has more than 64 MB",
        };
        assert!(told.ends_with(wanted), "{language:?}: {told}");
    }
    db.run("ROLLBACK").await;
}
