//! `conflict_strategy=…` of syncs, tables and settings: what an operator may write, and how it is stored.

use tokio_postgres::GenericClient;

use super::CliError;
use crate::catalog::{dbs, load_syncs};
use crate::engine::merge::lead::{self, Lead};
use crate::engine::merge::strategy::{Strategy, Words};
use crate::source::strategies;

/// The words of today, for those who typed another one.
const WORDS: &str = "bucardo_latest, bucardo_latest_all_tables, bucardo_source, bucardo_target, bucardo_skip, \
                     bucardo_random, bucardo_abort, bucardo_custom, or names of databases, the strongest first";

/// The words of sequences.
const SEQUENCE_WORDS: &str = "bucardo_source, bucardo_target, bucardo_skip, bucardo_lowest, bucardo_highest, or names of \
                              databases, the strongest first; without one the value that is furthest along counts";

/// A strategy in its one spelling: a word, or names of `dbs` with blanks between; empty: none of its own.
///
/// # Errors
///
/// A word that is neither; the message tells which there are.
pub(super) fn stored(value: &str, dbs: &[&str], of: &str) -> Result<String, CliError> {
    let refuse = |error: &dyn std::error::Error| CliError::die(error.to_string()).hint(format!("use {WORDS}"));
    let lower = value.to_lowercase();
    match Words::parse(&lower).map_err(|error| refuse(&error))? {
        None => return Ok(String::new()),
        Some(Words::Word(strategy)) => return Ok(word(&strategy).to_owned()),
        Some(Words::Names(_)) => {}
    }
    let Some(Words::Names(names)) = Words::parse(value).map_err(|error| refuse(&error))? else {
        return Ok(String::new());
    };
    match names.iter().find(|name| !dbs.contains(&name.as_str())) {
        Some(unknown) => Err(CliError::die(format!(
            "conflict_strategy should contain a list of databases, but \"{unknown}\" is not a db {of}!"
        ))
        .hint(format!("use {WORDS}"))),
        None => Ok(names.join(" ")),
    }
}

/// The same, among all databases of the catalog.
pub(super) async fn stored_for_all(client: &impl GenericClient, value: &str) -> Result<String, CliError> {
    let all = dbs::list(client).await?;
    let names: Vec<&str> = all.iter().map(|db| db.name.as_str()).collect();
    stored(value, &names, "of the catalog")
}

/// The same of a sequence, among all databases of the catalog.
pub(super) async fn stored_for_sequence(client: &impl GenericClient, value: &str) -> Result<String, CliError> {
    let all = dbs::list(client).await?;
    let names: Vec<&str> = all.iter().map(|db| db.name.as_str()).collect();
    sequence(value, &names)
}

fn sequence(value: &str, dbs: &[&str]) -> Result<String, CliError> {
    let refuse = |message: String| CliError::die(message).hint(format!("use {SEQUENCE_WORDS}"));
    let parse = |text: &str| lead::Words::parse(text).map_err(|error| refuse(error.to_string()));
    let word = match parse(&value.to_lowercase())? {
        None | Some(lead::Words::Lead(Lead::Furthest)) => "",
        Some(lead::Words::First) => "bucardo_source",
        Some(lead::Words::Last) => "bucardo_target",
        Some(lead::Words::Lead(Lead::Skip)) => "bucardo_skip",
        Some(lead::Words::Lead(Lead::Lowest)) => "bucardo_lowest",
        Some(lead::Words::Lead(Lead::Highest)) => "bucardo_highest",
        // A list is never a word.
        Some(lead::Words::Names(_) | lead::Words::Lead(Lead::Listed(_))) => {
            let Some(lead::Words::Names(names)) = parse(value)? else { return Ok(String::new()) };
            return match names.iter().find(|name| !dbs.contains(&name.as_str())) {
                Some(unknown) => Err(refuse(format!(
                    "conflict_strategy should contain a list of databases, but \"{unknown}\" is not a db of the catalog!"
                ))),
                None => Ok(names.join(" ")),
            };
        }
    };
    Ok(word.to_owned())
}

