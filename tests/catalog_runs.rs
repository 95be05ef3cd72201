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
    runs::mark_empty(&session, ("s", PAIR), at(8), at(9)).await.unwrap();
    runs::mark_empty(&session, ("s", PAIR), at(10), at(11)).await.unwrap();
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

const OTHER: Between<'_> = Between { source: Some("A"), target: Some("C") };

#[tokio::test]
async fn a_run_that_goes_on_is_an_open_row_of_its_kid_and_ends_in_it() {
    let (database, session) = catalog().await;
    let counts = |inserts| Counts { inserts, ..Counts::default() };
    runs::show(&session, ("s", PAIR), at(0), counts(0), "connected").await.unwrap();
    runs::show(&session, ("s", OTHER), at(1), counts(0), "connected").await.unwrap();
    runs::show(&session, ("none", PAIR), at(1), counts(0), "connected").await.unwrap();
    runs::show(&session, ("s", PAIR), at(0), counts(7), "rows copied of public.t").await.unwrap();
    let open = "SELECT targetdb || ' ' || status || ' ' || inserts FROM bucardo.syncrun WHERE ended IS NULL ORDER BY 1";
    assert_eq!(database.rows(open).await, ["B rows copied of public.t 7", "C connected 0"]);

    runs::record(&session, ("s", PAIR), (at(0), at(9)), counts(8), RunEnd::Good).await.unwrap();
    assert_eq!(database.rows(open).await, ["C connected 0"]);
    let row = "SELECT status || ' ' || inserts || ' ' || extract(epoch FROM ended - started)::int \
               FROM bucardo.syncrun WHERE lastgood AND targetdb = 'B'";
    assert_eq!(database.rows(row).await, ["Complete 8 9"], "the same row");
    // An empty look has one row; what was shown of it meanwhile gives way.
    runs::mark_empty(&session, ("s", OTHER), at(1), at(11)).await.unwrap();
    assert_eq!(flags(&runs::last(&session, Some("s")).await.unwrap()).len(), 2);
    // Of a run whose end was lost, the next one of the same KID clears up.
    runs::show(&session, ("s", OTHER), at(20), counts(0), "lost").await.unwrap();
    runs::show(&session, ("s", OTHER), at(30), counts(0), "connected").await.unwrap();
    assert_eq!(database.rows(open).await, ["C connected 0"]);
    runs::record(&session, ("s", OTHER), (at(40), at(41)), counts(1), RunEnd::Bad("why")).await.unwrap();
    assert!(database.rows(open).await.is_empty());
    runs::show(&session, ("s", PAIR), at(50), counts(0), "connected").await.unwrap();
    runs::break_off(&session, ("s", PAIR)).await.unwrap();
    let ends = "SELECT count(*) FROM bucardo.syncrun WHERE status = 'Old entry ended' AND ended IS NOT NULL";
    assert_eq!(database.number(ends).await, 3, "neither good nor bad");
}

#[tokio::test]
async fn a_new_daemon_closes_what_a_former_one_left_open() {
    let (database, session) = catalog().await;
    runs::show(&session, ("s", PAIR), at(0), Counts::default(), "connected").await.unwrap();
    assert_eq!(flags(&runs::last(&session, Some("s")).await.unwrap()), [("connected", false, false, false)]);
    assert_eq!(runs::close_open(&session).await.unwrap(), 1);
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
