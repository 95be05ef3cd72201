//! The manual: one text, cut into sections by verb and noun.

use super::words::{self, Noun};

const MANUAL: &str = include_str!("manual.txt");

/// The section for a topic (`add db`, `kick`, …); the overview where there is none.
#[must_use]
pub fn section(topic: &str) -> &'static str {
    find(topic).or_else(|| find("overview")).unwrap_or(MANUAL)
}

/// The section for the words after `help`, in any of their spellings.
#[must_use]
pub(super) fn lookup(words: &[String]) -> Option<&'static str> {
    let Some(first) = words.first() else { return find("overview") };
    let (verb, joined) = words::verb(first);
    let noun = joined.as_deref().or_else(|| words.get(1).map(String::as_str));
    let topic = noun.and_then(Noun::of).and_then(noun_word).map(|noun| format!("{verb} {noun}"));
    let whole = words.join(" ").to_lowercase();
    topic.and_then(|topic| find(&topic)).or_else(|| find(&verb)).or_else(|| find(&whole))
}

/// All sections: their topics, and their text.
pub(super) fn sections() -> impl Iterator<Item = (&'static str, &'static str)> {
    MANUAL
        .split("\n== ")
        .skip(1)
        .filter_map(|section| section.split_once('\n'))
        .map(|(topics, text)| (topics, text.trim()))
}

fn noun_word(noun: Noun) -> Option<&'static str> {
    match noun {
        Noun::Database => Some("db"),
        Noun::Dbgroup => Some("dbgroup"),
        Noun::Relgroup => Some("relgroup"),
        Noun::Table => Some("table"),
        Noun::Sequence => Some("sequence"),
        Noun::Sync => Some("sync"),
        Noun::All => Some("all"),
        Noun::Config => Some("config"),
        Noun::Conflict => Some("conflict"),
        Noun::Deadletter => Some("deadletters"),
        Noun::Orphan => Some("orphans"),
        Noun::Clone => Some("clones"),
        Noun::Customcode => Some("customcode"),
        Noun::Customname => Some("customname"),
        Noun::Customcols => Some("customcols"),
        Noun::Customselect => Some("customselect"),
        Noun::Goat => None,
    }
}

/// Sections begin with a line `== topic, other topic`.
fn find(topic: &str) -> Option<&'static str> {
    let mut sections = sections();
    sections.find_map(|(topics, text)| topics.split(", ").any(|name| name == topic).then_some(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_found_by_any_spelling() {
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(lookup(&words("add database")), find("add db"));
        assert_eq!(lookup(&words("add_sync")), find("add sync"));
        assert!(lookup(&words("kick")).is_some());
        assert!(lookup(&words("add")).is_some());
        assert_eq!(lookup(&words("frobnicate")), None);
        assert!(lookup(&[]).is_some());
    }

    #[test]
    fn every_command_has_an_example() {
        let exempt = ["overview", "sql", "exit codes", "help", "bucardo_ctl"];
        for (topics, text) in sections().filter(|(topics, _)| !exempt.contains(topics)) {
            assert!(text.contains("Example"), "{topics}");
        }
    }

    #[test]
    fn every_noun_of_every_catalog_verb_has_a_section() {
        for verb in ["add", "list", "remove", "update"] {
            for noun in ["db", "dbgroup", "relgroup", "sync", "table", "sequence"] {
                assert!(find(&format!("{verb} {noun}")).is_some(), "{verb} {noun}");
            }
        }
        for verb in words::verbs() {
            assert!(find(verb).is_some(), "{verb}");
        }
        for verb in ["add", "list", "remove", "update"] {
            assert!(find(&format!("{verb} customcode")).is_some(), "{verb} customcode");
        }
        assert!(find("list conflict").is_some());
        for verb in ["add", "list", "remove"] {
            for noun in ["customname", "customcols", "customselect"] {
                assert!(find(&format!("{verb} {noun}")).is_some(), "{verb} {noun}");
            }
        }
    }
}
