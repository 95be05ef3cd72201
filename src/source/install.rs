//! Puts what captures changes into a source database.
//!
//! Everything here may be run again: what is in place stays untouched and takes no lock on a table. Each table
//! is done in a transaction of its own with a short `lock_timeout`, tried again a few times, so that writers
//! never queue for long behind us waiting for a long transaction.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use postgres_types::Oid;
use tokio_postgres::Transaction;

use super::relation::{Relation, relations};
use super::triggers::{Captured, Place, TRIGGER_PREFIX, Trigger};
use super::validate::ValidateError;
use super::{forget, functions, key_index, names, perl, views};
use crate::catalog::{Goat, SyncDetail};
use crate::pg::{Connection, Sql, SqlFile, classify};
use crate::progress;
use bucardo_actors::model::{DbName, Failure, SyncName};

pub(super) const BOOKKEEPING: SqlFile = SqlFile::new(include_str!("../../sql/source/bookkeeping.sql"));
const EXISTS: SqlFile = SqlFile::new(include_str!("../../sql/source/exists.sql"));
const HAS_SCHEMA: SqlFile = SqlFile::new(include_str!("../../sql/source/has_schema.sql"));
pub(super) const LOCK: SqlFile = SqlFile::new(include_str!("../../sql/source/install_lock.sql"));
const FIND: SqlFile = SqlFile::new(include_str!("../../sql/source/captured_find.sql"));
const INSERT: SqlFile = SqlFile::new(include_str!("../../sql/source/captured_insert.sql"));
const RENAME: SqlFile = SqlFile::new(include_str!("../../sql/source/captured_rename.sql"));
const DELETE: SqlFile = SqlFile::new(include_str!("../../sql/source/captured_delete.sql"));
const NAME_TAKEN: SqlFile = SqlFile::new(include_str!("../../sql/source/delta_name_taken.sql"));
const DELTA_TABLE: SqlFile = SqlFile::new(include_str!("../../sql/source/delta_table.sql"));
const RETYPE: SqlFile = SqlFile::new(include_str!("../../sql/source/delta_retype.sql"));
const KICK: SqlFile = SqlFile::new(include_str!("../../sql/source/captured_kick.sql"));
const KICKS: SqlFile = SqlFile::new(include_str!("../../sql/source/captured_kicks.sql"));
const INSTALLED: SqlFile = SqlFile::new(include_str!("../../sql/source/installed.sql"));
const OUR_TRIGGERS: SqlFile = SqlFile::new(include_str!("../../sql/source/our_triggers.sql"));
const PARTITIONS: SqlFile = SqlFile::new(include_str!("../../sql/source/partitions.sql"));
const GATE: SqlFile = SqlFile::new(include_str!("../../sql/source/gate_create.sql"));
const ADOPTED_ADD: SqlFile = SqlFile::new(include_str!("../../sql/source/adopted_add.sql"));
const ADOPTED_TAKE: SqlFile = SqlFile::new(include_str!("../../sql/source/adopted_take.sql"));
const ADOPT_ROWS: SqlFile = SqlFile::new(include_str!("../../sql/source/adopt_rows.sql"));

/// How long one attempt waits for a table's lock; everybody who writes to the table waits behind us that long.
pub(super) const LOCK_TIMEOUT: &str = "2s";
/// How often a table that is locked by others is tried.
pub(super) const LOCK_TRIES: u32 = 5;
/// Pause between two tries, growing with each.
pub(super) const LOCK_PAUSE: Duration = Duration::from_millis(500);

