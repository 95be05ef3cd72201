//! One source of a merge: its connection, what it knows of the others, and what a merge came to there.

use std::collections::HashMap;
use std::time::Instant;

use chrono::{DateTime, Utc};
use postgres_types::Oid;
use tokio_postgres::{Row, Statement};

use bucardo_actors::model::{DbName, SyncName};
use bucardo_actors::ports::Watch;

use super::horizon::Horizon;
use super::late::Late;
use crate::catalog::{Goat, SyncDetail};
use crate::engine::begin::begin_merge;
use crate::engine::check;
use crate::engine::drift::Drift;
use crate::engine::error::RoundError;
use crate::engine::position::Position;
use crate::engine::scout::{Found, Scout};
use crate::engine::sequences;
use crate::engine::session::{CAPTURED, LETTERS, SINCE, SYSTEM_ID, check_places};
use crate::engine::site::Site;
use crate::engine::table::delta_moved;
use crate::pg::{Sql, SqlFile};

pub(super) const SESSION: SqlFile = SqlFile::new(include_str!("../../../sql/merge/session.sql"));
const FENCE: SqlFile = SqlFile::new(include_str!("../../../sql/merge/fence.sql"));
const LOOK: SqlFile = SqlFile::new(include_str!("../../../sql/merge/look.sql"));
const READABLE: SqlFile = SqlFile::new(include_str!("../../../sql/merge/readable.sql"));
const PENDING: SqlFile = SqlFile::new(include_str!("../../../sql/merge/pending.sql"));
const TRUNCATED: SqlFile = SqlFile::new(include_str!("../../../sql/merge/truncated.sql"));
const MICROS: SqlFile = SqlFile::new(include_str!("../../../sql/merge/micros.sql"));
const ADVANCE: SqlFile = SqlFile::new(include_str!("../../../sql/merge/advance.sql"));
const WRITERS: SqlFile = SqlFile::new(include_str!("../../../sql/merge/writers.sql"));
const TRACK: SqlFile = SqlFile::new(include_str!("../../../sql/merge/track.sql"));
const LATE: SqlFile = SqlFile::new(include_str!("../../../sql/merge/late.sql"));
const SEQUENCE: SqlFile = SqlFile::new(include_str!("../../../sql/merge/sequence.sql"));

/// More changes of a table than this are many: what is done with them is planned anew.
pub(super) const FEW: i64 = 1000;

/// The time of a delta row in microseconds since 1970.
pub(super) fn micros() -> Sql {
    Sql::trusted(MICROS.text().trim_end())
}

/// The condition that this sync reads a delta row.
pub(super) fn readable(sync: &SyncName) -> Sql {
    Sql::trusted(READABLE.fill(&[("sync", &Sql::literal(sync.as_str()))]).trim_end())
}

/// A table of the sync at this source.
pub(super) struct Place {
    /// The goat by its name here.
    pub(super) goat: Goat,
    pub(super) captured: i32,
    pub(super) oid: Oid,
    pub(super) delta: Sql,
}

/// How far this source has read another.
pub(super) struct Held {
    pub(super) position: Position,
    pub(super) round: i64,
    pub(super) system_id: i64,
    pub(super) timeline: i64,
    /// The request for a whole copy that was answered last; below zero: one is under way.
    pub(super) copy_request: i64,
}

/// What was seen when the merge began.
pub(super) struct Look {
    pub(super) snapshot: Position,
    /// The merge's own transaction here.
    pub(super) txid: u64,
    /// How far its clock is ahead of ours, in microseconds; off by half a round trip.
    pub(super) ahead: i64,
    pub(super) now: DateTime<Utc>,
    pub(super) at: Instant,
    /// By source; that of its own name is the settled one.
    pub(super) held: HashMap<DbName, Held>,
    /// Rounds of its readers, as it knows them.
    pub(super) tracks: HashMap<DbName, i64>,
    pub(super) late: Late,
}

impl Look {
    /// Transactions whose changes the snapshot does not show, and that had begun before the merge's own.
    pub(super) fn in_progress(&self) -> impl Iterator<Item = u64> {
        self.snapshot.open_before(self.txid)
    }
}

/// A truncation that some source has not read.
pub(super) struct Truncation {
    pub(super) captured: i32,
    pub(super) txid: u64,
    pub(super) micros: i64,
    pub(super) origin: Option<String>,
}

