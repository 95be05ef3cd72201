//! How far the targets of a sync are, as its sources say; bounded, because a source may be away.

use std::collections::BTreeMap;
use std::time::Duration;

use bucardo_actors::model::DbName;
use chrono::{DateTime, Local, Utc};
use futures_util::future::join_all;
use serde::Serialize;

use super::copying::{Copying, copying};
use super::status::{duration, when};
use crate::catalog::states::State;
use crate::catalog::trouble::Trouble;
use crate::catalog::{Db, Role, SyncDetail};
use crate::pg::{SqlFile, causes, connect};
use crate::source::deltas::{self, TargetState};
use crate::source::given_up::GivenUp;

const POSITION: SqlFile = SqlFile::new(include_str!("../../sql/source/position_read.sql"));

/// What one database may take to tell.
const WITHIN: Duration = Duration::from_secs(3);

/// One target of a sync.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Target {
    source: String,
    pub(super) target: String,
    /// How its KID is at this moment, as far as a daemon shows it.
    pub(super) live: Option<State>,
    /// Whose lock its round waits for.
    pub(super) waits_for: Option<String>,
    /// Rows written there since it joined the sync.
    inserts: i64,
    /// Rows deleted there since it joined the sync.
    deletes: i64,
    /// Changes that it has not read; `None`: the source does not tell, see `problem`.
    waiting: Option<i64>,
    /// What these take at the source, in bytes.
    waiting_bytes: Option<i64>,
    /// There are too many to count: these two are estimates.
    waiting_estimated: bool,
    /// Whole copies made there; `None`: it gets changes, not copies.
    copies: Option<i64>,
    /// When the last one was made.
    copied: Option<DateTime<Local>>,
    /// Age of the oldest of them.
    lag_seconds: Option<f64>,
    /// The source keeps nothing for it, until it has a copy: why.
    given_up: Option<&'static str>,
    /// A whole copy is under way.
    pub(super) copying: Option<Copying>,
    /// Why nothing is known.
    problem: Option<String>,
    /// Its last round failed.
    trouble: Option<Trouble>,
}

impl Target {
    /// One line for people.
    pub(super) fn line(&self) -> String {
        let head = format!("{} -> {}", self.source, self.target);
        let mut trouble = self.trouble.as_ref().map(|trouble| format!("; {}", words(trouble))).unwrap_or_default();
        if let Some(live) = self.live.as_ref().filter(|live| !matches!(live.state.as_str(), "idle" | "running")) {
            trouble.push_str(&format!("; {}", live.state));
        }
        if let Some(waits_for) = &self.waits_for {
            trouble.push_str(&format!("; {waits_for}"));
        }
        if let Some(problem) = &self.problem {
            return format!("{head}: {problem}{trouble}");
        }
        let copying = self.copying.as_ref().map(|copying| format!("; {}", copying.line())).unwrap_or_default();
        if let Some(copies) = self.copies {
            let last = self.copied.map(|at| format!(", last at {}", when(at))).unwrap_or_default();
            return format!(
                "{head}: copied whole {copies} times, {} rows in all{last}{copying}{trouble}",
                self.inserts
            );
        }
        let given_up = self.given_up.map(|words| format!("; {words}")).unwrap_or_default();
        let lag = self.lag_seconds.and_then(|lag| Duration::try_from_secs_f64(lag).ok());
        format!(
            "{head}: {} rows inserted, {} deleted, {}, lag {}{given_up}{copying}{trouble}",
            self.inserts,
            self.deletes,
            self.backlog(),
            lag.map_or_else(|| "0s".to_owned(), duration)
        )
    }
}

