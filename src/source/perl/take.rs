//! The Perl program's capture becomes ours.
//!
//! Before the first table a snapshot is written down as the place from which every reader will read. Then each table is
//! done in a transaction of its own: its triggers go, ours come, and what was not delivered is copied to our table of
//! changes. None of these transactions is visible in the snapshot, so everything is read, also when all this is stopped
//! half-way and done by a later call: what is done is found done, and the snapshot is still the first one.
//!
//! A change that was not delivered to some syncs only gets an origin that only these read.

use std::collections::BTreeMap;

use bucardo_actors::model::{DbName, SyncName};
use postgres_types::Oid;
use serde::Serialize;
use tokio_postgres::Transaction;

use super::{Found, SCHEMA, Triggered, Version, failed, key_types, look, make_room, move_shared, triggered};
use crate::catalog::{Goat, GoatKind, Role, SyncDetail};
use crate::pg::{Connection, Sql, SqlFile};
use crate::progress;
use crate::source::install::{self, BOOKKEEPING, LOCK_PAUSE, begin, is_worth_trying_again};
use crate::source::relation::{Relation, relations};
use crate::source::validate::ValidateError;
use crate::source::{names, registry};

const SNAPSHOT: SqlFile = SqlFile::new(include_str!("../../../sql/source/snapshot.sql"));
const PLACE: SqlFile = SqlFile::new(include_str!("../../../sql/adopt/place.sql"));
const TRIGGERS: SqlFile = SqlFile::new(include_str!("../../../sql/adopt/triggers.sql"));
const TRIGGERS_NOTE: SqlFile = SqlFile::new(include_str!("../../../sql/adopt/triggers_note.sql"));
const TAKEN: SqlFile = SqlFile::new(include_str!("../../../sql/adopt/taken.sql"));
const TAKEN_ADD: SqlFile = SqlFile::new(include_str!("../../../sql/adopt/taken_add.sql"));
const SYNC_NOTE: SqlFile = SqlFile::new(include_str!("../../../sql/adopt/sync_note.sql"));
const SYNC_LATE: SqlFile = SqlFile::new(include_str!("../../../sql/adopt/sync_late.sql"));
const PENDING: SqlFile = SqlFile::new(include_str!("../../../sql/adopt/pending.sql"));
const PENDING_COUNT: SqlFile = SqlFile::new(include_str!("../../../sql/adopt/pending_count.sql"));
const PENDING_OLD: SqlFile = SqlFile::new(include_str!("../../../sql/adopt/pending_old.sql"));
const PENDING_OLD_COUNT: SqlFile = SqlFile::new(include_str!("../../../sql/adopt/pending_old_count.sql"));
const TRUNCATES: SqlFile = SqlFile::new(include_str!("../../../sql/adopt/truncates.sql"));
const TRUNCATES_COUNT: SqlFile = SqlFile::new(include_str!("../../../sql/adopt/truncates_count.sql"));

/// What the Perl program has not delivered of one table for one sync.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pending {
    /// The sync.
    pub sync: SyncName,
    /// `schema.table`.
    pub table: String,
    /// Rows that changed.
    pub rows: i64,
    /// The table was truncated.
    pub truncated: bool,
}

/// A table as the syncs have it that capture it here.
struct Table<'a> {
    goat: &'a Goat,
    syncs: Vec<(&'a SyncDetail, &'a Goat)>,
}

/// The tables that `db` captures for `syncs`, each once.
fn tables<'a>(db: &DbName, syncs: &[&'a SyncDetail]) -> Vec<Table<'a>> {
    let mut tables: BTreeMap<(&str, &str), Table<'a>> = BTreeMap::new();
    for &sync in syncs.iter().filter(|sync| captures(sync, db)) {
        for goat in sync.goats.iter().filter(|goat| goat.kind == GoatKind::Table) {
            let table = tables.entry((&goat.schema, &goat.name)).or_insert(Table { goat, syncs: Vec::new() });
            if !table.syncs.iter().any(|(known, _)| known.name == sync.name) {
                table.syncs.push((sync, goat));
            }
        }
    }
    tables.into_values().collect()
}

fn captures(sync: &SyncDetail, db: &DbName) -> bool {
    !sync.is_fullcopy() && sync.role(db) == Some(Role::Source)
}

