//! The migrations of the control database: what they make, and that they may be run again.

use bucardo::catalog::migrate::{self, LEVEL_NEEDED, MIGRATIONS, State};

use crate::support::{Database, fresh_database};

const CURRENT: &str = include_str!("../sql/control/current.sql");

/// What a catalog consists of, whatever the order in which it was made.
const SHAPE: [&str; 7] = [
    "SELECT 'column', table_name, column_name, data_type, udt_name, is_nullable, column_default \
     FROM information_schema.columns WHERE table_schema = 'bucardo' ORDER BY 2, 3",
    "SELECT 'constraint', c.conrelid::regclass, c.conname, pg_get_constraintdef(c.oid) FROM pg_constraint AS c \
     JOIN pg_namespace AS n ON n.oid = c.connamespace WHERE n.nspname = 'bucardo' ORDER BY 2, 3",
    "SELECT 'index', indexname, indexdef FROM pg_indexes WHERE schemaname = 'bucardo' ORDER BY 2",
    "SELECT 'trigger', pg_get_triggerdef(t.oid) FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid \
     WHERE c.relnamespace = 'bucardo'::regnamespace AND NOT t.tgisinternal ORDER BY 2",
    "SELECT 'function', pg_get_functiondef(p.oid) FROM pg_proc AS p \
     WHERE p.pronamespace = 'bucardo'::regnamespace ORDER BY 2",
    "SELECT 'view', viewname, definition FROM pg_views WHERE schemaname = 'bucardo' ORDER BY 2",
    "SELECT 'setting', name, setting, defval, about, type, item FROM bucardo.bucardo_config ORDER BY 2",
];

async fn shape(database: &Database) -> Vec<String> {
    let mut all = Vec::new();
    for sql in SHAPE {
        all.extend(database.rows(sql).await);
    }
    assert!(all.len() > 200, "the catalog is nearly empty: {all:?}");
    all
}

#[tokio::test]
async fn all_migrations_together_make_the_current_schema() {
    let migrated = fresh_database("migrated").await;
    let mut session = migrated.session().await;
    assert_eq!(migrate::state(&session).await.unwrap(), State::Absent { schema: false });
    let levels: Vec<i32> = MIGRATIONS.iter().map(|migration| migration.level).collect();
    assert_eq!(migrate::migrate(&mut session).await.unwrap(), levels);

    let current = fresh_database("current").await;
    current.run("CREATE SCHEMA bucardo").await;
    current.run(CURRENT).await;
    assert_eq!(shape(&migrated).await, shape(&current).await);
}

#[tokio::test]
async fn every_migration_may_be_run_twice() {
    let database = fresh_database("twice").await;
    let mut session = database.session().await;
    migrate::migrate(&mut session).await.unwrap();
    database.run("UPDATE bucardo.bucardo_config SET setting = '/srv/Pid' WHERE name = 'piddir'").await;
    let before = shape(&database).await;
    for migration in MIGRATIONS {
        database.run(migration.sql).await;
    }
    assert_eq!(shape(&database).await, before);
    assert!(migrate::migrate(&mut session).await.unwrap().is_empty(), "nothing is missing");
}

#[tokio::test]
async fn a_catalog_that_stopped_half_way_is_brought_up_to_date() {
    let database = fresh_database("half").await;
    let mut session = database.session().await;
    migrate::migrate(&mut session).await.unwrap();
    let whole = shape(&database).await;
    let first = MIGRATIONS[0];
    database.run("DROP SCHEMA bucardo CASCADE; CREATE SCHEMA bucardo").await;
    database.run(include_str!("../sql/catalog/migration_table.sql")).await;
    database.run(first.sql).await;
    database.run("INSERT INTO bucardo.migration (level, name) VALUES (1, 'tables')").await;
    let missing: Vec<i32> = (2..=LEVEL_NEEDED).collect();
    assert_eq!(migrate::migrate(&mut session).await.unwrap(), missing);
    assert_eq!(shape(&database).await, whole);
}

