//! The way back: the Perl program's triggers and tables are as they were, with what is undelivered by now.
//!
//! A change counts as undelivered for a sync while any of its readers has not read it: the Perl program notes deliveries
//! to all of them at once. What is delivered twice does no harm, since it copies rows as they are.

use bucardo_actors::model::DbName;
use postgres_types::Oid;
use tokio_postgres::{Row, Transaction};

use super::{SCHEMA, Version, failed, key_types, look, move_shared};
use crate::pg::{Connection, Sql, SqlFile};
use crate::progress;
use crate::source::install::{LOCK_PAUSE, begin, exists, is_worth_trying_again};
use crate::source::leftovers;
use crate::source::names;
use crate::source::origin::readable;
use crate::source::validate::ValidateError;

const SHARED_OURS: SqlFile = SqlFile::new(include_str!("../../../sql/adopt/shared_ours.sql"));
const OURS: SqlFile = SqlFile::new(include_str!("../../../sql/adopt/ours_drop.sql"));
const TAKEN_LIST: SqlFile = SqlFile::new(include_str!("../../../sql/adopt/taken_list.sql"));
const TAKEN_REMOVE: SqlFile = SqlFile::new(include_str!("../../../sql/adopt/taken_remove.sql"));
const TRIGGERS_AGAIN: SqlFile = SqlFile::new(include_str!("../../../sql/adopt/triggers_again.sql"));
const WANTED: SqlFile = SqlFile::new(include_str!("../../../sql/adopt/back_wanted.sql"));
const TRUNCATED: SqlFile = SqlFile::new(include_str!("../../../sql/adopt/back_truncated.sql"));
const TRUNCATES_DONE: SqlFile = SqlFile::new(include_str!("../../../sql/adopt/back_truncates_done.sql"));
const FILL: SqlFile = SqlFile::new(include_str!("../../../sql/adopt/back_fill.sql"));
const TRACK: SqlFile = SqlFile::new(include_str!("../../../sql/adopt/back_track.sql"));
const OLD: SqlFile = SqlFile::new(include_str!("../../../sql/adopt/back_old.sql"));
const OLD_CLEAR: SqlFile = SqlFile::new(include_str!("../../../sql/adopt/back_old_clear.sql"));
const COUNT: SqlFile = SqlFile::new(include_str!("../../../sql/adopt/back_count.sql"));
const FUNCTIONS: SqlFile = SqlFile::new(include_str!("../../../sql/adopt/capture_functions.sql"));
const CAPTURED_DELETE: SqlFile = SqlFile::new(include_str!("../../../sql/source/captured_delete.sql"));
const UNNEEDED: SqlFile = SqlFile::new(include_str!("../../../sql/adopt/unneeded.sql"));

/// What was given back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Back {
    /// Tables with their triggers.
    pub tables: usize,
    /// Undelivered changes.
    pub changes: i64,
}

/// A table that was taken over.
struct Taken {
    oid: Oid,
    schema: String,
    name: String,
    kept: Option<(String, String)>,
    /// Our number for it, its table of changes and its key.
    captured: Option<(i32, String, Vec<String>)>,
}

impl Taken {
    fn of(row: &Row) -> Self {
        let both = |one: Option<String>, other: Option<String>| one.zip(other);
        let captured = row.get::<_, Option<i32>>("id").zip(row.get::<_, Option<String>>("delta"));
        Self {
            oid: row.get("relation"),
            schema: row.get("schemaname"),
            name: row.get("tablename"),
            kept: both(row.get("deltaname"), row.get("trackname")),
            captured: captured.map(|(id, delta)| (id, delta, row.get("key_columns"))),
        }
    }
}

