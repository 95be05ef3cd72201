//! Options of syncs and tables that are more than a flag or a number.

/// What a goat's `makedelta` says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum MakeDelta {
    /// In every database, or in none.
    Everywhere(bool),
    /// In these databases.
    In(Vec<String>),
}

impl MakeDelta {
    /// Reads the column: a boolean word, or names of databases with blanks or commas between them; empty says nothing.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let names: Vec<String> = text.split([',', ' ']).filter(|name| !name.is_empty()).map(str::to_owned).collect();
        match names.as_slice() {
            [] => None,
            [word] if matches!(word.to_lowercase().as_str(), "on" | "true" | "t" | "yes" | "y" | "1") => {
                Some(Self::Everywhere(true))
            }
            [word] if matches!(word.to_lowercase().as_str(), "off" | "false" | "f" | "no" | "n" | "0") => {
                Some(Self::Everywhere(false))
            }
            _ => Some(Self::In(names)),
        }
    }
}

/// A lock that a round takes on its tables (manual, section "Table-Level Locks").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LockMode {
    /// Reads go on; shut out are `ALTER`, `DROP`, `TRUNCATE`.
    AccessShare,
    /// As `SELECT … FOR UPDATE`.
    RowShare,
    /// As writers.
    RowExclusive,
    /// One `VACUUM` or `ANALYZE` at a time.
    ShareUpdateExclusive,
    /// No writers.
    Share,
    /// No writers, and one of a kind.
    ShareRowExclusive,
    /// Only readers beside it.
    Exclusive,
    /// Nobody beside it.
    AccessExclusive,
}

impl LockMode {
    /// The mode of these words, in any case.
    #[must_use]
    pub fn parse(words: &str) -> Option<Self> {
        Some(match words.to_uppercase().as_str() {
            "ACCESS SHARE" => Self::AccessShare,
            "ROW SHARE" => Self::RowShare,
            "ROW EXCLUSIVE" => Self::RowExclusive,
            "SHARE UPDATE EXCLUSIVE" => Self::ShareUpdateExclusive,
            "SHARE" => Self::Share,
            "SHARE ROW EXCLUSIVE" => Self::ShareRowExclusive,
            "EXCLUSIVE" => Self::Exclusive,
            "ACCESS EXCLUSIVE" => Self::AccessExclusive,
            _ => return None,
        })
    }

    /// As SQL says it.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::AccessShare => "ACCESS SHARE",
            Self::RowShare => "ROW SHARE",
            Self::RowExclusive => "ROW EXCLUSIVE",
            Self::ShareUpdateExclusive => "SHARE UPDATE EXCLUSIVE",
            Self::Share => "SHARE",
            Self::ShareRowExclusive => "SHARE ROW EXCLUSIVE",
            Self::Exclusive => "EXCLUSIVE",
            Self::AccessExclusive => "ACCESS EXCLUSIVE",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makedelta_is_a_flag_or_names_of_databases() {
        assert_eq!(MakeDelta::parse("  "), None);
        assert_eq!(MakeDelta::parse("On"), Some(MakeDelta::Everywhere(true)));
        assert_eq!(MakeDelta::parse("off"), Some(MakeDelta::Everywhere(false)));
        assert_eq!(MakeDelta::parse("B, C"), Some(MakeDelta::In(vec!["B".to_owned(), "C".to_owned()])));
    }

    #[test]
    fn a_lock_has_the_words_that_it_is_read_from() {
        assert_eq!(LockMode::parse("share row exclusive").map(LockMode::words), Some("SHARE ROW EXCLUSIVE"));
        assert_eq!(LockMode::parse("EXCLUSIVE; DROP TABLE x"), None);
    }
}