/// Installs capture for the tables of `sync` in `source`; returns what is worth telling. `relations` are those of
/// `sync.goats`, in order.
///
/// What some tables write before the last one is captured may be purged, since no reader is registered for it.
pub(super) async fn source(
    conn: &mut Connection,
    source: &DbName,
    sync: &SyncDetail,
    relations: &[Relation],
) -> Result<Vec<String>, ValidateError> {
    let at = |what: String| move |error| ValidateError::sql(source, what, error);
    if perl::is_served(conn).await.map_err(at("looking for the Perl program".into()))? {
        return Err(ValidateError::Problems {
            problems: vec![format!(
                "database \"{source}\" has the triggers of the Perl Bucardo: \"bucardo adopt\" takes them over, with the changes that it has not delivered"
            )],
        });
    }
    create_once(conn, "bucardo.conflict_kept", BOOKKEEPING.text())
        .await
        .map_err(at("creating schema bucardo".into()))?;
    functions::make(conn).await.map_err(at("making the functions that purge".into()))?;
    create_gate(conn, &sync.name).await.map_err(at(format!("creating the gate of sync \"{}\"", sync.name)))?;
    views::make(conn, sync).await.map_err(at("making the views for scripts".into()))?;
    let mut warnings = Vec::new();
    let mut captured = Vec::new();
    for ((number, goat), relation) in (1..).zip(&sync.goats).zip(relations) {
        if !relation.is_table() {
            continue;
        }
        progress::step(|| {
            format!("database \"{source}\": capturing {number} of {}, {}", sync.goats.len(), goat.label())
        });
        let what = |doing: &str| format!("{doing} table \"{}.{}\"", goat.schema, goat.name);
        let (table, warning) =
            capture_with_retries(conn, sync, goat, relation).await.map_err(at(what("capturing changes of")))?;
        warnings.extend(warning);
        tell_adopted(conn, &table).await.map_err(at(what("noting the rows of new partitions of")))?;
        let is_dropped = key_index::drop_old(conn, &table).await;
        if !is_dropped.map_err(at(what("dropping an index on changes of")))? {
            warnings.push(format!(
                "an index on changes of table \"{}.{}\" on database \"{source}\" that is of no use any more could not be dropped, a transaction was in the way: writers pay for it until \"bucardo validate {}\" succeeds at it",
                goat.schema, goat.name, sync.name
            ));
        }
        captured.push(table.id);
    }
    forget::what_left(conn, source, sync, &captured).await.map_err(at("forgetting what left the sync".into()))?;
    Ok(warnings)
}

/// Captures the partitions that a captured table got later, and notes the rows that they have as changed: nobody knows
/// which of them are written to since. Returns how many.
///
/// Stopped half-way, the rows are noted by the next call.
pub(crate) async fn adopt(conn: &mut Connection, sync: &SyncDetail, goat: &Goat) -> Result<u64, tokio_postgres::Error> {
    let Some(relation) = relations(conn, std::slice::from_ref(goat)).await?.pop().filter(Relation::is_table) else {
        return Ok(0);
    };
    let (table, _) = capture_with_retries(conn, sync, goat, &relation).await?;
    tell_adopted(conn, &table).await
}

/// Notes the rows of adopted partitions as changed.
async fn tell_adopted(conn: &mut Connection, table: &Captured) -> Result<u64, tokio_postgres::Error> {
    let txn = conn.transaction().await?;
    let mut rows = 0;
    for row in txn.query(ADOPTED_TAKE.text(), &[&table.id]).await? {
        let sql = ADOPT_ROWS.fill(&[
            ("delta", &table.delta),
            ("keys", &names::delta_columns(&table.key)),
            ("columns", &Sql::idents(table.key.iter().map(String::as_str))),
            ("table", &Sql::qualified(row.get("schema"), row.get("name"))),
        ]);
        rows += txn.execute(sql.as_str(), &[]).await?;
    }
    txn.commit().await?;
    Ok(rows)
}

/// Whether the relation of this quoted name exists.
pub(crate) async fn exists(conn: &tokio_postgres::Client, name: &str) -> Result<bool, tokio_postgres::Error> {
    Ok(conn.query_one(EXISTS.text(), &[&name]).await?.get("exists"))
}

/// Creates `script`'s objects unless `probe` exists, one session at a time. An older installation is brought up to date,
/// which may take locks on tables that writers of captured tables use.
pub(super) async fn create_once(conn: &mut Connection, probe: &str, script: &str) -> Result<(), tokio_postgres::Error> {
    let mut tries = 0;
    loop {
        tries += 1;
        match try_create_once(conn, probe, script).await {
            Err(error) if is_worth_trying_again(&error, tries) => tokio::time::sleep(LOCK_PAUSE * tries).await,
            ended => return ended,
        }
    }
}

