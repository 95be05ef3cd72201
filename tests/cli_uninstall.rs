//! What was put into databases goes again: with a table, a sync, a database, or all at once; and nothing else does.

use std::process::Stdio;

use bucardo::lab::{Cluster, Folder, Settings};

use crate::cli_lab::CliLab;
use crate::support::{Daemon, Database};

const TABLES: &str = "CREATE TABLE t1 (id int PRIMARY KEY); CREATE TABLE \"T 2\" (id int PRIMARY KEY);
    CREATE TABLE parted (id int PRIMARY KEY) PARTITION BY RANGE (id);
    CREATE TABLE part PARTITION OF parted FOR VALUES FROM (0) TO (100)";
/// Everything that a database holds but its rows.
const OBJECTS: [&str; 4] = [
    "SELECT 'schema', nspname FROM pg_namespace WHERE nspname !~ '^pg_' ORDER BY 2",
    "SELECT 'relation', oid::regclass FROM pg_class WHERE relnamespace::regnamespace::text !~ '^(pg_|information)' ORDER BY 2",
    "SELECT 'function', oid::regprocedure FROM pg_proc WHERE pronamespace::regnamespace::text !~ '^(pg_|information)' ORDER BY 2",
    "SELECT 'trigger', tgname, tgrelid::regclass FROM pg_trigger WHERE NOT tgisinternal ORDER BY 3, 2",
];

async fn objects(database: &Database) -> Vec<String> {
    let mut all = Vec::new();
    for sql in OBJECTS {
        all.extend(database.rows(sql).await);
    }
    all
}

async fn triggers(database: &Database, table: &str) -> i64 {
    database
        .number(&format!("SELECT count(*) FROM pg_trigger WHERE tgrelid = '{table}'::regclass AND NOT tgisinternal"))
        .await
}

#[tokio::test]
async fn uninstall_leaves_every_database_as_it_was() {
    let lab = CliLab::start().await;
    let (a, b) = (lab.db("A", TABLES).await, lab.db("B", TABLES).await);
    a.run("CREATE FUNCTION own() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; CREATE TRIGGER own AFTER INSERT ON t1 EXECUTE PROCEDURE own()").await;
    let before = (objects(&a).await, objects(&b).await);
    lab.bucardo.run("add all tables db=A relgroup=s");
    lab.bucardo.run("add sync s relgroup=s dbs=A,B");
    assert_ne!((objects(&a).await, objects(&b).await), before);
    let installed = (objects(&a).await, objects(&b).await, lab.catalog().await);
    let told = lab.bucardo.run("uninstall --dry-run");
    assert!(told.contains("Database \"A\": schema \"bucardo\"") && told.contains("on public.part\n"), "{told}");
    let refused = lab.call(&["uninstall"]);
    assert!(refused.code == 1 && refused.stderr.starts_with("Nothing was changed"), "nobody said yes: {refused:?}");
    a.run("CREATE VIEW mine AS SELECT * FROM bucardo.track").await;
    assert!(lab.bucardo.fails("uninstall --batch").contains("has the view public.mine"));
    a.run("DROP VIEW mine").await;
    let daemon = Daemon::start(&lab.bucardo).await;
    assert!(lab.bucardo.fails("uninstall --batch").starts_with("The daemon runs on this control database"));
    daemon.stop().await;
    assert_eq!((objects(&a).await, objects(&b).await), (installed.0, installed.1));
    lab.control.run("SELECT bucardo.create_child_q('child_q_20200101')").await;
    let printed = lab.bucardo.run("uninstall --batch");
    assert!(printed.contains("Cleaned database \"A\"\nCleaned database \"B\"\nRemoved the catalog"), "{printed}");
    assert_eq!((objects(&a).await, objects(&b).await), before);
    assert_eq!(lab.control.rows(OBJECTS[0]).await, ["schema|information_schema", "schema|public"]);
    assert!(lab.bucardo.fails("list dbs").contains("has no catalog"));
    crate::cli_lab::install(&lab.bucardo).ok();
}

