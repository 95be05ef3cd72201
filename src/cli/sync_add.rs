//! `add sync`: puts together relgroup, group of databases and sync, and lets them be checked before anything is kept.

use bucardo_actors::model::SyncName;
use tokio_postgres::Transaction;

use super::classic::Classic;
use super::dbgroup::{self, Member};
use super::relations::{self, Term};
use super::words::{self, Key, Kind, Parsed};
use super::{CliError, Context, Outcome, sync};
use crate::catalog::goats::GoatOptions;
use crate::catalog::groups::{self, Dbgroup, Relgroup};
use crate::catalog::{Table, columns, dbs, load_sync, syncs, write};

pub(super) const KEYS: [Key; 37] = [
    Key::new("relgroup", &["herd"], Kind::Text),
    Key::new("tables", &["table", "relation", "relations"], Kind::Text),
    Key::new("dbgroup", &[], Kind::Text),
    Key::new("dbs", &["db", "database", "databases"], Kind::Text),
    Key::new("conflict_strategy", &["standard_conflict", "conflict"], Kind::Text),
    Key::new("autokick", &["ping"], Kind::Bool),
    Key::new("do_listen", &[], Kind::Bool),
    Key::new("limitdbs", &[], Kind::Number),
    Key::new("stayalive", &[], Kind::Bool),
    Key::new("kidsalive", &[], Kind::Bool),
    Key::new("checktime", &[], Kind::Text),
    Key::new("overdue", &[], Kind::Text),
    Key::new("expired", &[], Kind::Text),
    Key::new("lifetime", &[], Kind::Text),
    Key::new("status", &[], Kind::OneOf(&["active", "inactive"])),
    Key::new("priority", &[], Kind::Number),
    Key::new("maxkicks", &[], Kind::Number),
    Key::new("rebuild_index", &["rebuildindex"], Kind::Number),
    Key::new("analyze_after_copy", &[], Kind::Bool),
    Key::new("vacuum_after_copy", &[], Kind::Bool),
    Key::new("strict_checking", &[], Kind::Bool),
    Key::new("track_rates", &[], Kind::Bool),
    Key::new("onetimecopy", &[], Kind::OneOf(&["0", "1", "2"])),
    Key::new("isolation_level", &["txnmode"], Kind::Text),
    Key::new("deletemethod", &[], Kind::OneOf(&["delete", "truncate", "truncate_cascade"])),
    Key::new("copyextra", &[], Kind::Text),
    Key::new("makedelta", &[], Kind::Bool),
    Key::new("deadletter", &["deadletters"], Kind::Bool),
    Key::new("lock_table_force", &[], Kind::Text),
    Key::new("source", &[], Kind::Text),
    Key::new("targetdb", &["target"], Kind::Text),
    Key::new("targetgroup", &["group"], Kind::Text),
    Key::new("type", &["synctype"], Kind::Text),
    Key::new("usecustomselect", &[], Kind::Bool),
    Key::new("copytype", &[], Kind::OneOf(&["copy", "insert"])),
    Key::new("disable_triggers", &[], Kind::OneOf(&["pg_class", "SQL", "replica"])),
    Key::new("disable_rules", &[], Kind::OneOf(&["none", "pg_class", "replica"])),
];
/// Keys that say which groups; the others are columns of the sync.
const GROUPS: [&str; 8] = ["relgroup", "tables", "dbgroup", "dbs", "source", "targetdb", "targetgroup", "type"];
const RESERVED: [&str; 4] = ["pushdelta", "fullcopy", "swap", "sync"];

