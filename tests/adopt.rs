//! A real Perl Bucardo is taken over with changes that it has not delivered, and given back.

use std::time::Duration;

use bucardo::lab::{Cluster, Folder, Settings};

use crate::support::{Bucardo, Daemon, Database, Perl, assert_same, wait};

const WITHIN: Duration = Duration::from_secs(60);
const TABLES: &str = r#"
    CREATE TABLE orders (id int PRIMARY KEY, note text);
    CREATE TABLE "Odd.name" ("Key 1" bytea, k2 text, v text, PRIMARY KEY ("Key 1", k2));
    CREATE TABLE untouched (id int PRIMARY KEY, note text);
    CREATE SEQUENCE numbers"#;
const NAMES: [&str; 2] = ["public.orders", "public.\"Odd.name\""];

async fn database(cluster: &Cluster, tag: &str) -> Database {
    let database = Database::create(cluster, tag).await;
    database.run(TABLES).await;
    database
}

/// Rows that the target got somewhere else, so that a copy of the whole table would be seen.
async fn mark(database: &Database) {
    database.run("INSERT INTO untouched VALUES (1, 'only here')").await;
}

async fn assert_marked(database: &Database) {
    assert_eq!(database.rows("SELECT note FROM untouched").await, ["only here"], "nothing is copied anew");
}

async fn until_same(databases: &[&Database]) {
    wait::until("the same rows everywhere", WITHIN, async || {
        for table in NAMES {
            for other in &databases[1..] {
                if let Some(difference) = crate::support::difference(databases[0], other, table).await {
                    return Err(difference);
                }
            }
        }
        Ok(())
    })
    .await;
}

/// What stands in a database, but for the contents of tables.
async fn shape(database: &Database) -> Vec<String> {
    let mut shape = database
        .rows(
            "SELECT tgrelid::regclass, tgname, pg_get_triggerdef(oid), tgenabled FROM pg_trigger WHERE NOT tgisinternal \
             ORDER BY 1, 2",
        )
        .await;
    shape.extend(
        database
            .rows(
                "SELECT n.nspname, c.relname, c.relkind FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace \
                 WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' ORDER BY 1, 2",
            )
            .await,
    );
    let functions = "SELECT pronamespace::regnamespace, oid::regprocedure, md5(prosrc) FROM pg_proc \
                     WHERE pronamespace::regnamespace::text ~ 'bucardo|freezer' ORDER BY 2";
    shape.extend(database.rows(functions).await);
    shape
}