/// A copy that was broken off has dropped indexes: only our journal knows how they are made again.
#[tokio::test]
async fn indexes_that_a_copy_dropped_are_not_forgotten() {
    let lab = CliLab::start().await;
    let (_a, b) = (lab.db("A", TABLES).await, lab.db("B", TABLES).await);
    lab.bucardo.run("add sync s tables=t1 dbs=A,B");
    let journal = include_str!("../sql/copy/journal.sql");
    let noted =
        "INSERT INTO bucardo.copy_table (sync, source, goat, schemaname, tablename, signature, index_names, indexes)
        VALUES ('s', 'A', 1, 'public', 't1', '', '{once}', '{\"CREATE UNIQUE INDEX once ON public.t1 (id)\"}')";
    b.run(&format!("{journal}; {noted}")).await;
    let statement = "CREATE UNIQUE INDEX once ON public.t1 (id)";
    let refused = lab.bucardo.fails("uninstall --batch");
    assert!(
        refused.contains("database \"B\": table public.t1 lacks indexes") && refused.contains(statement),
        "{refused}"
    );
    assert!(!lab.bucardo.run("doctor").contains("lacks indexes"), "its copy may go on");
    let removed = lab.call(&["remove", "sync", "s"]);
    assert!(removed.code == 0 && removed.stderr.contains(statement), "{removed:?}");
    let found = lab.call(&["doctor", "B"]);
    assert!(found.code == 1 && found.stdout.contains(&format!("{statement};")), "{found:?}");
    assert!(lab.bucardo.run("uninstall --batch --force").contains("Cleaned database \"B\""));
}

/// A database that is away, and one that somebody else uses, keep everything as it is.
#[tokio::test]
async fn uninstall_asks_first_where_others_are_concerned() {
    let lab = CliLab::start().await;
    let a = lab.db("A", TABLES).await;
    let _b = lab.db("B", TABLES).await;
    lab.bucardo.run("add sync s tables=t1 dbs=A,B");
    let other = CliLab::start().await;
    other.bucardo.add_db("A", &a);
    let before = objects(&a).await;
    let complaint = other.bucardo.fails("uninstall --batch");
    assert!(complaint.contains("database \"A\" has sync \"s\", which this catalog does not know"), "{complaint}");
    lab.bucardo.run("add db gone host=127.0.0.1 port=1 dbname=x user=y --force");
    let complaint = lab.bucardo.fails("uninstall --batch");
    assert!(complaint.starts_with("Nothing was changed: cannot reach database \"gone\""), "{complaint}");
    assert_eq!(objects(&a).await, before);
    assert!(lab.bucardo.run("uninstall --batch --force").contains("Cleaned database \"A\""));
    assert!(other.bucardo.run("uninstall --batch").starts_with("Control database"), "nothing is left to do elsewhere");
}

#[tokio::test]
async fn what_is_removed_with_cascade_takes_its_triggers_along() {
    let lab = CliLab::start().await;
    let (a, b) = (lab.db("A", TABLES).await, lab.db("B", TABLES).await);
    let before = (objects(&a).await, objects(&b).await);
    lab.call(&["add", "sync", "one", "tables=t1,\"T 2\",parted", "dbs=A,B"]).ok();
    lab.bucardo.run("add sync two tables=t1 dbs=A,B");
    let captured = [triggers(&a, "t1").await, triggers(&a, "\"T 2\"").await, triggers(&a, "part").await];
    assert!(captured.iter().all(|count| *count > 0), "{captured:?}");
    // Another sync wants the table; a third one is not in any other.
    let told = lab.bucardo.run("remove table public.parted --cascade");
    assert!(told.contains("Removed triggers and changes of public.parted from database \"A\""), "{told}");
    assert_eq!(triggers(&a, "part").await, 0);
    assert!(!lab.bucardo.run("remove sync one --cascade").contains("public.t1 from"), "sync two has it, too");
    assert_eq!([triggers(&a, "t1").await, triggers(&a, "\"T 2\"").await], [captured[0], 0]);
    a.run("INSERT INTO t1 VALUES (1); INSERT INTO \"T 2\" VALUES (1); INSERT INTO parted VALUES (1)").await;
    // Without the word, triggers stay and do nothing: they are orphans.
    assert!(lab.bucardo.run("remove sync two").contains("Note: table triggers"));
    assert_eq!(triggers(&a, "t1").await, captured[0]);
    assert_eq!(lab.bucardo.run("list orphans"), "Database: A  Table: public.t1 (triggers, in no sync)\n");
    assert_eq!(lab.bucardo.run("remove orphans --dry-run"), "Would remove triggers of public.t1 from database \"A\"\n");
    assert_eq!(triggers(&a, "t1").await, captured[0]);
    assert_eq!(lab.bucardo.run("remove orphans A"), "Removed triggers of public.t1 from database \"A\"\n");
    assert_eq!(lab.bucardo.run("list orphans"), "There are no orphans.\n");
    assert_eq!(triggers(&a, "t1").await, 0);
    lab.bucardo.run("add sync three tables=t1 dbs=A,B");
    let told = lab.bucardo.run("remove db A B --cascade");
    assert!(told.contains("Removed the schema \"bucardo\" from database \"A\""), "{told}");
    assert_eq!((objects(&a).await, objects(&b).await), before);
}

