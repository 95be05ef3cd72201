//! `onetimecopy`: the whole tables, under the round's snapshot, in the round's transaction.
//!
//! 1 copies every table; 2 copies a table only where the target's is empty and the source's is not, and brings the
//! others the changes that wait for them, because the position passes those. The request's number commits with the
//! rows and the position, so a copy takes effect once; changes made meanwhile arrive with the next round.

use bucardo_actors::model::RoundReport;

use super::apply::{self, Applied, emptying};
use super::batch::{Batch, Look};
use super::error::RoundError;
use super::pair::{Held, Round, step};
use super::site::{Site, pour};
use super::step::Step;

/// Copies; the inner error names a table whose definition changed under the round.
pub(super) async fn run(
    round: &mut Round<'_>,
    held: &Held,
    look: Look,
) -> Result<Result<RoundReport, String>, RoundError> {
    let mut report = RoundReport { copied: true, ..RoundReport::default() };
    let (mut analyze, mut left) = (Vec::new(), Vec::new());
    for place in 0..round.session.tables.len() {
        // Definitions are read anew: a copy may come long after the session began.
        let ready = {
            let session = &*round.session;
            session.tables[place].prepare(&session.source, &session.target).await?
        };
        let table = &mut round.session.tables[place];
        table.ready = Some(ready);
        if table.goat.ghost {
            left.push(place);
            continue;
        }
        let Some((deletes, inserts)) = copy_table(round, place).await? else {
            left.push(place);
            continue;
        };
        report.deletes += deletes;
        report.inserts += inserts;
        let table = &round.session.tables[place];
        if inserts > 0 && round.sync.analyze_after_copy && table.goat.analyze_after_copy {
            analyze.extend(table.ready.as_ref().map(|ready| (table.label.clone(), ready.emptying.analyze.clone())));
        }
    }
    round.session.sequences.bring(&look.sequences, &round.session.target).await?;
    // Both sides start again from here, whatever they knew before.
    let known = look.track_round.unwrap_or_default().max(held.round);
    let batch = Batch::uncut(round.session, look, |place| left.contains(&place));
    match apply::batch(round, &batch).await? {
        apply::Ended::Done(Applied { deletes, inserts, truncates, .. }) => {
            report.deletes += deletes;
            report.inserts += inserts;
            report.truncates += truncates;
        }
        apply::Ended::Changed(table) => return Ok(Err(table)),
    }
    let held = Held { round: known, position: held.position.clone(), ..*held };
    round.commit(&held, &batch.position, report.deletes, report.inserts, round.sync.copy_request).await?;
    for (table, sql) in analyze {
        let target = &round.session.target;
        if let Err(error) = target.conn.batch_execute(&sql).await {
            let cause = crate::pg::causes(&error);
            tracing::warn!(kid = %round.id, table, cause, "the copied table could not be analyzed");
        }
    }
    Ok(Ok(report))
}

/// Empties and fills one table; returns rows deleted and rows copied. `None`: it shall not be copied.
async fn copy_table(round: &Round<'_>, place: usize) -> Result<Option<(u64, u64)>, RoundError> {
    let (source, target) = (&round.session.source, &round.session.target);
    let table = &round.session.tables[place];
    let (Some(ready), label) = (&table.ready, &table.label) else { return Ok(None) };
    let is_filled = has_rows(target, &ready.emptying.has_rows, label).await?;
    let only_where_empty = round.sync.onetimecopy == 2;
    if only_where_empty && (is_filled || !has_rows(source, &ready.source_has_rows, label).await?) {
        return Ok(None);
    }
    let mut deleted = 0;
    if is_filled {
        let sql = emptying(ready, round.sync.deletemethod);
        let what = format!("emptying table \"{label}\"");
        deleted = target.conn.execute(sql.as_str(), &[]).await.map_err(target.failed(what))?;
    }
    step(round.watch, Step::Deleted(label)).await?;
    let (rows, sink) = tokio::join!(source.conn.copy_out(&ready.whole_out), target.conn.copy_in(&ready.rows_in));
    let rows = rows.map_err(source.failed(format!("reading table \"{label}\"")))?;
    let sink = sink.map_err(target.failed(format!("writing table \"{label}\"")))?;
    let copied = pour(label, source, rows, target, sink, round.watch).await?;
    step(round.watch, Step::Copied(label)).await?;
    Ok(Some((deleted, copied)))
}

async fn has_rows(site: &Site, sql: &str, table: &str) -> Result<bool, RoundError> {
    let row = site.conn.query_one(sql, &[]).await;
    Ok(row.map_err(site.failed(format!("looking into table \"{table}\"")))?.get(0))
}
