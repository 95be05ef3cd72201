//! `validate all | names`: checks syncs in all their databases and installs what they need.

use super::{CliError, Context, Outcome, relations, sync, words};
use crate::catalog::dbs::DbRow;
use crate::catalog::goats::{self, GoatListing};
use crate::catalog::{Control, load_syncs};
use crate::source::validate_sync;

pub(super) async fn run(ctx: &Context) -> Outcome {
    let wanted: Vec<String> =
        words::flat(&ctx.words).into_iter().filter(|word| !matches!(word.as_str(), "sync" | "syncs")).collect();
    if wanted.is_empty() {
        return Err(CliError::usage("validate"));
    }
    let control = ctx.control().await?;
    let mut all = load_syncs(control.client()).await?;
    if all.is_empty() {
        ctx.out.say("Sorry, there are no syncs to validate!");
        return Ok(0);
    }
    let everything = wanted.iter().any(|word| word.eq_ignore_ascii_case("all"));
    let fits = |word: &str, name: &str| word == name || (words::is_wild(word) && words::matches(word, name));
    if !everything
        && let Some(unknown) = wanted.iter().find(|word| !all.iter().any(|sync| fits(word, sync.name.as_str())))
    {
        let names = all.iter().map(|sync| sync.name.as_str());
        return Err(CliError::die(format!("Sorry, there is no sync named \"{unknown}\"")).suggest(unknown, names));
    }
    let is_chosen = |name: &str| everything || wanted.iter().any(|word| fits(word, name));
    if find_keys(ctx, &control, is_chosen).await? {
        all = load_syncs(control.client()).await?;
    }
    let chosen: Vec<_> = all.iter().filter(|sync| is_chosen(sync.name.as_str())).collect();
    let width = chosen.iter().map(|sync| sync.name.as_str().len()).max().unwrap_or(0);
    let mut failed = 0_u8;
    for sync in &chosen {
        let dots = ".".repeat(width - sync.name.as_str().len() + 5);
        ctx.out.part(format!("Validating sync {} {dots} ", sync.name));
        let outcome = match &sync.problem {
            Some(problem) => Err((problem.clone(), None)),
            None => Box::pin(validate_sync(sync)).await.map_err(|error| (error.told(), error.hint())),
        };
        match outcome {
            Ok(validated) => {
                sync::tell_validated(control.client(), &sync.name).await?;
                ctx.out.say("OK");
                validated.warnings.iter().for_each(|warning| ctx.out.warn(warning));
            }
            Err((why, hint)) => {
                failed = failed.saturating_add(1);
                ctx.out.say("FAILED");
                crate::report::failed(&format!("sync \"{}\": {why}", sync.name), hint.as_deref());
            }
        }
    }
    Ok(failed)
}

/// Writes the keys of tables that were added to the catalog by SQL, without them. True: there were such.
async fn find_keys(ctx: &Context, control: &Control, is_chosen: impl Fn(&str) -> bool) -> Result<bool, CliError> {
    let is_keyless = |goat: &GoatListing| {
        goat.reltype == "table" && goat.pkey.is_none() && goat.syncs.iter().any(|sync| is_chosen(sync))
    };
    let mut goats = goats::list(control.client()).await?;
    goats.retain(is_keyless);
    let mut has_found = false;
    while let Some(db) = goats.first().map(|goat| goat.db.clone()) {
        let row: DbRow = relations::database(control.client(), Some(&db)).await?;
        let inspected = match relations::look(&row).await {
            Ok(inspected) => inspected,
            // The validation tells it of every sync that needs this database.
            Err(error) => {
                ctx.out.warn(format!("Warning: {}", error.message));
                goats.retain(|goat| goat.db != db);
                continue;
            }
        };
        for goat in goats.iter().filter(|goat| goat.db == db) {
            let same = |it: &&crate::source::inspect::Relation| {
                it.schema == goat.schemaname && it.name == goat.tablename && !it.is_sequence
            };
            if let Some(relation) = inspected.relations.iter().find(same) {
                has_found |= goats::refresh_key(control.client(), goat.id, relation).await?;
            }
        }
        goats.retain(|goat| goat.db != db);
    }
    Ok(has_found)
}
