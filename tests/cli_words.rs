//! Words that are mistyped, filters of lists, and the verbs `inspect` and `upgrade`.

use std::io::Read;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use crate::cli_lab::CliLab;
use crate::support::{Bucardo, fresh_database, wait};

const TABLES: &str = "CREATE TABLE customers (id int PRIMARY KEY);
    CREATE TABLE orders (id int PRIMARY KEY, customer int CONSTRAINT who REFERENCES customers);
    CREATE TABLE lines (id int PRIMARY KEY, orders int REFERENCES orders, next int REFERENCES lines)";

/// Each complaint names what was probably meant, and nothing is done in its stead.
#[tokio::test]
async fn mistyped_words_are_told_what_was_meant() {
    let lab = CliLab::start().await;
    let _dbs = (lab.db("east", TABLES).await, lab.db("west", TABLES).await);
    lab.bucardo.run("add sync shop tables=customers dbs=east,west");
    for (words, meant) in [
        ("lust dbs", "list"),
        ("list squence", "sequence"),
        ("list dbs satus=active", "status"),
        ("add db x dbnaem=y", "dbname"),
        ("update sync shop autokik=off", "autokick"),
        ("update sync sohp autokick=off", "shop"),
        ("update db esat status=inactive", "east"),
        ("update table custmers makedelta=on", "customers"),
        ("remove db wets", "west"),
        ("remove sync shpo", "shop"),
        ("kick shpo", "shop"),
        ("validate shpo", "shop"),
        ("inspect table ordesr", "orders"),
        ("set mcp_pingtmie=3", "mcp_pingtime"),
    ] {
        lab.bucardo.run("add table orders db=east");
        let before = lab.catalog().await;
        let complaint = lab.bucardo.fails(words);
        assert!(complaint.contains(&format!("did you mean \"{meant}\"?")), "{words}: {complaint}");
        assert_eq!(lab.catalog().await, before, "{words}");
    }
    let complaint = lab.bucardo.fails("frobnicate");
    assert!(complaint.starts_with("Unknown command \"frobnicate\"") && !complaint.contains("did you mean"));
}

#[tokio::test]
async fn lists_are_chosen_by_names_wildcards_and_columns() {
    let lab = CliLab::start().await;
    let _dbs = (lab.db("east", TABLES).await, lab.db("west", TABLES).await);
    lab.bucardo.run("update db west status=inactive");
    lab.bucardo.run("add all tables db=east relgroup=shop");
    lab.bucardo.run("add dbgroup pair east:source west:target");
    let names = |words: &str| -> Vec<String> {
        let listed: Value = serde_json::from_str(&lab.bucardo.run(&format!("{words} --json"))).unwrap();
        let name = |row: &Value| row["name"].as_str().or(row["tablename"].as_str()).unwrap().to_owned();
        listed.as_array().unwrap().iter().map(name).collect()
    };
    assert_eq!(names("list db status=inactive"), ["west"]);
    assert_eq!(names("list db *st"), ["east", "west"]);
    assert_eq!(names("list db ea% status=active"), ["east"]);
    assert_eq!(names("list db ^w"), ["west"]);
    assert_eq!(names("list table db=east pkeytype=int*"), ["customers", "lines", "orders"]);
    assert_eq!(names("list table o* db=east"), ["orders"]);
    assert_eq!(names("list table db=west"), Vec::<String>::new());
    assert_eq!(names("list dbgroup pa*"), ["pair"]);
    assert_eq!(names("list relgroup db=east"), ["shop"]);
    assert!(lab.bucardo.run("list table orders -v").contains("  In relgroups: shop\n"));
    assert!(lab.bucardo.run("list dbgroup -vv").contains("    name = pair\n"));
    assert_eq!(
        lab.bucardo.run("update table all makedelta=on").matches("Changed relation makedelta from '' to on\n").count(),
        3
    );
}

