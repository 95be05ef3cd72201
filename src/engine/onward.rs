//! Changes that a round hands on (`makedelta`): delta rows that it writes at its target, for the other syncs that read
//! the table there. See [`crate::source::origin`] for what they say.
//!
//! They are written in the transaction that brings the rows, so the next hop sees both or neither. Their time is that of
//! the change itself, not of its arrival: lag is then told from end to end, and where a later merge asks which of two
//! changes is the newer one, the longer road does not make a change look younger.
//!
//! Who reads at the target may change from one round to the next, also under a round. A sync that comes to read a table
//! that nobody read takes a lock on it that waits for writers; so who reads is asked again *after* the rows were written,
//! and if the answer is another one than the statements were made for, the round starts over. Either the new reader's
//! first snapshot sees what the round wrote, or the round sees the new reader.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use postgres_types::ToSql;
use tokio_postgres::{Row, Statement};

use super::batch::Truncated;
use super::error::RoundError;
use super::session::Session;
use super::site::Site;
use super::table::Table;
use crate::catalog::{Goat, SyncDetail};
use crate::pg::{Sql, SqlFile};
use crate::source::{copied, delta_column, delta_columns, gate};
use bucardo_actors::model::{DbName, SyncName};

const EXISTS: SqlFile = SqlFile::new(include_str!("../../sql/source/exists.sql"));
const READERS: SqlFile = SqlFile::new(include_str!("../../sql/engine/onward.sql"));
const KEYS: SqlFile = SqlFile::new(include_str!("../../sql/engine/onward_keys.sql"));
const ALL: SqlFile = SqlFile::new(include_str!("../../sql/engine/onward_all.sql"));
const TRUNCATED: SqlFile = SqlFile::new(include_str!("../../sql/engine/onward_truncated.sql"));
const SYNCS: SqlFile = SqlFile::new(include_str!("../../sql/engine/onward_syncs.sql"));
const KICK: SqlFile = SqlFile::new(include_str!("../../sql/engine/onward_kick.sql"));

/// What other syncs read at a target is asked with these.
pub(super) struct Questions {
    readers: Statement,
    kick: Statement,
    truncated: Statement,
}

impl Questions {
    /// Prepares them; `None`: nothing is read there.
    pub(super) async fn open(target: &Site) -> Result<Option<Self>, RoundError> {
        let failed = || target.failed("looking for syncs that read the target");
        let exists = target.conn.query_one(EXISTS.text(), &[&"bucardo.captured"]).await.map_err(failed())?;
        if !exists.get::<_, bool>("exists") {
            return Ok(None);
        }
        let (readers, kick, truncated) = tokio::try_join!(
            target.conn.prepare(READERS.text()),
            target.conn.prepare(KICK.text()),
            target.conn.prepare(TRUNCATED.text()),
        )
        .map_err(failed())?;
        Ok(Some(Self { readers, kick, truncated }))
    }
}

/// A delta table of the target that other syncs read.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Reader {
    captured: i32,
    delta: String,
    key: Vec<String>,
    /// It is that of a partitioned table to which ours belongs.
    is_above: bool,
    kicks: Vec<String>,
}

impl Reader {
    fn read(row: &Row) -> Self {
        Self {
            captured: row.get("id"),
            delta: row.get("deltaname"),
            key: row.get("key_columns"),
            is_above: row.get("is_above"),
            kicks: row.get("kicks"),
        }
    }

    fn delta(&self) -> Sql {
        Sql::qualified("bucardo", &self.delta)
    }

    /// Hands on all rows of `table`.
    fn all(&self, table: &Sql) -> String {
        let columns = Sql::idents(self.key.iter().map(String::as_str));
        let holes = [("delta", &self.delta()), ("keys", &delta_columns(&self.key)), ("columns", &columns)];
        ALL.fill(&[holes.as_slice(), &[("table", table)]].concat())
    }
}

