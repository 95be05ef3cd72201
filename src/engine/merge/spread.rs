//! Carries out the rulings on one table: who lacks the winner's row gets it, with its version.

use std::task::Poll;

use bytes::{Buf, Bytes};
use chrono::{DateTime, Utc};
use futures_util::future::try_join_all;
use futures_util::stream::{BoxStream, poll_fn, select_all};
use futures_util::{Stream, StreamExt, TryStreamExt};
use tokio_postgres::error::SqlState;

use super::arm::{FEW, Look, Rows};
use super::conflict;
use super::goat::{At, Goat};
use super::judge::Ruled;
use super::refuse::{self, Refusal};
use super::round::Merge;
use super::spool::Spool;
use crate::catalog::SyncDetail;
use crate::custom::{Code, CodeError, Hook};
use crate::engine::error::RoundError;
use crate::engine::intake::{Intake, WIDE_BYTES};
use crate::engine::round::step;
use crate::engine::site::Site;
use crate::engine::step::Step;
use crate::pg::{Hold, Sql, SqlFile, causes};

const PLAN_LARGE: SqlFile = SqlFile::new(include_str!("../../../sql/merge/plan_large.sql"));

const PLAN_DENSE: SqlFile = SqlFile::new(include_str!("../../../sql/merge/plan_dense.sql"));

/// How many of one winner's rows are handed on before it is another's turn.
const ROWS_AT_ONCE: usize = 256;
/// The same in bytes; a single row may have more.
const BYTES_AT_ONCE: usize = 64 * 1024;

/// Writes rows and versions of one table, and counts them. `care`: the place of a table of which rows may be refused.
pub(super) async fn table(
    merge: &Merge<'_>,
    goat: &Goat,
    looks: &[&Look],
    mut ruled: Ruled,
    rows: &mut [Rows],
    care: Option<usize>,
) -> Result<(), Refusal> {
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
    let many = ruled.record.iter().any(|spool| spool.rows > FEW.cast_unsigned());
    let dense = |spools: &[Spool]| -> Vec<Option<(i64, i64)>> {
        let of = |(spool, at): (&Spool, &At)| spool.dense().filter(|_| many && at.dense.is_some());
        spools.iter().zip(&goat.at).map(of).collect()
    };
    let (taken_dense, given_dense) = (dense(&ruled.take), dense(&ruled.give));
    let is_second = merge.has_second && many && given.iter().filter(|rows| **rows > 0).count() > 1;
    let keeper = merge.arms.iter().position(|arm| merge.muted & arm.bit() == 0);
    let keeper = keeper.filter(|_| ruled.conflicts > 0);
    if let Some(keeper) = keeper {
        rows[keeper].conflicts += ruled.conflicts;
    }
    let made = ruled.made.iter_mut().map(|spool| std::mem::replace(spool, Spool::new())).collect::<Vec<_>>();
    let work =
        Work { merge, goat, many, taken: &taken, given: &given, taken_dense: &taken_dense, given_dense: &given_dense };
    let kept = keeper.map(|keeper| (keeper, looks[0].now));
    if let Some(place) = care {
        work.hand_out(ruled, kept).await?;
        for (rows, (deleted, written)) in rows.iter_mut().zip(refuse::bring(&work, place).await?) {
            (rows.deletes, rows.inserts) = (rows.deletes + deleted, rows.inserts + written);
        }
        step(merge.watch, Step::Deleted(label)).await?;
        return put_made(merge, goat, made, rows).await.map_err(Refusal::from);
    }
    let deleted = if is_second { work.at_once(ruled, kept).await? } else { work.in_turn(ruled, kept).await? };
    for (rows, deleted) in rows.iter_mut().zip(deleted) {
        rows.deletes += deleted;
    }
    step(merge.watch, Step::Deleted(label)).await?;
    let winners: Vec<usize> = (0..merge.arms.len()).filter(|arm| given[*arm] > 0).collect();
    // One after the other, unless second sessions read.
    let turns = if is_second { vec![winners.as_slice()] } else { winners.chunks(1).collect() };
    for winners in turns {
        for (rows, written) in
            rows.iter_mut().zip(pour(merge, goat, winners, &taken, (many, &given_dense), is_second).await?)
        {
            rows.inserts += written;
        }
    }
    put_made(merge, goat, made, rows).await.map_err(Refusal::from)
}

