//! `test customcode NAME`: runs a code outside of any round, on transactions that are rolled back, and shows what it
//! makes of its input.

use std::time::Duration;

use bucardo_actors::model::{DbName, SyncName};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Map, Value, json};

use super::words::{Key, Kind, Noun, Parsed};
use super::{CliError, Context, Outcome, customcode, relations};
use crate::catalog::{SyncDetail, code_limits, codes, load_sync, settings, syncs};
use crate::custom::input::{self, Counts};
use crate::custom::{self, Code, Databases, Found, Hook, Language, Refused, Statement};
use crate::pg::{Connection, causes, connect};

pub(super) const KEYS: [Key; 3] = [
    Key::new("db", &["dbs", "database"], Kind::Text),
    Key::new("file", &["input"], Kind::Text),
    Key::new("sync", &[], Kind::Text),
];
/// What a code has written before it ended may come a little later.
const LAST_WORDS: Duration = Duration::from_millis(20);
/// An input has so many bytes at most.
const INPUT_BYTES_MAX: u64 = 64 << 20;

/// `test customcode NAME [--file FILE] [db=NAME…] [sync=NAME]`
pub(super) async fn run(ctx: &Context) -> Outcome {
    let Some((word, rest)) = ctx.words.split_first() else { return Err(CliError::usage("test")) };
    let parsed = Parsed::read(rest, &KEYS, "test")?;
    let (Some(Noun::Customcode), [name]) = (Noun::of(word), parsed.bare.as_slice()) else {
        return Err(CliError::usage("test"));
    };
    let control = ctx.control().await?;
    let code = read(&control, name).await?;
    let sync = match parsed.value("sync") {
        Some(name) => Some(sync(&control, name).await?),
        None => None,
    };
    let mut names = parsed.list("db");
    if names.is_empty() {
        names.extend(ctx.options.db.clone());
    }
    if let Some(sync) = sync.as_ref().filter(|_| names.is_empty()) {
        let dbs = sync.members.iter().map(|member| &member.db).filter(|db| db.active);
        names.extend(dbs.map(|db| db.name.to_string()));
    }
    let mut dbs = Opened { all: Vec::new(), is_strict: code.hook.is_strict() };
    for name in &names {
        dbs.all.push((name.clone(), open(&control, name).await?));
    }
    let file = parsed.value("file").or(ctx.options.file.as_deref());
    let given = file.map(read_input).transpose()?;
    let inputs = match given {
        Some(Value::Array(all)) => all,
        Some(one) => vec![one],
        None => vec![json!({})],
    };
    if let Some(other) = inputs.iter().find(|input| !input.is_object()) {
        return Err(CliError::refuse(format!("An input has to be a JSON object, not {other}")));
    }
    let is_one = inputs.len() == 1;
    let usual = usual(&code, sync.as_ref(), &names);
    let inputs = inputs.into_iter().map(|input| with(&usual, input)).collect();
    // What the code writes to its standard error comes by the log.
    let log = tracing_subscriber::fmt().with_writer(std::io::stderr).without_time().with_target(false).finish();
    let told = tracing::subscriber::set_default(log);
    let mut host = custom::open()(code.language);
    let called = host.call(&code, inputs, &mut dbs).await;
    tokio::time::sleep(LAST_WORDS).await;
    drop(told);
    let outputs = called.map_err(|error| CliError::refuse(error.to_string()))?;
    ctx.out.json(&if is_one { outputs.into_iter().next().unwrap_or_default() } else { Value::Array(outputs) })?;
    Ok(0)
}

async fn read(control: &crate::catalog::Control, name: &str) -> Result<Code, CliError> {
    let all = codes::list(control.client()).await?;
    let listed = all.iter().find(|code| code.name == name).ok_or_else(|| customcode::unknown(name, &all))?;
    let unknown = |what: &str| CliError::refuse(format!("Custom code \"{name}\" has an unknown {what}"));
    Ok(Code {
        id: listed.id,
        name: listed.name.clone(),
        hook: Hook::parse(&listed.whenrun).ok_or_else(|| unknown("whenrun"))?,
        language: Language::parse(&listed.language).ok_or_else(|| unknown("language"))?,
        source: listed.src_code.clone(),
        getdbh: listed.getdbh,
        getrows: listed.getrows,
        goat: None,
        limits: code_limits(&settings::load(control.client()).await?)?,
    })
}

