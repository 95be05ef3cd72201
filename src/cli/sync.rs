//! Syncs: `list syncs`, `update sync`, `remove sync`, and what `add sync` shares with them.

use std::time::Duration;

use bucardo_actors::model::SyncName;
use tokio::time::Instant;
use tokio_postgres::{GenericClient, Transaction};

use super::ear::Ear;
pub(super) use super::sync_add::add;
use super::{CliError, Context, Outcome, choose, classic, output, relgroup, strategy, uninstall, update, words};
use crate::adapters;
use crate::catalog::syncs::{self, SyncListing};
use crate::catalog::{SyncDetail, Table, load_sync};
use crate::pg::SqlFile;
use crate::source;

const NOTIFY: SqlFile = SqlFile::new(include_str!("../../sql/daemon/notify.sql"));

/// Checks a sync in all its databases and installs what they need; warnings are told, and listeners are.
///
/// # Errors
///
/// Everything that was found wrong.
pub(super) async fn validate(ctx: &Context, client: &impl GenericClient, detail: &SyncDetail) -> Result<(), CliError> {
    if let Some(problem) = &detail.problem {
        return Err(CliError::die(problem));
    }
    match Box::pin(source::validate_sync(detail)).await {
        Ok(validated) => {
            for warning in validated.warnings {
                ctx.out.warn(format!("Warning: {warning}"));
            }
            let mut sources = detail.sources();
            if let (1, true, Some(first)) = (detail.onetimecopy, detail.is_merging(), sources.next()) {
                let others: Vec<String> = sources.map(|db| format!("\"{}\"", db.name)).collect();
                ctx.out.warn(format!(
                    "Warning: onetimecopy=1: before anything is merged, the rows of \"{}\" replace those of {}, what only these have goes; onetimecopy=2 copies empty tables only",
                    first.name,
                    others.join(" and ")
                ));
            }
            tell_validated(client, &detail.name).await
        }
        Err(error) => Err(CliError::die(error.told()).maybe_hint(error.hint())),
    }
}

/// Tells whoever listens that a sync was validated; within a transaction, when that is committed.
pub(super) async fn tell_validated(client: &impl GenericClient, sync: &SyncName) -> Result<(), CliError> {
    let word = format!("validated_sync_{sync}");
    // Longer names cannot be channels.
    let own = Some(format!("bucardo_{word}")).filter(|own| own.len() < 64);
    let told = client.query_one(NOTIFY.text(), &[&own, &"bucardo", &word]).await;
    told.map(drop).map_err(|error| CliError::caused("Cannot tell that the sync was validated", &error))
}

/// Whether the change shall be made: not with `--dry-run`, and with `--confirm` only when the operator says so, who is
/// told first what it is.
pub(super) fn agreed_first(ctx: &Context, told: &[String]) -> Result<bool, CliError> {
    if ctx.confirms() && !ctx.options.dry_run {
        told.iter().for_each(|line| ctx.out.say(line));
        return Ok(ctx.confirmed());
    }
    Ok(!ctx.options.dry_run)
}

/// Commits or rolls back, and says so.
pub(super) async fn end(
    ctx: &Context,
    transaction: Transaction<'_>,
    agreed: bool,
    told: &[String],
) -> Result<(), CliError> {
    let failed = |error: tokio_postgres::Error| CliError::caused("Could not commit the changes", &error);
    let asked = ctx.confirms() && !ctx.options.dry_run;
    if agreed {
        transaction.commit().await.map_err(failed)?;
    } else {
        transaction.rollback().await.map_err(failed)?;
    }
    match (asked, agreed) {
        (true, true) => ctx.out.say("Changes have been committed"),
        (true, false) => ctx.out.say("Changes have been rolled back"),
        (false, _) => told.iter().for_each(|line| ctx.out.say(line)),
    }
    if ctx.options.dry_run {
        ctx.out.detail("Dry run: nothing was changed, and the databases were not checked");
    }
    Ok(())
}

/// A value of a column of a sync as it is stored; `dbs` are its databases.
pub(super) fn stored(column: &str, value: &str, dbs: &[&str]) -> Result<String, CliError> {
    match column {
        "conflict_strategy" => strategy::stored(value, dbs, "for this sync"),
        "isolation_level" => Ok(value.replace(['_', '-'], " ")),
        "limitdbs" => match value.trim().parse::<u16>() {
            Ok(limit) if limit <= 32_767 => Ok(limit.to_string()),
            _ => Err(CliError::die(format!("Invalid value for 'limitdbs': {value}"))
                .hint("how many databases are written to at a time; 0: all")),
        },
        "lock_table_force" => lock_mode(value),
        _ => Ok(value.to_owned()),
    }
}

