//! Carries out the rulings on one table: who lacks the winner's row gets it, with its version.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::try_join_all;
use tokio::sync::oneshot;
use tokio_postgres::error::SqlState;

use super::arm::{FEW, Look, Rows};
use super::conflict::{self, Keeper};
use super::goat::{At, Goat};
use super::judge::Ruled;
use super::pour::{Intakes, RowsOut, Slot};
use super::refuse::{self, Refusal};
use super::round::Merge;
use super::spool::{Spool, fields};
use crate::catalog::SyncDetail;
use crate::custom::{Code, CodeError, Hook};
use crate::engine::error::RoundError;
use crate::engine::refused::Key;
use crate::engine::round::step;
use crate::engine::site::Site;
use crate::engine::step::Step;
use crate::pg::{Sql, SqlFile, causes};

const PLAN_LARGE: SqlFile = SqlFile::new(include_str!("../../../sql/merge/plan_large.sql"));
const PLAN_FEW: SqlFile = SqlFile::new(include_str!("../../../sql/merge/plan_few.sql"));
const PLAN_DENSE: SqlFile = SqlFile::new(include_str!("../../../sql/merge/plan_dense.sql"));

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
    let keeper = merge.committing().first().copied().filter(|_| ruled.conflicts > 0);
    let conflicts = ruled.conflicts;
    let mut made = ruled.made.iter_mut().map(|spool| std::mem::replace(spool, Spool::new())).collect::<Vec<_>>();
    let work = Work {
        merge,
        goat,
        many,
        taken: &taken,
        given: &given,
        taken_dense: &taken_dense,
        given_dense: &given_dense,
        equal: AtomicU64::new(0),
    };
    let kept = keeper.map(|arm| Keeper { arm, txid: looks[arm].txid, time: looks[0].now });
    let counts = match care {
        Some(place) => {
            let foreign = work.hand_out_what_fits(ruled, kept).await?;
            let counts = refuse::bring(&work, place, &foreign, std::mem::take(&mut made)).await?;
            step(merge.watch, Step::Deleted(label)).await?;
            counts
        }
        None if is_second => work.at_once(ruled, kept).await?,
        None => work.in_turn(ruled, kept).await?,
    };
    if let Some(keeper) = keeper {
        rows[keeper].conflicts += conflicts - work.equal.into_inner();
    }
    for (rows, (deleted, written)) in rows.iter_mut().zip(counts) {
        (rows.deletes, rows.inserts) = (rows.deletes + deleted, rows.inserts + written);
    }
    if many {
        let after = "going on after many rows";
        try_join_all(merge.arms.iter().map(|arm| arm.site.run(after, PLAN_FEW.text()))).await?;
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

/// What makes room for the winners' rows, and brings these.
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
    /// Conflicts that turned out to be none.
    equal: AtomicU64,
}

