//! The run history, `syncrun`: one row for each time that a KID was busy, with marks on the sync's last good, bad and empty.
//!
//! A run that lasts is an open row meanwhile, with what it does as its status; one that is over within a second is
//! written when it has ended, since nobody could have read it before.

use std::time::SystemTime;

use bucardo_actors::model::GoatCounts;
use serde::Serialize;
use tokio_postgres::GenericClient;
use tokio_postgres::types::ToSql;

use super::CatalogError;
use super::query::{Query, query};

const SHOW: Query = query!("show a run in the run history", "run_show");
const RECORD: Query = query!("write a run to the run history", "run_record");
const EMPTY: Query = query!("note an empty run", "run_empty");
const BREAK_OFF: Query = query!("end a run that was broken off", "run_break_off");
const SESSIONS: Query = query!("note the sessions of a run", "dbrun_put");
const OPEN_SESSIONS: Query = query!("read the sessions of runs", "run_sessions");
const NO_SESSIONS: Query = query!("forget the sessions of a former daemon", "dbrun_clear");
const CLOSE: Query = query!("close the runs of a former daemon", "run_close_open");
const GOATS: Query = query!("count the rows of each table", "run_goats");
const TOTALS: Query = query!("read the counts of the tables", "goat_totals");
const LAST: Query = query!("read the run history", "run_last");

/// What a run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Tables truncated.
    pub truncates: u64,
    /// Rows deleted.
    pub deletes: u64,
    /// Rows written.
    pub inserts: u64,
    /// Conflicts decided.
    pub conflicts: u64,
}

/// Which databases a run is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Between<'a> {
    /// Where it reads; `None`: at all sources, or at one of them.
    pub source: Option<&'a str>,
    /// Where it writes; `None`: to all sources.
    pub target: Option<&'a str>,
}

/// What was brought of one table to one database since the sync exists; whole copies do not count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GoatTotal {
    /// The sync.
    #[serde(skip)]
    pub sync: String,
    /// The table's schema.
    pub schema: String,
    /// Its name.
    pub table: String,
    /// Where it was brought; empty: to all sources of a merge.
    pub target: String,
    /// Rows deleted.
    pub deletes: i64,
    /// Rows written.
    pub inserts: i64,
    /// When counting began.
    pub since: chrono::DateTime<chrono::Local>,
    /// When something was brought last.
    pub last: chrono::DateTime<chrono::Local>,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunEnd<'a> {
    /// `Complete`
    Good,
    /// `Failed : <why>`
    Bad(&'a str),
}

/// A row of the run history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The sync.
    pub sync: String,
    /// What it did.
    pub counts: Counts,
    /// When it began.
    pub started: SystemTime,
    /// When it ended; `None`: it runs.
    pub ended: Option<SystemTime>,
    /// The last run that went well.
    pub lastgood: bool,
    /// The last run that failed.
    pub lastbad: bool,
    /// The last time that there was nothing to do.
    pub lastempty: bool,
    /// More about it.
    pub details: String,
    /// What it does, or how it ended.
    pub status: String,
}

/// Whose run it is: the sync, and between which databases.
pub type Whose<'a> = (&'a str, Between<'a>);

fn pid() -> Option<i32> {
    i32::try_from(std::process::id()).ok()
}

impl Counts {
    /// As the columns have them: truncates, deletes, inserts, conflicts.
    fn columns(self) -> (i32, i64, i64, i64) {
        let bigint = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let truncates = i32::try_from(self.truncates).unwrap_or(i32::MAX);
        (truncates, bigint(self.deletes), bigint(self.inserts), bigint(self.conflicts))
    }
}

/// Shows a run that goes on, as an open row: what it does, and what it has done so far.
///
/// # Errors
///
/// [`CatalogError::Sql`].
pub async fn show(
    client: &impl GenericClient,
    (sync, Between { source, target }): Whose<'_>,
    started: SystemTime,
    so_far: Counts,
    doing: &str,
) -> Result<(), CatalogError> {
    let (truncates, deletes, inserts, conflicts) = so_far.columns();
    let values: [&(dyn ToSql + Sync); 10] =
        [&sync, &started, &doing, &source, &target, &pid(), &truncates, &deletes, &inserts, &conflicts];
    SHOW.execute(client, &values).await.map(drop)
}

/// Writes a run that has ended, or ends the row that was shown of it. The mark of the last good or last bad run moves
/// to it.
///
/// # Errors
///
/// [`CatalogError::Sql`].
pub async fn record(
    client: &impl GenericClient,
    (sync, Between { source, target }): Whose<'_>,
    (started, ended): (SystemTime, SystemTime),
    counts: Counts,
    end: RunEnd<'_>,
) -> Result<(), CatalogError> {
    let (good, status) = match end {
        RunEnd::Good => (true, "Complete".to_owned()),
        RunEnd::Bad(why) => (false, format!("Failed : {why}")),
    };
    let (truncates, deletes, inserts, conflicts) = counts.columns();
    let values: [&(dyn ToSql + Sync); 12] =
        [&sync, &started, &ended, &good, &status, &source, &target, &pid(), &truncates, &deletes, &inserts, &conflicts];
    RECORD.execute(client, &values).await.map(drop)
}

