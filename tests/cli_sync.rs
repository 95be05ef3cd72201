//! Syncs on the command line: what is put together, what is checked, and that a refusal leaves nothing behind.

use serde_json::Value;

use crate::cli_lab::CliLab;

const TABLES: &str = "CREATE TABLE t1 (id int PRIMARY KEY, note text); CREATE TABLE t2 (id int PRIMARY KEY);
    CREATE TABLE nokey (x int); CREATE SEQUENCE counter;";

#[tokio::test]
async fn a_sync_is_put_together_from_databases_and_tables() {
    let lab = CliLab::start().await;
    let a = lab.db("A", TABLES).await;
    let b = lab.db("B", TABLES).await;
    assert_eq!(lab.bucardo.run("list syncs"), "No syncs found\n");
    assert_eq!(
        lab.bucardo.run("add sync one tables=t1,counter dbs=A,B onetimecopy=2 checktime=90s conflict=latest_all"),
        "Added sync \"one\"\nCreated a new dbgroup named \"one\"\n  Added database \"A\" as source\n  \
         Added database \"B\" as target\nCreated a new relgroup named \"one\"\n  Added table \"public.t1\"\n  \
         Added table \"public.counter\"\n"
    );
    let triggers = "SELECT count(*) FROM pg_trigger WHERE tgrelid = 't1'::regclass AND tgname LIKE 'bucardo%'";
    assert!(a.number(triggers).await > 0, "the source captures");
    assert_eq!(b.number(triggers).await, 0, "the target does not");
    assert_eq!(
        lab.bucardo.run("add sync two relgroup=one dbs=A:source,B:target status=inactive"),
        "Added sync \"two\"\nUsing existing dbgroup \"one\"\n"
    );
    assert_eq!(
        lab.bucardo.run("add sync three tables=t2 dbgroup=one"),
        "Added sync \"three\"\nCreated a new relgroup named \"three\"\n  Added table \"public.t2\"\n"
    );
    assert_eq!(
        lab.bucardo.run("list syncs"),
        "Sync \"one\"    Relgroup \"one\"  DB group \"one\" A:source B:target  [Active]\n\
         Sync \"three\"  Relgroup \"three\"  DB group \"one\" A:source B:target  [Active]\n\
         Sync \"two\"    Relgroup \"one\"  DB group \"one\" A:source B:target  [Inactive]\n"
    );
    assert!(lab.bucardo.run("list syncs inactive").starts_with("Sync \"two\""));
    assert!(lab.bucardo.run("list syncs onetimecopy=2").starts_with("Sync \"one\""));
    assert!(lab.bucardo.run("list sync one -v").contains("    public.counter\n"));
    let json: Value = serde_json::from_str(&lab.bucardo.run("list sync one --json")).unwrap();
    assert_eq!(json[0]["checktime"], "00:01:30");
    assert_eq!(json[0]["conflict_strategy"], "bucardo_latest_all_tables");
    assert_eq!(json[0]["copy_request"], 1);
    assert_eq!(json[0]["members"][0]["role"], "source");
    assert_eq!(json[0]["relations"][1]["tablename"], "counter");

    let refusal = lab.refused(255, &["remove", "relgroup", "one"]).await;
    assert!(refusal.starts_with("Cannot delete relgroup \"one\": must remove all syncs that reference it first"));
    let refusal = lab.refused(255, &["remove", "dbgroup", "one"]).await;
    assert!(refusal.starts_with("Cannot remove dbgroup \"one\": it is being used by one or more syncs"));
    assert_eq!(
        lab.bucardo.run("remove sync two three"),
        "Removed sync \"two\"\nRemoved sync \"three\"\n\
         Note: table triggers (if any) are not automatically removed!\n"
    );
    assert!(lab.bucardo.run("remove dbgroup one --force").ends_with("Removed dbgroup \"one\"\n"));
    assert_eq!(lab.bucardo.run("list syncs"), "No syncs found\n");
}