/// Gives back to the Perl program what was taken over in a database, and takes away what is ours there, but for a
/// catalog. `None`: nothing was taken over here.
///
/// No daemon may be at work. May be called again: what is given back stays so.
///
/// # Errors
///
/// [`ValidateError::Sql`]: what was done before stays done; call it again.
pub async fn back(conn: &mut Connection, db: &DbName) -> Result<Option<Back>, ValidateError> {
    let at = |what: &str| failed(db, what);
    let found = look(conn).await.map_err(at("looking for what was taken over"))?;
    if !found.has_schema {
        return Ok(None);
    }
    // Where only functions were moved when it stopped, nothing of ours has the names of the rest.
    let ours = found.kept.is_some().then_some(&SHARED_OURS);
    let moved = move_shared(conn, (SCHEMA, "bucardo"), ours).await;
    moved.map_err(at("moving what the tables of the Perl program share"))?;
    let version = look(conn).await.map_err(at("looking for the Perl program"))?.live;
    let mut given = Back::default();
    let tables = conn.query(TAKEN_LIST.text(), &[]).await.map_err(at("listing the tables"))?;
    for (number, table) in (1..).zip(tables.iter().map(Taken::of)) {
        progress::step(|| {
            let (all, Taken { schema, name, .. }) = (tables.len(), &table);
            format!("database \"{db}\": giving back {number} of {all}, {schema}.{name}")
        });
        let what = format!("giving back table \"{}.{}\"", table.schema, table.name);
        given.changes += give(conn, &table, version).await.map_err(at(&what))?;
        given.tables += 1;
    }
    if exists(conn, "bucardo.captured").await.map_err(at("looking for what is ours"))? {
        let what = "taking away what is ours";
        conn.batch_execute(UNNEEDED.text()).await.map_err(at(what))?;
        leftovers::drop_unused(conn).await.map_err(at(what))?;
    }
    let found = leftovers::look(conn).await.map_err(at("looking for what is ours"))?;
    if !found.is_some_and(|found| found.is_control) {
        let txn = conn.transaction().await.map_err(at("beginning to clean up"))?;
        drop_rest(&txn).await.map_err(at("taking away what is ours"))?;
        txn.commit().await.map_err(at("taking away what is ours"))?;
    }
    Ok(Some(given))
}

async fn drop_rest(txn: &Transaction<'_>) -> Result<(), tokio_postgres::Error> {
    txn.batch_execute("SET LOCAL client_min_messages = warning").await?;
    for row in txn.query(OURS.text(), &[]).await? {
        txn.batch_execute(row.get("statement")).await?;
    }
    // A catalog that was taken over goes its own way.
    if !exists(txn.client(), "bucardo_perl.bucardo_config").await? {
        txn.batch_execute(&format!("DROP SCHEMA {SCHEMA} CASCADE")).await?;
    }
    Ok(())
}

async fn give(conn: &mut Connection, table: &Taken, version: Option<Version>) -> Result<i64, tokio_postgres::Error> {
    let mut tries = 0;
    loop {
        tries += 1;
        match try_give(conn, table, version).await {
            Err(error) if is_worth_trying_again(&error, tries) => tokio::time::sleep(LOCK_PAUSE * tries).await,
            ended => return ended,
        }
    }
}

