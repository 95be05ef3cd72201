//! `list deadletters` and `retry`: keys whose rows a target refused, and how they are sent again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, Local, Utc};
use futures_util::future::join_all;
use serde::Serialize;
use serde_json::Value;
use tokio::time::timeout;

use super::ear::Ear;
use super::relations::Term;
use super::status::when;
use super::words::{self, Key, Kind, Parsed};
use super::{CliError, Context, Outcome, choose};
use crate::catalog::{Db, SyncDetail, load_syncs};
use crate::pg::{Connection, SqlFile, causes, connect};
use crate::source::exists;
use crate::source::letters::{self, Waiting, send_again};

const LETTERS: SqlFile = SqlFile::new(include_str!("../../sql/source/letters.sql"));

/// What one database may take to tell how much waits there.
const WITHIN: Duration = Duration::from_secs(3);

const KEYS: [Key; 1] = [Key::new("table", &["tables"], Kind::Text)];

/// A key that waits at a target.
#[derive(Serialize)]
struct Letter {
    sync: String,
    /// The target.
    db: String,
    source: String,
    schema: String,
    table: String,
    /// Columns and their values as text.
    key: Value,
    sqlstate: String,
    error: String,
    /// How often it was tried.
    tries: i32,
    since: DateTime<Utc>,
    tried: DateTime<Utc>,
}

/// What waits at one database.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Total {
    db: String,
    /// How many keys; `None`: the database does not tell, see `problem`.
    keys: Option<i64>,
    /// Since when the one waits that waits longest.
    oldest: Option<DateTime<Local>>,
    problem: Option<String>,
}

impl Total {
    /// What waits at the databases of a sync: those where something does, and those that do not tell.
    pub(super) async fn of(sync: &SyncDetail) -> Vec<Self> {
        let dbs = sync.members.iter().map(|member| &member.db).filter(|db| db.active && db.kind == "postgres");
        let asked = dbs.map(|db| async move {
            let asked = timeout(WITHIN, Box::pin(total(db, sync.name.as_str()))).await;
            let blank = Self { db: db.name.to_string(), keys: None, oldest: None, problem: None };
            match asked.unwrap_or_else(|_| Err("no answer".to_owned())) {
                Ok(found) => {
                    found.map(|(keys, oldest)| Self { keys: Some(keys), oldest: Some(oldest.into()), ..blank })
                }
                Err(problem) => Some(Self { problem: Some(problem), ..blank }),
            }
        });
        join_all(asked).await.into_iter().flatten().collect()
    }

    /// `3 keys wait at B, the oldest since 12:01:07`; `None`: it is not known.
    pub(super) fn waiting(&self) -> Option<String> {
        let (db, since) = (&self.db, when(self.oldest?));
        match self.keys? {
            1 => Some(format!("1 key waits at {db} since {since}")),
            keys => Some(format!("{keys} keys wait at {db}, the oldest since {since}")),
        }
    }

    /// One line for people.
    pub(super) fn line(&self) -> String {
        let problem = self.problem.as_deref().unwrap_or_default();
        self.waiting().unwrap_or_else(|| format!("{} does not tell: {problem}", self.db))
    }
}

async fn total(db: &Db, sync: &str) -> Result<Option<(i64, DateTime<Utc>)>, String> {
    let conn = connect(&db.access, "bucardo CLI").await.map_err(|error| causes(&error))?;
    letters::total(&conn, sync).await.map_err(|error| causes(&error))
}

/// What the words of an operator mean.
struct Wanted {
    syncs: Vec<SyncDetail>,
    table: Option<Term>,
}

impl Wanted {
    async fn read(
        client: &impl tokio_postgres::GenericClient,
        parsed: &Parsed,
        bare: &[String],
    ) -> Result<Self, CliError> {
        let all = load_syncs(client).await?;
        let names: Vec<&str> = all.iter().map(|sync| sync.name.as_str()).collect();
        let patterns = words::flat(bare);
        let chosen: Vec<String> = if patterns.is_empty() {
            names.iter().map(|&name| name.to_owned()).collect()
        } else {
            let chosen = choose::meant(&names, &patterns).map_err(|name| {
                CliError::die(format!("No such sync: {name}")).hint("\"bucardo list syncs\" shows those that exist")
            })?;
            chosen.into_iter().map(str::to_owned).collect()
        };
        let syncs = all.into_iter().filter(|sync| chosen.iter().any(|name| *name == sync.name.as_str()));
        Ok(Self { syncs: syncs.collect(), table: parsed.value("table").map(Term::parse) })
    }

    fn has(&self, schema: &str, table: &str) -> bool {
        match &self.table {
            None => true,
            Some(Term::Full { schema: of, name }) => of == schema && name == table,
            Some(Term::Bare(name)) => name == table,
            Some(Term::Wild(pattern)) => {
                words::matches(pattern, table) || words::matches(pattern, &format!("{schema}.{table}"))
            }
        }
    }

