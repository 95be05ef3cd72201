//! Tables that come back from quarantine: is their difference gone, and what did they miss?
//!
//! Rows may have been refused, so what they missed is always looked into as it comes (see [`super::guard`]): codes of
//! exceptions are asked, dead letters are put aside, and at the least the keys have names.

use std::time::Instant;

use bucardo_actors::model::Reason;

use super::apply::{self, Applied};
use super::batch::Truncated;
use super::check::{recapture, uncaptured};
use super::copy::Spared;
use super::drift::Drift;
use super::error::RoundError;
use super::guard;
use super::intake::Intake;
use super::onward;
use super::position::Position;
use super::quarantine::Missed;
use super::round::{Round, step, truncate};
use super::session::Session;
use super::site::pour;
use super::step::Step;
use super::table::{Ready, Table};
use crate::catalog::SyncDetail;

/// Looks at the tables that are due: those that fit by now return with this round. Both sides are in no transaction.
pub(super) async fn check(round: &mut Round<'_>, reason: Reason) -> Result<(), RoundError> {
    for label in round.quarantine.due(reason, Instant::now()) {
        let Some(place) = round.session.tables.iter().position(|table| table.label == label) else {
            round.quarantine.done(&label);
            continue;
        };
        match fits(round.session, round.sync, place).await {
            Ok(None) => round.quarantine.fits(&label),
            Ok(Some(drift)) => round.quarantine.still(&drift, Instant::now()),
            Err(error) => {
                let drift = Drift::of(&error).ok_or(error)?;
                round.quarantine.still(&drift, Instant::now());
            }
        }
    }
    Ok(())
}

/// Reads the definition on both sides anew; what differs.
async fn fits(session: &mut Session, sync: &SyncDetail, place: usize) -> Result<Option<Drift>, RoundError> {
    let Table { captured, goat, .. } = &session.tables[place];
    let mut found = uncaptured(&session.source, &[*captured]).await?;
    if let Some((_, drift)) = found.drifts.pop() {
        let is_mended = !found.joined.is_empty() && recapture(&mut session.source, sync, goat).await;
        if !is_mended {
            return Ok(Some(Drift { table: session.tables[place].label.clone(), ..drift }));
        }
    }
    let table = &session.tables[place];
    let ready = table
        .prepare(&session.source, &session.target, session.questions.as_ref())
        .await
        .map_err(|error| error.of_table(&table.label))?;
    session.tables[place].ready = Some(ready);
    Ok(None)
}

/// Brings the returning tables from where they stopped to the round's snapshot; the inner error names one whose
/// definition has changed meanwhile.
pub(super) async fn deliver(round: &mut Round<'_>, applied: &mut Applied) -> Result<Result<(), String>, RoundError> {
    let mut returned = Vec::new();
    for place in 0..round.session.tables.len() {
        let table = &round.session.tables[place];
        let Some(missed) = round.quarantine.missed(&table.label, table.captured) else { continue };
        if table.ready.is_none() {
            continue;
        }
        let label = table.label.clone();
        let done = bring(round, place, &missed, applied).await;
        let done = done.map_err(|error| error.of_table(&label))?;
        if !done {
            round.session.tables[place].ready = None;
            return Ok(Err(label));
        }
        round.quarantine.done(&label);
        round.at_table(place).await?;
        returned.push(place);
    }
    Ok(match onward::confirm(round.session, &returned).await? {
        Some(table) => Err(table),
        None => Ok(()),
    })
}

async fn bring(
    round: &mut Round<'_>,
    place: usize,
    missed: &Missed,
    applied: &mut Applied,
) -> Result<bool, RoundError> {
    if let Missed::Since(position) = missed {
        since(round, position).await?;
    }
    let (table, limit) = (&round.session.tables[place], apply::keys_limit(round));
    let Some(ready) = &table.ready else { return Ok(false) };
    let (source, label) = (&round.session.source, &table.label);
    let failed = || source.failed(format!("reading what table \"{label}\" missed in quarantine"));
    let changes = source.conn.query_one(&ready.keys, &[&limit]).await.map_err(failed())?;
    if !ready.is_current(&changes) {
        return Ok(false);
    }
    let (deletes, inserts) = match missed {
        Missed::Since(_) => {
            let events = source.conn.query(&round.session.statements.truncated, &[]).await.map_err(failed())?;
            let events = events.iter().filter(|row| row.get("news"));
            let events: Vec<Truncated> = events.map(truncate).filter(|it| it.captured == table.captured).collect();
            applied.truncates += apply::truncate(round, &[place], &events).await?;
            apply::tell(round, &[place], std::slice::from_ref(&changes)).await?;
            let moved = guard::bring(round, place, &changes).await?;
            applied.add(&round.session.tables[place], &moved, &changes);
            (moved.deletes, moved.inserts)
        }
        Missed::All => {
            let (deletes, inserts) = all(round, table, ready).await?;
            let copied = std::iter::once((&table.goat, deletes > 0));
            onward::whole(&round.session.target, round.sync, &round.id.source, copied).await?;
            applied.deletes += deletes;
            applied.inserts += inserts;
            (deletes, inserts)
        }
    };
    round.written(place, deletes, inserts);
    Ok(true)
}

/// From now on, this transaction reads changes since `position`.
async fn since(round: &Round<'_>, position: &Position) -> Result<(), RoundError> {
    let session = &round.session;
    let (text, xmin) = (position.to_string(), position.xmin().to_string());
    let set = session.source.conn.query_one(&session.statements.since, &[&text, &xmin, &true]).await;
    set.map(drop).map_err(session.source.failed("looking for what was missed in quarantine"))
}

/// All rows of a table in place of those that the target has.
async fn all(round: &Round<'_>, table: &Table, ready: &Ready) -> Result<(u64, u64), RoundError> {
    let (source, target, label) = (&round.session.source, &round.session.target, &table.label);
    let deletes = target.conn.execute(&format!("DELETE FROM {}", ready.emptying.table), &[]).await;
    let deletes = deletes.map_err(target.failed(format!("emptying table \"{label}\"")))?;
    step(round.watch, Step::Deleted(label)).await?;
    let inserts = if round.spares {
        let rows = source.conn.copy_out_in_pieces(&ready.all_out).await;
        let rows = rows.map_err(source.failed(format!("reading rows of table \"{label}\"")))?;
        let (sync, goat, columns) = (round.sync, &table.goat, &ready.columns);
        let spared = Spared { sync, goat, source: &source.db, target, columns };
        spared.pour(rows, &ready.rows_in, &mut |rows, _| round.watch.moved(rows.max(1))).await?
    } else {
        let (rows, sink) = tokio::join!(
            source.conn.copy_out_in_pieces(&ready.all_out),
            Intake::open(target, format!("writing rows of table \"{label}\""), &ready.rows_in),
        );
        let rows = rows.map_err(source.failed(format!("reading rows of table \"{label}\"")))?;
        let inserts = pour(label, source, rows, sink?, round.watch).await;
        inserts.map_err(|error| error.in_copy(label, &ready.columns))?
    };
    step(round.watch, Step::Copied(label)).await?;
    Ok((deletes, inserts))
}