impl Work<'_> {
    fn keeping(&self) -> String {
        format!("keeping rulings on table \"{}\"", self.goat.label)
    }

    /// One after the other: rulings, conflicts (`kept`: where), deletions, rows. Returns how many each source
    /// deleted, and how many it got.
    async fn in_turn(&self, ruled: Ruled, kept: Option<Keeper>) -> Result<Vec<(u64, u64)>, RoundError> {
        self.hand_out(ruled, kept).await?;
        let deleted = try_join_all((0..self.merge.arms.len()).map(|place| self.delete(place))).await?;
        step(self.merge.watch, Step::Deleted(&self.goat.label)).await?;
        let mut written = vec![0; deleted.len()];
        for winner in self.winners() {
            let intakes = Intakes::new(self.merge, self.goat);
            try_join_all(
                self.receivers(&intakes).filter(|(arm, _)| *arm != winner).map(|(arm, slot)| intakes.open(arm, slot)),
            )
            .await?;
            let site = &self.merge.arms[winner].site;
            if self.many {
                site.run(&self.keeping(), &plan(self.given_dense[winner])).await?;
            }
            intakes.pour(site, self.rows_out(winner, false)).await?;
            written.iter_mut().zip(intakes.finish().await?).for_each(|(sum, rows)| *sum += rows);
        }
        Ok(deleted.into_iter().zip(written).collect())
    }

    async fn keep(&self, sites: &[&Site], kept: Keeper) -> Result<(), RoundError> {
        let equal = conflict::keep(&self.merge.sync.name, &self.merge.arms, sites, self.goat, kept).await?;
        self.equal.store(equal, Ordering::Relaxed);
        Ok(())
    }

    /// Rulings and conflicts only.
    async fn hand_out(&self, ruled: Ruled, kept: Option<Keeper>) -> Result<(), RoundError> {
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
            self.keep(&sites, kept).await?;
        }
        Ok(())
    }

    /// The same of a table of which rows may be refused. What a source does not take of it is of keys that it can have no
    /// rows of: returns these, by arm.
    async fn hand_out_what_fits(&self, ruled: Ruled, kept: Option<Keeper>) -> Result<Vec<BTreeSet<Key>>, RoundError> {
        let (what, columns) = (self.keeping(), self.goat.key.len());
        let spools = ruled.take.into_iter().zip(ruled.record).zip(ruled.give.into_iter().zip(ruled.clash));
        let (arms, what) = (self.merge.arms.iter().zip(&self.goat.at), what.as_str());
        let foreign = try_join_all(arms.zip(spools).enumerate().map(|(place, ((arm, at), spools))| async move {
            let ((take, record), (give, clash)) = spools;
            let refused = record.send_what_fits(&arm.site, what, &at.record_in, None).await?;
            if self.many {
                arm.site.run(what, &plan(self.taken_dense[place])).await?;
            }
            take.send_what_fits(&arm.site, what, &at.take_in, None).await?;
            give.send(&arm.site, what, &at.give_in).await?;
            // All sources tell of the same conflicts, one after the other.
            clash.send_what_fits(&arm.site, what, &at.clash_in, Some(columns)).await?;
            let key = |line: &Vec<u8>| -> Key {
                fields(line).take(columns).map(|it| it.flatten().unwrap_or_default()).collect()
            };
            Ok::<_, RoundError>(refused.iter().map(key).collect())
        }));
        let foreign = foreign.await?;
        if let Some(kept) = kept {
            let sites: Vec<&Site> = self.merge.arms.iter().map(|arm| &arm.site).collect();
            self.keep(&sites, kept).await?;
        }
        Ok(foreign)
    }

    /// The same in all ways at once: the first sessions delete, and take rows as soon as they have, while the second ones
    /// read conflicts and rows, as they were before that.
    async fn at_once(&self, ruled: Ruled, kept: Option<Keeper>) -> Result<Vec<(u64, u64)>, RoundError> {
        let what = self.keeping();
        let what = what.as_str();
        let sites: Vec<&Site> = self.merge.arms.iter().map(|arm| arm.second.as_ref().unwrap_or(&arm.site)).collect();
        let intakes = Intakes::new(self.merge, self.goat);
        let mut slots: Vec<Option<Slot<'_, '_>>> = self.merge.arms.iter().map(|_| None).collect();
        for (arm, slot) in self.receivers(&intakes) {
            slots[arm] = Some(slot);
        }
        // The session that keeps conflicts has them before it does anything that takes long.
        let (told, is_told) = oneshot::channel::<()>();
        let mut is_told = kept.map(|keeper| (keeper.arm, is_told));
        let spools = ruled.take.into_iter().zip(ruled.record).zip(slots);
        let arms = self.merge.arms.iter().zip(&self.goat.at).zip(spools).enumerate();
        let deleting = arms.map(|(place, ((arm, at), ((take, record), slot)))| {
            let is_told = is_told.take_if(|(keeper, _)| *keeper == place);
            let intakes = &intakes;
            async move {
                record.send(&arm.site, what, &at.record_in).await?;
                if let Some((_, is_told)) = is_told {
                    // Whoever tells has failed: that ends this, too.
                    let _ = is_told.await;
                }
                arm.site.run(what, &plan(self.taken_dense[place])).await?;
                take.send(&arm.site, what, &at.take_in).await?;
                let deleted = self.delete(place).await?;
                step(self.merge.watch, Step::Deleted(&self.goat.label)).await?;
                if let Some(slot) = slot {
                    intakes.open(place, slot).await?;
                }
                Ok::<_, RoundError>(deleted)
            }
        });
        let deleting = try_join_all(deleting.collect::<Vec<_>>());
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
            if let Some(kept) = kept {
                self.keep(&sites, kept).await?;
            }
            let _ = told.send(());
            let pours = self.winners().map(|winner| intakes.pour(sites[winner], self.rows_out(winner, true)));
            try_join_all(pours).await
        };
        let (deleted, _) = tokio::try_join!(deleting, reading)?;
        Ok(deleted.into_iter().zip(intakes.finish().await?).collect())
    }

    /// Those whose rows others get.
    fn winners(&self) -> impl Iterator<Item = usize> {
        (0..self.merge.arms.len()).filter(|arm| self.given[*arm] > 0)
    }

    /// Those who may get rows of others.
    fn receivers<'i, 'm>(&self, intakes: &'i Intakes<'m>) -> impl Iterator<Item = (usize, Slot<'i, 'm>)> {
        let receivers = (0..self.merge.arms.len()).filter(|arm| self.taken[*arm] > 0);
        receivers.filter_map(|arm| Some((arm, intakes.slot(arm)?)))
    }

    fn rows_out(&self, winner: usize, is_second: bool) -> RowsOut<'_> {
        let at = &self.goat.at[winner];
        match at.dense.as_ref().filter(|_| self.given_dense[winner].is_some()) {
            Some(dense) => RowsOut::Text(&dense.rows_out),
            None if is_second => RowsOut::Text(&at.second.rows_out),
            None => RowsOut::Prepared(&at.rows_out),
        }
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

