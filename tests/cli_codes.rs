//! Custom code on the command line: it is kept as it is written, under the words of every version; what does not compile
//! is told, and a code can be tried outside of any run.

use serde_json::Value;

use crate::cli_lab::CliLab;

const TABLES: &str = "CREATE TABLE orders (id int PRIMARY KEY); CREATE TABLE other (id int PRIMARY KEY)";
const CODE: &str = "## it's code\nmy $x = \"\\n\";\n";

fn write(lab: &CliLab, name: &str, text: impl AsRef<[u8]>) -> String {
    let path = lab.bucardo.home().join(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[tokio::test]
async fn codes_are_added_listed_changed_and_removed() {
    let lab = CliLab::start().await;
    let _dbs = (lab.db("A", TABLES).await, lab.db("B", TABLES).await);
    lab.bucardo.run("add sync s tables=orders dbs=A,B");
    assert_eq!(lab.bucardo.run("list codes"), "There are no entries in the 'customcode' table.\n");
    let file = write(&lab, "one.pl", CODE);
    let added = lab.call(&[
        "add",
        "customcode",
        "one",
        "whenrun=before_trigger_drop",
        &format!("src_code={file}"),
        "sync=s",
        "priority=3",
        "about=a remark",
        "getdbh=no",
    ]);
    assert_eq!(added.stderr, "");
    assert_eq!(added.ok(), "Added customcode \"one\"\n");
    assert_eq!(lab.control.value("SELECT src_code FROM bucardo.customcode").await, CODE);
    let maps = "SELECT sync, goat IS NULL, active, priority FROM bucardo.customcode_map ORDER BY 1";
    assert_eq!(lab.control.rows(maps).await, ["s|t|t|3"]);
    assert_eq!(
        lab.bucardo.run("list codes"),
        "Code: one  When run: before_trigger_disable  Get dbh: no   Status: active  Language: perl\n\
         \x20 Syncs: s (priority 3)\n  About: a remark\n"
    );
    assert!(lab.bucardo.run("list customcode one -vvv").contains(CODE.trim_end()));
    assert_eq!(lab.bucardo.run("list codes status=inactive"), "No matching custom codes found\n");
    let all = lab.bucardo.run("list all");
    assert!(all.starts_with("-- customcodes:\nCode: one"), "{all}");

    let validated = lab.call(&["validate", "s"]);
    assert_eq!((validated.code, validated.stderr.as_str()), (0, ""));

    lab.call(&["add", "code", "two", "whenrun=conflict", &format!("src_code={file}"), "table=public.orders"]).ok();
    assert_eq!(
        lab.bucardo.run("update customcode two status=inactive name=three getdbh=true"),
        "No change needed for getdbh\nChanged customcode \"two\" status from 'active' to 'inactive'\n\
         Changed customcode \"two\" name from 'two' to 'three'\n"
    );
    let other = write(&lab, "other.pl", "1;\n");
    assert_eq!(
        lab.bucardo.run(&format!("update customcode three src_code={other} whenrun=after_sync")),
        "Changed customcode \"three\" whenrun from 'conflict' to 'after_sync'\n\
         Changed customcode \"three\" src_code (3 bytes)\n"
    );
    let lua = write(&lab, "other.lua", "local x = 1\n");
    let told = lab.bucardo.run(&format!("update customcode three src_code={lua}"));
    assert!(told.ends_with("Changed customcode \"three\" language from 'perl' to 'lua'\n"), "{told}");
    let nameless = write(&lab, "other", "local x = 2\n");
    let told = lab.bucardo.run(&format!("update customcode three src_code={nameless}"));
    assert_eq!(told, "Changed customcode \"three\" src_code (12 bytes)\n", "it may be in any language");
    let told = lab.bucardo.run(&format!("update customcode three src_code={other} language=lua"));
    assert!(told.starts_with("No change needed for language\n"), "who names it knows: {told}");
    assert_eq!(
        lab.bucardo.run("update customcode one sync=s active=false"),
        "Customcode \"one\" is now for sync \"s\"\n"
    );
    assert_eq!(lab.control.rows(maps).await, ["s|t|f|3", "|f|t|0"]);
    let json: Value = serde_json::from_str(&lab.bucardo.run("list codes --json")).unwrap();
    assert_eq!(json[0]["uses"][0]["active"], false);
    assert_eq!(json[1]["uses"][0]["relation"], "public.orders");

    lab.bucardo.run("remove sync s");
    assert_eq!(lab.bucardo.run("list code one").lines().count(), 2, "it is for no sync now");
    assert_eq!(
        lab.bucardo.run("remove customcode one three"),
        "Removed customcode \"one\"\nRemoved customcode \"three\"\n"
    );
    assert_eq!(lab.control.number("SELECT count(*) FROM bucardo.customcode_map").await, 0);
}

#[tokio::test]
async fn codes_that_make_no_sense_are_refused_and_change_nothing() {
    let lab = CliLab::start().await;
    let _a = lab.db("A", TABLES).await;
    let file = format!("src_code={}", write(&lab, "one.pl", CODE));
    let empty = format!("src_code={}", write(&lab, "empty.pl", " \n"));
    let binary = format!("src_code={}", write(&lab, "binary.pl", [0xff_u8, 0xfe]));
    let large = format!("src_code={}", write(&lab, "large.pl", vec![b'x'; (1 << 20) + 1]));
    lab.call(&["add", "customcode", "known", "whenrun=before_txn", &file]).ok();
    for (code, words, complaint) in [
        (1, &["add", "customcode", "x"][..], "bucardo add customcode NAME"),
        (1, &["add", "customcode", "x", "whenrun=before_txn"], "bucardo add customcode NAME"),
        (255, &["add", "customcode", "x", "whenrun=sometimes", &file], "Invalid value for 'whenrun': must be one of"),
        (255, &["add", "customcode", "x", "whenrun=before_txn", &file, "getdbh=maybe"], "Invalid value for 'getdbh'"),
        (1, &["add", "customcode", "x", "whenrun=before_txn", &file, "priority=x"], "Invalid value for 'priority'"),
        (1, &["add", "customcode", "x", "whenrun=before_txn", &file, "priority=40000"], "Invalid value for 'priority'"),
        (1, &["add", "customcode", "x", "whenrun=before_txn", &file, "sync=none"], "Unknown sync \"none\""),
        (1, &["add", "customcode", "x", "whenrun=before_txn", &file, "table=none"], "Could not find a relation named"),
        (255, &["add", "customcode", "x", "whenrun=before_txn", &file, "getrows=some"], "Invalid value for 'getrows'"),
        (255, &["add", "customcode", "x", "whenrun=before_txn", &file, "language=c"], "Invalid value for 'language'"),
        (1, &["test", "sync", "known"], "bucardo test customcode NAME"),
        (1, &["test", "customcode", "known", "--file=/no/such"], "Cannot read the input in file \"/no/such\""),
        (255, &["test", "customcode", "known", "db=none"], "Unknown database \"none\""),
        (255, &["test", "customcode", "konwn"], "Could not find a customcode named \"konwn\""),
        (255, &["add", "customcode", "x", "whenrun=before_txn", &file, "table=t", "sync=s"], "A code is for a sync or"),
        (2, &["add", "customcode", "known", "whenrun=before_txn", &file], "Cannot add customcode: the name \"known\""),
        (2, &["add", "customcode", "x", "whenrun=before_txn", "src_code=/no/such"], "Cannot read the code in file"),
        (2, &["add", "customcode", "x", "whenrun=before_txn", &empty], "Cannot read the code in file"),
        (2, &["add", "customcode", "x", "whenrun=before_txn", &binary], "Cannot read the code in file"),
        (2, &["add", "customcode", "x", "whenrun=before_txn", &large], "Cannot read the code in file"),
        (1, &["update", "customcode", "known"], "bucardo update customcode NAME"),
        (1, &["update", "customcode", "known", "active=no"], "\"active\" tells whether a code runs in one place"),
        (1, &["update", "customcode", "known", "src_cod=x"], "Unknown option 'src_cod'"),
        (255, &["update", "customcode", "konwn", "status=inactive"], "Could not find a customcode named \"konwn\""),
        (255, &["remove", "customcode", "known", "none"], "Could not find a customcode named \"none\""),
    ] {
        let refusal = lab.refused(code, words).await;
        assert!(refusal.starts_with(complaint), "{words:?}: {refusal}");
    }
}

/// Where codes are to decide the conflicts of a table, and there is none for it, `validate` warns.
#[tokio::test]
async fn tables_whose_conflicts_no_code_decides_are_named_by_validate() {
    let lab = CliLab::start().await;
    let _dbs = (lab.db("A", TABLES).await, lab.db("B", TABLES).await);
    lab.bucardo.run("add sync s tables=orders,other dbs=A:source,B:source conflict_strategy=bucardo_custom");
    let file = format!("src_code={}", write(&lab, "one.lua", "input.winner = 'A'"));
    lab.call(&["add", "customcode", "one", "whenrun=conflict", &file, "relation=public.orders"]).ok();
    let warned = lab.call(&["validate", "s"]);
    assert_eq!(warned.code, 0);
    let warning = "table \"public.other\" has the conflict strategy bucardo_custom and no custom code for conflicts";
    assert!(warned.stderr.contains(warning) && !warned.stderr.contains("public.orders"), "{}", warned.stderr);
    lab.call(&["add", "customcode", "all", "whenrun=conflict", &file, "sync=s"]).ok();
    assert_eq!(lab.call(&["validate", "s"]).stderr, "");
}

/// A code that does not compile keeps its sync from being valid; one that is off does not.
#[tokio::test]
async fn codes_that_do_not_compile_are_named_by_validate() {
    let lab = CliLab::start().await;
    let _dbs = (lab.db("A", TABLES).await, lab.db("B", TABLES).await);
    lab.bucardo.run("add sync s tables=orders dbs=A,B");
    for (name, text, problem) in [
        (
            "bad.lua",
            "local x =\n= 1",
            "custom code \"bad.lua\" does not compile: bad.lua:2: unexpected symbol near '='",
        ),
        ("bad.pl", "my $x = 1;\n$x =;", "custom code \"bad.pl\" does not compile: syntax error at bad.pl line 2"),
        ("bad.sql", "SELEC 1", "custom code \"bad.sql\" does not compile: custom code may not run SELEC"),
        (
            "column.sql",
            "SELECT nothing FROM orders",
            "custom code \"column.sql\" on database \"B\": column \"nothing\" does not exist",
        ),
        ("named.sql", "-- db: C\nSELECT 1", "custom code \"named.sql\" is for database \"C\", which is not there"),
    ] {
        let file = format!("src_code={}", write(&lab, name, text));
        lab.call(&["add", "customcode", name, "whenrun=after_txn", &file, "sync=s"]).ok();
        let validated = lab.call(&["validate", "s"]);
        assert_eq!(validated.code, 1, "{name}");
        assert!(validated.stderr.contains(problem), "{name}: {}", validated.stderr);
        lab.bucardo.run(&format!("update customcode {name} status=inactive"));
        assert_eq!(lab.call(&["validate", "s"]).stderr, "", "{name}");
    }
    let languages = "SELECT language FROM bucardo.customcode ORDER BY name";
    assert_eq!(lab.control.rows(languages).await, ["lua", "perl", "sql", "sql", "sql"], "by the names of the files");
    let without_perl = lab.bucardo.command(&["validate", "s"]).env("PATH", "/nowhere").output().unwrap();
    assert!(without_perl.status.success(), "nothing in Perl is active");
    lab.bucardo.run("update customcode bad.pl status=active");
    let without_perl = lab.bucardo.command(&["validate", "s"]).env("PATH", "/nowhere").output().unwrap();
    let told = String::from_utf8(without_perl.stderr).unwrap();
    assert!(told.contains("custom code \"bad.pl\" cannot be run: there is no program \"perl\" in the PATH"), "{told}");
}

/// What a code makes of an input is shown, and nothing that it does stays.
#[tokio::test]
async fn a_code_is_tried_outside_of_any_run() {
    let lab = CliLab::start().await;
    let a = lab.db("A", TABLES).await;
    let input = write(&lab, "input.json", r#"{"rows": {"A": {"n": "4"}}}"#);
    let inputs = write(&lab, "inputs.json", r#"[{"n": 1}, {"n": 2}]"#);
    for (name, text) in [
        (
            "t.lua",
            "input.n = input.dbh.A:value('SELECT count(*) FROM orders') + input.dbh.A:run('INSERT INTO orders VALUES (1)')",
        ),
        (
            "t.pl",
            "my $d = $_->{dbh}{A}; print qq{it says\\n}; $_->{n} = $d->do('INSERT INTO orders VALUES (1)'); eval { $d->commit }; $_->{why} = $@",
        ),
        (
            "t.sql",
            "WITH x AS (INSERT INTO orders VALUES (1) RETURNING id) SELECT jsonb_build_object('n', ($1#>>'{rows,A,n}')::int + id) FROM x",
        ),
    ] {
        let file = format!("src_code={}", write(&lab, name, text));
        lab.call(&["add", "customcode", name, "whenrun=before_txn", &file]).ok();
        let tried = lab.call(&["test", "customcode", name, "--file", &input, "db=A"]);
        assert_eq!(tried.code, 0, "{}", tried.stderr);
        let output: Value = serde_json::from_str(&tried.stdout).unwrap();
        assert_eq!(output["rows"]["A"]["n"], "4");
        assert_eq!(output["n"], if name == "t.sql" { 5 } else { 1 });
        if name == "t.pl" {
            assert!(tried.stderr.contains("it says"), "{}", tried.stderr);
            assert!(output["why"].as_str().unwrap().contains("a test commits nothing"), "{output}");
        }
        assert_eq!(a.number("SELECT count(*) FROM orders").await, 0, "{name}: it is rolled back");
    }
    let file =
        format!("src_code={}", write(&lab, "many.lua", "input.n = input.n + 1; if input.n > 2 then error('no') end"));
    lab.call(&["add", "customcode", "many", "whenrun=conflict", &file]).ok();
    let tried = lab.call(&["test", "customcode", "many", "file", &inputs]);
    assert_eq!(tried.code, 1, "a word too many: {}", tried.stdout);
    let tried = lab.call(&["test", "code", "many", &format!("--file={inputs}")]);
    assert_eq!(tried.code, 1);
    assert!(tried.stderr.contains("custom code \"many\" failed: many:1: no"), "{}", tried.stderr);
    // The hint of a failure, as it stands; and an example that needs to know where it is.
    let _b = lab.db("B", &format!("{TABLES}; CREATE TABLE users (id int PRIMARY KEY, email text)")).await;
    lab.bucardo.run("add sync s tables=orders dbs=A,B");
    let example = format!("src_code={}/deploy/custom_code/unique_email.", env!("CARGO_MANIFEST_DIR"));
    for language in ["lua", "pl", "sql"] {
        let (name, file) = (format!("e mail.{language}"), format!("{example}{language}"));
        lab.call(&["add", "customcode", &name, "whenrun=exception", &file]).ok();
        for place in ["db=A,B", "sync=s"] {
            let tried = lab.call(&["test", "customcode", &name, place]);
            assert_eq!(tried.code, 0, "{name} {place}: {}", tried.stderr);
            let output: Value = serde_json::from_str(&tried.stdout).unwrap();
            assert_eq!((&output["database"], &output["targetname"]), (&Value::from("B"), &Value::from("B")));
        }
    }
    assert!(lab.call(&["test", "customcode", "many", "sync=none"]).stderr.contains("Unknown sync \"none\""));
}
