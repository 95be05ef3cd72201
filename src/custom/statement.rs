//! What can be said of a statement by its words alone. The server has the last word; this gives better messages.

use std::collections::BTreeMap;

use super::{Refused, Statement};

/// A piece of a statement that is neither blank nor comment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// A key word or an unquoted name.
    Word(&'a str),
    /// `$1`
    Number(usize),
    /// `:name`
    Name(&'a str),
    /// One character of anything else: a parenthesis, an operator, a semicolon.
    Sign(char),
    /// A literal or a quoted name, whole.
    Quoted,
}

/// A statement has so many pieces at most: each takes memory of ours.
const PIECES_MAX: usize = 500_000;

/// The pieces of a statement, with the bytes where they stand; of one that has too many, one more than these.
pub(super) fn pieces(sql: &str) -> Vec<(Piece<'_>, std::ops::Range<usize>)> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(first) = sql[at..].chars().next().filter(|_| found.len() <= PIECES_MAX) {
        let rest = &sql[at..];
        let (piece, length) = match first {
            _ if first.is_whitespace() => (None, first.len_utf8()),
            '-' if rest.starts_with("--") => (None, rest.find('\n').unwrap_or(rest.len())),
            '/' if rest.starts_with("/*") => (None, comment(rest)),
            '\'' | '"' => (Some(Piece::Quoted), quoted(rest, first, false)),
            'e' | 'E' if rest[1..].starts_with('\'') => (Some(Piece::Quoted), 1 + quoted(&rest[1..], '\'', true)),
            '$' => dollar(rest),
            ':' if rest.starts_with("::") => (Some(Piece::Sign(':')), 2),
            ':' => match word(&rest[1..]) {
                "" => (Some(Piece::Sign(':')), 1),
                name if name.starts_with(|first: char| first.is_ascii_digit()) => (Some(Piece::Sign(':')), 1),
                name => (Some(Piece::Name(name)), 1 + name.len()),
            },
            _ => match word(rest) {
                "" => (Some(Piece::Sign(first)), first.len_utf8()),
                word => (Some(Piece::Word(word)), word.len()),
            },
        };
        if let Some(piece) = piece {
            found.push((piece, at..at + length));
        }
        at += length;
    }
    found
}

/// The letters, digits, `_` and `$` at the start.
fn word(text: &str) -> &str {
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == '$';
    if text.starts_with('$') {
        return "";
    }
    &text[..text.find(|letter| !is_part(letter)).unwrap_or(text.len())]
}

/// Comments of SQL may hold others.
fn comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        match &text.as_bytes()[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// Where a text that begins with a quote ends.
pub(super) fn quoted(text: &str, quote: char, has_escapes: bool) -> usize {
    let mut letters = text.char_indices().skip(1).peekable();
    while let Some((at, letter)) = letters.next() {
        if letter == '\\' && has_escapes {
            letters.next();
        } else if letter == quote {
            if letters.peek().is_none_or(|(_, next)| *next != quote) {
                return at + 1;
            }
            letters.next();
        }
    }
    text.len()
}

/// A number of a value, or a text between dollars.
fn dollar(text: &str) -> (Option<Piece<'_>>, usize) {
    let digits = text[1..].find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len() - 1);
    if digits > 0 {
        return (text[1..=digits].parse().ok().map(Piece::Number), digits + 1);
    }
    let tag = text[1..].find('$').map(|end| &text[..end + 2]);
    match tag.filter(|tag| tag[1..tag.len() - 1].chars().all(|letter| letter.is_alphanumeric() || letter == '_')) {
        Some(tag) => {
            let end = text[tag.len()..].find(tag).map_or(text.len(), |end| end + 2 * tag.len());
            (Some(Piece::Quoted), end)
        }
        None => (Some(Piece::Sign('$')), 1),
    }
}

/// What a statement is, as far as that decides where it may be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    /// Reads or changes rows.
    Rows,
    /// What else may be run where a code is not inside a round's transactions.
    Session,
    /// `COMMIT`, or `ROLLBACK` of all.
    Ends,
    /// Savepoints.
    Savepoint,
}

