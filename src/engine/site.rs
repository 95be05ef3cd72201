//! One side of a round: a connection with the database's name, so that every error names it.

use std::sync::OnceLock;
use std::time::Duration;

use futures_util::{StreamExt, pin_mut};
use tokio::time::timeout;
use tokio_postgres::CopyOutStream;

use bucardo_actors::model::DbName;
use bucardo_actors::ports::Watch;

use super::desk::{self, Seat};
use super::error::RoundError;
use super::intake::Intake;
use super::lent::settings;
use crate::catalog::SyncDetail;
use crate::pg::{Connection, connect, is_row_end};

/// After so much, whoever counts what moves is told.
const TOLD_BYTES: u64 = 64 * 1024;
/// A server that ends a failed transaction later than that is busy with something else.
const ANSWERS_WITHIN: Duration = Duration::from_millis(100);
/// How long it may take to stop that.
const STOPS_WITHIN: Duration = Duration::from_secs(1);

/// A connected database.
pub(super) struct Site {
    pub(super) db: DbName,
    pub(super) conn: Connection,
    /// What is set for the session; empty where no custom codes may change it.
    settings: OnceLock<String>,
    /// Given back when the connection is closed.
    _seat: Option<Box<dyn Seat>>,
}

impl Site {
    /// Connects a database of the sync: a session that the round cannot do without.
    pub(super) async fn of(sync: &SyncDetail, db: &DbName, application_name: &str) -> Result<Self, RoundError> {
        Self::with(sync, db, application_name, desk::seat(db)?).await
    }

    /// The same, for a session that only makes it quicker: fails where there is no room for one more.
    pub(super) async fn spare(sync: &SyncDetail, db: &DbName, application_name: &str) -> Result<Self, RoundError> {
        Self::with(sync, db, application_name, desk::spare(db)?).await
    }

    async fn with(
        sync: &SyncDetail,
        db: &DbName,
        application_name: &str,
        seat: Option<Box<dyn Seat>>,
    ) -> Result<Self, RoundError> {
        let Some(found) = sync.db(db) else {
            return Err(RoundError::NotInstalled { what: format!("sync \"{}\"", sync.name), db: db.clone() });
        };
        match connect(&found.access, application_name).await {
            Ok(conn) => {
                let mut seat = seat;
                if let Some(seat) = &mut seat {
                    seat.taken(conn.backend_pid());
                }
                Ok(Self { db: db.clone(), conn, settings: OnceLock::new(), _seat: seat })
            }
            Err(source) => Err(RoundError::Connect { db: db.clone(), source }),
        }
    }

    /// Outside of transactions: notes what is set for the session, for when custom codes change it.
    pub(super) async fn remember(&self, sync: &SyncDetail) -> Result<(), RoundError> {
        if sync.codes.is_empty() {
            return Ok(());
        }
        let found = settings(&self.conn, "").await.map_err(self.failed("reading the settings of the session"))?;
        let _ = self.settings.set(found);
        Ok(())
    }

    /// What was noted, as an object by name.
    pub(super) fn settings(&self) -> &str {
        self.settings.get().map_or("{}", String::as_str)
    }

    /// Puts a server's error into context.
    pub(super) fn failed(&self, what: impl Into<String>) -> impl FnOnce(tokio_postgres::Error) -> RoundError {
        let (what, db) = (what.into(), self.db.clone());
        move |source| RoundError::Sql { what, db, source }
    }

    /// Ends the transaction of a round that failed. A server that is still sending rows is asked to stop. `false`: it
    /// gives no answer in time; the connection is of no use any more.
    pub(super) async fn give_up(&self) -> bool {
        let mut ended = std::pin::pin!(self.conn.batch_execute("ROLLBACK"));
        if let Ok(ended) = timeout(ANSWERS_WITHIN, &mut ended).await {
            return ended.is_ok();
        }
        let stopped = async {
            self.conn.cancel().await;
            // What the request met may have been this statement.
            ended.await.is_ok() || self.conn.batch_execute("ROLLBACK").await.is_ok()
        };
        timeout(STOPS_WITHIN, stopped).await.unwrap_or(false)
    }

    /// Runs a statement that takes and returns nothing.
    pub(super) async fn run(&self, what: &str, sql: &str) -> Result<(), RoundError> {
        self.conn.batch_execute(sql).await.map_err(self.failed(what))
    }
}

/// Streams the rows of a `COPY … TO STDOUT` of `source`, or pieces of them, into a table, undecoded and in constant memory;
/// returns how many arrived.
///
/// Dropped half-way, the target's `COPY` fails and with it its transaction.
pub(super) async fn pour(
    table: &str,
    source: &Site,
    rows: CopyOutStream,
    into: Intake<'_>,
    watch: &Watch,
) -> Result<u64, RoundError> {
    pour_counted(table, source, rows, into, &mut |rows, _| watch.moved(rows.max(1))).await
}

/// The same; `moved` is told of rows and bytes as they go.
pub(super) async fn pour_counted(
    table: &str,
    source: &Site,
    rows: CopyOutStream,
    mut into: Intake<'_>,
    moved: &mut (dyn FnMut(u64, u64) + Send),
) -> Result<u64, RoundError> {
    pin_mut!(rows);
    let (mut count, mut bytes) = (0, 0);
    while let Some(row) = rows.next().await {
        let row = row.map_err(source.failed(format!("reading rows of table \"{table}\"")))?;
        count += u64::from(is_row_end(&row));
        bytes += row.len() as u64;
        if bytes >= TOLD_BYTES {
            moved(count, bytes);
            (count, bytes) = (0, 0);
        }
        into.row(row).await?;
    }
    moved(count, bytes);
    into.finish().await
}