/// The kind of a sync in the words of versions 3 and 4.
pub(super) fn synctype(word: &str) -> Result<&'static str, CliError> {
    match word.to_lowercase().as_str() {
        "pushdelta" | "delta" => Ok("pushdelta"),
        "fullcopy" | "copy" => Ok("fullcopy"),
        "swap" => Ok("swap"),
        _ => {
            Err(CliError::die(format!("Invalid value for 'type': {word}"))
                .hint("it is one of pushdelta, fullcopy, swap"))
        }
    }
}

/// The mode of a lock on tables; empty: none.
fn lock_mode(value: &str) -> Result<String, CliError> {
    let word = value.trim().to_lowercase().replace(['_', '-'], " ");
    if word.is_empty() || matches!(word.as_str(), "none" | "off" | "0" | "false") {
        return Ok(String::new());
    }
    match crate::catalog::LockMode::parse(&word) {
        Some(mode) => Ok(mode.words().to_lowercase()),
        None => Err(CliError::die(format!("Invalid lock mode \"{value}\""))
            .hint("for example exclusive, share row exclusive, access exclusive; none for no lock")),
    }
}

const ALIASES: [(&str, &str); 9] = [
    ("type", "synctype"),
    ("group", "targetgroup"),
    ("standard_conflict", "conflict_strategy"),
    ("conflict", "conflict_strategy"),
    ("ping", "autokick"),
    ("relgroup", "herd"),
    ("dbgroup", "dbs"),
    ("txnmode", "isolation_level"),
    ("rebuildindex", "rebuild_index"),
];
/// A change of these is checked in the databases before it is kept.
const CHECKED: [&str; 7] = ["herd", "dbs", "autokick", "source", "targetdb", "targetgroup", "synctype"];
const FLAGS: [&str; 10] = [
    "autokick",
    "do_listen",
    "stayalive",
    "kidsalive",
    "analyze_after_copy",
    "vacuum_after_copy",
    "strict_checking",
    "track_rates",
    "makedelta",
    "deadletter",
];

/// `update sync`
pub(super) async fn change(ctx: &Context, given: &[String]) -> Outcome {
    if let [name, verb, rest @ ..] = given
        && matches!(verb.to_lowercase().as_str(), "add" | "remove" | "delete" | "del")
        && !rest.is_empty()
    {
        return change_relations(ctx, name, verb, rest).await;
    }
    let (mut names, mut pairs) = update::sort_words(given);
    for status in ["active", "inactive"] {
        if names.len() > 1 && names.iter().skip(1).any(|name| name.eq_ignore_ascii_case(status)) {
            names.retain(|name| !name.eq_ignore_ascii_case(status));
            pairs.push(("status".to_owned(), status.to_owned()));
        }
    }
    if names.is_empty() || pairs.is_empty() {
        return Err(CliError::usage("update sync"));
    }
    let mut control = ctx.control().await?;
    let transaction = control.transaction().await.map_err(|error| CliError::caused("Cannot update sync", &error))?;
    let all = syncs::list(&transaction).await?;
    let known: Vec<&str> = all.iter().map(|sync| sync.name.as_str()).collect();
    let meant = choose::meant(&known, &names).map_err(|name| {
        CliError::die(format!("Could not find a sync named \"{name}\"")).suggest(&name, known.iter().copied())
    })?;
    let problems = strategy::problems(&transaction).await?;
    let (mut told, mut to_check) = (Vec::new(), Vec::new());
    for sync in all.iter().filter(|sync| meant.contains(&sync.name.as_str())) {
        let pairs = pairs.iter().map(|pair| checked(sync, pair)).collect::<Result<Vec<_>, _>>()?;
        let changes = update::apply(&transaction, Table::Sync, &sync.name, &pairs, &ALIASES).await?;
        let changes: Vec<_> = changes.into_iter().filter(update::Change::is_change).collect();
        told.extend(tell(sync, &changes));
        if changes.iter().any(|change| CHECKED.contains(&change.column.as_str())) {
            to_check.push(SyncName::from(sync.name.as_str()));
        }
    }
    strategy::check(&transaction, &problems).await?;
    let agreed = agreed_first(ctx, &told)?;
    for name in to_check.iter().filter(|_| agreed) {
        if let Some(detail) = load_sync(&transaction, name).await? {
            validate(ctx, &transaction, &detail)
                .await
                .map_err(|error| CliError { message: format!("Failed to update sync: {}", error.message), ..error })?;
        }
    }
    end(ctx, transaction, agreed, &told).await?;
    Ok(0)
}

