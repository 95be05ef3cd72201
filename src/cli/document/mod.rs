//! The configuration as a file: `export` writes it, `plan` compares it with the catalog, `apply` makes the catalog like it.
//!
//! A document is what the catalog says of databases, groups, tables, syncs and so on, without what it says of itself:
//! numbers, dates, states, and values that a column has anyway. Keys of tables are no part of it; they are looked up.
//! Passwords are neither written nor read: they stand in the catalog, where nobody else sees them, or the document says
//! where they are.

mod apply;
mod plan;
mod rows;
mod text;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{CliError, Context, Outcome, words};
use crate::config::PasswordRef;

/// The kinds of things, in the order in which they are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Setting,
    Db,
    Dbgroup,
    Member,
    Relation,
    Relgroup,
    Part,
    Sync,
    Code,
    CodeUse,
    Name,
    Columns,
    Rows,
}

/// All of them that are rows of a table; settings are values.
const TABLES: [Kind; 12] = [
    Kind::Db,
    Kind::Dbgroup,
    Kind::Member,
    Kind::Relation,
    Kind::Relgroup,
    Kind::Part,
    Kind::Sync,
    Kind::Code,
    Kind::CodeUse,
    Kind::Name,
    Kind::Columns,
    Kind::Rows,
];

impl Kind {
    const fn table(self) -> &'static str {
        match self {
            Self::Setting => "bucardo_config",
            Self::Db => "db",
            Self::Dbgroup => "dbgroup",
            Self::Member => "dbmap",
            Self::Relation => "goat",
            Self::Relgroup => "herd",
            Self::Part => "herdmap",
            Self::Sync => "sync",
            Self::Code => "customcode",
            Self::CodeUse => "customcode_map",
            Self::Name => "customname",
            Self::Columns => "customcols",
            Self::Rows => "customselect",
        }
    }

    /// Columns that are no part of a document: what the row is known by, what the catalog derives, what the daemon writes.
    const fn left_out(self) -> &'static [&'static str] {
        match self {
            Self::Setting => &[],
            Self::Db | Self::Dbgroup | Self::Relgroup => &["name", "cdate"],
            Self::Member => &["db", "dbgroup", "cdate"],
            Self::Relation => &[
                "id",
                "db",
                "schemaname",
                "tablename",
                "pkey",
                "qpkey",
                "pkeytype",
                "key_columns",
                "has_delta",
                "ping",
                "standard_conflict",
                "cdate",
            ],
            Self::Part => &["herd", "goat", "cdate"],
            Self::Sync => &[
                "name",
                "source",
                "targetdb",
                "targetgroup",
                "synctype",
                "ping",
                "standard_conflict",
                "txnmode",
                "copy_request",
                "cdate",
            ],
            Self::Code => &["id", "name", "cdate"],
            Self::CodeUse => &["code", "sync", "goat", "cdate"],
            Self::Name | Self::Columns | Self::Rows => &["id", "goat", "db", "sync", "cdate"],
        }
    }
}

/// What a thing is known by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Id {
    kind: Kind,
    /// Names, from the outermost to the innermost.
    names: Vec<String>,
}

impl Id {
    fn new<S: AsRef<str>>(kind: Kind, names: &[S]) -> Self {
        Self { kind, names: names.iter().map(|name| name.as_ref().to_owned()).collect() }
    }
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        match (self.kind, names.as_slice()) {
            (Kind::Setting, [name]) => write!(f, "setting {name}"),
            (Kind::Db, [name]) => write!(f, "db {name}"),
            (Kind::Dbgroup, [name]) => write!(f, "dbgroup {name}"),
            (Kind::Member, [group, db]) => write!(f, "dbgroup {group}: database {db}"),
            (Kind::Relation, [db, schema, name]) => write!(f, "relation {schema}.{name} of {db}"),
            (Kind::Relgroup, [name]) => write!(f, "relgroup {name}"),
            (Kind::Part, [group, db, schema, name]) => write!(f, "relgroup {group}: {schema}.{name} of {db}"),
            (Kind::Sync, [name]) => write!(f, "sync {name}"),
            (Kind::Code, [name]) => write!(f, "customcode {name}"),
            (Kind::CodeUse, [code, sync]) => write!(f, "customcode {code}: sync {sync}"),
            (Kind::CodeUse, [code, db, schema, name]) => write!(f, "customcode {code}: {schema}.{name} of {db}"),
            (_, [db, schema, name, to, sync]) => {
                write!(f, "{} of {schema}.{name} of {db}", self.kind.table())?;
                if !to.is_empty() {
                    write!(f, " for database {to}")?;
                }
                if !sync.is_empty() {
                    write!(f, " for sync {sync}")?;
                }
                Ok(())
            }
            _ => write!(f, "{:?} {}", self.kind, names.join(".")),
        }
    }
}