/// One table, one transaction. Returns how many changes are undelivered.
async fn try_give(
    conn: &mut Connection,
    table: &Taken,
    version: Option<Version>,
) -> Result<i64, tokio_postgres::Error> {
    let txn = begin(conn).await?;
    let name = Sql::qualified(&table.schema, &table.name);
    txn.batch_execute(&format!("SET LOCAL client_min_messages = warning; LOCK TABLE {name}")).await?;
    let mut changes = 0;
    let news = readable(&Sql::trusted("d.origin"), &Sql::trusted("s.sync"), &Sql::trusted("t.target"));
    if let Some((id, delta, key)) = &table.captured {
        let columns = |alias: &str| {
            let columns = key.iter().map(|column| Sql::ident(&names::delta_column(column)));
            Sql::join(columns.map(|column| Sql::trusted(format!("{alias}.{column}"))), ", ")
        };
        let number = Sql::trusted(id.to_string());
        let delta = Sql::qualified("bucardo", delta);
        let holes = [("keys", &columns("d")), ("delta", &delta), ("id", &number), ("readable", &news)];
        txn.batch_execute(&WANTED.fill(&holes)).await?;
        changes = txn.query_one(COUNT.text(), &[]).await?.get("rows");
        let truncated = TRUNCATED.fill(&[("readable", &news)]);
        if exists(txn.client(), "bucardo.bucardo_truncate_trigger").await? {
            txn.execute(TRUNCATES_DONE.text(), &[&table.oid]).await?;
            txn.execute(&truncated, &[id, &table.oid, &table.schema, &table.name]).await?;
        }
        drop_ours(&txn, *id, &delta, table).await?;
        match (&table.kept, version) {
            (Some((kept_delta, kept_track)), Some(Version::Five)) => {
                for kept in [kept_delta, kept_track] {
                    if move_back(&txn, kept).await? {
                        txn.batch_execute(&format!("TRUNCATE {}", Sql::qualified("bucardo", kept))).await?;
                    }
                }
                move_back(&txn, &format!("stage_{}", kept_delta.strip_prefix("delta_").unwrap_or_default())).await?;
                let kept_delta = Sql::qualified("bucardo", kept_delta);
                let kept_keys = Sql::idents(key.iter().map(String::as_str));
                let fill =
                    FILL.fill(&[("kept_delta", &kept_delta), ("kept_keys", &kept_keys), ("keys", &columns("b"))]);
                txn.batch_execute(&fill).await?;
                let track = TRACK.fill(&[("kept_track", &Sql::qualified("bucardo", kept_track))]);
                txn.batch_execute(&track).await?;
            }
            (_, Some(Version::Four)) => {
                txn.execute(OLD_CLEAR.text(), &[&table.oid]).await?;
                let types = key_types(&txn, table.oid, key).await?;
                let values = types.iter().zip(key).map(|((_, _, is_bytea), column)| {
                    let column = Sql::ident(&names::delta_column(column));
                    Sql::trusted(if *is_bytea {
                        format!("encode(b.{column}, 'base64')")
                    } else {
                        format!("b.{column}::text")
                    })
                });
                let rowids = Sql::join(types.iter().map(|(rowid, ..)| rowid.clone()), ", ");
                let sql = OLD.fill(&[("rowids", &rowids), ("values", &Sql::join(values, ", "))]);
                txn.execute(&sql, &[&table.oid]).await?;
            }
            _ => {}
        }
    } else if let Some((kept_delta, kept_track)) = &table.kept {
        for kept in [
            kept_delta.clone(),
            kept_track.clone(),
            format!("stage_{}", kept_delta.strip_prefix("delta_").unwrap_or_default()),
        ] {
            move_back(&txn, &kept).await?;
        }
    }
    for row in txn.query(TRIGGERS_AGAIN.text(), &[&table.oid]).await? {
        txn.batch_execute(row.get("definition")).await?;
        if let Some(state) = row.get::<_, Option<&str>>("state") {
            txn.batch_execute(state).await?;
        }
    }
    txn.execute(TAKEN_REMOVE.text(), &[&table.oid]).await?;
    txn.commit().await?;
    Ok(changes)
}

/// Our triggers, view and table of changes of one table.
async fn drop_ours(txn: &Transaction<'_>, id: i32, delta: &Sql, table: &Taken) -> Result<(), tokio_postgres::Error> {
    for row in txn.query(FUNCTIONS.text(), &[&id]).await? {
        txn.batch_execute(&format!("DROP FUNCTION {} CASCADE", row.get::<_, &str>("function"))).await?;
    }
    if let Some((_, name, _)) = &table.captured {
        let view = Sql::qualified("bucardo", &format!("track_{}", name.strip_prefix("delta_").unwrap_or_default()));
        txn.batch_execute(&format!("DROP VIEW IF EXISTS {view}; DROP TABLE {delta}")).await?;
    }
    txn.execute(CAPTURED_DELETE.text(), &[&id]).await.map(drop)
}

/// Moves a kept table back; false: it is back, as one that two tables share may be.
async fn move_back(txn: &Transaction<'_>, table: &str) -> Result<bool, tokio_postgres::Error> {
    let kept = Sql::qualified(SCHEMA, table);
    let is_kept = exists(txn.client(), kept.as_str()).await?;
    if is_kept {
        txn.batch_execute(&format!("ALTER TABLE {kept} SET SCHEMA bucardo")).await?;
    }
    Ok(is_kept)
}