/// The pieces of a table's statements that handing on is made of.
pub(super) struct Pieces {
    /// The target's table, as `DELETE` names it.
    pub(super) table: Sql,
    /// Types of its key columns.
    pub(super) types: Vec<String>,
    pub(super) keys_table: Sql,
    /// What joins `t`, the table, to `k`: keys as arrays, keys in the keys table.
    pub(super) on_few: Sql,
    pub(super) on_many: Sql,
}

/// How the changes of one table are handed on.
#[derive(Default)]
pub(super) struct Onward {
    readers: Vec<Reader>,
    roads: Vec<Road>,
}

struct Road {
    /// The reader's key has columns that ours has not: rows are looked up, before they are deleted and after they are
    /// written.
    by_rows: bool,
    few: Statement,
    many: String,
    all: String,
}

impl Onward {
    /// Sees who reads `table` at the target, and prepares to hand its changes on.
    pub(super) async fn prepare(
        target: &Site,
        questions: Option<&Questions>,
        table: &Table,
        pieces: &Pieces,
    ) -> Result<Self, RoundError> {
        let (Some(questions), Some(_)) = (questions, &table.handed_on) else { return Ok(Self::default()) };
        let found = ask(target, questions, &[table], &table.sync).await?;
        let readers = found.into_iter().flatten().collect::<Vec<_>>();
        let mut roads = Vec::with_capacity(readers.len());
        for reader in &readers {
            roads.push(Road::prepare(target, reader, table, pieces).await?);
        }
        Ok(Self { readers, roads })
    }

    /// Whether it takes several statements, each sent when the one before was answered.
    pub(super) fn is_of_several(&self) -> bool {
        self.roads.len() > 1
    }

    /// Hands on a few changed keys: before their rows are deleted, and once more when they were written.
    pub(super) async fn few(
        &self,
        target: &Site,
        args: &[&(dyn ToSql + Sync)],
        is_written: bool,
    ) -> Result<(), tokio_postgres::Error> {
        for road in self.roads.iter().filter(|road| !is_written || road.by_rows) {
            target.conn.execute(&road.few, args).await?;
        }
        Ok(())
    }

    /// The same of the keys in the keys table.
    pub(super) async fn many(&self, target: &Site, is_written: bool) -> Result<(), tokio_postgres::Error> {
        for road in self.roads.iter().filter(|road| !is_written || road.by_rows) {
            target.conn.execute(road.many.as_str(), &[]).await?;
        }
        Ok(())
    }

    /// Hands on a truncate that is about to be done: as one; to readers of a partitioned table that only loses this
    /// part, as a change of all rows that are there.
    pub(super) async fn truncate<'a>(
        &self,
        target: &Site,
        questions: Option<&Questions>,
        events: impl Iterator<Item = &'a Truncated>,
    ) -> Result<(), tokio_postgres::Error> {
        let Some(questions) = questions else { return Ok(()) };
        for event in events {
            for (reader, road) in self.readers.iter().zip(&self.roads) {
                if reader.is_above {
                    target.conn.execute(road.all.as_str(), &[&event.origin]).await?;
                } else {
                    let args: [&(dyn ToSql + Sync); 3] = [&reader.captured, &Some(event.txntime), &event.origin];
                    target.conn.execute(&questions.truncated, &args).await?;
                }
            }
        }
        Ok(())
    }
}

