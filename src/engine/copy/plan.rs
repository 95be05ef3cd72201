//! What a copy has to do: which tables, cut into which pieces, and what an earlier attempt has done of it already.

use std::collections::HashMap;

use postgres_types::Oid;

use super::copier::{Begun, Index};
use super::journal::{Chunk, Noted, Totals};
use super::whole::{Split, Whole};
use crate::catalog::CopyLimits;
use crate::engine::error::RoundError;
use crate::engine::site::Site;
use crate::pg::{RelationName, Sql, SqlFile};

const SIZES: SqlFile = SqlFile::new(include_str!("../../../sql/copy/sizes.sql"));
const BOUNDS: SqlFile = SqlFile::new(include_str!("../../../sql/copy/bounds.sql"));

/// A table is cut into this many pieces at most.
const CHUNKS_MAX: i64 = 1000;
/// Pages that are looked at to find where to cut.
const SAMPLE_PAGES: i64 = 500;
/// From this correlation on, a range of the column lies in a few pages. Below, every piece reads most of the table, so
/// there are only as many as are read at once.
const CORRELATED: f64 = 0.8;

/// A table on the source.
#[derive(Clone, Debug, Default)]
pub(super) struct Size {
    pub(super) bytes: i64,
    pages: i64,
    pub(super) rows: i64,
    files: String,
}

/// What is to do for one table.
pub(super) struct Task {
    pub(super) goat: i32,
    /// Schema and name on the source.
    pub(super) names: (String, String),
    /// `None`: the table has left the sync; only its indexes are made again.
    pub(super) whole: Option<Whole>,
    pub(super) signature: String,
    pub(super) chunks: Vec<Chunk>,
    pub(super) indexes: Vec<Index>,
    /// Estimates.
    pub(super) rows: i64,
    pub(super) bytes: i64,
    /// Begun by this attempt.
    pub(super) is_new: bool,
    /// Copied, vacuumed and analyzed by an earlier attempt.
    pub(super) is_done: bool,
    /// It has rows on the target, which must go first.
    pub(super) is_filled: bool,
}

impl Task {
    /// `schema.table`, for people.
    pub(super) fn label(&self) -> String {
        RelationName::of(&self.names.0, &self.names.1).to_string()
    }

    /// What a piece of it is worth.
    pub(super) fn chunk_bytes(&self) -> i64 {
        self.bytes / i64::try_from(self.chunks.len().max(1)).unwrap_or(1)
    }

    /// Whether an earlier attempt has copied some of it.
    pub(super) fn has_rows(&self) -> bool {
        !self.is_new && self.chunks.iter().any(|chunk| chunk.is_done)
    }
}

/// How large the tables are, in order.
pub(super) async fn sizes(source: &Site, tables: &[Whole]) -> Result<Vec<Size>, RoundError> {
    let oids: Vec<Oid> = tables.iter().map(|table| table.from).collect();
    let rows = source.conn.query(SIZES.text(), &[&oids]).await;
    let rows = rows.map_err(source.failed("reading the sizes of the tables"))?;
    let mut sizes = vec![Size::default(); tables.len()];
    for row in &rows {
        let place = usize::try_from(row.get::<_, i32>("place")).unwrap_or_default();
        if let Some(size) = sizes.get_mut(place) {
            *size = Size {
                bytes: row.get("bytes"),
                pages: row.get("pages"),
                rows: row.get("rows"),
                files: row.get("files"),
            };
        }
    }
    Ok(sizes)
}

/// Plans the tables, largest first. `noted` are those of an earlier attempt: what is the same goes on, what is not is
/// begun anew, but for the indexes that it waits for. With `only_where_empty` a table that is not noted is passed over when it has rows on the target.
pub(super) async fn plan(
    source: &Site,
    limits: CopyLimits,
    begun: Begun,
    sizes: Vec<Size>,
    mut noted: HashMap<i32, Noted>,
    only_where_empty: bool,
) -> Result<Vec<Task>, RoundError> {
    let mut tasks = Vec::with_capacity(begun.tables.len());
    for ((whole, is_filled), size) in begun.tables.into_iter().zip(begun.filled).zip(sizes) {
        let split = whole.split.as_ref().map(|split| split.value().as_str().to_owned()).unwrap_or_default();
        let signature = format!("{} {}\n{}\n{}\n{split}", whole.from, size.files, whole.out, whole.into);
        let known = noted.remove(&whole.goat.id);
        if known.is_none() && only_where_empty && is_filled {
            continue;
        }
        let mut task = Task {
            goat: whole.goat.id,
            names: (whole.goat.schema.clone(), whole.goat.name.clone()),
            signature,
            chunks: Vec::new(),
            indexes: Vec::new(),
            rows: size.rows,
            bytes: size.bytes,
            is_new: true,
            is_done: false,
            is_filled,
            whole: None,
        };
        match known {
            Some(known) if known.signature == task.signature => {
                (task.chunks, task.indexes) = (known.chunks, known.indexes);
                (task.is_new, task.is_done) = (false, known.is_done);
            }
            known => {
                task.chunks = chunks(source, &whole, &size, limits).await?;
                task.indexes = known.map(|known| known.indexes).unwrap_or_default();
            }
        }
        task.whole = Some(whole);
        tasks.push(task);
    }
    tasks.extend(noted.into_iter().map(|(goat, known)| orphan(goat, known)));
    tasks.sort_by_key(|task| std::cmp::Reverse(task.bytes));
    Ok(tasks)
}