impl Target {
    /// What is wrong where its oldest change waits for longer than this, in seconds, or nothing is kept for it.
    pub(super) fn is_behind(&self, longer: f64) -> Option<String> {
        let head = format!("{} -> {}", self.source, self.target);
        if let Some(words) = self.given_up {
            return Some(format!("{head}: {words}"));
        }
        let lag = self.lag_seconds.filter(|lag| *lag > longer)?;
        let lag = duration(Duration::try_from_secs_f64(lag).unwrap_or_default());
        Some(format!("{head}: {}, the oldest for {lag}", self.backlog()))
    }

    /// `0 waiting`, `about 3400000 waiting (310.0 MB)`
    fn backlog(&self) -> String {
        let waiting = self.waiting.unwrap_or(0);
        let about = if self.waiting_estimated { "about " } else { "" };
        match self.waiting_bytes.filter(|_| waiting > 0) {
            Some(bytes) => format!("{about}{waiting} waiting ({})", size(bytes)),
            None => format!("{waiting} waiting"),
        }
    }
}

/// `3.4 MB`
pub(super) fn size(bytes: i64) -> String {
    let steps = [(1_i64 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "kB")];
    match steps.iter().find(|(step, _)| bytes >= *step) {
        Some((step, unit)) => format!("{}.{} {unit}", bytes / step, bytes % step * 10 / step),
        None => format!("{bytes} bytes"),
    }
}

/// `fails since 12:01:07 (3 times, next try 12:01:15): …`
pub(super) fn words(trouble: &Trouble) -> String {
    let next = trouble.next_try.map(|next| format!(", next try {}", when(next))).unwrap_or_default();
    let times = if trouble.failures == 1 { "once".to_owned() } else { format!("{} times", trouble.failures) };
    let hint = trouble.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
    if trouble.failures == 0 {
        return format!("{}{hint}", trouble.why);
    }
    format!("fails since {} ({times}{next}): {}{hint}", when(trouble.since), trouble.why)
}

/// How the databases of the sync `name` are that others write to; where a source cannot tell, why not. `troubles` are
/// those of all syncs.
pub(super) async fn targets(sync: &SyncDetail, troubles: &[Trouble]) -> Vec<Target> {
    let mut found = Vec::new();
    let Some(first) = sync.sources().next() else { return found };
    for target in sync.dbs(Role::Fullcopy).filter(|db| db.active) {
        let copies = tokio::time::timeout(WITHIN, copies(sync, first, target)).await;
        let blank = |problem| blank(sync, troubles, first, &target.name, problem);
        found.push(match copies.unwrap_or_else(|_| Err("no answer".to_owned())) {
            Ok(Copies { round, inserts, deletes, updated }) => Target {
                inserts,
                deletes,
                copies: Some(round),
                copied: (round > 0).then(|| updated.into()),
                ..blank(None)
            },
            Err(problem) => blank(Some(problem)),
        });
    }
    // The source of one that makes copies only knows nothing of it.
    if !sync.is_fullcopy() {
        found.extend(readers(sync, troubles).await);
    }
    for target in &mut found {
        let source = sync.sources().find(|source| source.name.as_str() == target.source);
        if let (Some(source), Some(db)) = (source, sync.db(&target.target.as_str().into())) {
            target.copying = copying(sync, source, db).await;
        }
    }
    found
}

