//! How things are at present, as the daemon notes it: syncs, their KIDs, databases, the MCP and the VAC.
//!
//! The daemon writes the table `live`; everybody else reads the view `state`, where all is down while no daemon holds the
//! lease, whatever the last one has left in the table.

use std::time::SystemTime;

use bucardo_actors::board::{ActorId, Doing, Snapshot, TableId};
use bucardo_actors::model::{Quarantined, Work};
use bucardo_actors::ports::Shown;
use chrono::{DateTime, Local};
use serde::Serialize;
use tokio_postgres::GenericClient;

use super::CatalogError;
use super::query::{Query, query};

const PUT: Query = query!("show how things are", "live_put");
const GONE: Query = query!("forget how things were", "live_gone");
const CLEAR: Query = query!("forget what a former daemon has shown", "live_clear");
const STATES: Query = query!("read how things are", "states");
const RUNS: Query = query!("see whether a daemon runs", "daemon_runs");

/// How something is: one line of the view `state`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct State {
    /// `mcp`, `vac`, `sync`, `kid`, `db` or `table`.
    #[serde(skip)]
    pub kind: String,
    /// The sync of a sync or KID, else empty.
    #[serde(skip)]
    pub sync: String,
    /// Where a KID reads; empty: no one source.
    #[serde(skip)]
    pub source: String,
    /// Where a KID writes (empty: all sources), the database, or where a table stays behind.
    #[serde(skip)]
    pub db: String,
    /// What its pings are sent to, for a sync or KID; of the MCP and the VAC the process.
    pub id: Option<i32>,
    /// The word for it: active, running, idle, paused, stalled, quarantined, finished, down, inactive.
    pub state: String,
    /// Since when.
    pub since: Option<DateTime<Local>>,
    /// Why, where it is not well.
    pub why: Option<String>,
    /// What a person can do.
    pub hint: Option<String>,
    /// When it is tried again.
    pub next_try: Option<DateTime<Local>>,
    /// The step that runs.
    pub doing: Option<String>,
    /// The table, `schema.table`; empty: it is none.
    #[serde(skip)]
    pub relation: String,
    /// Sessions that the daemon has open on a database.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<i32>,
}

/// How everything is.
#[derive(Clone, Debug, Default)]
pub struct States {
    /// A daemon holds the lease.
    pub runs: bool,
    lines: Vec<State>,
}

impl State {
    fn plain(sync: &str, state: &str, why: Option<&str>, hint: Option<String>) -> Self {
        Self {
            kind: "sync".to_owned(),
            sync: sync.to_owned(),
            source: String::new(),
            db: String::new(),
            id: None,
            state: state.to_owned(),
            since: None,
            why: why.map(str::to_owned),
            hint,
            next_try: None,
            doing: None,
            relation: String::new(),
            connections: None,
        }
    }

    /// Whether a person would want to know of it.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.why.is_none() && matches!(self.state.as_str(), "active" | "running" | "idle" | "finished" | "inactive")
    }
}

impl States {
    /// How a sync is; `status` is what the catalog says.
    #[must_use]
    pub fn of_sync(&self, sync: &str, status: &str) -> State {
        if status == "inactive" {
            return State::plain(sync, "inactive", None, Some(format!("bucardo activate {sync}")));
        }
        if !self.runs {
            return State::plain(sync, "down", Some("the daemon does not run"), Some("bucardo start".to_owned()));
        }
        if !self.lines.iter().any(|line| line.kind == "mcp") {
            return State::plain(sync, "down", Some("the daemon is about to start it"), None);
        }
        let known = self.lines.iter().find(|line| line.kind == "sync" && line.sync == sync);
        known.cloned().unwrap_or_else(|| {
            let hint = format!("bucardo reload {sync}");
            State::plain(sync, "down", Some("the daemon does not know of it yet"), Some(hint))
        })
    }

    /// How the KID of a sync is that writes to `db`.
    #[must_use]
    pub fn of_target(&self, sync: &str, db: &str) -> Option<&State> {
        self.lines.iter().find(|line| line.kind == "kid" && line.sync == sync && line.db == db)
    }

    /// The KIDs of a sync that are not well. One that only does without some tables is.
    pub fn kids_in_trouble<'a>(&'a self, sync: &'a str) -> impl Iterator<Item = &'a State> {
        let only_tables = |kid: &State| {
            let of_kid = |table: &State| table.source == kid.source && (kid.db.is_empty() || table.db == kid.db);
            matches!(kid.state.as_str(), "running" | "idle") && self.quarantined(sync).any(of_kid)
        };
        let kids = self.lines.iter().filter(move |line| line.kind == "kid" && line.sync == sync);
        kids.filter(move |kid| !kid.is_well() && !only_tables(kid))
    }

    /// The tables of a sync that stay behind.
    pub fn quarantined<'a>(&'a self, sync: &'a str) -> impl Iterator<Item = &'a State> {
        self.lines.iter().filter(move |line| line.state == "quarantined" && line.sync == sync)
    }

    /// The databases that cannot be reached.
    pub fn stalled_dbs(&self) -> impl Iterator<Item = &State> {
        self.lines.iter().filter(|line| line.kind == "db" && line.state == "stalled")
    }

    /// How all databases are that the daemon uses.
    pub fn dbs(&self) -> impl Iterator<Item = &State> {
        self.lines.iter().filter(|line| line.kind == "db")
    }
}

/// The word for what an actor does.
#[must_use]
pub fn word(doing: Doing) -> &'static str {
    match doing {
        Doing::Active => "active",
        Doing::Running => "running",
        Doing::Idle => "idle",
        Doing::Paused => "paused",
        Doing::Stalled => "stalled",
        Doing::Quarantined => "quarantined",
        Doing::Finished => "finished",
        Doing::Down => "down",
    }
}