#[tokio::test]
async fn inspect_tells_which_tables_are_left_behind() {
    let lab = CliLab::start().await;
    let _dbs = (lab.db("east", TABLES).await, lab.db("west", TABLES).await);
    lab.bucardo.run("add sync shop tables=orders,lines dbs=east,west");
    let told = "Inspecting public.orders on east\n  Table public.customers is referred to by it (foreign key \"who\") and is \
                not in relgroup \"shop\"\n";
    assert_eq!(lab.bucardo.run("inspect table orders"), told);
    assert_eq!(
        lab.bucardo.run("inspect sync shop"),
        format!(
            "Inspecting public.lines on east\n  All tables that foreign keys tie to it are replicated with it\n{told}"
        )
    );
    let json: Value = serde_json::from_str(&lab.bucardo.run("inspect relgroup shop --json")).unwrap();
    let report = json.as_array().unwrap().iter().find(|report| report["table"] == "public.orders").unwrap();
    assert_eq!(report["missing"][0]["table"], "public.customers");
    lab.bucardo.run("add table customers db=west");
    let lonely = lab.bucardo.run("inspect table customers");
    assert!(lonely.contains("Table public.orders refers to it"), "{lonely}");
    assert!(lonely.contains("and is in no relgroup with it"), "{lonely}");
    for (code, words) in [
        (1, &["inspect"][..]),
        (1, &["inspect", "table"]),
        (1, &["inspect", "db", "east"]),
        (255, &["inspect", "table", "none"]),
        (255, &["inspect", "sync", "none"]),
        (255, &["inspect", "relgroup", "none"]),
    ] {
        lab.refused(code, words).await;
    }
}

#[tokio::test]
async fn upgrade_asks_and_brings_an_older_catalog_up_to_date() {
    let lab = CliLab::start().await;
    let none = lab.call(&["upgrade"]);
    assert_eq!((none.code, none.stdout.as_str()), (1, "No schema changes were needed\n"));
    let level = "SELECT max(level) FROM bucardo.migration";
    let latest = lab.control.number(level).await;
    lab.control.run(&format!("DELETE FROM bucardo.migration WHERE level = {latest}")).await;
    let listed = lab.call(&["list", "dbs"]);
    assert!(listed.stderr.contains("upgrade"), "an older catalog names the way out: {}", listed.stderr);
    assert!(lab.call(&["upgrade", "--dry-run"]).ok().ends_with("Dry run: 1 changes were not made\n"));
    let refused = lab.call(&["upgrade"]);
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.starts_with("Nothing was changed"), "{}", refused.stderr);
    assert_eq!(lab.control.number(level).await, latest - 1);
    let upgraded = lab.call(&["upgrade", "--batch"]).ok();
    assert!(upgraded.contains("Changes have been committed\n"), "{upgraded}");
    assert_eq!(lab.control.number(level).await, latest);

    let empty = fresh_database("empty").await;
    let bucardo = Bucardo::on(&empty);
    assert!(bucardo.fails("upgrade").contains("\"bucardo install\" installs it"));
    empty.run("CREATE SCHEMA bucardo; CREATE TABLE bucardo.bucardo_config (name text, setting text, defval text, about text, type text, item text)").await;
    empty.run("INSERT INTO bucardo.bucardo_config (name, setting) VALUES ('bucardo_version', '4.99.3')").await;
    assert!(bucardo.fails("upgrade").contains("version 4.99.3 cannot be upgraded"));
}

