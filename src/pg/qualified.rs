//! Names of relations as people write them: `schema.name`, `name`, or with the quotes of SQL.

use std::fmt;

use super::Sql;

/// A relation as somebody wrote it. Without double quotes the text is case-exact and split at its first dot; with them
/// it is read as SQL reads it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RelationName {
    /// The schema, if one was written.
    pub schema: Option<String>,
    /// The name.
    pub name: String,
}

impl RelationName {
    /// A relation with its schema. As text, no two of them read alike.
    #[must_use]
    pub fn of(schema: &str, name: &str) -> Self {
        Self { schema: Some(schema.to_owned()), name: name.to_owned() }
    }

    /// Reads a word.
    #[must_use]
    pub fn parse(word: &str) -> Self {
        if let Some(mut pieces) = quoted_pieces(word)
            && let Some(name) = pieces.pop()
        {
            return Self { schema: pieces.pop(), name };
        }
        match word.split_once('.') {
            Some((schema, name)) if !schema.is_empty() && !name.is_empty() => {
                Self { schema: Some(schema.to_owned()), name: name.to_owned() }
            }
            _ => Self { schema: None, name: word.to_owned() },
        }
    }
}

/// Without quotes where that reads back as the same name.
impl fmt::Display for RelationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = match &self.schema {
            Some(schema) => format!("{schema}.{}", self.name),
            None => self.name.clone(),
        };
        if Self::parse(&plain) == *self {
            return f.write_str(&plain);
        }
        match &self.schema {
            Some(schema) => Sql::qualified(schema, &self.name).fmt(f),
            None => Sql::ident(&self.name).fmt(f),
        }
    }
}

/// The pieces of a word that is SQL: `"My Schema"."t"`, `public."t"`; `None` where it has no quotes or is not that.
#[must_use]
pub fn quoted_pieces(word: &str) -> Option<Vec<String>> {
    if !word.contains('"') {
        return None;
    }
    let mut pieces = Vec::new();
    let mut rest = word;
    loop {
        let after = if let Some(inside) = rest.strip_prefix('"') {
            let mut piece = String::new();
            let mut letters = inside.char_indices().peekable();
            let end = loop {
                match letters.next()? {
                    (_, '"') if letters.peek().is_some_and(|(_, next)| *next == '"') => {
                        letters.next();
                        piece.push('"');
                    }
                    (at, '"') => break at,
                    (_, letter) => piece.push(letter),
                }
            };
            pieces.push(piece);
            &inside[end + 1..]
        } else {
            let end = rest.find('.').unwrap_or(rest.len());
            let piece = &rest[..end];
            if piece.contains('"') || piece.is_empty() {
                return None;
            }
            pieces.push(piece.to_owned());
            &rest[end..]
        };
        if after.is_empty() {
            break;
        }
        rest = after.strip_prefix('.')?;
    }
    (pieces.len() <= 2).then_some(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(schema: Option<&str>, name: &str) -> RelationName {
        RelationName { schema: schema.map(str::to_owned), name: name.to_owned() }
    }

    #[test]
    fn words_are_names_and_quoted_words_are_sql() {
        assert_eq!(RelationName::parse("orders"), name(None, "orders"));
        assert_eq!(RelationName::parse("Sales.Old Orders"), name(Some("Sales"), "Old Orders"));
        assert_eq!(RelationName::parse("\"a.b\".\"c\"\"d\""), name(Some("a.b"), "c\"d"));
        assert_eq!(RelationName::parse("\"a.b\""), name(None, "a.b"));
    }

    #[test]
    fn every_name_reads_back_as_it_was() {
        let odd = ["t", "T", "a.b", "a\"b", "\"", ".", "a b", "ü", "1", "a\".\"b", "-x", "a.", ".a"];
        for schema in odd {
            for table in odd {
                let name = name(Some(schema), table);
                assert_eq!(RelationName::parse(&name.to_string()), name, "{name}");
            }
        }
        assert_eq!(name(Some("public"), "t").to_string(), "public.t");
    }
}
