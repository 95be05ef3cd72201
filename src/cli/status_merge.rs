//! How the sources of a sync that merges several are.

use chrono::{DateTime, Local};
use serde::Serialize;

use super::status::when;
use super::targets::words;
use crate::catalog::SyncDetail;
use crate::catalog::trouble::Trouble;

/// The merge of the sources of one sync.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Merge {
    sources: Vec<String>,
    /// Sources that it does without at present.
    away: Vec<Away>,
    /// Its last round failed.
    trouble: Option<Trouble>,
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
    pub(super) fn of(sync: &SyncDetail, troubles: &[Trouble]) -> Option<Self> {
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
}