/// What somebody has not read of a table.
#[derive(Clone, Copy, Default)]
pub(super) struct Unread {
    /// Size of the delta table.
    pub(super) bytes: i64,
    /// Changes, up to a limit.
    pub(super) changes: i64,
    /// When the oldest of these was made, in microseconds since 1970.
    pub(super) oldest: Option<i64>,
}

impl Unread {
    fn read(row: &Row) -> Self {
        let unread: Vec<Option<i64>> = row.get("unread");
        let at = |place: usize| unread.get(place).copied().flatten();
        let changes = at(0).unwrap_or_default().max(i64::from(row.get::<_, bool>("moved")));
        Self { bytes: row.get("bytes"), changes, oldest: at(1) }
    }
}

/// What changed here since the others looked.
#[derive(Default)]
pub(super) struct News {
    /// By place of the table.
    pub(super) tables: HashMap<usize, Unread>,
    /// There are unread changes that are no news for this sync.
    pub(super) passed_over: bool,
    pub(super) truncated: Vec<Truncation>,
    pub(super) sequences: Vec<Row>,
}

impl News {
    /// Whether there are many changes of some table.
    pub(super) fn is_large(&self) -> bool {
        self.tables.values().any(|unread| unread.changes > FEW)
    }
}

struct Statements {
    fence: Statement,
    late: Statement,
    look: Statement,
    since: Statement,
    truncated: Statement,
    advance: Statement,
    track: Statement,
    /// `None`: the sync has no dead letters.
    letters: Option<Statement>,
}

/// An open source.
pub(super) struct Arm {
    /// Place among all sources of the sync.
    pub(super) place: u16,
    pub(super) site: Site,
    pub(super) system_id: i64,
    pub(super) timeline: i64,
    pub(super) tables: Vec<Place>,
    /// Quoted names of the sequences, but for those that are put aside here.
    pub(super) sequences: Vec<Option<Sql>>,
    /// Places of sequences that cannot be used here, and why; until somebody takes note of it.
    pub(super) unfit_sequences: Option<Vec<(usize, Drift)>>,
    /// By place of the table.
    pub(super) horizons: Vec<Horizon>,
    /// Its second session, in or between large merges.
    pub(super) second: Option<Site>,
    /// Keys of the sync wait here as dead letters.
    pub(super) has_letters: bool,
    scout: Scout,
    statements: Statements,
    checked: Option<Instant>,
}

impl Arm {
    /// Connects a source.
    pub(super) async fn open(sync: &SyncDetail, db: &DbName, place: u16) -> Result<Self, RoundError> {
        let name = format!("bucardo KID {} merge", sync.name);
        let site = Site::of(sync, db, &name).await?;
        site.run("setting up the session", SESSION.text()).await?;
        site.remember(sync).await?;
        let identity = site.conn.query_one(SYSTEM_ID.text(), &[]).await.map_err(site.failed("reading its identity"))?;
        let goats: Vec<&Goat> = sync.tables().collect();
        check_places(sync, &goats, db)?;
        let tables = places(sync, &goats, &site).await?;
        let (sequences, unfit_sequences) = fitting_sequences(sync, &site).await?;
        let readable = readable(&sync.name);
        let pending: Vec<Sql> =
            tables.iter().enumerate().map(|(place, table)| pending(place, table, &readable)).collect();
        let found = sequences.iter().enumerate().filter_map(|(place, name)| Some((place, name.as_ref()?)));
        let branches: Vec<Sql> = found
            .map(|(place, name)| {
                let place = Sql::trusted(place.to_string());
                let literal = Sql::literal(name.as_str());
                Sql::trusted(SEQUENCE.fill(&[("place", &place), ("sequence", name), ("literal", &literal)]))
            })
            .collect();
        let deltas: Vec<Sql> = tables.iter().map(|table| table.delta.clone()).collect();
        let scout = Scout::open((sync, &name), &site, &deltas, &pending, &branches).await?;
        let statements = Statements::prepare(&site, &readable, sync.deadletter).await?;
        Ok(Self {
            place,
            system_id: identity.get("system_id"),
            timeline: identity.get("timeline"),
            site,
            horizons: tables.iter().map(|_| Horizon::default()).collect(),
            tables,
            sequences,
            unfit_sequences: Some(unfit_sequences),
            second: None,
            scout,
            statements,
            has_letters: false,
            checked: None,
        })
    }

    /// The bit of this source in a set of sources.
    pub(super) fn bit(&self) -> u64 {
        1 << self.place
    }

