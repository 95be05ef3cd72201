//! `bucardo install`: with and without a superuser, twice, asked and unasked.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use bucardo::lab::{Cluster, Folder, Settings};

use crate::cli_lab::install;
use crate::support::{Bucardo, Database, fresh_database};

#[tokio::test]
async fn install_makes_the_catalog_and_says_so_the_second_time() {
    let control = fresh_database("control").await;
    let bucardo = Bucardo::on(&control);
    let printed = install(&bucardo).ok();
    for line in [
        "Attempting to create and populate the bucardo database and schema",
        "Database creation is complete",
        "Updated configuration setting \"piddir\"",
        "Installation is now complete.",
    ] {
        assert!(printed.lines().any(|printed| printed == line), "{line}: {printed}");
    }
    let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'bucardo'";
    assert_eq!(
        control.number(tables).await,
        29,
        "the 20 tables of version 5, audit_pid, troubles, states, row filters, two of conflicts, totals of tables, queues, and the migrations"
    );
    let piddir = control.value("SELECT setting FROM bucardo.bucardo_config WHERE name = 'piddir'").await;
    assert_eq!(piddir, bucardo.home().display().to_string());
    assert_eq!(control.value("SELECT action FROM bucardo.upgrade_log").await, "Initial install");

    let again = install(&bucardo);
    assert_eq!(again.code, 1);
    assert!(again.stderr.starts_with("INSTALLATION FAILED! Bucardo is already installed"), "{}", again.stderr);

    // An older catalog is brought up to date, and keeps its PID directory.
    control.run("DELETE FROM bucardo.migration WHERE level = (SELECT max(level) FROM bucardo.migration)").await;
    let upgrade = bucardo.call(&["install", "--batch"]);
    assert_eq!(upgrade.code, 0, "{}", upgrade.stderr);
    assert_eq!(control.value("SELECT setting FROM bucardo.bucardo_config WHERE name = 'piddir'").await, piddir);
}

#[tokio::test]
async fn a_pid_directory_that_does_not_exist_is_refused_before_anything_is_made() {
    let control = fresh_database("control").await;
    let bucardo = Bucardo::on(&control);
    for piddir in ["/no/such/place", "."] {
        let refusal = bucardo.call(&["install", "--batch", "--piddir", piddir]);
        assert_eq!(refusal.code, 1);
        assert!(refusal.stderr.contains("is not a valid PID directory"), "{}", refusal.stderr);
    }
    assert_eq!(control.number("SELECT count(*) FROM pg_namespace WHERE nspname = 'bucardo'").await, 0);
}

#[tokio::test]
async fn without_superuser_role_and_database_are_enough() {
    let mut control = fresh_database("control").await;
    let owner = format!("owner_of_{}", control.name);
    control.run(&format!("CREATE ROLE {owner} LOGIN")).await;
    control.user.clone_from(&owner);
    let bucardo = Bucardo::on(&control);

    let refusal = install(&bucardo);
    assert_eq!(refusal.code, 1);
    assert!(refusal.stderr.contains("permission denied"), "{}", refusal.stderr);
    assert!(refusal.stderr.contains("GRANT CREATE ON DATABASE"), "{}", refusal.stderr);
    assert_eq!(control.number("SELECT count(*) FROM pg_namespace WHERE nspname = 'bucardo'").await, 0);

    control.run(&format!("GRANT CREATE ON DATABASE {} TO {owner}", control.name)).await;
    install(&bucardo).ok();
    let owners = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'bucardo'";
    assert_eq!(control.rows(owners).await, [owner]);
    assert_eq!(bucardo.run("list dbs"), "No databases have been added yet\n");
}

#[tokio::test]
async fn unreachable_and_uninstalled_control_databases_are_told_apart() {
    let control = fresh_database("control").await;
    let bucardo = Bucardo::on(&control);
    let refusal = bucardo.fails("list dbs");
    assert!(refusal.contains("has no catalog of Bucardo"), "{refusal}");
    assert!(refusal.contains("bucardo install"), "{refusal}");
    let refusal = bucardo.call(&["--dbport", "1", "list", "dbs"]);
    assert_eq!(refusal.code, 255);
    assert!(refusal.stderr.contains("port=1 "), "{}", refusal.stderr);
    let refusal = bucardo.call(&["--dbport", "1", "install", "--batch", "--piddir", "/tmp"]);
    assert_eq!(refusal.code, 1);
    assert!(refusal.stderr.starts_with("INSTALLATION FAILED! cannot connect to"), "{}", refusal.stderr);
}

