//! Choosing rows of the catalog by the names that operators type: exact, with wildcards, or regular expressions.

use serde::Serialize;
use serde_json::{Map, Value};
use tokio_postgres::GenericClient;

use super::{CliError, words};
use crate::catalog::names;

/// For `list`: the names that any of `patterns` means; all, when there are no patterns. Names are kept in order.
pub(super) async fn listed(
    client: &impl GenericClient,
    all: &[&str],
    patterns: &[String],
) -> Result<Vec<String>, CliError> {
    if patterns.is_empty() || patterns.iter().any(|pattern| pattern.eq_ignore_ascii_case("all")) {
        return Ok(all.iter().map(|name| (*name).to_owned()).collect());
    }
    let mut chosen = Vec::new();
    for pattern in patterns {
        if all.contains(&pattern.as_str()) {
            chosen.push(pattern.clone());
        } else if words::is_wild(pattern) && !pattern.contains(['^', '$', '.', '(', '[']) {
            chosen.extend(all.iter().filter(|name| words::matches(pattern, name)).map(|name| (*name).to_owned()));
        } else {
            chosen.extend(names::like(client, all, pattern).await?);
        }
    }
    Ok(all.iter().filter(|name| chosen.iter().any(|one| one == *name)).map(|name| (*name).to_owned()).collect())
}

/// For `update`: names, wildcards or `all`; `None` for the first word that means nothing.
pub(super) fn meant<'a>(all: &[&'a str], patterns: &[String]) -> Result<Vec<&'a str>, String> {
    let mut chosen: Vec<&str> = Vec::new();
    for pattern in patterns {
        let before = chosen.len();
        let everything = pattern.eq_ignore_ascii_case("all") && !all.contains(&pattern.as_str());
        let fits = |name: &&&str| {
            everything || ***name == *pattern || words::is_wild(pattern) && words::matches(pattern, name)
        };
        let found: Vec<&str> = all.iter().filter(fits).copied().collect();
        chosen.extend(found.iter().filter(|name| !chosen.contains(name)).copied().collect::<Vec<_>>());
        if found.is_empty() && before == chosen.len() {
            return Err(pattern.clone());
        }
    }
    Ok(chosen)
}

/// The `column=value` words of a `list`.
pub(super) struct Filters(Vec<(String, String)>);

impl Filters {
    /// Takes them out of the words; returns the others, too. Keys may be one of `aliases` of a column.
    pub(super) fn split(given: &[String], aliases: &[(&str, &str)]) -> (Self, Vec<String>) {
        let (mut pairs, mut others) = (Vec::new(), Vec::new());
        for word in given {
            match words::pair(word) {
                Some((key, value)) => {
                    let alias = aliases.iter().find(|(alias, _)| *alias == key);
                    pairs.push((alias.map_or(key, |(_, column)| (*column).to_owned()), value.to_owned()));
                }
                None => others.push(word.clone()),
            }
        }
        (Self(pairs), others)
    }

    /// Keeps the rows whose columns have these values; a value may have wildcards.
    ///
    /// # Errors
    ///
    /// A column that these rows do not have.
    pub(super) fn keep<T: Serialize>(&self, rows: &mut Vec<&T>) -> Result<(), CliError> {
        for (key, value) in &self.0 {
            let mut kept = Vec::new();
            for row in rows.iter() {
                let columns = columns(*row)?;
                let names = columns.iter().filter(|(_, value)| !value.is_array()).map(|(name, _)| name.as_str());
                let found = columns.get(key).filter(|value| !value.is_array()).ok_or_else(|| {
                    let names: Vec<&str> = names.collect();
                    CliError::refuse(format!("There is no column \"{key}\" to choose by"))
                        .hint(format!("the columns are {}", names.join(", ")))
                        .suggest(key, names)
                })?;
                if is_equal(found, value) {
                    kept.push(*row);
                }
            }
            *rows = kept;
        }
        Ok(())
    }
}

fn columns(row: &impl Serialize) -> Result<Map<String, Value>, CliError> {
    match serde_json::to_value(row) {
        Ok(Value::Object(columns)) => Ok(columns),
        Ok(_) => Ok(Map::new()),
        Err(error) => Err(CliError::die(format!("cannot read the columns of a row: {error}"))),
    }
}

fn is_equal(found: &Value, wanted: &str) -> bool {
    match found {
        Value::String(text) => text == wanted || words::is_wild(wanted) && words::matches(wanted, text),
        Value::Bool(flag) => words::boolean(wanted) == Some(*flag),
        Value::Number(number) => number.to_string() == wanted,
        Value::Null => wanted.is_empty(),
        Value::Array(_) | Value::Object(_) => false,
    }
}

/// For `list`: the rows that are meant by names, wildcards, regular expressions and `column=value` words.
pub(super) async fn rows<'a, T: Serialize>(
    client: &impl GenericClient,
    all: &'a [T],
    name: impl Fn(&T) -> &str,
    given: &[String],
    aliases: &[(&str, &str)],
) -> Result<Vec<&'a T>, CliError> {
    let (filters, patterns) = Filters::split(given, aliases);
    let names: Vec<&str> = all.iter().map(&name).collect();
    let chosen = listed(client, &names, &patterns).await?;
    let mut rows: Vec<&T> = all.iter().filter(|row| chosen.iter().any(|one| one == name(row))).collect();
    filters.keep(&mut rows)?;
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Row {
        status: &'static str,
        flag: bool,
        number: i16,
        about: Option<String>,
        members: Vec<String>,
    }

    #[test]
    fn rows_are_chosen_by_their_columns() {
        let row = Row { status: "active", flag: true, number: 7, about: None, members: Vec::new() };
        let count = |words: &str| {
            let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
            let mut rows = vec![&row];
            Filters::split(&words, &[("stat", "status")]).0.keep(&mut rows).map(|()| rows.len())
        };
        for (words, expected) in [
            ("x", 1),
            ("stat=active", 1),
            ("status=act*", 1),
            ("status=inactive", 0),
            ("flag=yes number=7 about=", 1),
            ("flag=no", 0),
            ("number=8", 0),
        ] {
            assert_eq!(count(words).unwrap(), expected, "{words}");
        }
        let error = count("statsu=active").unwrap_err();
        assert!(error.hint.unwrap().starts_with("did you mean \"status\"?\nthe columns are "));
        assert!(count("members=x").is_err());
    }
}
