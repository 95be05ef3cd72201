//! `add`, `list`, `update` and `remove`: from the noun to its module.

use serde_json::json;

use super::table::{self, What};
use super::words::Noun;
use super::{
    CliError, Context, Outcome, clone, conflict, customcode, db, dbgroup, deadletter, mapping, relgroup, settings,
    sync, uninstall,
};
use crate::catalog::mappings::{self, MappingKind};
use crate::catalog::{codes, dbs, goats, groups, syncs};

/// `add …`
pub(super) async fn add(ctx: &Context) -> Outcome {
    let (noun, rest) = noun(ctx)?;
    match noun {
        Noun::Database => Box::pin(db::add(ctx, rest)).await,
        Noun::Dbgroup => Box::pin(dbgroup::add(ctx, rest)).await,
        Noun::Relgroup => Box::pin(relgroup::add(ctx, rest)).await,
        Noun::Sync => Box::pin(sync::add(ctx, rest)).await,
        Noun::All => match rest.split_first().map(|(word, rest)| (table::what(word), rest)) {
            Some((Some(what), rest)) => Box::pin(table::add_all(ctx, what, rest)).await,
            _ => Err(CliError::usage("add all")),
        },
        Noun::Table | Noun::Sequence => {
            let what = if noun == Noun::Table { What::Tables } else { What::Sequences };
            match rest.split_first() {
                Some((first, rest)) if first.eq_ignore_ascii_case("all") => {
                    Box::pin(table::add_all(ctx, what, rest)).await
                }
                _ => Box::pin(table::add(ctx, what, rest)).await,
            }
        }
        Noun::Customcode => Box::pin(customcode::add(ctx, rest)).await,
        Noun::Customname => Box::pin(mapping::add(ctx, MappingKind::Name, rest)).await,
        Noun::Customcols => Box::pin(mapping::add(ctx, MappingKind::Columns, rest)).await,
        Noun::Customselect => Box::pin(mapping::add(ctx, MappingKind::Rows, rest)).await,
        Noun::Goat => Err(CliError::refuse("Cannot add a goat: use \"add table\" or \"add sequence\"")),
        Noun::Config | Noun::Conflict | Noun::Deadletter | Noun::Orphan | Noun::Clone => Err(CliError::usage("add")),
    }
}

/// `update …`
pub(super) async fn update(ctx: &Context) -> Outcome {
    let (noun, rest) = noun(ctx)?;
    match noun {
        Noun::Database => Box::pin(db::change(ctx, rest)).await,
        Noun::Dbgroup => Box::pin(dbgroup::change(ctx, rest)).await,
        Noun::Relgroup => Box::pin(relgroup::change(ctx, rest)).await,
        Noun::Sync => Box::pin(sync::change(ctx, rest)).await,
        Noun::Table => Box::pin(table::change(ctx, What::Tables, rest)).await,
        Noun::Sequence => Box::pin(table::change(ctx, What::Sequences, rest)).await,
        Noun::Config => Box::pin(settings::set(ctx, rest)).await,
        Noun::Customcode => Box::pin(customcode::change(ctx, rest)).await,
        Noun::Customname | Noun::Customcols | Noun::Customselect => Err(CliError::refuse(
            "Names, columns and filters are not updated: add the new one, then remove the old one",
        )),
        Noun::All | Noun::Conflict | Noun::Deadletter | Noun::Orphan | Noun::Clone | Noun::Goat => {
            Err(CliError::usage("update"))
        }
    }
}

/// `remove …`
pub(super) async fn remove(ctx: &Context) -> Outcome {
    let (noun, rest) = noun(ctx)?;
    let all = ["all".to_owned()];
    match noun {
        Noun::Database => Box::pin(db::remove(ctx, rest)).await,
        Noun::Dbgroup => Box::pin(dbgroup::remove(ctx, rest)).await,
        Noun::Relgroup => Box::pin(relgroup::remove(ctx, rest)).await,
        Noun::Sync => Box::pin(sync::remove(ctx, rest)).await,
        Noun::Table => Box::pin(table::remove(ctx, What::Tables, rest)).await,
        Noun::Sequence => Box::pin(table::remove(ctx, What::Sequences, rest)).await,
        Noun::All => match rest.first().and_then(|word| table::what(word)) {
            Some(what) => Box::pin(table::remove(ctx, what, &all)).await,
            None => Err(CliError::usage("remove table")),
        },
        Noun::Orphan => Box::pin(uninstall::remove(ctx, rest)).await,
        Noun::Customcode => Box::pin(customcode::remove(ctx, rest)).await,
        Noun::Customname => Box::pin(mapping::remove(ctx, MappingKind::Name, rest)).await,
        Noun::Customcols => Box::pin(mapping::remove(ctx, MappingKind::Columns, rest)).await,
        Noun::Customselect => Box::pin(mapping::remove(ctx, MappingKind::Rows, rest)).await,
        Noun::Goat | Noun::Config | Noun::Conflict | Noun::Deadletter | Noun::Clone => Err(CliError::usage("remove")),
    }
}

