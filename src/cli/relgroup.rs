//! Groups of tables and sequences: `add relgroup`, `list relgroups`, `update relgroup`, `remove relgroup`.

use super::relations::{self, Term};
use super::words::{self, Key, Kind, Parsed};
use super::{CliError, Context, Outcome, choose, classic, output, update};
use crate::catalog::Table;
use crate::catalog::dbs::DbRow;
use crate::catalog::goats::{self, GoatListing, GoatOptions};
use crate::catalog::groups::{self, RelMember, Relgroup};
use tokio_postgres::Transaction;

pub(super) const KEYS: [Key; 1] = [Key::new("db", &["database"], Kind::Text)];

/// `add relgroup`
pub(super) async fn add(ctx: &Context, given: &[String]) -> Outcome {
    let parsed = Parsed::read(given, &KEYS, "add relgroup")?;
    let Some((name, terms)) = parsed.bare.split_first() else { return Err(CliError::usage("add relgroup")) };
    let mut control = ctx.control().await?;
    let transaction = control.transaction().await.map_err(|error| CliError::caused("Cannot add relgroup", &error))?;
    let known = groups::relgroups(&transaction).await?;
    let former = known.iter().find(|group| group.name == *name);
    if former.is_some() {
        ctx.out.say(format!("Relgroup \"{name}\" already exists"));
    } else {
        groups::add_relgroup(&transaction, name).await?;
        ctx.out.say(format!("Created relgroup \"{name}\""));
    }
    if !terms.is_empty() {
        let home = former.and_then(|group| group.db.as_deref());
        let named = parsed.value("db").or(ctx.options.db.as_deref()).or(home);
        add_terms(ctx, &transaction, name, named, terms).await?;
    }
    ctx.finish(transaction).await?;
    Ok(0)
}

/// Finds relations and puts them into a relgroup; those that the catalog does not know are added.
async fn add_terms(
    ctx: &Context,
    transaction: &Transaction<'_>,
    relgroup: &str,
    db: Option<&str>,
    terms: &[String],
) -> Result<(), CliError> {
    let db: DbRow = relations::database(transaction, db).await?;
    let inspected = relations::look(&db).await?;
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for word in words::flat(terms) {
        let meant = Term::parse(&word).find(&inspected);
        if meant.is_empty() {
            missing.push(word);
        }
        found.extend(meant);
    }
    if !missing.is_empty() {
        return Err(relations::not_found(&db, &missing));
    }
    let added = relations::add(transaction, &db, &found, &GoatOptions::default()).await?;
    let new = added.iter().filter(|one| one.new).map(|one| one.full_name.as_str());
    relations::block(ctx, "Added the following tables or sequences:", new);
    relations::join(ctx, transaction, relgroup, &added).await
}

/// `update relgroup`
pub(super) async fn change(ctx: &Context, given: &[String]) -> Outcome {
    let Some((name, rest)) = given.split_first() else { return Err(CliError::usage("update relgroup")) };
    let Some((first, terms)) = rest.split_first() else { return Err(CliError::usage("update relgroup")) };
    let mut control = ctx.control().await?;
    let transaction =
        control.transaction().await.map_err(|error| CliError::caused("Cannot update relgroup", &error))?;
    let known = groups::relgroups(&transaction).await?;
    let Some(group) = known.iter().find(|group| group.name == *name) else { return Err(unknown(name)) };
    // The words "table" and "sequence" may follow the verb, as they did in version 4.
    let noise = |word: &&String| matches!(words::Noun::of(word), Some(words::Noun::Table | words::Noun::Sequence));
    let terms: Vec<String> = match terms.split_first() {
        Some((word, others)) if noise(&word) && !others.is_empty() => others.to_vec(),
        _ => terms.to_vec(),
    };
    match first.to_lowercase().as_str() {
        "add" if !terms.is_empty() => add_terms(ctx, &transaction, name, group.db.as_deref(), &terms).await?,
        "remove" | "delete" | "del" if !terms.is_empty() => remove_terms(ctx, &transaction, group, &terms).await?,
        _ => {
            let (bare, pairs) = update::sort_words(rest);
            match pairs.as_slice() {
                [(key, value)] if key == "priority" && !bare.is_empty() => {
                    prioritize(ctx, &transaction, group, &bare, value).await?;
                    ctx.finish(transaction).await?;
                    return Ok(0);
                }
                _ if !bare.is_empty() => return Err(CliError::usage("update relgroup")),
                _ if pairs.iter().any(|(key, _)| key == "priority") => {
                    return Err(CliError::refuse("A priority is that of members: which ones?")
                        .hint(format!("bucardo update relgroup {name} TABLE… priority=N")));
                }
                _ => {}
            }
            for change in update::apply(&transaction, Table::Herd, name, &pairs, &[("newname", "name")]).await? {
                ctx.out.say(format!("Changed relgroup \"{name}\" {}", change.told()));
            }
        }
    }
    ctx.finish(transaction).await?;
    Ok(0)
}

