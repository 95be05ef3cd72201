//! `key=value` pairs and lists among the words of a command. Pure.

use std::collections::BTreeMap;

use crate::cli::error::CliError;

/// What a value must look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Anything.
    Text,
    /// True or false.
    Bool,
    /// Digits.
    Number,
    /// One of these.
    OneOf(&'static [&'static str]),
}

/// A key of `key=value` words: its name, its other names, and what it takes.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    name: &'static str,
    aliases: &'static [&'static str],
    kind: Kind,
}

impl Key {
    /// A key, for a `const` table.
    #[must_use]
    pub const fn new(name: &'static str, aliases: &'static [&'static str], kind: Kind) -> Self {
        Self { name, aliases, kind }
    }

    /// What may be typed for it: `key=`, and the values where there are few.
    #[must_use]
    pub fn completions(&self) -> Vec<String> {
        let values: &[&str] = match self.kind {
            Kind::Text | Kind::Number => &[],
            Kind::Bool => &["true", "false"],
            Kind::OneOf(choices) => choices,
        };
        let whole = values.iter().map(|value| format!("{}={value}", self.name));
        std::iter::once(format!("{}=", self.name)).chain(whole).collect()
    }
}

/// The words of a command, sorted: bare ones, and values by the name of their key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    /// Words that are no pairs.
    pub bare: Vec<String>,
    values: BTreeMap<&'static str, Vec<String>>,
}

impl Parsed {
    /// Sorts `words` by the table of keys; with a section of the manual to print when a key is unknown.
    ///
    /// # Errors
    ///
    /// `Unknown option 'k'`, or `Invalid value for 'k': …`.
    pub fn read(words: &[String], keys: &[Key], section: &str) -> Result<Self, CliError> {
        let mut parsed = Self::default();
        for word in words {
            let Some((name, value)) = pair(word) else {
                parsed.bare.push(word.clone());
                continue;
            };
            let Some(key) = keys.iter().find(|key| key.name == name || key.aliases.contains(&name.as_str())) else {
                let usage = CliError::usage(section);
                let known = keys.iter().flat_map(|key| std::iter::once(key.name).chain(key.aliases.iter().copied()));
                return Err(
                    CliError::refuse(format!("Unknown option '{name}'\n{}", usage.message)).suggest(&name, known)
                );
            };
            let value = checked(&name, value, key.kind)?;
            parsed.values.entry(key.name).or_default().push(value);
        }
        Ok(parsed)
    }

    /// The last value given for a key.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        self.values.get(name).and_then(|values| values.last()).map(String::as_str)
    }

    /// All values given for a key, split at commas.
    #[must_use]
    pub fn list(&self, name: &str) -> Vec<String> {
        self.values.get(name).map(|values| values.iter().flat_map(|value| commas(value)).collect()).unwrap_or_default()
    }

    /// The value of a yes-or-no key.
    #[must_use]
    pub fn flag(&self, name: &str) -> Option<bool> {
        self.value(name).map(|value| value == "true")
    }

    /// The keys that were given.
    pub fn keys(&self) -> impl Iterator<Item = &'static str> {
        self.values.keys().copied()
    }
}

/// `key=value`, with the key in lower case and any dash an underscore; quoted names are never pairs.
#[must_use]
pub fn pair(word: &str) -> Option<(String, &str)> {
    split_at(word, &['='])
}

/// `key=value` or `key:value`.
#[must_use]
pub fn pair_or_colon(word: &str) -> Option<(String, &str)> {
    split_at(word, &['=', ':'])
}

fn split_at<'a>(word: &'a str, separators: &[char]) -> Option<(String, &'a str)> {
    let (key, value) = word.split_once(separators)?;
    let starts = key.chars().next().is_some_and(|first| first.is_ascii_alphabetic());
    let sane = key.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-');
    (starts && sane).then(|| (key.to_lowercase().replace('-', "_"), value.trim()))
}

/// A comma list, without empty pieces.
#[must_use]
pub fn commas(list: &str) -> Vec<String> {
    list.split(',').map(str::trim).filter(|piece| !piece.is_empty()).map(str::to_owned).collect()
}

/// Bare words, each of which may be a comma list.
#[must_use]
pub fn flat(words: &[String]) -> Vec<String> {
    words.iter().flat_map(|word| commas(word)).collect()
}

/// Checks a value and writes it in its one form.
///
/// # Errors
///
/// `Invalid value for 'k': …`.
pub fn checked(key: &str, value: &str, kind: Kind) -> Result<String, CliError> {
    let invalid = |must: String| CliError::die(format!("Invalid value for '{key}': must be {must}"));
    match kind {
        Kind::Text => Ok(value.to_owned()),
        Kind::Bool => match boolean(value) {
            Some(true) => Ok("true".to_owned()),
            Some(false) => Ok("false".to_owned()),
            None => Err(invalid("true or false".to_owned())),
        },
        Kind::Number => {
            let digits = !value.is_empty() && value.len() <= 9 && value.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| value.to_owned()).ok_or_else(|| invalid("numeric".to_owned()))
        }
        Kind::OneOf(choices) => choices
            .iter()
            .find(|choice| choice.eq_ignore_ascii_case(value))
            .map(|choice| (*choice).to_owned())
            .ok_or_else(|| invalid(format!("one of {}", choices.join(", ")))),
    }
}

/// True or false, as operators write it.
#[must_use]
pub fn boolean(value: &str) -> Option<bool> {
    match value.to_lowercase().as_str() {
        "t" | "true" | "1" | "yes" | "y" | "on" => Some(true),
        "f" | "false" | "0" | "no" | "n" | "off" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn pairs_are_split_at_the_first_sign_and_names_are_left_alone() {
        assert_eq!(pair("DbName=a=b"), Some(("dbname".to_owned(), "a=b")));
        assert_eq!(pair("conflict-strategy=x"), Some(("conflict_strategy".to_owned(), "x")));
        assert_eq!(pair("public.\"a=b\""), None);
        assert_eq!(pair("\"a=b\""), None);
        assert_eq!(pair("A:source"), None);
        assert_eq!(pair_or_colon("A:source"), Some(("a".to_owned(), "source")));
    }

    const KEYS: [Key; 3] = [
        Key::new("dbname", &["db"], Kind::Text),
        Key::new("makedelta", &[], Kind::Bool),
        Key::new("onetimecopy", &[], Kind::OneOf(&["0", "1", "2"])),
    ];

    #[test]
    fn values_are_checked_against_the_table_of_keys() {
        let parsed = Parsed::read(&strings(&["A", "db=x,y", "makedelta=YES"]), &KEYS, "add db").unwrap();
        assert_eq!(parsed.bare, ["A"]);
        assert_eq!(parsed.list("dbname"), ["x", "y"]);
        assert_eq!(parsed.flag("makedelta"), Some(true));
        let refused = |word: &str| Parsed::read(&strings(&[word]), &KEYS, "add db").unwrap_err().message;
        assert_eq!(refused("makedelta=maybe"), "Invalid value for 'makedelta': must be true or false");
        assert_eq!(refused("onetimecopy=3"), "Invalid value for 'onetimecopy': must be one of 0, 1, 2");
        assert!(refused("colour=red").starts_with("Unknown option 'colour'"));
    }
}
