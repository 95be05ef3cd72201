//! Custom code on the command line: it is kept as it is written, under the words of every version, and whoever keeps it
//! is told that it does not run.

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
    assert!(added.stderr.contains("does not run it yet"), "{}", added.stderr);
    assert_eq!(added.ok(), "Added customcode \"one\"\n");
    assert_eq!(lab.control.value("SELECT src_code FROM bucardo.customcode").await, CODE);
    let maps = "SELECT sync, goat IS NULL, active, priority FROM bucardo.customcode_map ORDER BY 1";
    assert_eq!(lab.control.rows(maps).await, ["s|t|t|3"]);
    assert_eq!(
        lab.bucardo.run("list codes"),
        "Code: one  When run: before_trigger_disable  Get dbh: no   Status: active\n\
         \x20 Syncs: s (priority 3)\n  About: a remark\n"
    );
    assert!(lab.bucardo.run("list customcode one -vvv").contains(CODE.trim_end()));
    assert_eq!(lab.bucardo.run("list codes status=inactive"), "No matching custom codes found\n");
    let all = lab.bucardo.run("list all");
    assert!(all.starts_with("-- customcodes:\nCode: one"), "{all}");

    let validated = lab.call(&["validate", "s"]);
    assert!(validated.stderr.contains("sync \"s\" has custom code (one)"), "{}", validated.stderr);
    assert_eq!(validated.code, 0);

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
    assert_eq!(
        lab.bucardo.run("update customcode one sync=s active=false"),
        "Customcode \"one\" is now for sync \"s\"\n"
    );
    assert_eq!(lab.control.rows(maps).await, ["s|t|f|3", "|f|t|0"]);
    let quiet = lab.call(&["validate", "s"]);
    assert!(!quiet.stderr.contains("custom code"), "neither is active here: {}", quiet.stderr);
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
        (1, &["add", "customcode", "x", "whenrun=before_txn", &file, "getrows=1"], "Unknown option 'getrows'"),
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