async fn sync(control: &crate::catalog::Control, name: &str) -> Result<SyncDetail, CliError> {
    let known = syncs::list(control.client()).await?;
    let unknown = || {
        let names = known.iter().map(|sync| sync.name.as_str());
        CliError::refuse(format!("Unknown sync \"{name}\"")).suggest(name, names)
    };
    load_sync(control.client(), &SyncName::from(name)).await?.ok_or_else(unknown)
}

/// What a code is told where nobody says otherwise: nothing has happened, between the first and the last database.
fn usual(code: &Code, sync: Option<&SyncDetail>, names: &[String]) -> Map<String, Value> {
    let (source, target) = (names.first(), names.last().filter(|_| names.len() > 1));
    let mut usual = match sync {
        Some(sync) => {
            let db = |name: Option<&String>| name.map(|name| DbName::from(name.as_str()));
            input::base(sync, db(source).as_ref(), db(target).as_ref())
        }
        None => Map::from_iter([
            ("syncname".to_owned(), json!("test")),
            ("sourcename".to_owned(), json!(source.map_or("", String::as_str))),
            ("targetname".to_owned(), json!(target.map_or("", String::as_str))),
        ]),
    };
    usual.insert("whenrun".to_owned(), json!(code.hook.word()));
    let more = match code.hook {
        Hook::Conflict => json!({"key": {}, "dbs": names, "rows": {}, "changed": {}, "conflicts": {}, "rowinfo": {}}),
        Hook::Exception => json!({
            "database": target.or(source), "sqlstate": "", "keys": [], "rows": [], "present": [], "errors": [], "rowinfo": {},
        }),
        _ => json!({}),
    };
    if let Value::Object(more) = more {
        usual.extend(more);
    }
    Counts::default().fill(&mut usual);
    usual
}

fn with(usual: &Map<String, Value>, given: Value) -> Value {
    let mut input = usual.clone();
    if let Value::Object(given) = given {
        input.extend(given);
    }
    Value::Object(input)
}

async fn open(control: &crate::catalog::Control, name: &str) -> Result<Connection, CliError> {
    let db = relations::database(control.client(), Some(name)).await?;
    let failed = |error: crate::pg::ConnectError| {
        let message = format!("Cannot connect to database \"{name}\": {}", crate::report::causes(&error));
        CliError::refuse(message).maybe_hint(error.hint())
    };
    let access = db.access().map_err(failed)?;
    let conn = Box::pin(connect(&access, "bucardo CLI")).await.map_err(failed)?;
    // Committed, so that it outlives a rollback of the code.
    let begin = "BEGIN; SET search_path TO DEFAULT; COMMIT; BEGIN";
    conn.batch_execute(begin).await.map_err(|error| CliError::refuse(causes(&error)))?;
    Ok(conn)
}

fn read_input(file: &str) -> Result<Value, CliError> {
    let refused = |why: String| CliError::refuse(format!("Cannot read the input in file \"{file}\": {why}"));
    let size = std::fs::metadata(file).map_err(|error| refused(error.to_string()))?.len();
    if size > INPUT_BYTES_MAX {
        return Err(refused("it is larger than 64 MB".to_owned()));
    }
    let text = std::fs::read(file).map_err(|error| refused(error.to_string()))?;
    serde_json::from_slice(&text).map_err(|error| refused(error.to_string()))
}

/// Databases with a transaction on each, which nobody commits: a session that is closed rolls back.
struct Opened {
    all: Vec<(String, Connection)>,
    is_strict: bool,
}

impl Databases for Opened {
    fn names(&self) -> Vec<String> {
        self.all.iter().map(|(name, _)| name.clone()).collect()
    }

    fn run<'a>(&'a mut self, db: &'a str, statement: Statement) -> BoxFuture<'a, Result<Found, Refused>> {
        async move {
            let refused = |message: String| Refused { message, ..Refused::default() };
            if custom::commits(&statement.sql) {
                return Err(refused("a test commits nothing".to_owned()));
            }
            match self.all.iter().find(|(name, _)| name == db) {
                Some((_, conn)) => custom::ask(conn, self.is_strict, &statement).await,
                None => Err(refused(format!("database \"{db}\" is not part of this test: add db={db}"))),
            }
        }
        .boxed()
    }
}
