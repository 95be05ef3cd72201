//! Whole tables, from a source's snapshot into a target's transaction: emptied together, then filled one by one.
//!
//! Foreign keys are quiet in that transaction, so the order of the tables is free; only `TRUNCATE` looks at them. All
//! tables are emptied before the first one is filled: a `TRUNCATE … CASCADE` must not take what was just copied.

use std::collections::HashSet;
use std::time::Duration;

use bucardo_actors::model::{GoatCounts, Pair};
use bucardo_actors::ports::Watch;
use postgres_types::{Oid, ToSql};

use super::plan::{self, Size};
use super::progress::Piece;
use super::spare::Spared;
use super::telling::Telling;
use super::whole::Whole;
use crate::catalog::{DeleteMethod, Goat, SyncDetail};
use crate::engine::error::RoundError;
use crate::engine::intake::Intake;
use crate::engine::round::step;
use crate::engine::site::{Site, pour_counted};
use crate::engine::step::Step;
use crate::pg::{Sql, SqlFile, causes};
use crate::source::relations;

const COVERS: SqlFile = SqlFile::new(include_str!("../../../sql/engine/covers.sql"));
const INDEXES: SqlFile = SqlFile::new(include_str!("../../../sql/engine/indexes.sql"));
const LETTERS_FORGET: SqlFile = SqlFile::new(include_str!("../../../sql/copy/letters_forget.sql"));
const ENCODING: SqlFile = SqlFile::new(include_str!("../../../sql/copy/encoding.sql"));
const UNCHANGED: SqlFile = SqlFile::new(include_str!("../../../sql/copy/unchanged.sql"));

/// A lock on a table that is not granted within this time ends the copy; it is tried again later.
const LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '1min'";
/// How often a statement that moves no rows through here is told to be at work.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);

/// Two databases in their transactions, and the sync whose tables are copied.
pub(in crate::engine) struct Copier<'a> {
    pub(in crate::engine) sync: &'a SyncDetail,
    pub(in crate::engine) source: &'a Site,
    pub(in crate::engine) target: &'a Site,
    pub(in crate::engine) watch: &'a Watch,
    /// Tables (`schema.table`) that cannot be copied as they are, and are passed over.
    pub(in crate::engine) without: &'a [String],
    /// Rows that are refused wait as dead letters.
    pub(in crate::engine) spares: bool,
}

/// What a copy did.
#[derive(Default)]
pub(in crate::engine) struct Copied {
    /// Rows removed by `DELETE`; those that a `TRUNCATE` takes are not counted by anybody.
    pub(in crate::engine) deletes: u64,
    pub(in crate::engine) inserts: u64,
    /// The same by table.
    pub(in crate::engine) goats: Vec<GoatCounts>,
    /// Ids of those that had rows before.
    filled: HashSet<i32>,
    /// For after the commit: what to run, and of which table.
    aftercare: Vec<(String, String)>,
}

impl Copied {
    /// Whether this table was copied.
    pub(in crate::engine) fn has(&self, goat: &Goat) -> bool {
        self.goats.iter().any(|it| it.goat == goat.id)
    }

    /// Whether the target had rows of it before.
    pub(in crate::engine) fn had_rows(&self, goat: &Goat) -> bool {
        self.filled.contains(&goat.id)
    }
}

/// What emptying a table touches.
pub(in crate::engine) struct Covers {
    /// Itself and its partitions.
    covers: Vec<Oid>,
    /// Tables whose foreign keys point at these.
    referencing: Vec<Oid>,
}

/// An index that waits to be made again.
#[derive(Clone)]
pub(super) struct Index {
    /// Quoted, with its schema.
    pub(super) name: String,
    pub(super) making: String,
}

/// What a copy begins with.
pub(super) struct Begun {
    /// The tables that shall be copied.
    pub(super) tables: Vec<Whole>,
    /// Which of them have rows on the target.
    pub(super) filled: Vec<bool>,
    /// Tables that are passed over, and would be without a fault, too: the target has rows of them.
    pub(super) kept: Vec<String>,
}