/// The scripts are accepted by their shells, and what they ask the program for is answered.
#[tokio::test]
async fn shells_complete_command_lines() {
    let lab = CliLab::start().await;
    let _dbs = (lab.db("east", TABLES).await, lab.db("west", TABLES).await);
    lab.bucardo.run("add sync shop tables=customers dbs=east,west");
    for (typed, expected) in [
        (&["kick", "sh"][..], &["shop"][..]),
        (&["remove", "db", ""], &["east", "west"]),
        (&["remove", "db", "w"], &["west"]),
        (&["update", "table", "public."], &["public.customers"]),
        (&["add", "sync", "x", "onetimecopy="], &["onetimecopy=", "onetimecopy=0", "onetimecopy=1", "onetimecopy=2"]),
        (&["unin"], &["uninstall"]),
        (&["set", "log_level"], &["log_level="]),
        (&["--dry"], &["--dry-run"]),
    ] {
        let words: Vec<&str> = ["__complete", "--"].into_iter().chain(typed.iter().copied()).collect();
        assert_eq!(lab.call(&words).ok().lines().collect::<Vec<_>>(), expected, "{typed:?}");
    }
    let script = lab.bucardo.run("completion bash");
    let check = "source /dev/stdin; COMP_WORDS=(bucardo lis); COMP_CWORD=1; bucardo() { echo list; }; _bucardo; echo ${COMPREPLY[0]}";
    let mut shell = std::process::Command::new("bash");
    let mut shell = shell
        .args(["-c", check])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(shell.stdin.as_mut().unwrap(), script.as_bytes()).unwrap();
    assert_eq!(String::from_utf8_lossy(&shell.wait_with_output().unwrap().stdout), "list\n");
    for name in ["zsh", "fish"] {
        assert!(lab.bucardo.run(&format!("completion {name}")).contains("__complete"));
    }
    assert!(lab.bucardo.fails("completion fishh").contains("did you mean \"fish\"?"));
    assert!(lab.bucardo.fails("completion").contains("bucardo completion bash|zsh|fish"));
}

#[tokio::test]
async fn status_is_shown_again_until_it_is_interrupted() {
    use std::io::BufRead;
    let lab = CliLab::start().await;
    let mut watch = lab.bucardo.command(&["status", "--watch=1"]);
    let mut watch = watch.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let lines = std::io::BufReader::new(watch.stdout.take().unwrap()).lines();
    let pages = lines.map(Result::unwrap).filter(|line| line.starts_with("Every 1 s: bucardo status"));
    assert_eq!(pages.take(2).count(), 2);
    watch.kill().unwrap();
    watch.wait().unwrap();
}

/// Who waits at a terminal sees for what; who reads the output gets the lines alone.
#[tokio::test]
async fn what_takes_long_is_told_on_a_terminal() {
    let lab = CliLab::start().await;
    let (a, _b) = (lab.db("A", TABLES).await, lab.db("B", TABLES).await);
    lab.bucardo.run("add table orders db=A relgroup=g");
    let locker = a.session().await;
    locker
        .batch_execute("BEGIN; LOCK TABLE orders IN ACCESS SHARE MODE; LOCK TABLE orders IN ROW EXCLUSIVE MODE")
        .await
        .unwrap();
    let inner = lab.bucardo.command(&["add", "sync", "s", "relgroup=g", "dbs=A,B"]);
    let words = std::iter::once(inner.get_program()).chain(inner.get_args());
    let line: Vec<String> = words.map(|word| format!("'{}'", word.to_string_lossy())).collect();
    let mut command = std::process::Command::new("script");
    command.args(["-qec", &line.join(" "), "/dev/null"]).env("TERM", "xterm").env("HOME", lab.bucardo.home());
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut screen = child.stdout.take().unwrap();
    let shown = Arc::new(Mutex::new(String::new()));
    let reader = std::thread::spawn({
        let shown = Arc::clone(&shown);
        move || {
            let mut piece = [0; 4096];
            while let Ok(read @ 1..) = screen.read(&mut piece) {
                shown.lock().unwrap().push_str(&String::from_utf8_lossy(&piece[..read]));
            }
        }
    });
    wait::until("what it waits for", Duration::from_secs(30), async || {
        let shown = shown.lock().unwrap().clone();
        if shown.contains("database \"A\": capturing 1 of 1, public.orders") { Ok(()) } else { Err(shown) }
    })
    .await;
    locker.batch_execute("ROLLBACK").await.unwrap();
    assert!(child.wait().unwrap().success());
    reader.join().unwrap();
    let shown = shown.lock().unwrap().clone();
    assert!(shown.contains("Added sync \"s\"\r\n"), "{shown:?}");
    assert_eq!(lab.bucardo.call(&["validate", "s"]).stderr, "", "no terminal, no line");
}