fn readers<'a>(sync: &'a SyncDetail, db: &'a DbName) -> impl Iterator<Item = &'a DbName> {
    let reads = |member: &&crate::catalog::Member| member.db.active && member.role != Role::Fullcopy;
    sync.members.iter().filter(reads).map(|member| &member.db.name).filter(move |name| *name != db)
}

/// What was not delivered from `db`, for the syncs that it is a source of; nothing is changed.
///
/// # Errors
///
/// [`ValidateError::Sql`].
pub async fn pending(conn: &Connection, db: &DbName, syncs: &[&SyncDetail]) -> Result<Vec<Pending>, ValidateError> {
    let at = |what: &str| failed(db, what);
    let found = look(conn).await.map_err(at("looking for the Perl program"))?;
    let mut all = Vec::new();
    let Some(version) = found.live else { return Ok(all) };
    for table in tables(db, syncs) {
        progress::step(|| format!("database \"{db}\": counting the undelivered changes of {}", table.goat.label()));
        let what = format!("counting the undelivered changes of table \"{}\"", table.goat.label());
        let relation = relations(conn, std::slice::from_ref(table.goat)).await.map_err(at(&what))?.pop();
        let Some(oid) = relation.and_then(|relation| relation.oid) else { continue };
        let is_taken = found.has_schema && conn.query_one(TAKEN.text(), &[&oid]).await.map_err(at(&what))?.get("taken");
        if is_taken {
            continue;
        }
        for (sync, goat) in &table.syncs {
            let rows = count(conn, version, db, sync, goat, oid).await.map_err(at(&what))?;
            let truncated = found.truncates
                && conn
                    .query_one(TRUNCATES_COUNT.text(), &[&sync.name.as_str(), &oid])
                    .await
                    .map_err(at(&what))?
                    .get("truncated");
            if rows > 0 || truncated {
                all.push(Pending { sync: sync.name.clone(), table: table.goat.label(), rows, truncated });
            }
        }
    }
    Ok(all)
}

async fn count(
    conn: &Connection,
    version: Version,
    db: &DbName,
    sync: &SyncDetail,
    goat: &Goat,
    oid: Oid,
) -> Result<i64, tokio_postgres::Error> {
    if version == Version::Four {
        let names: Vec<&str> = readers(sync, db).map(DbName::as_str).collect();
        let types = key_types(&**conn, oid, &goat.key).await?;
        let sql = PENDING_OLD_COUNT.fill(&[("columns", &old_columns(&types))]);
        return Ok(conn.query_one(&sql, &[&oid, &names]).await?.get("rows"));
    }
    let Some(place) = conn.query_opt(PLACE.text(), &[&oid, &goat.schema, &goat.name]).await? else { return Ok(0) };
    let sql = PENDING_COUNT.fill(&[
        ("columns", &Sql::join(goat.key.iter().map(|column| Sql::trusted(format!("d.{}", Sql::ident(column)))), ", ")),
        ("kept_delta", &Sql::qualified(place.get("deltaschema"), place.get("delta"))),
        ("kept_track", &Sql::qualified(place.get("trackschema"), place.get("track"))),
    ]);
    Ok(conn.query_one(&sql, &[&group(sync)]).await?.get("rows"))
}

/// The name that version 5 notes deliveries to a group under.
fn group(sync: &SyncDetail) -> String {
    format!("dbgroup {}", sync.dbgroup)
}

/// Keys of versions 3 and 4, as what they are.
fn old_columns(types: &[(Sql, Sql, bool)]) -> Sql {
    let column = |(rowid, kind, is_bytea): &(Sql, Sql, bool)| {
        Sql::trusted(if *is_bytea { format!("decode(d.{rowid}, 'base64')") } else { format!("d.{rowid}::{kind}") })
    };
    Sql::join(types.iter().map(column), ", ")
}

