//! `uninstall`, `list orphans`, `remove orphans`, and the cascade of `remove`: databases as they were before.

use bucardo_actors::model::SyncName;
use tokio_postgres::GenericClient;

use super::{CliError, Context, Outcome, sync, words};
use crate::adapters;
use crate::catalog::dbs::{self, DbRow};
use crate::catalog::{Control, Role, SyncDetail, load_sync, syncs};
use crate::pg::{Connection, connect};
use crate::report::causes;
use crate::source::leftovers::{self, Leftovers};

/// A database, and what is there.
struct Place {
    db: String,
    conn: Connection,
    found: Leftovers,
}

impl Place {
    fn failed(&self) -> impl Fn(tokio_postgres::Error) -> CliError + use<> {
        let db = self.db.clone();
        move |error| {
            CliError::caused(&format!("Cannot clean database \"{db}\""), &error)
                .hint("run it again when no transaction is in the way: it goes on from there")
        }
    }
}

/// Looks into the databases of the catalog. Those that cannot be reached are an error, unless `--force` leaves them out.
async fn look(ctx: &Context, rows: &[DbRow]) -> Result<Vec<Place>, CliError> {
    let mut places = Vec::new();
    let mut unreached = Vec::new();
    for row in rows.iter().filter(|row| row.kind == dbs::POSTGRES) {
        let connected = match row.access() {
            Ok(access) => Box::pin(connect(&access, "bucardo CLI")).await,
            Err(error) => Err(error),
        };
        match connected {
            Err(error) => unreached.push(format!("database \"{}\": {}", row.name, causes(&error))),
            Ok(conn) => {
                let found = leftovers::look(&conn).await.map_err(|error| {
                    CliError::caused(&format!("Cannot look into database \"{}\"", row.name), &error)
                })?;
                places.extend(found.map(|found| Place { db: row.name.clone(), conn, found }));
            }
        }
    }
    if !unreached.is_empty() && !ctx.options.force {
        return Err(CliError::die(format!("Nothing was changed: cannot reach {}", unreached.join("; ")))
            .hint("--force leaves out what cannot be reached: what is there stays there"));
    }
    unreached.iter().for_each(|it| ctx.out.warn(format!("Warning: left out {it}")));
    Ok(places)
}

/// `uninstall`
pub(super) async fn run(ctx: &Context) -> Outcome {
    if let Some(word) = ctx.words.first() {
        return Err(CliError::refuse(format!("\"uninstall\" takes no words: \"{word}\"")));
    }
    let mut control = ctx.control().await?;
    if adapters::is_lease_held(&control)
        .await
        .map_err(|error| CliError::caused("Cannot see whether the daemon runs", &error))?
    {
        return Err(
            CliError::refuse("The daemon runs on this control database").hint("end it with \"bucardo stop\" first")
        );
    }
    let rows = dbs::rows(control.client(), None).await?;
    let mut places = look(ctx, &rows).await?;
    check(ctx, &control, &places).await?;
    let failed = |error| CliError::caused("Cannot look into the control database", &error);
    let own = leftovers::look(&control).await.map_err(failed)?.map(|found| found.identity);
    for place in places.iter().filter(|place| place.found.is_control && Some(&place.found.identity) != own.as_ref()) {
        ctx.out.warn(format!("Warning: database \"{}\" holds another catalog: it is left as it is", place.db));
    }
    // Two entries may reach one database.
    let mut seen = Vec::new();
    places.retain(|place| {
        let is_new = !seen.contains(&place.found.identity);
        seen.push(place.found.identity.clone());
        is_new && !place.found.is_foreign && (!place.found.is_control || Some(&place.found.identity) == own.as_ref())
    });
    for place in &places {
        ctx.out.say(format!("Database \"{}\": schema \"bucardo\" with {} tables", place.db, place.found.tables));
        place.found.triggers.iter().for_each(|trigger| ctx.out.say(format!("  trigger {trigger}")));
    }
    ctx.out.say("Control database: schema \"bucardo\" with the catalog, schema \"freezer\" with old runs");
    if ctx.options.dry_run {
        ctx.out.say("Dry run: nothing was changed");
        return Ok(0);
    }
    if !ctx.options.batch {
        let answer = ctx.out.ask("Remove all this? Y/N ").unwrap_or_default();
        if !answer.to_lowercase().starts_with('y') {
            return Err(CliError::refuse("Nothing was changed").hint("--batch asks nothing"));
        }
    }
    // The catalog comes last: it knows what is left to be done if this ends half-way.
    for place in places.iter_mut().filter(|place| !place.found.is_control) {
        let failed = place.failed();
        leftovers::drop_all(&mut place.conn).await.map_err(failed)?;
        ctx.out.say(format!("Cleaned database \"{}\"", place.db));
    }
    let failed = |error| CliError::caused("Cannot remove the catalog; the databases are clean", &error);
    leftovers::drop_freezer(&mut control).await.map_err(failed)?;
    leftovers::drop_all(&mut control).await.map_err(failed)?;
    ctx.out.say("Removed the catalog; the control database itself and its role remain");
    Ok(0)
}

