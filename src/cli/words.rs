//! The words of a command: spellings of verbs and nouns, names, wildcards. Pure.

mod pairs;

pub use pairs::{Key, Kind, Parsed, boolean, checked, commas, flat, pair, pair_or_colon};

/// Verbs and their other spellings.
const VERBS: [(&str, &[&str]); 37] = [
    ("install", &[]),
    ("uninstall", &[]),
    ("upgrade", &["uprgade", "ugprade"]),
    ("adopt", &[]),
    ("export", &[]),
    ("plan", &[]),
    ("apply", &[]),
    ("clone", &[]),
    ("start", &["strt"]),
    ("stop", &[]),
    ("restart", &[]),
    ("ping", &[]),
    ("status", &[]),
    ("reload", &[]),
    ("reopen", &[]),
    ("message", &["msg"]),
    ("list", &["l", "lsit", "liast", "lisy", "lit"]),
    ("add", &[]),
    ("remove", &["delete", "del"]),
    ("update", &["upd", "udpate", "alter"]),
    ("set", &[]),
    ("show", &[]),
    ("config", &[]),
    ("validate", &[]),
    ("test", &[]),
    ("inspect", &[]),
    ("doctor", &[]),
    ("kick", &[]),
    ("delta", &["deltas"]),
    ("purge", &[]),
    ("retry", &[]),
    ("activate", &[]),
    ("deactivate", &[]),
    ("pause", &[]),
    ("resume", &[]),
    ("completion", &[]),
    ("help", &[]),
];

/// The verb that a word means, with the rest of a `verb_noun` word; the word itself where it is unknown.
#[must_use]
pub fn verb(word: &str) -> (String, Option<String>) {
    let word = word.to_lowercase();
    if let Some(verb) = known_verb(&word) {
        return (verb.to_owned(), None);
    }
    match word.split_once('_').filter(|(first, _)| !first.is_empty()) {
        Some((first, noun)) if !noun.is_empty() => {
            (known_verb(first).map_or_else(|| first.to_owned(), str::to_owned), Some(noun.to_owned()))
        }
        _ => (word, None),
    }
}

fn known_verb(word: &str) -> Option<&'static str> {
    if word.contains("instal") {
        return Some(if word.starts_with("uninstal") { "uninstall" } else { "install" });
    }
    if word.starts_with("vali") {
        return Some("validate");
    }
    if word.starts_with("upgr") {
        return Some("upgrade");
    }
    VERBS.iter().find(|(verb, others)| *verb == word || others.contains(&word)).map(|(verb, _)| *verb)
}

/// The verbs, in their one spelling.
pub fn verbs() -> impl Iterator<Item = &'static str> {
    VERBS.iter().map(|(verb, _)| *verb)
}

/// The nouns, in their one spelling.
pub const NOUNS: [&str; 16] = [
    "db",
    "dbgroup",
    "table",
    "sequence",
    "relgroup",
    "sync",
    "customcode",
    "customname",
    "customcols",
    "customselect",
    "conflict",
    "deadletters",
    "config",
    "orphans",
    "clones",
    "all",
];

/// What a command is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noun {
    /// `db`.
    Database,
    /// `dbgroup`.
    Dbgroup,
    /// `relgroup`, `herd`.
    Relgroup,
    /// `table`.
    Table,
    /// `sequence`.
    Sequence,
    /// `sync`.
    Sync,
    /// `all`.
    All,
    /// `config`.
    Config,
    /// `conflict`: decided conflicts of rows.
    Conflict,
    /// `deadletters`: keys whose rows a target refused.
    Deadletter,
    /// `clones`: copies that were asked for.
    Clone,
    /// `orphans`: what is left in databases of syncs that are gone.
    Orphan,
    /// `customcode`.
    Customcode,
    /// `customname`.
    Customname,
    /// `customcols`.
    Customcols,
    /// `customselect`.
    Customselect,
    /// `goat`: refused, with advice.
    Goat,
}

impl Noun {
    /// The noun that a word means.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        let word = word.to_lowercase();
        let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| word.starts_with(prefix));
        if starts(&["dbg"]) || (word.starts_with('d') && word.contains("group")) {
            Some(Self::Dbgroup)
        } else if starts(&["db", "database"]) {
            Some(Self::Database)
        } else if starts(&["relgr", "herd"]) {
            Some(Self::Relgroup)
        } else if starts(&["sync", "sinc", "synk"]) {
            Some(Self::Sync)
        } else if starts(&["tab", "tbale"]) {
            Some(Self::Table)
        } else if starts(&["seq"]) {
            Some(Self::Sequence)
        } else if word == "all" {
            Some(Self::All)
        } else if starts(&["config"]) {
            Some(Self::Config)
        } else if starts(&["confl"]) {
            Some(Self::Conflict)
        } else if starts(&["dead", "letter"]) {
            Some(Self::Deadletter)
        } else if starts(&["orphan"]) {
            Some(Self::Orphan)
        } else if starts(&["clon"]) {
            Some(Self::Clone)
        } else if starts(&["code", "ccode", "customcode", "custom_code"]) {
            Some(Self::Customcode)
        } else if starts(&["cname", "customname"]) {
            Some(Self::Customname)
        } else if starts(&["ccol", "customcol"]) {
            Some(Self::Customcols)
        } else if starts(&["csel", "customsel"]) {
            Some(Self::Customselect)
        } else if starts(&["goat"]) {
            Some(Self::Goat)
        } else {
            None
        }
    }
}

