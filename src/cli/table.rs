//! Tables and sequences: `add`, `list`, `update`, `remove`, and `add all …`.

use tokio_postgres::GenericClient;

use super::relations::{self, Filter, Term};
use super::words::{self, Key, Kind, Parsed};
use super::{CliError, Context, Outcome, choose, classic, mapping, output, strategy, uninstall, update};
use crate::catalog::goats::{self, GoatListing, GoatOptions};
use crate::catalog::{MakeDelta, Table, dbs};

/// What a command is about; both live in one table of the catalog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// Tables.
    Tables,
    /// Sequences.
    Sequences,
}

impl What {
    const fn word(self) -> &'static str {
        match self {
            Self::Tables => "table",
            Self::Sequences => "sequence",
        }
    }

    fn is(self, goat: &GoatListing) -> bool {
        goat.reltype == self.word()
    }
}

pub(super) const KEYS: [Key; 9] = [
    Key::new("db", &["database"], Kind::Text),
    Key::new("autokick", &["ping"], Kind::Bool),
    Key::new("rebuild_index", &["rebuildindex"], Kind::Number),
    Key::new("analyze_after_copy", &[], Kind::Bool),
    Key::new("makedelta", &[], Kind::Text),
    Key::new("strict_checking", &[], Kind::Bool),
    Key::new("conflict_strategy", &["standard_conflict", "conflict"], Kind::Text),
    Key::new("customselect", &[], Kind::Text),
    Key::new("relgroup", &["herd"], Kind::Text),
];

/// `add table`, `add sequence`
pub(super) async fn add(ctx: &Context, what: What, given: &[String]) -> Outcome {
    let topic = format!("add {}", what.word());
    let parsed = Parsed::read(given, &KEYS, &topic)?;
    if parsed.bare.is_empty() {
        return Err(CliError::usage(&topic));
    }
    let mut control = ctx.control().await?;
    let transaction = control.transaction().await.map_err(|error| CliError::caused("Cannot add relations", &error))?;
    let db = relations::database(&transaction, parsed.value("db").or(ctx.options.db.as_deref())).await?;
    let inspected = relations::look(&db).await?;
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for word in &parsed.bare {
        let meant = Term::parse(word).find(&inspected);
        let fitting = meant.iter().filter(|relation| relation.is_sequence == (what == What::Sequences));
        let before = found.len();
        found.extend(fitting.copied());
        if found.len() == before {
            missing.push(word.clone());
        }
    }
    if !missing.is_empty() {
        return Err(relations::not_found(&db, &missing));
    }
    let options = GoatOptions {
        autokick: parsed.flag("autokick"),
        rebuild_index: parsed.value("rebuild_index").and_then(|value| value.parse().ok()),
        analyze_after_copy: parsed.flag("analyze_after_copy"),
        makedelta: makedelta(&transaction, parsed.value("makedelta")).await?,
        strict_checking: parsed.flag("strict_checking"),
        conflict_strategy: conflict_strategy(&transaction, what, parsed.value("conflict_strategy")).await?,
        customselect: parsed.value("customselect").map(mapping::condition),
    };
    let problems = strategy::problems(&transaction).await?;
    let added = relations::add(&transaction, &db, &found, &options).await?;
    if options.customselect.is_some() {
        let ids: Vec<i32> = added.iter().filter(|one| one.new).map(|one| one.id).collect();
        mapping::check_filters(ctx, &transaction, &ids).await?;
    }
    let names = |new: bool| added.iter().filter(move |one| one.new == new).map(|one| one.full_name.as_str());
    relations::block(ctx, "Added the following tables or sequences:", names(true));
    relations::block(ctx, "The following tables or sequences were already added:", names(false));
    if let Some(relgroup) = parsed.value("relgroup").or(ctx.options.herd.as_deref()) {
        relations::join(ctx, &transaction, relgroup, &added).await?;
    }
    strategy::check(&transaction, &problems).await?;
    ctx.finish(transaction).await?;
    Ok(0)
}

