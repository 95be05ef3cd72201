//! The codes of one KID or CTL, and what runs them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::{Code, CodeError, Databases, Hook, Host, Language, Outcome};
use crate::catalog::{Goat, SyncDetail};

/// Makes the host of a language; it does nothing before it is asked.
pub type Hosts = Arc<dyn Fn(Language) -> Box<dyn Host> + Send + Sync>;

/// What one KID or CTL runs of the codes of its sync. Nothing at all where there is none.
pub struct Codes {
    sync: Arc<SyncDetail>,
    open: Hosts,
    /// Those that have been needed.
    hosts: BTreeMap<&'static str, Box<dyn Host>>,
}

impl Codes {
    /// The codes of a sync; `None`: it has none.
    #[must_use]
    pub fn of(sync: &Arc<SyncDetail>, open: Hosts) -> Option<Self> {
        (!sync.codes.is_empty()).then(|| Self { sync: Arc::clone(sync), open, hosts: BTreeMap::new() })
    }

    /// Whether any code runs here; `goat`: for this table, `None`: for whatever table.
    #[must_use]
    pub fn has(&self, hook: Hook, goat: Option<i32>) -> bool {
        let for_goat = |code: &Code| goat.is_none() || code.goat.is_none() || code.goat == goat;
        self.sync.codes.iter().any(|code| code.hook == hook && for_goat(code))
    }

    /// The codes that run here, in their order. At the hooks of a table those of the table and those of the sync; at
    /// others, where `goat` is `None`, all.
    fn here(&self, hook: Hook, goat: Option<i32>) -> Vec<Code> {
        let for_goat = |code: &&Code| goat.is_none() || code.goat.is_none() || code.goat == goat;
        self.sync.codes.iter().filter(|code| code.hook == hook).filter(for_goat).cloned().collect()
    }

    /// Runs the codes of a hook, one after the other, each with `input` anew; logs their messages and warnings.
    ///
    /// # Errors
    ///
    /// See [`CodeError`]; codes after the one that failed are not run.
    pub async fn run(
        &mut self,
        hook: Hook,
        goat: Option<&Goat>,
        input: &Map<String, Value>,
        dbs: &mut dyn Databases,
    ) -> Result<Outcome, CodeError> {
        let mut outcome = Outcome::default();
        for code in self.here(hook, goat.map(|goat| goat.id)) {
            let found = self.host(code.language).call(&code, vec![Value::Object(input.clone())], dbs).await?;
            let Some(Value::Object(output)) = found.into_iter().next() else { continue };
            if self.heed(&code, &output, &mut outcome)? {
                break;
            }
        }
        Ok(outcome)
    }

    /// Takes over what a code says; returns whether it is the last one (`lastcode`).
    fn heed(&self, code: &Code, output: &Map<String, Value>, outcome: &mut Outcome) -> Result<bool, CodeError> {
        let said = |key: &str| output.get(key).and_then(text).filter(|text| !text.is_empty());
        let is_set = |key: &str| output.get(key).is_some_and(truth);
        let (sync, name) = (self.sync.name.as_str(), code.name.as_str());
        if let Some(message) = said("message") {
            tracing::info!(sync, code = name, "{message}");
        }
        if let Some(warning) = said("warning") {
            tracing::warn!(sync, code = name, "{warning}");
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

    fn host(&mut self, language: Language) -> &mut Box<dyn Host> {
        self.hosts.entry(language.word()).or_insert_with(|| (self.open)(language))
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

/// What Perl holds for true: not the empty string, zero or nothing.
fn truth(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(flag) => *flag,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty() && text != "0",
        Value::Array(_) | Value::Object(_) => true,
    }
}