impl Road {
    async fn prepare(target: &Site, reader: &Reader, table: &Table, pieces: &Pieces) -> Result<Self, RoundError> {
        let key = &table.goat.key;
        let place = |column: &String| key.iter().position(|own| own == column);
        let by_rows = reader.key.iter().any(|column| place(column).is_none());
        let values = |of: &dyn Fn(usize, &str) -> String| {
            Sql::join(
                reader.key.iter().map(|column| match place(column).filter(|_| !by_rows) {
                    Some(place) => Sql::trusted(of(place, column)),
                    None => Sql::trusted(format!("t.{}", Sql::ident(column))),
                }),
                ", ",
            )
        };
        let join = |on: &Sql| {
            let joined = if by_rows { format!("JOIN {} AS t ON {on}", pieces.table) } else { String::new() };
            Sql::trusted(joined)
        };
        let statement = |values: &Sql, changes: &Sql, join: &Sql| {
            let into = [("delta", &reader.delta()), ("keys", &delta_columns(&reader.key))];
            KEYS.fill(&[into.as_slice(), &[("values", values), ("changes", changes), ("join", join)]].concat())
        };
        let few = statement(
            &values(&|place, _| format!("k.c{place}::{}", pieces.types[place])),
            &arrays(key.len()),
            &join(&pieces.on_few),
        );
        let few = target.conn.prepare(&few).await;
        let label = &table.label;
        Ok(Self {
            by_rows,
            few: few.map_err(target.failed(format!("preparing to hand on changes of table \"{label}\"")))?,
            many: statement(
                &values(&|_, column| format!("k.{}", Sql::ident(&delta_column(column)))),
                &Sql::trusted(format!("{} AS k", pieces.keys_table)),
                &join(&pieces.on_many),
            ),
            all: reader.all(&pieces.table),
        })
    }
}

/// Keys, origins and times as arrays, side by side.
fn arrays(width: usize) -> Sql {
    let keys = Sql::join((1..=width).map(|n| Sql::trusted(format!("${n}::text[]"))), ", ");
    let names = Sql::join((0..width).map(|place| Sql::trusted(format!("c{place}"))), ", ");
    let (origins, times) = (width + 1, width + 2);
    Sql::trusted(format!("unnest({keys}, ${origins}::text[], ${times}::timestamptz[]) AS k ({names}, origin, txntime)"))
}

async fn ask(
    target: &Site,
    questions: &Questions,
    tables: &[&Table],
    sync: &SyncName,
) -> Result<Vec<Vec<Reader>>, RoundError> {
    let names: Vec<String> = tables.iter().map(|table| name(&table.there)).collect();
    let rows = target.conn.query(&questions.readers, &[&names, &sync.as_str()]).await;
    let rows = rows.map_err(target.failed("looking for syncs that read the target"))?;
    let mut readers = vec![Vec::new(); tables.len()];
    for row in &rows {
        if let Some(of) = usize::try_from(row.get::<_, i32>("place")).ok().and_then(|place| readers.get_mut(place)) {
            of.push(Reader::read(row));
        }
    }
    Ok(readers)
}

fn name(goat: &Goat) -> String {
    Sql::qualified(&goat.schema, &goat.name).as_str().to_owned()
}

/// After the rows of these tables were written: sees that who reads them is still who they were handed on to, and wakes
/// these syncs when this commits. Returns a table that others read by now.
pub(super) async fn confirm(session: &mut Session, places: &[usize]) -> Result<Option<String>, RoundError> {
    let handing = places.iter().copied().filter(|place| session.tables[*place].handed_on.is_some());
    let handing: Vec<usize> = handing.collect();
    let Some(first) = handing.first() else { return Ok(None) };
    let target = &session.target;
    let Some(questions) = &session.questions else {
        session.questions = Questions::open(target).await?;
        let label = session.tables[*first].label.clone();
        let is_new = session.questions.is_some();
        session.tables.iter_mut().filter(|_| is_new).for_each(|table| table.ready = None);
        return Ok(is_new.then_some(label));
    };
    let tables: Vec<&Table> = handing.iter().map(|place| &session.tables[*place]).collect();
    let known = |table: &Table| table.ready.as_ref().map(|ready| ready.onward.readers.clone()).unwrap_or_default();
    let known: Vec<Vec<Reader>> = tables.iter().map(|table| known(table)).collect();
    let (found, kicked) = tokio::join!(
        ask(target, questions, &tables, &session.tables[*first].sync),
        kick(target, questions, known.iter().flatten())
    );
    let found = found?;
    kicked?;
    let Some(differs) = found.iter().zip(&known).position(|(found, known)| found != known) else { return Ok(None) };
    let table = &mut session.tables[handing[differs]];
    table.ready = None;
    Ok(Some(table.label.clone()))
}