/// Takes over what the Perl program has in `db`, for `syncs`, all that the catalog has. Returns how many tables.
///
/// Nobody of it may be at work. May be called again: what is done stays done.
///
/// # Errors
///
/// [`ValidateError::Sql`]: what was done before stays done; call it again. [`ValidateError::Problems`]: nothing was done.
pub async fn take(conn: &mut Connection, db: &DbName, syncs: &[&SyncDetail]) -> Result<usize, ValidateError> {
    let at = |what: &str| failed(db, what);
    let found = look(conn).await.map_err(at("looking for the Perl program"))?;
    let Some(version) = found.live else { return Ok(0) };
    make_room(conn).await.map_err(at("making room for what the Perl program has"))?;
    let made = install::create_once(conn, "bucardo.conflict_kept", BOOKKEEPING.text()).await;
    made.map_err(at("creating the tables of changes"))?;
    let syncs: Vec<&SyncDetail> = syncs.iter().copied().filter(|sync| captures(sync, db)).collect();
    let names: Vec<&str> = syncs.iter().map(|sync| sync.name.as_str()).collect();
    let late = conn.query(SYNC_LATE.text(), &[&names]).await.map_err(at("comparing the syncs"))?;
    if let Some(row) = late.first() {
        return Err(ValidateError::Problems {
            problems: vec![format!(
                "database \"{db}\" was taken over in part before there was a sync \"{}\": give it back with \"bucardo adopt undo\", and begin anew",
                row.get::<_, &str>("sync")
            )],
        });
    }
    for sync in &syncs {
        let what = format!("creating the gate of sync \"{}\"", sync.name);
        install::create_gate(conn, &sync.name).await.map_err(at(&what))?;
    }
    expect_readers(conn, db, &syncs).await.map_err(at("writing down from where on everybody reads"))?;
    let mut taken = 0;
    let tables = tables(db, &syncs);
    for (number, table) in (1..).zip(&tables) {
        progress::step(|| {
            format!("database \"{db}\": taking over {number} of {}, {}", tables.len(), table.goat.label())
        });
        let what = format!("taking over table \"{}\"", table.goat.label());
        taken += usize::from(Box::pin(take_table(conn, db, table, version, found)).await.map_err(at(&what))?);
    }
    // What the Perl program leaves when a sync is removed: its triggers write on, for nobody.
    for table in triggered(conn).await.map_err(at("looking for triggers"))? {
        let what = format!("taking the triggers from table \"{}.{}\"", table.schema, table.name);
        taken += usize::from(take_unused(conn, &table, version).await.map_err(at(&what))?);
    }
    let moved = move_shared(conn, ("bucardo", SCHEMA), None).await;
    moved.map_err(at("moving what the tables share"))?;
    Ok(taken)
}

/// The place from which every reader will read: before all that is carried over.
async fn expect_readers(
    conn: &mut Connection,
    db: &DbName,
    syncs: &[&SyncDetail],
) -> Result<(), tokio_postgres::Error> {
    let txn = conn.transaction().await?;
    let snapshot: String = txn.query_one(SNAPSHOT.text(), &[]).await?.get("snapshot");
    for sync in syncs {
        txn.execute(SYNC_NOTE.text(), &[&sync.name.as_str(), &sync.dbgroup]).await?;
        for reader in readers(sync, db) {
            registry::expect(txn.client(), &sync.name, (db, reader), &snapshot).await?;
        }
    }
    txn.commit().await
}

async fn take_table(
    conn: &mut Connection,
    db: &DbName,
    table: &Table<'_>,
    version: Version,
    found: Found,
) -> Result<bool, tokio_postgres::Error> {
    let relation = relations(conn, std::slice::from_ref(table.goat)).await?.pop();
    let Some(relation) = relation.filter(Relation::is_table) else { return Ok(false) };
    let mut tries = 0;
    loop {
        tries += 1;
        match try_take(conn, db, table, &relation, version, found).await {
            Err(error) if is_worth_trying_again(&error, tries) => tokio::time::sleep(LOCK_PAUSE * tries).await,
            ended => return ended,
        }
    }
}

