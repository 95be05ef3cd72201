//! The codes of one KID or CTL, and what runs them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Map, Value, json};

use super::conflict::{Winners, wants_handles};
use super::forms::tell_error;
use super::input::Counts;
use super::outcome::is_true;
use super::{Code, CodeError, Databases, Forms, Found, Hook, Host, Language, Outcome, Refused, Statement};
use crate::catalog::{Goat, SyncDetail};

mod heard;
mod said;
mod settle;
mod spent;

use heard::Heard;
pub(crate) use said::MAILS_MAX;
use said::Said;
use spent::Spent;

/// Makes the host of a language; it does nothing before it is asked.
pub type Hosts = Arc<dyn Fn(Language) -> Box<dyn Host> + Send + Sync>;

/// A mail that a code asks for (`sendmail`). It goes where the daemon's mail goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// The sync whose code it is.
    pub sync: String,
    /// The code's name.
    pub code: String,
    /// As the code gave it; empty: none.
    pub subject: String,
    /// As the code gave it.
    pub body: String,
}

/// Whoever sends the mails of codes.
pub type Post = Arc<dyn Fn(Mail) + Send + Sync>;

/// What one KID or CTL runs of the codes of its sync. Nothing at all where there is none.
pub struct Codes {
    sync: Arc<SyncDetail>,
    open: Hosts,
    post: Option<Post>,
    /// Those that have been needed; never locked, only whoever has the codes to itself uses them.
    hosts: BTreeMap<&'static str, Mutex<Box<dyn Host>>>,
    /// What codes keep for each other (`shared`), as long as the KID or CTL lives.
    shared: Value,
    /// Whom codes of conflicts have named.
    winners: Winners,
    spent: Spent,
}

impl Codes {
    /// The codes of a sync; `None`: it has none.
    #[must_use]
    pub fn of(sync: &Arc<SyncDetail>, open: Hosts) -> Option<Self> {
        (!sync.codes.is_empty()).then(|| Self {
            sync: Arc::clone(sync),
            open,
            post: None,
            hosts: BTreeMap::new(),
            shared: Value::Object(Map::new()),
            winners: Winners::default(),
            spent: Spent::default(),
        })
    }

    /// The same; `post` sends what mails the codes ask for. Without it they are logged only.
    #[must_use]
    pub fn with_post(mut self, post: Option<Post>) -> Self {
        self.post = post;
        self
    }

    /// The sync whose codes they are.
    #[must_use]
    pub fn sync(&self) -> &Arc<SyncDetail> {
        &self.sync
    }

    /// The transactions of a run begin, or begin anew: what codes said and took in others is forgotten.
    pub fn begin(&mut self) {
        self.winners.begin();
        self.spent.begin();
    }

    /// Whether any code runs here; `goat`: for this table, `None`: for whatever table.
    #[must_use]
    pub fn has(&self, hook: Hook, goat: Option<i32>) -> bool {
        here(&self.sync, hook, goat).next().is_some()
    }

    /// Whether any code that runs here may ask databases.
    #[must_use]
    pub fn ask(&self, hook: Hook, goat: Option<i32>) -> bool {
        here(&self.sync, hook, goat).any(Code::asks)
    }

    /// How long a code may take that runs here, the one that may take longest.
    #[must_use]
    pub fn longest(&self, hook: Hook, goat: Option<i32>) -> Duration {
        here(&self.sync, hook, goat).map(|code| code.limits.timeout).max().unwrap_or_default()
    }

    /// Whether any code is told what has changed.
    #[must_use]
    pub fn hear_of_changes(&self) -> bool {
        self.sync.codes.iter().any(|code| code.hook.is_of_changes())
    }

    /// Whether any code, wherever it runs, gets the keys of the changed rows.
    #[must_use]
    pub fn want_rows(&self) -> bool {
        self.sync.codes.iter().any(Code::wants_rows)
    }