/// Refuses where others are concerned, unless `--force` says that they are not.
async fn check(ctx: &Context, control: &Control, places: &[Place]) -> Result<(), CliError> {
    let own = syncs::list(control.client()).await?;
    let mut reasons = Vec::new();
    for Place { db, found, .. } in places {
        for sync in found.syncs.iter().filter(|name| !own.iter().any(|sync| sync.name == **name)) {
            reasons.push(format!("database \"{db}\" has sync \"{sync}\", which this catalog does not know"));
        }
        for lacking in &found.lacking_indexes {
            reasons.push(format!("database \"{db}\": {}", lacking.told()));
        }
        for view in &found.dependents {
            reasons.push(format!("database \"{db}\" has the view {view}, which would go, too"));
        }
    }
    if reasons.is_empty() || ctx.options.force {
        return Ok(());
    }
    Err(CliError::refuse(format!("Nothing was changed: {}", reasons.join("\n"))).hint("--force does it nevertheless"))
}

/// `list orphans`
pub(super) async fn list(ctx: &Context, given: &[String]) -> Outcome {
    let control = ctx.control().await?;
    let orphans = orphans(ctx, &control, given).await?;
    if ctx.out.is_json() {
        let told: Vec<_> = orphans
            .iter()
            .map(|(place, syncs)| serde_json::json!({"db": place.db, "syncs": syncs, "tables": place.found.unused}))
            .collect();
        ctx.out.json(&told)?;
        return Ok(0);
    }
    if orphans.is_empty() {
        ctx.out.say("There are no orphans.");
    }
    for (place, syncs) in &orphans {
        for sync in syncs {
            ctx.out.say(format!("Database: {}  Sync: {sync} (not in the catalog)", place.db));
        }
        for table in &place.found.unused {
            ctx.out.say(format!("Database: {}  Table: {table} (triggers, in no sync)", place.db));
        }
    }
    Ok(0)
}

/// `remove orphans`
pub(super) async fn remove(ctx: &Context, given: &[String]) -> Outcome {
    let control = ctx.control().await?;
    for (mut place, syncs) in orphans(ctx, &control, given).await? {
        let db = place.db.clone();
        let mut told: Vec<String> = syncs.iter().map(|sync| format!("sync \"{sync}\"")).collect();
        if ctx.options.dry_run {
            told.extend(place.found.unused.iter().map(|table| format!("triggers of {table}")));
            told.iter().for_each(|it| ctx.out.say(format!("Would remove {it} from database \"{db}\"")));
            continue;
        }
        let failed = place.failed();
        for sync in &syncs {
            leftovers::forget(&mut place.conn, &SyncName::from(sync.as_str())).await.map_err(&failed)?;
        }
        let dropped = leftovers::drop_unused(&mut place.conn).await.map_err(&failed)?;
        told.extend(dropped.iter().map(|table| format!("triggers of {table}")));
        told.iter().for_each(|it| ctx.out.say(format!("Removed {it} from database \"{db}\"")));
    }
    Ok(0)
}

