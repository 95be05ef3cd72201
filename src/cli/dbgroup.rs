//! Groups of databases: `add dbgroup`, `list dbgroups`, `update dbgroup`, `remove dbgroup`.

use bucardo_actors::model::SyncName;
use tokio_postgres::{GenericClient, Transaction};

use super::{CliError, Context, Outcome, choose, classic, output, strategy, sync, update, words};
use crate::catalog::groups::{self, Dbgroup};
use crate::catalog::{SyncDetail, Table, dbs, load_sync};

/// A member as an operator writes it: `db[:role[:pri=n]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    /// The database.
    pub db: String,
    /// Its role, where it was given.
    pub role: Option<&'static str>,
    /// Its priority, where it was given.
    pub priority: Option<i16>,
    /// Whether other syncs see what comes there, where it was given.
    pub makedelta: Option<bool>,
}

/// The role that a word means.
///
/// # Errors
///
/// `Invalid database role: x`.
pub(super) fn role(word: &str) -> Result<&'static str, CliError> {
    let word = word.trim().to_lowercase();
    let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| word.starts_with(prefix));
    if starts(&["s", "mas", "pri"]) && !word.starts_with("slave") {
        Ok("source")
    } else if starts(&["t", "rep", "slave"]) {
        Ok("target")
    } else if starts(&["full"]) || word == "f" {
        Ok("fullcopy")
    } else {
        Err(CliError::die(format!("Invalid database role: {word}")).hint("roles are source, target and fullcopy"))
    }
}

impl Member {
    /// Reads one word.
    ///
    /// # Errors
    ///
    /// A role, priority or `makedelta` that is none.
    pub(super) fn parse(word: &str) -> Result<Self, CliError> {
        let mut pieces = word.split(':');
        let db = pieces.next().unwrap_or_default().trim().to_owned();
        let mut member = Self { db, role: None, priority: None, makedelta: None };
        for piece in pieces {
            match words::pair(piece) {
                Some((key, value)) if key.starts_with("pri") => {
                    let number = value.parse();
                    member.priority = Some(number.map_err(|_| CliError::die(format!("Invalid priority: {value}")))?);
                }
                Some((key, value)) if key == "makedelta" => {
                    let flag = words::boolean(value);
                    let refused = || CliError::die(format!("Invalid value for 'makedelta': {value}"));
                    member.makedelta = Some(flag.ok_or_else(refused)?);
                }
                Some((key, _)) => return Err(CliError::refuse(format!("Unknown option '{key}'"))),
                None => member.role = Some(role(piece)?),
            }
        }
        Ok(member)
    }
}

/// Checks the name of a group.
///
/// # Errors
///
/// A name that the catalog does not take.
pub(super) fn check_name(name: &str) -> Result<(), CliError> {
    if words::sane_name(name) {
        return Ok(());
    }
    Err(CliError::die(format!("Invalid dbgroup name \"{name}\""))
        .hint("a name begins with a letter and holds letters, digits and underscores only"))
}

/// Refuses members that the catalog does not know.
pub(super) async fn check_members(client: &impl GenericClient, members: &[Member]) -> Result<(), CliError> {
    let known = dbs::list(client).await?;
    match members.iter().find(|member| !known.iter().any(|db| db.name == member.db)) {
        Some(unknown) => Err(CliError::refuse(format!("The database \"{}\" does not exist", unknown.db))
            .hint("\"bucardo list dbs\" shows those that do")),
        None => Ok(()),
    }
}

/// `add dbgroup`
pub(super) async fn add(ctx: &Context, given: &[String]) -> Outcome {
    let Some((name, rest)) = given.split_first() else { return Err(CliError::usage("add dbgroup")) };
    check_name(name)?;
    let members = words::flat(rest).iter().map(|word| Member::parse(word)).collect::<Result<Vec<_>, _>>()?;
    let mut control = ctx.control().await?;
    let transaction = control.transaction().await.map_err(|error| CliError::caused("Cannot add dbgroup", &error))?;
    check_members(&transaction, &members).await?;
    let problems = strategy::problems(&transaction).await?;
    let all = groups::dbgroups(&transaction).await?;
    let syncs = all.into_iter().find(|group| group.name == *name).map(|group| group.syncs).unwrap_or_default();
    let mut told = Vec::new();
    if groups::add_dbgroup(&transaction, name).await? {
        told.push(if ctx.is_classic {
            format!("Added database group \"{name}\"")
        } else {
            format!("Created dbgroup \"{name}\"")
        });
    } else if members.is_empty() {
        return Err(CliError::refuse(format!("Cannot add dbgroup: the name \"{name}\" already exists")));
    }
    for member in &members {
        let role = member.role.unwrap_or("target");
        groups::put_db(&transaction, name, &member.db, role, member.priority, member.makedelta).await?;
        told.push(if ctx.is_classic {
            format!("Added database \"{}\" to group \"{name}\"", member.db)
        } else {
            format!("Added database \"{}\" to dbgroup \"{name}\" as {role}", member.db)
        });
    }
    strategy::check(&transaction, &problems).await?;
    end(ctx, transaction, &told, &syncs).await?;
    Ok(0)
}