/// The kind of server that a word means (`type=`); `None` where it is unknown.
#[must_use]
pub fn database_kind(word: &str) -> Option<&'static str> {
    let word = word.to_lowercase();
    let prefixes = [
        ("pg", "postgres"),
        ("postgres", "postgres"),
        ("drizle", "drizzle"),
        ("drizzle", "drizzle"),
        ("firebird", "firebird"),
        ("mongo", "mongo"),
        ("mysql", "mysql"),
        ("maria", "mariadb"),
        ("oracle", "oracle"),
        ("redis", "redis"),
        ("sqlite", "sqlite"),
        ("sqllite", "sqlite"),
        ("flatpg", "flatpg"),
        ("flatpostgres", "flatpg"),
        ("flatsql", "flatsql"),
        ("flatfile", "flatpg"),
    ];
    prefixes.iter().find(|(prefix, _)| word.starts_with(prefix)).map(|(_, kind)| *kind)
}

/// Whether a name is one that the catalog takes for databases, groups and syncs: `^[A-Za-z]\w*$`.
#[must_use]
pub fn sane_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The name that a mistyped word probably means: the one with the fewest typing errors, if these are few for its length.
#[must_use]
pub fn closest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let errors_max = (word.chars().count() / 3).clamp(1, 3);
    let errors = |name: &'a str| (strsim::osa_distance(&word, &name.to_lowercase()), name);
    let best = names.into_iter().map(errors).min_by_key(|(errors, _)| *errors)?;
    // A name of one or two letters is like nearly every other.
    (best.0 <= errors_max && word.chars().count() > 2).then_some(best.1)
}

/// Whether a word has wildcards.
#[must_use]
pub fn is_wild(word: &str) -> bool {
    word.contains(['*', '%'])
}

/// Whether `name` fits `pattern`, in which `*` and `%` stand for any text.
#[must_use]
pub fn matches(pattern: &str, name: &str) -> bool {
    let mut pieces = pattern.split(['*', '%']);
    let Some(first) = pieces.next() else { return pattern == name };
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let pieces: Vec<&str> = pieces.collect();
    let Some((last, middle)) = pieces.split_last() else { return rest.is_empty() };
    for piece in middle {
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_have_spellings_and_may_carry_their_noun() {
        let expected = [
            ("LIST", "list", None),
            ("lsit", "list", None),
            ("del", "remove", None),
            ("udpate", "update", None),
            ("add_sync", "add", Some("sync")),
            ("reload_config", "reload", Some("config")),
            ("installation", "install", None),
            ("uninstall", "uninstall", None),
            ("vali", "validate", None),
            ("upgr", "upgrade", None),
            ("uprgade", "upgrade", None),
            ("frobnicate", "frobnicate", None),
        ];
        for (word, name, noun) in expected {
            assert_eq!(verb(word), (name.to_owned(), noun.map(str::to_owned)), "{word}");
        }
    }

    #[test]
    fn nouns_have_spellings() {
        let expected = [
            ("dbs", Noun::Database),
            ("Database", Noun::Database),
            ("dbg", Noun::Dbgroup),
            ("databasegroup", Noun::Dbgroup),
            ("dgroup", Noun::Dbgroup),
            ("herds", Noun::Relgroup),
            ("RELGROUP", Noun::Relgroup),
            ("tbale", Noun::Table),
            ("tables", Noun::Table),
            ("sinc", Noun::Sync),
            ("seqs", Noun::Sequence),
            ("all", Noun::All),
            ("goats", Noun::Goat),
            ("conflicts", Noun::Conflict),
            ("config", Noun::Config),
            ("codes", Noun::Customcode),
            ("custom_codes", Noun::Customcode),
            ("cnames", Noun::Customname),
            ("customcolumns", Noun::Customcols),
            ("customselects", Noun::Customselect),
        ];
        for (word, noun) in expected {
            assert_eq!(Noun::of(word), Some(noun), "{word}");
        }
        assert_eq!(Noun::of("cat"), None);
    }

    #[test]
    fn what_was_meant_is_found_among_names() {
        let names = ["orders", "order_lines", "customers", "ab"];
        for (word, expected) in [
            ("ordesr", Some("orders")),
            ("Ordes", Some("orders")),
            ("orderlines", Some("order_lines")),
            ("custoner", Some("customers")),
            ("xyz", None),
            ("ac", None),
            ("", None),
        ] {
            assert_eq!(closest(word, names), expected, "{word}");
        }
        assert_eq!(closest("lust", verbs()), Some("list"));
    }

    #[test]
    fn every_noun_means_itself() {
        assert!(NOUNS.iter().all(|noun| Noun::of(noun).is_some()));
    }

    #[test]
    fn wildcards_stand_for_any_text() {
        for (pattern, name, fits) in [
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("a%c", "abbc", true),
            ("*", "", true),
            ("a*b*c", "a-b-c", true),
            ("a*b*c", "acb", false),
            ("ab*b", "ab", false),
            ("abc", "abc", true),
            ("abc", "abcd", false),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
    }

    #[test]
    fn names_are_simple_identifiers() {
        assert!(sane_name("A_1"));
        for name in ["", "1a", "_a", "a-b", "ä", "a b"] {
            assert!(!sane_name(name), "{name}");
        }
    }
}
