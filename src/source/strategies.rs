//! Whether the conflict strategies of a sync and its tables mean something among its sources.

use crate::catalog::{Role, SyncDetail};
use crate::engine::merge::strategy::{StrategyError, Words};

/// What is wrong with them, one sentence each. Where there is one source there are no conflicts, and nothing is wrong.
#[must_use]
pub fn problems(sync: &SyncDetail) -> Vec<String> {
    let sources: Vec<&str> = sync.dbs(Role::Source).map(|db| db.name.as_str()).collect();
    if sources.len() < 2 {
        return Vec::new();
    }
    let tables = sync.tables().filter_map(|goat| {
        let text = goat.conflict_strategy.as_deref()?;
        Some((text, format!("table \"{}.{}\"", goat.schema, goat.name)))
    });
    std::iter::once((sync.conflict_strategy.as_str(), format!("sync \"{}\"", sync.name)))
        .chain(tables)
        .filter_map(|(text, whose)| {
            let means = text.parse::<Words>().and_then(|words| words.among(&sources));
            means.err().map(|error| match error {
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