/// Writes the rows that custom code made.
async fn put_made(merge: &Merge<'_>, goat: &Goat, made: Vec<Spool>, rows: &mut [Rows]) -> Result<(), RoundError> {
    let label = &goat.label;
    let writing = format!("writing rows of table \"{label}\" that custom code made");
    for (rows, made) in rows.iter_mut().zip(&made) {
        rows.inserts += made.rows;
    }
    let sent =
        merge.arms.iter().zip(&goat.at).zip(made).map(|((arm, at), made)| {
            let writing = writing.as_str();
            async move {
                made.send(&arm.site, writing, &at.rows_in).await.map_err(|error| of_code(error, merge.sync, label))
            }
        });
    try_join_all(sent).await?;
    step(merge.watch, Step::Copied(label)).await
}

/// What makes room for the winners' rows.
pub(super) struct Work<'a> {
    pub(super) merge: &'a Merge<'a>,
    pub(super) goat: &'a Goat,
    many: bool,
    /// Rows of each source that make room.
    pub(super) taken: &'a [u64],
    /// Rows of each source that others get.
    pub(super) given: &'a [u64],
    taken_dense: &'a [Option<(i64, i64)>],
    given_dense: &'a [Option<(i64, i64)>],
}

impl Work<'_> {
    fn keeping(&self) -> String {
        format!("keeping rulings on table \"{}\"", self.goat.label)
    }

    /// One after the other: rulings, conflicts (`kept`: where, and when), deletions. Returns how many rows each deleted.
    async fn in_turn(&self, ruled: Ruled, kept: Option<(usize, DateTime<Utc>)>) -> Result<Vec<u64>, RoundError> {
        self.hand_out(ruled, kept).await?;
        try_join_all((0..self.merge.arms.len()).map(|place| self.delete(place))).await
    }

    /// Rulings and conflicts only.
    async fn hand_out(&self, ruled: Ruled, kept: Option<(usize, DateTime<Utc>)>) -> Result<(), RoundError> {
        let what = self.keeping();
        let spools = ruled.take.into_iter().zip(ruled.record).zip(ruled.give.into_iter().zip(ruled.clash));
        let (arms, what) = (self.merge.arms.iter().zip(&self.goat.at), what.as_str());
        try_join_all(arms.zip(spools).enumerate().map(|(place, ((arm, at), spools))| async move {
            let keep = async |spool: Spool, into| spool.send(&arm.site, what, into).await;
            let ((take, record), (give, clash)) = spools;
            // First: if it was sent as it came, the connection does nothing else until it has ended.
            keep(record, &at.record_in).await?;
            if self.many {
                arm.site.run(what, &plan(self.taken_dense[place])).await?;
            }
            // Asked at once, answered one after the other.
            tokio::try_join!(keep(take, &at.take_in), keep(give, &at.give_in), keep(clash, &at.clash_in))
        }))
        .await?;
        if let Some(kept) = kept {
            let sites: Vec<&Site> = self.merge.arms.iter().map(|arm| &arm.site).collect();
            conflict::keep(&self.merge.sync.name, &self.merge.arms, &sites, self.goat, kept).await?;
        }
        Ok(())
    }

    /// The first sessions delete while the second ones read conflicts, as they are before that.
    async fn at_once(&self, ruled: Ruled, kept: Option<(usize, DateTime<Utc>)>) -> Result<Vec<u64>, RoundError> {
        let what = self.keeping();
        let what = what.as_str();
        let sites: Vec<&Site> = self.merge.arms.iter().map(|arm| arm.second.as_ref().unwrap_or(&arm.site)).collect();
        let spools = ruled.take.into_iter().zip(ruled.record);
        let arms = self.merge.arms.iter().zip(&self.goat.at).zip(spools).enumerate();
        let deleting = try_join_all(arms.map(|(place, ((arm, at), (take, record)))| async move {
            record.send(&arm.site, what, &at.record_in).await?;
            arm.site.run(what, &plan(self.taken_dense[place])).await?;
            take.send(&arm.site, what, &at.take_in).await?;
            self.delete(place).await
        }));
        let spools = ruled.give.into_iter().zip(ruled.clash);
        let arms = sites.iter().zip(&self.goat.at).zip(spools).enumerate();
        let giving = try_join_all(arms.map(|(place, ((site, at), (give, clash)))| async move {
            let make = format!("{};\n{}", at.second.tables.trim_end(), plan(self.given_dense[place]));
            site.run(what, &make).await?;
            let prepare = async |sql: &str| site.conn.prepare(sql).await.map_err(site.failed(what));
            let (give_in, clash_in) = tokio::try_join!(prepare(&at.second.give_in), prepare(&at.second.clash_in))?;
            tokio::try_join!(give.send(site, what, &give_in), clash.send(site, what, &clash_in))
        }));
        let reading = async {
            giving.await?;
            let Some(kept) = kept else { return Ok(()) };
            conflict::keep(&self.merge.sync.name, &self.merge.arms, &sites, self.goat, kept).await
        };
        let (deleted, ()) = tokio::try_join!(deleting, reading)?;
        Ok(deleted)
    }

    /// Deletes the rows of a source that make room.
    pub(super) async fn delete(&self, place: usize) -> Result<u64, RoundError> {
        let (site, at) = (&self.merge.arms[place].site, &self.goat.at[place]);
        let deleted = match (self.taken[place], at.dense.as_ref().filter(|_| self.taken_dense[place].is_some())) {
            (0, _) => Ok(0),
            (_, Some(dense)) => site.conn.execute(&dense.delete, &[]).await,
            (_, None) if self.many => site.conn.execute(&at.delete_many, &[]).await,
            (_, None) => site.conn.execute(&at.delete, &[]).await,
        };
        deleted.map_err(site.failed(format!("deleting changed rows of table \"{}\"", self.goat.label)))
    }
}