impl Copier<'_> {
    /// Copies every table of the sync but the ghosts. Changes nothing outside the two transactions.
    pub(in crate::engine) async fn run(&self, id: &Pair) -> Result<Copied, RoundError> {
        let begun = self.begin(false).await?;
        let sizes = plan::sizes(self.source, &begun.tables).await?;
        self.whole(id, &begun, sizes).await
    }

    /// Sees which tables are to be copied: all but the ghosts; with `only_where_empty` those that have rows on the
    /// source and none on the target.
    pub(super) async fn begin(&self, only_where_empty: bool) -> Result<Begun, RoundError> {
        let (source, target) = (self.source, self.target);
        tokio::try_join!(
            source.run("bounding waits for locks", LOCK_TIMEOUT),
            target.run("bounding waits for locks", LOCK_TIMEOUT),
        )?;
        let kept = if only_where_empty { self.kept().await? } else { Vec::new() };
        let mut begun = Begun { tables: Vec::new(), filled: Vec::new(), kept };
        let mut not_empty = Vec::new();
        for table in self.prepare().await? {
            let is_filled = self.has_rows(target, &table.has_rows_there, &table.label).await?;
            if only_where_empty {
                let has_news = self.has_rows(source, &table.has_rows_here, &table.label).await?;
                if is_filled && has_news {
                    not_empty.push(format!("\"{}\"", table.label));
                }
                if is_filled || !has_news {
                    continue;
                }
            }
            begun.tables.push(table);
            begun.filled.push(is_filled);
        }
        if !not_empty.is_empty() {
            let (tables, sync, db) = (not_empty.join(", "), &self.sync.name, &target.db);
            let hint = format!(
                "to have them copied all the same: bucardo update sync {sync} onetimecopy=1 && bucardo reload sync {sync}"
            );
            tracing::info!(%sync, %db, tables, hint, "not copied, as they have rows there already (onetimecopy=2)");
        }
        Ok(begun)
    }

    /// Those of the tables that are passed over that have rows on the target.
    async fn kept(&self) -> Result<Vec<String>, RoundError> {
        let goats: Vec<&Goat> = self.sync.tables().filter(|goat| self.without.contains(&goat.label())).collect();
        let there: Vec<Goat> = goats.iter().map(|goat| self.sync.goat_on(goat, &self.target.db)).collect();
        let found = relations(&self.target.conn, &there).await;
        let found = found.map_err(self.target.failed("reading the columns of the tables"))?;
        let mut kept = Vec::new();
        for ((goat, there), _) in goats.iter().zip(&there).zip(&found).filter(|(_, relation)| relation.is_table()) {
            let sql = format!("SELECT EXISTS (SELECT FROM {})", Sql::qualified(&there.schema, &there.name));
            if self.has_rows(self.target, &sql, &goat.label()).await? {
                kept.push(goat.label());
            }
        }
        Ok(kept)
    }

    /// Copies these tables, which are so large, one after the other.
    pub(super) async fn whole(&self, id: &Pair, begun: &Begun, sizes: Vec<Size>) -> Result<Copied, RoundError> {
        let telling = Telling::of(sizes);
        telling.during(self.sync, id, Box::pin(self.copy(begun, &telling))).await
    }

    async fn copy(&self, begun: &Begun, telling: &Telling) -> Result<Copied, RoundError> {
        let tables: Vec<&Whole> = begun.tables.iter().collect();
        let deletes = self.empty(&tables, &begun.filled, self.sync.deletemethod).await?;
        let mut copied = Copied { deletes: deletes.iter().sum(), ..Copied::default() };
        let had_rows = tables.iter().zip(&begun.filled).filter(|(_, filled)| **filled).map(|(table, _)| table.goat.id);
        copied.filled = had_rows.collect();
        for (place, (table, deletes)) in begun.tables.iter().zip(deletes).enumerate() {
            let inserts = self.fill(table, telling.begins(place)).await?;
            telling.table_done();
            copied.inserts += inserts;
            copied.goats.push(GoatCounts { goat: table.goat.id, keys: 0, deletes, inserts });
            copied.aftercare.extend(self.aftercare(table).map(|sql| (table.label.clone(), sql)));
        }
        Ok(copied)
    }

    /// Vacuums and analyzes, after the commit. That something there fails takes nothing back.
    pub(in crate::engine) async fn tend(&self, copied: &Copied) -> Result<(), RoundError> {
        for (label, sql) in &copied.aftercare {
            self.tend_one(label, sql).await?;
        }
        Ok(())
    }

    /// The same for one table.
    pub(super) async fn tend_one(&self, label: &str, sql: &str) -> Result<(), RoundError> {
        step(self.watch, Step::Tended(label)).await?;
        if let Err(error) = self.patiently(self.target.conn.batch_execute(sql)).await {
            let (db, cause) = (&self.target.db, causes(&error));
            tracing::warn!(sync = %self.sync.name, %db, table = label, cause, "the copied table was not tended");
        }
        Ok(())
    }

    /// Every table but the ghosts and those that are passed over, as both sides have it.
    pub(super) async fn prepare(&self) -> Result<Vec<Whole>, RoundError> {
        let goats: Vec<&Goat> =
            self.sync.tables().filter(|goat| !goat.ghost && !self.without.contains(&goat.label())).collect();
        let here: Vec<Goat> = goats.iter().map(|goat| (*goat).clone()).collect();
        let there: Vec<Goat> = goats.iter().map(|goat| self.sync.goat_on(goat, &self.target.db)).collect();
        let read = async |site: &Site, goats: &[Goat]| {
            relations(&site.conn, goats).await.map_err(site.failed("reading the columns of the tables"))
        };
        let (from, to) = tokio::try_join!(read(self.source, &here), read(self.target, &there))?;
        let encodings = tokio::try_join!(encoding(self.source), encoding(self.target))?;
        let is_of_one_encoding = encodings.0 == encodings.1;
        let mut tables = Vec::with_capacity(goats.len());
        for (place, goat) in goats.into_iter().enumerate() {
            let (from, to) = ((self.source, &from[place]), (self.target, &to[place]));
            let table = Whole::of(self.sync, from, to, (goat, &there[place]), is_of_one_encoding).await;
            tables.push(table.map_err(|error| error.of_table(&goat.label()))?);
        }
        Ok(tables)
    }

    /// Empties the tables; returns how many rows `DELETE` removed of each.
    pub(super) async fn empty(
        &self,
        tables: &[&Whole],
        filled: &[bool],
        method: DeleteMethod,
    ) -> Result<Vec<u64>, RoundError> {
        let mut deletes = vec![0; tables.len()];
        self.forget_letters(tables).await?;
        if !filled.contains(&true) {
            return Ok(deletes);
        }
        let truncated = match method {
            DeleteMethod::Delete => vec![false; tables.len()],
            DeleteMethod::Truncate => together(&self.covers(tables).await?),
            DeleteMethod::TruncateCascade => vec![true; tables.len()],
        };
        let cascade = if method == DeleteMethod::TruncateCascade { " CASCADE" } else { "" };
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
                deletes[place] = done.map_err(self.target.failed(format!("emptying table \"{label}\"")))?;
            }
            step(self.watch, Step::Deleted(label)).await?;
        }
        Ok(deletes)
    }

    async fn forget_letters(&self, tables: &[&Whole]) -> Result<(), RoundError> {
        if !self.sync.deadletter {
            return Ok(());
        }
        let schemas: Vec<&str> = tables.iter().map(|table| table.goat.schema.as_str()).collect();
        let names: Vec<&str> = tables.iter().map(|table| table.goat.name.as_str()).collect();
        let args: [&(dyn ToSql + Sync); 3] = [&self.sync.name.as_str(), &schemas, &names];
        let forgotten = self.target.conn.execute(LETTERS_FORGET.text(), &args).await;
        forgotten.map(drop).map_err(self.target.failed("taking out dead letters"))
    }

    async fn covers(&self, tables: &[&Whole]) -> Result<Vec<Covers>, RoundError> {
        let oids: Vec<Oid> = tables.iter().map(|table| table.oid).collect();
        covers(self.target, &oids).await
    }

    /// Fills an empty table; returns its rows.
    async fn fill(&self, table: &Whole, mut counted: Piece<'_>) -> Result<u64, RoundError> {
        let (target, label) = (self.target, &table.label);
        let indexes = self.drop_indexes(table).await?;
        let mut moved = |rows: u64, bytes: u64| {
            self.watch.moved(rows.max(1));
            counted.moved(rows, bytes);
        };
        let copied = self.pour(table, &table.out, &mut moved).await?;
        counted.done();
        self.check_unchanged(table).await?;
        step(self.watch, Step::Copied(label)).await?;
        for index in &indexes {
            let done = self.patiently(target.conn.batch_execute(&index.making)).await;
            let done = done.map_err(target.failed(format!("making an index of table \"{label}\"")));
            done.map_err(|error| error.in_copy(label, &table.columns))?;
        }
        if !indexes.is_empty() {
            step(self.watch, Step::Indexed(label)).await?;
        }
        Ok(copied)
    }

    /// Writes the rows that a `COPY … TO STDOUT` of the source reads into a table.
    pub(super) async fn pour(
        &self,
        table: &Whole,
        out: &str,
        moved: &mut (dyn FnMut(u64, u64) + Send),
    ) -> Result<u64, RoundError> {
        let (source, target, label) = (self.source, self.target, &table.label);
        // Lines with options are whatever these say.
        let has_options = !self.sync.copyextra.trim().is_empty();
        let is_sparing = self.spares && !has_options && !table.goat.key.is_empty();
        // Rows are asked for when they can be taken: a server that waits for that gives the connection up.
        let writing = format!("writing table \"{label}\"");
        let sink = match is_sparing {
            true => None,
            false => Some(Intake::prepare(target, writing.clone(), &table.into, has_options).await?),
        };
        let rows = self.patiently(source.conn.copy_out_in_pieces(out)).await;
        let rows = rows.map_err(source.failed(format!("reading table \"{label}\"")))?;
        let Some(sink) = sink else {
            let into = target.conn.prepare(&table.into).await.map_err(target.failed(writing))?;
            let (sync, goat, source, columns) = (self.sync, &table.goat, &source.db, &table.columns);
            return Spared { sync, goat, source, target, columns }.pour(rows, &into, moved).await;
        };
        let copied = pour_counted(label, source, rows, sink, moved).await;
        copied.map_err(|error| error.in_copy(label, &table.columns))
    }

    /// Sees, after its rows were read, that the source's table was not written anew since the snapshot was taken: what
    /// rewrites a table is seen by older snapshots as an empty one (manual, section "Caveats" of "Concurrency Control").
    pub(super) async fn check_unchanged(&self, table: &Whole) -> Result<(), RoundError> {
        let row = self.source.conn.query_one(UNCHANGED.text(), &[&table.from]).await;
        let row = row.map_err(self.source.failed(format!("looking at the files of table \"{}\"", table.label)))?;
        if row.get("unchanged") { Ok(()) } else { Err(RoundError::Restless { table: table.label.clone() }) }
    }

    /// Drops what is faster made anew than kept up row by row, where that is wanted. Until the commit nobody else sees
    /// it gone.
    pub(super) async fn drop_indexes(&self, table: &Whole) -> Result<Vec<Index>, RoundError> {
        // What they refuse is to be known row by row.
        if self.spares || !table.goat.rebuild_index.unwrap_or(self.sync.rebuild_index) {
            return Ok(Vec::new());
        }
        let (target, label) = (self.target, &table.label);
        let rows = target.conn.query(INDEXES.text(), &[&table.oid]).await;
        let rows = rows.map_err(target.failed(format!("reading the indexes of table \"{label}\"")))?;
        for row in &rows {
            let done = self.patiently(target.conn.batch_execute(row.get("dropping"))).await;
            done.map_err(target.failed(format!("dropping an index of table \"{label}\"")))?;
        }
        if !rows.is_empty() {
            step(self.watch, Step::Unindexed(label)).await?;
        }
        Ok(rows.iter().map(|row| Index { name: row.get("name"), making: row.get("making") }).collect())
    }

    /// What follows a table's copy, if anything.
    pub(super) fn aftercare(&self, table: &Whole) -> Option<String> {
        let (sync, goat) = (self.sync, &table.goat);
        let vacuum = sync.vacuum_after_copy && goat.vacuum_after_copy;
        let words = match (vacuum, sync.analyze_after_copy && goat.analyze_after_copy) {
            (true, true) => "VACUUM (ANALYZE)",
            (true, false) => "VACUUM",
            (false, true) => "ANALYZE",
            (false, false) => return None,
        };
        Some(format!("{words} {}", table.name))
    }

    /// Whether a table has rows.
    pub(super) async fn has_rows(&self, site: &Site, sql: &str, table: &str) -> Result<bool, RoundError> {
        let row = site.conn.query_one(sql, &[]).await;
        Ok(row.map_err(site.failed(format!("looking into table \"{table}\"")))?.get(0))
    }

    /// Waits for a statement that works on the server alone, and says meanwhile that work goes on: how long it may
    /// wait for others the server bounds, and how long it works depends on the table.
    pub(super) async fn patiently<T>(&self, work: impl Future<Output = T>) -> T {
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

async fn encoding(site: &Site) -> Result<String, RoundError> {
    let row = site.conn.query_one(ENCODING.text(), &[]).await.map_err(site.failed("reading the encoding"))?;
    Ok(row.get("encoding"))
}

/// What emptying these tables of the target touches, in their order.
pub(in crate::engine) async fn covers(target: &Site, tables: &[Oid]) -> Result<Vec<Covers>, RoundError> {
    let rows = target.conn.query(COVERS.text(), &[&tables]).await;
    let rows = rows.map_err(target.failed("reading the foreign keys of the tables"))?;
    let covers = |row: &tokio_postgres::Row| Covers { covers: row.get("covers"), referencing: row.get("referencing") };
    Ok(rows.iter().map(covers).collect())
}

/// Which of these tables one `TRUNCATE` may empty: those that no foreign key of any other table points at.
pub(in crate::engine) fn together(tables: &[Covers]) -> Vec<bool> {
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