pub(super) fn is_worth_trying_again(error: &tokio_postgres::Error, tries: u32) -> bool {
    tries < LOCK_TRIES && classify(error) == Failure::Transient && !error.is_closed()
}

async fn try_create_once(conn: &mut Connection, probe: &str, script: &str) -> Result<(), tokio_postgres::Error> {
    let txn = conn.transaction().await?;
    txn.batch_execute(&format!("SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")).await?;
    txn.batch_execute(LOCK.text()).await?;
    let exists: bool = txn.query_one(EXISTS.text(), &[&probe]).await?.get("exists");
    if !exists {
        let schema: bool = txn.query_one(HAS_SCHEMA.text(), &[]).await?.get("exists");
        // CREATE SCHEMA IF NOT EXISTS wants the right to create one even when there is nothing to do.
        let script =
            if schema { script.replace("CREATE SCHEMA IF NOT EXISTS bucardo;", "") } else { script.to_owned() };
        txn.batch_execute(&script).await?;
    }
    txn.commit().await
}

pub(super) async fn create_gate(conn: &mut Connection, sync: &SyncName) -> Result<(), tokio_postgres::Error> {
    let gate = Sql::qualified("bucardo", &names::gate(sync.as_str()));
    if exists(conn, gate.as_str()).await? {
        return Ok(());
    }
    // Another session that installs the sync makes it meanwhile, and may have opened it by now.
    let txn = conn.transaction().await?;
    txn.batch_execute(LOCK.text()).await?;
    if !txn.query_one(EXISTS.text(), &[&gate.as_str()]).await?.get::<_, bool>("exists") {
        txn.batch_execute(&GATE.fill(&[("gate", &gate), ("name", &Sql::literal(gate.as_str()))])).await?;
    }
    txn.commit().await
}

async fn capture_with_retries(
    conn: &mut Connection,
    sync: &SyncDetail,
    goat: &Goat,
    relation: &Relation,
) -> Result<(Captured, Option<String>), tokio_postgres::Error> {
    let mut tries = 0;
    loop {
        tries += 1;
        match capture(conn, sync, goat, relation).await {
            Err(error) if is_worth_trying_again(&error, tries) => tokio::time::sleep(LOCK_PAUSE * tries).await,
            ended => return ended,
        }
    }
}

/// One table, one transaction.
async fn capture(
    conn: &mut Connection,
    sync: &SyncDetail,
    goat: &Goat,
    relation: &Relation,
) -> Result<(Captured, Option<String>), tokio_postgres::Error> {
    let txn = begin(conn).await?;
    let (table, warning) = capture_in(&txn, goat, &[(sync, goat)], relation).await?;
    views::track(&txn, table.id).await?;
    txn.commit().await?;
    Ok((table, warning))
}

/// Begins the transaction that changes one table: alone, and without waiting for long.
pub(super) async fn begin(conn: &mut Connection) -> Result<Transaction<'_>, tokio_postgres::Error> {
    let txn = conn.transaction().await?;
    txn.batch_execute(&format!("SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")).await?;
    txn.batch_execute(LOCK.text()).await?;
    Ok(txn)
}

/// Captures one table for the syncs that have it, each with what it says of it.
pub(super) async fn capture_in(
    txn: &Transaction<'_>,
    goat: &Goat,
    syncs: &[(&SyncDetail, &Goat)],
    relation: &Relation,
) -> Result<(Captured, Option<String>), tokio_postgres::Error> {
    let oid = relation.oid.unwrap_or_default();
    let Registered { mut table, is_new, warning } = register(txn, goat, oid).await?;
    table.by_row = relation.is_child;
    for (sync, goat) in syncs {
        let kick = goat.autokick.unwrap_or(sync.autokick);
        txn.execute(KICK.text(), &[&table.id, &sync.name.as_str(), &kick]).await?;
    }
    table.kicks = kicks(txn, table.id).await?;

    let places = places(txn, goat, relation, oid).await?;
    let oids: Vec<Oid> = places.iter().map(|(oid, ..)| *oid).collect();
    let functions = table.functions();
    let triggers: Vec<(Oid, Trigger)> = places
        .iter()
        .flat_map(|(oid, name, place)| table.triggers(name, *place, relation).into_iter().map(|it| (*oid, it)))
        .collect();
    let missing = missing(txn, &functions, &oids, &triggers, &table).await?;
    if missing.functions {
        for function in &functions {
            txn.batch_execute(function).await?;
        }
    }
    if !missing.places.is_empty() {
        drop_triggers(txn, &places, &missing.places).await?;
        for (_, trigger) in triggers.iter().filter(|(oid, _)| missing.places.contains(oid)) {
            txn.batch_execute(&trigger.statement).await?;
        }
    }
    let is_partition = |wanted: &Oid| places.iter().any(|(oid, _, place)| oid == wanted && *place == Place::Partition);
    let adopted: Vec<Oid> = missing.bare.into_iter().filter(|oid| !is_new && is_partition(oid)).collect();
    if !adopted.is_empty() {
        txn.execute(ADOPTED_ADD.text(), &[&table.id, &adopted]).await?;
    }
    Ok((table, warning))
}

