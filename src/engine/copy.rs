//! `onetimecopy`: the whole tables, under the round's snapshot, in the round's transaction.
//!
//! 1 copies every table; 2 copies a table only where the target's is empty and the source's is not. What is not copied
//! gets its changes as in any other round. The request's number commits with the rows and the position, so a copy takes
//! effect once; changes made meanwhile arrive with the next round.

use bucardo_actors::model::RoundReport;

use super::apply::{self, Applied};
use super::batch::{Batch, Look};
use super::error::RoundError;
use super::onward;
use super::pair::{Held, Round};
use super::whole::{Copied, Copier};

/// Copies; the inner error names a table whose definition changed under the round.
pub(super) async fn run(
    round: &mut Round<'_>,
    held: &Held,
    look: Look,
) -> Result<Result<RoundReport, String>, RoundError> {
    let copied = copier(round).run(round.sync.onetimecopy == 2).await?;
    let tables = round.sync.tables().filter(|goat| copied.has(goat)).map(|goat| (goat, copied.had_rows(goat)));
    onward::whole(&round.session.target, round.sync, &round.id.source, tables).await?;
    let Copied { deletes, inserts, .. } = copied;
    let mut report = RoundReport { copied: true, deletes, inserts, ..RoundReport::default() };
    // Definitions are read anew: a copy may come long after the session began.
    round.session.tables.iter_mut().for_each(|table| table.ready = None);
    let quarantine = &round.quarantine;
    let passed = |sequence: &str| quarantine.has_sequence(sequence);
    round.session.sequences.bring(&look.sequences, &round.session.target, passed).await?;
    // Both sides start again from here, whatever they knew before.
    let known = look.track_round.unwrap_or_default().max(held.round);
    let left: Vec<bool> = round.session.tables.iter().map(|table| !copied.has(&table.goat)).collect();
    let (tables, quarantine) = (&round.session.tables, &mut *round.quarantine);
    tables.iter().filter(|table| copied.has(&table.goat)).for_each(|table| quarantine.done(&table.label));
    quarantine.wait();
    let passed: Vec<bool> = tables.iter().map(|table| quarantine.has(&table.label)).collect();
    let batch = Batch::uncut(round.session, look, |place| left[place] && !passed[place]);
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
    copier(round).tend(&copied).await?;
    Ok(Ok(report))
}

fn copier<'a>(round: &'a Round<'_>) -> Copier<'a> {
    let (source, target) = (&round.session.source, &round.session.target);
    Copier { sync: round.sync, source, target, watch: round.watch }
}