async fn kick(target: &Site, questions: &Questions, readers: impl Iterator<Item = &Reader>) -> Result<(), RoundError> {
    let syncs: BTreeSet<&str> = readers.flat_map(|reader| reader.kicks.iter().map(String::as_str)).collect();
    wake(target, &questions.kick, &syncs).await
}

/// Wakes the other syncs that read a captured table of `site`, when the transaction there commits.
pub(super) async fn wake_readers(site: &Site, sync: &SyncName, captured: i32) -> Result<(), RoundError> {
    let rows = site.conn.query(SYNCS.text(), &[&captured, &sync.as_str()]).await;
    let rows = rows.map_err(site.failed("looking for syncs that read what was merged"))?;
    wake(site, KICK.text(), &rows.iter().map(|row| row.get("sync")).collect()).await
}

async fn wake<S: tokio_postgres::ToStatement + ?Sized>(
    target: &Site,
    statement: &S,
    syncs: &BTreeSet<&str>,
) -> Result<(), RoundError> {
    if syncs.is_empty() {
        return Ok(());
    }
    let gates: Vec<String> =
        syncs.iter().map(|sync| Sql::qualified("bucardo", &gate(sync)).as_str().to_owned()).collect();
    let payloads: Vec<String> = syncs.iter().map(|sync| format!("kick_sync_{sync}")).collect();
    let told = target.conn.execute(statement, &[&gates, &payloads]).await;
    told.map(drop).map_err(target.failed("waking the syncs that read the target"))
}

/// Hands on whole tables that were just copied, in the transaction that copied them: all their rows are news, and those
/// that were there before are gone.
pub(super) async fn whole(
    target: &Site,
    sync: &SyncDetail,
    source: &DbName,
    copied_tables: impl Iterator<Item = (&Goat, bool)>,
) -> Result<(), RoundError> {
    let handing: Vec<(&Goat, bool)> = copied_tables.filter(|(goat, _)| sync.makes_delta(goat, &target.db)).collect();
    if handing.is_empty() {
        return Ok(());
    }
    let Some(questions) = Questions::open(target).await? else { return Ok(()) };
    let origin = copied(&sync.name, via(sync, source));
    let mut woken = Vec::new();
    for (goat, had_rows) in handing {
        let there = sync.goat_on(goat, &target.db);
        let handed = hand_on_whole(target, &questions, sync, &name(&there), &origin, had_rows).await;
        let readers = handed.map_err(target.failed(format!("handing on table \"{}.{}\"", goat.schema, goat.name)))?;
        woken.extend(readers);
    }
    kick(target, &questions, woken.iter()).await
}

async fn hand_on_whole(
    target: &Site,
    questions: &Questions,
    sync: &SyncDetail,
    table: &str,
    origin: &str,
    had_rows: bool,
) -> Result<Vec<Reader>, tokio_postgres::Error> {
    let names = [table.to_owned()];
    let rows = target.conn.query(&questions.readers, &[&names.as_slice(), &sync.name.as_str()]).await?;
    let readers: Vec<Reader> = rows.iter().map(Reader::read).collect();
    for reader in &readers {
        // What a partitioned table lost with this part of it, nobody knows any more; its other parts are not touched.
        if had_rows && !reader.is_above {
            let args: [&(dyn ToSql + Sync); 3] = [&reader.captured, &None::<DateTime<Utc>>, &origin];
            target.conn.execute(&questions.truncated, &args).await?;
        }
        target.conn.execute(reader.all(&Sql::trusted(table)).as_str(), &[&origin]).await?;
    }
    Ok(readers)
}

/// The databases that a change read from `source` has been to, as far as this sync is concerned: all of its sources have
/// it, or get it from each other.
pub(super) fn via<'a>(sync: &'a SyncDetail, source: &'a DbName) -> impl Iterator<Item = &'a DbName> {
    let others = sync.dbs(crate::catalog::Role::Source).map(|db| &db.name).filter(move |db| *db != source);
    std::iter::once(source).chain(others)
}
