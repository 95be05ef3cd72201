//! How far the targets of a sync are, as its source says; bounded, because a source may be away.

use std::time::Duration;

use bucardo_actors::model::SyncName;
use chrono::{DateTime, Local, Utc};
use serde::Serialize;

use super::CliError;
use super::status::{duration, when};
use crate::catalog::trouble::Trouble;
use crate::catalog::{Control, Db, Role, SyncDetail, load_sync};
use crate::pg::{SqlFile, causes, connect};
use crate::source::deltas;

const POSITION: SqlFile = SqlFile::new(include_str!("../../sql/source/position_read.sql"));

/// What one database may take to tell.
const WITHIN: Duration = Duration::from_secs(3);

/// One target of a sync.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Target {
    source: String,
    target: String,
    /// Rows written there since it joined the sync.
    inserts: i64,
    /// Rows deleted there since it joined the sync.
    deletes: i64,
    /// Changes that it has not read; `None`: the source does not tell, see `problem`.
    waiting: Option<i64>,
    /// Whole copies made there; `None`: it gets changes, not copies.
    copies: Option<i64>,
    /// When the last one was made.
    copied: Option<DateTime<Local>>,
    /// Age of the oldest of them.
    lag_seconds: Option<f64>,
    /// Why nothing is known.
    problem: Option<String>,
    /// Its last round failed.
    trouble: Option<Trouble>,
}

impl Target {
    /// One line for people.
    pub(super) fn line(&self) -> String {
        let head = format!("{} -> {}", self.source, self.target);
        let trouble = self.trouble.as_ref().map(|trouble| format!("; {}", words(trouble))).unwrap_or_default();
        if let Some(problem) = &self.problem {
            return format!("{head}: {problem}{trouble}");
        }
        if let Some(copies) = self.copies {
            let last = self.copied.map(|at| format!(", last at {}", when(at))).unwrap_or_default();
            return format!("{head}: copied whole {copies} times, {} rows in all{last}{trouble}", self.inserts);
        }
        let lag = self.lag_seconds.and_then(|lag| Duration::try_from_secs_f64(lag).ok());
        format!(
            "{head}: {} rows inserted, {} deleted, {} waiting, lag {}{trouble}",
            self.inserts,
            self.deletes,
            self.waiting.unwrap_or(0),
            lag.map_or_else(|| "0s".to_owned(), duration)
        )
    }
}

/// `fails since 12:01:07 (3 times, next try 12:01:15): …`
fn words(trouble: &Trouble) -> String {
    let next = trouble.next_try.map(|next| format!(", next try {}", when(next))).unwrap_or_default();
    let times = if trouble.failures == 1 { "once".to_owned() } else { format!("{} times", trouble.failures) };
    let hint = trouble.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
    format!("fails since {} ({times}{next}): {}{hint}", when(trouble.since), trouble.why)
}

/// The targets of the sync `name`; where the source cannot tell, why not. `troubles` are those of all syncs.
pub(super) async fn targets(control: &Control, name: &str, troubles: &[Trouble]) -> Result<Vec<Target>, CliError> {
    let Some(sync) = load_sync(control.client(), &SyncName::from(name)).await? else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for source in sync.dbs(Role::Source).filter(|db| db.active) {
        let blank = |target: &str, problem: Option<String>| Target {
            source: source.name.to_string(),
            target: target.to_owned(),
            inserts: 0,
            deletes: 0,
            waiting: None,
            copies: None,
            copied: None,
            lag_seconds: None,
            problem,
            trouble: troubles
                .iter()
                .find(|trouble| {
                    (&*trouble.sync, &*trouble.target) == (name, target) && trouble.source == source.name.as_str()
                })
                .cloned(),
        };
        for target in sync.dbs(Role::Fullcopy).filter(|db| db.active) {
            let copies = tokio::time::timeout(WITHIN, copies(&sync, source, target)).await;
            found.push(match copies.unwrap_or_else(|_| Err("no answer".to_owned())) {
                Ok(Copies { round, inserts, deletes, updated }) => Target {
                    inserts,
                    deletes,
                    copies: Some(round),
                    copied: (round > 0).then(|| updated.into()),
                    ..blank(target.name.as_str(), None)
                },
                Err(problem) => blank(target.name.as_str(), Some(problem)),
            });
        }
        if sync.is_fullcopy() {
            continue; // its source knows nothing of it
        }
        let ask = async {
            let connection = Box::pin(connect(&source.access, "bucardo CLI")).await.map_err(|error| causes(&error))?;
            deltas::waiting(&connection, &sync.name).await.map_err(|error| match error.code() {
                Some(&tokio_postgres::error::SqlState::UNDEFINED_TABLE) => {
                    format!("not validated yet: run \"bucardo validate {name}\"")
                }
                _ => causes(&error),
            })
        };
        let told = tokio::time::timeout(WITHIN, ask).await.unwrap_or_else(|_| Err("no answer".to_owned()));
        match told {
            Ok(states) => found.extend(states.into_iter().map(|state| Target {
                inserts: state.inserts,
                deletes: state.deletes,
                waiting: Some(state.waiting),
                lag_seconds: state.oldest.map(|oldest| (state.now - oldest).as_seconds_f64().max(0.0)),
                ..blank(state.target.as_str(), None)
            })),
            Err(problem) => {
                let targets = sync.dbs(Role::Target).map(|db| blank(db.name.as_str(), Some(problem.clone())));
                found.extend(targets);
            }
        }
    }
    Ok(found)
}

/// What a database that is copied whole knows of its copies.
struct Copies {
    round: i64,
    inserts: i64,
    deletes: i64,
    updated: DateTime<Utc>,
}

async fn copies(sync: &SyncDetail, source: &Db, target: &Db) -> Result<Copies, String> {
    let connection = Box::pin(connect(&target.access, "bucardo CLI")).await.map_err(|error| causes(&error))?;
    let missing = || format!("not validated yet: run \"bucardo validate {}\"", sync.name);
    let row = connection.query_opt(POSITION.text(), &[&sync.name.as_str(), &source.name.as_str()]).await;
    let row = row.map_err(|error| match error.code() {
        Some(&tokio_postgres::error::SqlState::UNDEFINED_TABLE) => missing(),
        _ => causes(&error),
    })?;
    let row = row.ok_or_else(missing)?;
    Ok(Copies {
        round: row.get("round"),
        inserts: row.get("inserts"),
        deletes: row.get("deletes"),
        updated: row.get("updated"),
    })
}