#[tokio::test]
async fn a_sync_that_cannot_run_is_refused_and_leaves_the_catalog_as_it_was() {
    let lab = CliLab::start().await;
    let a = lab.db("A", TABLES).await;
    let b = lab.db("B", "CREATE TABLE t1 (id int PRIMARY KEY); CREATE TABLE nokey (x int)").await;
    lab.bucardo.run("add table t1 relgroup=known db=A");
    for (words, complaint) in [
        (&["add", "sync", "s", "tables=nokey", "dbs=A,B"][..], "Table \"public.nokey\" must specify a primary key!"),
        (&["add", "sync", "s", "tables=t2", "dbs=A,B"], "t2"),
        (&["add", "sync", "s", "tables=t1", "dbs=A,B"], "note"),
    ] {
        let refusal = lab.refused(255, words).await;
        assert!(refusal.starts_with("Failed to add sync: "), "{words:?}: {refusal}");
        assert!(refusal.contains(complaint), "{words:?}: {refusal}");
    }
    for (code, words, complaint) in [
        (1, &["add", "sync", "s", "tables=t1", "dbs=A:source,B", "db=A"][..], "Database \"A\" is named twice"),
        (1, &["add", "sync", "s", "relgroup=known", "tables=t1", "dbs=A,B"], "Cannot give tables together"),
        (1, &["add", "sync", "s", "tables=t1", "dbs=A,B", "color=red"], "Unknown option 'color'"),
        (1, &["add", "sync"], "bucardo add sync NAME"),
        (255, &["add", "sync", "s", "tables=nothere", "dbs=A,B"], "Could not find a relation named \"nothere\""),
        (255, &["add", "sync", "s", "tables=t1", "dbs=A,Z"], "Unknown database \"Z\""),
        (255, &["add", "sync", "s", "tables=t1"], "Need to specify which dbgroup (or list of databases) for this sync"),
        (255, &["add", "sync", "s", "dbs=A,B"], "Must specify a relgroup (or a list of tables) for this sync"),
        (255, &["add", "sync", "s-t", "tables=t1", "dbs=A,B"], "Invalid sync name \"s-t\""),
        (255, &["add", "sync", "swap", "tables=t1", "dbs=A,B"], "Invalid sync name \"swap\""),
        (255, &["add", "sync", "s", "tables=t1", "dbs=A,B", "onetimecopy=3"], "Invalid value for 'onetimecopy'"),
        (255, &["add", "sync", "s", "tables=t1", "dbs=A,B", "priority=high"], "Invalid value for 'priority': must be"),
        (255, &["add", "sync", "s", "tables=t1", "dbs=A,B", "conflict=C"], "conflict_strategy should contain a list"),
    ] {
        let refusal = lab.refused(code, words).await;
        assert!(refusal.starts_with(complaint), "{words:?}: {refusal}");
    }
    let refusal = lab.refused(255, &["add", "sync", "s", "tables=t1", "dbs=A,B", "checktime=soon"]).await;
    assert!(refusal.contains("invalid input syntax for type interval"), "{refusal}");
    assert_eq!(a.number("SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal").await, 0, "nothing was installed");
    b.run("ALTER TABLE t1 ADD note text").await;
    lab.bucardo.run("add sync s relgroup=known dbs=A,B");
    let refusal = lab.refused(255, &["add", "sync", "s", "relgroup=known", "dbs=A,B"]).await;
    assert!(refusal.starts_with("A sync with the name \"s\" already exists"), "{refusal}");
}

#[tokio::test]
async fn a_dry_run_installs_nothing() {
    let lab = CliLab::start().await;
    let a = lab.db("A", TABLES).await;
    let _b = lab.db("B", TABLES).await;
    let before = lab.catalog().await;
    let printed = lab.bucardo.run("add sync s tables=t1 dbs=A,B --dry-run");
    assert!(printed.starts_with("Added sync \"s\"\n"), "{printed}");
    assert_eq!(lab.catalog().await, before);
    assert_eq!(a.number("SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal").await, 0);
    let printed = lab.bucardo.run("add sync s tables=t1 dbs=A,B --confirm");
    assert!(printed.ends_with("Commit the changes? Y/N Changes have been rolled back\n"), "{printed}");
    assert_eq!(lab.catalog().await, before);
    assert_eq!(a.number("SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal").await, 0);
}

