//! Tables that a source cannot take part in merging, as they are there. The other sources go on with them, as if that
//! one were away, and it comes back by itself (see [`super::late`] for what it misses meanwhile).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use bucardo_actors::model::{DbName, Quarantined, SyncName};

use crate::engine::drift::{Drift, remedy};

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
    /// It was left out when another source was copied here, and waits for the next copy.
    is_uncopied: bool,
}

/// A sequence that is put aside at one source. It has no changes that would have to be kept.
struct Still {
    sequence: String,
    db: DbName,
    why: String,
    since: DateTime<Utc>,
    due: Instant,
    pause: Duration,
}

/// What is put aside, by its place among the tables or sequences of the sync and the place of the source.
#[derive(Default)]
pub(super) struct Asides {
    tables: BTreeMap<(usize, u16), Aside>,
    sequences: BTreeMap<(usize, u16), Still>,
}

impl Asides {
    /// Whether the source takes no part in merging this table.
    pub(super) fn has(&self, table: usize, source: u16) -> bool {
        self.tables.get(&(table, source)).is_some_and(|aside| !aside.is_tried)
    }

    /// The tables that some source takes no part in merging, and why.
    pub(super) fn tables(&self) -> BTreeMap<usize, &str> {
        let out = self.tables.iter().filter(|(_, aside)| !aside.is_tried);
        out.map(|((table, _), aside)| (*table, aside.why.as_str())).collect()
    }

    /// Whether the source is tried with a table, and has to be looked at anew.
    pub(super) fn tries(&self, source: u16) -> bool {
        self.tables.iter().any(|((_, place), aside)| *place == source && aside.is_tried)
    }

    /// Whether the source's own number of a table may be another one by now.
    pub(super) fn tries_whole(&self, source: u16) -> bool {
        self.tables.iter().any(|((_, place), aside)| *place == source && aside.is_tried && aside.whole)
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
        if let Some(aside) = self.tables.get_mut(&(table, source)) {
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
            is_uncopied: false,
        };
        self.tables.insert((table, source), aside);
    }

    /// A table was left out when another source was copied to this one.
    pub(super) fn keep_out(
        &mut self,
        sync: &SyncName,
        table: usize,
        (source, db): (u16, &DbName),
        label: &str,
        why: &str,
    ) {
        let next = format!(
            "it was left out when the first source was copied there ({why}); make the tables alike and have all copied \
             again: bucardo update sync {sync} onetimecopy=1 && bucardo reload sync {sync}"
        );
        let drift = Drift { table: label.to_owned(), why: next, whole: false, by_statement: false };
        if self.tables.get(&(table, source)).is_none_or(|aside| !aside.is_uncopied) {
            self.note(sync, table, (source, db), &drift, Instant::now());
        }
        if let Some(aside) = self.tables.get_mut(&(table, source)) {
            (aside.is_uncopied, aside.is_tried) = (true, false);
        }
    }

    /// Whether some source was copied to without some table.
    pub(super) fn has_uncopied(&self) -> bool {
        self.tables.values().any(|aside| aside.is_uncopied)
    }

    /// A table that had been left out was copied: it is tried.
    pub(super) fn let_in(&mut self, table: usize, source: u16) {
        if let Some(aside) = self.tables.get_mut(&(table, source)).filter(|aside| aside.is_uncopied) {
            (aside.is_uncopied, aside.is_tried) = (false, true);
        }
    }

    /// Puts a sequence aside at a source, or notes that it does not fit yet.
    pub(super) fn note_sequence(
        &mut self,
        sync: &SyncName,
        place: usize,
        (source, db): (u16, &DbName),
        drift: &Drift,
        now: Instant,
    ) {
        let (sequence, why) = (&drift.table, &drift.why);
        let known = self.sequences.get(&(place, source));
        if known.is_none() {
            tracing::warn!(%sync, sequence, %db, why, "quarantined sequence: at this source it stays where it is until the difference is gone, all else goes on");
        }
        // A new connection finds what is missing; what a server refuses shows only when it is tried.
        let pause = known.filter(|_| drift.by_statement).map_or(PAUSE_MIN, |known| (known.pause * 2).min(PAUSE_MAX));
        let still = Still {
            sequence: sequence.clone(),
            db: db.clone(),
            why: why.clone(),
            since: known.map_or_else(Utc::now, |known| known.since),
            due: now + pause,
            pause,
        };
        self.sequences.insert((place, source), still);
    }

    /// Whether a sequence of the source is to be tried again, by a new connection.
    pub(super) fn tries_sequence(&self, source: u16, is_asked: bool, now: Instant) -> bool {
        self.sequences.iter().any(|((_, place), still)| *place == source && (is_asked || still.due <= now))
    }

    /// A merge went well in which these sequences of a source took part.
    pub(super) fn sequences_fit(&mut self, sync: &SyncName, source: u16, took_part: impl Fn(usize) -> bool) {
        self.sequences.retain(|(place, at), Still { sequence, db, .. }| {
            let fits = *at == source && took_part(*place);
            if fits {
                tracing::info!(%sync, sequence, %db, "the sequence left quarantine");
            }
            !fits
        });
    }

    /// From now on those are tried that are due, or all when a person asks.
    pub(super) fn retry(&mut self, is_asked: bool, now: Instant) {
        let is_due = |aside: &&mut Aside| !aside.is_uncopied && (is_asked || aside.due <= now);
        for aside in self.tables.values_mut().filter(is_due) {
            aside.is_tried = true;
        }
    }

    /// These sources have merged the table.
    pub(super) fn merged(&mut self, sync: &SyncName, table: usize, sources: &[u16]) {
        for source in sources {
            let Some(Aside { table, db, whole, .. }) = self.tables.remove(&(table, *source)) else { continue };
            tracing::info!(%sync, table, %db, "the table left quarantine and has what the others have");
            if whole {
                let hint =
                    "compare the table with the other sources; what differs is replicated when it is written again";
                tracing::warn!(%sync, table, %db, hint, "changes that were made while capture was missing are not known");
            }
        }
    }

    /// Each of them, as it is told of.
    pub(super) fn told(&self) -> Vec<Quarantined> {
        let tables = self.tables.values().map(|Aside { table, db, why, since, .. }| Quarantined {
            relation: table.clone(),
            is_sequence: false,
            db: db.clone(),
            since: Some((*since).into()),
            why: why.clone(),
            remedy: remedy(why),
        });
        let sequences = self.sequences.values().map(|Still { sequence, db, why, since, .. }| Quarantined {
            relation: sequence.clone(),
            is_sequence: true,
            db: db.clone(),
            since: Some((*since).into()),
            why: why.clone(),
            remedy: remedy(why),
        });
        tables.chain(sequences).collect()
    }
}