/// A value that the server or the table does not take is the code's fault, not the database's, and so is a row that clashes
/// with others: unless codes for exceptions are there to mend it or it may wait as a dead letter.
fn of_code(error: RoundError, sync: &SyncDetail, table: &str) -> RoundError {
    let has_help = sync.deadletter || codes(sync, table, Hook::Exception).next().is_some();
    if has_help { error } else { of_makers(error, sync, table) }
}

/// The same where nobody has helped.
pub(super) fn of_makers(error: RoundError, sync: &SyncDetail, table: &str) -> RoundError {
    let RoundError::Sql { source, db, .. } = &error else { return error };
    let Some(state) = source.code().map(SqlState::code) else { return error };
    if !state.starts_with("22") && !["23502", "23514", "23505", "23P01"].contains(&state) {
        return error;
    }
    let place = source.as_db_error().and_then(|error| error.where_()).unwrap_or_default();
    let why = format!("table \"{table}\" on database \"{db}\": {} ({place})", causes(source));
    RoundError::Code(CodeError::Garbage { code: makers(sync, table), why })
}

/// The codes that may have made a row of a table.
pub(super) fn makers(sync: &SyncDetail, table: &str) -> String {
    let names: Vec<&str> = codes(sync, table, Hook::Conflict).map(|code| code.name.as_str()).collect();
    names.join("\" or \"")
}

fn codes<'a>(sync: &'a SyncDetail, table: &str, hook: Hook) -> impl Iterator<Item = &'a Code> {
    let goat = sync.tables().find(|goat| goat.label() == table).map(|goat| goat.id);
    let of_table = move |code: &&Code| code.goat.is_none() || code.goat == goat;
    sync.codes.iter().filter(of_table).filter(move |code| code.hook == hook)
}