#[tokio::test]
async fn syncs_are_changed_column_by_column() {
    let lab = CliLab::start().await;
    let _dbs = (lab.db("A", TABLES).await, lab.db("B", TABLES).await);
    lab.bucardo.run("add sync one tables=t1 dbs=A,B");
    lab.bucardo.run("add sync two tables=t2 dbs=A,B");
    assert_eq!(
        lab.bucardo.run("update sync one inactive conflict=B,A checktime=1h"),
        "Set conflict strategy to 'B A'\nChanges made to sync \"one\":\n\
         \x20* conflict_strategy : changed from \"\" to \"B A\"\n\
         \x20* checktime : changed from \"\" to \"01:00:00\"\n\
         \x20* status : changed from \"active\" to \"inactive\"\n"
    );
    let said = lab.bucardo.fails("update sync all isolation_level=mad");
    assert!(said.starts_with("Invalid value for 'isolation_level': mad") && !said.contains("Failing row"), "{said}");
    lab.bucardo.run("update sync all onetimecopy=1");
    let sql = "SELECT name, onetimecopy, copy_request FROM bucardo.sync ORDER BY 1";
    assert_eq!(lab.control.rows(sql).await, ["one|1|1", "two|1|1"]);
    lab.bucardo.run("update sync t* checktime= status=inactive");
    assert_eq!(lab.bucardo.run("update sync t* status=inactive"), "No change needed for sync \"two\"\n");
    for (code, words, complaint) in [
        (
            255,
            &["update", "sync", "one", "conflict=C"][..],
            "conflict_strategy should contain a list of databases, but \"C\"",
        ),
        (1, &["update", "sync", "one", "name=x"], "Cannot rename sync \"one\""),
        (1, &["update", "sync", "one", "cdate=x"], "Sorry, the value of cdate cannot be changed"),
        (255, &["update", "sync", "one", "status=odd"], "Invalid value for 'status'"),
        (1, &["update", "sync", "one"], "bucardo update sync NAME"),
        (255, &["update", "sync", "none", "priority=1"], "Could not find a sync named \"none\""),
        (255, &["update", "sync", "one", "relgroup=none"], "cannot write a value of the catalog"),
        (255, &["remove", "sync", "none"], "No such sync: none"),
    ] {
        let refusal = lab.refused(code, words).await;
        assert!(refusal.starts_with(complaint), "{words:?}: {refusal}");
    }
    assert!(lab.bucardo.run("update sync one add table nokey").contains("  public.nokey\n"));
    let refusal = lab.refused(255, &["update", "sync", "one", "autokick=off"]).await;
    assert!(
        refusal.starts_with("Failed to update sync: Table \"public.nokey\" must specify a primary key!"),
        "{refusal}"
    );
}

#[tokio::test]
async fn several_sources_are_one_sync_and_each_database_is_in_it_once() {
    let lab = CliLab::start().await;
    let (a, b) = (lab.db("A", TABLES).await, lab.db("B", TABLES).await);
    lab.bucardo.run("add dbgroup both A:source B:source");
    assert_eq!(lab.bucardo.run("list dbgroup both"), "dbgroup: both  Members: A:source B:source\n");
    lab.bucardo.add_db("A2", &a);
    let refusal = lab.refused(255, &["add", "sync", "t", "tables=t1", "dbs=A:source,B:source,A2:source"]).await;
    assert!(refusal.contains("databases \"A\" and \"A2\" are the same database"), "{refusal}");
    assert!(refusal.contains("take \"A2\" out of the sync"), "{refusal}");
    lab.bucardo.run("add sync s tables=t1 dbgroup=both");
    for (database, other) in [(&a, "B"), (&b, "A")] {
        assert_eq!(database.rows("SELECT target FROM bucardo.track").await, [other], "{}", database.name);
    }
}

/// What the engine reads is what the operator wrote.
#[tokio::test]
async fn the_engine_reads_what_was_written() {
    use bucardo::catalog::{GoatKind, Role, load_sync, load_syncs};
    let lab = CliLab::start().await;
    let b = lab.db("B", TABLES).await;
    let _a = lab.db("A", TABLES).await;
    lab.bucardo.run("add sync s tables=t2,t1,counter dbs=A:source,B checktime=90s autokick=0");
    lab.bucardo.run("set batch_rows_max=1234");
    lab.control.run("UPDATE bucardo.herdmap SET priority = 9 WHERE goat = (SELECT id FROM bucardo.goat WHERE tablename = 'counter')").await;
    let session = lab.control.session().await;
    let sync = load_sync(&session, &"s".into()).await.unwrap().unwrap();
    let members: Vec<_> = sync.members.iter().map(|member| (member.db.name.to_string(), member.role)).collect();
    assert_eq!(members, [("A".to_owned(), Role::Source), ("B".to_owned(), Role::Target)]);
    let goats: Vec<_> = sync.goats.iter().map(|goat| (goat.name.as_str(), goat.kind)).collect();
    assert_eq!(goats, [("counter", GoatKind::Sequence), ("t2", GoatKind::Table), ("t1", GoatKind::Table)]);
    assert_eq!(sync.goats[1].key, ["id"]);
    assert_eq!((sync.checktime.unwrap().as_secs(), sync.autokick, sync.batch_rows_max), (90, false, 1234));
    assert_eq!(sync.problem, None);
    assert_eq!(sync.members[1].db.access.get("dbname"), Some(b.name.as_str()));
    assert!(load_sync(&session, &"none".into()).await.unwrap().is_none());

    lab.control.run("UPDATE bucardo.db SET dbport = 'odd' WHERE name = 'B'").await;
    lab.control.run("INSERT INTO bucardo.sync (name) VALUES ('empty')").await;
    let syncs = load_syncs(&session).await.unwrap();
    let problems: Vec<_> = syncs.iter().map(|sync| sync.problem.clone().unwrap_or_default()).collect();
    assert_eq!(problems[0], "sync \"empty\" has no dbgroup");
    assert!(problems[1].contains("port \"odd\" is not numeric"), "{problems:?}");
}
