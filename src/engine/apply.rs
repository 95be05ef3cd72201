//! Brings the tables of a batch to a target: deletes the changed keys there, copies their present rows.

use chrono::{DateTime, Utc};
use futures_util::future::try_join_all;
use tokio_postgres::Row;

use super::batch::Batch;
use super::error::RoundError;
use super::pair::{Round, step};
use super::site::{Site, pour};
use super::step::Step;
use super::table::{FEW, Ready, Table};
use crate::pg::SqlFile;

pub(super) const PLAN_FREELY: SqlFile = SqlFile::new(include_str!("../../sql/engine/plan_freely.sql"));

/// Counts of a delivered batch.
#[derive(Default)]
pub(super) struct Applied {
    pub(super) deletes: u64,
    pub(super) inserts: u64,
    pub(super) truncates: u64,
    pub(super) keys: u64,
    /// When the oldest delivered change was made.
    pub(super) oldest: Option<DateTime<Utc>>,
}

pub(super) enum Ended {
    Done(Applied),
    /// The definition of this table is not the one that its statements were made for.
    Changed(String),
}

/// Delivers the batch, table by table, in order.
pub(super) async fn batch(round: &mut Round<'_>, batch: &Batch) -> Result<Ended, RoundError> {
    for place in &batch.tables {
        let session = &mut *round.session;
        if session.tables[*place].ready.is_none() {
            let ready = session.tables[*place].prepare(&session.source, &session.target).await?;
            session.tables[*place].ready = Some(ready);
        }
    }
    let changes = keys(round, batch).await?;
    let mut applied = Applied::default();
    for (place, changes) in batch.tables.iter().zip(&changes) {
        let table = &mut round.session.tables[*place];
        let signature: Option<&str> = changes.get("signature");
        if table.ready.as_ref().map(|ready| ready.signature.as_str()) != signature {
            table.ready = None;
            return Ok(Ended::Changed(table.label.clone()));
        }
    }
    for (place, changes) in batch.tables.iter().zip(&changes) {
        let table = &round.session.tables[*place];
        let Some(ready) = &table.ready else { continue };
        step(round.watch, Step::Keys(&table.label)).await?;
        if batch.look.truncated.contains(&table.captured) {
            truncate(round, table, ready).await?;
            applied.truncates += 1;
        }
        let moved = if changes.get::<_, i64>("changes") > FEW {
            many(round, table, ready).await?
        } else {
            few(round, table, ready, changes).await?
        };
        applied.keys += moved.keys;
        applied.deletes += moved.deletes;
        applied.inserts += moved.inserts;
        applied.oldest = [applied.oldest, changes.get("oldest")].into_iter().flatten().min();
    }
    Ok(Ended::Done(applied))
}

/// The changed keys of every table, all asked for at once.
async fn keys(round: &Round<'_>, batch: &Batch) -> Result<Vec<Row>, RoundError> {
    let source = &round.session.source;
    let limit = FEW + 1;
    let limit = &limit;
    try_join_all(batch.tables.iter().filter_map(|place| {
        let table = &round.session.tables[*place];
        let ready = table.ready.as_ref()?;
        Some(async move {
            let found = source.conn.query_one(&ready.keys, &[limit]).await;
            found.map_err(source.failed(format!("reading changed keys of table \"{}\"", table.label)))
        })
    }))
    .await
}

async fn truncate(round: &Round<'_>, table: &Table, ready: &Ready) -> Result<(), RoundError> {
    let target = &round.session.target;
    let sql = ready.emptying.truncate.as_ref().unwrap_or(&ready.emptying.delete);
    target.run(&format!("truncating table \"{}\"", table.label), sql).await
}

/// Rows of one table.
struct Moved {
    keys: u64,
    deletes: u64,
    inserts: u64,
}

/// A few keys: parameters of one `DELETE`.
async fn few(round: &Round<'_>, table: &Table, ready: &Ready, changes: &Row) -> Result<Moved, RoundError> {
    let (source, target, label) = (&round.session.source, &round.session.target, &table.label);
    let arrays: Vec<Vec<String>> = (0..table.goat.key.len())
        .map(|place| changes.get::<_, Option<Vec<String>>>(format!("a{place}").as_str()).unwrap_or_default())
        .collect();
    let args: Vec<&(dyn postgres_types::ToSql + Sync)> =
        arrays.iter().map(|array| array as &(dyn postgres_types::ToSql + Sync)).collect();
    let (rows, deleted, sink) = tokio::join!(
        source.conn.copy_out(&ready.rows_few),
        target.conn.execute(&ready.delete_few, &args),
        target.conn.copy_in(&ready.rows_in),
    );
    let deletes = deleted.map_err(target.failed(format!("deleting changed rows of table \"{label}\"")))?;
    step(round.watch, Step::Deleted(label)).await?;
    let rows = rows.map_err(source.failed(format!("reading rows of table \"{label}\"")))?;
    let sink = sink.map_err(target.failed(format!("writing rows of table \"{label}\"")))?;
    let inserts = pour(label, source, rows, target, sink, round.watch).await?;
    step(round.watch, Step::Copied(label)).await?;
    let keys = changes.get::<_, i64>("changes").unsigned_abs();
    Ok(Moved { keys, deletes, inserts })
}

/// Many keys: through keys tables on both sides, in constant memory here.
///
/// The rows are asked for only when the target has deleted: a server that waits for us to take its rows gives the
/// connection up after `tcp_user_timeout`.
async fn many(round: &Round<'_>, table: &Table, ready: &Ready) -> Result<Moved, RoundError> {
    let (source, target, label) = (&round.session.source, &round.session.target, &table.label);
    let reading = || source.failed(format!("reading changed keys of table \"{label}\""));
    let keeping = || target.failed(format!("keeping changed keys of table \"{label}\""));
    let (on_source, on_target) = tokio::join!(
        run_all(source, [PLAN_FREELY.text(), &ready.keeping]),
        run_all(target, [PLAN_FREELY.text(), &ready.keys_table]),
    );
    on_source.map_err(reading())?;
    on_target.map_err(keeping())?;
    let (keys, sink) = tokio::join!(source.conn.copy_out(&ready.keys_out), target.conn.copy_in(&ready.keys_in));
    let keys = pour(label, source, keys.map_err(reading())?, target, sink.map_err(keeping())?, round.watch).await?;
    let (known, deletes) = tokio::join!(run_all(source, [&ready.analyze_keys]), async {
        run_all(target, [&ready.analyze_keys]).await?;
        target.conn.execute(&ready.delete_many, &[]).await
    });
    known.map_err(reading())?;
    let deletes = deletes.map_err(target.failed(format!("deleting changed rows of table \"{label}\"")))?;
    step(round.watch, Step::Deleted(label)).await?;
    let (rows, sink) = tokio::join!(source.conn.copy_out(&ready.rows_out), target.conn.copy_in(&ready.rows_in));
    let rows = rows.map_err(source.failed(format!("reading rows of table \"{label}\"")))?;
    let sink = sink.map_err(target.failed(format!("writing rows of table \"{label}\"")))?;
    let inserts = pour(label, source, rows, target, sink, round.watch).await?;
    step(round.watch, Step::Copied(label)).await?;
    Ok(Moved { keys, deletes, inserts })
}

async fn run_all<const N: usize>(site: &Site, statements: [&str; N]) -> Result<(), tokio_postgres::Error> {
    for sql in statements {
        site.conn.batch_execute(sql).await?;
    }
    Ok(())
}
