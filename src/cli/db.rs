//! Databases: `add db`, `list db`, `update db`, `remove db`.

use tokio_postgres::Transaction;

use super::words::{self, Key, Kind, Parsed};
use super::{CliError, Context, Outcome, choose, classic, dbgroup, output, relations, sync, uninstall, update};
use crate::catalog::dbs::{self, DbListing, DbRow};
use crate::catalog::{Table, groups};
use crate::pg::{Access, connect};

pub(super) const KEYS: [Key; 16] = [
    Key::new("dbname", &["db"], Kind::Text),
    Key::new("user", &["username", "dbuser"], Kind::Text),
    Key::new("pass", &["password", "dbpass"], Kind::Text),
    Key::new("host", &["dbhost", "pghost"], Kind::Text),
    Key::new("port", &["dbport", "pgport"], Kind::Text),
    Key::new("conn", &["dbconn", "pgconn"], Kind::Text),
    Key::new("service", &["dbservice"], Kind::Text),
    Key::new("dsn", &["dbdsn"], Kind::Text),
    Key::new("type", &["dbtype"], Kind::Text),
    Key::new("status", &["stat"], Kind::Text),
    Key::new("dbgroup", &["group"], Kind::Text),
    Key::new("server_side_prepares", &["ssp"], Kind::Bool),
    Key::new("makedelta", &[], Kind::Bool),
    Key::new("pgpass", &[], Kind::Text),
    Key::new("sourcelimit", &[], Kind::Number),
    Key::new("targetlimit", &[], Kind::Number),
];
const FORCE: &str = "You may force add it with the --force argument.";

/// `add db`
pub(super) async fn add(ctx: &Context, given: &[String]) -> Outcome {
    let mut parsed = Parsed::read(given, &KEYS, "add db")?;
    let everything = |word: &str, start: &str| word.to_lowercase().starts_with(start);
    let all_tables = parsed.bare.iter().any(|word| everything(word, "addalltab"));
    let all_sequences = parsed.bare.iter().any(|word| everything(word, "addallseq"));
    parsed.bare.retain(|word| !everything(word, "addalltab") && !everything(word, "addallseq"));
    let names = words::flat(&parsed.bare);
    if names.is_empty() {
        return Err(CliError::usage("add db"));
    }
    let rows: Vec<DbRow> = names
        .iter()
        .enumerate()
        .map(|(place, name)| row(&parsed, name, place, names.len()))
        .collect::<Result<_, _>>()?;
    let mut control = ctx.control().await?;
    let transaction = control.transaction().await.map_err(|error| CliError::caused("Cannot add database", &error))?;
    let known = dbs::list(&transaction).await?;
    for (place, name) in names.iter().enumerate() {
        if known.iter().any(|db| db.name == *name) || names[..place].contains(name) {
            return Err(CliError::refuse(format!("Cannot add database: the name \"{name}\" already exists")));
        }
    }
    for row in &rows {
        check_place(row, "add")?;
        let version = test(ctx, row).await?;
        dbs::add(&transaction, row).await?;
        let place = row.access().map(|access| access.describe()).unwrap_or_default();
        dbs::log_connection(&transaction, &row.name, &place, version.as_deref()).await?;
    }
    let plural = if names.len() == 1 { "database" } else { "databases" };
    ctx.out.say(format!("Added {plural} {}", output::quoted(&names)));
    if let Some(group) = parsed.value("dbgroup") {
        join_group(ctx, &transaction, group, &names).await?;
    }
    for row in &rows {
        if all_tables {
            relations::add_everything(ctx, &transaction, row, false, &[]).await?;
        }
        if all_sequences {
            relations::add_everything(ctx, &transaction, row, true, &[]).await?;
        }
    }
    ctx.finish(transaction).await?;
    Ok(0)
}

