//! The history of conflicts as the daemon writes and prunes it.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use bucardo::adapters::ConflictHistory;
use bucardo::catalog::conflicts::{Conflict, ConflictStore};
use bucardo::config::Settings;
use bucardo::pg::Access;
use chrono::Utc;
use serde_json::json;

use crate::cli_lab::CliLab;
use crate::support::{Town, wait};

const WITHIN: Duration = Duration::from_secs(30);

fn conflict(id: &str) -> Conflict {
    Conflict {
        id: id.to_owned(),
        sync: "s".into(),
        schema: "public".to_owned(),
        table: "t".to_owned(),
        key: json!({"id": "1"}),
        strategy: "bucardo_source".to_owned(),
        winner: "A".into(),
        versions: json!({}),
        rows: BTreeMap::from([("A".into(), Some("{\"id\": 1}".to_owned())), ("B".into(), None)]),
        time: Utc::now(),
    }
}

/// The control database is restarted between two merges, and the caller does not know what had got through.
#[tokio::test]
async fn a_lost_session_is_an_error_once_and_nothing_is_counted_twice() {
    let lab = CliLab::start().await;
    let history = ConflictHistory::new(Access::parse(&lab.control.conninfo()).unwrap(), &Settings::default());
    history.store(&[]).await.unwrap();
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'bucardo conflicts%' \
        AND datname = current_database()";
    assert_eq!(lab.control.number(sessions).await, 0, "nobody connects for nothing");
    history.store(&[conflict("1"), conflict("2")]).await.unwrap();
    assert_eq!(lab.control.number(sessions).await, 1);

    lab.control.run("ALTER TABLE bucardo.conflict RENAME TO hidden").await;
    let error = history.store(&[conflict("3")]).await.unwrap_err();
    assert!(error.starts_with("cannot keep 1 conflicts in the control database: cannot write conflicts"), "{error}");
    assert!(error.contains("\"bucardo.conflict\" does not exist"), "the cause is told: {error}");
    lab.control.run("ALTER TABLE bucardo.hidden RENAME TO conflict").await;
    history.store(&[conflict("2"), conflict("3")]).await.unwrap();

    let ended = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
        WHERE application_name LIKE 'bucardo conflicts%' AND datname = current_database()";
    assert_eq!(lab.control.number(ended).await, 1);
    wait::until_equal("the end of the session", WITHIN, &0, async || lab.control.number(sessions).await).await;
    wait::until("a new session", WITHIN, async || history.store(&[conflict("3"), conflict("4")]).await).await;
    assert_eq!(lab.control.number("SELECT conflicts FROM bucardo.conflict_total").await, 4);
    assert_eq!(lab.control.number("SELECT count(*) FROM bucardo.conflict").await, 4);
}

/// Rows may hold what is nobody's business: the file is its owner's, and is not written unless asked for.
#[tokio::test]
async fn rows_go_to_the_file_of_the_settings_once_each() {
    let lab = CliLab::start().await;
    let path = lab.bucardo.home().join("conflicts.csv");
    let mut settings = Settings::default();
    let file = "log_conflict_file";
    assert_eq!(lab.bucardo.run(&format!("show {file}")), format!("{file} = bucardo_conflict.log\n"));
    settings.conflicts.log_file = "conflicts.csv".into();
    settings.log.destinations = vec!["stderr".to_owned(), lab.bucardo.home().display().to_string()];
    let history = ConflictHistory::new(Access::parse(&lab.control.conninfo()).unwrap(), &settings);
    history.store(&[conflict("1")]).await.unwrap();
    assert!(!path.exists());
    settings.conflicts.log_details = true;
    history.change(&settings);
    history.store(&[conflict("1"), conflict("2")]).await.unwrap();
    history.store(&[conflict("3"), conflict("2")]).await.unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "time,id,sync,schema,table,key,strategy,winner,db,version,row");
    let ids: Vec<&str> = lines[1..].iter().map(|line| line.split(',').nth(1).unwrap()).collect();
    assert_eq!(ids, ["2", "2", "3", "3"], "a line for each row of a conflict that is new");
    assert!(lines[1].ends_with(",A,,\"{\"\"id\"\": 1}\"") && lines[2].ends_with(",B,,"), "{text}");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

    // A directory that is gone keeps no conflict from being kept.
    settings.conflicts.log_file = "/nonexistent/conflicts.csv".into();
    history.change(&settings);
    history.store(&[conflict("4")]).await.unwrap();
    assert_eq!(lab.control.number("SELECT count(*) FROM bucardo.conflict").await, 4);
    settings.conflicts.keep = Duration::ZERO;
    history.change(&settings);
    history.store(&[conflict("5")]).await.unwrap();
    assert_eq!(lab.control.value("SELECT rows FROM bucardo.conflict WHERE id = '5'").await, "{}", "only counted");
    assert_eq!(lab.control.number("SELECT conflicts FROM bucardo.conflict_total").await, 5);
}

/// Nobody cleans up by hand: the daemon drops what was kept long enough, the totals stay.
#[tokio::test]
async fn the_daemon_prunes_what_was_kept_long_enough() {
    let mut town = Town::found("CREATE TABLE t (id int PRIMARY KEY)").await;
    town.sync("");
    let history = ConflictHistory::new(Access::parse(&town.control.conninfo()).unwrap(), &Settings::default());
    history.store(&[conflict("old"), conflict("young")]).await.unwrap();
    town.control.run("UPDATE bucardo.conflict SET cdate = now() - interval '2 days' WHERE id = 'old'").await;
    // More than a batch.
    town.control
        .run(
            "INSERT INTO bucardo.conflict
             SELECT n::text, sync, schemaname, tablename, key, strategy, winner, versions, rows, time, cdate
             FROM bucardo.conflict, generate_series(1, 2500) n WHERE id = 'old'",
        )
        .await;
    town.bucardo.run("set conflict_keep=86400 vac_sleep=0.1");
    let daemon = town.daemon().await;
    wait::until("only the young one in the history", WITHIN, async || {
        let ids = town.control.rows("SELECT id FROM bucardo.conflict LIMIT 2").await;
        if ids == ["young"] { Ok(()) } else { Err(ids) }
    })
    .await;
    daemon.logs("pruned=2501", WITHIN).await;
    assert_eq!(town.control.number("SELECT conflicts FROM bucardo.conflict_total").await, 2);
    daemon.stop().await;
}