/// `add sync`
pub(super) async fn add(ctx: &Context, given: &[String]) -> Outcome {
    let parsed = Parsed::read(given, &KEYS, "add sync")?;
    let [name] = parsed.bare.as_slice() else { return Err(CliError::usage("add sync")) };
    if !words::sane_name(name) || RESERVED.contains(&name.to_lowercase().as_str()) {
        return Err(CliError::die(format!("Invalid sync name \"{name}\""))
            .hint("a name begins with a letter and holds letters, digits and underscores only"));
    }
    let mut control = ctx.control().await?;
    let transaction = control.transaction().await.map_err(|error| CliError::caused("Failed to add sync", &error))?;
    if syncs::list(&transaction).await?.iter().any(|sync| sync.name == *name) {
        return Err(CliError::die(format!("A sync with the name \"{name}\" already exists")));
    }
    let mut told = vec![format!("Added sync \"{name}\"")];
    let dbgroup = match Classic::of(&parsed)? {
        Some(classic) => add_classic(&transaction, name, &classic, &parsed, &mut told).await?,
        None => {
            let dbgroup = databases(&transaction, name, &parsed, &mut told).await?;
            let source = source_of(&transaction, &dbgroup).await?;
            let named = parsed.value("relgroup").unwrap_or_default();
            let relgroup = tables(&transaction, name, &parsed, named, source.as_deref(), &mut told).await?;
            syncs::add(&transaction, name, &relgroup, &dbgroup).await.map_err(|error| failed(error.into()))?;
            dbgroup
        }
    };
    set_columns(&transaction, name, &parsed, &dbgroup).await?;
    let detail = load_sync(&transaction, &SyncName::from(name.as_str())).await?;
    let agreed = sync::agreed_first(ctx, &told)?;
    if let (Some(detail), true) = (&detail, agreed) {
        sync::validate(ctx, &transaction, detail).await.map_err(failed)?;
    }
    sync::end(ctx, transaction, agreed, &told).await?;
    Ok(0)
}

fn failed(error: CliError) -> CliError {
    CliError { message: format!("Failed to add sync: {}", error.message), ..error }
}

/// Adds a sync in the words of versions 3 and 4; returns the group of databases that was made of them.
async fn add_classic(
    transaction: &Transaction<'_>,
    name: &str,
    classic: &Classic<'_>,
    parsed: &Parsed,
    told: &mut Vec<String>,
) -> Result<String, CliError> {
    let (source, known) = (classic.source, dbs::list(transaction).await?);
    let is_db = |name: &str| known.iter().any(|db| db.name == name);
    if let Some(unknown) = classic.targetdb.filter(|target| !is_db(target)) {
        return Err(CliError::die(format!("Unknown database \"{unknown}\""))
            .hint("\"list dbs\" shows those that exist")
            .suggest(unknown, known.iter().map(|db| db.name.as_str())));
    }
    let all = groups::dbgroups(transaction).await?;
    if let Some(unknown) = classic.targetgroup.filter(|target| !all.iter().any(|group| group.name == **target)) {
        return Err(CliError::die(format!("Unknown database group \"{unknown}\""))
            .hint("\"list dbgroups\" shows those that exist")
            .suggest(unknown, all.iter().map(|group| group.name.as_str())));
    }
    let herds = groups::relgroups(transaction).await?;
    let is_herd = herds.iter().any(|group| group.name == source);
    let relgroup = if !is_herd && is_db(source) && parsed.value("tables").is_some() {
        // The source may be a database, with its tables beside.
        tables(transaction, name, parsed, "", Some(source), told).await?
    } else if is_herd {
        source.to_owned()
    } else {
        return Err(CliError::refuse(format!("The source \"{source}\" is no herd"))
            .hint("\"list herds\" shows those that exist; a database as source needs tables=LIST")
            .suggest(source, herds.iter().map(|group| group.name.as_str())));
    };
    let sync = syncs::ClassicSync {
        source: &relgroup,
        targetdb: classic.targetdb,
        targetgroup: classic.targetgroup,
        synctype: classic.synctype,
    };
    let dbgroup = syncs::add_classic(transaction, name, &sync).await.map_err(|error| failed(error.into()))?;
    told.push(format!("Created a new dbgroup named \"{dbgroup}\""));
    let all = groups::dbgroups(transaction).await?;
    for member in all.iter().filter(|group| group.name == dbgroup).flat_map(|group| &group.members) {
        told.push(format!("  Added database \"{}\" as {}", member.db, member.role));
    }
    Ok(dbgroup)
}