    /// Begins the merge's transaction here: its snapshot is what is read and what is recorded.
    pub(super) async fn begin(&mut self, sync: &SyncDetail, muted: u64) -> Result<Look, RoundError> {
        let begin = begin_merge(sync, &self.site.db, muted & self.bit() != 0);
        let (site, statements) = (&self.site, &self.statements);
        let asked = Utc::now();
        let name = sync.name.as_str();
        let args: [&(dyn postgres_types::ToSql + Sync); 1] = [&name];
        let letters = async {
            let Some(letters) = &statements.letters else { return Ok(false) };
            site.conn.query_one(letters, &args).await.map(|row| row.get("any"))
        };
        let (began, held, late, letters, looked) = tokio::join!(
            site.run("beginning a transaction", &begin),
            site.conn.query(&statements.fence, &args),
            site.conn.query(&statements.late, &args),
            letters,
            site.conn.query_one(&statements.look, &args),
        );
        began?;
        let held = held.map_err(|error| match error.code() {
            Some(&tokio_postgres::error::SqlState::LOCK_NOT_AVAILABLE) => RoundError::Fenced { db: site.db.clone() },
            _ => site.failed("locking the positions")(error),
        })?;
        let late = late.map_err(site.failed("reading which tables are in quarantine"))?;
        let has_letters = letters.map_err(site.failed("looking for dead letters"))?;
        let looked = looked.map_err(site.failed("taking a snapshot"))?;
        let answered = Utc::now();
        let middle = asked + (answered - asked) / 2;
        let damaged = |source| RoundError::Position { db: site.db.clone(), source };
        let now: DateTime<Utc> = looked.get("now");
        let mut look = Look {
            snapshot: looked.get::<_, &str>("snapshot").parse().map_err(damaged)?,
            txid: looked.get::<_, i64>("txid").cast_unsigned(),
            ahead: (now - middle).num_microseconds().unwrap_or_default(),
            now,
            at: Instant::now(),
            held: HashMap::with_capacity(held.len()),
            tracks: looked
                .get::<_, Vec<&str>>("targets")
                .into_iter()
                .map(DbName::from)
                .zip(looked.get::<_, Vec<i64>>("rounds"))
                .collect(),
            late: Late::read(&late, &site.db)?,
        };
        for row in &held {
            let position = row.get::<_, &str>("snapshot").parse().map_err(damaged)?;
            let held = Held {
                position,
                round: row.get("round"),
                system_id: row.get("system_id"),
                timeline: row.get("timeline"),
                copy_request: row.get("copy_request"),
            };
            look.held.insert(row.get::<_, &str>("source").into(), held);
        }
        self.has_letters = has_letters;
        Ok(look)
    }

    /// What changed here that is not visible in `since`.
    pub(super) async fn news(&mut self, since: &Position) -> Result<News, RoundError> {
        let (site, statements) = (&self.site, &self.statements);
        let (text, xmin) = (since.to_string(), since.xmin().to_string());
        let settings: [&(dyn postgres_types::ToSql + Sync); 3] = [&text, &xmin, &true];
        let captured: Vec<i32> = self.tables.iter().map(|table| table.captured).collect();
        let captured: [&(dyn postgres_types::ToSql + Sync); 1] = [&captured];
        let (set, truncated, found) = tokio::join!(
            site.conn.query_one(&statements.since, &settings),
            site.conn.query(&statements.truncated, &captured),
            self.scout.here(site),
        );
        set.map_err(site.failed("looking for changes"))?;
        let truncated = truncated.map_err(site.failed("looking for truncated tables"))?;
        let Found { tables, sequences } = match self.scout.apart([&text, &xmin]).await? {
            Some(found) => found,
            None => found?,
        };
        let mut news = News { sequences, ..News::default() };
        for row in &tables {
            let place = usize::try_from(row.get::<_, i32>("place")).unwrap_or_default();
            let unread = Unread::read(row);
            if unread.changes == 0 {
                news.passed_over = true;
            } else {
                news.tables.insert(place, unread);
            }
        }
        news.truncated = truncations(&truncated);
        Ok(news)
    }

