//! `clone`: the tables of syncs are copied anew. A daemon that runs begins at once, another one when it starts.

use super::chosen::choose;
use super::ear::Ear;
use super::words::{Key, Kind, Parsed};
use super::{CliError, Context, Outcome};
use crate::catalog::{self, Table, clones};

const KEYS: [Key; 4] = [
    Key::new("sync", &["syncs"], Kind::Text),
    Key::new("dbgroup", &["dbs"], Kind::Text),
    Key::new("relgroup", &["herd"], Kind::Text),
    Key::new("options", &["option"], Kind::Text),
];

/// `clone SYNC… [dbgroup=NAME] [relgroup=NAME]`
pub(super) async fn run(ctx: &Context) -> Outcome {
    let parsed = Parsed::read(&ctx.words, &KEYS, "clone")?;
    let mut names = parsed.bare.clone();
    names.extend(parsed.list("sync"));
    let (dbgroup, relgroup) = (parsed.value("dbgroup"), parsed.value("relgroup"));
    if names.is_empty() && dbgroup.is_none() && relgroup.is_none() {
        return Err(CliError::usage("clone"));
    }
    if names.is_empty() {
        names.push("all".to_owned());
    }
    let mut ear = Ear::open(ctx).await?;
    let mut chosen = choose(ear.control(), &names).await?.syncs;
    let fits =
        |wanted: Option<&str>, has: Option<&String>| wanted.is_none_or(|wanted| has.is_some_and(|has| has == wanted));
    chosen.retain(|sync| fits(dbgroup, sync.dbs.as_ref()) && fits(relgroup, sync.herd.as_ref()));
    if chosen.is_empty() {
        return Err(CliError::die("No sync has this group of databases and this relgroup")
            .hint("\"list syncs\" shows the groups of each"));
    }
    let mut told = Vec::new();
    let failed = |error| CliError::caused("Cannot ask for a copy", &error);
    let txn = ear.control_mut().transaction().await.map_err(failed)?;
    let columns = catalog::columns(&txn, Table::Sync).await?;
    let Some(column) = columns.iter().find(|column| column.name == "onetimecopy") else {
        return Err(CliError::die("The catalog has no column onetimecopy"));
    };
    for sync in &chosen {
        // Written anew, it is a new request, also where the last one is not answered.
        catalog::write(&txn, Table::Sync, &sync.name, column, "0").await?;
        catalog::write(&txn, Table::Sync, &sync.name, column, "1").await?;
        let id = clones::add(&txn, &sync.name, parsed.value("options").unwrap_or_default()).await?;
        told.push(format!(
            "Clone {id} has been started. Use \"bucardo list clones\" to see how it is: sync {}",
            sync.name
        ));
    }
    if ctx.finish(txn).await? {
        for sync in chosen.iter().filter(|sync| sync.status == "active") {
            ear.say(&format!("reload_sync_{}", sync.name)).await?;
        }
        told.iter().for_each(|line| ctx.out.say(line));
    }
    Ok(0)
}

/// `list clones`
pub(super) async fn list(ctx: &Context) -> Outcome {
    let control = ctx.control().await?;
    let all = clones::list(control.client()).await?;
    if ctx.out.is_json() {
        ctx.out.json(&all)?;
        return Ok(0);
    }
    if all.is_empty() {
        ctx.out.say("No clones have been created yet");
    }
    for clone in all {
        ctx.out.say(format!(
            "Clone #{}  Status: {}  Sync: {}  Started: {}",
            clone.id,
            clone.status,
            clone.sync.as_deref().unwrap_or("none"),
            clone.started.as_deref().unwrap_or("never")
        ));
    }
    Ok(0)
}