/// Notes that there was nothing to do: the one row of the sync that says so is written again.
///
/// # Errors
///
/// [`CatalogError::Sql`].
pub async fn mark_empty(
    client: &impl GenericClient,
    (sync, Between { source, target }): Whose<'_>,
    started: SystemTime,
    ended: SystemTime,
) -> Result<(), CatalogError> {
    EMPTY.execute(client, &[&sync, &started, &ended, &source, &target, &pid()]).await.map(drop)
}

/// Ends what was shown of a run that was broken off.
///
/// # Errors
///
/// [`CatalogError::Sql`].
pub async fn break_off(
    client: &impl GenericClient,
    (sync, Between { source, target }): Whose<'_>,
) -> Result<(), CatalogError> {
    BREAK_OFF.execute(client, &[&sync, &source, &target]).await.map(drop)
}

/// A session of a run, as `dbrun` has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The database.
    pub db: String,
    /// The backend there.
    pub backend: i32,
    /// Since when it is open.
    pub since: SystemTime,
}

/// Notes in `dbrun` which sessions a run of `sync` has, in place of those `before`.
///
/// # Errors
///
/// [`CatalogError::Sql`].
pub async fn note_sessions(
    client: &impl GenericClient,
    sync: &str,
    before: &[Session],
    now: &[Session],
) -> Result<(), CatalogError> {
    let dbs = |sessions: &[Session]| sessions.iter().map(|it| it.db.clone()).collect::<Vec<String>>();
    let backends = |sessions: &[Session]| sessions.iter().map(|it| it.backend).collect::<Vec<i32>>();
    let since: Vec<SystemTime> = now.iter().map(|it| it.since).collect();
    let values: [&(dyn ToSql + Sync); 6] = [&sync, &dbs(now), &backends(now), &since, &dbs(before), &backends(before)];
    SESSIONS.execute(client, &values).await.map(drop)
}

/// The backends of the sessions that runs of `sync` have open on `db`, as far as they last.
///
/// # Errors
///
/// [`CatalogError::Sql`].
pub async fn sessions(client: &impl GenericClient, sync: &str, db: &str) -> Result<Vec<i32>, CatalogError> {
    Ok(OPEN_SESSIONS.rows(client, &[&sync, &db]).await?.iter().map(|row| row.get("pgpid")).collect())
}

/// Adds what a run brought of each table to the totals, and to the rates where the sync tracks them; `oldest`: when the
/// first of the changes was made, if that is known.
///
/// # Errors
///
/// [`CatalogError::Sql`].
pub async fn count_goats(
    client: &impl GenericClient,
    sync: &str,
    target: &str,
    goats: &[GoatCounts],
    (oldest, ended): (Option<SystemTime>, SystemTime),
) -> Result<(), CatalogError> {
    let bigint = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let ids: Vec<i32> = goats.iter().map(|it| it.goat).collect();
    let deletes: Vec<i64> = goats.iter().map(|it| bigint(it.deletes)).collect();
    let inserts: Vec<i64> = goats.iter().map(|it| bigint(it.inserts)).collect();
    let keys: Vec<i64> = goats.iter().map(|it| bigint(it.keys)).collect();
    GOATS.execute(client, &[&sync, &target, &ids, &deletes, &inserts, &oldest, &ended, &keys]).await.map(drop)
}

/// The totals of each table, of one sync or all.
///
/// # Errors
///
/// [`CatalogError::Sql`].
pub async fn goat_totals(client: &impl GenericClient, sync: Option<&str>) -> Result<Vec<GoatTotal>, CatalogError> {
    let read = |row: &tokio_postgres::Row| GoatTotal {
        sync: row.get("sync"),
        schema: row.get("schema"),
        table: row.get("table"),
        target: row.get("target"),
        deletes: row.get("deletes"),
        inserts: row.get("inserts"),
        since: row.get("since"),
        last: row.get("last"),
    };
    Ok(TOTALS.rows(client, &[&sync]).await?.iter().map(read).collect())
}

/// Ends the runs that a daemon left open when it died (`Old entry ended`), and empties `dbrun`; returns how many.
///
/// # Errors
///
/// [`CatalogError::Sql`].
pub async fn close_open(client: &impl GenericClient) -> Result<u64, CatalogError> {
    NO_SESSIONS.execute(client, &[]).await?;
    CLOSE.execute(client, &[]).await
}

/// The open run and the last good, bad and empty ones, of one sync or all, oldest first.
///
/// # Errors
///
/// [`CatalogError::Sql`].
pub async fn last(client: &impl GenericClient, sync: Option<&str>) -> Result<Vec<Run>, CatalogError> {
    let count = |value: i64| u64::try_from(value).unwrap_or(0);
    let rows = LAST.rows(client, &[&sync]).await?;
    let read = |row: &tokio_postgres::Row| Run {
        sync: row.get("sync"),
        counts: Counts {
            truncates: count(i64::from(row.get::<_, i32>("truncates"))),
            deletes: count(row.get("deletes")),
            inserts: count(row.get("inserts")),
            conflicts: count(row.get("conflicts")),
        },
        started: row.get("started"),
        ended: row.get("ended"),
        lastgood: row.get("lastgood"),
        lastbad: row.get("lastbad"),
        lastempty: row.get("lastempty"),
        details: row.get("details"),
        status: row.get("status"),
    };
    Ok(rows.iter().map(read).collect())
}
