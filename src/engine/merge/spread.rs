//! Carries out the rulings on one table: who lacks the winner's row gets it, with its version.

use bytes::{Buf, Bytes, BytesMut};
use futures_util::future::try_join_all;
use futures_util::{SinkExt, StreamExt, pin_mut};

use super::arm::{FEW, Look, Rows};
use super::conflict;
use super::goat::Goat;
use super::judge::Ruled;
use super::round::Merge;
use crate::engine::error::RoundError;
use crate::engine::pair::step;
use crate::engine::step::Step;
use crate::pg::SqlFile;

const PLAN_LARGE: SqlFile = SqlFile::new(include_str!("../../../sql/merge/plan_large.sql"));

/// Rows are handed on in pieces of this size.
const PIECE_BYTES: usize = 64 * 1024;

/// Writes rows and versions of one table, and counts them.
pub(super) async fn table(
    merge: &Merge<'_>,
    goat: &Goat,
    looks: &[&Look],
    ruled: Ruled,
    rows: &mut [Rows],
) -> Result<(), RoundError> {
    let label = &goat.label;
    if ruled.uncertain > 0 {
        let ahead: Vec<String> = merge
            .arms
            .iter()
            .zip(looks)
            .map(|(arm, look)| format!("{} {:+.3} s", arm.site.db, look.ahead as f64 / 1e6))
            .collect();
        let (sync, clocks, hint) = (&merge.sync.name, ahead.join(", "), "keep the servers' clocks in step (NTP)");
        let conflicts = ruled.uncertain;
        tracing::warn!(%sync, table = label, conflicts, clocks, hint, "conflicts were decided by times that are closer than the clocks");
    }
    let taken: Vec<u64> = ruled.take.iter().map(|spool| spool.rows).collect();
    let given: Vec<u64> = ruled.give.iter().map(|spool| spool.rows).collect();
    let many = taken.iter().any(|rows| *rows > FEW.cast_unsigned());
    let spools = ruled.take.into_iter().zip(ruled.give).zip(ruled.clash);
    try_join_all(merge.arms.iter().zip(&goat.at).zip(spools).map(|((arm, at), ((take, give), clash))| async move {
        let what = format!("keeping rulings on table \"{label}\"");
        for (spool, into) in [(take, &at.take_in), (give, &at.give_in), (clash, &at.clash_in)] {
            if spool.rows > 0 {
                let sink = arm.site.conn.copy_in(into).await.map_err(arm.site.failed(what.as_str()))?;
                spool.send(&arm.site, &what, sink).await?;
            }
        }
        if many { arm.site.run(&what, PLAN_LARGE.text()).await } else { Ok(()) }
    }))
    .await?;
    if ruled.conflicts > 0 {
        conflict::keep(&merge.sync.name, &merge.arms, goat, merge.muted, looks[0].now).await?;
    }
    let writing = merge.arms.iter().zip(&goat.at).zip(&taken).zip(&ruled.writes);
    let deleted = try_join_all(writing.map(|(((arm, at), taken), writes)| async move {
        if *taken == 0 || merge.muted & arm.bit() != 0 {
            return Ok::<_, RoundError>(0);
        }
        let failed = |what: &str| arm.site.failed(format!("{what} of table \"{label}\""));
        let (deleted, recorded) = tokio::join!(
            async {
                match (*writes, many) {
                    (0, _) => Ok(0),
                    (_, false) => arm.site.conn.execute(&at.delete, &[]).await,
                    (_, true) => arm.site.conn.execute(&at.delete_many, &[]).await,
                }
            },
            arm.site.conn.execute(&at.record, &[]),
        );
        let deleted = deleted.map_err(failed("deleting changed rows"))?;
        recorded.map_err(failed("recording versions"))?;
        Ok(deleted)
    }));
    for (rows, deleted) in rows.iter_mut().zip(deleted.await?) {
        rows.deletes += deleted;
    }
    step(merge.watch, Step::Deleted(label)).await?;
    for winner in (0..merge.arms.len()).filter(|arm| given[*arm] > 0) {
        for (rows, written) in rows.iter_mut().zip(pour(merge, goat, winner, &ruled.writes).await?) {
            rows.inserts += written;
        }
    }
    step(merge.watch, Step::Copied(label)).await
}

/// Sends the rows of one winner to their receivers, undecoded and in constant memory; returns how many each got.
async fn pour(merge: &Merge<'_>, goat: &Goat, winner: usize, writes: &[u64]) -> Result<Vec<u64>, RoundError> {
    let label = &goat.label;
    let from = &merge.arms[winner].site;
    let reading = || from.failed(format!("reading rows of table \"{label}\""));
    let is_receiver = |arm: usize| arm != winner && writes[arm] > 0 && merge.muted & merge.arms[arm].bit() == 0;
    let sinks = try_join_all((0..merge.arms.len()).map(|arm| async move {
        if !is_receiver(arm) {
            return Ok(None);
        }
        let site = &merge.arms[arm].site;
        let sink = site.conn.copy_in::<_, Bytes>(&goat.at[arm].rows_in).await;
        let sink = sink.map_err(site.failed(format!("writing rows of table \"{label}\"")))?;
        Ok::<_, RoundError>(Some((Box::pin(sink), BytesMut::with_capacity(PIECE_BYTES))))
    }));
    let mut sinks = sinks.await?;
    let rows = from.conn.copy_out(&goat.at[winner].rows_out).await.map_err(reading())?;
    pin_mut!(rows);
    while let Some(row) = rows.next().await {
        let mut row = row.map_err(reading())?;
        merge.watch.moved(1);
        let bad = || RoundError::Log { row: "a row without its receivers".to_owned() };
        let tab = row.iter().position(|byte| *byte == b'\t').ok_or_else(bad)?;
        let receivers = std::str::from_utf8(&row[..tab]).ok().and_then(|text| text.parse::<i64>().ok());
        let receivers = receivers.ok_or_else(bad)?.cast_unsigned();
        row.advance(tab + 1);
        for (arm, sink) in sinks.iter_mut().enumerate() {
            let Some((sink, piece)) = sink.as_mut().filter(|_| receivers & merge.arms[arm].bit() != 0) else {
                continue;
            };
            let site = &merge.arms[arm].site;
            let writing = || site.failed(format!("writing rows of table \"{label}\""));
            if piece.len() + row.len() > PIECE_BYTES && !piece.is_empty() {
                sink.feed(piece.split().freeze()).await.map_err(writing())?;
                piece.reserve(PIECE_BYTES);
            }
            if row.len() >= PIECE_BYTES {
                sink.feed(row.clone()).await.map_err(writing())?;
            } else {
                piece.extend_from_slice(&row);
            }
        }
    }
    let mut written = Vec::with_capacity(sinks.len());
    for (arm, sink) in sinks.into_iter().enumerate() {
        let Some((mut sink, piece)) = sink else {
            written.push(0);
            continue;
        };
        let site = &merge.arms[arm].site;
        let writing = || site.failed(format!("writing rows of table \"{label}\""));
        if !piece.is_empty() {
            sink.feed(piece.freeze()).await.map_err(writing())?;
        }
        written.push(sink.as_mut().finish().await.map_err(writing())?);
    }
    Ok(written)
}
