//! `onetimecopy`: whole tables from a source to a target, once for every request.
//!
//! 1 copies every table; 2 copies a table only where the target's is empty and the source's is not. What is not copied
//! gets its changes as in any other round. Changes made meanwhile arrive with the next round.
//!
//! A small copy is made in the round's transaction: rows, position and the request's number commit together.
//!
//! A large one goes piece by piece, several at a time ([`workers`]). The round begins it: it empties the tables,
//! writes the position and the journal, commits, and leaves its snapshot to the workers. **All pieces that are done are
//! of the position's snapshot**, whenever somebody looks. After a crash the snapshot is gone, so the next attempt first
//! brings what was copied from the position to a new snapshot, as a round would, writes that as the position, and
//! copies the missing pieces under it. Since changes of keys and of unique values are among what it brings, no row is
//! there twice, and none is missing. Until the copy is complete the position holds the request's number with a minus
//! sign, and a reader of the target sees the tables filling.

mod copier;
mod journal;
mod plan;
mod progress;
mod spare;
mod telling;
mod whole;
mod workers;

use std::collections::HashMap;

use bucardo_actors::model::{GoatCounts, RoundReport};

use copier::Begun;
pub(super) use copier::{Copied, Copier, covers, together};
use journal::{Job, Journal};
use plan::{Size, Task};
pub(super) use spare::Spared;
use workers::{Crew, Holder};

use super::apply::{self, Applied};
use super::batch::{Batch, Look};
use super::desk;
use super::error::RoundError;
use super::hearsay::Extent;
use super::onward;
use super::round::{Held, Round, step};
use super::step::Step;
use super::table::Table;
use crate::catalog::{DeleteMethod, Goat, SyncDetail};

/// Stands for the request of a copy that nobody has ever asked for: it needs a number while it is under way.
const UNASKED: i64 = 1 << 62;

/// Whether a copy is asked for, or under way: what has begun is brought to its end, whatever `onetimecopy` says by now.
pub(super) fn is_due(sync: &SyncDetail, held: &Held) -> bool {
    held.copy_request < 0 || is_asked(sync, held)
}

fn is_asked(sync: &SyncDetail, held: &Held) -> bool {
    sync.onetimecopy > 0 && held.copy_request.abs() < sync.copy_request
}

/// Copies; the inner error names a table whose definition changed under the round.
/// `is_needed`: all is copied whatever was asked for, and nothing goes on that was begun before.
pub(super) async fn run(
    round: &mut Round<'_>,
    held: &Held,
    look: Look,
    is_needed: bool,
) -> Result<Result<RoundReport, String>, RoundError> {
    let job = if is_needed { None } else { unfinished(round, held, &look).await? };
    let asked = if is_needed { 1 } else { round.sync.onetimecopy };
    let mode = job.as_ref().map_or(asked, |job| job.mode);
    if job.is_none() && mode == 2 {
        // What waits for the tables that are not copied must be known.
        round.check_time(held, &look)?;
    }
    // Definitions are read anew: a copy may come long after the session began.
    round.session.tables.iter_mut().for_each(|table| table.ready = None);
    let begun = copier(round).begin(job.is_none() && mode == 2).await?;
    for label in &begun.kept {
        // It would not have been copied: what comes back are its changes from here on.
        round.quarantine.keeps_rows(label);
    }
    let sizes = plan::sizes(&round.session.source, &begun.tables).await?;
    let bytes: i64 = sizes.iter().map(|size| size.bytes).sum();
    // A lock that the sync asks for is held by one transaction.
    // In pieces it takes two more sessions of the source, and one more of the target.
    let has_room = desk::may_have(&round.id.source, 3) && desk::may_have(&round.id.target, 2);
    let is_small = bytes < round.sync.copy.atomic_bytes || round.sync.lock.is_some() || !has_room;
    if held.copy_request >= 0 && is_small {
        return whole(round, held, look, (begun, sizes)).await;
    }
    pieces(round, held, look, (begun, sizes), (job, mode)).await
}

