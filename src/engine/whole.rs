//! Whole tables, from a source's snapshot into a target's transaction: emptied together, then filled one by one.
//!
//! Foreign keys are quiet in that transaction, so the order of the tables is free; only `TRUNCATE` looks at them. All
//! tables are emptied before the first one is filled: a `TRUNCATE … CASCADE` must not take what was just copied.

use std::collections::HashSet;
use std::time::Duration;

use bucardo_actors::ports::Watch;
use postgres_types::Oid;

use super::error::RoundError;
use super::pair::step;
use super::site::{Site, pour};
use super::step::Step;
use super::table::{fit, mapped_rows, shared, unfit};
use crate::catalog::{DeleteMethod, Goat, SyncDetail};
use crate::pg::{Sql, SqlFile, causes};
use crate::source::{Relation, relations};

const COVERS: SqlFile = SqlFile::new(include_str!("../../sql/engine/covers.sql"));
const INDEXES: SqlFile = SqlFile::new(include_str!("../../sql/engine/indexes.sql"));

/// A lock on a table that is not granted within this time ends the copy; it is tried again later.
const LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '1min'";
/// How often a statement that moves no rows through here is told to be at work.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);

/// Two databases in their transactions, and the sync whose tables are copied.
pub(super) struct Copier<'a> {
    pub(super) sync: &'a SyncDetail,
    pub(super) source: &'a Site,
    pub(super) target: &'a Site,
    pub(super) watch: &'a Watch,
}

/// What a copy did.
#[derive(Default)]
pub(super) struct Copied {
    /// Rows removed by `DELETE`; those that a `TRUNCATE` takes are not counted by anybody.
    pub(super) deletes: u64,
    pub(super) inserts: u64,
    /// Ids of the goats that were copied.
    goats: HashSet<i32>,
    /// Ids of those that had rows before.
    filled: HashSet<i32>,
    /// For after the commit: what to run, and of which table.
    aftercare: Vec<(String, String)>,
}

impl Copied {
    /// Whether this table was copied.
    pub(super) fn has(&self, goat: &Goat) -> bool {
        self.goats.contains(&goat.id)
    }

    /// Whether the target had rows of it before.
    pub(super) fn had_rows(&self, goat: &Goat) -> bool {
        self.filled.contains(&goat.id)
    }
}

/// A table and its statements.
struct Whole<'a> {
    goat: &'a Goat,
    /// `schema.table`, for people.
    label: String,
    /// On the target.
    oid: Oid,
    out: String,
    into: String,
    has_rows_there: String,
    has_rows_here: String,
    /// The target's, as `DELETE` and `TRUNCATE` name it.
    table: Sql,
    /// The target's with all that belongs to it.
    name: Sql,
}

/// What emptying a table touches.
pub(super) struct Covers {
    /// Itself and its partitions.
    covers: Vec<Oid>,
    /// Tables whose foreign keys point at these.
    referencing: Vec<Oid>,
}

/// An index that waits to be made again.
struct Index {
    dropping: String,
    making: String,
}