/// How keys are looked up when they are many; `dense`: most of those between two.
fn plan(dense: Option<(i64, i64)>) -> String {
    let Some((low, high)) = dense else { return PLAN_LARGE.text().to_owned() };
    let literal = |key: i64| Sql::literal(&key.to_string());
    PLAN_DENSE.fill(&[("low", &literal(low)), ("high", &literal(high))])
}

/// Sends the rows of winners to their receivers, undecoded and in constant memory; returns how many each got.
async fn pour(
    merge: &Merge<'_>,
    goat: &Goat,
    winners: &[usize],
    taken: &[u64],
    (many, dense): (bool, &[Option<(i64, i64)>]),
    is_second: bool,
) -> Result<Vec<u64>, RoundError> {
    let label = &goat.label;
    let reading = format!("reading rows of table \"{label}\"");
    let writing = format!("writing rows of table \"{label}\"");
    let is_receiver = |arm: usize| taken[arm] > 0 && (is_second || !winners.contains(&arm));
    let sinks = try_join_all((0..merge.arms.len()).map(|arm| {
        let writing = writing.as_str();
        async move {
            if !is_receiver(arm) {
                return Ok(None);
            }
            let site = &merge.arms[arm].site;
            Intake::open(site, writing.to_owned(), &goat.at[arm].rows_in).await.map(Some)
        }
    }));
    let mut sinks = sinks.await?;
    let streams = try_join_all(winners.iter().map(|winner| {
        let reading = reading.as_str();
        async move {
            let (arm, at) = (&merge.arms[*winner], &goat.at[*winner]);
            let second = arm.second.as_ref().filter(|_| is_second);
            let site = second.unwrap_or(&arm.site);
            if many && second.is_none() {
                site.run(reading, &plan(dense[*winner])).await?;
            }
            let rows = match (at.dense.as_ref().filter(|_| dense[*winner].is_some()), second) {
                (Some(dense), _) => site.conn.copy_out(&dense.rows_out).await,
                (None, Some(_)) => site.conn.copy_out(&at.second.rows_out).await,
                (None, None) => site.conn.copy_out(&at.rows_out).await,
            };
            let rows = rows.map_err(site.failed(reading))?;
            let rows = rows.map_err(move |source| site.failed(reading)(source));
            Ok::<_, RoundError>(at_once(rows.boxed()).boxed())
        }
    }));
    let mut streams = select_all(streams.await?);
    while let Some(chunk) = streams.next().await {
        let is_wide = chunk.iter().any(|row| row.as_ref().is_ok_and(|row| row.len() >= WIDE_BYTES));
        let readers = winners.iter().filter(|_| is_wide).map(|winner| &merge.arms[*winner]);
        let held: Vec<Hold> =
            readers.map(|arm| arm.second.as_ref().filter(|_| is_second).unwrap_or(&arm.site).conn.hold()).collect();
        for row in chunk {
            let mut row = row?;
            merge.watch.moved(1);
            let receivers = self::receivers(&mut row)?;
            for (arm, sink) in sinks.iter_mut().enumerate() {
                if let Some(sink) = sink.as_mut().filter(|_| receivers & merge.arms[arm].bit() != 0) {
                    sink.row(row.clone()).await?;
                }
            }
        }
        drop(held);
    }
    let ended = sinks.into_iter().map(|sink| async {
        match sink {
            Some(sink) => sink.finish().await,
            None => Ok(0),
        }
    });
    try_join_all(ended).await
}

