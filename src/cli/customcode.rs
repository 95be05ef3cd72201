//! Custom code: `add customcode`, `list codes`, `update customcode`, `remove customcode`.

use std::io::Read;

use tokio_postgres::GenericClient;

use super::words::{self, Key, Kind, Parsed};
use super::{CliError, Context, Outcome, choose, mapping, output, update};
use crate::catalog::codes::{self, CodeListing, CodeUse, NewCode, Place, WHENRUN};
use crate::catalog::{Table, goats, syncs};

pub(super) const KEYS: [Key; 11] = [
    Key::new("whenrun", &["when", "when_run"], Kind::Text),
    Key::new("src_code", &["src", "source_code", "code"], Kind::Text),
    Key::new("language", &["lang"], LANGUAGE),
    Key::new("about", &[], Kind::Text),
    Key::new("getdbh", &["get_dbh"], Kind::Bool),
    Key::new("getrows", &["get_rows"], Kind::Bool),
    Key::new("status", &[], Kind::OneOf(&["active", "inactive"])),
    Key::new("priority", &[], Kind::Text),
    Key::new("active", &[], Kind::Bool),
    Key::new("sync", &[], Kind::Text),
    Key::new("relation", &["table", "goat", "sequence"], Kind::Text),
];
/// Exit code for a name that is taken and for a file that cannot be read.
const EXIT_CODE: u8 = 2;
/// A source is this long at most.
const SOURCE_BYTES_MAX: u64 = 1 << 20;
const LANGUAGE: Kind = Kind::OneOf(&["lua", "perl", "sql"]);

/// `add customcode`
pub(super) async fn add(ctx: &Context, given: &[String]) -> Outcome {
    let parsed = Parsed::read(given, &KEYS, "add customcode")?;
    let [name] = parsed.bare.as_slice() else { return Err(CliError::usage("add customcode")) };
    let (Some(whenrun), Some(file)) = (parsed.value("whenrun"), parsed.value("src_code")) else {
        return Err(CliError::usage("add customcode"));
    };
    let places = Places::of(&parsed)?;
    let (whenrun, src_code) = (when(whenrun)?, source(file)?);
    let priority = parsed.value("priority").map(number).transpose()?;
    let code = NewCode {
        name: name.clone(),
        whenrun,
        language: parsed.value("language").or_else(|| language(file)).unwrap_or("perl").to_owned(),
        src_code,
        about: parsed.value("about").map(str::to_owned),
        getdbh: parsed.flag("getdbh").unwrap_or(true),
        getrows: parsed.flag("getrows").unwrap_or(false),
        status: parsed.value("status").unwrap_or("active").to_owned(),
        // Of a code that is for something, it is the rank there.
        priority: if places.is_empty() { priority.unwrap_or(0) } else { 0 },
    };
    let mut control = ctx.control().await?;
    let transaction = control.transaction().await.map_err(|error| CliError::caused("Cannot add customcode", &error))?;
    if codes::list(&transaction).await?.iter().any(|code| code.name == *name) {
        return Err(CliError::with_code(
            EXIT_CODE,
            format!("Cannot add customcode: the name \"{name}\" already exists"),
        )
        .hint(format!("\"bucardo update customcode {name} src_code=FILE\" changes it")));
    }
    let id = codes::add(&transaction, &code).await?;
    places.put(&transaction, id, parsed.flag("active"), priority).await?;
    ctx.out.say(format!("Added customcode \"{name}\""));
    ctx.finish(transaction).await?;
    Ok(0)
}

