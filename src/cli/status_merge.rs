//! How the sources of a sync that merges several are.

use std::time::Duration;

use chrono::{DateTime, Local};
use futures_util::future::join_all;
use serde::Serialize;

use super::status::when;
use super::targets::words;
use crate::catalog::SyncDetail;
use crate::catalog::trouble::Trouble;
use crate::pg::connect;
use crate::source::{ClockOffset, clock_offset};

/// A source that does not answer in this time tells nothing of its clock; why, its targets say.
const WITHIN: Duration = Duration::from_secs(5);

/// The merge of the sources of one sync.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Merge {
    sources: Vec<String>,
    /// Sources that it does without at present.
    away: Vec<Away>,
    /// Its last round failed.
    trouble: Option<Trouble>,
    /// What the clocks of the sources that answer say: where the newest change wins, they decide.
    clocks: Vec<Clock>,
}

/// The clock of a source.
#[derive(Clone, Debug, Serialize)]
struct Clock {
    db: String,
    #[serde(flatten)]
    offset: ClockOffset,
}

/// A source that cannot be reached; the others are merged, and keep what it will have to read.
#[derive(Clone, Debug, Serialize)]
struct Away {
    db: String,
    since: DateTime<Local>,
    why: String,
}

impl Merge {
    /// The merge of `sync`, if it has one. `troubles` are those of all syncs.
    pub(super) async fn of(sync: &SyncDetail, troubles: &[Trouble]) -> Option<Self> {
        if !sync.is_merging() {
            return None;
        }
        let own = || troubles.iter().filter(|trouble| trouble.sync == sync.name.as_str());
        let away = own().filter(|trouble| trouble.is_away()).map(|trouble| Away {
            db: trouble.source.clone(),
            since: trouble.since,
            why: trouble.why.clone(),
        });
        Some(Self {
            sources: sync.sources().map(|db| db.name.to_string()).collect(),
            away: away.collect(),
            trouble: own().find(|trouble| trouble.is_merge()).cloned(),
            clocks: clocks(sync).await,
        })
    }

    /// One line for people: `A, B, C; C is away since 12:01:07: …`
    pub(super) fn line(&self) -> String {
        let mut text = self.sources.join(", ");
        for away in &self.away {
            text.push_str(&format!("; {} is away since {}: {}", away.db, when(away.since), away.why));
        }
        if let Some(trouble) = &self.trouble {
            text.push_str(&format!("; {}", words(trouble)));
        }
        text
    }

    /// How far the clocks are from ours, and the two that differ most from each other: `A +0.001 s, B -2.500 s (give or
    /// take 0.001 s); 2.501 s apart`. `None`: fewer than two are known.
    pub(super) fn clocks(&self) -> Option<String> {
        let ahead = || self.clocks.iter().map(|clock| clock.offset.ahead_seconds);
        let (least, most) = (ahead().reduce(f64::min)?, ahead().reduce(f64::max)?);
        if self.clocks.len() < 2 {
            return None;
        }
        let each: Vec<String> =
            self.clocks.iter().map(|clock| format!("{} {:+.3} s", clock.db, clock.offset.ahead_seconds)).collect();
        let error = self.clocks.iter().map(|clock| clock.offset.error_seconds).fold(0.0, f64::max);
        Some(format!("{} (give or take {error:.3} s); {:.3} s apart", each.join(", "), most - least))
    }
}

/// The clocks of the sources, measured now.
async fn clocks(sync: &SyncDetail) -> Vec<Clock> {
    let asked = sync.sources().map(|db| async move {
        let ask = async {
            let connection = Box::pin(connect(&db.access, "bucardo CLI")).await.ok()?;
            clock_offset(&connection).await.ok()
        };
        let offset = tokio::time::timeout(WITHIN, ask).await.ok().flatten()?;
        Some(Clock { db: db.name.to_string(), offset })
    });
    join_all(asked).await.into_iter().flatten().collect()
}
