//! How far a copy in pieces is: tables, rows, and bytes as the source's tables take them.

use std::sync::atomic::{AtomicI64, Ordering};

use super::plan::{Task, totals};

/// Counters that all hands share.
pub(super) struct Progress {
    tables: AtomicI64,
    /// Of earlier attempts, and of all.
    rows_before: i64,
    rows: AtomicI64,
    bytes: AtomicI64,
}

impl Progress {
    /// What is there when an attempt begins.
    pub(super) fn of(tasks: &[Task]) -> Self {
        let rows = tasks.iter().flat_map(|task| &task.chunks).map(|chunk| chunk.rows).sum();
        let tables = tasks.iter().filter(|task| task.is_done).count();
        Self {
            tables: AtomicI64::new(i64::try_from(tables).unwrap_or(0)),
            rows_before: rows,
            rows: AtomicI64::new(rows),
            bytes: AtomicI64::new(totals(tasks).bytes_done),
        }
    }

    /// Tables, rows, bytes.
    pub(super) fn now(&self) -> (i64, i64, i64) {
        let load = |counter: &AtomicI64| counter.load(Ordering::Relaxed);
        (load(&self.tables), load(&self.rows), load(&self.bytes))
    }

    /// Rows of this attempt.
    pub(super) fn rows(&self) -> u64 {
        (self.rows.load(Ordering::Relaxed) - self.rows_before).unsigned_abs()
    }

    pub(super) fn table_done(&self) {
        self.tables.fetch_add(1, Ordering::Relaxed);
    }

    /// A piece begins that is worth so many bytes.
    pub(super) fn piece(&self, worth: i64) -> Piece<'_> {
        Piece { progress: self, worth, counted: 0 }
    }
}

/// A piece under way. What travels is about as much as what the table takes, but never counts for more.
pub(super) struct Piece<'a> {
    progress: &'a Progress,
    worth: i64,
    counted: i64,
}

impl Piece<'_> {
    /// Rows and bytes went over.
    pub(super) fn moved(&mut self, rows: u64, bytes: u64) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX).min(self.worth - self.counted);
        self.counted += bytes;
        self.progress.rows.fetch_add(i64::try_from(rows).unwrap_or(0), Ordering::Relaxed);
        self.progress.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// It is committed.
    pub(super) fn done(self) {
        self.progress.bytes.fetch_add(self.worth - self.counted, Ordering::Relaxed);
    }
}