/// `update dbgroup`
pub(super) async fn change(ctx: &Context, given: &[String]) -> Outcome {
    let Some((name, rest)) = given.split_first() else { return Err(CliError::usage("update dbgroup")) };
    let (pairs, names): (Vec<_>, Vec<_>) = rest.iter().cloned().partition(|word| words::pair(word).is_some());
    if rest.is_empty() {
        return Err(CliError::usage("update dbgroup"));
    }
    let members = words::flat(&names).iter().map(|word| Member::parse(word)).collect::<Result<Vec<_>, _>>()?;
    let mut control = ctx.control().await?;
    let transaction = control.transaction().await.map_err(|error| CliError::caused("Cannot update dbgroup", &error))?;
    let all = groups::dbgroups(&transaction).await?;
    let Some(group) = all.iter().find(|group| group.name == *name) else { return Err(unknown(name)) };
    check_members(&transaction, &members).await?;
    let problems = strategy::problems(&transaction).await?;
    let former = details(&transaction, &group.syncs).await?;
    let mut told = Vec::new();
    if !members.is_empty() {
        set_members(&transaction, group, &members, &mut told).await?;
    }
    let has_moved = !told.is_empty();
    for (key, value) in update::sort_words(&pairs).1 {
        if matches!(key.as_str(), "name" | "newname") {
            check_name(&value)?;
        }
        let pair = [(key, value)];
        for change in update::apply(&transaction, Table::Dbgroup, name, &pair, &[("newname", "name")]).await? {
            told.push(if change.column == "name" {
                format!("Changed name of dbgroup \"{name}\" to \"{}\"", change.new)
            } else {
                format!("Changed dbgroup \"{name}\" {}", change.told())
            });
        }
    }
    strategy::check(&transaction, &problems).await?;
    let syncs = if has_moved { group.syncs.clone() } else { Vec::new() };
    let gone = |db: &str| !members.is_empty() && !members.iter().any(|member| member.db == db);
    if end(ctx, transaction, &told, &syncs).await? {
        let left = |mut detail: SyncDetail| {
            detail.members.retain(|member| gone(member.db.name.as_str()));
            detail
        };
        sync::forget(ctx, &former.into_iter().map(left).collect::<Vec<_>>()).await;
    }
    Ok(0)
}

/// Checks the syncs whose databases have changed, installs what they need, and commits. True: it is done.
async fn end(ctx: &Context, transaction: Transaction<'_>, told: &[String], syncs: &[String]) -> Result<bool, CliError> {
    let agreed = sync::agreed_first(ctx, told)?;
    if agreed {
        for detail in details(&transaction, syncs).await? {
            let failed = |error: CliError| CliError {
                message: format!("Failed to change dbgroup (sync \"{}\"): {}", detail.name, error.message),
                ..error
            };
            sync::validate(ctx, &transaction, &detail).await.map_err(failed)?;
        }
    }
    sync::end(ctx, transaction, agreed, told).await?;
    if agreed && !syncs.is_empty() {
        ctx.out.say(format!("Syncs that take this over with \"bucardo reload\": {}", syncs.join(", ")));
    }
    Ok(agreed)
}

/// These syncs, as the transaction sees them.
async fn details(client: &impl GenericClient, names: &[String]) -> Result<Vec<SyncDetail>, CliError> {
    let mut all = Vec::new();
    for name in names {
        all.extend(load_sync(client, &SyncName::from(name.as_str())).await?);
    }
    Ok(all)
}

