//! What cannot work is refused with a message that names it, and leaves every table of the catalog as it was.

use bucardo::lab::{Cluster, Folder, Settings};

use crate::support::{Bucardo, Database, Town, fresh_database};

/// Rows of every table of the control database, and of what was installed in A and B.
async fn counts(town: &Town) -> Vec<String> {
    let mut all = Vec::new();
    for table in town.control.rows("SELECT oid::regclass FROM pg_class WHERE relnamespace = 'bucardo'::regnamespace AND relkind = 'r' ORDER BY 1").await {
        all.push(format!("{table}: {}", town.control.value(&format!("SELECT count(*) FROM {table}")).await));
    }
    for database in [&town.a, &town.b] {
        let objects = "SELECT count(*) FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE nspname = 'bucardo'";
        let triggers = "SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal";
        for sql in [objects, triggers] {
            all.push(format!("{}: {}", database.name, database.value(sql).await));
        }
    }
    all
}

/// The complaint about words that must change nothing.
async fn refused(town: &Town, words: &str) -> String {
    let before = counts(town).await;
    let complaint = town.bucardo.fails(words);
    assert_eq!(counts(town).await, before, "{words}");
    complaint
}

fn assert_names(complaint: &str, words: &[&str]) {
    for word in words {
        assert!(complaint.contains(word), "\"{word}\" is not in: {complaint}");
    }
}

#[tokio::test]
async fn a_sync_that_could_not_run_is_refused_by_name() {
    let town = Town::found("").await;
    town.a
        .run(
            "CREATE TYPE mood AS ENUM ('good'); CREATE TABLE typed (id int PRIMARY KEY, m mood); \
             CREATE TABLE narrow (id int PRIMARY KEY, note text); CREATE TABLE keyless (x int); \
             CREATE TABLE alone (id int PRIMARY KEY); CREATE TABLE other (id int PRIMARY KEY); \
             CREATE SEQUENCE counter; CREATE VIEW seen AS SELECT 1 AS id",
        )
        .await;
    town.b
        .run(
            "CREATE TABLE typed (id int PRIMARY KEY); CREATE TABLE narrow (id int PRIMARY KEY); CREATE TABLE keyless (x int); \
             CREATE TABLE other (id int PRIMARY KEY)",
        )
        .await;
    for (name, database) in [("A", &town.a), ("B", &town.b)] {
        town.bucardo.add_db(name, database);
    }
    let sync = |table: &str| format!("add sync s tables={table} dbs=A:source,B:target");
    assert_names(&refused(&town, &sync("typed")).await, &["public.typed", "\"m\"", "\"B\""]);
    assert_names(&refused(&town, &sync("narrow")).await, &["public.narrow", "\"note\"", "\"B\""]);
    assert_names(&refused(&town, &sync("keyless")).await, &["public.keyless", "primary key"]);
    assert_names(&refused(&town, &sync("alone")).await, &["alone", "\"B\""]);
    assert_names(&refused(&town, &sync("counter")).await, &["counter", "\"B\""]);
    assert_names(&refused(&town, &sync("nowhere")).await, &["nowhere"]);
    assert_names(&refused(&town, &sync("seen")).await, &["seen"]);
    assert_names(&refused(&town, "add sync s tables=other dbs=A:source,Z:target").await, &["\"Z\""]);
    assert_names(&refused(&town, "add sync s tables=other dbs=A:target,B:target").await, &["source"]);
    assert_names(&refused(&town, "add table other db=Z").await, &["\"Z\""]);
    // The type exists on B, and is another one.
    town.b.run("CREATE TYPE mood AS ENUM ('other'); ALTER TABLE typed ADD m int").await;
    assert_names(&refused(&town, &sync("typed")).await, &["public.typed", "\"m\"", "mood", "integer"]);
    town.bucardo.run(&sync("other"));
    for words in ["remove sync none", "kick none", "status none", "validate none", "update sync none autokick=off"] {
        assert_names(&refused(&town, words).await, &["none"]);
    }
}

