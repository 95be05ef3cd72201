//! Choosing rows of the catalog by the names that operators type: exact, with wildcards, or regular expressions.

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
