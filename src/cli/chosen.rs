//! The syncs that an operator names: exactly, by wildcard, or all of them.

use super::{CliError, words};
use crate::catalog::Control;
use crate::catalog::syncs::{self, SyncListing};

/// The named syncs, and the number among the words, if there is one.
pub(super) struct Chosen {
    /// In the order of the catalog.
    pub(super) syncs: Vec<SyncListing>,
    /// The last number.
    pub(super) number: Option<u64>,
}

/// Chooses among the syncs of the catalog. No words choose nothing, and words that mean no sync are refused.
pub(super) async fn choose(control: &Control, wanted: &[String]) -> Result<Chosen, CliError> {
    choose_or(control, wanted, unknown).await
}

/// The same with another way to say that there is no such sync.
pub(super) async fn choose_or(
    control: &Control,
    wanted: &[String],
    unknown: impl Fn(&str, &[SyncListing]) -> CliError,
) -> Result<Chosen, CliError> {
    let all = syncs::list(control.client()).await?;
    if all.is_empty() {
        return Err(CliError::die("No syncs have been created yet!"));
    }
    let mut names: Vec<&str> = Vec::new();
    let mut number = None;
    for word in words::flat(wanted) {
        if matches!(word.to_lowercase().as_str(), "sync" | "syncs") && !all.iter().any(|sync| sync.name == word) {
            continue;
        }
        if let Ok(found) = word.parse() {
            number = Some(found);
            continue;
        }
        let everything = word.eq_ignore_ascii_case("all");
        let fits = |name: &str| everything || name == word || (words::is_wild(&word) && words::matches(&word, name));
        let found: Vec<&str> = all.iter().map(|sync| sync.name.as_str()).filter(|name| fits(name)).collect();
        if found.is_empty() {
            return Err(unknown(&word, &all));
        }
        names.extend(found);
    }
    if names.is_empty() && !wanted.is_empty() {
        return Err(unknown("*", &all));
    }
    let chosen = all.iter().filter(|sync| names.contains(&sync.name.as_str())).cloned().collect();
    Ok(Chosen { syncs: chosen, number })
}

fn unknown(word: &str, all: &[SyncListing]) -> CliError {
    let first = if words::is_wild(word) {
        "No matching syncs were found".to_owned()
    } else {
        format!("Sync \"{word}\" does not appear to exist")
    };
    let names = || all.iter().map(|sync| sync.name.as_str());
    let active: Vec<&str> = all.iter().filter(|sync| sync.status == "active").map(|sync| sync.name.as_str()).collect();
    if active.is_empty() {
        return CliError::die(first).suggest(word, names());
    }
    CliError::die(format!("{first}\nActive syncs:\n  {}", active.join("\n  "))).suggest(word, names())
}