    /// Runs the codes of a hook, one after the other, each with `input` anew and with what `counts` knows; `forms`:
    /// columns of rows in it whose values Perl codes do not get as texts. Logs their messages and warnings, and sends
    /// their mails. At the hooks of a table those of the table and those of the sync;
    /// at others, where `goat` is `None`, all.
    ///
    /// # Errors
    ///
    /// See [`CodeError`]; codes after the one that failed are not run.
    pub async fn run(
        &mut self,
        hook: Hook,
        goat: Option<&Goat>,
        (input, forms): (&Map<String, Value>, &Forms),
        counts: &Counts,
        dbs: &mut dyn Databases,
    ) -> Result<Outcome, CodeError> {
        let mut outcome = Outcome::default();
        let sync = Arc::clone(&self.sync);
        for code in here(&sync, hook, goat.map(|goat| goat.id)) {
            let mut input = self.input(code, goat, input, counts, dbs);
            if code.language == Language::Perl {
                forms.tell(&mut input);
                tell_error(&mut input);
            }
            let mut closed = Closed;
            let dbs: &mut dyn Databases = if code.asks() { &mut *dbs } else { &mut closed };
            dbs.begins(&code.name);
            let bounded = self.spent.call(code)?;
            let mut heard = Heard::new(dbs);
            let found = self.host(code.language).call(&bounded, vec![Value::Object(input)], &mut heard).await;
            let found = self.spent.ended(code, found).map_err(|error| heard.explain(error))?;
            heard.end(code).await?;
            let Some(Value::Object(mut output)) = found.into_iter().next() else { continue };
            if let Some(shared) = output.remove("shared") {
                self.shared = shared;
            }
            let mut said = Said::default();
            let is_last = self.heed(code, &output, &mut outcome, &mut said)?;
            said.end(sync.name.as_str(), code);
            if is_last {
                break;
            }
        }
        Ok(outcome)
    }

    fn input(
        &self,
        code: &Code,
        goat: Option<&Goat>,
        base: &Map<String, Value>,
        counts: &Counts,
        dbs: &dyn Databases,
    ) -> Map<String, Value> {
        let mut input = base.clone();
        counts.fill(&mut input);
        input.insert("shared".to_owned(), self.shared.clone());
        input.insert("whenrun".to_owned(), json!(code.hook.word()));
        if let Some(goat) = goat {
            input.insert("schemaname".to_owned(), json!(goat.schema));
            input.insert("tablename".to_owned(), json!(goat.name));
        }
        // What an exception is about has this name, too.
        if code.wants_rows() && (!base.contains_key("rows") || code.looks_rows_up()) {
            // The server's jsonb holds no NUL.
            let separator = if code.language == Language::Sql { "\u{1f}" } else { "\0" };
            let (rows, left_out) = counts.rows(separator);
            input.insert("rows".to_owned(), rows);
            input.insert("rows_left_out".to_owned(), json!(left_out));
        }
        if code.getdbh {
            input.extend(handles(base, dbs));
        }
        input
    }

    /// Takes over what a code says; returns whether it is the last one (`lastcode`).
    fn heed(
        &self,
        code: &Code,
        output: &Map<String, Value>,
        outcome: &mut Outcome,
        of_call: &mut Said,
    ) -> Result<bool, CodeError> {
        let said = |key: &str| output.get(key).and_then(text).filter(|text| !text.is_empty()).map(shortened);
        let is_set = |key: &str| output.get(key).is_some_and(is_true);
        let (sync, name, whenrun) = (self.sync.name.as_str(), code.name.as_str(), code.hook.word());
        if let Some(message) = said("message").filter(|line| of_call.line(line)) {
            tracing::info!(sync, code = name, whenrun, "{message}");
        }
        if let Some(warning) = said("warning").filter(|line| of_call.line(line)) {
            tracing::warn!(sync, code = name, whenrun, "{warning}");
        }
        let (mails, lost) = mails(output.get("sendmail"));
        of_call.lost(lost);
        for mail in mails.into_iter().filter(|mail| of_call.mail(mail.subject.len() + mail.body.len())) {
            self.send(Mail { sync: sync.to_owned(), code: name.to_owned(), ..mail });
        }
        if let Some(message) = said("error") {
            return Err(CodeError::Asked { code: code.name.clone(), message });
        }
        outcome.endsync |= is_set("endsync");
        outcome.runagain |= is_set("runagain") || is_set("retry");
        outcome.tablewinner = outcome.tablewinner.take().or_else(|| said("tablewinner"));
        outcome.syncwinner = outcome.syncwinner.take().or_else(|| said("syncwinner"));
        Ok(is_set("lastcode") || outcome.endsync)
    }

    fn send(&self, mail: Mail) {
        let Mail { sync, code, subject, .. } = &mail;
        match &self.post {
            Some(post) => post(mail),
            None => tracing::info!(sync, code, subject, "a custom code asked for a mail, and none are sent here"),
        }
    }