type Columns = Map<String, Value>;

/// What a catalog says, or shall say.
#[derive(Clone, Debug, Default, PartialEq)]
struct Document {
    things: BTreeMap<Id, Columns>,
    /// Values that the catalog has and no document shows.
    secrets: BTreeSet<(Id, String)>,
}

/// Whether a value may hold a password.
fn is_secret(id: &Id, column: &str, value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    match (id.kind, column) {
        (Kind::Db, "dbpass") => !text.is_empty() && !PasswordRef::new(text).is_elsewhere(),
        (Kind::Db, "dbdsn" | "dbconn") => {
            let lower = text.to_lowercase();
            lower.contains("pass") && !lower.contains("passfile=")
                || lower.contains("://") && lower.contains('@') && {
                    let user = lower.split("://").nth(1).and_then(|rest| rest.split('@').next()).unwrap_or_default();
                    user.contains(':')
                }
        }
        (Kind::Setting, _) => {
            let is_password = id.names.first().is_some_and(|name| name == "email_auth_pass");
            is_password && !text.is_empty() && !PasswordRef::new(text).is_elsewhere()
        }
        _ => false,
    }
}

/// `export [FILE]`
pub(super) async fn export(ctx: &Context) -> Outcome {
    if ctx.words.len() > 1 {
        return Err(CliError::usage("export"));
    }
    let control = ctx.control().await?;
    let document = rows::read(control.client()).await?;
    for (id, column) in &document.secrets {
        ctx.out.warn(format!("Warning: {column} of {id} is not written: it holds a password; {}", hint_of(column)));
    }
    let text = text::write(&document)?;
    match ctx.words.first().map(String::as_str) {
        None | Some("-") => ctx.out.always(text.trim_end()),
        Some(path) => {
            std::fs::write(path, text).map_err(|error| CliError::caused(&format!("Cannot write {path}"), &error))?;
            ctx.out.say(format!("Wrote {path}"));
        }
    }
    Ok(0)
}

fn hint_of(column: &str) -> &'static str {
    match column {
        "dbpass" => "dbpass = \"env:VARIABLE\" or \"file:PATH\" says where it is, so do pgpass and dbservice",
        _ => "it stays as it is where the file does not name it",
    }
}

async fn read_file(ctx: &Context, section: &str) -> Result<(String, Document), CliError> {
    let [path] = ctx.words.as_slice() else { return Err(CliError::usage(section)) };
    let text = if path == "-" { std::io::read_to_string(std::io::stdin()) } else { std::fs::read_to_string(path) };
    let text = text.map_err(|error| CliError::caused(&format!("Cannot read {path}"), &error))?;
    let document = text::read(&text).map_err(|why| CliError::refuse(format!("{path}: {why}")))?;
    Ok((path.clone(), document))
}

/// `plan FILE`: exit code 0, nothing to do; 2, there is.
pub(super) async fn plan(ctx: &Context) -> Outcome {
    let (path, mut wanted) = read_file(ctx, "plan").await?;
    let control = ctx.control().await?;
    rows::normalize(control.client(), &path, &mut wanted).await?;
    let current = rows::read(control.client()).await?;
    let changes = plan::compare(&current, &wanted);
    plan::tell(ctx, &changes)?;
    Ok(if changes.is_empty() { 0 } else { 2 })
}

/// `apply FILE`
pub(super) async fn apply(ctx: &Context) -> Outcome {
    let (path, mut wanted) = read_file(ctx, "apply").await?;
    let mut control = ctx.control().await?;
    let begun = control.transaction().await;
    let txn = begun.map_err(|error| CliError::caused("Cannot apply the file", &error))?;
    rows::normalize(&txn, &path, &mut wanted).await?;
    let current = rows::read(&txn).await?;
    let changes = plan::compare(&current, &wanted);
    plan::tell(ctx, &changes)?;
    if changes.is_empty() {
        return Ok(0);
    }
    Box::pin(apply::run(ctx, txn, &changes)).await
}

/// The word of version 5 for one of version 3.
fn strategy(word: &str) -> String {
    let word = word.trim();
    match word.to_lowercase().as_str() {
        classic @ ("source" | "target" | "skip" | "random" | "latest" | "abort") => format!("bucardo_{classic}"),
        _ => word.to_owned(),
    }
}

/// Refuses names that the catalog would.
fn is_name(name: &str) -> bool {
    words::sane_name(name)
}