/// A pair of an update as it is stored.
fn checked(sync: &SyncListing, (key, value): &(String, String)) -> Result<(String, String), CliError> {
    let column = ALIASES.iter().find(|(alias, _)| alias == key).map_or(key.as_str(), |(_, column)| column);
    if column == "name" {
        return Err(CliError::refuse(format!("Cannot rename sync \"{}\"", sync.name)).hint(
            "positions on the databases carry its name: remove it when nothing waits, and add it under the new one",
        ));
    }
    let dbs: Vec<&str> = sync.members.iter().map(|member| member.db.as_str()).collect();
    let value = match column {
        "status" => words::checked(key, value, words::Kind::OneOf(&["active", "inactive"]))?,
        "onetimecopy" => words::checked(key, value, words::Kind::OneOf(&["0", "1", "2"]))?,
        "deletemethod" => words::checked(key, value, words::Kind::OneOf(&["delete", "truncate", "truncate_cascade"]))?,
        "synctype" => synctype(value)?.to_owned(),
        _ if FLAGS.contains(&column) => words::checked(key, value, words::Kind::Bool)?,
        _ => stored(column, value, &dbs)?,
    };
    Ok((column.to_owned(), value))
}

fn tell(sync: &SyncListing, changes: &[update::Change]) -> Vec<String> {
    if changes.is_empty() {
        return vec![format!("No change needed for sync \"{}\"", sync.name)];
    }
    let mut told = Vec::new();
    for change in changes.iter().filter(|change| change.column == "conflict_strategy") {
        told.push(format!("Set conflict strategy to '{}'", change.new));
    }
    told.push(format!("Changes made to sync \"{}\":", sync.name));
    let lines = changes
        .iter()
        .map(|change| format!(" * {} : changed from \"{}\" to \"{}\"", change.column, change.old, change.new));
    told.extend(lines);
    told
}

/// `update sync NAME add|remove table|sequence NAME…`: a change of its relgroup.
async fn change_relations(ctx: &Context, name: &str, verb: &str, rest: &[String]) -> Outcome {
    let herd = {
        let control = ctx.control().await?;
        let all = syncs::list(control.client()).await?;
        let sync = all.iter().find(|sync| sync.name == name).ok_or_else(|| unknown(name, &all))?;
        sync.herd.clone().ok_or_else(|| CliError::die(format!("Sync \"{name}\" has no relgroup")))?
    };
    let words: Vec<String> = [herd.as_str(), verb].into_iter().map(str::to_owned).chain(rest.iter().cloned()).collect();
    relgroup::change(ctx, &words).await
}

/// There is no such sync.
pub(super) fn unknown(name: &str, all: &[SyncListing]) -> CliError {
    CliError::die(format!("No such sync: {name}"))
        .hint("\"bucardo list syncs\" shows those that exist")
        .suggest(name, all.iter().map(|sync| sync.name.as_str()))
}

/// Removes syncs from the catalog, and returns what is needed to take them out of their databases after the commit.
pub(super) async fn take_out(client: &impl GenericClient, names: &[String]) -> Result<Vec<SyncDetail>, CliError> {
    let all = syncs::list(client).await?;
    let mut details = Vec::new();
    for name in names {
        let detail = load_sync(client, &SyncName::from(name.as_str())).await?.ok_or_else(|| unknown(name, &all))?;
        details.push(detail);
        syncs::remove(client, name).await?;
    }
    Ok(details)
}

/// A daemon that runs ends what it does for a removed sync within this time; a round that is under way may be long.
const ENDED_WITHIN: Duration = Duration::from_secs(10);

