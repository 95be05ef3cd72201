//! SQL text: quoted by type, filled from templates.
//!
//! [`Sql`] is text that only quoting can make, so a name from the catalog cannot reach a statement raw.
//! [`SqlFile`] is a statement of `sql/` with `{holes}` that take only [`Sql`]; values are parameters.

use std::fmt;

/// A piece of SQL: a quoted name, a list of them, a literal, or text that the program itself wrote.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Sql(String);

impl Sql {
    /// A quoted identifier (manual, chapter "Lexical Structure").
    #[must_use]
    pub fn ident(name: &str) -> Self {
        Self(format!("\"{}\"", name.replace('"', "\"\"")))
    }

    /// `"schema"."name"`.
    #[must_use]
    pub fn qualified(schema: &str, name: &str) -> Self {
        Self(format!("{}.{}", Self::ident(schema), Self::ident(name)))
    }

    /// A string literal, for the few places that take no parameter (DDL, `NOTIFY`, function bodies).
    #[must_use]
    pub fn literal(value: &str) -> Self {
        let quoted = value.replace('\'', "''");
        if quoted.contains('\\') {
            Self(format!(" E'{}'", quoted.replace('\\', "\\\\")))
        } else {
            Self(format!("'{quoted}'"))
        }
    }

    /// Text that stands in the program, or that the server made (`format_type`, `pg_get_expr`).
    #[must_use]
    pub fn trusted(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// SQL that an operator wrote into the catalog to be used as it is: a select list, a condition.
    #[must_use]
    pub fn operators(clause: &str) -> Self {
        Self(clause.to_owned())
    }

    /// The pieces joined by `separator`.
    #[must_use]
    pub fn join(pieces: impl IntoIterator<Item = Self>, separator: &str) -> Self {
        let pieces: Vec<String> = pieces.into_iter().map(|piece| piece.0).collect();
        Self(pieces.join(separator))
    }

    /// A comma-separated list of quoted identifiers.
    #[must_use]
    pub fn idents<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        Self::join(names.into_iter().map(Self::ident), ", ")
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Sql {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One statement of `sql/`, compiled in.
#[derive(Clone, Copy, Debug)]
pub struct SqlFile(&'static str);

impl SqlFile {
    /// Wraps the text of a file: `SqlFile::new(include_str!("../../sql/…"))`.
    #[must_use]
    pub const fn new(text: &'static str) -> Self {
        Self(text)
    }

    /// The text of a file without holes.
    #[must_use]
    pub const fn text(&self) -> &'static str {
        self.0
    }

    /// The statement with every `{hole}` filled.
    ///
    /// A hole is a lower-case word in braces. A hole that is left open, or a filling that has no hole, is a
    /// fault of the program: it fails a debug build, and in a release build the server refuses the text.
    #[must_use]
    pub fn fill(&self, holes: &[(&str, &Sql)]) -> String {
        let mut out = String::with_capacity(self.0.len() + 256);
        let mut rest = without_header(self.0);
        let mut used = vec![false; holes.len()];
        while let Some(open) = rest.find('{') {
            let (before, after) = rest.split_at(open);
            out.push_str(before);
            let end = after.find('}').filter(|end| is_hole(&after[1..*end]));
            let Some(end) = end else {
                out.push('{');
                rest = &after[1..];
                continue;
            };
            let name = &after[1..end];
            match holes.iter().position(|(hole, _)| *hole == name) {
                Some(index) => {
                    used[index] = true;
                    out.push_str(holes[index].1.as_str());
                }
                None => {
                    debug_assert!(false, "hole {{{name}}} is left open");
                    out.push_str(&after[..=end]);
                }
            }
            rest = &after[end + 1..];
        }
        out.push_str(rest);
        debug_assert!(used.iter().all(|used| *used), "a filling has no hole: {holes:?}");
        out
    }
}

/// The text after the comment that opens the file: it names the holes, and must not be filled itself.
fn without_header(text: &str) -> &str {
    let mut rest = text;
    while rest.starts_with("--") {
        rest = rest.split_once('\n').map_or("", |(_, after)| after);
    }
    rest
}

fn is_hole(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_stay_names() {
        assert_eq!(Sql::ident("a\"b").as_str(), "\"a\"\"b\"");
        assert_eq!(Sql::qualified("My Schema", "t; DROP").as_str(), "\"My Schema\".\"t; DROP\"");
        assert_eq!(Sql::idents(["a", "B"]).as_str(), "\"a\", \"B\"");
    }

    #[test]
    fn literals_survive_quotes_and_backslashes() {
        assert_eq!(Sql::literal("it's").as_str(), "'it''s'");
        assert_eq!(Sql::literal("a\\b'").as_str(), " E'a\\\\b'''");
    }

    #[test]
    fn holes_are_filled_once_and_fillings_are_not_scanned_again() {
        let file = SqlFile::new("SELECT {a} FROM {b} WHERE x = '{}'");
        let filled = file.fill(&[("a", &Sql::ident("{b}")), ("b", &Sql::ident("t"))]);
        assert_eq!(filled, "SELECT \"{b}\" FROM \"t\" WHERE x = '{}'");
    }

    #[test]
    fn the_opening_comment_is_not_filled() {
        let file = SqlFile::new("-- Reads.\n--   {table}\nSELECT 1 FROM {table}");
        assert_eq!(file.fill(&[("table", &Sql::trusted("a\nb"))]), "SELECT 1 FROM a\nb");
    }

    #[test]
    #[should_panic(expected = "left open")]
    fn an_open_hole_is_a_fault() {
        let _ = SqlFile::new("SELECT {a}").fill(&[]);
    }
}