/// The database in which the tables of a sync are looked for.
async fn source_of(transaction: &Transaction<'_>, dbgroup: &str) -> Result<Option<String>, CliError> {
    let all = groups::dbgroups(transaction).await?;
    // Members are sorted: a source is first.
    let group = all.into_iter().find(|group| group.name == dbgroup);
    Ok(group.and_then(|group| group.members.into_iter().next()).map(|member| member.db))
}

/// The group of databases: one that exists, or one made of the databases named.
async fn databases(
    transaction: &Transaction<'_>,
    sync: &str,
    parsed: &Parsed,
    told: &mut Vec<String>,
) -> Result<String, CliError> {
    let known = groups::dbgroups(transaction).await?;
    let exists = |name: &str| known.iter().any(|group| group.name == name);
    let (groups_named, mut listed) = (parsed.list("dbgroup"), parsed.list("dbs"));
    let mut wanted = None;
    match groups_named.as_slice() {
        [] => {}
        [name] if exists(name) && listed.is_empty() => return Ok(name.clone()),
        [name] if exists(name) => {
            return Err(CliError::refuse(format!(
                "Cannot give databases (dbs) together with the dbgroup \"{name}\", which exists"
            )));
        }
        [name] if !listed.is_empty() => wanted = Some(name.clone()),
        _ => listed = groups_named,
    }
    if let [name] = listed.as_slice()
        && exists(name)
    {
        return Ok(name.clone());
    }
    if listed.is_empty() {
        return Err(CliError::die("Need to specify which dbgroup (or list of databases) for this sync"));
    }
    let mut members = listed.iter().map(|word| Member::parse(word)).collect::<Result<Vec<_>, _>>()?;
    let all = dbs::list(transaction).await?;
    if let Some(unknown) = members.iter().find(|member| !all.iter().any(|db| db.name == member.db)) {
        return Err(CliError::die(format!("Unknown database \"{}\"", unknown.db))
            .hint("\"bucardo list dbs\" shows those that exist"));
    }
    if let Some(twice) = repeated(&members) {
        return Err(CliError::refuse(format!("Database \"{twice}\" is named twice")));
    }
    for (place, member) in members.iter_mut().enumerate() {
        member.role = member.role.or(Some(if place == 0 { "source" } else { "target" }));
    }
    if wanted.is_none()
        && let Some(same) = known.iter().find(|group| is_same(group, &members))
    {
        told.push(format!("Using existing dbgroup \"{}\"", same.name));
        return Ok(same.name.clone());
    }
    let name = wanted.unwrap_or_else(|| free_name(sync, exists));
    dbgroup::check_name(&name)?;
    groups::add_dbgroup(transaction, &name).await?;
    told.push(format!("Created a new dbgroup named \"{name}\""));
    for member in &members {
        let role = member.role.unwrap_or("target");
        groups::put_db(transaction, &name, &member.db, role, member.priority, member.makedelta).await?;
        told.push(format!("  Added database \"{}\" as {role}", member.db));
    }
    Ok(name)
}

fn repeated(members: &[Member]) -> Option<&str> {
    let mut names = members.iter().map(|member| member.db.as_str()).enumerate();
    names.find(|(place, name)| members[..*place].iter().any(|member| member.db == *name)).map(|(_, name)| name)
}

fn is_same(group: &Dbgroup, members: &[Member]) -> bool {
    let role = |member: &Member| member.role.unwrap_or("target");
    let priority = |member: &Member| i32::from(member.priority.unwrap_or(0));
    group.members.len() == members.len()
        && members.iter().all(|member| {
            group.members.iter().any(|known| {
                known.db == member.db
                    && known.role == role(member)
                    && known.priority == priority(member)
                    && known.makedelta == member.makedelta
            })
        })
}

/// The name of the sync, or that with a number where it is taken.
fn free_name(sync: &str, taken: impl Fn(&str) -> bool) -> String {
    let numbered = (2..).map(|number: u32| format!("{sync}_{number}"));
    std::iter::once(sync.to_owned()).chain(numbered).find(|name| !taken(name)).unwrap_or_else(|| sync.to_owned())
}

