//! Whether the conflict strategies of a sync and its tables mean something among its sources.

use crate::catalog::{Goat, Role, SyncDetail};
use crate::engine::merge::lead;
use crate::engine::merge::strategy::{StrategyError, Words};

/// What is wrong with them, one sentence each. Where there is one source there are no conflicts, and nothing is wrong.
#[must_use]
pub fn problems(sync: &SyncDetail) -> Vec<String> {
    let sources: Vec<&str> = sync.dbs(Role::Source).map(|db| db.name.as_str()).collect();
    if sources.len() < 2 {
        return Vec::new();
    }
    let whose = |kind: &str, goat: &Goat| format!("{kind} \"{}.{}\"", goat.schema, goat.name);
    let rows = |text: &str| text.parse::<Words>().and_then(|words| words.among(&sources)).err();
    let own = std::iter::once((format!("sync \"{}\"", sync.name), rows(&sync.conflict_strategy)));
    let tables = sync.tables().filter_map(|goat| {
        let text = goat.conflict_strategy.as_deref()?;
        Some((whose("table", goat), rows(text)))
    });
    let sequences = sync.sequences().map(|goat| {
        let text = goat.conflict_strategy.as_deref();
        (whose("sequence", goat), lead::resolve(text, &sources).err())
    });
    own.chain(tables)
        .chain(sequences)
        .filter_map(|(whose, error)| {
            error.map(|error| match error {
                StrategyError::Unknown { words, name } => format!(
                    "the conflict strategy \"{words}\" of {whose} is no known word, and \"{name}\" is not a source of \
                     sync \"{}\" (its sources are {})",
                    sync.name,
                    sources.join(", ")
                ),
                error => format!("{whose}: {error}"),
            })
        })
        .collect()
}
