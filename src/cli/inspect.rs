//! `inspect table|relgroup|sync NAME…`: which tables that foreign keys tie to these would not be replicated with them.

use std::collections::BTreeMap;

use serde::Serialize;
use tokio_postgres::GenericClient;

use super::relations::{self, Term};
use super::words::{self, Key, Kind, Parsed};
use super::{CliError, Context, Outcome};
use crate::catalog::goats::{self, GoatListing};
use crate::catalog::groups::{self, Relgroup};
use crate::catalog::syncs;
use crate::pg::{Connection, SqlFile, connect};

const REFERENCES: SqlFile = SqlFile::new(include_str!("../../sql/source/references.sql"));
const KEYS: [Key; 1] = [Key::new("db", &["database"], Kind::Text)];

/// A table, the groups in which it is looked at, and those of its partners that are in none of them.
#[derive(Debug, Serialize)]
struct Report {
    table: String,
    db: String,
    relgroups: Vec<String>,
    missing: Vec<Partner>,
}

/// A table at the other end of a foreign key.
#[derive(Debug, Serialize)]
struct Partner {
    table: String,
    /// The foreign key.
    constraint: String,
    /// The inspected table refers to it; else it refers to the inspected table.
    is_referred_to: bool,
    /// The group that it is not in.
    relgroup: Option<String>,
}

impl Partner {
    fn line(&self) -> String {
        let how = if self.is_referred_to { "is referred to by" } else { "refers to" };
        let group = match &self.relgroup {
            Some(group) => format!("is not in relgroup \"{group}\""),
            None => "is in no relgroup with it".to_owned(),
        };
        format!("  Table {} {how} it (foreign key \"{}\") and {group}", self.table, self.constraint)
    }
}

/// `inspect …`
pub(super) async fn run(ctx: &Context) -> Outcome {
    let Some((word, rest)) = ctx.words.split_first() else { return Err(CliError::usage("inspect")) };
    let noun = words::Noun::of(word);
    let parsed = Parsed::read(rest, &KEYS, "inspect")?;
    if parsed.bare.is_empty() {
        return Err(CliError::usage("inspect"));
    }
    let control = ctx.control().await?;
    let db = parsed.value("db").or(ctx.options.db.as_deref());
    let names = words::flat(&parsed.bare);
    let wanted = match noun {
        Some(words::Noun::Table) => tables(control.client(), &names, db).await?,
        Some(words::Noun::Relgroup) => members(control.client(), &names).await?,
        Some(words::Noun::Sync) => {
            let known = syncs::list(control.client()).await?;
            let mut herds = Vec::new();
            for name in &names {
                let sync = known.iter().find(|sync| sync.name == *name).ok_or_else(|| {
                    CliError::die(format!("No such sync: {name}"))
                        .suggest(name, known.iter().map(|sync| sync.name.as_str()))
                })?;
                herds.extend(sync.herd.clone());
            }
            members(control.client(), &herds).await?
        }
        _ => return Err(CliError::usage("inspect")),
    };
    let mut reports = Vec::new();
    let mut sessions: BTreeMap<String, Connection> = BTreeMap::new();
    for (goat, groups) in wanted {
        if !sessions.contains_key(&goat.db) {
            sessions.insert(goat.db.clone(), dial(control.client(), &goat.db).await?);
        }
        if let Some(session) = sessions.get(&goat.db) {
            reports.push(inspect(session, &goat, &groups).await?);
        }
    }
    if ctx.out.is_json() {
        ctx.out.json(&reports)?;
        return Ok(0);
    }
    for report in reports {
        ctx.out.say(format!("Inspecting {} on {}", report.table, report.db));
        report.missing.iter().for_each(|partner| ctx.out.say(partner.line()));
        if report.missing.is_empty() {
            ctx.out.say("  All tables that foreign keys tie to it are replicated with it");
        }
    }
    Ok(0)
}

/// Tables of the catalog by name, each with the groups that it is in.
async fn tables(
    client: &impl GenericClient,
    names: &[String],
    db: Option<&str>,
) -> Result<Vec<(GoatListing, Vec<Relgroup>)>, CliError> {
    let all = goats::list(client).await?;
    let groups = groups::relgroups(client).await?;
    let mut wanted = Vec::new();
    for name in names {
        let term = Term::parse(name);
        let means =
            |goat: &&GoatListing| goat.reltype == "table" && db.is_none_or(|db| goat.db == db) && term.means(goat);
        let found: Vec<&GoatListing> = all.iter().filter(means).collect();
        if found.is_empty() {
            return Err(CliError::die(format!("Could not find a table named \"{name}\""))
                .hint("\"bucardo list tables\" shows those of the catalog")
                .suggest(name, all.iter().map(|goat| goat.tablename.as_str())));
        }
        for goat in found {
            let own = groups.iter().filter(|group| group.members.iter().any(|member| member.id == goat.id));
            wanted.push((goat.clone(), own.cloned().collect()));
        }
    }
    Ok(wanted)
}

/// The tables of relgroups, each with the group that it is looked at in.
async fn members(client: &impl GenericClient, names: &[String]) -> Result<Vec<(GoatListing, Vec<Relgroup>)>, CliError> {
    let all = goats::list(client).await?;
    let groups = groups::relgroups(client).await?;
    let mut wanted = Vec::new();
    for name in names {
        let group = groups.iter().find(|group| group.name == *name).ok_or_else(|| {
            CliError::die(format!("No such relgroup: {name}"))
                .suggest(name, groups.iter().map(|group| group.name.as_str()))
        })?;
        let is_member = |goat: &&GoatListing| group.members.iter().any(|member| member.id == goat.id);
        let tables = all.iter().filter(is_member).filter(|goat| goat.reltype == "table");
        wanted.extend(tables.map(|goat| (goat.clone(), vec![group.clone()])));
    }
    Ok(wanted)
}

async fn dial(client: &impl GenericClient, db: &str) -> Result<Connection, CliError> {
    let row = relations::database(client, Some(db)).await?;
    let refused = |error: crate::pg::ConnectError| {
        CliError::die(format!("Cannot inspect database \"{db}\": {}", crate::report::causes(&error)))
            .maybe_hint(error.hint())
    };
    Box::pin(connect(&row.access().map_err(refused)?, "bucardo CLI")).await.map_err(refused)
}

async fn inspect(session: &Connection, goat: &GoatListing, groups: &[Relgroup]) -> Result<Report, CliError> {
    let rows = session.query(REFERENCES.text(), &[&goat.schemaname, &goat.tablename]).await.map_err(|error| {
        CliError::caused(&format!("Cannot read the foreign keys of {} on {}", goat.full_name(), goat.db), &error)
    })?;
    let mut missing = Vec::new();
    for row in rows {
        let (schema, name): (String, String) = (row.get("schema_name"), row.get("name"));
        let partner = |relgroup: Option<String>| Partner {
            table: format!("{schema}.{name}"),
            constraint: row.get("constraint_name"),
            is_referred_to: row.get("outward"),
            relgroup,
        };
        let holds = |group: &&Relgroup| group.members.iter().any(|it| it.schemaname == schema && it.tablename == name);
        missing.extend(groups.iter().filter(|group| !holds(group)).map(|group| partner(Some(group.name.clone()))));
        if groups.is_empty() {
            missing.push(partner(None));
        }
    }
    let relgroups = groups.iter().map(|group| group.name.clone()).collect();
    Ok(Report { table: goat.full_name(), db: goat.db.clone(), relgroups, missing })
}
