//! `adopt`: a Perl Bucardo (versions 3 to 5) is taken over in place, with what it has not delivered; `adopt undo` is the
//! way back, `adopt forget` ends it.
//!
//! The catalog is converted in one transaction, which stays open while the sources are done table by table, and is
//! committed last. Until then the Perl program's catalog is the one that counts, and nobody can use it. Whatever ends
//! this half-way, the next call finds what is done.

use std::time::Duration;

use bucardo_actors::model::DbName;
use tokio_postgres::{Client, Transaction};

use super::{CliError, Context, Outcome, quoted};
use crate::adapters;
use crate::catalog::dbs::{self, DbRow};
use crate::catalog::migrate::{self, LEVEL_NEEDED, State};
use crate::catalog::perl::{self as old, Converted};
use crate::catalog::{CatalogError, Role, SyncDetail, load_syncs};
use crate::pg::{Connection, connect};
use crate::report::causes;
use crate::source::perl::{self, SCHEMA};
use crate::source::{ValidateError, check_present, leftovers, validate_present};

/// The sessions of a daemon that was just ended live on for a moment.
const GONE_WITHIN: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// `adopt [undo | forget]`
pub(super) async fn run(ctx: &Context) -> Outcome {
    let words: Vec<&str> = ctx.words.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] => Box::pin(adopt(ctx)).await,
        ["undo" | "back"] => Box::pin(undo(ctx)).await,
        ["forget"] => Box::pin(forget(ctx)).await,
        _ => Err(CliError::usage("adopt")),
    }
}

fn sql(message: &'static str) -> impl Fn(tokio_postgres::Error) -> CliError {
    move |error| CliError::caused(message, &error)
}

/// The control database, and whose catalog it has: `true`, that of a Perl Bucardo.
async fn open(ctx: &Context) -> Result<(Connection, bool), CliError> {
    let control = Box::pin(connect(&ctx.control_access()?, "bucardo adopt")).await?;
    let is_foreign = match migrate::state(&*control).await? {
        State::Foreign => true,
        State::Level(LEVEL_NEEDED) => false,
        State::Level(found) => return Err(CatalogError::Level { found, needed: LEVEL_NEEDED }.into()),
        State::Absent { .. } => {
            return Err(CliError::refuse("There is no Bucardo in this database").hint(
                "name the control database of the Perl program with --dbname, --dbhost and --dbport; \"bucardo install\" makes a new one",
            ));
        }
    };
    if adapters::is_lease_held(&control).await.map_err(sql("Cannot see whether the daemon runs"))? {
        return Err(
            CliError::refuse("The daemon runs on this control database").hint("end it with \"bucardo stop\" first")
        );
    }
    nobody_works(&control, "the control database").await?;
    Ok((control, is_foreign))
}