/// The copy that is under way, if it can go on. One that cannot, and is still wanted, is begun anew.
async fn unfinished(round: &mut Round<'_>, held: &Held, look: &Look) -> Result<Option<Job>, RoundError> {
    let sync = round.sync;
    if held.copy_request >= 0 || is_asked(sync, held) {
        return Ok(None);
    }
    let target = &round.session.target;
    let journal = Journal { target, id: round.id };
    journal.open().await?;
    let job = journal.job().await?.filter(|job| job.request == -held.copy_request);
    let Some(job) = job else {
        if sync.onetimecopy > 0 {
            return Ok(None);
        }
        return Err(RoundError::NoJournal { sync: sync.name.to_string(), db: target.db.clone() });
    };
    if sync.onetimecopy == 1 && job.mode != 1 {
        return Ok(None);
    }
    match round.check_time(held, look) {
        Ok(()) => Ok(Some(job)),
        Err(error) if job.mode == 1 => {
            tracing::info!(kid = %round.id, cause = %error, "the copy begins anew");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// All in the round's transaction.
async fn whole(
    round: &mut Round<'_>,
    held: &Held,
    look: Look,
    (begun, sizes): (Begun, Vec<Size>),
) -> Result<Result<RoundReport, String>, RoundError> {
    round.at_first_change().await?;
    let copied = copier(round).whole(round.id, &begun, sizes).await?;
    round.written_whole(&copied.goats);
    round.at_tables(|goat| copied.has(goat)).await?;
    let tables = round.sync.tables().filter(|goat| copied.has(goat)).map(|goat| (goat, copied.had_rows(goat)));
    onward::whole(&round.session.target, round.sync, &round.id.source, tables).await?;
    let mut report =
        RoundReport { copied: true, deletes: copied.deletes, inserts: copied.inserts, ..RoundReport::default() };
    report.copies.clone_from(&copied.goats);
    let request = round.sync.copy_request;
    let tables = (|goat: &Goat| copied.has(goat), |goat: &Goat| !copied.has(goat));
    if let Err(table) = advance(round, held, look, tables, (&mut report, request)).await? {
        return Ok(Err(table));
    }
    copier(round).tend(&copied).await?;
    Ok(Ok(report))
}

/// Brings the changes of the tables that are `wanted`, and the sequences, and commits the position; returns its round.
/// Tables that are copied leave quarantine.
async fn advance(
    round: &mut Round<'_>,
    held: &Held,
    look: Look,
    (is_copied, wanted): (impl Fn(&Goat) -> bool, impl Fn(&Goat) -> bool),
    (report, copy_request): (&mut RoundReport, i64),
) -> Result<Result<i64, String>, RoundError> {
    let quarantine = &round.quarantine;
    // A merge brings the furthest one.
    let passed = |sequence: &str| round.copy_only || quarantine.has_sequence(sequence);
    round.session.sequences.bring(&look.sequences, &round.session.target, passed).await?;
    // Both sides start again from here, whatever they knew before.
    let known = look.track_round.unwrap_or_default().max(held.round);
    let (tables, quarantine) = (&round.session.tables, &mut *round.quarantine);
    tables.iter().filter(|table| is_copied(&table.goat)).for_each(|table| quarantine.done(&table.label));
    quarantine.wait();
    let is_wanted = |table: &Table| wanted(&table.goat) && (is_copied(&table.goat) || !quarantine.has(&table.label));
    let wanted: Vec<bool> = tables.iter().map(is_wanted).collect();
    let batch = Batch::uncut(round.session, look, |place| wanted[place]);
    match apply::batch(round, &batch).await? {
        apply::Ended::Done(Applied { deletes, inserts, truncates, .. }) => {
            report.deletes += deletes;
            report.inserts += inserts;
            report.truncates += truncates;
        }
        apply::Ended::Changed(table) => return Ok(Err(table)),
    }
    let held = Held { round: known, position: held.position.clone(), ..*held };
    // A copy that goes on in pieces has nothing whole yet.
    let extent = if copy_request < 0 { Extent::Part } else { Extent::Whole };
    if extent == Extent::Whole {
        round.at_last_change().await?;
    }
    round.commit(&held, &batch.position, (report.deletes, report.inserts), copy_request, extent).await?;
    Ok(Ok(known + 1))
}

/// Piece by piece: begins or goes on, and finishes.
async fn pieces(
    round: &mut Round<'_>,
    held: &Held,
    look: Look,
    (begun, sizes): (Begun, Vec<Size>),
    (job, mode): (Option<Job>, i16),
) -> Result<Result<RoundReport, String>, RoundError> {
    let (sync, id, watch) = (round.sync, round.id, round.watch);
    let (job, mut noted) = resume(round, held, job, mode).await?;
    // What was copied of a table that was put aside meanwhile has stayed behind.
    for table in round.session.tables.iter().filter(|table| round.quarantine.has(&table.label)) {
        noted.entry(table.goat.id).and_modify(|noted| noted.signature.clear());
    }
    let is_resumed = job.attempt > 1;
    let source = &round.session.source;
    let mut tasks = plan::plan(source, sync.copy, begun, sizes, noted, is_resumed && mode == 2).await?;
    round.at_first_change().await?;
    let emptied = note(round, &mut tasks, &job).await?;
    round.written_whole(&emptied);
    let deletes = emptied.iter().map(|it| it.deletes).sum();
    step(watch, Step::Planned).await?;
    let holder = Holder::take(sync, id, &round.session.source).await?;
    let mut report = RoundReport { deletes, more: true, copies: emptied, ..RoundReport::default() };
    // A table of which nothing is there yet is read under the new snapshot anyway.
    let copied = tasks.iter().filter(|task| task.whole.is_some());
    let in_pieces: HashMap<i32, bool> = copied.map(|task| (task.goat, task.has_rows())).collect();
    let wanted = |goat: &Goat| in_pieces.get(&goat.id).copied().unwrap_or(true);
    let tables = (|goat: &Goat| in_pieces.contains_key(&goat.id), wanted);
    let number = match advance(round, held, look, tables, (&mut report, -job.request)).await? {
        Ok(number) => number,
        Err(table) => return Ok(Err(table)),
    };
    let mut crew = Crew::new((sync, id, watch), &holder, (number, job.attempt), &tasks);
    crew.spares = round.spares;
    let is_complete = crew.run(&round.session.target).await?;
    report.inserts += crew.rows();
    if is_complete {
        step(watch, Step::Complete).await?;
        report.absorb_copies(&finish(round, &job, number, &tasks).await?);
        report.copied = true;
    }
    Ok(Ok(report))
}

/// The attempt that begins now, and what the journal knows of earlier ones.
async fn resume(
    round: &Round<'_>,
    held: &Held,
    job: Option<Job>,
    mode: i16,
) -> Result<(Job, HashMap<i32, journal::Noted>), RoundError> {
    let journal = Journal { target: &round.session.target, id: round.id };
    journal.open().await?;
    match job {
        Some(job) => {
            let attempt = job.attempt + 1;
            tracing::info!(kid = %round.id, attempt, "the copy goes on where it was interrupted");
            Ok((Job { attempt, ..job }, journal.tables().await?))
        }
        None => {
            let pending = journal.pending_indexes().await?;
            journal.forget_all().await?;
            // Without a new request: the former one is begun anew.
            let request = Some(round.sync.copy_request.max(-held.copy_request)).filter(|request| *request > 0);
            let request = request.unwrap_or(UNASKED);
            Ok((Job { request, mode, attempt: 1 }, pending))
        }
    }
}

/// Empties the tables that begin now and notes them, in the round's transaction; returns how many rows were deleted of
/// each.
async fn note(round: &Round<'_>, tasks: &mut [Task], job: &Job) -> Result<Vec<GoatCounts>, RoundError> {
    let journal = Journal { target: &round.session.target, id: round.id };
    let copier = copier(round);
    // A cascade would take tables that are copied already.
    let method = if job.attempt > 1 { DeleteMethod::Delete } else { round.sync.deletemethod };
    let fresh = || tasks.iter().filter(|task| task.is_new);
    let tables: Vec<_> = fresh().filter_map(|task| task.whole.as_ref()).collect();
    let filled: Vec<bool> = fresh().filter(|task| task.whole.is_some()).map(|task| task.is_filled).collect();
    let deletes = copier.empty(&tables, &filled, method).await?;
    let emptied = tables.iter().zip(deletes);
    let emptied = emptied.map(|(table, deletes)| GoatCounts { goat: table.goat.id, deletes, ..GoatCounts::default() });
    let emptied = emptied.collect();
    let goats: Vec<i32> = fresh().map(|task| task.goat).collect();
    journal.forget(&goats).await?;
    for task in tasks.iter_mut().filter(|task| task.is_new) {
        if let Some(whole) = &task.whole {
            task.indexes.extend(copier.drop_indexes(whole).await?);
        }
        if task.whole.is_some() || !task.indexes.is_empty() {
            journal.begin_table(task, job.attempt).await?;
        }
    }
    journal.begin(job, &plan::totals(tasks)).await?;
    Ok(emptied)
}

/// Everything is there: the request is answered. Returns the rows of each table.
async fn finish(round: &mut Round<'_>, job: &Job, number: i64, tasks: &[Task]) -> Result<Vec<GoatCounts>, RoundError> {
    // The position is tracked in a transaction that the end of this one begins.
    round.session.source.run("beginning a transaction", "BEGIN READ ONLY").await?;
    let held = round.fence().await?;
    if held.round != number || held.copy_request != -job.request {
        return Err(RoundError::Fenced { db: round.session.target.db.clone() });
    }
    // Whoever reads the tables here hears of them only now that they are whole.
    let copied: HashMap<i32, bool> =
        tasks.iter().filter(|task| task.whole.is_some()).map(|task| (task.goat, job.mode == 1)).collect();
    let tables = round.sync.tables().filter_map(|goat| Some((goat, *copied.get(&goat.id)?)));
    onward::whole(&round.session.target, round.sync, &round.id.source, tables).await?;
    let filled = Journal { target: &round.session.target, id: round.id }.finish().await?;
    let rows = filled.iter().map(|it| it.inserts).sum();
    round.written_whole(&filled);
    round.at_tables(|goat| copied.contains_key(&goat.id)).await?;
    round.at_last_change().await?;
    let position = held.position.clone();
    let answered = if job.request == UNASKED { 0 } else { job.request };
    round.commit(&held, &position, (0, rows), answered, Extent::Part).await?;
    Ok(filled)
}

fn copier<'a>(round: &'a Round<'_>) -> Copier<'a> {
    let (source, target) = (&round.session.source, &round.session.target);
    let (without, spares) = (round.without, round.spares);
    Copier { sync: round.sync, source, target, watch: round.watch, without, spares }
}