/// Those that get changes, as the sources know them.
async fn readers(sync: &SyncDetail, troubles: &[Trouble]) -> Vec<Target> {
    let mut found = Vec::new();
    let told = join_all(sync.sources().map(|source| ask(sync, source))).await;
    let mut followed: BTreeMap<&DbName, (DateTime<Utc>, Target)> = BTreeMap::new();
    let targets: Vec<&DbName> = sync.dbs(Role::Target).filter(|db| db.active).map(|db| &db.name).collect();
    for (source, told) in sync.sources().zip(told) {
        let blank = |target: &DbName, problem| blank(sync, troubles, source, target, problem);
        match told {
            Ok(states) => {
                for state in states {
                    let target = Target {
                        inserts: state.inserts,
                        deletes: state.deletes,
                        waiting: Some(state.waiting),
                        waiting_bytes: Some(state.waiting_bytes),
                        waiting_estimated: state.is_estimate,
                        given_up: state.given_up.map(GivenUp::words),
                        lag_seconds: state.oldest.map(|oldest| (state.now - oldest).as_seconds_f64().max(0.0)),
                        ..blank(&state.target, None)
                    };
                    match targets.iter().find(|name| ***name == state.target) {
                        Some(name) if sync.is_merging() => follow(&mut followed, name, (state.updated, target)),
                        _ => found.push(target),
                    }
                }
            }
            Err(problem) if sync.is_merging() => {
                let others = sync.sources().filter(|other| other.name != source.name);
                found.extend(others.map(|other| blank(&other.name, Some(problem.clone()))));
                for target in &targets {
                    follow(&mut followed, target, (DateTime::<Utc>::MIN_UTC, blank(target, Some(problem.clone()))));
                }
            }
            Err(problem) => found.extend(targets.iter().map(|target| blank(target, Some(problem.clone())))),
        }
    }
    found.extend(followed.into_values().map(|(_, target)| target));
    found
}

/// A target follows the source that it has read last; what it has had from the others counts too.
fn follow<'a>(
    followed: &mut BTreeMap<&'a DbName, (DateTime<Utc>, Target)>,
    name: &'a DbName,
    (read, mut target): (DateTime<Utc>, Target),
) {
    match followed.get_mut(name) {
        None => {
            followed.insert(name, (read, target));
        }
        Some((last, known)) => {
            let (inserts, deletes) = (known.inserts + target.inserts, known.deletes + target.deletes);
            if read > *last {
                std::mem::swap(known, &mut target);
                *last = read;
            }
            (known.inserts, known.deletes) = (inserts, deletes);
        }
    }
}

/// A target of which nothing is known yet.
fn blank(sync: &SyncDetail, troubles: &[Trouble], source: &Db, target: &DbName, problem: Option<String>) -> Target {
    let follows = sync.is_merging() && sync.role(target) == Some(Role::Target);
    let from = if follows { "" } else { source.name.as_str() };
    let is_own = |trouble: &&Trouble| {
        (&*trouble.sync, &*trouble.source, &*trouble.target) == (sync.name.as_str(), from, target.as_str())
    };
    Target {
        source: source.name.to_string(),
        target: target.to_string(),
        live: None,
        waits_for: None,
        inserts: 0,
        deletes: 0,
        waiting: None,
        waiting_bytes: None,
        waiting_estimated: false,
        copies: None,
        copied: None,
        lag_seconds: None,
        given_up: None,
        copying: None,
        problem,
        trouble: troubles.iter().find(is_own).cloned(),
    }
}

/// What a source knows of those who read it.
async fn ask(sync: &SyncDetail, source: &Db) -> Result<Vec<TargetState>, String> {
    let ask = async {
        let connection = Box::pin(connect(&source.access, "bucardo CLI")).await.map_err(|error| causes(&error))?;
        deltas::waiting(&connection, &sync.name).await.map_err(|error| match error.code() {
            Some(&tokio_postgres::error::SqlState::UNDEFINED_TABLE) => {
                format!("not validated yet: run \"bucardo validate {}\"", sync.name)
            }
            _ => causes(&error),
        })
    };
    tokio::time::timeout(WITHIN, ask).await.unwrap_or_else(|_| Err("no answer".to_owned()))
}

/// How far the initial copies of a sync are: one line for each that is under way.
pub(super) async fn copies_under_way(sync: &SyncDetail) -> Vec<String> {
    let mut lines = Vec::new();
    for source in sync.sources() {
        for target in sync.members.iter().map(|member| &member.db).filter(|db| db.active && db.name != source.name) {
            let told = copying(sync, source, target).await;
            lines.extend(told.map(|copying| format!("{}: {}", target.name, copying.line())));
        }
    }
    lines
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