    /// What changed of one table that is not visible in `since`. From now on, this transaction reads since then.
    pub(super) async fn news_of(&self, sync: &SyncName, place: usize, since: &Position) -> Result<News, RoundError> {
        let (site, statements, table) = (&self.site, &self.statements, &self.tables[place]);
        let (text, xmin) = (since.to_string(), since.xmin().to_string());
        let settings: [&(dyn postgres_types::ToSql + Sync); 3] = [&text, &xmin, &true];
        let captured: [&(dyn postgres_types::ToSql + Sync); 1] = [&vec![table.captured]];
        let pending = pending(place, table, &readable(sync));
        let (set, truncated, found) = tokio::join!(
            site.conn.query_one(&statements.since, &settings),
            site.conn.query(&statements.truncated, &captured),
            site.conn.query_opt(pending.as_str(), &[]),
        );
        let failed = || site.failed("looking for what was missed in quarantine");
        set.map_err(failed())?;
        let mut news = News { truncated: truncations(&truncated.map_err(failed())?), ..News::default() };
        if let Some(row) = found.map_err(failed())? {
            news.tables.insert(place, Unread::read(&row));
        }
        Ok(news)
    }

    /// Sees, now and then or when it must be, that all changes are captured, and has that of partitions that came
    /// later. Returns the places of tables of which changes are not captured. Runs in no transaction.
    pub(super) async fn check(
        &mut self,
        sync: &SyncDetail,
        is_due: bool,
        watch: &Watch,
    ) -> Result<Vec<(usize, Drift)>, RoundError> {
        if !is_due && self.checked.is_some_and(|at| at.elapsed() < check::CHECK_EVERY) {
            return Ok(Vec::new());
        }
        let captured: Vec<i32> = self.tables.iter().map(|table| table.captured).collect();
        let found = check::uncaptured(&self.site, &captured).await?;
        for (place, partition) in found.partitions {
            check::adopt(&mut self.site, sync, &self.tables[place].goat, &partition, watch).await;
        }
        self.checked = Some(Instant::now());
        Ok(found.drifts)
    }

    /// Whether transactions that were in progress have changed one of the tables and go on.
    pub(super) async fn has_writers(&self, places: &[usize], look: &Look) -> Result<bool, RoundError> {
        let deltas = places.iter().filter_map(|place| self.tables.get(*place));
        let deltas: Vec<&str> = deltas.map(|table| table.delta.as_str()).collect();
        let open: Vec<String> = look.in_progress().map(|txid| (txid & u64::from(u32::MAX)).to_string()).collect();
        let row = self.site.conn.query_one(WRITERS.text(), &[&deltas, &open]).await;
        Ok(row.map_err(self.site.failed("looking for writers"))?.get("busy"))
    }

    /// Writes how far this source has read the others.
    pub(super) async fn advance(&self, sync: &SyncName, to: &Advance, rows: Rows) -> Result<(), RoundError> {
        let count = |rows: u64| i64::try_from(rows).unwrap_or(i64::MAX);
        let (deletes, inserts) = (count(rows.deletes), count(rows.inserts));
        let args: [&(dyn postgres_types::ToSql + Sync); 8] = [
            &sync.as_str(),
            &to.sources,
            &to.snapshots,
            &to.system_ids,
            &to.timelines,
            &self.site.db.as_str(),
            &deletes,
            &inserts,
        ];
        let advanced = self.site.conn.execute(&self.statements.advance, &args).await;
        advanced.map_err(self.site.failed("writing the positions"))?;
        Ok(())
    }

    /// Writes how far others have read this source.
    pub(super) async fn track(
        &self,
        sync: &SyncName,
        snapshot: &Position,
        readers: &[(String, i64)],
    ) -> Result<(), RoundError> {
        let (names, rounds): (Vec<&str>, Vec<i64>) =
            readers.iter().map(|(name, round)| (name.as_str(), *round)).unzip();
        let snapshot = snapshot.to_string();
        let args: [&(dyn postgres_types::ToSql + Sync); 4] = [&sync.as_str(), &names, &snapshot, &rounds];
        let tracked = self.site.conn.execute(&self.statements.track, &args).await;
        tracked.map_err(self.site.failed("writing the tracks"))?;
        Ok(())
    }
}

/// Positions that a source writes.
#[derive(Default)]
pub(super) struct Advance {
    pub(super) sources: Vec<String>,
    pub(super) snapshots: Vec<String>,
    pub(super) system_ids: Vec<i64>,
    pub(super) timelines: Vec<i64>,
}

