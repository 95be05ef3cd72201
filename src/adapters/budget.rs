//! How much of its changes a source may keep for a target that does not read them, and what is done about more. Pure.

use std::time::Duration;

use bucardo_actors::model::{DbName, SyncName};
use chrono::{DateTime, Utc};

use crate::catalog::Budget;
use crate::source::deltas::Waiting;

/// What a source keeps is more than its budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Excess {
    /// Whose fault it is: the reader whose oldest change is older than everybody else's.
    pub(super) sync: SyncName,
    /// The reader.
    pub(super) target: DbName,
    /// Changes that wait for it.
    pub(super) changes: i64,
    /// What they take.
    pub(super) bytes: i64,
    /// The oldest of them.
    pub(super) oldest: DateTime<Utc>,
    /// Which bound is passed.
    pub(super) why: String,
}

/// Compares what waits at a source with its budget. Each reader is measured on its own.
pub(super) fn judge(budget: &Budget, waiting: &[Waiting]) -> Option<Excess> {
    let mut readers: Vec<Excess> = Vec::new();
    let mut now = None;
    for one in waiting {
        now = now.max(Some(one.now));
        match readers.iter_mut().find(|known| known.sync == one.sync && known.target == one.target) {
            Some(known) => {
                known.changes = known.changes.saturating_add(one.changes);
                known.bytes = known.bytes.saturating_add(one.bytes);
                known.oldest = known.oldest.min(one.oldest);
            }
            None => readers.push(Excess {
                sync: one.sync.clone(),
                target: one.target.clone(),
                changes: one.changes,
                bytes: one.bytes,
                oldest: one.oldest,
                why: String::new(),
            }),
        }
    }
    let now = now?;
    let mut over: Vec<Excess> = readers
        .into_iter()
        .filter_map(|mut reader| {
            reader.why = passed(budget, &reader, now)?;
            Some(reader)
        })
        .collect();
    over.sort_by_key(|reader| reader.oldest);
    over.into_iter().next()
}

/// The bound that a reader passes.
fn passed(budget: &Budget, reader: &Excess, now: DateTime<Utc>) -> Option<String> {
    let age = (now - reader.oldest).to_std().unwrap_or_default();
    if let Some(most) = budget.age_max.filter(|most| age > *most) {
        let whole = Duration::from_secs(age.as_secs());
        let (age, most) = (humantime::format_duration(whole), humantime::format_duration(most));
        return Some(format!("the oldest is {age} old, more than {most} (queue_age_max)"));
    }
    if let Some(most) = budget.rows_max.filter(|most| reader.changes > *most) {
        return Some(format!("these are more than {most} (queue_rows_max)"));
    }
    let most = budget.bytes_max.filter(|most| reader.bytes > *most)?;
    Some(format!("they take {} MB, more than {} (queue_mb_max)", reader.bytes >> 20, most >> 20))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::QueuePolicy;

    fn waiting(target: &str, changes: i64, age: i64) -> Waiting {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        Waiting {
            sync: "s".into(),
            target: target.into(),
            captured: 1,
            changes,
            bytes: changes * 100,
            is_estimate: false,
            oldest: now - chrono::TimeDelta::seconds(age),
            now,
        }
    }

    fn said(budget: Budget, all: &[Waiting]) -> Option<(String, String)> {
        judge(&budget, all).map(|excess| (excess.target.to_string(), excess.why))
    }

    #[test]
    fn the_one_that_lags_most_is_to_blame() {
        let all = [waiting("B", 5000, 60), waiting("B", 6000, 10), waiting("C", 20_000, 50), waiting("D", 1, 9000)];
        let free = Budget { rows_max: None, bytes_max: None, age_max: None, policy: QueuePolicy::Warn };
        assert_eq!(said(free, &all), None);
        assert_eq!(said(free, &[]), None);
        let rows = Budget { rows_max: Some(10_000), ..free };
        let told = "these are more than 10000 (queue_rows_max)".to_owned();
        assert_eq!(said(rows, &all), Some(("B".to_owned(), told)), "of both tables together");
        let bytes = Budget { bytes_max: Some(1 << 20), ..free };
        assert_eq!(said(bytes, &all).unwrap().0, "B");
        let age = Budget { age_max: Some(Duration::from_secs(3600)), ..free };
        let told = "the oldest is 2h 30m old, more than 1h (queue_age_max)".to_owned();
        assert_eq!(said(age, &all), Some(("D".to_owned(), told)));
    }
}
