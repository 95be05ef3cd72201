//! Conflicts: what is kept of each at the sources, in the merge's own transactions, and its way to the control
//! database.

use std::borrow::Cow;

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use futures_util::future::try_join_all;
use futures_util::{StreamExt, TryStreamExt};
use md5::{Digest, Md5};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use bucardo_actors::model::SyncName;

use super::arm::Arm;
use super::decide::{Entry, Take};
use super::goat::Goat;
use super::log::Names;
use super::spool::{Escaped, Spool, fields};
use super::strategy::Strategy;
use super::version::Version;
use crate::catalog::conflicts::{Conflict, ConflictStore};
use crate::engine::error::RoundError;
use crate::engine::site::Site;
use crate::pg::{Sql, SqlFile};

const KEEP: SqlFile = SqlFile::new(include_str!("../../../sql/merge/conflicts_keep.sql"));
const KEPT: SqlFile = SqlFile::new(include_str!("../../../sql/merge/conflicts_kept.sql"));
const MOVED: SqlFile = SqlFile::new(include_str!("../../../sql/merge/conflicts_moved.sql"));

/// How many conflicts are moved at once.
const PIECE: usize = 200;

/// Begins what a rival is told of a conflict.
pub(super) const RIVAL: &str = "+";

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
        let mut id = String::with_capacity(2 * Md5::output_size());
        let digits = hash.finalize().into_iter().flat_map(|byte| [byte >> 4, byte & 15]);
        id.extend(digits.filter_map(|digit| char::from_digit(digit.into(), 16)));
        id
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
    let winner = if by.has_winner() { clash.names.name(clash.take.winner) } else { "" };
    let known = Known { strategy: by.spelled(clash.names), winner, versions: Versions(clash) };
    serde_json::to_string(&known).unwrap_or_default()
}

#[derive(Serialize)]
struct Known<'a> {
    strategy: String,
    winner: &'a str,
    versions: Versions<'a>,
}

/// Of each rival.
struct Versions<'a>(&'a Clash<'a>);

#[derive(Serialize)]
struct Of<'a> {
    time: String,
    db: &'a str,
    serial: i64,
}

impl Serialize for Versions<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let name = |place: u16| self.0.names.name(place);
        serializer.collect_map(self.0.rivals().map(|(place, version)| {
            let time = DateTime::<Utc>::from_timestamp_micros(version.time).unwrap_or_default();
            let time = time.to_rfc3339_opts(SecondsFormat::Micros, true);
            (name(place), Of { time, db: name(version.db), serial: version.serial })
        }))
    }
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

/// Where conflicts are kept.
#[derive(Clone, Copy)]
pub(super) struct Keeper {
    pub(super) arm: usize,
    /// The merge's transaction there.
    pub(super) txid: u64,
    /// When they were decided.
    pub(super) time: DateTime<Utc>,
}

/// Keeps the conflicts of one table, with the rows of all sides, at one source: unless that one commits, no later one
/// does. `sites`: the sessions where they are to be read; nothing that they see is deleted yet. Returns how many were none,
/// as all rivals had the same row, and are not kept.
pub(super) async fn keep(
    sync: &SyncName,
    arms: &[&mut Arm],
    sites: &[&Site],
    goat: &Goat,
    keeper: Keeper,
) -> Result<u64, RoundError> {
    let what = format!("reading conflicts of table \"{}\"", goat.label);
    let keeping = format!("keeping conflicts of table \"{}\"", goat.label);
    let site = &arms[keeper.arm].site;
    let prepare = async || site.conn.prepare(KEEP.text()).await.map_err(site.failed(keeping.as_str()));
    // A session that is being read takes them when that has ended.
    let begin = async {
        if std::ptr::eq(sites[keeper.arm], site) {
            return Ok((Spool::new(), None));
        }
        let keep = prepare().await?;
        Ok::<_, RoundError>((Spool::sending(site, &keeping, &keep).await?, Some(keep)))
    };
    let sides = try_join_all(sites.iter().zip(&goat.at).map(|(site, at)| async {
        let rows = site.conn.copy_out(at.sides.as_str()).await.map_err(site.failed(what.as_str()))?;
        Ok::<_, RoundError>(rows.map_err(|source| site.failed(what.as_str())(source)).boxed())
    }));
    let ((mut kept, keep), mut sides) = tokio::try_join!(begin, sides)?;
    let told = Told::new(sync, arms, goat, keeper);
    let mut rows = Vec::with_capacity(sides.len());
    let mut equal = 0;
    loop {
        rows.clear();
        for side in &mut sides {
            rows.extend(side.try_next().await?);
        }
        if rows.is_empty() {
            break;
        }
        let Some((id, rest)) = told.line(&rows) else {
            equal += 1;
            continue;
        };
        kept.put(id.as_bytes(), rest.as_bytes()).map_err(|source| RoundError::Spool { source })?;
        kept.pass_on(site, &keeping).await?;
    }
    drop(sides);
    let keep = match keep {
        Some(keep) => keep,
        None => prepare().await?,
    };
    kept.send(site, &keeping, &keep).await?;
    Ok(equal)
}