/// Rows that are there at once, as far as they are few and small: whose turn it is need not be asked for each row.
fn at_once(
    mut rows: BoxStream<'_, Result<Bytes, RoundError>>,
) -> impl Stream<Item = Vec<Result<Bytes, RoundError>>> + '_ {
    let mut is_over = false;
    poll_fn(move |context| {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while !is_over && batch.len() < ROWS_AT_ONCE && bytes < BYTES_AT_ONCE {
            match rows.poll_next_unpin(context) {
                Poll::Ready(Some(row)) => {
                    bytes += row.as_ref().map_or(0, Bytes::len);
                    batch.push(row);
                }
                Poll::Ready(None) => is_over = true,
                Poll::Pending if batch.is_empty() => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        Poll::Ready((!batch.is_empty()).then_some(batch))
    })
}

/// A value that the server or the table does not take is the code's fault, not the database's. So is a row that clashes
/// with others, unless codes for exceptions are there to mend it or it may wait as a dead letter.
fn of_code(error: RoundError, sync: &SyncDetail, table: &str) -> RoundError {
    let RoundError::Sql { source, db, .. } = &error else { return error };
    let Some(state) = source.code().map(SqlState::code) else { return error };
    let goat = sync.tables().find(|goat| goat.label() == table).map(|goat| goat.id);
    let of_table = |code: &&Code| code.goat.is_none() || code.goat == goat;
    let codes = |hook: Hook| sync.codes.iter().filter(of_table).filter(move |code| code.hook == hook);
    let is_bad = state.starts_with("22") || ["23502", "23514"].contains(&state);
    let is_clash = ["23505", "23P01"].contains(&state) && !sync.deadletter && codes(Hook::Exception).next().is_none();
    if !is_bad && !is_clash {
        return error;
    }
    let place = source.as_db_error().and_then(|error| error.where_()).unwrap_or_default();
    let why = format!("table \"{table}\" on database \"{db}\": {} ({place})", causes(source));
    let names: Vec<&str> = codes(Hook::Conflict).map(|code| code.name.as_str()).collect();
    RoundError::Code(CodeError::Garbage { code: names.join("\" or \""), why })
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