/// A change that was made before the take-over and not delivered to everybody must reach exactly those that lack it. One
/// target was away since long, the Perl program was killed while it wrote; the targets of two syncs of the same tables
/// are at different places, and two masters have changes for each other.
#[tokio::test]
async fn undelivered_changes_go_on_where_the_perl_program_stopped() {
    let Some(perl) = Perl::install().await else { return };
    let folder = Folder::new("bucardo-test").unwrap();
    let mut far = Cluster::start(folder.path(), "far", &Settings::default()).unwrap();
    let a = database(&perl.cluster, "a").await;
    let b = database(&perl.cluster, "b").await;
    let c = database(&far, "c").await;
    let d = database(&perl.cluster, "d").await;
    let e = database(&perl.cluster, "e").await;
    for (name, database) in [("A", &a), ("B", &b), ("C", &c), ("D", &d), ("E", &e)] {
        perl.add_db(name, database);
        mark(database).await;
    }
    perl.run("add all tables db=A relgroup=ours");
    perl.run("add all sequences db=A relgroup=ours");
    perl.run("add sync near relgroup=ours dbs=A:source,B:target");
    perl.run("add sync far relgroup=ours dbs=A:source,C:target");
    perl.run("add sync both relgroup=ours dbs=D:source,E:source");
    let control = Database::of(&perl.cluster, "bucardo").await;
    control
        .run(
            "INSERT INTO bucardo.customcode (name, whenrun, src_code) VALUES ('mine', 'before_txn', '1'); \
             INSERT INTO bucardo.customcode_map (code, sync) SELECT id, 'near' FROM bucardo.customcode; \
             UPDATE bucardo.bucardo_config SET setting = '77' WHERE name = 'vac_sleep'",
        )
        .await;
    a.run("INSERT INTO orders SELECT n, 'first' FROM generate_series(1, 20) AS n").await;
    d.run("INSERT INTO orders SELECT n, 'first' FROM generate_series(1, 20) AS n").await;
    perl.start(&["near", "far", "both"]).await;
    until_same(&[&a, &b, &c]).await;
    until_same(&[&d, &e]).await;

    // C goes away; B gets what it does not.
    let c_name = c.name.clone();
    drop(c);
    far.stop().unwrap();
    a.run("UPDATE orders SET note = 'second' WHERE id <= 5; DELETE FROM orders WHERE id = 20").await;
    until_same(&[&a, &b]).await;

    // The next run of "near" and "both" hangs at a row; there they are killed.
    let locker = b.session().await;
    locker.batch_execute("BEGIN; SELECT * FROM orders WHERE id = 1 FOR UPDATE").await.unwrap();
    let e_locker = e.session().await;
    e_locker.batch_execute("BEGIN; SELECT * FROM orders WHERE id = 1 FOR UPDATE").await.unwrap();
    a.run("UPDATE orders SET note = 'third' WHERE id IN (1, 2); INSERT INTO orders VALUES (30, 'third')").await;
    a.run(r#"INSERT INTO "Odd.name" VALUES ('\x00ff27', 'a"b|c', 'v')"#).await;
    d.run("UPDATE orders SET note = 'of d' WHERE id IN (1, 2); DELETE FROM orders WHERE id = 3").await;
    let waiting =
        "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'bucardo KID%' AND wait_event_type = 'Lock'";
    wait::until_equal("two runs that hang", WITHIN, &2, async || a.number(waiting).await).await;
    let ours = perl.successor().await;
    let refused = ours.call(&["adopt", "--batch"]).failed();
    assert!(refused.starts_with("A daemon is at work in the control database: bucardo MCP"), "{refused}");
    perl.kill();
    locker.batch_execute("ROLLBACK").await.unwrap();
    e_locker.batch_execute("ROLLBACK").await.unwrap();
    e.run("UPDATE orders SET note = 'of e' WHERE id IN (2, 4); INSERT INTO orders VALUES (40, 'of e')").await;

    // Looking changes nothing, and others change nothing by accident.
    let before = (shape(&a).await, shape(&control).await);
    let told = ours.run("adopt --dry-run");
    for line in [
        "  customcode: 1 rows",
        "  sync near, table public.orders: 3 rows",
        "  sync far, table public.orders: 7 rows",
        "  sync near, table public.Odd.name: 1 rows",
        "  sync both, table public.orders: 3 rows",
    ] {
        assert!(told.contains(line), "{line} in\n{told}");
    }
    assert_eq!((shape(&a).await, shape(&control).await), before);

    let told = ours.call(&["adopt", "--batch"]);
    assert!(told.stderr.contains("custom code is kept in the catalog"), "{}", told.stderr);
    assert!(told.stderr.contains("database \"C\" is away"), "{}", told.stderr);
    assert!(told.ok().contains("Database \"A\": 3 tables taken over"));
    assert_eq!(
        control
            .rows("SELECT c.name, m.sync FROM bucardo.customcode c JOIN bucardo.customcode_map m ON m.code = c.id")
            .await,
        ["mine|near"]
    );
    assert_eq!(ours.run("show vac_sleep").trim(), "vac_sleep = 77");
    assert!(
        control.number("SELECT count(*) FROM bucardo.syncrun WHERE status LIKE 'Complete%'").await > 0,
        "its history"
    );
    assert!(ours.run("adopt --batch").starts_with("There is nothing to adopt"));

    // After it, too, everything is captured. B has rows of its own that no round may touch.
    a.run("INSERT INTO orders VALUES (31, 'after')").await;
    b.run("SET session_replication_role = replica; UPDATE orders SET note = 'B alone' WHERE id = 10; SET session_replication_role = origin").await;
    let mut daemon = Daemon::start(&ours).await;
    for word in ["KID", "cannot", "away", "stalled", "failed", "retry"] {
        daemon.announce(word); // C is away
    }
    wait::until_equal(
        "the rows of A on B",
        WITHIN,
        &a.rows("SELECT * FROM orders WHERE id <> 10 ORDER BY id").await,
        async || b.rows("SELECT * FROM orders WHERE id <> 10 ORDER BY id").await,
    )
    .await;
    assert_same("public.\"Odd.name\"", &[&a, &b]).await;
    assert_eq!(b.value("SELECT note FROM orders WHERE id = 10").await, "B alone", "it was delivered before");
    until_same(&[&d, &e]).await;
    assert_eq!(
        d.rows("SELECT note FROM orders WHERE id IN (1, 2, 3, 4, 40) ORDER BY id").await,
        ["of d", "of e", "of e", "of e"]
    );

    far.start_again().unwrap();
    let c = Database::of(&far, &c_name).await;
    ours.run("kick far");
    until_same(&[&a, &c]).await;
    for database in [&a, &b, &c, &d, &e] {
        assert_marked(database).await;
    }
    daemon.stop().await;
    ours.run("adopt forget");
    assert_eq!(a.number("SELECT count(*) FROM pg_namespace WHERE nspname = 'bucardo_perl'").await, 0);
    assert!(ours.fails("adopt undo --batch").starts_with("This catalog was not taken over"));
}

/// Both ends of a take-over that stops half-way, and the way back: nothing is lost, whoever captured it, and the Perl
/// program finds everything where it was.
#[tokio::test]
async fn a_take_over_that_is_killed_goes_on_and_can_be_undone() {
    let Some(perl) = Perl::install().await else { return };
    let (a, b) = (database(&perl.cluster, "a").await, database(&perl.cluster, "b").await);
    perl.add_db("A", &a);
    perl.add_db("B", &b);
    perl.run("add all tables db=A relgroup=ours");
    perl.run("add sync one relgroup=ours dbs=A:source,B:target");
    a.run("INSERT INTO orders VALUES (1, 'before'); INSERT INTO untouched VALUES (1, 'a')").await;
    let control = Database::of(&perl.cluster, "bucardo").await;
    let (shape_of_a, shape_of_b) = (shape(&a).await, shape(&b).await);
    let ours = perl.successor().await;

    // The last table is locked, and there it is killed.
    let locker = a.session().await;
    locker.batch_execute("BEGIN; LOCK TABLE untouched IN ACCESS SHARE MODE").await.unwrap();
    let mut child = ours.command(&["adopt", "--batch"]).spawn().unwrap();
    wait::until("two tables to be taken over", WITHIN, async || {
        let is_there = a.value("SELECT to_regclass('bucardo_perl.taken') IS NOT NULL").await == "t";
        if is_there && a.number("SELECT count(*) FROM bucardo_perl.taken").await == 2 { Ok(()) } else { Err(()) }
    })
    .await;
    child.kill().unwrap();
    child.wait().unwrap();
    a.run("INSERT INTO orders VALUES (2, 'between')").await;
    locker.batch_execute("ROLLBACK; INSERT INTO untouched VALUES (2, 'between')").await.unwrap();
    assert_eq!(control.number("SELECT count(*) FROM bucardo.sync").await, 1, "the old catalog counts");

    // From here one can go back,
    let told = ours.run("adopt undo --batch");
    assert!(told.contains("Database \"A\": 2 tables given back, 2 undelivered changes"), "{told}");
    assert_eq!(shape(&a).await, shape_of_a);
    // or on, in as many steps as it takes.
    let locker = a.session().await;
    locker.batch_execute("BEGIN; LOCK TABLE untouched IN ACCESS SHARE MODE").await.unwrap();
    let told = ours.call(&["adopt", "--batch"]).failed();
    assert!(told.contains("taking over table \"public.untouched\" failed"), "{told}");
    a.run("DELETE FROM orders WHERE id = 1; INSERT INTO orders VALUES (3, 'later')").await;
    locker.batch_execute("ROLLBACK").await.unwrap();
    let refused = ours.call(&["validate", "all"]).failed();
    assert!(refused.contains("was made by another version (5.6"), "{refused}");
    ours.run("adopt --batch");
    a.run("INSERT INTO orders VALUES (4, 'after')").await;
    let daemon = Daemon::start(&ours).await;
    until_same(&[&a, &b]).await;
    assert_same("public.untouched", &[&a, &b]).await;
    daemon.stop().await;

    // The way back, with changes that nobody has delivered, a truncation among them.
    a.run("UPDATE orders SET note = 'newest' WHERE id = 2; DELETE FROM orders WHERE id = 3; TRUNCATE untouched; INSERT INTO untouched VALUES (9, 'new')").await;
    let told = ours.run("adopt undo --batch");
    assert!(told.contains("3 tables given back, 3 undelivered changes"), "{told}");
    assert_eq!((shape(&a).await, shape(&b).await), (shape_of_a, shape_of_b));
    assert_eq!(
        control.value("SELECT setting FROM bucardo.bucardo_config WHERE name = 'bucardo_version'").await,
        "5.6.0"
    );
    perl.start(&["one"]).await;
    until_same(&[&a, &b]).await;
    assert_same("public.untouched", &[&a, &b]).await;
    a.run("INSERT INTO orders VALUES (5, 'by the old one again')").await;
    until_same(&[&a, &b]).await;
    perl.stop().await;
}

/// The catalog of version 4 has other columns, and its sources keep all changes in one table, keys as text. No package of
/// it is left: this one is made by hand after its description.
#[tokio::test]
async fn a_version_4_installation_is_taken_over_too() {
    let folder = Folder::new("bucardo-test").unwrap();
    let cluster = Cluster::start(folder.path(), "old", &Settings::default()).unwrap();
    let control = Database::create(&cluster, "control").await;
    let (a, b, c) = (database(&cluster, "a").await, database(&cluster, "b").await, database(&cluster, "c").await);
    control.run(include_str!("support/version_4_control.sql")).await;
    for (name, database) in [("A", &a), ("B", &b), ("C", &c)] {
        control
            .run(&format!(
                "INSERT INTO bucardo.db (name, dbname, dbhost, dbport, dbuser) VALUES ('{name}', '{}', '{}', '{}', '{}')",
                database.name, database.host, database.port, database.user
            ))
            .await;
        mark(database).await;
    }
    control.run(include_str!("support/version_4_rows.sql")).await;
    a.run(include_str!("support/version_4_source.sql")).await;
    a.run(
        "INSERT INTO orders VALUES (1, 'for both'); UPDATE bucardo.bucardo_delta SET txntime = '2020-01-01'; \
         INSERT INTO orders VALUES (2, 'for C'); \
         INSERT INTO bucardo.bucardo_track SELECT txntime, tablename, 'B' FROM bucardo.bucardo_delta WHERE txntime > '2021-01-01'; \
         INSERT INTO \"Odd.name\" VALUES ('\\x00ff', 'a''b', 'v')",
    )
    .await;
    let before = (shape(&a).await, shape(&control).await);

    let ours = Bucardo::on(&control);
    let told = ours.run("adopt --dry-run");
    for line in
        ["Catalog of version 4.5.0", "sync to_b, table public.orders: 1 rows", "sync to_c, table public.orders: 2 rows"]
    {
        assert!(told.contains(line), "{line} in\n{told}");
    }
    assert_eq!((shape(&a).await, shape(&control).await), before);
    ours.run("adopt --batch");
    let told = ours.run("list syncs");
    assert!(told.contains("Sync \"to_b\"") && told.contains("A:source B:target"), "{told}");
    assert_eq!(control.rows("SELECT name, whenrun FROM bucardo.customcode").await, ["mine|before_trigger_disable"]);
    assert_eq!(ours.run("show vac_sleep").trim(), "vac_sleep = 99");
    ours.run(&format!("set piddir={}", ours.home().display()));
    let daemon = Daemon::start(&ours).await;
    until_same(&[&a, &c]).await;
    assert_eq!(
        b.rows("SELECT * FROM orders").await,
        ["1|for both"],
        "the other was delivered, and is gone there since"
    );
    assert_same("public.\"Odd.name\"", &[&a, &b, &c]).await;
    for database in [&a, &b, &c] {
        assert_marked(database).await;
    }
    daemon.stop().await;

    a.run("INSERT INTO orders VALUES (3, 'late')").await;
    ours.run("adopt undo --batch");
    assert_eq!((shape(&a).await, shape(&control).await), before);
    assert_eq!(a.rows("SELECT tablename::regclass, rowid FROM bucardo.bucardo_delta").await, ["orders|3"]);
    a.run("INSERT INTO orders VALUES (4, 'captured again')").await;
    assert_eq!(a.number("SELECT count(*) FROM bucardo.bucardo_delta").await, 2);
}

/// The control database may be a source, too: the catalog and the tables of changes lie in one schema.
#[tokio::test]
async fn a_control_database_that_is_a_source_is_taken_over_and_given_back() {
    let Some(perl) = Perl::install().await else { return };
    let a = Database::of(&perl.cluster, "bucardo").await;
    a.run("ALTER DATABASE bucardo SET search_path = public; SET search_path = public").await;
    a.run(TABLES).await;
    let b = database(&perl.cluster, "b").await;
    perl.add_db("A", &a);
    perl.add_db("B", &b);
    perl.run("add all tables db=A relgroup=ours");
    perl.run("add sync one relgroup=ours dbs=A:source,B:target");
    a.run("INSERT INTO orders VALUES (1, 'before')").await;
    let before = (shape(&a).await, shape(&b).await);
    let ours = perl.successor().await;
    ours.run("adopt --dry-run");
    assert_eq!((shape(&a).await, shape(&b).await), before);

    let told = ours.run("adopt --batch");
    assert!(told.contains("Database \"A\": 3 tables taken over"), "{told}");
    let daemon = Daemon::start(&ours).await;
    until_same(&[&a, &b]).await;
    a.run("INSERT INTO orders VALUES (2, 'after')").await;
    until_same(&[&a, &b]).await;
    daemon.stop().await;

    a.run("INSERT INTO orders VALUES (3, 'late'); UPDATE bucardo.track SET round = -2").await;
    let told = ours.call(&["adopt", "undo", "--batch"]);
    assert!(told.stderr.contains("database \"B\" was given up by sync \"one\""), "{}", told.stderr);
    told.ok();
    assert_eq!((shape(&a).await, shape(&b).await), before);
    a.run("UPDATE orders SET note = 'later' WHERE id = 3").await;
    perl.start(&["one"]).await;
    until_same(&[&a, &b]).await;
    perl.stop().await;
}

/// A source of thousands of tables has as many functions of the Perl program: to move them all at once takes more locks
/// than the server has room for. When it stops among them, one can go on or back.
#[tokio::test]
async fn many_tables_are_taken_over_with_few_locks() {
    let Some(mut perl) = Perl::install().await else { return };
    let (a, b) = (database(&perl.cluster, "a").await, database(&perl.cluster, "b").await);
    perl.add_db("A", &a);
    perl.add_db("B", &b);
    perl.run("add table orders db=A relgroup=ours");
    perl.run("add sync one relgroup=ours dbs=A:source,B:target");
    // It leaves those of tables that it had once.
    a.run(
        "DO $$ BEGIN FOR n IN 1000..2999 LOOP EXECUTE format('CREATE FUNCTION bucardo.delta_public_t%s() \
         RETURNS trigger LANGUAGE plpgsql AS ''BEGIN RETURN NULL; END''', n); END LOOP; END $$",
    )
    .await;
    a.run("ALTER SYSTEM SET max_locks_per_transaction = 10").await;
    a.run("ALTER SYSTEM SET max_connections = 40").await;
    let (a_name, b_name) = (a.name.clone(), b.name.clone());
    drop((a, b));
    perl.cluster.restart().unwrap();
    let (a, b) = (Database::of(&perl.cluster, &a_name).await, Database::of(&perl.cluster, &b_name).await);
    let at_once = a
        .refused(
            "DO $$ BEGIN FOR n IN 1000..2999 LOOP EXECUTE \
             format('ALTER FUNCTION bucardo.delta_public_t%s() SET SCHEMA public', n); END LOOP; END $$",
        )
        .await;
    assert!(at_once.contains("out of shared memory"), "{at_once}");
    let before = shape(&a).await;
    a.run("INSERT INTO orders VALUES (1, 'before')").await;
    let ours = perl.successor().await;

    let stops = async |words: &[&str]| {
        let locker = a.session().await;
        let schema =
            a.value("SELECT pronamespace::regnamespace FROM pg_proc WHERE proname = 'delta_public_t2500'").await;
        locker.batch_execute(&format!("BEGIN; ALTER FUNCTION {schema}.delta_public_t2500() COST 50")).await.unwrap();
        let told = ours.call(words).failed();
        assert!(told.contains("moving what the tables"), "{told}");
        locker.batch_execute("ROLLBACK").await.unwrap();
        let kept = "SELECT count(*) FROM pg_proc WHERE pronamespace = 'bucardo_perl'::regnamespace";
        let kept = a.number(kept).await;
        assert!((1..2000).contains(&kept), "{words:?} stops half-way: {kept}, {told}");
    };
    stops(&["adopt", "--batch"]).await;
    ours.run("adopt undo --batch");
    assert_eq!(shape(&a).await, before);
    stops(&["adopt", "--batch"]).await;
    ours.run("adopt --batch");
    let daemon = Daemon::start(&ours).await;
    until_same(&[&a, &b]).await;
    daemon.stop().await;
    stops(&["adopt", "undo", "--batch"]).await;
    ours.run("adopt undo --batch");
    assert_eq!(shape(&a).await, before);
}