const fn word(strategy: &Strategy) -> &'static str {
    match strategy {
        Strategy::First => "bucardo_source",
        Strategy::Last => "bucardo_target",
        Strategy::Skip => "bucardo_skip",
        Strategy::Random => "bucardo_random",
        // A list is never a word.
        Strategy::Latest | Strategy::Listed(_) => "bucardo_latest",
        Strategy::LatestAllTables => "bucardo_latest_all_tables",
        Strategy::Abort => "bucardo_abort",
        Strategy::Custom => "bucardo_custom",
    }
}

/// What is wrong with the strategies of all syncs.
///
/// # Errors
///
/// The catalog cannot be read.
pub(super) async fn problems(client: &impl GenericClient) -> Result<Vec<String>, CliError> {
    Ok(load_syncs(client).await?.iter().flat_map(strategies::problems).collect())
}

/// Refuses a change that leaves a sync with a strategy that means nothing among its sources. What was wrong `before`
/// is no reason, so that one fault after the other can be mended.
///
/// # Errors
///
/// All that is wrong now and was not before, in all syncs.
pub(super) async fn check(client: &impl GenericClient, before: &[String]) -> Result<(), CliError> {
    let problems = problems(client).await?;
    let new: Vec<&str> = problems.iter().filter(|problem| !before.contains(problem)).map(String::as_str).collect();
    if new.is_empty() {
        return Ok(());
    }
    Err(CliError::refuse(new.join("\n")).hint(format!("conflict_strategy: use {WORDS}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strategies_are_words_or_databases() {
        for (value, expected) in [
            ("latest", "bucardo_latest"),
            ("default", "bucardo_latest"),
            ("latest_all", "bucardo_latest_all_tables"),
            ("bucardo_latest_all_tables", "bucardo_latest_all_tables"),
            ("bucardo_abort", "bucardo_abort"),
            ("Source", "bucardo_source"),
            ("target", "bucardo_target"),
            ("SKIP", "bucardo_skip"),
            ("random", "bucardo_random"),
            ("bucardo_custom", "bucardo_custom"),
            ("b, A", "b A"),
            ("A b", "A b"),
            ("A", "A"),
            (" ", ""),
        ] {
            assert_eq!(stored(value, &["A", "b"], "for this sync").unwrap(), expected, "{value}");
        }
        let error = stored("A C", &["A", "b"], "for this sync").unwrap_err();
        assert_eq!(
            error.message,
            "conflict_strategy should contain a list of databases, but \"C\" is not a db for this sync!"
        );
        assert!(error.hint.unwrap().contains("bucardo_skip"));
        let error = stored("custom", &["A"], "for this sync").unwrap_err();
        assert!(error.message.contains("\"custom\" is not a db"), "{}", error.message);
    }

    #[test]
    fn sequences_have_words_of_their_own() {
        for (value, expected) in [
            ("lowest", "bucardo_lowest"),
            ("bucardo_Highest", "bucardo_highest"),
            ("source", "bucardo_source"),
            ("target", "bucardo_target"),
            ("skip", "bucardo_skip"),
            ("latest", ""),
            ("", ""),
            ("b, A", "b A"),
        ] {
            assert_eq!(sequence(value, &["A", "b"]).unwrap(), expected, "{value}");
        }
        for value in ["random", "bucardo_abort", "bucardo_custom", "A x"] {
            let error = sequence(value, &["A", "b"]).unwrap_err();
            assert!(error.hint.unwrap().contains("bucardo_lowest"), "{value}: {}", error.message);
        }
        for value in ["lowest", "bucardo_highest"] {
            let error = stored(value, &["A", "b"], "for this sync").unwrap_err();
            assert!(error.message.contains("is one of sequences"), "{}", error.message);
        }
    }
}