async fn set_members(
    transaction: &Transaction<'_>,
    group: &Dbgroup,
    members: &[Member],
    told: &mut Vec<String>,
) -> Result<(), CliError> {
    let name = &group.name;
    for former in group.members.iter().filter(|former| !members.iter().any(|member| member.db == former.db)) {
        groups::take_db(transaction, name, &former.db).await?;
        told.push(format!("Removed database \"{}\" from dbgroup \"{name}\"", former.db));
    }
    for member in members {
        let db = &member.db;
        let former = group.members.iter().find(|former| former.db == *db).map(|former| former.role.as_str());
        let role = member.role.or(former).unwrap_or("target");
        groups::put_db(transaction, name, db, role, member.priority, member.makedelta).await?;
        match former {
            None => told.push(format!("Added database \"{db}\" to dbgroup \"{name}\" as {role}")),
            Some(former) if former != role => {
                told.push(format!("Changed role of database \"{db}\" in dbgroup \"{name}\" from {former} to {role}"));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

fn unknown(name: &str) -> CliError {
    CliError::die(format!("No such dbgroup: {name}")).hint("\"bucardo list dbgroups\" shows those that exist")
}

/// `remove dbgroup`
pub(super) async fn remove(ctx: &Context, given: &[String]) -> Outcome {
    let names = words::flat(given);
    if names.is_empty() {
        return Err(CliError::usage("remove dbgroup"));
    }
    let mut control = ctx.control().await?;
    let transaction = control.transaction().await.map_err(|error| CliError::caused("Cannot remove dbgroup", &error))?;
    let all = groups::dbgroups(&transaction).await?;
    let mut details = Vec::new();
    for name in &names {
        let group = all.iter().find(|group| group.name == *name).ok_or_else(|| unknown(name))?;
        if !group.syncs.is_empty() && !ctx.options.force {
            let message = format!("Cannot remove dbgroup \"{name}\": it is being used by one or more syncs");
            return Err(
                CliError::die(message).hint(format!("they are {}; --force removes them, too", group.syncs.join(", ")))
            );
        }
        details.extend(sync::take_out(&transaction, &group.syncs).await?);
        for sync in &group.syncs {
            ctx.out.say(format!("Removed sync \"{sync}\""));
        }
        groups::remove_dbgroup(&transaction, name).await?;
        ctx.out.say(format!("Removed dbgroup \"{name}\""));
    }
    if ctx.finish(transaction).await? {
        sync::forget(ctx, &details).await;
    }
    Ok(0)
}

/// `list dbgroups`
pub(super) async fn list(ctx: &Context, given: &[String]) -> Outcome {
    let control = ctx.control().await?;
    let all = groups::dbgroups(control.client()).await?;
    let shown = choose::rows(control.client(), &all, |group| &group.name, given, &[]).await?;
    if ctx.out.is_json() {
        ctx.out.json(&shown)?;
        return Ok(0);
    }
    if all.is_empty() && ctx.is_classic {
        return classic::no_entries(ctx, "dbgroup");
    }
    if all.is_empty() {
        ctx.out.say("No dbgroups have been added yet");
    } else if shown.is_empty() {
        ctx.out.say("No matching dbgroups found");
    }
    let width = shown.iter().map(|group| group.name.len()).max().unwrap_or(0);
    for group in shown {
        let members: Vec<String> = group
            .members
            .iter()
            .map(|member| {
                let priority = if member.priority == 0 { String::new() } else { format!(":pri={}", member.priority) };
                let makedelta = member.makedelta.map(|flag| format!(":makedelta={flag}")).unwrap_or_default();
                format!("{}:{}{priority}{makedelta}", member.db, member.role)
            })
            .collect();
        let members = if members.is_empty() { "none".to_owned() } else { members.join(" ") };
        ctx.out.say(if ctx.is_classic {
            let members: Vec<&str> = group.members.iter().map(|member| member.db.as_str()).collect();
            format!("Database group: {:width$}  Members: {}", group.name, members.join(", "))
        } else {
            format!("dbgroup: {:width$}  Members: {members}", group.name)
        });
        if ctx.out.verbosity() > 0 && !group.syncs.is_empty() {
            ctx.out.say(format!("  Used in syncs: {}", group.syncs.join(", ")));
        }
        if ctx.out.verbosity() > 1 {
            output::columns(&ctx.out, group)?;
        }
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_carry_role_and_priority() {
        let member = |word: &str| Member::parse(word).unwrap();
        assert_eq!(member("A"), Member { db: "A".into(), role: None, priority: None, makedelta: None });
        assert_eq!(
            member("A:source:pri=3"),
            Member { db: "A".into(), role: Some("source"), priority: Some(3), makedelta: None }
        );
        assert_eq!(member("A:t:makedelta=on").makedelta, Some(true));
        assert_eq!(Member::parse("A:boss").unwrap_err().message, "Invalid database role: boss");
        assert_eq!(Member::parse("A:foo").unwrap_err().message, "Invalid database role: foo");
    }

    #[test]
    fn roles_have_spellings() {
        let words = [
            ("s", "source"),
            ("master", "source"),
            ("primary", "source"),
            ("slave", "target"),
            ("replica", "target"),
            ("T", "target"),
            ("full", "fullcopy"),
        ];
        for (word, name) in words {
            assert_eq!(role(word).unwrap(), name, "{word}");
        }
    }
}