/// The members that words mean; every word must mean one.
async fn meant(
    transaction: &Transaction<'_>,
    group: &Relgroup,
    terms: &[String],
) -> Result<Vec<GoatListing>, CliError> {
    let mut members = goats::list(transaction).await?;
    members.retain(|goat| group.members.iter().any(|member| member.id == goat.id));
    let mut meant: Vec<GoatListing> = Vec::new();
    for word in words::flat(terms) {
        let term = Term::parse(&word);
        if !members.iter().any(|goat| term.means(goat)) {
            return Err(CliError::refuse(format!("\"{word}\" is not in relgroup \"{}\"", group.name)));
        }
        let more = members.iter().filter(|goat| term.means(goat) && meant.iter().all(|known| known.id != goat.id));
        meant.extend(more.cloned().collect::<Vec<_>>());
    }
    Ok(meant)
}

/// Changes the priority of members: those with a higher one come first.
async fn prioritize(
    ctx: &Context,
    transaction: &Transaction<'_>,
    group: &Relgroup,
    terms: &[String],
    priority: &str,
) -> Result<(), CliError> {
    let number: i16 = priority.parse().map_err(|_| CliError::die(format!("Invalid priority: {priority}")))?;
    let mut is_changed = false;
    for goat in meant(transaction, group, terms).await? {
        let name = goat.full_name();
        let former = group.members.iter().find(|member| member.id == goat.id).map_or(0, |member| member.priority);
        if groups::prioritize(transaction, &group.name, goat.id, number).await? {
            is_changed = true;
            ctx.out.say(format!("Changed priority of {name} in relgroup \"{}\" from {former} to {number}", group.name));
        } else {
            ctx.out.say(format!("No change needed for {name}"));
        }
    }
    if is_changed {
        relations::note_syncs(ctx, group);
    }
    Ok(())
}

/// Takes relations out of a relgroup; every word must mean a member.
async fn remove_terms(
    ctx: &Context,
    transaction: &Transaction<'_>,
    group: &Relgroup,
    terms: &[String],
) -> Result<(), CliError> {
    let mut removed: Vec<String> = Vec::new();
    for goat in meant(transaction, group, terms).await? {
        groups::take_relation(transaction, &group.name, goat.id).await?;
        removed.push(goat.full_name());
    }
    let heading = format!("Removed the following tables or sequences from the relgroup \"{}\":", group.name);
    relations::block(ctx, &heading, removed.iter().map(String::as_str));
    relations::note_syncs(ctx, group);
    Ok(())
}

fn unknown(name: &str) -> CliError {
    CliError::die(format!("No such relgroup: {name}")).hint("\"bucardo list relgroups\" shows those that exist")
}

/// `remove relgroup`
pub(super) async fn remove(ctx: &Context, given: &[String]) -> Outcome {
    let names = words::flat(given);
    if names.is_empty() {
        return Err(CliError::usage("remove relgroup"));
    }
    let mut control = ctx.control().await?;
    let transaction =
        control.transaction().await.map_err(|error| CliError::caused("Cannot remove relgroup", &error))?;
    let known = groups::relgroups(&transaction).await?;
    for name in &names {
        let group = known.iter().find(|group| group.name == *name).ok_or_else(|| unknown(name))?;
        if !group.syncs.is_empty() {
            let message = format!("Cannot delete relgroup \"{name}\": must remove all syncs that reference it first");
            return Err(CliError::die(message).hint(format!("they are {}", group.syncs.join(", "))));
        }
        groups::remove_relgroup(&transaction, name).await?;
        ctx.out.say(format!("Removed relgroup \"{name}\""));
    }
    ctx.finish(transaction).await?;
    Ok(0)
}

/// `list relgroups`
pub(super) async fn list(ctx: &Context, given: &[String]) -> Outcome {
    let control = ctx.control().await?;
    let all = groups::relgroups(control.client()).await?;
    let shown = choose::rows(control.client(), &all, |group| &group.name, given, &[]).await?;
    if ctx.out.is_json() {
        ctx.out.json(&shown)?;
        return Ok(0);
    }
    if all.is_empty() && ctx.is_classic {
        return classic::no_entries(ctx, "herd");
    }
    if all.is_empty() {
        ctx.out.say("There are no relgroups.");
    } else if shown.is_empty() {
        ctx.out.say("There are no matching relgroups.");
    }
    let width = shown.iter().map(|group| group.name.chars().count()).max().unwrap_or(0);
    for group in shown {
        let members: Vec<String> = group.members.iter().map(full_name).collect();
        let db = group.db.as_deref().map(|db| format!("DB: {db}  ")).unwrap_or_default();
        let members = if members.is_empty() { "none".to_owned() } else { members.join(", ") };
        let noun = if ctx.is_classic { "Herd" } else { "Relgroup" };
        ctx.out.say(format!("{noun}: {:width$}  {db}Members: {members}", group.name));
        if !group.syncs.is_empty() {
            ctx.out.say(format!("  Used in syncs: {}", group.syncs.join(", ")));
        }
        let prior = group.members.iter().filter(|member| member.priority != 0);
        let prior: Vec<String> = prior.map(|member| format!("{} {}", full_name(member), member.priority)).collect();
        if ctx.out.verbosity() > 0 && !prior.is_empty() {
            ctx.out.say(format!("  Priorities: {}", prior.join(", ")));
        }
        if ctx.out.verbosity() > 1 {
            output::columns(&ctx.out, group)?;
        }
    }
    Ok(0)
}

/// `schema.name`
pub(super) fn full_name(member: &RelMember) -> String {
    format!("{}.{}", member.schemaname, member.tablename)
}
