//! Tables that a source cannot take part in merging, as they are there. The other sources go on with them, as if that
//! one were away, and it comes back by itself (see [`super::late`] for what it misses meanwhile).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use chrono::{DateTime, Local, Utc};

use bucardo_actors::model::{DbName, SyncName};

use crate::engine::drift::Drift;

/// How long a table stays aside before it is tried again.
const PAUSE_MIN: Duration = Duration::from_secs(10);
/// The same, for one whose rows are refused again and again.
const PAUSE_MAX: Duration = Duration::from_secs(600);

/// A table that is put aside at one source.
struct Aside {
    table: String,
    db: DbName,
    why: String,
    /// Not all changes there were captured.
    whole: bool,
    since: DateTime<Utc>,
    due: Instant,
    pause: Duration,
    /// This merge does without; it takes part, to see whether it fits again.
    is_tried: bool,
}

/// The tables that are put aside, by their place in the sync and the place of the source.
#[derive(Default)]
pub(super) struct Asides(BTreeMap<(usize, u16), Aside>);

impl Asides {
    /// Whether the source takes no part in merging this table.
    pub(super) fn has(&self, table: usize, source: u16) -> bool {
        self.0.get(&(table, source)).is_some_and(|aside| !aside.is_tried)
    }

    /// The tables that some source takes no part in merging, and why.
    pub(super) fn tables(&self) -> BTreeMap<usize, &str> {
        let out = self.0.iter().filter(|(_, aside)| !aside.is_tried);
        out.map(|((table, _), aside)| (*table, aside.why.as_str())).collect()
    }

    /// Whether the source is tried with a table, and has to be looked at anew.
    pub(super) fn tries(&self, source: u16) -> bool {
        self.0.iter().any(|((_, place), aside)| *place == source && aside.is_tried)
    }

    /// Whether the source's own number of a table may be another one by now.
    pub(super) fn tries_whole(&self, source: u16) -> bool {
        self.0.iter().any(|((_, place), aside)| *place == source && aside.is_tried && aside.whole)
    }

    /// Puts a table aside at a source, or notes that it does not fit yet.
    pub(super) fn note(
        &mut self,
        sync: &SyncName,
        table: usize,
        (source, db): (u16, &DbName),
        drift: &Drift,
        now: Instant,
    ) {
        if let Some(aside) = self.0.get_mut(&(table, source)) {
            if aside.is_tried {
                let longer = (aside.pause * 2).min(PAUSE_MAX);
                aside.pause = if drift.by_statement { longer } else { PAUSE_MIN };
                (aside.is_tried, aside.due) = (false, now + aside.pause);
            }
            aside.why.clone_from(&drift.why);
            aside.whole |= drift.whole;
            return;
        }
        let (label, why) = (&drift.table, &drift.why);
        tracing::warn!(%sync, table = label, %db, why, "quarantined table: this source stays behind with it until the difference is gone, all else goes on");
        let aside = Aside {
            table: label.clone(),
            db: db.clone(),
            why: why.clone(),
            whole: drift.whole,
            since: Utc::now(),
            due: now + PAUSE_MIN,
            pause: PAUSE_MIN,
            is_tried: false,
        };
        self.0.insert((table, source), aside);
    }

    /// From now on those are tried that are due, or all when a person asks.
    pub(super) fn retry(&mut self, is_asked: bool, now: Instant) {
        for aside in self.0.values_mut().filter(|aside| is_asked || aside.due <= now) {
            aside.is_tried = true;
        }
    }

    /// These sources have merged the table.
    pub(super) fn merged(&mut self, sync: &SyncName, table: usize, sources: &[u16]) {
        for source in sources {
            let Some(Aside { table, db, whole, .. }) = self.0.remove(&(table, *source)) else { continue };
            tracing::info!(%sync, table, %db, "the table left quarantine and has what the others have");
            if whole {
                let hint =
                    "compare the table with the other sources; what differs is replicated when it is written again";
                tracing::warn!(%sync, table, %db, hint, "changes that were made while capture was missing are not known");
            }
        }
    }

    /// One sentence for each.
    pub(super) fn told(&self) -> Vec<String> {
        let told = self.0.values().map(|Aside { table, db, why, since, .. }| {
            let since = since.with_timezone(&Local).format("%Y-%m-%d %H:%M:%S");
            format!("quarantined table \"{table}\" of source \"{db}\" since {since}: {why}")
        });
        told.collect()
    }
}