/// The databases that have any, with the syncs that the catalog does not know.
async fn orphans(ctx: &Context, control: &Control, given: &[String]) -> Result<Vec<(Place, Vec<String>)>, CliError> {
    let names = words::flat(given);
    let rows = dbs::rows(control.client(), None).await?;
    if let Some(unknown) = names.iter().find(|name| !rows.iter().any(|row| row.name == **name)) {
        return Err(CliError::die(format!("No such database: {unknown}"))
            .suggest(unknown, rows.iter().map(|row| row.name.as_str())));
    }
    let rows: Vec<DbRow> = rows.into_iter().filter(|row| names.is_empty() || names.contains(&row.name)).collect();
    let own = syncs::list(control.client()).await?;
    let mut all = Vec::new();
    for place in look(ctx, &rows).await?.into_iter().filter(|place| !place.found.is_foreign) {
        let is_unknown = |name: &&String| !own.iter().any(|sync| sync.name == **name);
        let syncs: Vec<String> = place.found.syncs.iter().filter(is_unknown).cloned().collect();
        if !syncs.is_empty() || !place.found.unused.is_empty() {
            all.push((place, syncs));
        }
    }
    Ok(all)
}

/// After `remove … --cascade`: takes away, on these databases, the triggers and tables that no sync needs any more.
pub(super) async fn cascade(ctx: &Context, rows: &[DbRow]) {
    for row in rows.iter().filter(|row| row.kind == dbs::POSTGRES) {
        let done = async {
            let mut conn = Box::pin(connect(&row.access()?, "bucardo CLI")).await?;
            let failed = |error| CliError::caused("Cannot drop triggers", &error);
            leftovers::drop_unused(&mut conn).await.map_err(failed)
        };
        match done.await {
            Ok(tables) => tables.iter().for_each(|table| {
                ctx.out.say(format!("Removed triggers and changes of {table} from database \"{}\"", row.name));
            }),
            Err(error) => ctx.out.warn(format!(
                "Warning: triggers may remain on database \"{}\": {}; \"bucardo remove orphans\" tries again",
                row.name, error.message
            )),
        }
    }
}

/// The rows of the databases that are sources of these syncs.
pub(super) async fn sources(client: &impl GenericClient, syncs: &[SyncDetail]) -> Result<Vec<DbRow>, CliError> {
    let is_source = |name: &str| {
        let mut members = syncs.iter().flat_map(|sync| &sync.members);
        members.any(|member| member.role == Role::Source && member.db.active && member.db.name.as_str() == name)
    };
    let mut rows = dbs::rows(client, None).await?;
    rows.retain(|row| is_source(&row.name));
    Ok(rows)
}

/// After `remove table --cascade`: these syncs forget the tables that they had, and what nobody needs then goes.
pub(super) async fn cascade_tables(ctx: &Context, control: &Control, syncs: &[String]) -> Result<(), CliError> {
    let mut details = Vec::new();
    for name in syncs {
        let Some(detail) = load_sync(control.client(), &SyncName::from(name.as_str())).await? else { continue };
        if detail.goats.is_empty() {
            sync::forget(ctx, std::slice::from_ref(&detail)).await;
        } else if let Err(error) = sync::validate(ctx, control.client(), &detail).await {
            ctx.out.warn(format!("Warning: sync \"{name}\" still has triggers on these tables: {}", error.message));
        }
        details.push(detail);
    }
    let rows = sources(control.client(), &details).await?;
    cascade(ctx, &rows).await;
    Ok(())
}

/// Takes the schema out of databases that have left the catalog, where nothing in it is needed by anybody.
pub(super) async fn drop_if_empty(ctx: &Context, rows: &[DbRow]) {
    for row in rows.iter().filter(|row| row.kind == dbs::POSTGRES) {
        let done = async {
            let mut conn = Box::pin(connect(&row.access()?, "bucardo CLI")).await?;
            let failed = |error| CliError::caused("Cannot remove the schema \"bucardo\"", &error);
            let found = leftovers::look(&conn).await.map_err(failed)?;
            let is_needed = |it: &Leftovers| {
                it.is_control
                    || it.is_foreign
                    || !it.syncs.is_empty()
                    || !it.triggers.is_empty()
                    || !it.dependents.is_empty()
            };
            match found {
                Some(found) if !is_needed(&found) => {
                    leftovers::drop_all(&mut conn).await.map(|()| true).map_err(failed)
                }
                _ => Ok(false),
            }
        };
        match done.await {
            Ok(true) => ctx.out.say(format!("Removed the schema \"bucardo\" from database \"{}\"", row.name)),
            Ok(false) => {}
            Err(error) => ctx.out.warn(format!("Warning: database \"{}\": {}", row.name, error.message)),
        }
    }
}
