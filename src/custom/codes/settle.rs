//! Codes that decide conflicts.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::said::Said;
use super::{Closed, Codes, Heard, handles, here, text};
use crate::custom::conflict::{Asking, Dispute, Field, Verdict, answer};
use crate::custom::host::one_line;
use crate::custom::input::Counts;
use crate::custom::{Code, CodeError, Databases, Decision, Hook, Outcome};

impl Codes {
    /// Asks the codes of a table and its sync what becomes of each of these conflicts: one code after the other, each
    /// about those that are open yet. `base`: what every code of the sync is told;
    /// `counts`: what the merge has found and done so far.
    ///
    /// # Errors
    ///
    /// See [`CodeError`]. Nothing is decided then.
    pub async fn settle(
        &mut self,
        field: &Field<'_>,
        disputes: &[Dispute],
        (base, counts): (&Map<String, Value>, &Counts),
        dbs: &mut dyn Databases,
    ) -> Result<(Vec<Verdict>, Outcome), CodeError> {
        let mut base = base.clone();
        counts.fill(&mut base);
        let sync = Arc::clone(&self.sync);
        let (goat, mut outcome) = (field.goat.id, Outcome::default());
        let mut verdicts: Vec<Verdict> =
            disputes.iter().map(|_| Verdict { decision: Decision::Open, code: None }).collect();
        // Places of those that the next code is asked about.
        let mut open: Vec<usize> =
            if self.winners.is_settled(goat) { Vec::new() } else { (0..disputes.len()).collect() };
        for code in here(&sync, Hook::Conflict, Some(goat)) {
            if open.is_empty() || outcome.endsync {
                break;
            }
            let asking = self.asking(code, field, &base, dbs);
            let asked: Vec<&Dispute> = open.iter().map(|place| &disputes[*place]).collect();
            let mut closed = Closed;
            let dbs: &mut dyn Databases = if code.asks() { &mut *dbs } else { &mut closed };
            let bounded = self.spent.call(code)?;
            let mut heard = Heard::new(dbs);
            let outputs = self.host(code.language).settle(&bounded, &asking, &asked, &mut heard).await;
            let outputs = self.spent.ended(code, outputs).map_err(|error| {
                let at = self.host(code.language).reached().and_then(|at| open.get(at));
                heard.explain(error).about(&about(field, at.map(|place| &disputes[*place])))
            })?;
            heard.end(code).await?;
            if outputs.len() != open.len() {
                let why = format!("{} answers to {} conflicts", outputs.len(), open.len());
                return Err(CodeError::Garbage { code: code.name.clone(), why });
            }
            let (mut heard, mut said, name) = (BTreeSet::new(), Said::default(), Arc::from(code.name.as_str()));
            let mut still_open = Vec::new();
            for (place, output) in open.iter().copied().zip(outputs) {
                let Value::Object(mut output) = output else { continue };
                if let Some(shared) = output.remove("shared") {
                    self.shared = shared;
                }
                let decision = answer(code.language, field, &disputes[place], &output);
                let decision = decision.map_err(|why| CodeError::Garbage {
                    code: code.name.clone(),
                    why: format!("{}: {why}", about(field, Some(&disputes[place]))),
                })?;
                self.winners.hear(goat, &output);
                once(&mut output, &mut heard);
                let is_last = self.heed(code, &output, &mut outcome, &mut said)?;
                if decision != Decision::Open {
                    verdicts[place] = Verdict { decision, code: Some(Arc::clone(&name)) };
                } else if !is_last {
                    still_open.push(place);
                }
            }
            said.end(self.sync.name.as_str(), code);
            open = still_open;
        }
        if let Some(names) = self.winners.of(goat) {
            for verdict in verdicts.iter_mut().filter(|verdict| verdict.decision == Decision::Open) {
                verdict.decision = Decision::Winner(names.to_owned());
            }
        }
        Ok((verdicts, outcome))
    }

    /// Whether a code has named who wins what is left open in a table.
    #[must_use]
    pub fn have_winner(&self, goat: i32) -> bool {
        self.winners.of(goat).is_some()
    }

    fn asking<'a>(&self, code: &Code, field: &Field<'a>, base: &Map<String, Value>, dbs: &dyn Databases) -> Asking<'a> {
        let mut base = base.clone();
        base.insert("shared".to_owned(), self.shared.clone());
        let mut asking = Asking::new(code, *field, &base);
        if code.getdbh && code.asks() {
            asking.tell(handles(&base, dbs));
        }
        asking
    }
}

/// What a code was asked about.
fn about(field: &Field<'_>, dispute: Option<&Dispute>) -> String {
    let table = field.goat.label();
    match dispute {
        Some(dispute) => one_line(&format!("key {} of table \"{table}\"", dispute.key.join(", "))),
        None => format!("conflicts of table \"{table}\""),
    }
}

/// The same sentence about each of many conflicts is said once.
fn once(output: &mut Map<String, Value>, heard: &mut BTreeSet<String>) {
    for key in ["message", "warning"] {
        let is_new = output.get(key).and_then(text).is_none_or(|said| heard.insert(said));
        if !is_new {
            output.remove(key);
        }
    }
}
