//! `add`, `list` and `remove` of what targets have differently: `customname`, `customcols`, `customselect`.

use serde_json::{Value, json};
use tokio_postgres::{GenericClient, Transaction};

use super::relations::{self, Term};
use super::words::{Key, Kind, Parsed};
use super::{CliError, Context, Outcome};
use crate::catalog::goats::{self, GoatListing};
use crate::catalog::mappings::{self, MappingKind, MappingListing};
use crate::catalog::{dbs, syncs};
use crate::pg::{Connection, RelationName, connect};
use crate::report::causes;
use crate::source::clause::{ClauseError, check_filter, filter_limit, filter_reads, list_columns};

pub(super) const KEYS: [Key; 2] = [Key::new("db", &["database"], Kind::Text), Key::new("sync", &[], Kind::Text)];

/// `add customname OLD NEW`, `add customcols TABLE "SELECT …"`, `add customselect TABLE "condition"`
pub(super) async fn add(ctx: &Context, kind: MappingKind, given: &[String]) -> Outcome {
    let topic = format!("add {}", kind.table());
    let [table, text, rest @ ..] = given else { return Err(CliError::usage(&topic)) };
    let parsed = Parsed::read(rest, &KEYS, &topic)?;
    if let Some(word) = parsed.bare.first() {
        return Err(CliError::refuse(format!("Cannot make sense of \"{word}\"\n{}", super::section(&topic)))
            .hint("a clause with blanks is one word: put it in quotes"));
    }
    let mut control = ctx.control().await?;
    let transaction =
        control.transaction().await.map_err(|error| CliError::caused(&format!("Cannot {topic}"), &error))?;
    let goat = one(&goats::list(&transaction).await?, table)?;
    let text = match kind {
        MappingKind::Name => new_name(&goat, text)?,
        MappingKind::Columns => text.trim().to_owned(),
        MappingKind::Rows => condition(text),
    };
    if kind != MappingKind::Name {
        check(ctx, &transaction, kind, &goat, &text).await?;
    }
    let (dbs, syncs) = (databases(&transaction, &parsed).await?, syncs_named(&transaction, &parsed).await?);
    let known = mappings::list(&transaction, kind).await?;
    for db in &dbs {
        for sync in &syncs {
            let same = |it: &&MappingListing| {
                it.goat == goat.id && it.text.as_ref() == Some(&text) && it.db == *db && it.sync == *sync
            };
            let (name, limits) = (goat.full_name(), limits(db.as_deref(), sync.as_deref()));
            if known.iter().any(|it| same(&it)) {
                ctx.out.say(format!("Already have an entry for {name} to {text}{limits}"));
                continue;
            }
            mappings::add(&transaction, kind, goat.id, &text, db.as_deref(), sync.as_deref()).await?;
            ctx.out.say(match kind {
                MappingKind::Name => format!("Transformed {name} to {text}{limits}"),
                MappingKind::Columns => format!("New columns for {name}: \"{text}\"{limits}"),
                MappingKind::Rows => format!("New filter for {name}: \"{text}\"{limits}"),
            });
        }
    }
    let named: Vec<String> = syncs.into_iter().flatten().collect();
    note(ctx, &goat, &named);
    ctx.finish(transaction).await?;
    Ok(0)
}

/// `remove customname ID…` and so on.
pub(super) async fn remove(ctx: &Context, kind: MappingKind, given: &[String]) -> Outcome {
    let topic = format!("remove {}", kind.table());
    if given.is_empty() {
        return Err(CliError::usage(&topic));
    }
    let mut control = ctx.control().await?;
    let transaction =
        control.transaction().await.map_err(|error| CliError::caused(&format!("Cannot {topic}"), &error))?;
    let goats = goats::list(&transaction).await?;
    let known = mappings::list(&transaction, kind).await?;
    for word in given {
        let found = word.parse().ok().and_then(|id: i32| known.iter().find(|it| it.id == id));
        let Some(found) = found else {
            return Err(CliError::refuse(format!("There is no {} with the number \"{word}\"", kind.table()))
                .hint(format!("\"bucardo list {}\" shows the numbers", kind.table())));
        };
        mappings::remove(&transaction, kind, found.id).await?;
        ctx.out.say(format!("Removed {} ID: {}", kind.table(), found.id));
        if let Some(goat) = goats.iter().find(|goat| goat.id == found.goat) {
            note(ctx, goat, found.sync.as_slice());
        }
    }
    ctx.finish(transaction).await?;
    Ok(0)
}