/// The row for the name at `place`: comma lists are given out in order, a short one repeats its last value.
fn row(parsed: &Parsed, name: &str, place: usize, count: usize) -> Result<DbRow, CliError> {
    if !words::sane_name(name) {
        return Err(CliError::die(format!("Invalid database name \"{name}\""))
            .hint("a name begins with a letter and holds letters, digits and underscores only"));
    }
    let value = |key: &str| -> Option<String> {
        let whole = parsed.value(key)?;
        if count == 1 {
            return Some(whole.to_owned());
        }
        let pieces: Vec<&str> = whole.split(',').map(str::trim).collect();
        pieces.get(place).or(pieces.last()).map(|piece| (*piece).to_owned())
    };
    let text = |key: &str| value(key).unwrap_or_default();
    let environment = |names: &[&str]| names.iter().find_map(|name| std::env::var(name).ok()).unwrap_or_default();
    let (service, dsn, dbname) = (text("service"), text("dsn"), text("dbname"));
    let elsewhere = !service.is_empty() || !dsn.is_empty();
    let kind = value("type").map_or(Ok(dbs::POSTGRES), |word| {
        words::database_kind(&word).ok_or_else(|| CliError::die(format!("Unknown database type: {word}")))
    })?;
    let status = words::checked("status", &value("status").unwrap_or_else(|| "active".into()), STATUSES)?;
    let or_else = |given: Option<String>, names: &[&str]| match given {
        Some(given) => given,
        None if elsewhere => String::new(),
        None => environment(names),
    };
    Ok(DbRow {
        name: name.to_owned(),
        kind: kind.to_owned(),
        host: or_else(value("host"), &["PGHOSTADDR", "PGHOST"]),
        port: or_else(value("port"), &["PGPORT"]),
        user: value("user").unwrap_or_else(|| if elsewhere { String::new() } else { "bucardo".into() }),
        pass: text("pass"),
        conn: text("conn"),
        pgpass: text("pgpass"),
        server_side_prepares: parsed.flag("server_side_prepares").unwrap_or(true),
        makedelta: parsed.flag("makedelta").unwrap_or(false),
        sourcelimit: limit("sourcelimit", value("sourcelimit"))?,
        targetlimit: limit("targetlimit", value("targetlimit"))?,
        status,
        dbname,
        service,
        dsn,
        queue: dbs::QueueRow::default(),
    })
}

/// Whether it says which database is meant, and on which port.
fn check_place(row: &DbRow, doing: &str) -> Result<(), CliError> {
    if row.dbname.is_empty() && row.service.is_empty() && row.dsn.is_empty() && !names_database(&row.conn) {
        return Err(CliError::refuse(format!("Cannot {doing} database: must supply a database name to connect to")));
    }
    // What is no number at all is told by whoever connects.
    let is_number = |piece: &str| !piece.is_empty() && piece.bytes().all(|byte| byte.is_ascii_digit());
    let fits = |piece: &str| !is_number(piece) || piece.parse::<u16>().is_ok_and(|port| port > 0);
    if !row.port.split(',').all(fits) {
        return Err(CliError::refuse(format!("Cannot {doing} database: port \"{}\" is not one", row.port))
            .hint("a port is a number from 1 to 65535; several hosts have as many, with commas"));
    }
    Ok(())
}

/// Further words of the connection may name it.
fn names_database(conn: &str) -> bool {
    Access::parse(conn).is_ok_and(|access| access.get("dbname").is_some())
}

/// So many KIDs at a time; 0, or nothing: all.
fn limit(key: &str, value: Option<String>) -> Result<i16, CliError> {
    let Some(value) = value else { return Ok(0) };
    let limit = value.trim().parse::<i16>().ok().filter(|limit| *limit >= 0);
    limit.ok_or_else(|| {
        CliError::die(format!("Invalid value for '{key}': {value}")).hint("it takes a number from 0, for all, to 32767")
    })
}

const STATUSES: Kind = Kind::OneOf(&["active", "inactive"]);
/// What the daemon writes may be written by hand, too.
const UPDATED: Kind = Kind::OneOf(&["active", "inactive", "stalled"]);

