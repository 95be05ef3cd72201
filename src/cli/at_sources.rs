//! Which sources, and which tables there, the words of `purge` and `delta` mean: databases, syncs, tables.

use std::collections::BTreeMap;
use std::sync::Arc;

use bucardo_actors::model::DbName;

use super::{CliError, words};
use crate::catalog::{Db, Role, SyncDetail};
use crate::source::purge::TableName;

/// A source, and which of its tables; `None`: all.
pub(super) struct AtSource {
    pub(super) db: Arc<Db>,
    pub(super) tables: Option<Vec<TableName>>,
}

impl AtSource {
    /// Whether a table is meant.
    pub(super) fn has(&self, schema: &str, table: &str) -> bool {
        let is_it = |name: &TableName| (name.0.as_str(), name.1.as_str()) == (schema, table);
        self.tables.as_ref().is_none_or(|tables| tables.iter().any(is_it))
    }
}

/// The sources of `syncs` that `given` means, in order; without words, or with `all` or `totals`: all of them. Databases
/// that are sources of nothing are passed over.
pub(super) fn meant(syncs: &[Arc<SyncDetail>], given: &[String]) -> Result<BTreeMap<DbName, AtSource>, CliError> {
    let captured: Vec<&Arc<SyncDetail>> = syncs.iter().filter(|sync| !sync.is_fullcopy()).collect();
    let mut sources: BTreeMap<DbName, Arc<Db>> = BTreeMap::new();
    for member in captured.iter().flat_map(|sync| &sync.members) {
        if member.role == Role::Source && member.db.kind == "postgres" {
            sources.insert(member.db.name.clone(), Arc::clone(&member.db));
        }
    }
    let wanted: Vec<String> = words::flat(given);
    let is_all = |word: &String| word.eq_ignore_ascii_case("all") || word.eq_ignore_ascii_case("totals");
    let mut found: BTreeMap<DbName, AtSource> = BTreeMap::new();
    if wanted.iter().all(is_all) {
        found.extend(sources.into_iter().map(|(name, db)| (name, AtSource { db, tables: None })));
    } else {
        for word in wanted.iter().filter(|word| !is_all(word)) {
            let before = found.len();
            let mut is_known = syncs.iter().any(|sync| sync.members.iter().any(|it| it.db.name.as_str() == word));
            let fits = |name: &str| name == word || words::is_wild(word) && words::matches(word, name);
            for (name, db) in sources.iter().filter(|(name, _)| fits(name.as_str())) {
                found.insert(name.clone(), AtSource { db: Arc::clone(db), tables: None });
                is_known = true;
            }
            for sync in &captured {
                let whole = fits(sync.name.as_str());
                let is_meant = |schema: &str, table: &str| whole || fits(table) || fits(&format!("{schema}.{table}"));
                let goats = sync.tables().filter(|goat| is_meant(&goat.schema, &goat.name));
                let tables: Vec<TableName> = goats.map(|goat| (goat.schema.clone(), goat.name.clone())).collect();
                if tables.is_empty() {
                    continue;
                }
                is_known = true;
                for db in sync.dbs(Role::Source) {
                    let Some(db) = sources.get(&db.name) else { continue };
                    let fresh = || AtSource { db: Arc::clone(db), tables: Some(Vec::new()) };
                    if let Some(known) = &mut found.entry(db.name.clone()).or_insert_with(fresh).tables {
                        known.extend(tables.iter().filter(|table| !known.contains(table)).cloned().collect::<Vec<_>>());
                    }
                }
            }
            if !is_known && found.len() == before {
                return Err(CliError::refuse(format!("There is no database, sync or table named \"{word}\"")));
            }
        }
    }
    if found.is_empty() {
        return Err(CliError::refuse("No databases were found from which changes are replicated"));
    }
    Ok(found)
}
