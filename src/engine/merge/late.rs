//! Where sources have stopped with single tables, while their positions went on.
//!
//! A source that takes no part in merging a table has read nothing of it, and nobody has read its changes, while the
//! positions say so of all tables. So the merge that takes the positions past it writes, in the same transactions,
//! where each of them has stopped with this table. Before, the sources are told to keep the changes from there on, and
//! what tells how far may be purged counts them as unread. Once the source takes part again, the table is merged by
//! these positions of its own, and in the same transactions they go.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use futures_util::future::try_join_all;

use bucardo_actors::model::DbName;

use super::arm::{Arm, Look};
use super::goat::Goat as Merged;
use super::round::Merge;
use crate::catalog::Goat;
use crate::engine::drift::Drift;
use crate::engine::error::RoundError;
use crate::engine::position::Position;
use crate::engine::quarantine::{ADD, HOLD, LIFT, RELEASE};

/// What a source knows of tables that some source has stopped with.
#[derive(Default)]
pub(super) struct Late {
    /// Where this source has stopped, by the table's name (schema, table) in the sync and the source that it reads; of
    /// itself: its settled snapshot.
    stopped: HashMap<(String, String), HashMap<DbName, Position>>,
    /// Tables that were left out when a source was copied here: where (schema, table), and why.
    uncopied: HashMap<(String, String), String>,
    /// Readers for which it keeps changes of tables, by its numbers of them.
    held: HashSet<(DbName, i32)>,
}

/// A table with which a source stops in this merge. Places are those of the arms.
pub(super) struct Stop<'a> {
    table: usize,
    reader: usize,
    source: usize,
    why: &'a str,
}

/// A table that was merged by positions of its own, and the arms that merged it.
pub(super) struct Caught {
    pub(super) table: usize,
    pub(super) arms: Vec<usize>,
}

impl Late {
    pub(super) fn read(rows: &[tokio_postgres::Row], db: &DbName) -> Result<Self, RoundError> {
        let mut late = Self::default();
        for row in rows {
            let other: DbName = row.get::<_, &str>("db").into();
            if !row.get::<_, bool>("late") {
                late.held.insert((other, row.get("captured")));
                continue;
            }
            let position = row.get::<_, &str>("snapshot").parse();
            let position = position.map_err(|source| RoundError::Position { db: db.clone(), source })?;
            let table: (String, String) = (row.get("schemaname"), row.get("tablename"));
            if row.get("whole") {
                late.uncopied.insert(table.clone(), row.get("why"));
            }
            late.stopped.entry(table).or_default().insert(other, position);
        }
        Ok(late)
    }

    fn is_empty(&self) -> bool {
        self.stopped.is_empty()
    }

    /// Why a table was left out when a source was copied here, if it was.
    pub(super) fn uncopied(&self, goat: &Goat) -> Option<&str> {
        if self.uncopied.is_empty() {
            return None;
        }
        self.uncopied.get(&(goat.schema.clone(), goat.name.clone())).map(String::as_str)
    }
}