/// `list …`
pub(super) async fn list(ctx: &Context) -> Outcome {
    let (noun, rest) = noun(ctx)?;
    match noun {
        Noun::Database => Box::pin(db::list(ctx, rest)).await,
        Noun::Dbgroup => Box::pin(dbgroup::list(ctx, rest)).await,
        Noun::Relgroup => Box::pin(relgroup::list(ctx, rest)).await,
        Noun::Sync => Box::pin(sync::list(ctx, rest)).await,
        Noun::Table => Box::pin(table::list(ctx, What::Tables, rest)).await,
        Noun::Sequence => Box::pin(table::list(ctx, What::Sequences, rest)).await,
        Noun::Config => Box::pin(settings::show(ctx, &["all".to_owned()])).await,
        Noun::Conflict => Box::pin(conflict::list(ctx, rest)).await,
        Noun::Deadletter => Box::pin(deadletter::list(ctx, rest)).await,
        Noun::All => Box::pin(list_all(ctx)).await,
        Noun::Orphan => Box::pin(uninstall::list(ctx, rest)).await,
        Noun::Clone => Box::pin(clone::list(ctx)).await,
        Noun::Customcode => Box::pin(customcode::list(ctx, rest)).await,
        Noun::Customname => Box::pin(mapping::list(ctx, MappingKind::Name, rest)).await,
        Noun::Customcols => Box::pin(mapping::list(ctx, MappingKind::Columns, rest)).await,
        Noun::Customselect => Box::pin(mapping::list(ctx, MappingKind::Rows, rest)).await,
        Noun::Goat => Err(CliError::usage("list")),
    }
}

fn noun(ctx: &Context) -> Result<(Noun, &[String]), CliError> {
    let Some((word, rest)) = ctx.words.split_first() else { return Err(CliError::usage(&ctx.verb)) };
    match Noun::of(word) {
        Some(noun) => Ok((noun, rest)),
        None => {
            let usage = super::section(&ctx.verb);
            Err(CliError::refuse(format!("Cannot {} \"{word}\": there is no such thing\n{usage}", ctx.verb))
                .suggest(word, super::words::NOUNS))
        }
    }
}

async fn list_all(ctx: &Context) -> Outcome {
    if ctx.out.is_json() {
        let control = ctx.control().await?;
        let goats = goats::list(control.client()).await?;
        let (tables, sequences): (Vec<_>, Vec<_>) = goats.into_iter().partition(|goat| goat.reltype == "table");
        let mappings = |kind| mapping::as_json(control.client(), kind);
        ctx.out.json(&json!({
            "customcodes": codes::list(control.client()).await?,
            "customnames": mappings(MappingKind::Name).await?,
            "customcols": mappings(MappingKind::Columns).await?,
            "customselects": mappings(MappingKind::Rows).await?,
            "dbgroups": groups::dbgroups(control.client()).await?,
            "databases": dbs::list(control.client()).await?,
            "relgroups": groups::relgroups(control.client()).await?,
            "syncs": syncs::list(control.client()).await?,
            "tables": tables,
            "sequences": sequences,
        }))?;
        return Ok(0);
    }
    let control = ctx.control().await?;
    if !codes::list(control.client()).await?.is_empty() {
        ctx.out.say("-- customcodes:");
        Box::pin(customcode::list(ctx, &[])).await?;
    }
    for (heading, kind) in [
        ("-- customnames:", MappingKind::Name),
        ("-- customcols:", MappingKind::Columns),
        ("-- customselects:", MappingKind::Rows),
    ] {
        if !mappings::list(control.client(), kind).await?.is_empty() {
            ctx.out.say(heading);
            Box::pin(mapping::list(ctx, kind, &[])).await?;
        }
    }
    ctx.out.say("-- dbgroups:");
    Box::pin(dbgroup::list(ctx, &[])).await?;
    ctx.out.say("-- databases:");
    Box::pin(db::list(ctx, &[])).await?;
    ctx.out.say("-- relgroup:");
    Box::pin(relgroup::list(ctx, &[])).await?;
    ctx.out.say("-- syncs:");
    Box::pin(sync::list(ctx, &[])).await?;
    ctx.out.say("-- tables:");
    Box::pin(table::list(ctx, What::Tables, &[])).await?;
    ctx.out.say("-- sequences:");
    Box::pin(table::list(ctx, What::Sequences, &[])).await
}
