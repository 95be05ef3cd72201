//! A walk through the documents: command lines as they stand in the manuals of versions 3, 4 and 5 run as they are.

use crate::cli_lab::CliLab;

const TABLES: &str = "CREATE TABLE orders (id int PRIMARY KEY, note text, amount int);
    CREATE TABLE items (id int PRIMARY KEY); CREATE TABLE history (id int PRIMARY KEY); CREATE SEQUENCE counter";

/// Lines of version 5, each with its exit code.
const LINES: &[(&str, i32)] = &[
    ("list dbs", 0),
    ("list databases A -v", 0),
    ("list db -vv", 0),
    ("update db A status=inactive", 0),
    ("update database A status:active", 0),
    ("update db all makedelta=off", 0),
    ("add dbgroup g A:source B:target", 0),
    ("list dbgroups", 0),
    ("update dbgroup g A:master B:slave:pri=2", 0),
    ("add all tables db=A -T history --herd=h --verbose", 0),
    ("add all sequences --db A --relgroup h", 0),
    ("add tables all db=A", 0),
    ("add table public.history db=A autokick=false rebuild_index=1", 0),
    ("list tables", 0),
    ("list table orders", 0),
    ("list sequences", 0),
    ("update table orders ping=true makedelta=on", 0),
    ("add relgroup more history", 0),
    ("add herd h items", 0),
    ("list relgroups", 0),
    ("list herds h", 0),
    ("add sync one relgroup=h dbs=A:source,B:target onetimecopy=2 status=inactive", 0),
    ("add sync two herd=more dbgroup=g autokick=0 checktime=1h conflict=bucardo_latest", 0),
    ("list syncs", 0),
    ("list sync inactive", 0),
    ("list syncs -v", 0),
    ("update sync one active", 0),
    ("update sync two standard_conflict=latest_all priority=3", 0),
    ("update_sync t* isolation_level=repeatable_read", 0),
    ("add customname orders old_orders db=B", 0),
    ("list customnames", 0),
    ("remove customname 1", 0),
    ("list customcols", 0),
    ("list codes", 0),
    ("list all", 0),
    ("l all", 0),
    ("list config", 0),
    ("config", 0),
    ("config show log_level", 0),
    ("config set log_level=verbose", 0),
    ("show all", 0),
    ("show changed", 0),
    ("show kid_ piddir", 0),
    ("set default_standard_conflict=source kid_restart_sleep=1", 0),
    ("validate all", 0),
    ("validate one", 0),
    ("inspect table orders", 0),
    ("inspect sync one", 0),
    ("kick one", 0),
    ("kick o* sync two", 0),
    ("status", 0),
    ("status one", 0),
    ("status all", 0),
    ("status --sort=-3", 0),
    ("message the machine was moved", 0),
    ("help", 0),
    ("help add sync", 0),
    ("kick --help", 0),
    ("--version", 0),
    ("stop the reason", 0),
    ("ping 1", 1),
    ("upgrade", 1),
    ("reload", 255),
    ("add goat orders", 1),
    ("frobnicate", 1),
    ("list nothing", 1),
    ("remove table public.orders", 0),
    ("remove sync one", 0),
    ("delete sync two", 0),
    ("remove relgroup more", 0),
    ("remove all sequences --batch", 0),
    ("remove all tables --batch", 0),
    ("remove dbgroup g", 0),
    ("del db A --force", 0),
    ("remove db B --force", 0),
];

#[tokio::test]
async fn the_command_lines_of_the_documents_run() {
    let lab = CliLab::start().await;
    let _dbs = (lab.db("A", TABLES).await, lab.db("B", TABLES).await);
    for (line, code) in LINES {
        let output = lab.call(&line.split_whitespace().collect::<Vec<_>>());
        assert_eq!(output.code, *code, "{line}: {}{}", output.stdout, output.stderr);
        assert_eq!(
            output.stderr.is_empty(),
            *code != 255 && !matches!(*line, "add goat orders" | "frobnicate" | "list nothing"),
            "{line}: {}",
            output.stderr
        );
    }
}

/// Every verb and noun that a completion offers has its help, and none is only the overview.
#[tokio::test]
async fn everything_has_its_help() {
    let lab = CliLab::start().await;
    let offered = |words: &[&str]| lab.call(words).ok();
    let overview = lab.bucardo.run("help");
    let verbs = offered(&["__complete", "--", ""]);
    assert!(verbs.lines().count() > 25, "{verbs}");
    for verb in verbs.lines() {
        let help = lab.bucardo.run(&format!("help {verb}"));
        assert!(help != overview && help.contains(verb), "{verb}: {help}");
    }
    for verb in ["add", "list", "update", "remove"] {
        for noun in offered(&["__complete", "--", verb, ""]).lines() {
            let help = lab.bucardo.run(&format!("help {verb} {noun}"));
            assert!(help != overview && help.contains("bucardo "), "{verb} {noun}: {help}");
        }
    }
}