    fn host(&mut self, language: Language) -> &mut Box<dyn Host> {
        let host = self.hosts.entry(language.word()).or_insert_with(|| {
            let mut host = (self.open)(language);
            host.serves(self.sync.name.as_str());
            Mutex::new(host)
        });
        host.get_mut().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What stands for handles in an input.
fn handles(base: &Map<String, Value>, dbs: &dyn Databases) -> Map<String, Value> {
    let names = dbs.names();
    let of = |key: &str| base.get(key).filter(|name| names.iter().any(|it| *name == it)).cloned();
    let handles = [("sourcedbh", of("sourcename")), ("targetdbh", of("targetname"))];
    let mut told: Map<String, Value> =
        handles.into_iter().filter_map(|(key, db)| Some((key.to_owned(), db?))).collect();
    let dbh: Map<String, Value> = names.into_iter().map(|name| (name.clone(), json!(name))).collect();
    told.insert("dbh".to_owned(), Value::Object(dbh));
    told
}

/// The codes that run here, in their order.
fn here(sync: &SyncDetail, hook: Hook, goat: Option<i32>) -> impl Iterator<Item = &Code> {
    let for_goat = move |code: &&Code| goat.is_none() || code.goat.is_none() || code.goat == goat;
    sync.codes.iter().filter(move |code| code.hook == hook).filter(for_goat)
}

impl Code {
    /// Whether it may ask databases. A statement is for one by its nature; of other codes of conflicts those that name
    /// handles.
    #[must_use]
    pub fn asks(&self) -> bool {
        let wants_handles = || self.hook != Hook::Conflict || wants_handles(&self.source);
        self.language == Language::Sql || self.getdbh && wants_handles()
    }

    /// Whether it looks into `rows` by a schema's name, as codes of version 5 do at whatever point.
    fn looks_rows_up(&self) -> bool {
        self.language == Language::Perl && ["{rows}{", "{rows}->{"].iter().any(|word| self.source.contains(word))
    }

    /// Whether it gets the keys of the changed rows: it was added with `getrows`, or it names them, as codes of version 5
    /// do, where nobody had to ask.
    #[must_use]
    pub fn wants_rows(&self) -> bool {
        let names_them = || self.source.contains("{rows}") || self.source.contains("{'rows'}");
        self.hook.is_of_changes() && (self.getrows || names_them())
    }
}

/// No database, for codes without `getdbh`.
struct Closed;

impl Databases for Closed {
    fn names(&self) -> Vec<String> {
        Vec::new()
    }

    fn run<'a>(&'a mut self, _: &'a str, _: Statement) -> BoxFuture<'a, Result<Found, Refused>> {
        let message = "the code was added without getdbh, so it may ask no database".to_owned();
        async move { Err(Refused { message, ..Refused::default() }) }.boxed()
    }
}

/// One mail, or a list of them: `{subject, body}`, or just the body; and how many there are besides.
fn mails(value: Option<&Value>) -> (Vec<Mail>, usize) {
    let one = |value: &Value| -> Option<Mail> {
        let of = |key: &str| value.get(key).and_then(text).unwrap_or_default();
        let (subject, body) = match value {
            Value::Object(_) => (of("subject"), of("body")),
            _ => (String::new(), text(value)?),
        };
        let is_empty = subject.is_empty() && body.is_empty();
        (!is_empty).then(|| Mail { sync: String::new(), code: String::new(), subject, body })
    };
    match value {
        Some(Value::Array(all)) => {
            // The hosts keep no more, and count.
            let (few, more) = all.split_at(all.len().min(MAILS_MAX));
            let lost = match more {
                [Value::Number(count)] => count.as_u64().and_then(|count| usize::try_from(count).ok()).unwrap_or(1),
                more => more.len(),
            };
            (few.iter().filter_map(one).collect(), lost)
        }
        Some(value) => (one(value).into_iter().collect(), 0),
        None => (Vec::new(), 0),
    }
}

/// What people read, in a log and in the catalog: beyond this it says nothing more.
const SAID_MAX: usize = 4000;

fn shortened(text: String) -> String {
    match text.char_indices().nth(SAID_MAX) {
        Some((end, _)) => format!("{}… ({} bytes in all)", &text[..end], text.len()),
        None => text,
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(true) => Some("1".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_codes_say_without_end_is_cut() {
        assert_eq!(shortened("short".to_owned()), "short");
        let long = shortened("ü".repeat(3_000_000));
        assert!(long.ends_with("ü… (6000000 bytes in all)") && long.chars().count() < SAID_MAX + 30, "{}", long.len());
    }
}