/// `update customcode`
pub(super) async fn change(ctx: &Context, given: &[String]) -> Outcome {
    let mut keys = KEYS.to_vec();
    keys.push(Key::new("name", &["newname"], Kind::Text));
    let parsed = Parsed::read(given, &keys, "update customcode")?;
    let [name] = parsed.bare.as_slice() else { return Err(CliError::usage("update customcode")) };
    if parsed.keys().next().is_none() {
        return Err(CliError::usage("update customcode"));
    }
    let places = Places::of(&parsed)?;
    let priority = parsed.value("priority").map(number).transpose()?;
    if parsed.flag("active").is_some() && places.is_empty() {
        return Err(CliError::refuse("\"active\" tells whether a code runs in one place: name it, too")
            .hint("sync=NAME or relation=NAME; status=inactive is for the code as a whole"));
    }
    let mut pairs = Vec::new();
    for key in ["about", "language", "getdbh", "getrows", "status", "whenrun", "src_code", "priority", "name"] {
        let Some(value) = parsed.value(key) else { continue };
        match key {
            "whenrun" => pairs.push((key.to_owned(), when(value)?)),
            "src_code" => pairs.push((key.to_owned(), source(value)?)),
            "priority" if !places.is_empty() => {}
            _ => pairs.push((key.to_owned(), value.to_owned())),
        }
    }
    let mut control = ctx.control().await?;
    let transaction =
        control.transaction().await.map_err(|error| CliError::caused("Cannot update customcode", &error))?;
    let all = codes::list(&transaction).await?;
    let code = all.iter().find(|code| code.name == *name).ok_or_else(|| unknown(name, &all))?;
    let written_in = parsed.value("src_code").filter(|_| parsed.value("language").is_none()).and_then(language);
    if let Some(language) = written_in.filter(|language| *language != code.language) {
        pairs.push(("language".to_owned(), language.to_owned()));
    }
    if let Some(new) = parsed.value("name").filter(|new| all.iter().any(|code| code.name == **new && new != name)) {
        let message = format!("Cannot rename customcode \"{name}\": the name \"{new}\" already exists");
        return Err(CliError::with_code(EXIT_CODE, message));
    }
    // The name comes last: until then it names the row.
    for change in update::apply(&transaction, Table::Customcode, name, &pairs, &[]).await? {
        ctx.out.say(match (change.is_change(), change.column.as_str()) {
            (false, column) => format!("No change needed for {column}"),
            (true, "src_code") => format!("Changed customcode \"{name}\" src_code ({} bytes)", change.new.len()),
            (true, column) => {
                format!("Changed customcode \"{name}\" {column} from '{}' to '{}'", change.old, change.new)
            }
        });
    }
    for told in places.put(&transaction, code.id, parsed.flag("active"), priority).await? {
        ctx.out.say(format!("Customcode \"{name}\" is now for {told}"));
    }
    ctx.finish(transaction).await?;
    Ok(0)
}

/// `remove customcode`
pub(super) async fn remove(ctx: &Context, given: &[String]) -> Outcome {
    let names = words::flat(given);
    if names.is_empty() {
        return Err(CliError::usage("remove customcode"));
    }
    let mut control = ctx.control().await?;
    let transaction =
        control.transaction().await.map_err(|error| CliError::caused("Cannot remove customcode", &error))?;
    let all = codes::list(&transaction).await?;
    for name in &names {
        let code = all.iter().find(|code| code.name == *name).ok_or_else(|| unknown(name, &all))?;
        codes::remove(&transaction, code.id).await?;
        ctx.out.say(format!("Removed customcode \"{name}\""));
    }
    ctx.finish(transaction).await?;
    Ok(0)
}

/// `list customcodes`
pub(super) async fn list(ctx: &Context, given: &[String]) -> Outcome {
    let control = ctx.control().await?;
    let all = codes::list(control.client()).await?;
    let shown = choose::rows(control.client(), &all, |code| &code.name, given, &[]).await?;
    if ctx.out.is_json() {
        ctx.out.json(&shown)?;
        return Ok(0);
    }
    if all.is_empty() {
        ctx.out.say("There are no entries in the 'customcode' table.");
    } else if shown.is_empty() {
        ctx.out.say("No matching custom codes found");
    }
    let width = shown.iter().map(|code| code.name.chars().count()).max().unwrap_or(0);
    let when_width = shown.iter().map(|code| code.whenrun.len()).max().unwrap_or(0);
    for code in shown {
        let getdbh = if code.getdbh { "yes" } else { "no" };
        ctx.out.say(format!(
            "Code: {:width$}  When run: {:when_width$}  Get dbh: {getdbh:3}  Status: {}  Language: {}",
            code.name, code.whenrun, code.status, code.language
        ));
        tell_more(ctx, code)?;
    }
    Ok(0)
}

fn tell_more(ctx: &Context, code: &CodeListing) -> Result<(), CliError> {
    let told = |it: &CodeUse, name: &str| {
        let inactive = if it.active { "" } else { " (inactive)" };
        let priority = if it.priority == 0 { String::new() } else { format!(" (priority {})", it.priority) };
        format!("{name}{inactive}{priority}")
    };
    let syncs: Vec<String> = code.uses.iter().filter_map(|it| Some(told(it, it.sync.as_ref()?))).collect();
    let tables: Vec<String> = code.uses.iter().filter_map(|it| Some(told(it, it.relation.as_ref()?))).collect();
    for (heading, names) in [("Syncs", syncs), ("Relations", tables)] {
        if !names.is_empty() {
            ctx.out.say(format!("  {heading}: {}", names.join(", ")));
        }
    }
    if let Some(about) = code.about.as_deref().filter(|about| !about.is_empty()) {
        ctx.out.say(format!("  About: {about}"));
    }
    if ctx.out.verbosity() > 1 {
        output::columns(&ctx.out, &CodeListing { src_code: "(see -vvv)".to_owned(), ..code.clone() })?;
    }
    if ctx.out.verbosity() > 2 {
        ctx.out.say(format!("  Source code:\n{}", code.src_code.trim_end()));
    }
    Ok(())
}