/// The role of the daemon may connect, and little else.
#[tokio::test]
async fn missing_rights_are_told_as_the_grants_that_give_them() {
    let town = Town::found("CREATE TABLE t (id int PRIMARY KEY)").await;
    let role = format!("clerk_{}", town.a.name);
    town.a.run(&format!("CREATE ROLE \"{role}\" LOGIN")).await;
    for (name, database) in [("A", &town.a), ("B", &town.b)] {
        let words = database.conninfo().replace(&format!("user={}", database.user), &format!("user={role}"));
        town.bucardo.run(&format!("add db {name} {words}"));
    }
    let complaint = refused(&town, "add sync s tables=t dbs=A:source,B:target").await;
    assert_names(&complaint, &[&role, "GRANT", "public", "\"A\"", "\"B\""]);
}

/// Passwords are asked for and wrong; hosts do not answer.
#[tokio::test]
async fn databases_that_let_nobody_in_are_named() {
    let folder = Folder::new("bucardo-test").unwrap();
    let settings = Settings::default().hba("host all clerk 127.0.0.1/32 scram-sha-256");
    let cluster = Cluster::start(folder.path(), "locked", &settings).unwrap();
    cluster.sql("postgres", "CREATE ROLE clerk LOGIN SUPERUSER PASSWORD 'right'").unwrap();
    let control = fresh_database("control").await;
    let bucardo = Bucardo::on(&control);
    crate::cli_lab::install(&bucardo).ok();
    let dbs = async |control: &Database| control.number("SELECT count(*) FROM bucardo.db").await;
    let words = format!("host=127.0.0.1 port={} dbname=postgres user=clerk", cluster.port());
    let complaint = bucardo.fails(&format!("add db L {words} pass=wrong"));
    assert_names(&complaint, &["\"L\"", "user=clerk", "password authentication failed"]);
    assert!(!complaint.contains("wrong"), "{complaint}");
    let complaint = bucardo.fails(&format!("add db L {words}"));
    assert_names(&complaint, &["\"L\"", "user=clerk", "password"]);
    let complaint = bucardo.fails("add db L host=nowhere.invalid dbname=x user=y");
    assert_names(&complaint, &["\"L\"", "host=nowhere.invalid"]);
    // A documentation address: no answer, or none to be had.
    let complaint = bucardo.fails("add db L host=192.0.2.1 dbname=x user=y conn=connect_timeout=2");
    assert_names(&complaint, &["\"L\"", "host=192.0.2.1"]);
    assert_eq!(dbs(&control).await, 0);
    bucardo.run(&format!("add db L {words} pass=right"));
    assert_eq!(dbs(&control).await, 1);
}

/// A database must stay one that is named: nobody wants to write into that of the user's name.
#[tokio::test]
async fn a_database_without_a_name_is_refused() {
    let town = Town::found("").await;
    town.bucardo.add_db("A", &town.a);
    for (words, complaint) in [
        ("update db A name=", "must supply a database name"),
        ("update db A port=99999", "port \"99999\""),
        ("update db A port=0", "port \"0\""),
        ("add db B host=127.0.0.1 port=77777 dbname=x user=y --force", "port \"77777\""),
    ] {
        assert_names(&refused(&town, words).await, &[complaint]);
        assert_eq!(
            town.control.rows("SELECT dbname, dbport FROM bucardo.db").await,
            [format!("{}|{}", town.a.name, town.a.port)]
        );
    }
}

/// What acts at once cannot be tried out: with `--dry-run` it does nothing.
#[tokio::test]
async fn a_dry_run_of_what_acts_at_once_is_refused() {
    let mut town = Town::found("CREATE TABLE t (id int PRIMARY KEY)").await;
    town.sync("");
    town.a.run("INSERT INTO t VALUES (1)").await;
    for words in ["deactivate s", "purge", "kick s", "start", "stop", "reload", "validate s"] {
        let complaint = refused(&town, &format!("{words} --dry-run")).await;
        assert_names(&complaint, &[words.split(' ').next().unwrap(), "--dry-run"]);
    }
    assert_eq!(town.control.value("SELECT status FROM bucardo.sync").await, "active");
}

/// A script that saves a list on a full disk hears of it.
#[tokio::test]
async fn output_that_cannot_be_written_is_an_error() {
    let town = Town::found("").await;
    town.bucardo.add_db("A", &town.a);
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = town.bucardo.command(&["list", "dbs", "--json"]).stdout(full).output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{complaint}");
    assert_names(&complaint, &["Cannot write the output", "No space left"]);
}