/// Connects to a database that is to be added; returns the version of its server. With `--force` a failure is told only.
async fn test(ctx: &Context, row: &DbRow) -> Result<Option<String>, CliError> {
    let name = &row.name;
    if row.kind != dbs::POSTGRES {
        return Err(CliError::die(format!(
            "Cannot add database \"{name}\": databases of type \"{}\" are not supported by this version",
            row.kind
        )));
    }
    let tried = match row.access() {
        Ok(access) => Box::pin(connect(&access, "bucardo CLI")).await,
        Err(error) => Err(error),
    };
    match tried {
        Ok(connection) => Ok(Some(connection.server_version().to_string())),
        Err(error) if ctx.options.force => {
            ctx.out.warn(format!("Connection test failed for \"{name}\": {}", crate::report::causes(&error)));
            Ok(None)
        }
        Err(error) => {
            let message = format!("Cannot add database \"{name}\": {}", crate::report::causes(&error));
            let hint = error.hint().map_or_else(|| FORCE.to_owned(), |hint| format!("{hint}\n{FORCE}"));
            Err(CliError::die(message).hint(hint))
        }
    }
}

/// Puts new databases into a group: in a new one the first is the source, everything else is a target.
async fn join_group(
    ctx: &Context,
    transaction: &Transaction<'_>,
    word: &str,
    names: &[String],
) -> Result<(), CliError> {
    let pieces: Vec<&str> = word.split(',').map(str::trim).filter(|piece| !piece.is_empty()).collect();
    for (place, name) in names.iter().enumerate() {
        let Some(piece) = pieces.get(place).or(pieces.last()) else { continue };
        let (group, role) = match piece.split_once(':') {
            Some((group, role)) => (group, Some(dbgroup::role(role)?)),
            None => (*piece, None),
        };
        dbgroup::check_name(group)?;
        let new = groups::add_dbgroup(transaction, group).await?;
        if new {
            ctx.out.say(format!("Created dbgroup \"{group}\""));
        }
        let role = role.unwrap_or(if new { "source" } else { "target" });
        groups::put_db(transaction, group, name, role, None, None).await?;
        ctx.out.say(format!("  Added database \"{name}\" to dbgroup \"{group}\" as {role}"));
    }
    Ok(())
}

const ALIASES: [(&str, &str); 11] = [
    ("name", "dbname"),
    ("host", "dbhost"),
    ("port", "dbport"),
    ("user", "dbuser"),
    ("username", "dbuser"),
    ("pass", "dbpass"),
    ("password", "dbpass"),
    ("ssp", "server_side_prepares"),
    ("service", "dbservice"),
    ("dsn", "dbdsn"),
    ("conn", "dbconn"),
];

const FILTERS: [(&str, &str); 12] = [
    ("host", "dbhost"),
    ("port", "dbport"),
    ("user", "dbuser"),
    ("username", "dbuser"),
    ("db", "dbname"),
    ("ssp", "server_side_prepares"),
    ("service", "dbservice"),
    ("dsn", "dbdsn"),
    ("conn", "dbconn"),
    ("type", "dbtype"),
    ("kind", "dbtype"),
    ("stat", "status"),
];

