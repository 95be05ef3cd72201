//! How far whole copies are, as the targets' journals tell.

use std::time::Duration;

use chrono::{DateTime, Local};
use serde::Serialize;
use tokio_postgres::error::SqlState;

use super::status::duration;
use crate::catalog::{Db, Role, SyncDetail};
use crate::pg::{SqlFile, connect};

const STATUS: SqlFile = SqlFile::new(include_str!("../../sql/copy/status.sql"));

/// What one database may take to tell.
const WITHIN: Duration = Duration::from_secs(3);

/// A copy under way.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Copying {
    tables: i64,
    tables_done: i64,
    rows: i64,
    /// As the source's statistics have it.
    rows_total: i64,
    /// Of the tables on the source.
    bytes: i64,
    bytes_total: i64,
    seconds_left: Option<f64>,
    /// How often it was begun or gone on with.
    attempt: i32,
    started: DateTime<Local>,
}

impl Copying {
    /// How much of it is done, in hundredths.
    pub(super) fn percent(&self) -> i64 {
        // Tables of no size are there, too.
        if self.bytes_total > 0 { (self.bytes.saturating_mul(100) / self.bytes_total).min(99) } else { 0 }
    }

    /// `copying 45 %: 3 of 12 tables, 1200000 of about 2700000 rows, 1.2 of 2.7 GB, 3m 10s left`
    pub(super) fn line(&self) -> String {
        let unit = Unit::of(self.bytes_total);
        let rows = if self.rows_total > self.rows { format!(" of about {}", self.rows_total) } else { String::new() };
        let left = self.seconds_left.and_then(|left| Duration::try_from_secs_f64(left).ok());
        let left = left.map_or_else(String::new, |left| format!(", {} left", duration(left)));
        format!(
            "copying {} %: {} of {} tables, {}{rows} rows, {} of {} {}{left}",
            self.percent(),
            self.tables_done,
            self.tables,
            self.rows,
            unit.told(self.bytes),
            unit.told(self.bytes_total),
            unit.name,
        )
    }
}

struct Unit {
    name: &'static str,
    bytes: i64,
}

impl Unit {
    fn of(bytes: i64) -> Self {
        let units = [("kB", 1_i64 << 10), ("MB", 1 << 20), ("GB", 1 << 30), ("TB", 1 << 40)];
        let (name, size) = units.into_iter().rev().find(|(_, size)| bytes >= *size).unwrap_or(units[0]);
        Self { name, bytes: size }
    }

    fn told(&self, bytes: i64) -> String {
        let tenths = bytes.saturating_mul(10) / self.bytes;
        format!("{}.{}", tenths / 10, tenths % 10)
    }
}

/// The copy of `target` from `source`, if one is under way there; a database that does not tell is passed over.
pub(super) async fn copying(sync: &SyncDetail, source: &Db, target: &Db) -> Option<Copying> {
    // Nothing is asked of a target for which no copy is wanted.
    if sync.onetimecopy == 0 && sync.role(&target.name) != Some(Role::Fullcopy) {
        return None;
    }
    tokio::time::timeout(WITHIN, ask(sync, source, target)).await.ok().flatten()
}

async fn ask(sync: &SyncDetail, source: &Db, target: &Db) -> Option<Copying> {
    let connection = Box::pin(connect(&target.access, "bucardo CLI")).await.ok()?;
    let row = match connection.query_opt(STATUS.text(), &[&sync.name.as_str(), &source.name.as_str()]).await {
        Ok(row) => row?,
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => return None,
        Err(error) => {
            tracing::debug!(db = %target.name, error = %crate::pg::causes(&error), "cannot see how far the copy is");
            return None;
        }
    };
    let (bytes, bytes_total): (i64, i64) = (row.get("bytes"), row.get("bytes_total"));
    Some(Copying {
        tables: row.get("tables"),
        tables_done: row.get("tables_done"),
        rows: row.get("rows"),
        rows_total: row.get("rows_total"),
        seconds_left: left((row.get("bytes_before"), bytes, bytes_total), row.get("seconds")),
        bytes,
        bytes_total,
        attempt: row.get("attempt"),
        started: row.get("started"),
    })
}

/// How long the rest takes if it goes on as in this attempt.
#[expect(clippy::cast_precision_loss, reason = "an estimate need not be exact")]
fn left((before, now, total): (i64, i64, i64), seconds: f64) -> Option<f64> {
    let done = now - before;
    (done > 0 && seconds > 0.0).then(|| seconds * (total - now).max(0) as f64 / done as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_told_in_one_line() {
        let copying = Copying {
            tables: 12,
            tables_done: 3,
            rows: 1_200_000,
            rows_total: 2_700_000,
            bytes: 1_288_490_188,
            bytes_total: 2_899_102_925,
            seconds_left: left((288_490_188, 1_288_490_188, 2_899_102_925), 100.0),
            attempt: 2,
            started: Local::now(),
        };
        assert_eq!(
            copying.line(),
            "copying 44 %: 3 of 12 tables, 1200000 of about 2700000 rows, 1.1 of 2.7 GB, 2m 41s left"
        );
        let first = Copying { rows: 0, rows_total: 0, bytes: 0, seconds_left: left((0, 0, 5), 1.0), ..copying };
        assert_eq!(first.line(), "copying 0 %: 3 of 12 tables, 0 rows, 0.0 of 2.7 GB");
    }
}