impl Copier<'_> {
    /// Copies every table of the sync but the ghosts; with `only_where_empty` those that have rows on the source and
    /// none on the target. Changes nothing outside the two transactions.
    pub(super) async fn run(&self, only_where_empty: bool) -> Result<Copied, RoundError> {
        let (source, target) = (self.source, self.target);
        tokio::try_join!(
            source.run("bounding waits for locks", LOCK_TIMEOUT),
            target.run("bounding waits for locks", LOCK_TIMEOUT),
        )?;
        let mut tables = self.prepare().await?;
        let mut filled = Vec::with_capacity(tables.len());
        if only_where_empty {
            let mut wanted = Vec::new();
            for table in tables {
                let is_empty = !self.has_rows(target, &table.has_rows_there, &table.label).await?;
                if is_empty && self.has_rows(source, &table.has_rows_here, &table.label).await? {
                    wanted.push(table);
                }
            }
            tables = wanted;
        } else {
            for table in &tables {
                filled.push(self.has_rows(target, &table.has_rows_there, &table.label).await?);
            }
        }
        let mut copied = Copied { deletes: self.empty(&tables, &filled).await?, ..Copied::default() };
        let had_rows = tables.iter().zip(&filled).filter(|(_, filled)| **filled).map(|(table, _)| table.goat.id);
        copied.filled = had_rows.collect();
        for table in &tables {
            copied.inserts += self.fill(table).await?;
            copied.goats.insert(table.goat.id);
            copied.aftercare.extend(self.aftercare(table));
        }
        Ok(copied)
    }

    /// Vacuums and analyzes, after the commit. That something there fails takes nothing back.
    pub(super) async fn tend(&self, copied: &Copied) -> Result<(), RoundError> {
        for (label, sql) in &copied.aftercare {
            step(self.watch, Step::Tended(label)).await?;
            if let Err(error) = self.patiently(self.target.conn.batch_execute(sql)).await {
                let (db, cause) = (&self.target.db, causes(&error));
                tracing::warn!(sync = %self.sync.name, %db, table = label, cause, "the copied table was not tended");
            }
        }
        Ok(())
    }

    async fn prepare(&self) -> Result<Vec<Whole<'_>>, RoundError> {
        let goats: Vec<&Goat> = self.sync.tables().filter(|goat| !goat.ghost).collect();
        let here: Vec<Goat> = goats.iter().map(|goat| (*goat).clone()).collect();
        let there: Vec<Goat> = goats.iter().map(|goat| self.sync.goat_on(goat, &self.target.db)).collect();
        let read = async |site: &Site, goats: &[Goat]| {
            relations(&site.conn, goats).await.map_err(site.failed("reading the columns of the tables"))
        };
        let (from, to) = tokio::try_join!(read(self.source, &here), read(self.target, &there))?;
        let mut tables = Vec::with_capacity(goats.len());
        for (place, goat) in goats.into_iter().enumerate() {
            tables.push(self.whole(goat, &there[place], &from[place], &to[place]).await?);
        }
        Ok(tables)
    }

    async fn whole<'a>(
        &self,
        goat: &'a Goat,
        there: &Goat,
        from: &Relation,
        to: &Relation,
    ) -> Result<Whole<'a>, RoundError> {
        let label = format!("{}.{}", goat.schema, goat.name);
        for (site, relation) in [(self.source, from), (self.target, to)] {
            if !relation.is_table() {
                return Err(unfit(&label, site, "it does not exist there"));
            }
        }
        let mapping = self.sync.mapping(goat, &self.target.db);
        let offered = fit(goat, mapping, (self.source, from), (self.target, to)).await?;
        let columns = shared(&label, &offered, to, self.target)?;
        let generates = offered.iter().any(|(name, generated)| *generated && columns.contains(name));
        let (name, target_name) =
            (Sql::qualified(&goat.schema, &goat.name), Sql::qualified(&there.schema, &there.name));
        // ONLY: an inheritance child is a goat of its own. A partitioned table has no rows but its partitions'.
        let only = |relation: &Relation, name: &Sql| {
            if relation.kind == "p" { name.clone() } else { Sql::trusted(format!("ONLY {name}")) }
        };
        let (source_table, table) = (only(from, &name), only(to, &target_name));
        let mapped = mapped_rows(mapping, &source_table);
        let list = Sql::idents(columns.iter().map(String::as_str));
        let extra = &self.sync.copyextra;
        let out = match &mapped {
            Some(rows) => format!("COPY (SELECT {list} FROM {rows} AS t) TO STDOUT {extra}"),
            None if from.kind == "p" || generates => {
                format!("COPY (SELECT {list} FROM {source_table}) TO STDOUT {extra}")
            }
            // COPY of a plain table reads that table alone, as ONLY does; it refuses generated columns.
            None => format!("COPY {name} ({list}) TO STDOUT {extra}"),
        };
        Ok(Whole {
            goat,
            oid: to.oid.unwrap_or_default(),
            out,
            into: format!("COPY {target_name} ({list}) FROM STDIN {extra}"),
            has_rows_there: format!("SELECT EXISTS (SELECT FROM {table})"),
            has_rows_here: match &mapped {
                Some(rows) => format!("SELECT EXISTS (SELECT FROM {rows} AS t)"),
                None => format!("SELECT EXISTS (SELECT FROM {source_table})"),
            },
            table,
            name: target_name,
            label,
        })
    }

    /// Empties the tables as `deletemethod` says; returns how many rows `DELETE` removed.
    async fn empty(&self, tables: &[Whole<'_>], filled: &[bool]) -> Result<u64, RoundError> {
        let mut deletes = 0;
        if !filled.contains(&true) {
            return Ok(deletes);
        }
        let truncated = match self.sync.deletemethod {
            DeleteMethod::Delete => vec![false; tables.len()],
            DeleteMethod::Truncate => together(&self.covers(tables).await?),
            DeleteMethod::TruncateCascade => vec![true; tables.len()],
        };
        let cascade = if self.sync.deletemethod == DeleteMethod::TruncateCascade { " CASCADE" } else { "" };
        let chosen = tables.iter().zip(&truncated).filter(|(_, truncated)| **truncated);
        let chosen = Sql::join(chosen.map(|(table, _)| table.table.clone()), ", ");
        if !chosen.as_str().is_empty() {
            let sql = format!("TRUNCATE {chosen}{cascade}");
            let done = self.patiently(self.target.conn.batch_execute(&sql)).await;
            done.map_err(self.target.failed("truncating the tables"))?;
        }
        for (place, table) in tables.iter().enumerate() {
            let label = &table.label;
            if filled[place] && !truncated[place] {
                let sql = format!("DELETE FROM {}", table.table);
                let done = self.patiently(self.target.conn.execute(sql.as_str(), &[])).await;
                deletes += done.map_err(self.target.failed(format!("emptying table \"{label}\"")))?;
            }
            step(self.watch, Step::Deleted(label)).await?;
        }
        Ok(deletes)
    }

    async fn covers(&self, tables: &[Whole<'_>]) -> Result<Vec<Covers>, RoundError> {
        let oids: Vec<Oid> = tables.iter().map(|table| table.oid).collect();
        covers(self.target, &oids).await
    }

    /// Fills an empty table; returns its rows.
    async fn fill(&self, table: &Whole<'_>) -> Result<u64, RoundError> {
        let (source, target, label) = (self.source, self.target, &table.label);
        let rebuild = table.goat.rebuild_index.unwrap_or(self.sync.rebuild_index);
        let indexes = if rebuild { self.drop_indexes(table).await? } else { Vec::new() };
        // Rows are asked for when they can be taken: a server that waits for that gives the connection up.
        let sink = target.conn.copy_in(&table.into).await;
        let sink = sink.map_err(target.failed(format!("writing table \"{label}\"")))?;
        let rows = source.conn.copy_out(&table.out).await;
        let rows = rows.map_err(source.failed(format!("reading table \"{label}\"")))?;
        let copied = pour(label, source, rows, target, sink, self.watch).await?;
        step(self.watch, Step::Copied(label)).await?;
        for index in &indexes {
            let done = self.patiently(target.conn.batch_execute(&index.making)).await;
            done.map_err(target.failed(format!("making an index of table \"{label}\"")))?;
        }
        if !indexes.is_empty() {
            step(self.watch, Step::Indexed(label)).await?;
        }
        Ok(copied)
    }

    /// Drops what is faster made anew than kept up row by row. Until the commit nobody else sees it gone.
    async fn drop_indexes(&self, table: &Whole<'_>) -> Result<Vec<Index>, RoundError> {
        let (target, label) = (self.target, &table.label);
        let rows = target.conn.query(INDEXES.text(), &[&table.oid]).await;
        let rows = rows.map_err(target.failed(format!("reading the indexes of table \"{label}\"")))?;
        let index = |row: &tokio_postgres::Row| Index { dropping: row.get("dropping"), making: row.get("making") };
        let indexes: Vec<Index> = rows.iter().map(index).collect();
        for index in &indexes {
            let done = self.patiently(target.conn.batch_execute(&index.dropping)).await;
            done.map_err(target.failed(format!("dropping an index of table \"{label}\"")))?;
        }
        if !indexes.is_empty() {
            step(self.watch, Step::Unindexed(label)).await?;
        }
        Ok(indexes)
    }

    fn aftercare(&self, table: &Whole<'_>) -> Option<(String, String)> {
        let (sync, goat) = (self.sync, table.goat);
        let vacuum = sync.vacuum_after_copy && goat.vacuum_after_copy;
        let words = match (vacuum, sync.analyze_after_copy && goat.analyze_after_copy) {
            (true, true) => "VACUUM (ANALYZE)",
            (true, false) => "VACUUM",
            (false, true) => "ANALYZE",
            (false, false) => return None,
        };
        Some((table.label.clone(), format!("{words} {}", table.name)))
    }

    async fn has_rows(&self, site: &Site, sql: &str, table: &str) -> Result<bool, RoundError> {
        let row = site.conn.query_one(sql, &[]).await;
        Ok(row.map_err(site.failed(format!("looking into table \"{table}\"")))?.get(0))
    }

    /// Waits for a statement that works on the server alone, and says meanwhile that work goes on: how long it may
    /// wait for others the server bounds, and how long it works depends on the table.
    async fn patiently<T>(&self, work: impl Future<Output = T>) -> T {
        let mut signs = tokio::time::interval(SIGN_OF_LIFE);
        tokio::pin!(work);
        loop {
            tokio::select! {
                ended = &mut work => return ended,
                _ = signs.tick() => self.watch.moved(1),
            }
        }
    }
}

/// What emptying these tables of the target touches, in their order.
pub(super) async fn covers(target: &Site, tables: &[Oid]) -> Result<Vec<Covers>, RoundError> {
    let rows = target.conn.query(COVERS.text(), &[&tables]).await;
    let rows = rows.map_err(target.failed("reading the foreign keys of the tables"))?;
    let covers = |row: &tokio_postgres::Row| Covers { covers: row.get("covers"), referencing: row.get("referencing") };
    Ok(rows.iter().map(covers).collect())
}

/// Which of these tables one `TRUNCATE` may empty: those that no foreign key of any other table points at.
pub(super) fn together(tables: &[Covers]) -> Vec<bool> {
    let mut inside = vec![true; tables.len()];
    loop {
        let present = tables.iter().zip(&inside).filter(|(_, inside)| **inside);
        let covered: HashSet<Oid> = present.flat_map(|(table, _)| table.covers.iter().copied()).collect();
        let held = |table: &Covers| table.referencing.iter().all(|oid| covered.contains(oid));
        let next: Vec<bool> = tables.iter().zip(&inside).map(|(table, inside)| *inside && held(table)).collect();
        if next == inside {
            return inside;
        }
        inside = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(covers: &[Oid], referencing: &[Oid]) -> Covers {
        Covers { covers: covers.to_vec(), referencing: referencing.to_vec() }
    }

    #[test]
    fn tables_are_truncated_together_unless_a_foreign_key_comes_from_outside() {
        // 1 <- 2 <- 3, 2 points at itself too; 4 with its partitions 41 and 42 <- 5.
        let inner = [covers(&[1], &[2]), covers(&[2], &[2, 3]), covers(&[3], &[]), covers(&[4, 41, 42], &[5])];
        assert_eq!(together(&inner), [true, true, true, false]);
        // Without 3, 2 has to stay, and so has 1.
        assert_eq!(together(&inner[..2]), [false, false]);
        // A partition that points at a table of the sync is emptied with its parent.
        assert_eq!(together(&[covers(&[6], &[7, 71]), covers(&[7, 71], &[])]), [true, true]);
    }
}