/// `update db`
pub(super) async fn change(ctx: &Context, given: &[String]) -> Outcome {
    let (names, pairs) = update::sort_words(given);
    if names.is_empty() || pairs.is_empty() {
        return Err(CliError::usage("update db"));
    }
    let (memberships, mut pairs): (Vec<_>, Vec<_>) =
        pairs.into_iter().partition(|(key, _)| matches!(key.as_str(), "group" | "dbgroup"));
    for (key, value) in &mut pairs {
        if matches!(key.as_str(), "type" | "dbtype") {
            let kind = words::database_kind(value);
            *value = kind.ok_or_else(|| CliError::die(format!("Unknown database type: {value}")))?.to_owned();
            "dbtype".clone_into(key);
        }
        if key == "port" || key == "dbport" {
            words::checked(key, &value.replace(',', "0"), Kind::Number)?;
        }
        match key.as_str() {
            "status" | "stat" => *value = words::checked(key, value, UPDATED)?,
            "makedelta" | "server_side_prepares" | "ssp" => *value = words::checked(key, value, Kind::Bool)?,
            _ => {}
        }
        if key == "sourcelimit" || key == "targetlimit" {
            limit(key, Some(value.clone()))?;
        }
    }
    let mut control = ctx.control().await?;
    let transaction =
        control.transaction().await.map_err(|error| CliError::caused("Cannot update database", &error))?;
    let known = dbs::list(&transaction).await?;
    let all: Vec<&str> = known.iter().map(|db| db.name.as_str()).collect();
    let meant = choose::meant(&all, &names).map_err(|name| {
        CliError::die(format!("Could not find a database named \"{name}\"")).suggest(&name, all.iter().copied())
    })?;
    for name in meant {
        for change in update::apply(&transaction, Table::Db, name, &pairs, &ALIASES).await? {
            if change.is_change() {
                ctx.out.say(format!("Changed bucardo.db {}", change.told()));
            } else {
                ctx.out.say(format!("No change needed for {}", change.column));
            }
        }
        for (_, wanted) in &memberships {
            regroup(ctx, &transaction, &known, name, wanted).await?;
        }
        let row = dbs::rows(&transaction, Some(&[name.to_owned()])).await?.pop();
        if let Some(row) = row.as_ref().filter(|row| row.kind == dbs::POSTGRES) {
            check_place(row, "update")?;
        }
        if let Some(row) = row.filter(|row| row.kind == dbs::POSTGRES && row.status == "active") {
            let access = row.access()?;
            if let Err(error) = Box::pin(connect(&access, "bucardo CLI")).await {
                ctx.out.warn(format!("Warning: database \"{name}\": {}", crate::report::causes(&error)));
            }
        }
    }
    ctx.finish(transaction).await?;
    Ok(0)
}

/// Makes the groups of a database exactly those that are wanted.
async fn regroup(
    ctx: &Context,
    transaction: &Transaction<'_>,
    known: &[DbListing],
    name: &str,
    wanted: &str,
) -> Result<(), CliError> {
    let mut kept = Vec::new();
    for piece in words::commas(wanted) {
        let (group, role) = match piece.split_once(':') {
            Some((group, role)) => (group.to_owned(), Some(dbgroup::role(role)?)),
            None => (piece, None),
        };
        dbgroup::check_name(&group)?;
        if groups::add_dbgroup(transaction, &group).await? {
            ctx.out.say(format!("Created dbgroup \"{group}\""));
        }
        let former = known.iter().find(|db| db.name == name).into_iter().flat_map(|db| &db.dbgroups);
        let former = former.filter(|place| place.dbgroup == group).map(|place| place.role.as_str()).next();
        let role = role.or(former).unwrap_or("target");
        groups::put_db(transaction, &group, name, role, None, None).await?;
        if former.is_none() {
            ctx.out.say(format!("Added database \"{name}\" to dbgroup \"{group}\" as {role}"));
        }
        kept.push(group);
    }
    let former = known.iter().find(|db| db.name == name).into_iter().flat_map(|db| &db.dbgroups);
    for place in former.filter(|place| !kept.contains(&place.dbgroup)) {
        groups::take_db(transaction, &place.dbgroup, name).await?;
        ctx.out.say(format!("Removed database \"{name}\" from dbgroup \"{}\"", place.dbgroup));
    }
    Ok(())
}

