//! Whole copies of which a database refuses rows: codes of the hook `exception` are told, once the transactions of the copy
//! are over, with connections of their own. What they mend counts for the copy that is then made anew. What nobody mends waits
//! as dead letters, where the sync has them; else a copy has all rows, or is none.

use std::collections::HashSet;

use bucardo_actors::model::DbName;
use bucardo_actors::ports::Watch;
use serde_json::json;
use tokio_postgres::error::DbError;

use super::error::RoundError;
use super::hooks::Hooks;
use super::refused::{Patience, Refusals, Refused, refusal, row};
use crate::catalog::{Goat, SyncDetail};
use crate::custom::{Forms, Hook, Row};

/// So often codes are told in one round what copies were refused.
const ASKED_MAX: u32 = 100;

/// What codes were told in one round of copies that were refused. A copy ends at the first row, so that what comes up
/// after it was mended is another one: as long as it is, codes are asked.
#[derive(Default)]
pub(super) struct Pleas {
    known: HashSet<String>,
    in_vain: Patience,
    asked: u32,
}

impl Pleas {
    /// Tells codes of a copy that failed, whose transactions are over; returns whether it shall be made again.
    ///
    /// # Errors
    ///
    /// As [`Hooks::inside`].
    pub(super) async fn heed(
        &mut self,
        error: &RoundError,
        (sync, source): (&SyncDetail, &DbName),
        hooks: Option<&mut Hooks>,
        watch: &Watch,
    ) -> Result<bool, RoundError> {
        let (Some((label, columns)), Some(why), Some(target)) = (copied(error), refusal(error), error.db()) else {
            return Ok(false);
        };
        let Some(goat) = sync.tables().find(|goat| goat.label() == label) else { return Ok(false) };
        let Some(hooks) = hooks.filter(|hooks| hooks.has(Hook::Exception, Some(goat))) else { return Ok(false) };
        if self.known.insert(format!("{} {}", why.message(), why.detail().unwrap_or_default())) {
            self.in_vain = Patience::default();
        }
        if self.asked >= ASKED_MAX || self.in_vain.next(1).is_none() {
            return Ok(false);
        }
        self.asked += 1;
        let found = line(goat, columns, why).filter(|_| sync.copyextra.trim().is_empty());
        let key = found.as_ref().map(|(key, _)| key.clone());
        let told = Refusals {
            goat,
            key_types: &[],
            forms: &Forms::default(),
            target: target.as_str(),
            first: source.as_str(),
            refused: &[Refused::new(key.clone().unwrap_or_default(), why)],
            sources: &[source.as_str()],
            rows: &found.into_iter().map(|(_, row)| row).collect::<Vec<_>>(),
            present: &[],
            tries: self.asked,
        };
        let mut told = told.told();
        // Of the target's rows none is known.
        told.told.insert("present".to_owned(), json!([]));
        if key.is_none() {
            told.told.insert("keys".to_owned(), json!([]));
            told.told.insert("rows".to_owned(), json!([]));
            told.told.insert("deltabin".to_owned(), json!({}));
        }
        hooks.exception_outside(goat, told, watch).await
    }
}

/// Whether a copy that failed can be made without the rows that were refused, once codes have not helped.
pub(super) fn may_spare(sync: &SyncDetail, error: &RoundError) -> bool {
    let Some((label, _)) = copied(error) else { return false };
    let has_key = sync.tables().any(|goat| goat.label() == label && !goat.key.is_empty());
    sync.deadletter && has_key && sync.copyextra.trim().is_empty() && refusal(error).is_some()
}

/// Of which table a whole copy failed, and its columns.
fn copied(error: &RoundError) -> Option<(&str, &[String])> {
    match error {
        RoundError::OfTable { error, .. } => copied(error),
        RoundError::InCopy { table, columns, .. } => Some((table, columns)),
        _ => None,
    }
}

/// The refused row and its key, where the server tells the whole line (`COPY t, line 7: "…"`): it cuts long ones, and has
/// none where it noticed later.
fn line(goat: &Goat, columns: &[String], why: &DbError) -> Option<(Vec<String>, Row)> {
    let (place, text) = why.where_()?.strip_prefix("COPY ")?.split_once(": \"")?;
    let text = text.strip_suffix('"').filter(|text| !text.ends_with("..."))?;
    if place.contains(", column ") || text.split('\t').count() != columns.len() {
        return None;
    }
    let row = row(columns, text.as_bytes());
    let key: Option<Vec<String>> = goat.key.iter().map(|column| row.get(column).cloned().flatten()).collect();
    Some((key.filter(|key| !key.is_empty())?, row))
}
