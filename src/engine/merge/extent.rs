//! How much of a log is read, and how.

use bytes::Bytes;
use futures_util::stream::{BoxStream, select_all};
use futures_util::{SinkExt, StreamExt, TryStreamExt, pin_mut};

use super::arm::{FEW, Unread};
use super::goat::Goat;
use super::version::timestamp;
use crate::engine::error::RoundError;
use crate::engine::position::Position;
use crate::engine::site::Site;
use crate::pg::{Sql, SqlFile};

const PLAN_WHOLE: SqlFile = SqlFile::new(include_str!("../../../sql/merge/plan_whole.sql"));
const PLAN_SINCE: SqlFile = SqlFile::new(include_str!("../../../sql/merge/plan_since.sql"));
const SINCE_SECOND: SqlFile = SqlFile::new(include_str!("../../../sql/merge/since_second.sql"));

/// A delta table of this size is read as a whole.
const SMALL_BYTES: i64 = 256 * 1024;
/// Of a larger one only those keys are read of which somebody has not read a change.
const VAST_BYTES: i64 = 64 * 1024 * 1024;

/// Which part of a log is read.
#[derive(Clone, Copy)]
pub(super) enum Extent {
    /// What was written from this transaction on and is not too old to count.
    Since(u64),
    /// All of it.
    Many,
    /// What is not too old to count.
    Recent,
    /// Some keys of very many.
    Vast,
    /// All of it, and every key of the table.
    Whole,
}

impl Extent {
    /// What is read when nothing is known of the log but this.
    pub(super) fn of(unread: Unread) -> Self {
        match unread {
            Unread { bytes: ..=SMALL_BYTES, .. } => Self::Many,
            Unread { bytes: ..=VAST_BYTES, .. } | Unread { changes: ..=FEW, .. } => Self::Recent,
            _ => Self::Vast,
        }
    }

    /// What a session is told before. `floor`: what is older does not count; `since`: what all have read, for a second
    /// session, which does not know it.
    pub(super) fn plan(self, floor: Option<i64>, since: Option<&Position>) -> Option<String> {
        let floor = Sql::literal(&floor.map_or_else(|| "-infinity".to_owned(), timestamp));
        let plan = match self {
            Self::Many => return None,
            Self::Since(txid) => PLAN_SINCE.fill(&[("floor", &floor), ("from", &Sql::literal(&txid.to_string()))]),
            Self::Recent | Self::Vast | Self::Whole => PLAN_WHOLE.fill(&[("floor", &floor)]),
        };
        let Some(since) = since else { return Some(plan) };
        let (xmin, since) = (Sql::literal(&since.xmin().to_string()), Sql::literal(&since.to_string()));
        let since = SINCE_SECOND.fill(&[("since", &since), ("since_xmin", &xmin)]);
        Some(format!("{};\n{plan}", since.trim_end()))
    }
}

pub(super) type Rows = BoxStream<'static, Result<Bytes, RoundError>>;

/// Reads a log. `is_loose`: in no order, for the scratch table; `is_second`: in a session where nothing is prepared.
pub(super) async fn log(
    site: &Site,
    goat: &Goat,
    arm: usize,
    extent: Extent,
    (is_loose, is_second): (bool, bool),
) -> Result<Rows, RoundError> {
    let logs = &goat.at[arm].logs;
    let what = format!("reading changes of table \"{}\"", goat.label);
    let failed = || site.failed(what.as_str());
    let rows = match (extent, is_loose) {
        (Extent::Since(_), false) if is_second => site.conn.copy_out(&logs.since_text).await,
        (Extent::Since(_), false) => site.conn.copy_out(&logs.since).await,
        (Extent::Since(_), true) => site.conn.copy_out(&logs.loose_since).await,
        (Extent::Many, false) => site.conn.copy_out(&logs.many).await,
        (Extent::Many, true) => site.conn.copy_out(&logs.loose_many).await,
        (Extent::Recent, false) => site.conn.copy_out(&logs.recent).await,
        (Extent::Recent, true) => site.conn.copy_out(&logs.loose_recent).await,
        (Extent::Vast, false) => site.conn.copy_out(&logs.vast).await,
        (Extent::Vast, true) => site.conn.copy_out(&logs.loose_vast).await,
        (Extent::Whole, false) => site.conn.copy_out(&logs.whole).await,
        (Extent::Whole, true) => site.conn.copy_out(&logs.loose_whole).await,
    };
    let rows = rows.map_err(failed())?;
    Ok(boxed(rows, site, what))
}

fn boxed(rows: tokio_postgres::CopyOutStream, site: &Site, what: String) -> Rows {
    let db = site.db.clone();
    rows.map_err(move |source| RoundError::Sql { what: what.clone(), db: db.clone(), source }).boxed()
}

/// Brings the logs of several sources together where their keys can be compared.
pub(super) async fn meet(scratch: &Site, goat: &Goat, logs: Vec<Rows>) -> Result<Rows, RoundError> {
    let what = format!("comparing keys of table \"{}\"", goat.label);
    let texts = &goat.at[0].scratch;
    scratch.run(&what, "BEGIN").await?;
    scratch.run(&what, &texts.make).await?;
    let sink = scratch.conn.copy_in::<_, Bytes>(texts.fill.as_str()).await.map_err(scratch.failed(what.as_str()))?;
    pin_mut!(sink);
    let mut rows = select_all(logs);
    while let Some(row) = rows.next().await {
        sink.feed(row?).await.map_err(scratch.failed(what.as_str()))?;
    }
    sink.finish().await.map_err(scratch.failed(what.as_str()))?;
    let rows = scratch.conn.copy_out(texts.read.as_str()).await.map_err(scratch.failed(what.as_str()))?;
    Ok(boxed(rows, scratch, what))
}
