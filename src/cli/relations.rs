//! Finding tables and sequences in a database by the names that operators type, and adding them to the catalog.

use tokio_postgres::{GenericClient, Transaction};

use super::{CliError, Context, words};
use crate::catalog::dbs::{self, DbRow};
use crate::catalog::goats::{self, GoatListing, GoatOptions};
use crate::catalog::groups::{self, Relgroup};
use crate::pg::{connect, quoted_pieces};
use crate::source::inspect::{self, Inspected, Relation};

/// A relation as an operator names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Term {
    /// A schema and a name, both exact.
    Full {
        /// Schema.
        schema: String,
        /// Name.
        name: String,
    },
    /// A name in whatever schema the search path finds it.
    Bare(String),
    /// `schema.name`, or only a name, with wildcards.
    Wild(String),
}

impl Term {
    /// Reads a word. One with double quotes is read as SQL reads it; any other is case-exact and split at its first dot.
    pub(super) fn parse(word: &str) -> Self {
        if let Some(mut pieces) = quoted_pieces(word) {
            return match (pieces.pop(), pieces.pop()) {
                (Some(name), Some(schema)) => Self::Full { schema, name },
                (Some(name), None) => Self::Bare(name),
                (None, _) => Self::Bare(word.to_owned()),
            };
        }
        if words::is_wild(word) {
            return Self::Wild(word.to_owned());
        }
        match word.split_once('.') {
            Some((schema, name)) if !schema.is_empty() && !name.is_empty() => {
                Self::Full { schema: schema.to_owned(), name: name.to_owned() }
            }
            _ => Self::Bare(word.to_owned()),
        }
    }

    /// The relations of a database that it means, without partitions where it has wildcards.
    pub(super) fn find<'a>(&self, inspected: &'a Inspected) -> Vec<&'a Relation> {
        let all = inspected.relations.iter();
        match self {
            Self::Full { schema, name } => {
                all.filter(|relation| relation.schema == *schema && relation.name == *name).collect()
            }
            Self::Bare(name) => inspected.named(name),
            Self::Wild(pattern) => {
                all.filter(|relation| !relation.is_partition && is_users(relation) && fits(pattern, relation)).collect()
            }
        }
    }

    /// Whether it means this relation of the catalog.
    pub(super) fn means(&self, goat: &GoatListing) -> bool {
        match self {
            Self::Full { schema, name } => goat.schemaname == *schema && goat.tablename == *name,
            Self::Bare(name) => goat.tablename == *name,
            Self::Wild(pattern) => {
                let whole = if pattern.contains('.') { goat.full_name() } else { goat.tablename.clone() };
                words::matches(pattern, &whole)
            }
        }
    }
}

fn fits(pattern: &str, relation: &Relation) -> bool {
    if pattern.contains('.') {
        words::matches(pattern, &relation.full_name())
    } else {
        words::matches(pattern, &relation.name)
    }
}

/// Not in a schema that belongs to a program like this one.
fn is_users(relation: &Relation) -> bool {
    !relation.schema.starts_with("bucardo")
}

/// The database in which to look: the one named, else the catalog's default.
pub(super) async fn database(client: &impl GenericClient, named: Option<&str>) -> Result<DbRow, CliError> {
    let name = match named {
        Some(name) => name.to_owned(),
        None => dbs::default(client)
            .await?
            .ok_or_else(|| CliError::die("No databases have been added yet").hint("add one with \"bucardo add db\""))?,
    };
    let row = dbs::rows(client, Some(std::slice::from_ref(&name))).await?.pop();
    row.ok_or_else(|| CliError::die(format!("Unknown database \"{name}\"")).hint("\"bucardo list dbs\" shows them"))
}

/// Connects to a database of the catalog and lists what it has.
pub(super) async fn look(db: &DbRow) -> Result<Inspected, CliError> {
    let name = &db.name;
    let refused = |error: crate::pg::ConnectError| {
        CliError::die(format!("Cannot look into database \"{name}\": {}", crate::report::causes(&error)))
            .maybe_hint(error.hint())
    };
    let access = db.access().map_err(refused)?;
    let connection = Box::pin(connect(&access, "bucardo CLI")).await.map_err(refused)?;
    inspect::inspect(&connection)
        .await
        .map_err(|error| CliError::caused(&format!("Cannot list the tables of database \"{name}\""), &error))
}