/// The strategy of tables as it is stored.
///
/// # Errors
///
/// One that is none, or any for sequences, which have no rows to choose from.
async fn conflict_strategy(
    client: &impl GenericClient,
    what: What,
    given: Option<&str>,
) -> Result<Option<String>, CliError> {
    match given {
        None => Ok(None),
        Some(words) if what == What::Sequences => strategy::stored_for_sequence(client, words).await.map(Some),
        Some(words) => strategy::stored_for_all(client, words).await.map(Some),
    }
}

const ALL_KEYS: [Key; 4] = [
    Key::new("db", &["database"], Kind::Text),
    Key::new("relgroup", &["herd"], Kind::Text),
    Key::new("makedelta", &[], Kind::Text),
    Key::new("conflict_strategy", &["standard_conflict", "conflict"], Kind::Text),
];

/// `add all tables`, `add all sequences`
pub(super) async fn add_all(ctx: &Context, what: What, given: &[String]) -> Outcome {
    let parsed = Parsed::read(given, &ALL_KEYS, "add all")?;
    if let Some(word) = parsed.bare.iter().find(|word| !word.eq_ignore_ascii_case("pkonly")) {
        return Err(CliError::refuse(format!("Unknown option '{word}'\n{}", super::section("add all"))));
    }
    let mut control = ctx.control().await?;
    let transaction = control.transaction().await.map_err(|error| CliError::caused("Cannot add relations", &error))?;
    let named = parsed.value("db").or(ctx.options.db.as_deref());
    if named.is_none() {
        let all = dbs::list(&transaction).await?;
        if all.len() > 1 {
            let names: Vec<&str> = all.iter().map(|db| db.name.as_str()).collect();
            return Err(CliError::refuse(format!(
                "There is more than one database, please name the one to look into: db={}",
                names.join(" or db=")
            )));
        }
    }
    let db = relations::database(&transaction, named).await?;
    let filter = Filter {
        relgroup: parsed.value("relgroup").or(ctx.options.herd.as_deref()).map(str::to_owned),
        pkonly: !parsed.bare.is_empty(),
        makedelta: makedelta(&transaction, parsed.value("makedelta")).await?,
        conflict_strategy: conflict_strategy(&transaction, what, parsed.value("conflict_strategy")).await?,
    };
    relations::add_everything(ctx, &transaction, &db, what == What::Sequences, &[filter]).await?;
    ctx.finish(transaction).await?;
    Ok(0)
}

/// What `makedelta` of a table says, once all databases that it names are known.
async fn makedelta(client: &impl GenericClient, given: Option<&str>) -> Result<Option<String>, CliError> {
    if let Some(MakeDelta::In(names)) = given.and_then(MakeDelta::parse) {
        let all = dbs::list(client).await?;
        let known = || all.iter().map(|db| db.name.as_str());
        if let Some(unknown) = names.iter().find(|name| !known().any(|db| db == name.as_str())) {
            let refusal = format!("makedelta names no database: \"{unknown}\" (on, off, or names of databases)");
            return Err(CliError::die(refusal).suggest(unknown, known()));
        }
    }
    Ok(given.map(str::to_owned))
}