/// Rows that a merge wrote on a source.
#[derive(Clone, Copy, Default)]
pub(super) struct Rows {
    pub(super) deletes: u64,
    pub(super) inserts: u64,
    /// Conflicts that are kept there alone.
    pub(super) conflicts: u64,
}

/// The question whether a table has changes that somebody has not read.
fn pending(place: usize, table: &Place, readable: &Sql) -> Sql {
    Sql::trusted(PENDING.fill(&[
        ("place", &Sql::trusted(place.to_string())),
        ("delta", &table.delta),
        ("literal", &Sql::literal(table.delta.as_str())),
        ("moved", &delta_moved(&table.delta)),
        ("readable", readable),
        ("limit", &Sql::trusted((FEW + 1).to_string())),
    ]))
}

fn truncations(rows: &[Row]) -> Vec<Truncation> {
    let truncation = |row: &Row| Truncation {
        captured: row.get("captured"),
        txid: row.get::<_, i64>("txid").cast_unsigned(),
        micros: row.get("micros"),
        origin: row.get("origin"),
    };
    rows.iter().map(truncation).collect()
}

/// The names of the sequences of the sync at a source, and what keeps others from being used there.
async fn fitting_sequences(
    sync: &SyncDetail,
    site: &Site,
) -> Result<(Vec<Option<Sql>>, Vec<(usize, Drift)>), RoundError> {
    let goats: Vec<Goat> = sync.sequences().map(|goat| sync.goat_on(goat, &site.db)).collect();
    let lacks = sequences::lacks(&goats, site, true).await?;
    let names = goats.iter().zip(&lacks);
    let names = names.map(|(goat, lack)| lack.is_none().then(|| Sql::qualified(&goat.schema, &goat.name))).collect();
    let drift = |(place, (goat, why)): (usize, (&Goat, Option<String>))| {
        Some((place, Drift { table: goat.label(), why: why?, whole: false, by_statement: false }))
    };
    Ok((names, sync.sequences().zip(lacks).enumerate().filter_map(drift).collect()))
}

/// The tables of the sync with what this source has registered for them.
async fn places(sync: &SyncDetail, goats: &[&Goat], site: &Site) -> Result<Vec<Place>, RoundError> {
    let missing = |what: String| RoundError::NotInstalled { what, db: site.db.clone() };
    let rows = site.conn.query(CAPTURED.text(), &[]).await.map_err(|error| match error.code() {
        Some(&tokio_postgres::error::SqlState::UNDEFINED_TABLE) => missing("table bucardo.captured".to_owned()),
        _ => site.failed("reading what is captured")(error),
    })?;
    let mut captured: HashMap<(&str, &str), &Row> = HashMap::with_capacity(rows.len());
    for row in &rows {
        captured.insert((row.get("schemaname"), row.get("tablename")), row);
    }
    let place = |goat: &&Goat| {
        let here = sync.goat_on(goat, &site.db);
        let Some(row) = captured.get(&(here.schema.as_str(), here.name.as_str())) else {
            return Err(missing(format!("capture of table \"{}.{}\"", here.schema, here.name)));
        };
        let delta = Sql::qualified("bucardo", row.get("deltaname"));
        Ok(Place { captured: row.get("id"), oid: row.get("relation"), delta, goat: here })
    };
    goats.iter().map(place).collect()
}

impl Statements {
    async fn prepare(site: &Site, readable: &Sql, deadletter: bool) -> Result<Self, RoundError> {
        let prepare = |sql: String| async move {
            site.conn.prepare(&sql).await.map_err(|error| match error.code() {
                Some(&tokio_postgres::error::SqlState::UNDEFINED_TABLE) => {
                    RoundError::NotInstalled { what: "the schema bucardo".to_owned(), db: site.db.clone() }
                }
                _ => site.failed("preparing a merge")(error),
            })
        };
        let truncated = TRUNCATED.fill(&[("readable", readable), ("micros", &micros())]);
        let (fence, late, look, since, truncated, advance, track) = tokio::try_join!(
            prepare(FENCE.text().to_owned()),
            prepare(LATE.text().to_owned()),
            prepare(LOOK.text().to_owned()),
            prepare(SINCE.text().to_owned()),
            prepare(truncated),
            prepare(ADVANCE.text().to_owned()),
            prepare(TRACK.text().to_owned()),
        )?;
        let letters = if deadletter { Some(prepare(LETTERS.text().to_owned()).await?) } else { None };
        Ok(Self { fence, late, look, since, truncated, advance, track, letters })
    }
}