/// The number of a relation in the catalog, and whether it was added now.
pub(super) struct Added {
    /// Its number.
    pub id: i32,
    /// It was not known before.
    pub new: bool,
    /// `schema.name`
    pub full_name: String,
}

/// Adds relations of `db`; those that are known keep their row, with the key that they have now.
pub(super) async fn add(
    transaction: &Transaction<'_>,
    db: &DbRow,
    relations: &[&Relation],
    options: &GoatOptions,
) -> Result<Vec<Added>, CliError> {
    let known = goats::list(transaction).await?;
    let mut added: Vec<Added> = Vec::new();
    for relation in relations {
        let full_name = relation.full_name();
        let same = |goat: &&GoatListing| {
            goat.db == db.name
                && goat.schemaname == relation.schema
                && goat.tablename == relation.name
                && (goat.reltype == "sequence") == relation.is_sequence
        };
        if added.iter().any(|one| one.full_name == full_name) {
            continue;
        }
        if let Some(goat) = known.iter().find(same) {
            goats::refresh_key(transaction, goat.id, relation).await?;
            added.push(Added { id: goat.id, new: false, full_name });
        } else {
            let id = goats::add(transaction, &db.name, relation, options).await?;
            added.push(Added { id, new: true, full_name });
        }
    }
    Ok(added)
}

/// Puts relations into a relgroup, which is made where it is missing; tells what happened in the words of `add table`.
pub(super) async fn join(
    ctx: &Context,
    transaction: &Transaction<'_>,
    relgroup: &str,
    relations: &[Added],
) -> Result<(), CliError> {
    if groups::add_relgroup(transaction, relgroup).await? {
        ctx.out.say(format!("Created the relgroup named \"{relgroup}\""));
    }
    let (mut now, mut before) = (Vec::new(), Vec::new());
    for relation in relations {
        let list = if groups::put_relation(transaction, relgroup, relation.id).await? { &mut now } else { &mut before };
        list.push(relation.full_name.as_str());
    }
    block(
        ctx,
        &format!("The following tables or sequences are now part of the relgroup \"{relgroup}\":"),
        now.iter().copied(),
    );
    block(
        ctx,
        &format!("The following tables or sequences were already in the relgroup \"{relgroup}\":"),
        before.iter().copied(),
    );
    if !now.is_empty() {
        let all = groups::relgroups(transaction).await?;
        for group in all.iter().filter(|group| group.name == relgroup) {
            note_syncs(ctx, group);
            note_rows(ctx, group);
        }
    }
    Ok(())
}

/// A sync sees a change of its relgroup only after it was checked and loaded again.
pub(super) fn note_syncs(ctx: &Context, group: &Relgroup) {
    if group.syncs.is_empty() {
        return;
    }
    let syncs = group.syncs.join(" ");
    ctx.out.say(format!(
        "Note: \"bucardo validate {syncs}\" and \"bucardo reload\" make this take effect in the syncs that use it"
    ));
}

/// What is in a table that joins a sync stays where it is, until somebody asks for a copy.
fn note_rows(ctx: &Context, group: &Relgroup) {
    if group.syncs.is_empty() {
        return;
    }
    let commands: Vec<String> =
        group.syncs.iter().map(|sync| format!("bucardo update sync {sync} onetimecopy=2")).collect();
    ctx.out.say(format!(
        "Note: from then on changes are replicated; rows that the tables have already are not copied. To have them copied \
         where a target's table is empty, run before the reload: {}",
        commands.join(" && ")
    ));
}

/// A heading and indented names; nothing when there are no names.
pub(super) fn block<'a>(ctx: &Context, heading: &str, names: impl Iterator<Item = &'a str>) {
    let mut names = names.peekable();
    if names.peek().is_some() {
        ctx.out.say(heading);
        names.for_each(|name| ctx.out.say(format!("  {name}")));
    }
}

/// The refusal for words that mean no relation.
pub(super) fn not_found(db: &DbRow, missing: &[String]) -> CliError {
    let mut message = "Did not find matches for the following terms:".to_owned();
    for term in missing {
        message.push_str(&format!("\n  {term}"));
    }
    CliError::refuse(message).hint(format!(
        "they were looked for in database \"{}\" ({}); nothing was changed",
        db.name,
        db.access().map(|access| access.describe()).unwrap_or_default()
    ))
}