    /// The letters at all targets; and whether some target did not answer.
    async fn letters(&self, ctx: &Context) -> (Vec<Letter>, bool) {
        let (mut letters, mut is_partial) = (Vec::new(), false);
        for sync in &self.syncs {
            let dbs = sync.members.iter().map(|member| &member.db);
            for db in dbs.filter(|db| db.active && db.kind == "postgres") {
                let found = match Box::pin(connect(&db.access, "bucardo CLI")).await {
                    Ok(conn) => at(&conn, sync, db.name.as_str()).await.map_err(|error| causes(&error)),
                    Err(error) => Err(causes(&error)),
                };
                match found {
                    Ok(found) => letters.extend(found.into_iter().filter(|it| self.has(&it.schema, &it.table))),
                    Err(why) => {
                        ctx.out.warn(format!("Cannot read the dead letters of database {}: {why}", db.name));
                        is_partial = true;
                    }
                }
            }
        }
        (letters, is_partial)
    }
}

async fn at(conn: &Connection, sync: &SyncDetail, db: &str) -> Result<Vec<Letter>, tokio_postgres::Error> {
    if !exists(conn, "bucardo.deadletter").await? {
        return Ok(Vec::new());
    }
    let rows = conn.query(LETTERS.text(), &[&sync.name.as_str()]).await?;
    let letter = |row: &tokio_postgres::Row| Letter {
        sync: sync.name.to_string(),
        db: db.to_owned(),
        source: row.get("source"),
        schema: row.get("schemaname"),
        table: row.get("tablename"),
        key: serde_json::from_str(row.get("key")).unwrap_or_default(),
        sqlstate: row.get("sqlstate"),
        error: row.get("error"),
        tries: row.get("tries"),
        since: row.get("since"),
        tried: row.get("tried"),
    };
    Ok(rows.iter().map(letter).collect())
}

fn key(letter: &Letter) -> String {
    let pairs = letter.key.as_object().into_iter().flatten();
    let pairs = pairs.map(|(column, value)| format!("{column}={}", value.as_str().unwrap_or_default()));
    pairs.collect::<Vec<_>>().join(", ")
}

/// `list deadletters [SYNC…] [table=NAME]`
pub(super) async fn list(ctx: &Context, given: &[String]) -> Outcome {
    let parsed = Parsed::read(given, &KEYS, "list deadletters")?;
    let wanted = Wanted::read(ctx.control().await?.client(), &parsed, &parsed.bare).await?;
    let (letters, is_partial) = wanted.letters(ctx).await;
    if ctx.out.is_json() {
        ctx.out.json(&letters)?;
        return Ok(u8::from(is_partial));
    }
    if letters.is_empty() && !is_partial {
        ctx.out.say("There are no dead letters");
    }
    for letter in &letters {
        let Letter { sync, db, schema, table, tries, error, sqlstate, .. } = letter;
        let since = letter.since.with_timezone(&chrono::Local).format("%Y-%m-%d %H:%M:%S");
        ctx.out.say(format!("{since}  Sync {sync}  Database {db}  Table {schema}.{table}  Key {}", key(letter)));
        ctx.out.say(format!("  {} (SQLSTATE {sqlstate}, tried {tries} times)", error.replace('\n', " ")));
    }
    Ok(u8::from(is_partial))
}

/// `retry [SYNC…] [table=NAME]`
pub(super) async fn retry(ctx: &Context) -> Outcome {
    let parsed = Parsed::read(&ctx.words, &KEYS, "retry")?;
    let ear = Ear::open(ctx).await?;
    let wanted = Wanted::read(ear.control().client(), &parsed, &parsed.bare).await?;
    let (letters, mut is_partial) = wanted.letters(ctx).await;
    let mut tables: BTreeMap<_, Vec<(String, DateTime<Utc>)>> = BTreeMap::new();
    for it in &letters {
        let of = (it.sync.as_str(), it.source.as_str(), it.schema.as_str(), it.table.as_str(), it.db.as_str());
        tables.entry(of).or_default().push((it.key.to_string(), it.since));
    }
    let mut kicked = BTreeSet::new();
    for ((sync, source, schema, table, db), keys) in tables {
        let Some(detail) = wanted.syncs.iter().find(|it| it.name.as_str() == sync) else { continue };
        let Some(from) = detail.db(&source.into()) else { continue };
        let waiting = Waiting { source, db, schema, table, keys: &keys };
        let noted = match Box::pin(connect(&from.access, "bucardo CLI")).await {
            Ok(conn) => send_again(&conn, detail, waiting).await.map_err(|error| causes(&error)),
            Err(error) => Err(causes(&error)),
        };
        match noted {
            Ok(true) => {
                let count = keys.len();
                ctx.out.say(format!("{count} keys of table {schema}.{table} are sent again to {db} by sync {sync}"));
                kicked.insert(sync.to_owned());
            }
            Ok(false) => {
                ctx.out.warn(format!("Table {schema}.{table} is not captured on database {source} any more"));
                is_partial = true;
            }
            Err(why) => {
                ctx.out.warn(format!("Cannot send keys of table {schema}.{table} again from database {source}: {why}"));
                is_partial = true;
            }
        }
    }
    if letters.is_empty() && !is_partial {
        ctx.out.say("There are no dead letters");
    }
    for sync in kicked {
        ear.say(&format!("kick_sync_{sync}")).await?;
    }
    Ok(u8::from(is_partial))
}