/// The catalog of version 5, with its settings and without our table of migrations, is left alone.
#[tokio::test]
async fn a_catalog_of_another_program_is_refused() {
    let database = fresh_database("foreign").await;
    database.run("CREATE SCHEMA bucardo").await;
    database.run(MIGRATIONS[0].sql).await;
    database.run("INSERT INTO bucardo.bucardo_config (name, setting) VALUES ('bucardo_version', '5.6.0')").await;
    let mut session = database.session().await;
    let error = migrate::migrate(&mut session).await.unwrap_err();
    assert!(error.to_string().contains("5.6.0"), "{error}");
    assert_eq!(migrate::state(&session).await.unwrap(), State::Foreign);
}

#[tokio::test]
async fn checks_of_the_catalog_refuse_what_version_5_refused() {
    let database = fresh_database("checks").await;
    let mut session = database.session().await;
    migrate::migrate(&mut session).await.unwrap();
    database.run("INSERT INTO bucardo.db (name, dbname) VALUES ('a', 'x'), ('b', 'x')").await;
    database.run("INSERT INTO bucardo.goat (db, schemaname, tablename) VALUES ('a', 's', 't'), ('b', 's', 't')").await;
    database.run("INSERT INTO bucardo.herd (name) VALUES ('h')").await;
    for (sql, word) in [
        ("INSERT INTO bucardo.db (name) VALUES ('a-b')", "db_name_sane"),
        ("INSERT INTO bucardo.db (name, status) VALUES ('c', 'odd')", "db_status_valid"),
        ("INSERT INTO bucardo.sync (name) VALUES ('FullCopy')", "sync_name_sane"),
        ("INSERT INTO bucardo.sync (name, deletemethod) VALUES ('s', 'burn')", "sync_deletemethod_valid"),
        ("INSERT INTO bucardo.sync (name, onetimecopy) VALUES ('s', 3)", "sync_onetimecopy_valid"),
        ("INSERT INTO bucardo.goat (db, schemaname, tablename) VALUES ('a', '', 't')", "has_schemaname"),
        ("INSERT INTO bucardo.goat (db, schemaname, tablename, pkey) VALUES ('a', 's', 't', 'id')", "pkey_needs_type"),
        ("INSERT INTO bucardo.herdmap (herd, goat) VALUES ('h', 1), ('h', 2)", "must be from the same database"),
        ("INSERT INTO bucardo.bucardo_config (name, setting, type) VALUES ('x', '', 'sync')", "Must provide an item"),
        ("INSERT INTO bucardo.bucardo_config (name, setting) VALUES ('Goat', '')", "Invalid configuration name"),
        ("INSERT INTO bucardo.bucardo_config (name, setting) VALUES ('PIDDIR', '')", "bucardo_config_unique"),
        (
            "UPDATE bucardo.bucardo_config SET setting = 'none' WHERE name = 'isolation_level'",
            "valid_config_isolation_level",
        ),
    ] {
        let refusal = database.refused(sql).await;
        assert!(refusal.contains(word), "{sql}: {refusal}");
    }
    // Values are kept as they are.
    database.run("UPDATE bucardo.bucardo_config SET setting = 'GeHeim' WHERE name = 'email_auth_pass'").await;
    assert_eq!(
        database.value("SELECT setting FROM bucardo.bucardo_config WHERE name = 'email_auth_pass'").await,
        "GeHeim"
    );
}

#[tokio::test]
async fn each_wish_for_a_whole_copy_counts_once() {
    let database = fresh_database("copies").await;
    let mut session = database.session().await;
    migrate::migrate(&mut session).await.unwrap();
    let request = "SELECT copy_request FROM bucardo.sync WHERE name = 's'";
    database.run("INSERT INTO bucardo.sync (name, onetimecopy) VALUES ('s', 2)").await;
    assert_eq!(database.number(request).await, 1);
    database.run("UPDATE bucardo.sync SET onetimecopy = 1, priority = 4").await;
    assert_eq!(database.number(request).await, 1, "the same wish");
    assert!(!bucardo::catalog::syncs::reset_onetimecopy(&session, "s", 7).await.unwrap(), "not this request");
    assert!(bucardo::catalog::syncs::reset_onetimecopy(&session, "s", 1).await.unwrap());
    assert_eq!(database.number("SELECT onetimecopy FROM bucardo.sync").await, 0);
    database.run("UPDATE bucardo.sync SET onetimecopy = 1").await;
    assert_eq!(database.number(request).await, 2);
}