/// Has a daemon that runs end what it does for syncs that are in the catalog no more.
async fn hush(ctx: &Context, details: &[SyncDetail]) -> Result<(), CliError> {
    let mut ear = Ear::open(ctx).await?;
    let failed = |error| CliError::caused("cannot see whether the daemon runs", &error);
    if details.is_empty() || !adapters::is_lease_held(ear.control().client()).await.map_err(failed)? {
        return Ok(());
    }
    let deadline = Instant::now() + ENDED_WITHIN;
    for SyncDetail { name, .. } in details {
        ear.say(&format!("reload_sync_{name}")).await?;
        let (ended, failed) = (format!("deactivated_sync_{name}"), format!("reload_error_sync_{name}"));
        let meant = |word: &str| (word == ended || word == failed).then_some(());
        if ear.wait(Some(deadline), meant).await?.is_none() {
            ctx.out.warn(format!(
                "Warning: the daemon has not ended its work for sync \"{name}\" within {} s: it may log that what the sync kept in its databases is missing",
                ENDED_WITHIN.as_secs()
            ));
        }
    }
    Ok(())
}

/// Takes removed syncs out of their databases, so that nothing is kept for them there; a daemon that runs is told first.
pub(super) async fn forget(ctx: &Context, details: &[SyncDetail]) {
    if let Err(error) = Box::pin(hush(ctx, details)).await {
        ctx.out.warn(format!("Warning: the daemon is not told of it: {}; \"bucardo reload\" tells it", error.message));
    }
    for detail in details {
        for left in Box::pin(source::forget_sync(detail)).await {
            ctx.out.warn(format!("Warning: {left}"));
        }
    }
}

/// `remove sync`
pub(super) async fn remove(ctx: &Context, given: &[String]) -> Outcome {
    let names = words::flat(given);
    if names.is_empty() {
        return Err(CliError::usage("remove sync"));
    }
    let mut control = ctx.control().await?;
    let transaction = control.transaction().await.map_err(|error| CliError::caused("Cannot remove sync", &error))?;
    let details = take_out(&transaction, &names).await?;
    for name in &names {
        ctx.out.say(format!("Removed sync \"{name}\""));
    }
    if !ctx.options.cascade {
        ctx.out.always("Note: table triggers (if any) are not automatically removed!");
    }
    let rows = uninstall::sources(&transaction, &details).await?;
    if ctx.finish(transaction).await? {
        forget(ctx, &details).await;
        if ctx.options.cascade {
            uninstall::cascade(ctx, &rows).await;
        }
    }
    Ok(0)
}

/// `list syncs`
pub(super) async fn list(ctx: &Context, given: &[String]) -> Outcome {
    let control = ctx.control().await?;
    let all = syncs::list(control.client()).await?;
    let is_status = |word: &String| matches!(word.to_lowercase().as_str(), "active" | "inactive");
    let (statuses, others): (Vec<String>, Vec<String>) = given.iter().cloned().partition(is_status);
    let has_status = |sync: &SyncListing| {
        statuses.is_empty() || statuses.iter().any(|status| status.eq_ignore_ascii_case(&sync.status))
    };
    let mut shown = choose::rows(control.client(), &all, |sync| &sync.name, &others, &ALIASES).await?;
    shown.retain(|sync| has_status(sync));
    if ctx.out.is_json() {
        ctx.out.json(&shown)?;
        return Ok(0);
    }
    if all.is_empty() && ctx.is_classic {
        return classic::no_entries(ctx, "sync");
    }
    if shown.is_empty() {
        ctx.out.say("No syncs found");
    }
    let width = shown.iter().map(|sync| sync.name.len() + 2).max().unwrap_or(0);
    for sync in shown {
        let members: String = sync.members.iter().map(|member| format!(" {}:{}", member.db, member.role)).collect();
        let status = match sync.status.as_str() {
            "active" => "Active",
            "inactive" => "Inactive",
            other => other,
        };
        let (herd, dbs) = (sync.herd.as_deref().unwrap_or("?"), sync.dbs.as_deref().unwrap_or("?"));
        let name = format!("\"{}\"", sync.name);
        if ctx.is_classic {
            ctx.out.say(classic::sync_line(sync, width - 2));
            continue;
        }
        ctx.out.say(format!("Sync {name:width$}  Relgroup \"{herd}\"  DB group \"{dbs}\"{members}  [{status}]"));
        if ctx.out.verbosity() > 0 {
            let tables: Vec<String> = sync.relations.iter().map(relgroup::full_name).collect();
            ctx.out.say("  Tables in sync:");
            tables.iter().for_each(|table| ctx.out.say(format!("    {table}")));
        }
        if ctx.out.verbosity() > 1 {
            output::columns(&ctx.out, sync)?;
        }
    }
    Ok(0)
}
