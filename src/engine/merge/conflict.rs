//! Conflicts: what is kept of each at the sources, in the merge's own transactions, and its way to the control
//! database.

use chrono::{DateTime, SecondsFormat, Utc};
use futures_util::future::try_join_all;
use md5::{Digest, Md5};
use serde_json::{Map, Value, json};
use tokio_postgres::Row;

use bucardo_actors::model::SyncName;

use super::arm::Arm;
use super::decide::{Entry, Take};
use super::goat::Goat;
use super::log::Names;
use super::strategy::Strategy;
use super::version::Version;
use crate::catalog::conflicts::{Conflict, ConflictStore};
use crate::engine::error::RoundError;
use crate::engine::site::Site;
use crate::pg::SqlFile;

const KEEP: SqlFile = SqlFile::new(include_str!("../../../sql/merge/conflicts_keep.sql"));
const KEPT: SqlFile = SqlFile::new(include_str!("../../../sql/merge/conflicts_kept.sql"));
const MOVED: SqlFile = SqlFile::new(include_str!("../../../sql/merge/conflicts_moved.sql"));

/// How many conflicts are handled at once.
const PIECE: usize = 200;

/// A conflict, decided.
pub(super) struct Clash<'a> {
    pub(super) table: &'a str,
    pub(super) names: &'a Names<'a>,
    pub(super) take: &'a Take,
    pub(super) present: &'a [(u16, Entry)],
    /// The key's columns, as they came.
    pub(super) keys: &'a [u8],
}

impl Clash<'_> {
    fn rivals(&self) -> impl Iterator<Item = (u16, Version)> {
        let rivals = self.present.iter().filter(|(place, _)| self.take.rivals & (1 << place) != 0);
        rivals.filter_map(|(place, entry)| Some((*place, entry.version(*place)?)))
    }

    /// The same for the same conflict, in whichever merge it is decided.
    pub(super) fn id(&self) -> String {
        let mut hash = Md5::new();
        for text in [self.names.sync.as_bytes(), self.table.as_bytes(), self.keys] {
            hash.update(text);
            hash.update([0]);
        }
        for (_, version) in self.rivals() {
            hash.update(version.time.to_be_bytes());
            hash.update(version.db.to_be_bytes());
            hash.update(version.serial.to_be_bytes());
        }
        hash.finalize()
            .iter()
            .flat_map(|byte| [byte >> 4, byte & 15])
            .filter_map(|digit| char::from_digit(digit.into(), 16))
            .collect()
    }
}

/// Who decided a conflict.
pub(super) enum By<'a> {
    Strategy(&'a Strategy),
    /// A custom code of this name, or one that had named a winner for all; and what it did.
    Code {
        name: Option<&'a str>,
        how: &'static str,
    },
}

impl By<'_> {
    /// As it stands in the history.
    fn spelled(&self, names: &Names<'_>) -> String {
        match self {
            Self::Strategy(strategy) => spelled(strategy, names),
            Self::Code { name: Some(name), how } => format!("custom code {name}: {how}"),
            Self::Code { name: None, how } => format!("custom code: {how}"),
        }
    }

    /// Whether somebody's row was taken.
    fn has_winner(&self) -> bool {
        matches!(self, Self::Strategy(_) | Self::Code { how: "picked", .. })
    }
}

/// What is known of a conflict when it is decided, as JSON; rows and key are added later.
pub(super) fn describe(clash: &Clash<'_>, by: &By<'_>) -> String {
    let name = |place: u16| clash.names.name(place);
    let versions: Map<String, Value> = clash
        .rivals()
        .map(|(place, version)| {
            let time = DateTime::<Utc>::from_timestamp_micros(version.time).unwrap_or_default();
            let time = time.to_rfc3339_opts(SecondsFormat::Micros, true);
            let version = json!({"time": time, "db": name(version.db), "serial": version.serial});
            (name(place).to_owned(), version)
        })
        .collect();
    let winner = if by.has_winner() { name(clash.take.winner) } else { "" };
    json!({"strategy": by.spelled(clash.names), "winner": winner, "versions": versions}).to_string()
}

/// A strategy as it stands in the catalog.
fn spelled(strategy: &Strategy, names: &Names<'_>) -> String {
    let word = match strategy {
        Strategy::First => "source",
        Strategy::Last => "target",
        Strategy::Skip => "skip",
        Strategy::Random => "random",
        Strategy::Latest => "latest",
        Strategy::LatestAllTables => "latest_all_tables",
        Strategy::Abort => "abort",
        Strategy::Custom => "custom",
        Strategy::Listed(places) => {
            let names = places.iter().filter_map(|place| names.sources.get(usize::from(*place)));
            return names.map(String::as_str).collect::<Vec<_>>().join(" ");
        }
    };
    format!("bucardo_{word}")
}

