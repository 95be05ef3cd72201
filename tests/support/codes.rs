//! Custom codes of tests: functions, or lines of statements and answers, in place of a language.

use std::sync::{Arc, Mutex};

use bucardo::custom::{Code, CodeError, Databases, Found, Hook, Host, Hosts, Language, Limits, Refused, Statement};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::Value;

use super::SyncLab;

/// A code that is a function of the test.
pub(crate) type Deed = Arc<dyn Fn(&Code, &mut Value) + Send + Sync>;

/// What codes were told, by hook.
#[derive(Clone, Default)]
pub(crate) struct Diary {
    told: Arc<Mutex<Vec<(String, Value)>>>,
    deed: Option<Deed>,
}

impl Diary {
    /// Codes do this before their lines.
    pub(crate) fn of(deed: impl Fn(&Code, &mut Value) + Send + Sync + 'static) -> Self {
        Self { told: Arc::default(), deed: Some(Arc::new(deed)) }
    }

    /// The hooks that ran since the last time it was asked.
    pub(crate) fn hooks(&self) -> Vec<String> {
        self.inputs().into_iter().map(|(hook, _)| hook).collect()
    }

    /// The hooks that ran since the last time it was asked, and what was told there.
    pub(crate) fn inputs(&self) -> Vec<(String, Value)> {
        self.told.lock().unwrap().drain(..).collect()
    }

    /// A host whose codes are lines: `db: statement`, or `output=JSON`.
    pub(crate) fn hosts(&self) -> Hosts {
        let diary = self.clone();
        Arc::new(move |_| Box::new(Lines(diary.clone())))
    }
}

struct Lines(Diary);

impl Host for Lines {
    fn check<'a>(&'a mut self, _: &'a Code) -> BoxFuture<'a, Result<(), CodeError>> {
        async { Ok(()) }.boxed()
    }

    fn call<'a>(
        &'a mut self,
        code: &'a Code,
        inputs: Vec<Value>,
        dbs: &'a mut dyn Databases,
    ) -> BoxFuture<'a, Result<Vec<Value>, CodeError>> {
        async move {
            let mut inputs = inputs;
            for input in &mut inputs {
                self.0.told.lock().unwrap().push((code.hook.word().to_owned(), input.clone()));
                if let Some(deed) = &self.0.deed {
                    deed(code, input);
                }
                for line in code.source.lines().filter(|line| !line.is_empty()) {
                    if let Some((key, value)) = line.split_once('=').filter(|(key, _)| !key.contains(':')) {
                        input[key] = serde_json::from_str(value).unwrap();
                        continue;
                    }
                    let (db, sql) = line.split_once(": ").unwrap();
                    let statement = Statement { sql: sql.to_owned(), values: Vec::new() };
                    let died = |refused: Refused| CodeError::Died { code: code.name.clone(), why: refused.message };
                    dbs.run(db, statement).await.map(|_: Found| ()).map_err(died)?;
                }
            }
            Ok(inputs)
        }
        .boxed()
    }
}

/// A code whose source is lines.
pub(crate) fn code(hook: Hook, source: &str) -> Code {
    Code {
        id: 1,
        name: format!("at {}", hook.word()),
        hook,
        language: Language::Lua,
        source: source.to_owned(),
        getdbh: true,
        getrows: false,
        goat: None,
        limits: Limits::default(),
    }
}

/// These are the codes of the sync from now on.
pub(crate) fn give(lab: &mut SyncLab, diary: &Diary, codes: Vec<Code>) {
    (lab.hosts, lab.sync.codes) = (Some(diary.hosts()), codes);
    lab.renew();
}

/// The conflicts of all tables go to `deed`, which stands for the code `decide`.
pub(crate) fn decide(lab: &mut SyncLab, deed: impl Fn(&Code, &mut Value) + Send + Sync + 'static) {
    let decide = Code { name: "decide".to_owned(), getdbh: false, ..code(Hook::Conflict, "") };
    give(lab, &Diary::of(deed), vec![decide]);
}

/// A number in a row that codes are told.
pub(crate) fn number(row: &Value, column: &str) -> i64 {
    row[column].as_str().map_or(0, |text| text.parse().unwrap())
}

/// The rows of the sides of a conflict, without those that are deleted.
pub(crate) fn sides(input: &Value) -> Vec<Value> {
    input["rows"].as_object().unwrap().values().filter(|row| !row.is_null()).cloned().collect()
}
