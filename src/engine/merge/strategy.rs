//! Conflict strategies: the words of the catalog, and what they mean among the sources of a sync.

use std::str::FromStr;

/// Which of several rivals wins. What the words of the catalog come to for one sync.
///
/// Every tie goes to the source that comes first in the sync's order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Strategy {
    /// The first source, in the sync's order, that is a rival.
    First,
    /// The last one.
    Last,
    /// The first of these places that is a rival. When none is: a single one, as long as it takes part in the merge,
    /// nevertheless; of several the first source that is one.
    Listed(Vec<u16>),
    /// Everyone keeps the row that it has.
    Skip,
    /// Any rival; always the same one for the same key and versions.
    Random,
    /// The newest change of the row.
    Latest,
    /// The database whose newest change, over all tables, is the newest; among others the newest change of the row.
    LatestAllTables,
    /// Nobody: the merge stops.
    Abort,
    /// Nobody: custom code should have decided, and the merge stops.
    Custom,
}

/// A conflict strategy as it stands in the catalog, not yet resolved among the databases of a sync.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Words {
    /// One of the words.
    Word(Strategy),
    /// Names of databases, the strongest first.
    Names(Vec<String>),
}

/// Why a conflict strategy cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum StrategyError {
    /// A word that means something for rows only.
    #[error("conflict strategy \"{word}\" means nothing for a sequence")]
    OfRows {
        /// The word.
        word: String,
    },
    /// A word that means something for sequences only.
    #[error("conflict strategy \"{word}\" is one of sequences: a row is neither lower nor higher than another")]
    OfSequences {
        /// The word.
        word: String,
    },
    /// A list with a name that is no source.
    #[error(
        "conflict strategy \"{words}\" should be a known word or a list of databases, but \"{name}\" is not a source \
         of this sync"
    )]
    Unknown {
        /// The whole text.
        words: String,
        /// The name.
        name: String,
    },
}

impl Words {
    /// Takes the text of the catalog apart. `None` for an empty one: what stands above it decides.
    ///
    /// # Errors
    ///
    /// [`StrategyError::OfSequences`].
    pub fn parse(text: &str) -> Result<Option<Self>, StrategyError> {
        let names: Vec<&str> =
            text.split(|c: char| c == ',' || c.is_whitespace()).filter(|it| !it.is_empty()).collect();
        let word = match names.as_slice() {
            [] => return Ok(None),
            [word] => word.strip_prefix("bucardo_").unwrap_or(word),
            _ => return Ok(Some(Self::names(&names))),
        };
        Ok(Some(Self::Word(match word {
            "source" => Strategy::First,
            "target" => Strategy::Last,
            "skip" => Strategy::Skip,
            "random" => Strategy::Random,
            "latest" | "default" => Strategy::Latest,
            "latest_all_tables" | "latest_all" => Strategy::LatestAllTables,
            "abort" => Strategy::Abort,
            "custom" if names == ["bucardo_custom"] => Strategy::Custom,
            "lowest" | "highest" => return Err(StrategyError::OfSequences { word: word.to_owned() }),
            _ => return Ok(Some(Self::names(&names))),
        })))
    }

    fn names(names: &[&str]) -> Self {
        Self::Names(names.iter().map(|&name| name.to_owned()).collect())
    }

    /// What they mean among `sources`, the sources of a sync in their order.
    ///
    /// # Errors
    ///
    /// [`StrategyError::Unknown`].
    pub fn among<S: AsRef<str>>(&self, sources: &[S]) -> Result<Strategy, StrategyError> {
        match self {
            Self::Word(strategy) => Ok(strategy.clone()),
            Self::Names(names) => places(names, sources).map(Strategy::Listed),
        }
    }
}

/// The places of these names among `sources`.
pub(super) fn places<S: AsRef<str>>(names: &[String], sources: &[S]) -> Result<Vec<u16>, StrategyError> {
    let place = |name: &String| {
        let found = (0u16..).zip(sources).find(|(_, source)| source.as_ref() == name);
        found
            .map(|(place, _)| place)
            .ok_or_else(|| StrategyError::Unknown { words: names.join(" "), name: name.clone() })
    };
    names.iter().map(place).collect()
}

impl FromStr for Words {
    type Err = StrategyError;

    /// As [`Words::parse`]; an empty text is `bucardo_latest`.
    fn from_str(text: &str) -> Result<Self, StrategyError> {
        Ok(Self::parse(text)?.unwrap_or(Self::Word(Strategy::Latest)))
    }
}

/// The strategy of a table: its own, else that of its sync, else the default.
///
/// # Errors
///
/// [`StrategyError`] of the text that counts.
pub fn resolve<S: AsRef<str>>(
    goat: Option<&str>,
    sync: &str,
    default: &str,
    sources: &[S],
) -> Result<Strategy, StrategyError> {
    for text in [goat.unwrap_or_default(), sync] {
        if let Some(words) = Words::parse(text)? {
            return words.among(sources);
        }
    }
    default.parse::<Words>()?.among(sources)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCES: [&str; 3] = ["a", "b", "c"];

    fn strategy(text: &str) -> Result<Strategy, StrategyError> {
        resolve(None, text, "", &SOURCES)
    }

    #[test]
    fn every_word_of_every_version_is_known() {
        for (word, means) in [
            ("source", Strategy::First),
            ("target", Strategy::Last),
            ("skip", Strategy::Skip),
            ("random", Strategy::Random),
            ("latest", Strategy::Latest),
            ("latest_all_tables", Strategy::LatestAllTables),
            ("abort", Strategy::Abort),
        ] {
            assert_eq!(strategy(word), Ok(means.clone()));
            assert_eq!(strategy(&format!(" bucardo_{word} ")), Ok(means));
        }
        assert_eq!(strategy("default"), Ok(Strategy::Latest));
        assert_eq!(strategy("bucardo_custom"), Ok(Strategy::Custom));
        assert!(strategy("custom").is_err(), "a database may be called so");
    }

    #[test]
    fn a_list_of_names_becomes_places() {
        assert_eq!(strategy("c a"), Ok(Strategy::Listed(vec![2, 0])));
        assert_eq!(strategy("b, c,a"), Ok(Strategy::Listed(vec![1, 2, 0])));
        assert_eq!(strategy("b"), Ok(Strategy::Listed(vec![1])));
        let error = strategy("a, x").unwrap_err();
        assert!(error.to_string().contains("\"x\" is not a source"), "{error}");
    }

    #[test]
    fn the_table_counts_before_the_sync_and_the_sync_before_the_default() {
        let resolved = |goat, sync, default| resolve(goat, sync, default, &SOURCES).unwrap();
        assert_eq!(resolved(Some("skip"), "random", "abort"), Strategy::Skip);
        assert_eq!(resolved(Some(""), "random", "abort"), Strategy::Random);
        assert_eq!(resolved(None, "", "bucardo_abort"), Strategy::Abort);
        assert_eq!(resolved(None, "", ""), Strategy::Latest);
    }
}