/// A fresh server that asks everybody but its superuser for a password, and has neither role nor database.
#[tokio::test]
async fn a_fresh_server_gets_role_database_and_a_password_that_nobody_sees() {
    let folder = Folder::new("bucardo-install").unwrap();
    let settings = Settings::default()
        .hba("host all bucardo 127.0.0.1/32 scram-sha-256")
        .set("log_statement", "all")
        .set("password_encryption", "scram-sha-256");
    let cluster = Cluster::start(folder.path(), "fresh", &settings).unwrap();
    let mut control = Database::of(&cluster, "postgres").await;
    "bucardo".clone_into(&mut control.name);
    "bucardo".clone_into(&mut control.user);
    let bucardo = Bucardo::on(&control);
    let printed = install(&bucardo);
    assert_eq!(printed.code, 0, "{}{}", printed.stdout, printed.stderr);
    assert!(printed.stdout.contains("Created superuser 'bucardo'"), "{}", printed.stdout);

    let pgpass = bucardo.home().join(".pgpass");
    assert_eq!(std::fs::metadata(&pgpass).unwrap().permissions().mode() & 0o777, 0o600);
    let line = std::fs::read_to_string(&pgpass).unwrap();
    let password = line.trim_end().rsplit(':').next().unwrap().to_owned();
    assert_eq!(password.len(), 42);
    assert!(!printed.stdout.contains(&password) && !printed.stderr.contains(&password));
    let log = std::fs::read_to_string(cluster.log()).unwrap();
    assert!(log.contains("ALTER ROLE \"bucardo\" PASSWORD"), "the log has the statement");
    assert!(!log.contains(&password), "but not the password");

    assert_eq!(bucardo.run("list dbs"), "No databases have been added yet\n");
    let refusal = bucardo.call(&["--dbpass", "wrong", "list", "dbs"]);
    assert_eq!(refusal.code, 255);
    assert!(refusal.stderr.contains("check the password"), "{}", refusal.stderr);
    let port = format!("port={}", control.port);
    let words = ["add", "db", "A", "dbname=bucardo", "host=127.0.0.1", &port, "pass=wRong"];
    let refusal = bucardo.call(&words);
    assert_eq!(refusal.code, 255);
    assert!(refusal.stderr.starts_with("Cannot add database \"A\": cannot connect to host=127.0.0.1"));
    assert!(refusal.stderr.contains("check the password") && !refusal.stderr.contains("wRong"), "{}", refusal.stderr);
    assert_eq!(bucardo.run("list dbs"), "No databases have been added yet\n");
}

fn answer(bucardo: &Bucardo, answers: &str) -> (i32, String, String) {
    let mut command = bucardo.command(&["install"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(answers.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

#[tokio::test]
async fn the_menu_changes_values_and_quits() {
    let control = fresh_database("control").await;
    let bucardo = Bucardo::on(&control);
    let (code, out, _) = answer(&bucardo, "q\n");
    assert_eq!(code, 0);
    assert!(out.contains("1. Host:           127.0.0.1"), "{out}");
    assert!(out.ends_with("Goodbye!\n"), "{out}");

    let home = bucardo.home().display().to_string();
    let (code, out, err) = answer(&bucardo, &format!("P\n5 /no/where\n5 {home}\n3\npostgres\nP\n"));
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.contains("-->Sorry, that is not a valid PID directory"), "{out}");
    assert!(out.contains(&format!("5. PID directory:  {home}")), "{out}");
    assert!(out.ends_with("Installation is now complete.\n"), "{out}");

    let (code, _, err) = answer(&bucardo, "");
    assert_eq!(code, 1);
    assert!(err.contains("--batch"), "{err}");
}