/// What the registry has of a table.
struct Registered {
    table: Captured,
    /// It was not captured before, or what was is gone.
    is_new: bool,
    warning: Option<String>,
}

/// The registry's row for a table and its delta table, made when missing, made anew when the key is another.
async fn register(txn: &Transaction<'_>, goat: &Goat, oid: Oid) -> Result<Registered, tokio_postgres::Error> {
    let mut warning = None;
    for row in txn.query(FIND.text(), &[&oid, &goat.schema, &goat.name]).await? {
        let (id, delta): (i32, String) = (row.get("id"), row.get("deltaname"));
        let key: Vec<String> = row.get("key_columns");
        if row.get::<_, Oid>("relation") == oid && key == goat.key {
            txn.execute(RENAME.text(), &[&id, &goat.schema, &goat.name]).await?;
            let delta = Sql::qualified("bucardo", &delta);
            retype(txn, goat, oid, &delta).await?;
            let table = Captured { id, delta, key, kicks: Vec::new(), by_row: false };
            return Ok(Registered { table, is_new: false, warning: None });
        }
        let why = if key == goat.key { "was made anew" } else { "has another key" };
        warning = Some(format!(
            "table \"{}.{}\" {why}: changes captured before are gone. Where a daemon saw that, it copies the table anew, in place of what the targets have; else have it copied (onetimecopy=1)",
            goat.schema, goat.name
        ));
        txn.execute(DELETE.text(), &[&id]).await?;
        txn.batch_execute(&format!("DROP TABLE IF EXISTS {}", Sql::qualified("bucardo", &delta))).await?;
    }
    let name = delta_name(txn, goat).await?;
    let id: i32 = txn.query_one(INSERT.text(), &[&oid, &goat.schema, &goat.name, &name, &goat.key]).await?.get("id");
    let delta = Sql::qualified("bucardo", &name);
    let columns = goat
        .key
        .iter()
        .map(|column| Sql::trusted(format!("{} AS {}", Sql::ident(column), Sql::ident(&names::delta_column(column)))));
    let script = DELTA_TABLE.fill(&[
        ("delta", &delta),
        ("columns", &Sql::join(columns, ", ")),
        ("table", &Sql::qualified(&goat.schema, &goat.name)),
        ("index", &Sql::ident(&format!("delta_{id}_txid"))),
    ]);
    txn.batch_execute(&script).await?;
    let table = Captured { id, delta, key: goat.key.clone(), kicks: Vec::new(), by_row: false };
    Ok(Registered { table, is_new: true, warning })
}

/// Gives the delta columns the types that the key columns have by now: a narrower one would round a key, or refuse it
/// and with it the application's statement.
async fn retype(txn: &Transaction<'_>, goat: &Goat, oid: Oid, delta: &Sql) -> Result<(), tokio_postgres::Error> {
    let columns: Vec<String> = goat.key.iter().map(|column| names::delta_column(column)).collect();
    for row in txn.query(RETYPE.text(), &[&oid, &delta.as_str(), &goat.key, &columns]).await? {
        let (column, kind): (&str, &str) = (row.get("name"), row.get("type"));
        txn.batch_execute(&format!("ALTER TABLE {delta} ALTER COLUMN {} TYPE {kind}", Sql::ident(column))).await?;
    }
    Ok(())
}