impl Merge<'_> {
    /// Where a source has stopped with a table, if its position does not tell.
    pub(super) fn stopped<'l>(&self, table: usize, look: &'l Look, source: &DbName) -> Option<&'l Position> {
        if look.late.is_empty() {
            return None;
        }
        let goat = self.sync.tables().nth(table)?;
        look.late.stopped.get(&(goat.schema.clone(), goat.name.clone()))?.get(source)
    }

    /// Keeps tables out of merging at sources that were copied to without them: what they lack, no merge knows.
    pub(super) fn keep_out(&mut self, looks: &[Look]) {
        if !self.asides.has_uncopied() && looks.iter().all(|look| look.late.uncopied.is_empty()) {
            return;
        }
        for (arm, look) in self.arms.iter().zip(looks) {
            let (sync, source) = (&self.sync.name, (arm.place, &arm.site.db));
            for (table, goat) in self.sync.tables().enumerate() {
                match look.late.uncopied(goat) {
                    Some(why) => self.asides.keep_out(sync, table, source, &goat.label(), why),
                    None => self.asides.let_in(table, arm.place),
                }
            }
        }
    }

    /// A table differs at a source, and the merge starts over without it there. Looks whether those that would come next
    /// differ too, so that it starts over once and not once for each.
    pub(super) async fn foresee(&mut self, error: &RoundError, next: &[usize]) {
        // A statement that was refused has ended its transaction: nothing more can be asked there.
        if Drift::of(error).is_none_or(|drift| drift.by_statement) {
            return;
        }
        for place in next.iter().copied() {
            if self.takers(place).len() < self.arms.len() {
                continue;
            }
            let Err(error) = Merged::prepare(self.sync, &self.arms, place).await else { continue };
            let error = self.of(place, error);
            let Some(drift) = Drift::of(&error).filter(|drift| !drift.by_statement) else { return };
            let source = self.arms.iter().find(|arm| error.db() == Some(&arm.site.db));
            if let Some((number, db)) = source.map(|arm| (arm.place, arm.site.db.clone())) {
                self.asides.note(&self.sync.name, place, (number, &db), &drift, Instant::now());
            }
        }
    }

    /// The arms that merge a table; none, if they are not two.
    pub(super) fn takers(&self, table: usize) -> Vec<usize> {
        let is_in = |place: &usize| !self.asides.has(table, self.arms[*place].place);
        let takers: Vec<usize> = (0..self.arms.len()).filter(is_in).collect();
        if takers.len() < 2 { Vec::new() } else { takers }
    }

    /// The tables that some of their sources have stopped with, in order.
    pub(super) fn late(&self, looks: &[Look]) -> Vec<usize> {
        if looks.iter().all(|look| look.late.is_empty()) {
            return Vec::new();
        }
        let is_late = |table: &usize| {
            let takers = self.takers(*table);
            let mut pairs = takers.iter().flat_map(|reader| takers.iter().map(move |source| (*reader, *source)));
            pairs.any(|(reader, source)| self.stopped(*table, &looks[reader], &self.arms[source].site.db).is_some())
        };
        (0..self.arms[0].tables.len()).filter(is_late).collect()
    }

    /// With which tables who stops now.
    pub(super) fn stops(&self, looks: &[Look]) -> Vec<Stop<'_>> {
        let mut stops = Vec::new();
        for (table, why) in self.asides.tables() {
            let takers = self.takers(table);
            for (reader, look) in looks.iter().enumerate() {
                for source in 0..self.arms.len() {
                    let is_merged = takers.contains(&reader) && takers.contains(&source);
                    if !is_merged && self.stopped(table, look, &self.arms[source].site.db).is_none() {
                        stops.push(Stop { table, reader, source, why });
                    }
                }
            }
        }
        stops
    }

    /// Has the sources keep what readers miss from now on. Returns whether there was anything to; then no transaction
    /// is open any more.
    pub(super) async fn hold(&self, looks: &[Look]) -> Result<bool, RoundError> {
        let is_held = |stop: &Stop<'_>| {
            let key = (self.arms[stop.reader].site.db.clone(), self.arms[stop.source].tables[stop.table].captured);
            stop.reader == stop.source || looks[stop.source].late.held.contains(&key)
        };
        let unheld: Vec<Stop<'_>> = self.stops(looks).into_iter().filter(|stop| !is_held(stop)).collect();
        if unheld.is_empty() {
            return Ok(false);
        }
        try_join_all(self.arms.iter().map(|arm| arm.site.run("giving up a merge", "ROLLBACK"))).await?;
        for stop in unheld {
            let (source, reader) = (&self.arms[stop.source], &self.arms[stop.reader].site.db);
            let (captured, position) = (source.tables[stop.table].captured, self.position(&stop, looks)?);
            let args: [&(dyn postgres_types::ToSql + Sync); 4] =
                [&self.sync.name.as_str(), &reader.as_str(), &captured, &position];
            let held = source.site.conn.execute(HOLD.text(), &args).await;
            held.map_err(source.site.failed("keeping the changes of a quarantined table"))?;
        }
        Ok(true)
    }

    fn position(&self, stop: &Stop<'_>, looks: &[Look]) -> Result<String, RoundError> {
        let held = looks[stop.reader].held.get(&self.arms[stop.source].site.db);
        let held = held.ok_or_else(|| self.no_position(self.arms[stop.reader]))?;
        Ok(held.position.to_string())
    }

    /// Writes, in the transaction of a source, with which tables it stops and with which it goes on.
    pub(super) async fn write_late(&self, reader: usize, looks: &[Look], caught: &[Caught]) -> Result<(), RoundError> {
        let (site, sync) = (&self.arms[reader].site, self.sync.name.as_str());
        let failed = || site.failed("writing which tables are in quarantine");
        for stop in self.stops(looks).into_iter().filter(|stop| stop.reader == reader) {
            let Some(goat) = self.sync.tables().nth(stop.table) else { continue };
            let source = &self.arms[stop.source];
            let (captured, position) = (source.tables[stop.table].captured, self.position(&stop, looks)?);
            let args: [&(dyn postgres_types::ToSql + Sync); 8] =
                [&sync, &source.site.db.as_str(), &goat.schema, &goat.name, &captured, &position, &false, &stop.why];
            site.conn.execute(ADD.text(), &args).await.map_err(failed())?;
        }
        for Caught { table, arms } in caught.iter().filter(|it| it.arms.contains(&reader)) {
            let Some(goat) = self.sync.tables().nth(*table) else { continue };
            for source in arms {
                let source = self.arms[*source].site.db.as_str();
                let lifted = site.conn.execute(LIFT.text(), &[&sync, &source, &goat.schema, &goat.name]).await;
                lifted.map_err(failed())?;
            }
        }
        Ok(())
    }

    /// What sources keep for readers that have committed and do not wait for it, or no longer: the source, the reader,
    /// and what it does wait for.
    pub(super) fn stale(&self, looks: &[Look], caught: &[Caught], committed: &[usize]) -> Vec<(&Arm, &Arm, Vec<i32>)> {
        let mut stale = Vec::new();
        if looks.iter().all(|look| look.late.held.is_empty()) {
            return stale;
        }
        let stops = self.stops(looks);
        for (source, reader) in (0..self.arms.len()).flat_map(|source| committed.iter().map(move |it| (source, *it))) {
            let (arm, to) = (&*self.arms[source], &*self.arms[reader]);
            let waits = |table: usize| {
                let is_caught =
                    |it: &Caught| it.table == table && [reader, source].iter().all(|arm| it.arms.contains(arm));
                let stops_now = |it: &Stop<'_>| (it.table, it.reader, it.source) == (table, reader, source);
                let is_late = self.stopped(table, &looks[reader], &arm.site.db).is_some();
                is_late && !caught.iter().any(is_caught) || stops.iter().any(stops_now)
            };
            let waiting = (0..arm.tables.len()).filter(|table| waits(*table));
            let waiting: Vec<i32> = waiting.map(|table| arm.tables[table].captured).collect();
            let mut held = looks[source].late.held.iter().filter(|(db, _)| *db == to.site.db);
            if held.any(|(_, captured)| !waiting.contains(captured)) {
                stale.push((arm, to, waiting));
            }
        }
        stale
    }

    /// Has the sources forget what is stale.
    pub(super) async fn let_go(
        &self,
        looks: &[Look],
        caught: &[Caught],
        committed: &[usize],
    ) -> Result<(), RoundError> {
        for (source, reader, waiting) in self.stale(looks, caught, committed) {
            let args: [&(dyn postgres_types::ToSql + Sync); 3] =
                [&self.sync.name.as_str(), &reader.site.db.as_str(), &waiting];
            let released = source.site.conn.execute(RELEASE.text(), &args).await;
            released.map_err(source.site.failed("forgetting what was kept for quarantined tables"))?;
        }
        Ok(())
    }
}
