//! `test customcode NAME`: runs a code outside of any round, on transactions that are rolled back, and shows what it
//! makes of its input.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::words::{Key, Kind, Noun, Parsed};
use super::{CliError, Context, Outcome, customcode, relations};
use crate::catalog::{code_limits, codes, settings};
use crate::custom::{self, Code, Databases, Found, Hook, Language, Refused, Statement};
use crate::pg::{Connection, causes, connect};

pub(super) const KEYS: [Key; 2] =
    [Key::new("db", &["dbs", "database"], Kind::Text), Key::new("file", &["input"], Kind::Text)];
/// What a code has written before it ended may come a little later.
const LAST_WORDS: Duration = Duration::from_millis(20);
/// An input has so many bytes at most.
const INPUT_BYTES_MAX: u64 = 64 << 20;

/// `test customcode NAME [--file FILE] [db=NAME…]`
pub(super) async fn run(ctx: &Context) -> Outcome {
    let Some((word, rest)) = ctx.words.split_first() else { return Err(CliError::usage("test")) };
    let parsed = Parsed::read(rest, &KEYS, "test")?;
    let (Some(Noun::Customcode), [name]) = (Noun::of(word), parsed.bare.as_slice()) else {
        return Err(CliError::usage("test"));
    };
    let control = ctx.control().await?;
    let code = read(&control, name).await?;
    let names = parsed.list("db");
    let mut dbs = Opened { all: Vec::new(), is_strict: code.hook.is_strict() };
    for name in names.iter().chain(ctx.options.db.iter().filter(|_| names.is_empty())) {
        dbs.all.push((name.clone(), open(&control, name).await?));
    }
    let file = parsed.value("file").or(ctx.options.file.as_deref());
    let given = file.map(input).transpose()?;
    let inputs = match given {
        Some(Value::Array(all)) => all,
        Some(one) => vec![one],
        None => vec![json!({"syncname": "test"})],
    };
    if let Some(other) = inputs.iter().find(|input| !input.is_object()) {
        return Err(CliError::refuse(format!("An input has to be a JSON object, not {other}")));
    }
    let is_one = inputs.len() == 1;
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

async fn open(control: &crate::catalog::Control, name: &str) -> Result<Connection, CliError> {
    let db = relations::database(control.client(), Some(name)).await?;
    let failed = |error: crate::pg::ConnectError| {
        let message = format!("Cannot connect to database \"{name}\": {}", crate::report::causes(&error));
        CliError::refuse(message).maybe_hint(error.hint())
    };
    let access = db.access().map_err(failed)?;
    let conn = Box::pin(connect(&access, "bucardo CLI")).await.map_err(failed)?;
    conn.batch_execute("SET search_path TO DEFAULT; BEGIN").await.map_err(|error| CliError::refuse(causes(&error)))?;
    Ok(conn)
}

fn input(file: &str) -> Result<Value, CliError> {
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
            let refused = |message: String| Refused { message, sqlstate: None };
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