async fn delta_name(txn: &Transaction<'_>, goat: &Goat) -> Result<String, tokio_postgres::Error> {
    if let Some(base) = names::plain_base(&goat.schema, &goat.name) {
        let name = format!("delta_{base}");
        let taken: bool = txn.query_one(NAME_TAKEN.text(), &[&name]).await?.get("taken");
        if !taken {
            return Ok(name);
        }
    }
    Ok(format!("delta_{}", names::hashed_base(&goat.schema, &goat.name)))
}

pub(super) async fn kicks(txn: &Transaction<'_>, captured: i32) -> Result<Vec<String>, tokio_postgres::Error> {
    Ok(txn.query(KICKS.text(), &[&captured]).await?.iter().map(|row| row.get("sync")).collect())
}

/// The tables that get triggers: the table itself, and every partition below it.
async fn places(
    txn: &Transaction<'_>,
    goat: &Goat,
    relation: &Relation,
    oid: Oid,
) -> Result<Vec<(Oid, Sql, Place)>, tokio_postgres::Error> {
    let own = if relation.kind == "p" { Place::Partitioned } else { Place::Table };
    let mut places = vec![(oid, Sql::qualified(&goat.schema, &goat.name), own)];
    if own == Place::Partitioned {
        for row in txn.query(PARTITIONS.text(), &[&oid]).await? {
            let name = Sql::qualified(row.get("schema"), row.get("name"));
            let place = if row.get::<_, &str>("relkind") == "p" { Place::Partitioned } else { Place::Partition };
            places.push((row.get("oid"), name, place));
        }
    }
    Ok(places)
}

struct Missing {
    functions: bool,
    /// Tables whose triggers are not as they should be.
    places: Vec<Oid>,
    /// Those of them that have none.
    bare: Vec<Oid>,
}

/// Compares what should be there with what is.
async fn missing(
    txn: &Transaction<'_>,
    functions: &[String],
    oids: &[Oid],
    triggers: &[(Oid, Trigger)],
    table: &Captured,
) -> Result<Missing, tokio_postgres::Error> {
    let names: Vec<String> = table.function_names();
    let row = txn.query_one(INSTALLED.text(), &[&names, &oids, &TRIGGER_PREFIX]).await?;
    let bodies: HashMap<String, String> =
        serde_json::from_value(row.get::<_, serde_json::Value>("bodies")).unwrap_or_default();
    let same = names.iter().zip(functions).all(|(name, function)| {
        bodies.get(name).is_some_and(|body| function.trim_end().ends_with(&format!("AS {}", Sql::literal(body))))
    });
    let expected: BTreeSet<String> =
        triggers.iter().map(|(oid, trigger)| format!("{oid} {} {}", trigger.name, trigger.function)).collect();
    let present: BTreeSet<String> = row.get::<_, Vec<String>>("triggers").into_iter().collect();
    // A function that begins to write must do so for everybody who is not yet visible to us: that takes the lock which
    // comes with the triggers.
    let idle = bodies.values().any(|body| Captured::is_idle(body));
    let of = |all: &BTreeSet<String>, oid: &Oid| -> BTreeSet<String> {
        all.iter().filter(|it| it.split(' ').next() == Some(oid.to_string().as_str())).cloned().collect()
    };
    let differs = |oid: &&Oid| idle || of(&present, oid) != of(&expected, oid);
    let places: Vec<Oid> = oids.iter().filter(differs).copied().collect();
    let bare = places.iter().filter(|oid| of(&present, oid).is_empty()).copied().collect();
    Ok(Missing { functions: !same, places, bare })
}

async fn drop_triggers(
    txn: &Transaction<'_>,
    places: &[(Oid, Sql, Place)],
    oids: &[Oid],
) -> Result<(), tokio_postgres::Error> {
    for row in txn.query(OUR_TRIGGERS.text(), &[&oids, &TRIGGER_PREFIX]).await? {
        let oid: Oid = row.get("oid");
        if let Some((_, name, _)) = places.iter().find(|(place, ..)| *place == oid) {
            let trigger = Sql::ident(row.get("name"));
            txn.batch_execute(&format!("DROP TRIGGER {trigger} ON {name}")).await?;
        }
    }
    Ok(())
}