const ROWS: [&str; 7] = ["SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "VALUES", "TABLE"];

/// The pieces of a statement, where it has not too many.
fn some_pieces(sql: &str) -> Result<Vec<(Piece<'_>, std::ops::Range<usize>)>, Refused> {
    let found = pieces(sql);
    if found.len() > PIECES_MAX {
        let message =
            format!("the statement has more than {PIECES_MAX} words and signs: run several, or hand values over");
        return Err(Refused { message, ..Refused::default() });
    }
    Ok(found)
}

/// Whether a statement may be run, and as what. `is_strict`: inside the transactions of a round.
///
/// # Errors
///
/// [`Refused`] names what is not allowed.
pub(super) fn sort(sql: &str, is_strict: bool) -> Result<Sort, Refused> {
    let found = some_pieces(sql)?;
    let refused = |message: String| Err(Refused { message, ..Refused::default() });
    let upper: Vec<String> = found
        .iter()
        .filter(|(piece, _)| *piece != Piece::Sign('('))
        .map_while(|(piece, _)| if let Piece::Word(word) = piece { Some(word.to_uppercase()) } else { None })
        .take(4)
        .collect();
    let words: Vec<&str> = upper.iter().map(String::as_str).collect();
    let sort = match words.as_slice() {
        [] => return refused("there is no statement to run".to_owned()),
        [first, ..] if ROWS.contains(first) => Sort::Rows,
        ["WITH", ..] => Sort::Rows,
        ["ROLLBACK", "TO", ..] | ["ROLLBACK", _, "TO", ..] | ["SAVEPOINT" | "RELEASE", ..] => Sort::Savepoint,
        ["COMMIT" | "ROLLBACK"] | ["COMMIT" | "ROLLBACK", "WORK" | "TRANSACTION"] => Sort::Ends,
        ["SET" | "RESET" | "NOTIFY" | "SHOW", ..]
        | ["CREATE", "TEMP" | "TEMPORARY", "TABLE", ..]
        | ["CREATE", "INDEX", ..]
        | ["CREATE", "UNIQUE", "INDEX", ..] => Sort::Session,
        [first, ..] => return refused(format!("custom code may not run {first}")),
    };
    if is_strict && sort != Sort::Rows {
        return refused(format!("custom code may not run {} inside a round's transaction", words[0]));
    }
    if is_strict && let Some(what) = sets(sql, &found) {
        return refused(format!(
            "custom code may not use {what} inside a round's transaction: settings are those of the round"
        ));
    }
    let is_word = |at: usize, words: &[&str]| matches!(found.get(at), Some((Piece::Word(word), _)) if words.iter().any(|it| it.eq_ignore_ascii_case(word)));
    // Makes a table.
    if (1..found.len()).any(|at| is_word(at, &["into"]) && !is_word(at - 1, &["insert", "merge", "as"])) {
        return refused("custom code may not run SELECT INTO".to_owned());
    }
    let mut after = found.iter().skip_while(|(piece, _)| *piece != Piece::Sign(';'));
    if after.any(|(piece, _)| *piece != Piece::Sign(';')) {
        return refused("it is more than one statement".to_owned());
    }
    Ok(sort)
}

/// What of a statement may change settings of the session, or hides the names that it uses.
fn sets(sql: &str, found: &[(Piece<'_>, std::ops::Range<usize>)]) -> Option<&'static str> {
    let names = |it: &str| {
        found.iter().any(|(piece, place)| match piece {
            Piece::Word(word) => word.eq_ignore_ascii_case(it),
            Piece::Quoted => sql[place.clone()].strip_prefix('"').and_then(|name| name.strip_suffix('"')) == Some(it),
            _ => false,
        })
    };
    let is_escaped = |pair: &[(Piece<'_>, std::ops::Range<usize>)]| {
        let [(_, first), (_, second)] = pair else { return false };
        let before = sql[..first.start].chars().next_back();
        first.end == second.start
            && sql[second.clone()].starts_with('"')
            && sql[first.clone()] == *"&"
            && matches!(before, Some('u' | 'U'))
    };
    if names("set_config") {
        Some("set_config")
    } else if names("update") && names("pg_settings") {
        Some("UPDATE of pg_settings")
    } else if found.windows(2).any(is_escaped) {
        Some("names written as U&\"...\"")
    } else {
        None
    }
}

/// Whether a statement commits what was done.
#[must_use]
pub fn commits(sql: &str) -> bool {
    matches!(pieces(sql).first(), Some((Piece::Word(word), _)) if word.eq_ignore_ascii_case("commit"))
}

/// A statement whose values stand as `$1`, written with `?` or `:name`, too, as drivers allow; `\?` and `\:` are none.
///
/// # Errors
///
/// [`Refused`] where values are missing or too many.
pub(super) fn numbered(
    sql: &str,
    mut values: Vec<Option<String>>,
    named: &BTreeMap<String, Option<String>>,
) -> Result<Statement, Refused> {
    let found = some_pieces(sql)?;
    let refused = |message: String| Err(Refused { message, ..Refused::default() });
    let is_done =
        found.iter().any(|(piece, _)| matches!(piece, Piece::Number(_))) || (values.is_empty() && named.is_empty());
    let (mut text, mut done, mut names, mut marks) = (String::new(), 0, Vec::new(), 0);
    for (at, (piece, place)) in found.iter().enumerate() {
        let is_plain = at > 0 && found[at - 1] == (Piece::Sign('\\'), place.start - 1..place.start);
        let (from, put) = match piece {
            Piece::Sign('?' | ':') | Piece::Name(_) if is_plain => (place.start - 1, sql[place.clone()].to_owned()),
            _ if is_done => continue,
            Piece::Name(name) if !named.is_empty() => {
                let Some(value) = named.get(&format!(":{name}")).or_else(|| named.get(*name)) else {
                    return refused(format!("no value was bound to :{name}"));
                };
                let number = names.iter().position(|known| known == name).unwrap_or_else(|| {
                    names.push(*name);
                    values.push(value.clone());
                    names.len() - 1
                });
                (place.start, format!("${}", number + 1))
            }
            Piece::Sign('?') if named.is_empty() => {
                marks += 1;
                (place.start, format!("${marks}"))
            }
            _ => continue,
        };
        text.push_str(&sql[done..from]);
        text.push_str(&put);
        done = place.end;
    }
    text.push_str(&sql[done..]);
    if !is_done && named.is_empty() && marks != values.len() {
        return refused(format!("called with {} bind variables when {marks} are needed", values.len()));
    }
    Ok(Statement { sql: text, values })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_statement_does_is_read_past_comments_quotes_and_withs() {
        for sql in [
            "SELECT 1",
            "select 1;",
            "-- x\n /* a /* b */ c */ INSERT INTO t VALUES (';', E'\\';', $$;$$, $a$;$$;$a$, \";\") ; -- end;",
            "(SELECT 1) UNION (SELECT 2)",
            "WITH x AS (DELETE FROM t RETURNING *) INSERT INTO u SELECT 1 AS into, \"into\" FROM x",
            "table t",
        ] {
            assert_eq!(sort(sql, true), Ok(Sort::Rows), "{sql}");
        }
        for (sql, expected) in [
            ("COMMIT", Sort::Ends),
            ("rollback work;", Sort::Ends),
            ("rollback to savepoint a", Sort::Savepoint),
            ("rollback work to a", Sort::Savepoint),
            ("release a", Sort::Savepoint),
            ("SET work_mem = '1MB'", Sort::Session),
            ("notify x", Sort::Session),
            ("create temporary table t (i int)", Sort::Session),
            ("create unique index i on t (a)", Sort::Session),
        ] {
            assert_eq!(sort(sql, false), Ok(expected), "{sql}");
            assert!(sort(sql, true).is_err(), "{sql}");
        }
    }

    #[test]
    fn what_is_not_allowed_is_named() {
        for (sql, message) in [
            ("  -- nothing\n", "there is no statement to run"),
            ("/* x */ drop table t", "custom code may not run DROP"),
            ("CREATE TABLE t ()", "custom code may not run CREATE"),
            ("BEGIN", "custom code may not run BEGIN"),
            ("COMMIT PREPARED 'x'", "custom code may not run COMMIT"),
            ("COPY t FROM PROGRAM 'x'", "custom code may not run COPY"),
            ("SELECT 1; DELETE FROM t", "it is more than one statement"),
            ("WITH x AS (SELECT 1) (SELECT * Into t FROM x)", "custom code may not run SELECT INTO"),
        ] {
            assert_eq!(sort(sql, false).unwrap_err().message, message, "{sql}");
        }
        for (sql, what) in [
            ("SELECT set_config('session_replication_role', 'origin', true)", "set_config"),
            ("SELECT pg_catalog . /* x */ SET_Config('a', 'b', false)", "set_config"),
            ("WITH x AS (SELECT \"set_config\"('a', 'b', false)) TABLE x", "set_config"),
            ("UPDATE pg_catalog.\"pg_settings\" SET setting = 'on' WHERE name = 'a'", "UPDATE of pg_settings"),
            ("SELECT u&\"set\\005fconfig\"('a', 'b', false)", "names written as U&\"...\""),
        ] {
            assert!(sort(sql, true).unwrap_err().message.contains(&format!("may not use {what} inside")), "{sql}");
            assert_eq!(sort(sql, false), Ok(Sort::Rows), "{sql}");
        }
        for sql in
            ["SELECT 'set_config()', $$set_config$$ -- set_config", "SELECT setting FROM pg_settings WHERE u & 1 = 1"]
        {
            assert_eq!(sort(sql, true), Ok(Sort::Rows), "{sql}");
        }
        assert_eq!(sort("lock t", true).unwrap_err().message, "custom code may not run LOCK");
        assert!(sort("NOTIFY a", true).unwrap_err().message.ends_with("inside a round's transaction"));
    }

    #[test]
    fn statements_have_so_many_pieces() {
        let long = |count: usize| format!("SELECT {}1", "1,".repeat(count));
        assert_eq!(sort(&long(100_000), true), Ok(Sort::Rows));
        for told in
            [sort(&long(250_000), true).map(drop), numbered(&long(250_000), Vec::new(), &BTreeMap::new()).map(drop)]
        {
            assert!(told.unwrap_err().message.contains("more than 500000 words and signs"));
        }
        assert_eq!(pieces(&long(2_000_000)).len(), PIECES_MAX + 1);
        assert_eq!(sort(&format!("SELECT '{}'", ",".repeat(1_000_000)), true), Ok(Sort::Rows));
    }

    #[test]
    fn values_stand_where_they_are_no_casts_quotes_or_comments() {
        let found: Vec<Piece<'_>> = pieces("a::b, ':c', :d, $12, 'ü$1' -- :e").into_iter().map(|(it, _)| it).collect();
        let values = found.iter().filter(|piece| matches!(piece, Piece::Number(_) | Piece::Name(_)));
        assert_eq!(values.collect::<Vec<_>>(), [&Piece::Name("d"), &Piece::Number(12)]);
    }

    #[test]
    fn values_may_be_written_as_drivers_allow() {
        let some = |values: &[&str]| values.iter().map(|value| Some((*value).to_owned())).collect::<Vec<_>>();
        for (sql, expected) in [
            ("a = ? AND b = '?' AND c \\? 'x' AND d = ?", "a = $1 AND b = '?' AND c ? 'x' AND d = $2"),
            ("a = $2 AND b = $1", "a = $2 AND b = $1"),
            ("a \\? $1 AND b ? $2 AND c[1\\:2]", "a ? $1 AND b ? $2 AND c[1:2]"),
        ] {
            let made = numbered(sql, some(&["1", "2"]), &BTreeMap::new()).unwrap();
            assert_eq!(made, Statement { sql: expected.to_owned(), values: some(&["1", "2"]) });
        }
        let named = BTreeMap::from([(":a".to_owned(), Some("1".to_owned())), ("b".to_owned(), None)]);
        let made = numbered("x = :b OR y = :a::int OR z = :b", Vec::new(), &named).unwrap();
        assert_eq!(made.sql, "x = $1 OR y = $2::int OR z = $1");
        assert_eq!(made.values, [None, Some("1".to_owned())]);
        assert_eq!(numbered(":c", Vec::new(), &named).unwrap_err().message, "no value was bound to :c");
        let none = numbered("SELECT '{}'::jsonb ? 'a'", Vec::new(), &BTreeMap::new()).unwrap();
        assert_eq!(none.sql, "SELECT '{}'::jsonb ? 'a'");
        let none = numbered("SELECT '\\?', a \\? 'a', b[1\\:n]", Vec::new(), &BTreeMap::new()).unwrap();
        assert_eq!(none.sql, "SELECT '\\?', a ? 'a', b[1:n]");
        let refused = numbered("? ?", some(&["1"]), &BTreeMap::new()).unwrap_err();
        assert_eq!(refused.message, "called with 1 bind variables when 2 are needed");
    }
}
