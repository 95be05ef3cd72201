//! `doctor` finds what an operator has broken, says how to mend it, and changes nothing.

use serde_json::Value;

use bucardo::lab::{Cluster, Folder, Settings};

use crate::cli_lab::CliLab;
use crate::support::Database;

const TABLES: &str = "CREATE TABLE t1 (id int PRIMARY KEY, note text); CREATE TABLE t2 (id int PRIMARY KEY)";

#[tokio::test]
async fn what_is_broken_is_found_and_the_remedy_mends_it() {
    let lab = CliLab::start().await;
    let (a, b) = (lab.db("A", TABLES).await, lab.db("B", TABLES).await);
    lab.bucardo.run("add sync s tables=t1,t2 dbs=A,B");
    let healthy = lab.bucardo.run("doctor");
    let down = "No problems found; but the daemon does not run, nothing is replicated (bucardo start)\n";
    assert!(healthy.ends_with(&format!("Sync s:\n  OK\n{down}")), "{healthy}");
    assert!(
        healthy.contains("Database A: ") && healthy.contains("clock +0.") || healthy.contains("clock -0."),
        "{healthy}"
    );

    let trigger = a
        .value("SELECT tgname FROM pg_trigger WHERE tgrelid = 't1'::regclass AND NOT tgisinternal ORDER BY 1 LIMIT 1")
        .await;
    a.run(&format!("ALTER TABLE t1 DISABLE TRIGGER {trigger}")).await;
    b.run("ALTER TABLE t2 RENAME id TO number").await;
    let before = lab.catalog().await;
    let sick = lab.call(&["doctor"]);
    assert_eq!(sick.code, 1, "{}", sick.stdout);
    let remedy = format!("ALTER TABLE public.t1 ENABLE TRIGGER {trigger};");
    for word in [&remedy, "PROBLEM: ", "\"id\"", "4 problems found"] {
        assert!(sick.stdout.contains(word), "\"{word}\" is not in: {}", sick.stdout);
    }
    assert_eq!(lab.catalog().await, before);
    a.run(&remedy).await;
    b.run("ALTER TABLE t2 RENAME number TO id").await;
    assert!(lab.bucardo.run("doctor").ends_with(down));

    // A backlog, and a role that may not look.
    a.run("INSERT INTO t1 VALUES (1, 'x'); UPDATE bucardo.delta_public_t1 SET txntime = now() - interval '2 hours'")
        .await;
    let sick = lab.call(&["doctor", "s"]);
    assert!(sick.code == 1 && sick.stdout.contains("PROBLEM: A -> B: 1 waiting"), "{}", sick.stdout);
    assert!(sick.stdout.contains("the oldest for 2h"), "{}", sick.stdout);
    a.run("TRUNCATE bucardo.delta_public_t1").await;
    let role = format!("plain_{}", std::process::id());
    a.run(&format!("CREATE ROLE {role} LOGIN")).await;
    lab.bucardo.run(&format!("update db A user={role}"));
    let sick = lab.call(&["doctor", "A"]);
    let remedy = format!("GRANT {} TO {role};", a.user);
    assert!(sick.stdout.contains(&remedy), "{remedy} is not in {}", sick.stdout);
    a.run(&remedy).await;
    let better = lab.call(&["doctor", "A"]);
    assert!(!better.stdout.contains("cannot look into it"), "{}", better.stdout);
    lab.bucardo.run(&format!("update db A user={}", a.user));

    for table in a.rows("SELECT format('DROP TRIGGER %I ON t2', tgname) FROM pg_trigger WHERE tgrelid = 't2'::regclass AND NOT tgisinternal").await {
        a.run(&table).await;
    }
    lab.bucardo.run("add db gone host=127.0.0.1 port=1 dbname=x user=y --force");
    let sick = lab.call(&["doctor", "--json"]);
    let json: Value = serde_json::from_str(&sick.stdout).unwrap();
    assert_eq!(json["problems"], 2, "{}", sick.stdout);
    assert!(json["databases"][0]["findings"][0]["remedy"].as_str().unwrap().starts_with("bucardo validate s"));
    assert!(json["databases"][2]["findings"][0]["what"].as_str().unwrap().starts_with("cannot connect"));
    assert_eq!(lab.call(&["doctor", "s"]).code, 0, "the sync itself could run");
    lab.bucardo.run("validate s");
    lab.bucardo.run("doctor A B s");
    assert!(lab.bucardo.fails("doctor gnoe").contains("did you mean \"gone\"?"));
}

/// On servers that somebody else runs nobody is superuser, and the grants that help elsewhere are refused.
#[tokio::test]
async fn managed_servers_are_told_the_grant_that_works_there() {
    let folder = Folder::new("bucardo-test").unwrap();
    let cluster = Cluster::start(folder.path(), "managed", &Settings::default()).unwrap();
    let target = Database::create(&cluster, "data").await;
    target.run(TABLES).await;
    target.run("CREATE ROLE weak LOGIN; GRANT ALL ON ALL TABLES IN SCHEMA public TO weak").await;
    target.run(&format!("GRANT ALL ON DATABASE \"{}\" TO weak", target.name)).await;
    let lab = CliLab::start().await;
    let _source = lab.db("A", TABLES).await;
    let (host, port, name) = (&target.host, target.port, &target.name);
    lab.bucardo.run(&format!("add db B host={host} port={port} dbname={name} user=weak"));
    let refused = lab.bucardo.fails("add sync s tables=t1,t2 dbs=A,B");
    assert!(refused.contains("run GRANT SET ON PARAMETER session_replication_role TO \"weak\""), "{refused}");
    // What another role has made is no matter of rights in the database.
    target.run("CREATE ROLE other; CREATE SCHEMA bucardo AUTHORIZATION other").await;
    let refused = lab.bucardo.fails("add sync s tables=t1,t2 dbs=A,B");
    assert!(refused.contains("run GRANT other TO \"weak\""), "{refused}");
    assert!(!refused.contains("GRANT CREATE ON DATABASE"), "{refused}");
    target.run("GRANT other TO weak").await;
    let refused = lab.bucardo.fails("add sync s tables=t1,t2 dbs=A,B");
    assert!(!refused.contains("may not create"), "{refused}");
    for group in ["rds_superuser", "cloudsqlsuperuser", "azure_pg_admin"] {
        target.run(&format!("CREATE ROLE {group}")).await;
        let refused = lab.bucardo.fails("add sync s tables=t1,t2 dbs=A,B");
        assert!(refused.contains(&format!("run GRANT \"{group}\" TO \"weak\" as its administrator")), "{refused}");
        target.run(&format!("DROP ROLE {group}")).await;
    }
}