/// The options of `add all …`.
#[derive(Clone, Debug, Default)]
pub(super) struct Filter {
    pub relgroup: Option<String>,
    pub pkonly: bool,
    pub makedelta: Option<String>,
    pub conflict_strategy: Option<String>,
}

/// Adds all tables or all sequences of `db` that the options let through.
pub(super) async fn add_everything(
    ctx: &Context,
    transaction: &Transaction<'_>,
    db: &DbRow,
    sequences: bool,
    filters: &[Filter],
) -> Result<(), CliError> {
    let filter = filters.first().cloned().unwrap_or_default();
    let inspected = look(db).await?;
    let wanted = |relation: &&Relation| {
        relation.is_sequence == sequences && !relation.is_partition && is_users(relation) && let_through(ctx, relation)
    };
    let relations: Vec<&Relation> = inspected.relations.iter().filter(wanted).collect();
    let options = GoatOptions {
        makedelta: filter.makedelta.clone(),
        conflict_strategy: filter.conflict_strategy.clone(),
        ..GoatOptions::default()
    };
    let added = add(transaction, db, &relations, &options).await?;
    let noun = if sequences { "sequences" } else { "tables" };
    if let Some(relgroup) = &filter.relgroup {
        if groups::add_relgroup(transaction, relgroup).await? {
            ctx.out.say(format!("Creating {}: {relgroup}", if ctx.is_classic { "herd" } else { "relgroup" }));
        }
        let mut joined = false;
        for (one, relation) in added.iter().zip(&relations) {
            let keyless = filter.pkonly && !sequences && relation.key_columns.is_empty();
            if !keyless && groups::put_relation(transaction, relgroup, one.id).await? {
                let kind = if sequences { "sequence" } else { "table" };
                if !ctx.is_classic {
                    ctx.out.say(format!("Added {kind} {} to relgroup {relgroup}", one.full_name));
                }
                joined = true;
            }
        }
        if joined {
            let all = groups::relgroups(transaction).await?;
            for group in all.iter().filter(|group| group.name == *relgroup) {
                note_syncs(ctx, group);
                note_rows(ctx, group);
            }
        }
    }
    let (new, old): (Vec<&Added>, Vec<&Added>) = added.iter().partition(|one| one.new);
    if ctx.out.verbosity() > 0 {
        block(ctx, &format!("New {noun}:"), new.iter().map(|one| one.full_name.as_str()));
    }
    ctx.out.say(format!("New {noun} added: {}", new.len()));
    if !old.is_empty() {
        ctx.out.say(format!("Already added: {}", old.len()));
    }
    Ok(())
}

/// `-n`, `-N`, `-t`, `-T`
fn let_through(ctx: &Context, relation: &Relation) -> bool {
    let options = &ctx.options;
    let schema = |pattern: &String| words::matches(pattern, &relation.schema);
    let table = |pattern: &String| match Term::parse(pattern) {
        Term::Full { schema, name } => relation.schema == schema && relation.name == name,
        Term::Bare(name) => relation.name == name,
        Term::Wild(pattern) => fits(&pattern, relation),
    };
    (options.schema.is_empty() || options.schema.iter().any(schema))
        && !options.exclude_schema.iter().any(schema)
        && (options.table.is_empty() || options.table.iter().any(table))
        && !options.exclude_table.iter().any(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full(schema: &str, name: &str) -> Term {
        Term::Full { schema: schema.into(), name: name.into() }
    }

    #[test]
    fn words_are_names_and_quoted_words_are_sql() {
        assert_eq!(Term::parse("public.t"), full("public", "t"));
        assert_eq!(Term::parse("Public.My Table"), full("Public", "My Table"));
        assert_eq!(Term::parse("t"), Term::Bare("t".into()));
        assert_eq!(Term::parse("a.b*"), Term::Wild("a.b*".into()));
        assert_eq!(Term::parse("\"a.b\".\"c\"\"d\""), full("a.b", "c\"d"));
        assert_eq!(Term::parse("public.\"50%*\""), full("public", "50%*"));
        assert_eq!(Term::parse("\"x\""), Term::Bare("x".into()));
        assert_eq!(Term::parse("public.weird \"name"), full("public", "weird \"name"));
        assert_eq!(Term::parse("public.\"open"), full("public", "\"open"));
    }
}