/// The relgroup: `named` if it exists, or one made of the relations that are given; these are looked for in `source`.
async fn tables(
    transaction: &Transaction<'_>,
    sync: &str,
    parsed: &Parsed,
    named: &str,
    source: Option<&str>,
    told: &mut Vec<String>,
) -> Result<String, CliError> {
    let known = groups::relgroups(transaction).await?;
    let exists = |name: &str| known.iter().any(|group| group.name == name);
    let mut terms = parsed.list("tables");
    let mut wanted = None;
    if exists(named) {
        if terms.is_empty() {
            return Ok(named.to_owned());
        }
        return Err(CliError::refuse(format!(
            "Cannot give tables together with the relgroup \"{named}\", which exists"
        )));
    }
    if terms.is_empty() {
        terms = words::commas(named);
    } else if !named.is_empty() {
        wanted = Some(named.to_owned());
    }
    if terms.is_empty() {
        return Err(CliError::die("Must specify a relgroup (or a list of tables) for this sync"));
    }
    let db = relations::database(transaction, source).await?;
    let inspected = relations::look(&db).await?;
    let mut found = Vec::new();
    for word in &terms {
        let meant = Term::parse(word).find(&inspected);
        if meant.is_empty() {
            return Err(CliError::die(format!("Could not find a relation named \"{word}\""))
                .hint(format!("it was looked for in database \"{}\"", db.name)));
        }
        found.extend(meant);
    }
    let added = relations::add(transaction, &db, &found, &GoatOptions::default()).await?;
    if wanted.is_none() {
        let same = |group: &&Relgroup| {
            group.members.len() == added.len()
                && group.members.iter().all(|member| added.iter().any(|one| one.id == member.id))
        };
        if let Some(same) = known.iter().find(same) {
            told.push(format!("Using existing relgroup \"{}\"", same.name));
            return Ok(same.name.clone());
        }
    }
    let name = wanted.unwrap_or_else(|| free_name(sync, exists));
    groups::add_relgroup(transaction, &name).await?;
    told.push(format!("Created a new relgroup named \"{name}\""));
    for one in added {
        groups::put_relation(transaction, &name, one.id).await?;
        told.push(format!("  Added table \"{}\"", one.full_name));
    }
    Ok(name)
}

/// Writes the other columns, as given or as the kind of the sync asks for.
async fn set_columns(
    transaction: &Transaction<'_>,
    name: &str,
    parsed: &Parsed,
    dbgroup: &str,
) -> Result<(), CliError> {
    let known = columns(transaction, Table::Sync).await?;
    let all = groups::dbgroups(transaction).await?;
    let members: Vec<_> = all.iter().filter(|group| group.name == dbgroup).flat_map(|group| &group.members).collect();
    let mut pairs: Vec<(String, String)> = Vec::new();
    let copies_only =
        !members.iter().any(|member| member.role == "target") && members.iter().any(|member| member.role == "fullcopy");
    if copies_only {
        pairs.extend(["stayalive", "kidsalive"].map(|key| (key.to_owned(), "false".to_owned())));
    }
    // A sync that says nothing follows the setting default_conflict_strategy.
    pairs.push(("conflict_strategy".to_owned(), String::new()));
    for key in parsed.keys().filter(|key| !GROUPS.contains(key)) {
        let value = parsed.value(key).unwrap_or_default();
        pairs.push((key.to_owned(), value.to_owned()));
    }
    let dbs: Vec<&str> = members.iter().map(|member| member.db.as_str()).collect();
    for (key, value) in pairs {
        let value = sync::stored(&key, &value, &dbs)?;
        if let Some(column) = known.iter().find(|column| column.name == key) {
            write(transaction, Table::Sync, name, column, &value).await.map_err(|error| failed(error.into()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_name_gets_a_number() {
        assert_eq!(free_name("s", |_| false), "s");
        assert_eq!(free_name("s", |name| ["s", "s_2"].contains(&name)), "s_3");
    }
}