/// Waits until no daemon has a session in this database.
async fn nobody_works(conn: &Connection, place: &str) -> Result<(), CliError> {
    let deadline = tokio::time::Instant::now() + GONE_WITHIN;
    loop {
        let sessions = perl::sessions(conn).await.map_err(sql("Cannot see whether a daemon runs"))?;
        if sessions.is_empty() {
            return Ok(());
        }
        if tokio::time::Instant::now() >= deadline {
            return Err(CliError::refuse(format!("A daemon is at work in {place}: {}", sessions.join(", ")))
                .hint("end it (\"bucardo stop\" of the Perl program), and wait until its sessions are gone"));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// A database that could be reached.
struct Place {
    name: DbName,
    conn: Connection,
}

/// Connects to the databases of the catalog; returns also why others could not be reached.
async fn reach(rows: &[DbRow]) -> (Vec<Place>, Vec<(String, String)>) {
    let (mut places, mut away) = (Vec::new(), Vec::new());
    for row in rows.iter().filter(|row| row.kind == dbs::POSTGRES) {
        let connected = match row.access() {
            Ok(access) => Box::pin(connect(&access, "bucardo adopt")).await,
            Err(error) => Err(error),
        };
        match connected {
            Ok(conn) => places.push(Place { name: row.name.as_str().into(), conn }),
            Err(error) => away.push((row.name.clone(), causes(&error))),
        }
    }
    (places, away)
}

fn is_source(syncs: &[SyncDetail], db: &str) -> bool {
    let captures = |sync: &&SyncDetail| !sync.is_fullcopy();
    syncs.iter().filter(captures).any(|sync| sync.dbs(Role::Source).any(|it| it.name.as_str() == db))
}

async fn adopt(ctx: &Context) -> Outcome {
    let (mut control, is_foreign) = open(ctx).await?;
    if is_foreign && !ctx.options.dry_run {
        perl::make_room(&control).await.map_err(sql("Cannot make room for the old catalog"))?;
    }
    let client: &mut Client = &mut control;
    let txn = client.transaction().await.map_err(sql("Cannot begin"))?;
    let converted = if is_foreign { Some(Box::pin(convert(&txn, ctx.options.dry_run)).await?) } else { None };
    let syncs = load_syncs(&txn).await?;
    let rows = dbs::rows(&txn, None).await?;
    let (mut places, away) = reach(&rows).await;
    Box::pin(check(ctx, &syncs, &rows, &places, &away)).await?;
    if let Some(converted) = &converted {
        tell_catalog(ctx, converted);
    }
    let is_live = tell_sources(ctx, &syncs, &mut places).await?;
    if converted.is_none() && !is_live {
        ctx.out
            .say("There is nothing to adopt: the catalog is this program's, and no source has triggers of another one");
        return Ok(0);
    }
    if ctx.options.dry_run {
        txn.rollback().await.map_err(sql("Cannot roll back"))?;
        ctx.out.say("Dry run: nothing was changed");
        return Ok(0);
    }
    if !ctx.options.batch {
        let answer = ctx.out.ask("Take all this over? Y/N ").unwrap_or_default();
        if !answer.to_lowercase().starts_with('y') {
            return Err(CliError::refuse("Nothing was changed").hint("--batch asks nothing"));
        }
    }
    let details: Vec<&SyncDetail> = syncs.iter().collect();
    for place in &mut places {
        let taken = Box::pin(perl::take(&mut place.conn, &place.name, &details)).await.map_err(half_way)?;
        if taken > 0 {
            ctx.out.say(format!("Database \"{}\": {taken} tables taken over", place.name));
        }
    }
    for sync in &syncs {
        let validated = Box::pin(validate_present(sync)).await.map_err(half_way)?;
        validated.warnings.iter().for_each(|warning| ctx.out.warn(format!("Warning: {warning}")));
    }
    txn.commit().await.map_err(sql("Cannot commit the catalog; run the same command again"))?;
    ctx.out.say("Taken over. \"bucardo start\" goes on where the Perl program stopped.");
    ctx.out.say("What it had is kept in the schemas \"bucardo_perl\": \"bucardo adopt undo\" gives it back, \"bucardo adopt forget\" drops it.");
    Ok(0)
}

/// Of what fails on the way, with what to do.
fn half_way(error: ValidateError) -> CliError {
    CliError::die(format!("{}\nThe Perl program's catalog is as it was; some tables may be taken over", error.told()))
        .maybe_hint(error.hint())
        .hint("mend it and run \"bucardo adopt\" again, which goes on from there; or \"bucardo adopt undo\"")
}

async fn convert(txn: &Transaction<'_>, is_dry: bool) -> Result<Converted, CliError> {
    if is_dry {
        let made = txn.batch_execute(&format!("CREATE SCHEMA IF NOT EXISTS {SCHEMA}")).await;
        made.map_err(sql("Cannot make room for the old catalog"))?;
    }
    txn.batch_execute("SET LOCAL lock_timeout = '10s'").await.map_err(sql("Cannot prepare"))?;
    let converted = old::convert(txn).await.map_err(|error| {
        CliError::from(error).hint("nothing was changed; mend the row with the Perl program, and try again")
    })?;
    if converted.version.starts_with(['3', '4', '5']) {
        return Ok(converted);
    }
    Err(CliError::refuse(format!(
        "The catalog names version {}; versions 3, 4 and 5 can be adopted",
        converted.version
    )))
}

/// Refuses what cannot work; warns of what should be known.
async fn check(
    ctx: &Context,
    syncs: &[SyncDetail],
    rows: &[DbRow],
    places: &[Place],
    away: &[(String, String)],
) -> Result<(), CliError> {
    let mut problems = Vec::new();
    let mut warnings = Vec::new();
    for place in places {
        nobody_works(&place.conn, &format!("database \"{}\"", place.name)).await?;
    }
    for (db, why) in away.iter().filter(|(db, _)| is_source(syncs, db)) {
        let is_active = rows.iter().any(|row| row.name == *db && row.status != "inactive");
        let told = format!("database \"{db}\" is a source and cannot be reached: {why}");
        if is_active {
            problems.push(told);
        } else {
            warnings.push(format!("{told}; \"bucardo adopt\" takes it over when it is back"));
        }
    }
    for sync in syncs {
        let name = &sync.name;
        if let Some(problem) = &sync.problem {
            problems.push(format!("sync \"{name}\": {problem}"));
            continue;
        }
        match Box::pin(check_present(sync)).await {
            Ok(checked) => {
                problems.extend(checked.problems.into_iter().map(|what| format!("sync \"{name}\": {what}")));
                warnings.extend(checked.warnings.into_iter().map(|what| format!("sync \"{name}\": {what}")));
            }
            Err(error) => problems.push(format!("sync \"{name}\": {}", error.told())),
        }
    }
    warnings.iter().for_each(|warning| ctx.out.warn(format!("Warning: {warning}")));
    if problems.is_empty() {
        return Ok(());
    }
    Err(CliError::refuse(format!("Nothing was changed:\n{}", problems.join("\n")))
        .hint("mend these, or take the sync or database out of the Perl program's catalog"))
}

fn tell_catalog(ctx: &Context, converted: &Converted) {
    ctx.out.say(format!("Catalog of version {}:", converted.version));
    for (table, rows) in converted.rows.iter().filter(|(table, _)| table != "upgrade_log") {
        ctx.out.say(format!("  {table}: {rows} rows"));
    }
    for (name, value) in &converted.unknown_settings {
        ctx.out.warn(format!("Warning: setting {name} = {value} is not carried over: there is none of that name"));
    }
    let has_code = converted.rows.iter().any(|(table, _)| table == "customcode");
    if has_code {
        ctx.out.warn("Warning: custom code is kept in the catalog, and not run yet");
    }
}

/// What is there, and what is undelivered; whether there is anything.
async fn tell_sources(ctx: &Context, syncs: &[SyncDetail], places: &mut [Place]) -> Result<bool, CliError> {
    let details: Vec<&SyncDetail> = syncs.iter().collect();
    let mut is_live = false;
    for place in places {
        let found = perl::look(&place.conn).await.map_err(sql("Cannot look for the Perl program"))?;
        if found.live.is_none() {
            continue;
        }
        is_live = true;
        let pending = perl::pending(&place.conn, &place.name, &details).await;
        let pending = pending.map_err(|error| CliError::die(error.told()).maybe_hint(error.hint()))?;
        let rows: i64 = pending.iter().map(|it| it.rows).sum();
        ctx.out.say(format!("Database \"{}\": {rows} undelivered changes", place.name));
        for it in pending {
            let truncated = if it.truncated { ", truncated before" } else { "" };
            ctx.out.say(format!("  sync {}, table {}: {} rows{truncated}", it.sync, it.table, it.rows));
        }
    }
    Ok(is_live)
}

/// The databases of the catalog, also of one that is not converted yet.
async fn databases(control: &mut Client, is_foreign: bool) -> Result<(Vec<DbRow>, Vec<SyncDetail>), CliError> {
    let txn = control.transaction().await.map_err(sql("Cannot begin"))?;
    if is_foreign {
        Box::pin(convert(&txn, true)).await?;
    }
    let found = (dbs::rows(&txn, None).await?, load_syncs(&txn).await?);
    txn.rollback().await.map_err(sql("Cannot roll back"))?;
    Ok(found)
}

async fn undo(ctx: &Context) -> Outcome {
    let (mut control, is_foreign) = open(ctx).await?;
    if !is_foreign && !old::is_kept(&*control).await? {
        return Err(CliError::refuse("This catalog was not taken over from another program, or that was forgotten"));
    }
    let (rows, syncs) = databases(&mut control, is_foreign).await?;
    let (mut places, away) = reach(&rows).await;
    if !away.is_empty() && !ctx.options.force {
        let away: Vec<String> = away.iter().map(|(db, why)| format!("database \"{db}\": {why}")).collect();
        return Err(CliError::refuse(format!("Nothing was changed: cannot reach {}", away.join("; ")))
            .hint("--force leaves out what cannot be reached: what is there stays ours"));
    }
    for place in &places {
        nobody_works(&place.conn, &format!("database \"{}\"", place.name)).await?;
        let found = perl::look(&place.conn).await.map_err(sql("Cannot look for what was taken over"))?;
        if found.has_schema {
            ctx.out.say(format!("Database \"{}\": triggers and tables of the Perl program come back", place.name));
        }
        let given_up = perl::readers_given_up(&place.conn).await;
        for (sync, target) in given_up.map_err(sql("Cannot look for targets that were given up"))? {
            ctx.out.warn(format!(
                "Warning: database \"{target}\" was given up by sync \"{sync}\": changes that it lacks are gone from \"{}\", and the Perl program will not bring them: have it copy the tables (onetimecopy=1)",
                place.name
            ));
        }
    }
    if ctx.options.dry_run {
        ctx.out.say("Dry run: nothing was changed");
        return Ok(0);
    }
    if !ctx.options.batch {
        let answer =
            ctx.out.ask("Give all this back? What was changed in the catalog since is lost. Y/N ").unwrap_or_default();
        if !answer.to_lowercase().starts_with('y') {
            return Err(CliError::refuse("Nothing was changed").hint("--batch asks nothing"));
        }
    }
    for place in &mut places {
        let back = Box::pin(perl::back(&mut place.conn, &place.name)).await.map_err(|error| {
            CliError::die(error.told()).hint("run \"bucardo adopt undo\" again, which goes on from there")
        })?;
        match back {
            Some(back) => ctx.out.say(format!(
                "Database \"{}\": {} tables given back, {} undelivered changes",
                place.name, back.tables, back.changes
            )),
            None => clean(ctx, place, &syncs).await?,
        }
    }
    let txn = control.transaction().await.map_err(sql("Cannot begin"))?;
    if is_foreign {
        let dropped = txn.batch_execute(&format!("DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")).await;
        dropped.map_err(sql("Cannot remove the schema where things were kept"))?;
    } else {
        old::restore(&txn).await?;
    }
    txn.commit().await.map_err(sql("Cannot commit; run \"bucardo adopt undo\" again"))?;
    ctx.out.say("Given back. The Perl program can be started.");
    Ok(0)
}

/// Takes what is ours out of a database that the Perl program had nothing in, unless others use it.
async fn clean(ctx: &Context, place: &mut Place, syncs: &[SyncDetail]) -> Result<(), CliError> {
    let failed = |error| CliError::caused(&format!("Cannot clean database \"{}\"", place.name), &error);
    let Some(found) = leftovers::look(&place.conn).await.map_err(failed)? else { return Ok(()) };
    let others: Vec<&str> = found
        .syncs
        .iter()
        .map(String::as_str)
        .filter(|name| !syncs.iter().any(|sync| sync.name.as_str() == *name))
        .collect();
    if found.is_control || found.is_foreign || !others.is_empty() || !found.dependents.is_empty() {
        if !others.is_empty() {
            ctx.out.warn(format!(
                "Warning: database \"{}\" is left as it is: it has the syncs {} of others",
                place.name,
                quoted(&others)
            ));
        }
        return Ok(());
    }
    leftovers::drop_all(&mut place.conn).await.map_err(failed)?;
    ctx.out.say(format!("Database \"{}\": cleaned", place.name));
    Ok(())
}

async fn forget(ctx: &Context) -> Outcome {
    let (mut control, is_foreign) = open(ctx).await?;
    if is_foreign {
        return Err(CliError::refuse("The catalog was not taken over yet").hint("\"bucardo adopt\" does that"));
    }
    let (rows, _) = databases(&mut control, false).await?;
    let (mut places, away) = reach(&rows).await;
    away.iter().for_each(|(db, why)| ctx.out.warn(format!("Warning: left out database \"{db}\": {why}")));
    for place in &places {
        let found = perl::look(&place.conn).await.map_err(sql("Cannot look for what is kept"))?;
        if found.live.is_some() {
            return Err(CliError::refuse(format!(
                "Database \"{}\" still has triggers of the Perl program",
                place.name
            ))
            .hint("\"bucardo adopt\" takes them over"));
        }
    }
    if ctx.options.dry_run {
        ctx.out.say("Dry run: nothing was changed");
        return Ok(0);
    }
    for conn in places.iter_mut().map(|place| &mut place.conn).chain(std::iter::once(&mut control)) {
        for schema in [SCHEMA.to_owned(), format!("{SCHEMA}_freezer")] {
            leftovers::drop_schema(conn, &schema).await.map_err(sql("Cannot drop what is kept; run it again"))?;
        }
    }
    ctx.out.say("What the Perl program had is gone; there is no way back any more");
    Ok(0)
}