#[tokio::test]
async fn syncs_of_a_lost_catalog_are_orphans() {
    let lab = CliLab::start().await;
    let (a, b) = (lab.db("A", TABLES).await, lab.db("B", TABLES).await);
    lab.bucardo.run("add sync s tables=t1 dbs=A,B");
    lab.control.run("DELETE FROM bucardo.sync").await;
    let told = lab.bucardo.run("list orphans");
    assert_eq!(told, "Database: A  Sync: s (not in the catalog)\nDatabase: B  Sync: s (not in the catalog)\n");
    assert!(lab.bucardo.fails("list orphans C").starts_with("No such database: C"));
    lab.bucardo.run("remove orphans");
    assert_eq!(lab.bucardo.run("list orphans"), "There are no orphans.\n");
    assert_eq!(a.number("SELECT count(*) FROM bucardo.track").await, 0);
    assert_eq!(b.number("SELECT count(*) FROM bucardo.position").await, 0);
}

/// A colour or a progress line would be an escape.
#[tokio::test]
async fn what_is_no_terminal_gets_plain_text() {
    let lab = CliLab::start().await;
    let _dbs = (lab.db("A", TABLES).await, lab.db("B", TABLES).await);
    lab.bucardo.run("add sync s tables=t1 dbs=A,B");
    for words in [&["status"][..], &["status", "s"], &["list", "all"], &["help"]] {
        let output = lab.bucardo.command(words).stdin(Stdio::null()).output().unwrap();
        assert!(!output.stdout.contains(&0x1b) && !output.stderr.contains(&0x1b), "{words:?}");
    }
}

/// Everything in one transaction would be more locks than the server has room for.
#[tokio::test]
async fn uninstall_takes_many_tables_in_pieces_and_goes_on_where_it_stopped() {
    let folder = Folder::new("bucardo-test").unwrap();
    let settings = Settings::default().set("max_locks_per_transaction", "10").set("max_connections", "12");
    let cluster = Cluster::start(folder.path(), "small", &settings).unwrap();
    let (source, target) = (Database::create(&cluster, "many").await, Database::create(&cluster, "many").await);
    for database in [&source, &target] {
        for number in 0..150 {
            database.run(&format!("CREATE TABLE t{number} (id int PRIMARY KEY)")).await;
        }
    }
    let lab = CliLab::start().await;
    lab.bucardo.add_db("A", &source);
    lab.bucardo.add_db("B", &target);
    lab.bucardo.run("add all tables db=A relgroup=g");
    lab.bucardo.run("add sync s relgroup=g dbs=A,B");
    // A server tells of an error before it gives its locks back, and needs some for a new session.
    let locker = source.session().await;
    let at_once = source.refused("DROP SCHEMA bucardo CASCADE").await;
    assert!(at_once.contains("out of shared memory"), "{at_once}");

    locker.batch_execute("BEGIN; LOCK TABLE t77 IN ACCESS SHARE MODE").await.unwrap();
    let refused = lab.bucardo.fails("uninstall --batch");
    assert!(refused.contains("run it again"), "{refused}");
    locker.batch_execute("ROLLBACK").await.unwrap();
    lab.bucardo.run("uninstall --batch");
    let left = "SELECT count(*) FROM pg_namespace WHERE nspname ~ 'bucardo'";
    let triggers = "SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal";
    assert_eq!((source.number(left).await, source.number(triggers).await, target.number(left).await), (0, 0, 0));
}