/// `remove table`, `remove sequence`, `remove all …`
pub(super) async fn remove(ctx: &Context, what: What, given: &[String]) -> Outcome {
    let topic = format!("remove {}", what.word());
    let parsed = Parsed::read(given, &KEYS[..1], &topic)?;
    if parsed.bare.is_empty() {
        return Err(CliError::usage(&topic));
    }
    let everything = parsed.bare.len() == 1 && parsed.bare[0].eq_ignore_ascii_case("all");
    if everything && !ctx.options.batch {
        let prompt = format!("Are you sure you want to remove all {}s? ", what.word());
        let answer = ctx.out.ask(&prompt).unwrap_or_default();
        if !answer.to_lowercase().starts_with('y') {
            return Err(CliError::refuse("Nothing was removed"));
        }
    }
    let terms: Vec<Term> = parsed.bare.iter().map(|word| Term::parse(word)).collect();
    if !everything && terms.iter().any(|term| matches!(term, Term::Bare(_))) {
        return Err(CliError::die("Please use the full schema.table name"));
    }
    let mut control = ctx.control().await?;
    let transaction =
        control.transaction().await.map_err(|error| CliError::caused("Cannot remove relations", &error))?;
    let db = parsed.value("db").or(ctx.options.db.as_deref());
    let all = goats::list(&transaction).await?;
    let meant = |goat: &&GoatListing| {
        what.is(goat) && db.is_none_or(|db| goat.db == db) && (everything || terms.iter().any(|term| term.means(goat)))
    };
    let removed: Vec<&GoatListing> = all.iter().filter(meant).collect();
    if removed.is_empty() {
        return Err(CliError::refuse("Nothing found to remove"));
    }
    for goat in &removed {
        goats::remove(&transaction, goat.id).await?;
    }
    let names: Vec<String> = removed.iter().map(|goat| goat.full_name()).collect();
    relations::block(ctx, &format!("Removed the following {}s:", what.word()), names.iter().map(String::as_str));
    let mut syncs: Vec<String> = removed.iter().flat_map(|goat| goat.syncs.clone()).collect();
    syncs.sort();
    syncs.dedup();
    if ctx.finish(transaction).await? && ctx.options.cascade {
        uninstall::cascade_tables(ctx, &control, &syncs).await?;
    }
    Ok(0)
}

const ALIASES: [(&str, &str); 3] =
    [("ping", "autokick"), ("standard_conflict", "conflict_strategy"), ("conflict", "conflict_strategy")];

fn column(key: &str) -> &str {
    ALIASES.iter().find(|(alias, _)| *alias == key).map_or(key, |(_, column)| column)
}

/// `update table`, `update sequence`
pub(super) async fn change(ctx: &Context, what: What, given: &[String]) -> Outcome {
    let topic = format!("update {}", what.word());
    let (names, mut pairs) = update::sort_words(given);
    for (_, value) in pairs.iter_mut().filter(|(key, _)| key == "customselect") {
        *value = mapping::condition(value);
    }
    let filters = pairs.iter().any(|(key, _)| key == "customselect");
    if names.is_empty() || pairs.is_empty() {
        return Err(CliError::usage(&topic));
    }
    let mut control = ctx.control().await?;
    let transaction =
        control.transaction().await.map_err(|error| CliError::caused("Cannot update relations", &error))?;
    for (_, value) in pairs.iter_mut().filter(|(key, _)| column(key) == "conflict_strategy") {
        *value = conflict_strategy(&transaction, what, Some(value)).await?.unwrap_or_default();
    }
    for (_, value) in pairs.iter().filter(|(key, _)| key == "makedelta") {
        makedelta(&transaction, Some(value)).await?;
    }
    let problems = strategy::problems(&transaction).await?;
    let all = goats::list(&transaction).await?;
    for name in &names {
        let term = Term::parse(name);
        let everything = names.len() == 1 && name.eq_ignore_ascii_case("all");
        let fits = |goat: &&GoatListing| what.is(goat) && (everything || term.means(goat));
        let meant: Vec<&GoatListing> = all.iter().filter(fits).collect();
        if meant.is_empty() {
            let known = all.iter().filter(|goat| what.is(goat)).map(|goat| goat.tablename.as_str());
            return Err(
                CliError::die(format!("Could not find a {} named \"{name}\"", what.word())).suggest(name, known)
            );
        }
        for goat in meant {
            for change in update::apply(&transaction, Table::Goat, &goat.id.to_string(), &pairs, &ALIASES).await? {
                if change.is_change() {
                    ctx.out.say(format!("Changed relation {}", change.told()));
                } else {
                    ctx.out.say(format!("No change needed for {}", change.column));
                }
            }
            if filters {
                mapping::check_filters(ctx, &transaction, &[goat.id]).await?;
                mapping::note(ctx, goat, &[]);
            }
        }
    }
    strategy::check(&transaction, &problems).await?;
    ctx.finish(transaction).await?;
    Ok(0)
}