/// The places that a command names: syncs, or relations.
struct Places {
    syncs: Vec<String>,
    relations: Vec<String>,
}

impl Places {
    fn of(parsed: &Parsed) -> Result<Self, CliError> {
        let places = Self { syncs: parsed.list("sync"), relations: parsed.list("relation") };
        if !places.syncs.is_empty() && !places.relations.is_empty() {
            return Err(CliError::die("A code is for a sync or for a relation: give one of sync= and relation="));
        }
        Ok(places)
    }

    fn is_empty(&self) -> bool {
        self.syncs.is_empty() && self.relations.is_empty()
    }

    /// Writes them, and returns them as they are told.
    async fn put(
        &self,
        client: &impl GenericClient,
        id: i32,
        active: Option<bool>,
        priority: Option<i16>,
    ) -> Result<Vec<String>, CliError> {
        let mut told = Vec::new();
        let known = syncs::list(client).await?;
        for name in &self.syncs {
            if !known.iter().any(|sync| sync.name == *name) {
                let names = known.iter().map(|sync| sync.name.as_str());
                return Err(CliError::refuse(format!("Unknown sync \"{name}\"")).suggest(name, names));
            }
            codes::put_use(client, id, Place::Sync(name), active, priority).await?;
            told.push(format!("sync \"{name}\""));
        }
        let known = goats::list(client).await?;
        for word in &self.relations {
            let goat = mapping::one(&known, word)?;
            codes::put_use(client, id, Place::Goat(goat.id), active, priority).await?;
            told.push(format!("relation \"{}\"", goat.full_name()));
        }
        Ok(told)
    }
}

/// When a code runs, in the words of version 5; those of versions 3 and 4 are taken, too.
fn when(word: &str) -> Result<String, CliError> {
    let word = word.trim().to_lowercase().replace('-', "_").replace("_trigger_drop", "_trigger_disable");
    words::checked("whenrun", &word, Kind::OneOf(&WHENRUN)).map_err(|error| error.suggest(&word, WHENRUN))
}

fn number(text: &str) -> Result<i16, CliError> {
    text.trim().parse().map_err(|_| {
        CliError::refuse("Invalid value for 'priority': must be numeric").hint("from -32768 to 32767; higher first")
    })
}

/// What a file is written in, as far as its name tells.
fn language(file: &str) -> Option<&'static str> {
    let ending = std::path::Path::new(file).extension()?.to_str()?;
    let known = [("lua", "lua"), ("sql", "sql"), ("pl", "perl"), ("pm", "perl"), ("perl", "perl")];
    known.into_iter().find(|(known, _)| ending.eq_ignore_ascii_case(known)).map(|(_, language)| language)
}

/// The contents of a file of code.
fn source(file: &str) -> Result<String, CliError> {
    let refused = |why: &str| CliError::with_code(EXIT_CODE, format!("Cannot read the code in file \"{file}\": {why}"));
    let mut text = String::new();
    std::fs::File::open(file)
        .and_then(|opened| opened.take(SOURCE_BYTES_MAX + 1).read_to_string(&mut text))
        .map_err(|error| refused(&error.to_string()))?;
    if text.len() as u64 > SOURCE_BYTES_MAX {
        return Err(refused("it is larger than a megabyte"));
    }
    if text.trim().is_empty() {
        return Err(refused("it is empty"));
    }
    if text.contains('\0') {
        return Err(refused("it has zero bytes, so it is no text"));
    }
    Ok(text)
}

pub(super) fn unknown(name: &str, all: &[CodeListing]) -> CliError {
    CliError::die(format!("Could not find a customcode named \"{name}\""))
        .hint("\"bucardo list codes\" shows those that exist")
        .suggest(name, all.iter().map(|code| code.name.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_a_code_runs_has_the_words_of_every_version() {
        for (word, expected) in [
            ("before_txn", "before_txn"),
            ("Before-Trigger-Drop", "before_trigger_disable"),
            ("after_trigger_drop", "after_trigger_disable"),
            ("conflict", "conflict"),
        ] {
            assert_eq!(when(word).unwrap(), expected);
        }
        let error = when("before_tnx").unwrap_err();
        assert!(error.message.starts_with("Invalid value for 'whenrun': must be one of before_txn"), "{error}");
        assert_eq!(error.hint.as_deref(), Some("did you mean \"before_txn\"?"));
    }
}
