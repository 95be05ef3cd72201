//! What a round takes: which tables, up to which snapshot.

use std::time::Instant;

use chrono::{DateTime, Utc};
use tokio_postgres::Row;

use super::error::RoundError;
use super::position::Position;
use super::session::Session;
use crate::pg::{Sql, SqlFile};

const CUT: SqlFile = SqlFile::new(include_str!("../../sql/engine/cut.sql"));
const UNREAD: SqlFile = SqlFile::new(include_str!("../../sql/engine/unread.sql"));
const UPTO: SqlFile = SqlFile::new(include_str!("../../sql/engine/upto.sql"));

/// A delta row takes at least this much of a page: with fewer bytes than this times the limit, nothing needs counting.
const DELTA_ROW_BYTES_MIN: i64 = 48;

/// What the source looked like when the round's snapshot was taken.
pub(super) struct Look {
    pub(super) position: Position,
    /// The source's clock.
    pub(super) now: DateTime<Utc>,
    /// Ours, at the same time.
    pub(super) at: Instant,
    /// The round that the source's track knows.
    pub(super) track_round: Option<i64>,
    /// Tables with unread changes: their place, and the bytes of their delta table.
    pub(super) pending: Vec<(i32, i64)>,
    /// Truncates of captured tables.
    pub(super) truncated: Vec<Truncated>,
    /// There are unread changes that are no news for the target.
    pub(super) passed_over: bool,
    pub(super) sequences: Vec<Row>,
}

impl Look {
    /// Whether a captured table was truncated.
    pub(super) fn is_truncated(&self, captured: i32) -> bool {
        self.truncated.iter().any(|it| it.captured == captured)
    }
}

/// A truncated table of the source.
pub(super) struct Truncated {
    pub(super) captured: i32,
    /// With which it is handed on.
    pub(super) origin: String,
    /// The newest of those with this origin.
    pub(super) txntime: DateTime<Utc>,
}

/// A batch: the tables that changed, in order, and the position that its delivery reaches.
pub(super) struct Batch {
    pub(super) look: Look,
    pub(super) position: Position,
    /// Places of tables.
    pub(super) tables: Vec<usize>,
    /// More changes wait behind the cut.
    pub(super) is_cut: bool,
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// All that changed in the tables that are wanted.
    pub(super) fn uncut(session: &Session, look: Look, wanted: impl Fn(usize) -> bool) -> Self {
        let changed = |place: usize, captured: i32| {
            look.pending.iter().any(|(pending, _)| usize::try_from(*pending) == Ok(place))
                || look.is_truncated(captured)
        };
        let tables = session.tables.iter().enumerate().map(|(place, table)| (place, table.captured));
        let tables = tables.filter(|(place, captured)| wanted(*place) && changed(*place, *captured));
        let tables = tables.map(|(place, _)| place).collect();
        Self { position: look.position.clone(), look, tables, is_cut: false }
    }

    /// Plans the batch of the tables that are wanted, cut between two transactions when more than `rows_max` changes wait.
    ///
    /// A batch with a truncation is never cut: a row written after it by an older transaction would be
    /// delivered first and truncated then.
    pub(super) async fn plan(
        session: &Session,
        since: &Position,
        look: Look,
        rows_max: i64,
        uncut: bool,
        wanted: impl Fn(usize) -> bool,
    ) -> Result<Self, RoundError> {
        let bytes: i64 = look.pending.iter().map(|(_, bytes)| bytes).sum();
        let small = bytes / DELTA_ROW_BYTES_MIN <= rows_max;
        let mut batch = Self::uncut(session, look, wanted);
        let truncates = batch.tables.iter().any(|place| batch.look.is_truncated(session.tables[*place].captured));
        if small || uncut || truncates {
            return Ok(batch);
        }
        let source = &session.source;
        let unread = batch.tables.iter().map(|place| {
            Sql::trusted({
                let table = &session.tables[*place];
                UNREAD.fill(&[("delta", &table.delta), ("readable", &table.news)])
            })
        });
        let sql = CUT.fill(&[("waiting", &Sql::join(unread, " UNION ALL "))]);
        let cut = source.conn.query_opt(&sql, &[&rows_max]).await.map_err(source.failed("cutting the backlog"))?;
        if let Some(txid) = cut.and_then(|row| row.get::<_, Option<i64>>("txid")).map(i64::unsigned_abs) {
            batch.position = since.cut_before(&batch.position, txid);
            batch.is_cut = true;
            let upto = batch.position.to_string();
            source.conn.query_one(UPTO.text(), &[&upto]).await.map_err(source.failed("cutting the backlog"))?;
        }
        Ok(batch)
    }
}