/// `list customnames [table or number…]` and so on.
pub(super) async fn list(ctx: &Context, kind: MappingKind, given: &[String]) -> Outcome {
    let control = ctx.control().await?;
    let all = mappings::list(control.client(), kind).await?;
    let shown = all.iter().filter(|it| given.is_empty() || given.iter().any(|word| is_meant(it, word)));
    let shown: Vec<&MappingListing> = shown.collect();
    if ctx.out.is_json() {
        ctx.out.json(&shown.into_iter().map(|it| json_of(kind, it)).collect::<Vec<_>>())?;
        return Ok(0);
    }
    if all.is_empty() {
        let nouns = kind.table().trim_end_matches('s');
        ctx.out.say(format!("No {nouns}s have been added yet"));
    } else if shown.is_empty() {
        ctx.out.say(format!("No matching {}s found", kind.table().trim_end_matches('s')));
    }
    for it in shown {
        let mut line = format!(
            "{}. Table: {}.{} => {}",
            it.id,
            it.schemaname,
            it.tablename,
            it.text.as_deref().unwrap_or_default()
        );
        for (word, value) in [("Sync", &it.sync), ("Database", &it.db)] {
            if let Some(value) = value {
                line.push_str(&format!(" {word}: {value}"));
            }
        }
        ctx.out.say(line);
    }
    Ok(0)
}

/// All mappings of a kind, for `list all --json`.
pub(super) async fn as_json(client: &impl GenericClient, kind: MappingKind) -> Result<Vec<Value>, CliError> {
    Ok(mappings::list(client, kind).await?.iter().map(|it| json_of(kind, it)).collect())
}

/// A condition as the catalog keeps it: without the word `WHERE`.
pub(super) fn condition(text: &str) -> String {
    let text = text.trim();
    match text.get(..5) {
        Some(word)
            if word.eq_ignore_ascii_case("where")
                && text[5..].chars().next().is_none_or(|next| next.is_whitespace() || next == '(') =>
        {
            text[5..].trim().to_owned()
        }
        _ => text.to_owned(),
    }
}

/// Tries the row filters that these tables have now.
pub(super) async fn check_filters(ctx: &Context, transaction: &Transaction<'_>, ids: &[i32]) -> Result<(), CliError> {
    let goats = goats::list(transaction).await?;
    for goat in goats.iter().filter(|goat| ids.contains(&goat.id)) {
        if let Some(clause) = goat.customselect.as_deref().filter(|clause| !clause.is_empty()) {
            check(ctx, transaction, MappingKind::Rows, goat, clause).await?;
        }
    }
    Ok(())
}

/// A running sync knows nothing of a change yet, and rows that are on a target stay as they are.
pub(super) fn note(ctx: &Context, goat: &GoatListing, only: &[String]) {
    let syncs: Vec<&str> =
        goat.syncs.iter().filter(|sync| only.is_empty() || only.contains(sync)).map(|it| &**it).collect();
    if !syncs.is_empty() {
        let syncs = syncs.join(" ");
        ctx.out.say(format!(
            "Note: \"bucardo validate {syncs}\" and \"bucardo reload\" make this take effect; rows that were copied \
             before follow when they change, or all with onetimecopy=1"
        ));
    }
}

/// The one table or sequence that a word means: a number, `schema.name` or a name.
pub(super) fn one(all: &[GoatListing], word: &str) -> Result<GoatListing, CliError> {
    let term = Term::parse(word);
    let named: Vec<&GoatListing> = all.iter().filter(|goat| term.means(goat)).collect();
    let numbered = || all.iter().filter(|goat| word.parse() == Ok(goat.id)).collect();
    let found: Vec<&GoatListing> = if named.is_empty() { numbered() } else { named };
    match found.as_slice() {
        [goat] => Ok((*goat).clone()),
        [] => Err(CliError::refuse(format!("Could not find a relation named \"{word}\""))
            .hint("\"bucardo list tables\" shows those of the catalog; add it with \"bucardo add table\"")
            .suggest(word, all.iter().map(|goat| goat.tablename.as_str()))),
        several => {
            let numbers: Vec<String> =
                several.iter().map(|goat| format!("{} ({} of {})", goat.id, goat.full_name(), goat.db)).collect();
            Err(CliError::refuse(format!("\"{word}\" means several tables"))
                .hint(format!("give the number of one: {}", numbers.join(", "))))
        }
    }
}

fn new_name(goat: &GoatListing, word: &str) -> Result<String, CliError> {
    let new = RelationName::parse(word);
    let new = RelationName { schema: Some(new.schema.unwrap_or_else(|| goat.schemaname.clone())), name: new.name };
    if new.name.is_empty() {
        return Err(CliError::refuse("The new name is empty"));
    }
    if new.schema.as_ref() == Some(&goat.schemaname) && new.name == goat.tablename {
        return Err(CliError::refuse(format!("The new name of {new} is the same as the old one")));
    }
    Ok(new.to_string())
}

