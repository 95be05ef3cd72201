//! The run history and the messages of the control database.

use std::time::{Duration, SystemTime};

use bucardo::catalog::runs::{self, Between, Counts, Run, RunEnd};
use bucardo::catalog::{messages, migrate};
use tokio_postgres::Client;

use crate::support::{Database, fresh_database};

const PAIR: Between<'_> = Between { source: Some("A"), target: Some("B") };

async fn catalog() -> (Database, Client) {
    let database = fresh_database("runs").await;
    let mut session = database.session().await;
    migrate::migrate(&mut session).await.unwrap();
    database.run("INSERT INTO bucardo.sync (name) VALUES ('s'), ('other')").await;
    (database, session)
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds)
}

fn flags(runs: &[Run]) -> Vec<(&str, bool, bool, bool)> {
    runs.iter().map(|run| (run.status.as_str(), run.lastgood, run.lastbad, run.lastempty)).collect()
}

#[tokio::test]
async fn at_most_one_run_of_a_sync_carries_each_mark() {
    let (_database, session) = catalog().await;
    let counts = Counts { truncates: 1, deletes: 2, inserts: 3, conflicts: 4 };
    runs::record(&session, ("s", PAIR), (at(0), at(1)), counts, RunEnd::Good).await.unwrap();
    runs::record(&session, ("s", PAIR), (at(2), at(3)), counts, RunEnd::Bad("no \"t\" there")).await.unwrap();
    runs::record(&session, ("s", PAIR), (at(4), at(5)), counts, RunEnd::Bad("again")).await.unwrap();
    runs::record(&session, ("other", PAIR), (at(4), at(5)), counts, RunEnd::Good).await.unwrap();
    runs::record(&session, ("s", PAIR), (at(6), at(7)), counts, RunEnd::Good).await.unwrap();
    runs::mark_empty(&session, "s", at(8), at(9)).await.unwrap();
    runs::mark_empty(&session, "s", at(10), at(11)).await.unwrap();
    let last = runs::last(&session, Some("s")).await.unwrap();
    assert_eq!(
        flags(&last),
        [
            ("Failed : again", false, true, false),
            ("Complete", true, false, false),
            ("No delta rows found", false, false, true)
        ]
    );
    assert_eq!((last[1].counts, last[1].started, last[1].ended), (counts, at(6), Some(at(7))));
    assert_eq!(last[2].ended, Some(at(11)), "the row is written again");
    assert_eq!(runs::last(&session, None).await.unwrap().len(), 4);
}

#[tokio::test]
async fn a_sync_has_one_open_run_and_a_new_daemon_closes_it() {
    let (database, session) = catalog().await;
    assert!(runs::begin(&session, "s", PAIR, at(0), "Started").await.unwrap());
    assert!(!runs::begin(&session, "s", PAIR, at(1), "Started").await.unwrap(), "one is open");
    assert!(!runs::begin(&session, "none", PAIR, at(1), "Started").await.unwrap(), "no such sync");
    assert_eq!(flags(&runs::last(&session, Some("s")).await.unwrap()), [("Started", false, false, false)]);
    assert_eq!(runs::close_open(&session).await.unwrap(), 1);
    assert!(!runs::finish(&session, "s", at(2), Counts::default(), RunEnd::Good).await.unwrap(), "none is open");
    assert_eq!(runs::last(&session, Some("s")).await.unwrap(), [], "it carries no mark");
    let status = "SELECT status FROM bucardo.syncrun";
    assert_eq!(database.value(status).await, "Old entry ended");
    database.run("DELETE FROM bucardo.sync").await;
    assert_eq!(database.number("SELECT count(*) FROM bucardo.syncrun WHERE sync IS NULL").await, 1, "history stays");
}

#[tokio::test]
async fn messages_are_taken_once_and_in_order() {
    let (database, session) = catalog().await;
    database.run("INSERT INTO bucardo.bucardo_log_message (msg) VALUES ('one')").await;
    database.run("INSERT INTO bucardo.bucardo_log_message (msg) VALUES ('it''s two')").await;
    let taken: Vec<String> = messages::take(&session).await.unwrap().into_iter().map(|(text, _)| text).collect();
    assert_eq!(taken, ["one", "it's two"]);
    assert!(messages::take(&session).await.unwrap().is_empty());
}
