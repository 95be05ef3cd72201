//! A replication role without superuser: what it lacks is told as the statement that grants it.

use bucardo::catalog::Role;
use bucardo::source::ValidateError;
use bucardo_actors::model::Failure;

use crate::support::SyncLab;
use crate::support::sync_lab::member;

/// All problems are told at once; running exactly the statements that they name makes the sync run.
#[tokio::test]
async fn missing_rights_are_told_as_grants() {
    let ddl =
        "CREATE SCHEMA app; CREATE TABLE app.\"Orders\" (id int PRIMARY KEY, note text); CREATE SEQUENCE app.numbers;
               CREATE TABLE app.\"it\"\"s\" (id int PRIMARY KEY) PARTITION BY RANGE (id);
               CREATE TABLE app.\"low\"\"er\" PARTITION OF app.\"it\"\"s\" FOR VALUES FROM (0) TO (10)";
    let mut lab = SyncLab::empty(&["b"], ddl, &["app.Orders:id", "app.it\"s:id", "app.numbers"]).await;
    let version: i64 = lab.on("a").number("SHOW server_version_num").await;
    let name = format!("replicator\"_{}", std::process::id());
    let role = format!("\"{}\"", name.replace('"', "\"\""));
    lab.on("a").run(&format!("CREATE ROLE {role} LOGIN")).await;
    for (place, db) in ["a", "b"].into_iter().enumerate() {
        lab.on(db).run(&format!("GRANT USAGE ON SCHEMA app TO {role}")).await;
        let database = lab.on(db);
        database.run(&format!("REVOKE TEMPORARY ON DATABASE \"{}\" FROM PUBLIC", database.name)).await;
        let words = format!("host={} port={} user={name} dbname={}", database.host, database.port, database.name);
        lab.sync.members[place] = member(db, &words, if place == 0 { Role::Source } else { Role::Target });
    }
    let error = lab.validate().await.unwrap_err();
    let ValidateError::Problems { problems } = &error else { panic!("{error}") };
    assert_eq!(error.failure(), Failure::Permanent);
    let installed = lab.on("a").number("SELECT count(*) FROM pg_namespace WHERE nspname = 'bucardo'").await;
    assert_eq!(installed, 0, "something was installed in spite of {problems:?}");
    for name in ["a", "b"] {
        assert!(problems.iter().any(|problem| problem.contains(&format!("database \"{name}\""))), "{problems:?}");
    }
    for problem in problems {
        let statement = problem.split("run ").nth(1).unwrap_or_else(|| panic!("no statement in: {problem}"));
        let statement = statement.split(", or ").next().unwrap();
        let name = if problem.contains("database \"a\"") { "a" } else { "b" };
        lab.on(name).run(statement).await;
    }
    assert!(version >= 150_000 || problems.iter().any(|problem| problem.contains("SUPERUSER")));
    lab.validate().await.unwrap();
    lab.on("a").run("INSERT INTO app.\"Orders\" VALUES (1, 'x'); SELECT nextval('app.numbers')").await;
    assert_eq!(lab.drain("b").await, 1);
    lab.on("a")
        .run("UPDATE app.\"Orders\" SET id = 2; TRUNCATE app.\"Orders\"; INSERT INTO app.\"Orders\" VALUES (3, 'y')")
        .await;
    lab.drain("b").await;
    // The application's statement reads the partition with the rights of the role.
    lab.on("a").run("INSERT INTO app.\"it\"\"s\" VALUES (1); TRUNCATE app.\"low\"\"er\"").await;
    lab.drain("b").await;
    lab.assert_same().await;
}

/// What differs is named, all of it, and nothing is installed.
#[tokio::test]
async fn differences_are_named_and_change_nothing() {
    let ddl = "CREATE TYPE mood AS ENUM ('ok'); CREATE TABLE t (id int PRIMARY KEY, m mood, v text NOT NULL, w int); CREATE TABLE gone (id int PRIMARY KEY); CREATE TABLE v (id int PRIMARY KEY)";
    let mut lab = SyncLab::empty(&["b"], ddl, &["t:id", "gone:id", "v:id"]).await;
    lab.on("b").run("ALTER TABLE t ALTER m TYPE text, ALTER v DROP NOT NULL, DROP COLUMN w; DROP TABLE gone, v; CREATE VIEW v AS SELECT 1 AS id; DROP TYPE mood").await;
    let told = lab.validate().await.unwrap_err().told();
    for expected in [
        "Could not find \"gone\" inside the \"public\" schema on database \"b\"!",
        "\"public.v\" on database \"b\" is a view, not a table!",
        "table \"public.t\" on database \"b\": column \"m\" has type text instead of public.mood (source is \"a\")",
        "table \"public.t\" on database \"b\": column \"w\" is missing (source is \"a\")",
        "column \"v\" is not NOT NULL, unlike the source",
    ] {
        assert!(told.contains(expected), "{expected:?} not in {told}");
    }
    assert_eq!(lab.on("a").number("SELECT count(*) FROM pg_namespace WHERE nspname = 'bucardo'").await, 0);
}
