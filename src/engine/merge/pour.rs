//! The rows of winners on their way to those who lack them, undecoded and in constant memory.

use std::task::Poll;

use bytes::{Buf, Bytes};
use futures_util::future::try_join_all;
use futures_util::stream::{BoxStream, poll_fn};
use futures_util::{Stream, StreamExt, TryStreamExt, pin_mut};
use tokio::sync::{Mutex, MutexGuard};
use tokio_postgres::Statement;

use super::goat::Goat;
use super::round::Merge;
use crate::engine::error::RoundError;
use crate::engine::intake::Intake;
use crate::engine::site::Site;
use crate::pg::is_row_end;

/// How many of one winner's rows are handed on before it is another's turn.
const ROWS_AT_ONCE: usize = 256;
/// The same in bytes; a single piece may have more.
const BYTES_AT_ONCE: usize = 64 * 1024;

/// What reads rows, each behind its receivers.
#[derive(Clone, Copy)]
pub(super) enum RowsOut<'s> {
    Prepared(&'s Statement),
    Text(&'s str),
}

/// Where the rows of one table go, by arm. Winners may pour at the same time.
pub(super) struct Intakes<'a> {
    merge: &'a Merge<'a>,
    goat: &'a Goat,
    slots: Vec<Mutex<Option<Intake<'a>>>>,
}

/// The place of an arm's intake. Whoever has rows for it waits until this is dropped.
pub(super) type Slot<'i, 'a> = MutexGuard<'i, Option<Intake<'a>>>;

impl<'a> Intakes<'a> {
    pub(super) fn new(merge: &'a Merge<'a>, goat: &'a Goat) -> Self {
        Self { merge, goat, slots: merge.arms.iter().map(|_| Mutex::new(None)).collect() }
    }

    /// The place of an arm's intake, until it has been opened; `None`: somebody holds it.
    pub(super) fn slot(&self, arm: usize) -> Option<Slot<'_, 'a>> {
        self.slots[arm].try_lock().ok()
    }

    /// Begins to write rows at an arm, whose first session does nothing else from now on.
    pub(super) async fn open(&self, arm: usize, mut slot: Slot<'_, 'a>) -> Result<(), RoundError> {
        let writing = format!("writing rows of table \"{}\"", self.goat.label);
        *slot = Some(Intake::open(&self.merge.arms[arm].site, writing, &self.goat.at[arm].rows_in).await?);
        Ok(())
    }

    /// Sends rows that a session reads to their receivers.
    pub(super) async fn pour(&self, site: &Site, rows_out: RowsOut<'_>) -> Result<(), RoundError> {
        let reading = format!("reading rows of table \"{}\"", self.goat.label);
        let rows = match rows_out {
            RowsOut::Prepared(statement) => site.conn.copy_out_in_pieces(statement).await,
            RowsOut::Text(sql) => site.conn.copy_out_in_pieces(sql).await,
        };
        let rows = rows.map_err(site.failed(reading.as_str()))?;
        let rows = rows.map_err(|source| site.failed(reading.as_str())(source));
        let chunks = at_once(rows.boxed());
        pin_mut!(chunks);
        while let Some(chunk) = chunks.next().await {
            let mut chunk = chunk.into_iter().collect::<Result<Vec<_>, _>>()?;
            let wide = chunk.pop_if(|row| !is_row_end(row));
            self.hand_on(chunk).await?;
            if let Some(first) = wide {
                self.hand_on_wide(first, &mut chunks).await?;
            }
        }
        Ok(())
    }

    /// Sends a row that comes in pieces; it is nobody else's turn at its receivers meanwhile. Whoever holds several
    /// intakes has taken them in the order of the arms, so that nobody waits in a circle.
    async fn hand_on_wide(
        &self,
        first: Bytes,
        rest: &mut (impl Stream<Item = Vec<Result<Bytes, RoundError>>> + Unpin),
    ) -> Result<(), RoundError> {
        let mut piece = first;
        let receivers = receivers(&mut piece)?;
        let mut slots = Vec::new();
        for (_, slot) in self.merge.arms.iter().zip(&self.slots).filter(|(arm, _)| receivers & arm.bit() != 0) {
            slots.push(slot.lock().await);
        }
        let mut is_end = false;
        loop {
            self.merge.watch.moved(1);
            for intake in slots.iter_mut().filter_map(|slot| slot.as_mut()) {
                intake.row(piece.clone()).await?;
            }
            if is_end {
                return Ok(());
            }
            let Some(next) = rest.next().await.and_then(|mut pieces| pieces.pop()) else {
                return Err(RoundError::Log { row: "a row without its end".to_owned() });
            };
            piece = next?;
            is_end = is_row_end(&piece);
        }
    }

    async fn hand_on(&self, chunk: Vec<Bytes>) -> Result<(), RoundError> {
        self.merge.watch.moved(u64::try_from(chunk.len()).unwrap_or_default());
        let told = |mut row: Bytes| Ok::<_, RoundError>((receivers(&mut row)?, row));
        let rows = chunk.into_iter().map(told).collect::<Result<Vec<_>, _>>()?;
        // One at a time: winners that wait for each other's intakes would do so for ever.
        for (arm, slot) in self.merge.arms.iter().zip(&self.slots) {
            let bit = arm.bit();
            if !rows.iter().any(|(receivers, _)| receivers & bit != 0) {
                continue;
            }
            let mut slot = slot.lock().await;
            let Some(intake) = slot.as_mut() else { continue };
            for (_, row) in rows.iter().filter(|(receivers, _)| receivers & bit != 0) {
                intake.row(row.clone()).await?;
            }
        }
        Ok(())
    }

    /// Ends; returns how many rows each arm got.
    pub(super) async fn finish(self) -> Result<Vec<u64>, RoundError> {
        try_join_all(self.slots.into_iter().map(async |slot| match slot.into_inner() {
            Some(intake) => intake.finish().await,
            None => Ok(0),
        }))
        .await
    }
}

/// Rows that are there at once, as far as they are few and small: whose turn it is need not be asked for each row. Of a
/// row that comes in pieces the first one ends its batch, and each of the others is one of its own.
fn at_once(
    mut rows: BoxStream<'_, Result<Bytes, RoundError>>,
) -> impl Stream<Item = Vec<Result<Bytes, RoundError>>> + '_ {
    let (mut is_over, mut is_open) = (false, false);
    poll_fn(move |context| {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while !is_over && batch.len() < ROWS_AT_ONCE && bytes < BYTES_AT_ONCE {
            match rows.poll_next_unpin(context) {
                Poll::Ready(Some(row)) => {
                    bytes += row.as_ref().map_or(0, Bytes::len);
                    let was_open = std::mem::replace(&mut is_open, row.as_ref().is_ok_and(|row| !is_row_end(row)));
                    batch.push(row);
                    if was_open || is_open {
                        break;
                    }
                }
                Poll::Ready(None) => is_over = true,
                Poll::Pending if batch.is_empty() => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        Poll::Ready((!batch.is_empty()).then_some(batch))
    })
}

/// Takes the first column off a row: a bit for each receiver, or the number of a conflict.
pub(super) fn receivers(row: &mut Bytes) -> Result<u64, RoundError> {
    let bad = || RoundError::Log { row: "a row without its receivers".to_owned() };
    let tab = row.iter().position(|byte| *byte == b'\t').ok_or_else(bad)?;
    let receivers = std::str::from_utf8(&row[..tab]).ok().and_then(|text| text.parse::<i64>().ok());
    let receivers = receivers.ok_or_else(bad)?.cast_unsigned();
    row.advance(tab + 1);
    Ok(receivers)
}