/// A table that is no longer copied, but lacks indexes.
fn orphan(goat: i32, known: Noted) -> Task {
    Task {
        goat,
        names: known.names,
        whole: None,
        signature: String::new(),
        chunks: Vec::new(),
        indexes: known.indexes,
        rows: 0,
        bytes: 0,
        is_new: true,
        is_done: false,
        is_filled: false,
    }
}

/// The sums of a plan.
pub(super) fn totals(tasks: &[Task]) -> Totals {
    let done = |task: &Task| {
        let done = task.chunks.iter().filter(|chunk| chunk.is_done).count();
        task.chunk_bytes() * i64::try_from(done).unwrap_or(0)
    };
    Totals {
        tables: i64::try_from(tasks.iter().filter(|task| task.whole.is_some()).count()).unwrap_or(i64::MAX),
        rows: tasks.iter().map(|task| task.rows).sum(),
        bytes: tasks.iter().map(|task| task.chunk_bytes() * i64::try_from(task.chunks.len()).unwrap_or(0)).sum(),
        bytes_done: tasks.iter().map(done).sum(),
    }
}

async fn chunks(source: &Site, whole: &Whole, size: &Size, limits: CopyLimits) -> Result<Vec<Chunk>, RoundError> {
    let wanted = (size.bytes / limits.chunk_bytes.max(1)).min(CHUNKS_MAX);
    let bounds = match &whole.split {
        Some(split) if wanted > 1 => bounds(source, whole, split, size, (wanted, limits.workers)).await?,
        _ => Vec::new(),
    };
    Ok(between(&bounds))
}

/// Pieces between these bounds, in order.
fn between(bounds: &[String]) -> Vec<Chunk> {
    let low = std::iter::once(None).chain(bounds.iter().map(Some));
    let high = bounds.iter().map(Some).chain(std::iter::once(None));
    let piece = |(number, (low, high)): (i32, (Option<&String>, Option<&String>))| Chunk {
        number,
        low: low.cloned(),
        high: high.cloned(),
        is_done: false,
        rows: 0,
    };
    (1..).zip(low.zip(high)).map(piece).collect()
}

async fn bounds(
    source: &Site,
    whole: &Whole,
    split: &Split,
    size: &Size,
    (wanted, workers): (i64, usize),
) -> Result<Vec<String>, RoundError> {
    #[expect(clippy::cast_precision_loss, reason = "a share of pages need not be exact")]
    let percent = (100.0 * SAMPLE_PAGES as f64 / size.pages.max(1) as f64).min(100.0);
    let sql = BOUNDS.fill(&[
        ("value", &split.value()),
        ("table", &whole.source_table),
        ("percent", &Sql::trusted(format!("{percent:.9}"))),
    ]);
    let wanted = i32::try_from(wanted).unwrap_or(i32::MAX);
    let rows = source.conn.query(&sql, &[&wanted]).await;
    let rows = rows.map_err(source.failed(format!("looking where to cut table \"{}\"", whole.label)))?;
    let correlation: f64 = rows.first().map_or(0.0, |row| row.get("correlation"));
    // The first piece has no lower bound.
    let bounds: Vec<String> = rows.iter().skip(1).map(|row| row.get("bound")).collect();
    Ok(chosen(bounds, correlation, workers))
}

/// Bounds without repetitions; few of them where a range of the column is scattered over the table.
fn chosen(mut bounds: Vec<String>, correlation: f64, workers: usize) -> Vec<String> {
    bounds.dedup();
    let pieces = bounds.len() + 1;
    if correlation.abs() >= CORRELATED || pieces <= workers {
        return bounds;
    }
    (1..workers).filter_map(|piece| bounds.get(piece * pieces / workers - 1).cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|&text| text.to_owned()).collect()
    }

    #[test]
    fn pieces_leave_no_gap() {
        let ranges: Vec<_> =
            between(&texts(&["10", "20"])).into_iter().map(|it| (it.number, it.low, it.high)).collect();
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(ranges, [(1, None, text("10")), (2, text("10"), text("20")), (3, text("20"), None)]);
        assert_eq!(between(&[]).len(), 1);
    }

    #[test]
    fn scattered_columns_get_as_many_pieces_as_are_read_at_once() {
        let bounds = texts(&["1", "2", "3", "4", "5", "6", "7"]);
        assert_eq!(chosen(bounds.clone(), -0.95, 4), bounds);
        assert_eq!(chosen(bounds.clone(), 0.1, 4), texts(&["2", "4", "6"]));
        assert_eq!(chosen(bounds, 0.1, 1), texts(&[]));
        assert_eq!(chosen(texts(&["1", "1", "2"]), 1.0, 4), texts(&["1", "2"]));
        assert_eq!(chosen(texts(&["1"]), 0.0, 4), texts(&["1"]));
    }
}