/// `list tables`, `list sequences`
pub(super) async fn list(ctx: &Context, what: What, given: &[String]) -> Outcome {
    let control = ctx.control().await?;
    let mut all = goats::list(control.client()).await?;
    all.retain(|goat| what.is(goat));
    let full: Vec<String> = all.iter().map(GoatListing::full_name).collect();
    let (filters, given) = choose::Filters::split(given, &ALIASES);
    let terms: Vec<Term> = given.iter().map(|word| Term::parse(word)).collect();
    let by_term = |goat: &GoatListing| terms.iter().any(|term| term.means(goat));
    let names: Vec<&str> = full.iter().map(String::as_str).collect();
    let plain = given.is_empty() || all.iter().any(by_term);
    let chosen = if plain { Vec::new() } else { choose::listed(control.client(), &names, &given).await? };
    let mut shown: Vec<&GoatListing> =
        all.iter().filter(|goat| given.is_empty() || by_term(goat) || chosen.contains(&goat.full_name())).collect();
    filters.keep(&mut shown)?;
    if ctx.out.is_json() {
        ctx.out.json(&shown)?;
        return Ok(0);
    }
    if all.is_empty() && ctx.is_classic {
        return classic::no_entries(ctx, "goat");
    }
    if all.is_empty() {
        ctx.out.say(match what {
            What::Sequences => "There are no sequences.",
            What::Tables => "No tables have been added yet",
        });
    } else if shown.is_empty() {
        ctx.out.say(match what {
            What::Sequences => "There are no matching sequences.",
            What::Tables => "No matching tables found",
        });
    }
    let width = shown.iter().map(|goat| goat.full_name().chars().count()).max().unwrap_or(0);
    let number = shown.iter().map(|goat| goat.id.to_string().len()).max().unwrap_or(0);
    for goat in shown {
        let name = goat.full_name();
        ctx.out.say(match what {
            What::Tables if ctx.is_classic => format!("Table: {name:width$}  DB: {}  {}", goat.db, facts(goat)),
            What::Tables => {
                format!("{:<number$} Table: {name:width$}  DB: {}  {}", format!("{}.", goat.id), goat.db, facts(goat))
            }
            What::Sequences => {
                format!("Sequence: {name:width$}  DB: {}{}{}", goat.db, used(goat), strategy_of(goat))
            }
        });
        if ctx.out.verbosity() > 0 && !goat.relgroups.is_empty() {
            ctx.out.say(format!("  In relgroups: {}", goat.relgroups.join(", ")));
        }
        if ctx.out.verbosity() > 1 {
            output::columns(&ctx.out, goat)?;
        }
    }
    Ok(0)
}

fn used(goat: &GoatListing) -> String {
    if goat.syncs.is_empty() { String::new() } else { format!("  Syncs: {}", goat.syncs.join(",")) }
}

fn strategy_of(goat: &GoatListing) -> String {
    let words = goat.conflict_strategy.as_deref().filter(|words| !words.is_empty());
    words.map_or_else(String::new, |words| format!("  (conflict_strategy:{words})"))
}

fn facts(goat: &GoatListing) -> String {
    let key = if goat.key_columns.is_empty() {
        "none".to_owned()
    } else {
        format!("{} ({})", goat.key_columns.join("|"), goat.pkeytype.as_deref().unwrap_or_default())
    };
    let mut text = format!("PK: {key}{}", used(goat));
    if let Some(autokick) = goat.autokick {
        text.push_str(&format!("  autokick:{autokick}"));
    }
    if goat.rebuild_index.is_some_and(|value| value != 0) {
        text.push_str("  rebuild_index:true");
    }
    if let Some(makedelta) = goat.makedelta.as_deref().filter(|value| !value.is_empty()) {
        text.push_str(&format!("  (makedelta:{makedelta})"));
    }
    text.push_str(&strategy_of(goat));
    if let Some(filter) = goat.customselect.as_deref().filter(|value| !value.is_empty()) {
        text.push_str(&format!("  (customselect:{filter})"));
    }
    text
}

/// The part of a command that says tables or sequences.
pub(super) fn what(word: &str) -> Option<What> {
    match words::Noun::of(word)? {
        words::Noun::Table => Some(What::Tables),
        words::Noun::Sequence => Some(What::Sequences),
        _ => None,
    }
}