/// What is the same of all conflicts of a table.
struct Told {
    /// Between the id and what is known of the conflict.
    head: String,
    /// Names of the sources, as JSON.
    names: Vec<String>,
    /// What follows the rows.
    tail: String,
}

impl Told {
    fn new(sync: &SyncName, arms: &[&mut Arm], goat: &Goat, keeper: Keeper) -> Self {
        let here = arms[0].tables.iter().find(|table| table.captured == goat.at[0].captured);
        let rest = json!({
            "schema": here.map(|table| &table.goat.schema),
            "table": here.map(|table| &table.goat.name),
            "time": keeper.time.to_rfc3339_opts(SecondsFormat::Micros, true),
        });
        let names = arms.iter().map(|arm| Value::from(arm.site.db.as_str()).to_string()).collect();
        Self {
            head: format!("\t{}\t{}\t", keeper.txid, Escaped(sync.as_str())),
            names,
            tail: rest.to_string().replacen('{', ",", 1),
        }
    }

    /// The id of a conflict, and what follows it in a line of what is kept. `rows`: what each source says of it. `None`: all
    /// rivals have the same row.
    fn line(&self, rows: &[Bytes]) -> Option<(String, String)> {
        let texts: Vec<Cow<'_, str>> = rows.iter().map(|row| String::from_utf8_lossy(row)).collect();
        let values = |text: &'_ str| fields(text.trim_end_matches('\n').as_bytes()).map(Option::flatten).collect();
        let mut all: Vec<Vec<Option<String>>> = texts.iter().map(|text| values(text)).collect();
        if is_same_row(&all) {
            return None;
        }
        // Who has changed the row knows its key.
        let key = all.iter().find(is_rival).and_then(|row| row.get(2)?.clone()).unwrap_or_default();
        let mut head = |column: usize| all.first_mut().and_then(|row| row.get_mut(column)?.take()).unwrap_or_default();
        let (id, note) = (head(0), head(1));
        // Objects become one: what the server and we have written as JSON is not taken apart again.
        let mut body =
            format!("{},\"key\":{key},\"rows\":", note.trim_start_matches(RIVAL).strip_suffix('}').unwrap_or_default());
        let mut before = '{';
        for (name, row) in self.names.iter().zip(all) {
            // As text: numbers keep all their digits.
            let row: Value = row.into_iter().nth(3).flatten().into();
            body.push(before);
            body.push_str(&format!("{name}:{row}"));
            before = ',';
        }
        body.push('}');
        body.push_str(&self.tail);
        Some((id, format!("{}{}", self.head, Escaped(&body))))
    }
}

fn is_rival(side: &&Vec<Option<String>>) -> bool {
    side.get(1).and_then(Option::as_ref).is_some_and(|note| note.starts_with(RIVAL))
}

/// Whether all rivals have the same row, or none. Of very wide ones only the beginning is known.
fn is_same_row(sides: &[Vec<Option<String>>]) -> bool {
    let mut rows = sides.iter().filter(is_rival).map(|side| side.get(3).and_then(Option::as_deref));
    let Some(first) = rows.next() else { return false };
    first.is_none_or(|row| row.starts_with('{')) && rows.all(|row| row == first)
}

/// Moves the conflicts that a source keeps to the control database: each once, however often this is interrupted.
/// Returns whether all are there.
pub(super) async fn deliver(sync: &SyncName, site: &Site, store: &dyn ConflictStore) -> Result<bool, RoundError> {
    let open = KEPT.fill(&[("sync", &Sql::literal(sync.as_str()))]);
    site.run("reading conflicts", &open).await?;
    let moved = deliver_all(sync, site, store).await?;
    site.run("reading conflicts", "CLOSE bucardo_kept").await?;
    Ok(moved)
}

async fn deliver_all(sync: &SyncName, site: &Site, store: &dyn ConflictStore) -> Result<bool, RoundError> {
    let fetch = site.conn.prepare(&format!("FETCH {PIECE} FROM bucardo_kept")).await;
    let fetch = fetch.map_err(site.failed("reading conflicts"))?;
    loop {
        let rows = site.conn.query(&fetch, &[]).await.map_err(site.failed("reading conflicts"))?;
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