/// Tries a clause on the database in which the table was found.
async fn check(
    ctx: &Context,
    client: &impl GenericClient,
    kind: MappingKind,
    goat: &GoatListing,
    clause: &str,
) -> Result<(), CliError> {
    let (name, noun) = (goat.full_name(), kind.table());
    if goat.reltype == "sequence" {
        return Err(CliError::refuse(format!("\"{name}\" is a sequence: {noun} is for tables")));
    }
    if clause.is_empty() {
        return Err(CliError::refuse(format!("The {noun} of {name} is empty")));
    }
    let conn = dial(client, &goat.db).await?;
    let tried = async {
        if kind == MappingKind::Columns {
            return list_columns(&conn, &goat.goat(), clause).await.map(|_| Vec::new());
        }
        check_filter(&conn, &goat.goat(), clause).await?;
        Ok(filter_reads(&conn, &goat.goat(), clause).await?)
    };
    let tables = tried.await.map_err(|error| match (error.told(), error) {
        (Some(why), _) | (None, ClauseError::Unfit(why)) => {
            CliError::refuse(format!("Cannot use this as {noun} of {name}: {why}; it is: {clause}"))
        }
        (None, ClauseError::Sql(error)) => CliError::caused(&format!("Cannot try the {noun} of {name}"), &error),
    })?;
    if !tables.is_empty() {
        ctx.out.warn(format!("Warning: {noun} of {name}: {}", filter_limit(&tables)));
    }
    Ok(())
}

async fn dial(client: &impl GenericClient, db: &str) -> Result<Connection, CliError> {
    let row = relations::database(client, Some(db)).await?;
    let refused = |error: crate::pg::ConnectError| {
        CliError::die(format!("Cannot try the clause on database \"{db}\": {}", causes(&error)))
            .maybe_hint(error.hint())
    };
    Box::pin(connect(&row.access().map_err(refused)?, "bucardo CLI")).await.map_err(refused)
}

/// The databases named; one `None` where there are none.
async fn databases(client: &impl GenericClient, parsed: &Parsed) -> Result<Vec<Option<String>>, CliError> {
    let all = dbs::list(client).await?;
    limited("database", parsed.list("db"), |name| all.iter().any(|db| db.name == name))
}

async fn syncs_named(client: &impl GenericClient, parsed: &Parsed) -> Result<Vec<Option<String>>, CliError> {
    let all = syncs::list(client).await?;
    limited("sync", parsed.list("sync"), |name| all.iter().any(|sync| sync.name == name))
}

fn limited(noun: &str, mut names: Vec<String>, exists: impl Fn(&str) -> bool) -> Result<Vec<Option<String>>, CliError> {
    names.sort();
    names.dedup();
    if let Some(unknown) = names.iter().find(|name| !exists(name)) {
        return Err(CliError::refuse(format!("Unknown {noun} \"{unknown}\"")));
    }
    Ok(if names.is_empty() { vec![None] } else { names.into_iter().map(Some).collect() })
}

fn limits(db: Option<&str>, sync: Option<&str>) -> String {
    let db = db.map(|db| format!(" (for database {db})")).unwrap_or_default();
    let sync = sync.map(|sync| format!(" (for sync {sync})")).unwrap_or_default();
    format!("{db}{sync}")
}

fn is_meant(listing: &MappingListing, word: &str) -> bool {
    let (schema, name) = (&listing.schemaname, &listing.tablename);
    word.parse() == Ok(listing.id)
        || match Term::parse(word) {
            Term::Full { schema: wanted, name: named } => wanted == *schema && named == *name,
            Term::Bare(named) => named == *name,
            Term::Wild(pattern) => {
                super::words::matches(&pattern, name) || super::words::matches(&pattern, &format!("{schema}.{name}"))
            }
        }
}

fn json_of(kind: MappingKind, it: &MappingListing) -> Value {
    json!({
        "id": it.id,
        "goat": it.goat,
        "schemaname": it.schemaname,
        "tablename": it.tablename,
        kind.column(): it.text,
        "db": it.db,
        "sync": it.sync,
        "cdate": it.cdate,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_may_begin_with_where() {
        assert_eq!(condition(" WHERE a = 1 "), "a = 1");
        assert_eq!(condition("where(a = 1)"), "(a = 1)");
        assert_eq!(condition("whereabouts = 1"), "whereabouts = 1");
        assert_eq!(condition("where"), "");
        assert_eq!(condition("ü"), "ü");
    }
}
