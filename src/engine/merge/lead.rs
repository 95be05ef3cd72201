//! Which of several sources a sequence follows: the words of versions 3 and 4 for sequences, and names of databases.
//!
//! A sequence has no history, so nothing is weighed: each merge looks where it stands and puts the others there. Only
//! what is said of the sequence itself counts, not the strategy of its sync, which speaks of rows.

use super::strategy::StrategyError;

/// What the words come to for one sync.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Lead {
    /// The one that is furthest along, in the direction of its increment.
    Furthest,
    /// The smallest value.
    Lowest,
    /// The largest value.
    Highest,
    /// The first of these places that takes part in the merge; when none does, everyone keeps what it has.
    Listed(Vec<u16>),
    /// Everyone keeps what it has.
    Skip,
}

/// The same as it stands in the catalog, not yet resolved among the databases of a sync.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Words {
    /// The sync's first source.
    First,
    /// The sync's last source.
    Last,
    /// One that names no source.
    Lead(Lead),
    /// Names of databases, the strongest first.
    Names(Vec<String>),
}

impl Words {
    /// Takes the text of the catalog apart. `None` for an empty one: the furthest counts.
    ///
    /// # Errors
    ///
    /// [`StrategyError::OfRows`] for a word that means nothing for a sequence.
    pub fn parse(text: &str) -> Result<Option<Self>, StrategyError> {
        let names: Vec<&str> =
            text.split(|c: char| c == ',' || c.is_whitespace()).filter(|it| !it.is_empty()).collect();
        let word = match names.as_slice() {
            [] => return Ok(None),
            [word] => word.strip_prefix("bucardo_").unwrap_or(word),
            _ => "",
        };
        Ok(Some(match word {
            "source" => Self::First,
            "target" => Self::Last,
            "skip" => Self::Lead(Lead::Skip),
            "lowest" => Self::Lead(Lead::Lowest),
            "highest" => Self::Lead(Lead::Highest),
            // What a catalog of version 5 may say, which never looked at it.
            "latest" | "latest_all_tables" | "latest_all" | "default" => Self::Lead(Lead::Furthest),
            "random" | "abort" => return Err(StrategyError::OfRows { word: word.to_owned() }),
            "custom" if names == ["bucardo_custom"] => return Err(StrategyError::OfRows { word: names[0].to_owned() }),
            _ => Self::Names(names.iter().map(|&name| name.to_owned()).collect()),
        }))
    }

    /// What they mean among `sources`, the sources of a sync in their order.
    ///
    /// # Errors
    ///
    /// [`StrategyError::Unknown`].
    pub fn among<S: AsRef<str>>(&self, sources: &[S]) -> Result<Lead, StrategyError> {
        let last = u16::try_from(sources.len().saturating_sub(1)).unwrap_or(u16::MAX);
        match self {
            Self::First => Ok(Lead::Listed(vec![0])),
            Self::Last => Ok(Lead::Listed(vec![last])),
            Self::Lead(lead) => Ok(lead.clone()),
            Self::Names(names) => super::strategy::places(names, sources).map(Lead::Listed),
        }
    }
}

/// What leads a sequence whose text in the catalog is this.
///
/// # Errors
///
/// [`StrategyError`].
pub fn resolve<S: AsRef<str>>(text: Option<&str>, sources: &[S]) -> Result<Lead, StrategyError> {
    match Words::parse(text.unwrap_or_default())? {
        None => Ok(Lead::Furthest),
        Some(words) => words.among(sources),
    }
}

/// Where a sequence stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct State {
    pub(super) value: i64,
    pub(super) is_called: bool,
    pub(super) step: i64,
}

impl State {
    fn order(self) -> (i128, bool) {
        (self.value.into(), self.is_called)
    }

    /// How far along it is.
    pub(super) fn rank(self) -> (i128, bool) {
        let value = i128::from(self.value);
        (if self.step < 0 { -value } else { value }, self.is_called)
    }
}

impl Lead {
    /// Where all are to be put; `states`: each source that takes part, by its place. `None`: everyone keeps what it has.
    pub(super) fn of(&self, states: &[(u16, State)]) -> Option<State> {
        let all = || states.iter().map(|(_, state)| *state);
        match self {
            // Of equals the first one: the ways in which sources count may differ.
            Self::Furthest => all().reduce(|one, other| if other.rank() > one.rank() { other } else { one }),
            Self::Lowest => all().reduce(|one, other| if other.order() < one.order() { other } else { one }),
            Self::Highest => all().reduce(|one, other| if other.order() > one.order() { other } else { one }),
            Self::Listed(places) => {
                let find = |place: &u16| states.iter().find(|(at, _)| at == place).map(|(_, state)| *state);
                places.iter().find_map(find)
            }
            Self::Skip => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCES: [&str; 3] = ["a", "b", "c"];

    fn led(text: &str, values: &[(u16, i64, bool)], step: i64) -> Option<(i64, bool)> {
        let states: Vec<(u16, State)> = values
            .iter()
            .map(|(place, value, is_called)| (*place, State { value: *value, is_called: *is_called, step }))
            .collect();
        resolve(Some(text), &SOURCES).unwrap().of(&states).map(|state| (state.value, state.is_called))
    }

    #[test]
    fn each_word_of_version_3_picks_its_source() {
        let values = [(0, 7, true), (1, 3, true), (2, 9, false)];
        for (text, expected) in [
            ("", Some((9, false))),
            ("bucardo_latest", Some((9, false))),
            ("source", Some((7, true))),
            ("bucardo_target", Some((9, false))),
            ("skip", None),
            ("lowest", Some((3, true))),
            ("bucardo_highest", Some((9, false))),
            ("b", Some((3, true))),
            ("c, a", Some((9, false))),
        ] {
            assert_eq!(led(text, &values, 1), expected, "{text:?}");
        }
        // A sequence that counts down is furthest along at its smallest value; lowest and highest are what they say.
        for (text, expected) in [("", 3), ("lowest", 3), ("highest", 9)] {
            assert_eq!(led(text, &values, -1).unwrap().0, expected, "{text:?}");
        }
        // The value that was given out is further than the same one that was not.
        assert_eq!(led("", &[(0, 5, false), (1, 5, true)], 1), Some((5, true)));
        assert_eq!(led("lowest", &[(0, 5, true), (1, 5, false)], 1), Some((5, false)));
    }

    #[test]
    fn a_source_that_is_away_leads_nobody_and_is_replaced_by_nobody() {
        let without_a = [(1, 3, true), (2, 9, true)];
        assert_eq!(led("source", &without_a, 1), None);
        assert_eq!(led("a b", &without_a, 1), Some((3, true)));
        assert_eq!(led("a", &without_a, 1), None);
        assert_eq!(led("highest", &without_a, 1), Some((9, true)));
    }

    #[test]
    fn what_speaks_of_rows_is_refused() {
        for word in ["random", "bucardo_abort"] {
            let error = resolve(Some(word), &SOURCES).unwrap_err();
            assert!(matches!(error, StrategyError::OfRows { .. }), "{word}: {error}");
        }
        assert!(matches!(resolve(Some("bucardo_custom"), &SOURCES), Err(StrategyError::OfRows { .. })));
        assert!(matches!(resolve(Some("a x"), &SOURCES), Err(StrategyError::Unknown { .. })));
    }
}
