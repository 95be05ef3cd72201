//! Whether the custom codes of a sync can be run.

use std::collections::{BTreeMap, BTreeSet};

use super::site::Site;
use crate::catalog::{Role, SyncDetail};
use crate::custom::{self, Code, Hook, Host, Language, prepared};
use crate::pg::causes;

/// `undefined_table`: what the statement is for may be made before it runs.
const NO_TABLE: &str = "42P01";

/// Tables whose conflicts only custom codes decide (`bucardo_custom`), though there are none for them.
fn undecided(sync: &SyncDetail) -> impl Iterator<Item = String> + '_ {
    let is_merging = sync.is_merging();
    sync.tables().filter(move |goat| {
        let strategy = goat.conflict_strategy.as_deref().unwrap_or(&sync.conflict_strategy);
        let decides = |code: &Code| code.hook == Hook::Conflict && code.goat.is_none_or(|of| of == goat.id);
        is_merging && strategy.trim() == "bucardo_custom" && !sync.codes.iter().any(decides)
    })
    .map(|goat| {
        format!(
            "table \"{}\" has the conflict strategy bucardo_custom and no custom code for conflicts (whenrun=conflict): \
             its first conflict stops the sync",
            goat.label()
        )
    })
}

/// Compiles the codes of the sync, each once; those that are statements are prepared on a database where they run.
/// Returns a sentence for each that cannot run.
pub(super) async fn problems(sync: &SyncDetail, sites: &[Site<'_>], warnings: &mut Vec<String>) -> Vec<String> {
    warnings.extend(undecided(sync));
    let open = custom::open();
    let mut hosts: BTreeMap<&str, Box<dyn Host>> = BTreeMap::new();
    let mut problems = Vec::new();
    let mut seen = BTreeSet::new();
    for code in sync.codes.iter().filter(|code| seen.insert(code.id)) {
        let host = hosts.entry(code.language.word()).or_insert_with(|| open(code.language));
        if let Err(error) = host.check(code).await {
            problems.push(error.to_string());
        } else if code.language == Language::Sql {
            prepare(code, sites, &mut problems, warnings).await;
        }
    }
    problems
}

async fn prepare(code: &Code, sites: &[Site<'_>], problems: &mut Vec<String>, warnings: &mut Vec<String>) {
    let Ok(statement) = prepared(code) else { return };
    let named = |site: &&Site<'_>| statement.db.as_deref() == Some(site.db.name.as_str());
    let target = |site: &&Site<'_>| site.role != Role::Source;
    let site = match &statement.db {
        Some(name) if !sites.iter().any(|site| named(&site)) => {
            problems.push(format!("custom code \"{}\" is for database \"{name}\", which is not there", code.name));
            return;
        }
        Some(_) => sites.iter().find(named),
        None => sites.iter().find(target).or(sites.first()),
    };
    let Some(site) = site else { return };
    // Codes find what the role of the database finds.
    let looked = async {
        site.conn.batch_execute("BEGIN; SET LOCAL search_path TO DEFAULT").await?;
        let prepared = site.conn.prepare(&statement.sql).await;
        site.conn.batch_execute("ROLLBACK").await?;
        prepared
    };
    if let Err(error) = looked.await {
        let told = format!("custom code \"{}\" on database \"{}\": {}", code.name, site.db.name, causes(&error));
        let is_missing = error.code().is_some_and(|state| state.code() == NO_TABLE);
        if is_missing { warnings.push(told) } else { problems.push(told) }
    }
}