/// Keeps the conflicts of one table, with the rows of all sides, at one source (`keeper` and the time): unless that one
/// commits, no later one does. `sites`: the sessions where they are to be read; nothing that they see is deleted yet.
pub(super) async fn keep(
    sync: &SyncName,
    arms: &[&mut Arm],
    sites: &[&Site],
    goat: &Goat,
    (keeper, time): (usize, DateTime<Utc>),
) -> Result<(), RoundError> {
    let what = format!("reading conflicts of table \"{}\"", goat.label);
    let keeping = format!("keeping conflicts of table \"{}\"", goat.label);
    let fetch = format!("FETCH {PIECE} FROM bucardo_sides");
    let fetches = try_join_all(sites.iter().zip(&goat.at).map(|(site, at)| async {
        site.run(&what, &at.sides).await?;
        site.conn.prepare(&fetch).await.map_err(site.failed(what.as_str()))
    }));
    let fetches = fetches.await?;
    let site = &arms[keeper].site;
    let keep = site.conn.prepare(KEEP.text()).await.map_err(site.failed(keeping.as_str()))?;
    let here = arms[0].tables.iter().find(|table| table.captured == goat.at[0].captured);
    let rest = json!({
        "schema": here.map(|table| &table.goat.schema),
        "table": here.map(|table| &table.goat.name),
        "time": time.to_rfc3339_opts(SecondsFormat::Micros, true),
    });
    let rest = rest.to_string();
    let fetch_all = || {
        let fetched = sites
            .iter()
            .zip(&fetches)
            .map(|(site, fetch)| async { site.conn.query(fetch, &[]).await.map_err(site.failed(what.as_str())) });
        try_join_all(fetched)
    };
    let mut sides = fetch_all().await?;
    while sides.first().is_some_and(|sides| !sides.is_empty()) {
        // The servers look for the next ones meanwhile.
        let (next, kept) = tokio::join!(fetch_all(), async {
            let (ids, bodies) = told(arms, &sides, &rest);
            let kept = site.conn.execute(&keep, &[&sync.as_str(), &ids, &bodies]).await;
            kept.map_err(site.failed(keeping.as_str()))
        });
        kept?;
        sides = next?;
    }
    try_join_all(sites.iter().map(|site| site.run(&what, "CLOSE bucardo_sides"))).await?;
    Ok(())
}

/// Ids and, as JSON, what is known of some conflicts. `sides`: of each source, in one order.
fn told(arms: &[&mut Arm], sides: &[Vec<Row>], rest: &str) -> (Vec<String>, Vec<String>) {
    let heads = sides.first().map(Vec::as_slice).unwrap_or_default().iter().enumerate();
    let told = heads.map(|(at, head)| {
        // As text: numbers keep all their digits.
        let rows: Map<String, Value> = arms
            .iter()
            .zip(sides)
            .map(|(arm, side)| (arm.site.db.to_string(), side[at].get::<_, Option<String>>("side").into()))
            .collect();
        let (note, rows) = (head.get::<_, &str>("note"), Value::Object(rows));
        // Objects become one: what the server and we have written as JSON is not taken apart again.
        let note = note.strip_suffix('}').unwrap_or_default();
        let rest = rest.strip_prefix('{').unwrap_or_default();
        (head.get("conflict"), format!("{note},\"key\":{},\"rows\":{rows},{rest}", head.get::<_, &str>("key")))
    });
    told.unzip()
}

/// Moves the conflicts that a source keeps to the control database: each once, however often this is interrupted.
/// Returns whether all are there.
pub(super) async fn deliver(sync: &SyncName, site: &Site, store: &dyn ConflictStore) -> Result<bool, RoundError> {
    let limit = i64::try_from(PIECE).unwrap_or(i64::MAX);
    loop {
        let rows = site.conn.query(KEPT.text(), &[&sync.as_str(), &limit]).await;
        let rows = rows.map_err(site.failed("reading conflicts"))?;
        if rows.is_empty() {
            return Ok(true);
        }
        let ids: Vec<&str> = rows.iter().map(|row| row.get("id")).collect();
        let conflicts: Vec<Conflict> = rows.iter().map(|row| conflict(sync, row.get("id"), row.get("body"))).collect();
        if let Err(why) = store.store(&conflicts).await {
            tracing::warn!(%sync, db = %site.db, why, "conflicts wait in the database: they cannot be written to the control database");
            return Ok(false);
        }
        let moved = site.conn.execute(MOVED.text(), &[&sync.as_str(), &ids]).await;
        moved.map_err(site.failed("forgetting conflicts that were moved"))?;
    }
}

fn conflict(sync: &SyncName, id: &str, body: &str) -> Conflict {
    let mut body: Value = serde_json::from_str(body).unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let time = body["time"].as_str().and_then(|time| DateTime::parse_from_rfc3339(time).ok());
    Conflict {
        id: id.to_owned(),
        sync: sync.clone(),
        schema: text(&body["schema"]),
        table: text(&body["table"]),
        strategy: text(&body["strategy"]),
        winner: text(&body["winner"]).as_str().into(),
        key: body["key"].take(),
        versions: body["versions"].take(),
        rows: serde_json::from_value(body["rows"].take()).unwrap_or_default(),
        time: time.map(|time| time.to_utc()).unwrap_or_default(),
    }
}