/// `remove db`
pub(super) async fn remove(ctx: &Context, given: &[String]) -> Outcome {
    let names = words::flat(given);
    if names.is_empty() {
        return Err(CliError::usage("remove db"));
    }
    let mut control = ctx.control().await?;
    let transaction =
        control.transaction().await.map_err(|error| CliError::caused("Cannot remove database", &error))?;
    let known = dbs::list(&transaction).await?;
    for name in &names {
        if !known.iter().any(|db| db.name == *name) {
            let names = known.iter().map(|db| db.name.as_str());
            return Err(CliError::die(format!("No such database: {name}")).suggest(name, names));
        }
    }
    let mut details = Vec::new();
    let rows = dbs::rows(&transaction, Some(&names)).await?;
    for name in &names {
        let uses = dbs::uses(&transaction, name).await?;
        if ctx.options.force || ctx.options.cascade {
            details.extend(sync::take_out(&transaction, &uses.syncs).await?);
            for sync in &uses.syncs {
                ctx.out.say(format!("Removed sync \"{sync}\""));
            }
            dbs::remove_goats(&transaction, name).await?;
        } else if uses.goats > 0 || uses.groups > 0 {
            let (what, count) = if uses.goats > 0 { ("tables", uses.goats) } else { ("dbgroups", uses.groups) };
            return Err(CliError::die(format!(
                "Cannot remove database \"{name}\": {count} {what} still refer to it (try --force)"
            )));
        }
        dbs::remove(&transaction, name).await?;
    }
    for name in &names {
        ctx.out.say(format!("Removed database \"{name}\""));
    }
    if ctx.finish(transaction).await? {
        sync::forget(ctx, &details).await;
        if ctx.options.cascade {
            uninstall::cascade(ctx, &rows).await;
            uninstall::drop_if_empty(ctx, &rows).await;
        }
    }
    Ok(0)
}

/// `list db`
pub(super) async fn list(ctx: &Context, given: &[String]) -> Outcome {
    let control = ctx.control().await?;
    let all = dbs::list(control.client()).await?;
    let shown = choose::rows(control.client(), &all, |db| &db.name, given, &FILTERS).await?;
    if ctx.out.is_json() {
        ctx.out.json(&shown)?;
    } else if all.is_empty() && ctx.is_classic {
        return classic::no_entries(ctx, "db");
    } else if all.is_empty() {
        ctx.out.say("No databases have been added yet");
    } else if shown.is_empty() {
        ctx.out.say("No matching databases found");
    }
    let width = shown.iter().map(|db| db.name.len()).max().unwrap_or(0);
    let kinds_differ = shown.iter().any(|db| db.dbtype != shown[0].dbtype);
    for db in shown {
        let kind = if kinds_differ { format!("Type: {}  ", db.dbtype) } else { String::new() };
        let limits = match (db.sourcelimit, db.targetlimit) {
            (0, 0) => String::new(),
            (source, target) => format!("Limits: {source}/{target}  "),
        };
        ctx.out.say(format!("Database: {:width$}  {kind}Status: {}  {limits}Conn: {}", db.name, db.status, conn(db)));
        if ctx.out.verbosity() > 0 {
            tell_memberships(ctx, db);
        }
        if ctx.out.verbosity() > 1 {
            output::columns(&ctx.out, db)?;
        }
    }
    Ok(0)
}

fn tell_memberships(ctx: &Context, db: &DbListing) {
    for group in &db.dbgroups {
        ctx.out.say(format!("  Belongs to dbgroup {} as {}", group.dbgroup, group.role));
    }
    for sync in &db.syncs {
        ctx.out.say(format!("  Used in sync {} in a role of {}", sync.sync, sync.role));
    }
}

/// The command that opens a database in `psql`.
fn conn(db: &DbListing) -> String {
    let mut line = "psql".to_owned();
    let words = [("-p", &db.dbport), ("-U", &db.dbuser), ("-d", &db.dbname), ("-h", &db.dbhost)];
    for (option, value) in words {
        if let Some(value) = value.as_deref().filter(|value| !value.is_empty()) {
            line.push_str(&format!(" {option} {value}"));
        }
    }
    if let Some(service) = db.dbservice.as_deref().filter(|service| !service.is_empty()) {
        line.push_str(&format!(" \"service={service}\""));
    }
    if !db.dbdsn.is_empty() {
        line.push_str(&format!(" (DSN={})", db.dbdsn));
    }
    if !db.server_side_prepares {
        line.push_str(" (SSP is off)");
    }
    if db.makedelta {
        line.push_str(" (makedelta on)");
    }
    line
}