/// One table, one transaction.
async fn try_take(
    conn: &mut Connection,
    db: &DbName,
    table: &Table<'_>,
    relation: &Relation,
    version: Version,
    found: Found,
) -> Result<bool, tokio_postgres::Error> {
    let txn = begin(conn).await?;
    let (goat, oid) = (table.goat, relation.oid.unwrap_or_default());
    let Some(kept) = set_aside(&txn, oid, &goat.schema, &goat.name, version).await? else { return Ok(false) };
    let (captured, _) = install::capture_in(&txn, goat, &table.syncs, relation).await?;
    for (sync, goat) in &table.syncs {
        // Alone, it is as if the change had been made now; else only that sync may read it.
        let origin = (table.syncs.len() > 1).then(|| format!("{} {db} 0", sync.name));
        let keys = names::delta_columns(&goat.key);
        match (&kept, version) {
            (Some((delta, track)), Version::Five) => {
                let columns = goat.key.iter().map(|column| Sql::trusted(format!("d.{}", Sql::ident(column))));
                let sql = PENDING.fill(&[
                    ("delta", &captured.delta),
                    ("keys", &keys),
                    ("columns", &Sql::join(columns, ", ")),
                    ("kept_delta", &Sql::qualified(SCHEMA, delta)),
                    ("kept_track", &Sql::qualified(SCHEMA, track)),
                ]);
                txn.execute(&sql, &[&group(sync), &origin]).await?;
            }
            (None, Version::Five) => {}
            (_, Version::Four) => {
                let names: Vec<&str> = readers(sync, db).map(DbName::as_str).collect();
                let columns = old_columns(&key_types(&txn, oid, &goat.key).await?);
                let sql = PENDING_OLD.fill(&[("delta", &captured.delta), ("keys", &keys), ("columns", &columns)]);
                txn.execute(&sql, &[&oid, &names, &origin]).await?;
            }
        }
        if found.truncates {
            let args: [&(dyn postgres_types::ToSql + Sync); 4] = [&captured.id, &sync.name.as_str(), &origin, &oid];
            txn.execute(TRUNCATES.text(), &args).await?;
        }
    }
    txn.commit().await?;
    Ok(true)
}

async fn take_unused(
    conn: &mut Connection,
    table: &Triggered,
    version: Version,
) -> Result<bool, tokio_postgres::Error> {
    let mut tries = 0;
    loop {
        tries += 1;
        let txn = begin(conn).await?;
        let ended = match set_aside(&txn, table.oid, &table.schema, &table.name, version).await {
            Ok(_) => txn.commit().await,
            Err(error) => Err(error),
        };
        match ended {
            Err(error) if is_worth_trying_again(&error, tries) => tokio::time::sleep(LOCK_PAUSE * tries).await,
            Err(error) => return Err(error),
            Ok(()) => return Ok(true),
        }
    }
}

/// The tables of a captured table: its changes, and what was delivered of them.
type Kept = (String, String);

/// Takes the triggers from a table and moves what they wrote to. `None`: that was done before.
async fn set_aside(
    txn: &Transaction<'_>,
    oid: Oid,
    schema: &str,
    name: &str,
    version: Version,
) -> Result<Option<Option<Kept>>, tokio_postgres::Error> {
    if txn.query_one(TAKEN.text(), &[&oid]).await?.get("taken") {
        return Ok(None);
    }
    let table = Sql::qualified(schema, name);
    // Whoever writes to it has ended, and what was written can be seen. Triggers cannot go under a weaker lock.
    txn.batch_execute(&format!("LOCK TABLE {table}")).await?;
    let place = match version {
        Version::Five => txn.query_opt(PLACE.text(), &[&oid, &schema, &name]).await?,
        Version::Four => None,
    };
    let kept: Option<Kept> = place.as_ref().map(|row| (row.get("delta"), row.get("track")));
    let (delta, track) = kept.as_ref().map(|(delta, track)| (delta.as_str(), track.as_str())).unzip();
    txn.execute(TAKEN_ADD.text(), &[&oid, &schema, &name, &delta, &track]).await?;
    txn.execute(TRIGGERS_NOTE.text(), &[&oid]).await?;
    for row in txn.query(TRIGGERS.text(), &[&oid]).await? {
        txn.batch_execute(&format!("DROP TRIGGER {} ON {table}", Sql::ident(row.get("name")))).await?;
    }
    if let Some(place) = place {
        let mut moved = Vec::new();
        if place.get::<_, &str>("deltaschema") != SCHEMA {
            moved.push(place.get::<_, String>("delta"));
        }
        if place.get::<_, &str>("trackschema") != SCHEMA {
            moved.push(place.get("track"));
        }
        if place.get("has_stage") {
            moved.push(format!("stage_{}", place.get::<_, &str>("delta").strip_prefix("delta_").unwrap_or_default()));
        }
        for name in moved {
            txn.batch_execute(&format!("ALTER TABLE {} SET SCHEMA {SCHEMA}", Sql::qualified("bucardo", &name))).await?;
        }
    }
    Ok(Some(kept))
}