/// Who it is: kind, sync, source, database, table.
fn place(id: &ActorId) -> (&'static str, &str, &str, &str, &str) {
    match id {
        ActorId::Mcp => ("mcp", "", "", "", ""),
        ActorId::Vac => ("vac", "", "", "", ""),
        ActorId::Ctl(sync) => ("sync", sync.as_str(), "", "", ""),
        ActorId::Db(db) => ("db", "", "", db.as_str(), ""),
        ActorId::Table(TableId { kid, db, relation }) => {
            let source = match &kid.work {
                Work::Pair { source, .. } => source.as_str(),
                Work::Follow { .. } | Work::Merge => "",
            };
            ("table", kid.sync.as_str(), source, db.as_str(), relation.as_str())
        }
        ActorId::Kid(kid) => {
            let (source, db) = match &kid.work {
                Work::Pair { source, target } => (source.as_str(), target.as_str()),
                Work::Follow { target } => ("", target.as_str()),
                Work::Merge => ("", ""),
            };
            ("kid", kid.sync.as_str(), source, db, "")
        }
    }
}

fn why(snapshot: &Snapshot) -> Option<String> {
    let fault = snapshot.fault.as_ref().map(|fault| fault.message.clone());
    let aside = |tables: &[Quarantined]| tables.iter().map(ToString::to_string).collect::<Vec<String>>().join("; ");
    fault.or_else(|| snapshot.aside().map(aside))
}

/// Writes these changes, all or none; `number` is what outsiders call an actor by.
///
/// # Errors
///
/// [`CatalogError::Sql`].
pub async fn show(
    client: &impl GenericClient,
    changes: &[Shown],
    number: impl Fn(&ActorId) -> Option<i32>,
) -> Result<(), CatalogError> {
    let (present, gone): (Vec<&Shown>, Vec<&Shown>) = changes.iter().partition(|shown| shown.snapshot.is_some());
    let present: Vec<(&ActorId, &Snapshot)> =
        present.into_iter().filter_map(|shown| Some((&shown.id, shown.snapshot.as_ref()?))).collect();
    if !present.is_empty() {
        let (kinds, syncs, sources, dbs, relations) = places(present.iter().map(|(id, _)| *id));
        let column = |read: fn(&Snapshot) -> Option<String>| {
            present.iter().map(|(_, snapshot)| read(snapshot)).collect::<Vec<Option<String>>>()
        };
        let times = |read: fn(&Snapshot) -> Option<SystemTime>| {
            present.iter().map(|(_, snapshot)| read(snapshot)).collect::<Vec<Option<SystemTime>>>()
        };
        let numbers: Vec<Option<i32>> = present.iter().map(|(id, _)| number(id)).collect();
        let words: Vec<&str> = present.iter().map(|(_, snapshot)| word(snapshot.state)).collect();
        let connections: Vec<Option<i32>> = present
            .iter()
            .map(|(_, snapshot)| snapshot.connections.and_then(|connections| i32::try_from(connections).ok()))
            .collect();
        let hints = column(|snapshot| snapshot.fault.as_ref()?.hint.clone());
        let steps = column(|snapshot| Some(snapshot.step.clone()).filter(|step| !step.is_empty()));
        let (since, next) = (times(|snapshot| snapshot.since), times(|snapshot| snapshot.next_try));
        PUT.execute(
            client,
            &[
                &kinds,
                &syncs,
                &sources,
                &dbs,
                &words,
                &since,
                &column(why),
                &hints,
                &next,
                &steps,
                &numbers,
                &relations,
                &connections,
            ],
        )
        .await?;
    }
    if !gone.is_empty() {
        let (kinds, syncs, sources, dbs, relations) = places(gone.iter().map(|shown| &shown.id));
        GONE.execute(client, &[&kinds, &syncs, &sources, &dbs, &relations]).await?;
    }
    Ok(())
}

type Places<'a> = (Vec<&'a str>, Vec<&'a str>, Vec<&'a str>, Vec<&'a str>, Vec<&'a str>);

fn places<'a>(ids: impl Iterator<Item = &'a ActorId>) -> Places<'a> {
    let mut all: Places<'a> = Places::default();
    for (kind, sync, source, db, relation) in ids.map(place) {
        all.0.push(kind);
        all.1.push(sync);
        all.2.push(source);
        all.3.push(db);
        all.4.push(relation);
    }
    all
}

/// Forgets what a daemon has shown.
///
/// # Errors
///
/// [`CatalogError::Sql`].
pub async fn clear(client: &impl GenericClient) -> Result<(), CatalogError> {
    CLEAR.execute(client, &[]).await.map(drop)
}

/// How everything is.
///
/// # Errors
///
/// [`CatalogError::Sql`].
pub async fn load(client: &impl GenericClient) -> Result<States, CatalogError> {
    let read = |row: &tokio_postgres::Row| State {
        kind: row.get("kind"),
        sync: row.get("sync"),
        source: row.get("source"),
        db: row.get("db"),
        id: row.get("id"),
        state: row.get("state"),
        since: row.get("since"),
        why: row.get("why"),
        hint: row.get("hint"),
        next_try: row.get("next_try"),
        doing: row.get("doing"),
        relation: row.get("relation"),
        connections: row.get("connections"),
    };
    let lines = STATES.rows(client, &[]).await?.iter().map(read).collect();
    Ok(States { runs: RUNS.row(client, &[]).await?.get("runs"), lines })
}
