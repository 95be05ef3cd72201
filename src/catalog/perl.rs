//! The catalog of a Perl Bucardo (versions 3 to 5), taken over: its tables are moved aside, ours are made, and its rows
//! are copied to them. All of it in one transaction of the caller's, and so is the way back.

use tokio_postgres::{GenericClient, Transaction};

use super::CatalogError;
use super::migrate::{log_upgrade, migrate_in};
use crate::pg::SqlFile;
use crate::source::perl::SCHEMA;

const STATE: SqlFile = SqlFile::new(include_str!("../../sql/adopt/control_state.sql"));
const VERSION_NEW: SqlFile = SqlFile::new(include_str!("../../sql/adopt/version_new.sql"));
const VERSION_OLD: SqlFile = SqlFile::new(include_str!("../../sql/adopt/version_old.sql"));
const MOVE: SqlFile = SqlFile::new(include_str!("../../sql/adopt/control_move.sql"));
const DROP: SqlFile = SqlFile::new(include_str!("../../sql/adopt/ours_drop.sql"));
const COPY: SqlFile = SqlFile::new(include_str!("../../sql/adopt/control_copy.sql"));
const SEQUENCES: SqlFile = SqlFile::new(include_str!("../../sql/adopt/control_sequences.sql"));
const FREEZER: SqlFile = SqlFile::new(include_str!("../../sql/adopt/freezer.sql"));
const SETTINGS_NEW: SqlFile = SqlFile::new(include_str!("../../sql/adopt/settings_new.sql"));
const SETTINGS_OLD: SqlFile = SqlFile::new(include_str!("../../sql/adopt/settings_old.sql"));
const SETTINGS_ITEMS: SqlFile = SqlFile::new(include_str!("../../sql/adopt/settings_items.sql"));

/// What was made of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Converted {
    /// The version that the catalog named.
    pub version: String,
    /// Rows copied, table by table; no table without any.
    pub rows: Vec<(String, u64)>,
    /// Settings that this program does not have, with their values.
    pub unknown_settings: Vec<(String, String)>,
}

fn failed(doing: &'static str) -> impl Fn(tokio_postgres::Error) -> CatalogError {
    move |source| CatalogError::Sql { doing, source }
}

/// Whether the catalog of a Perl Bucardo is kept aside here.
///
/// # Errors
///
/// [`CatalogError::Sql`].
pub async fn is_kept(client: &impl GenericClient) -> Result<bool, CatalogError> {
    let state = client.query_one(STATE.text(), &[]).await.map_err(failed("look for a kept catalog"))?;
    Ok(state.get("kept"))
}

/// The version of the Perl Bucardo whose catalog this is.
///
/// # Errors
///
/// [`CatalogError::Sql`], also where it is no such catalog.
pub async fn version(client: &impl GenericClient) -> Result<String, CatalogError> {
    let doing = "read the version of the catalog";
    let state = client.query_one(STATE.text(), &[]).await.map_err(failed(doing))?;
    let sql = if state.get("named") { VERSION_NEW } else { VERSION_OLD };
    let row = client.query_opt(sql.text(), &[]).await.map_err(failed(doing))?;
    Ok(row.and_then(|row| row.get("version")).unwrap_or_else(|| "unknown".to_owned()))
}

/// Makes the catalog of a Perl Bucardo ours. The schema where things are kept must exist.
///
/// # Errors
///
/// [`CatalogError::Sql`]: the transaction has failed. A row that this program refuses is among the reasons.
pub async fn convert(txn: &Transaction<'_>) -> Result<Converted, CatalogError> {
    let state = txn.query_one(STATE.text(), &[]).await.map_err(failed("look at the catalog"))?;
    let is_new: bool = state.get("named");
    let mut converted = Converted { version: version(txn).await?, ..Converted::default() };
    run(txn, MOVE, &[&"bucardo", &SCHEMA], "move the old catalog aside").await?;
    run(txn, FREEZER, &[&false], "move the old freezer aside").await?;
    migrate_in(txn).await?;
    let doing = "copy the rows of the old catalog";
    for row in txn.query(COPY.text(), &[]).await.map_err(failed(doing))? {
        let copied = txn.execute(row.get::<_, &str>("statement"), &[]).await;
        let copied = copied.map_err(|source| CatalogError::Value {
            what: format!("rows of the old table \"{}\"", row.get::<_, &str>("name")),
            why: crate::pg::causes(&source),
        })?;
        if copied > 0 {
            converted.rows.push((row.get("name"), copied));
        }
    }
    txn.query_one(SEQUENCES.text(), &[]).await.map_err(failed(doing))?;
    let changed = if is_new { SETTINGS_NEW } else { SETTINGS_OLD };
    for row in txn.query(changed.text(), &[]).await.map_err(failed("read the old settings"))? {
        let (name, value): (String, Option<String>) = (row.get("name"), row.get("value"));
        let value = value.unwrap_or_default();
        if !super::settings::set(txn, &name, &value).await? {
            converted.unknown_settings.push((name, value));
        }
    }
    if is_new {
        txn.execute(SETTINGS_ITEMS.text(), &[]).await.map_err(failed("copy settings of syncs and tables"))?;
    }
    log_upgrade(txn, "Adopted", &format!("catalog of version {}", converted.version)).await?;
    Ok(converted)
}

/// Takes our catalog away and puts the kept one back in its place.
///
/// # Errors
///
/// [`CatalogError::Sql`]: the transaction has failed.
pub async fn restore(txn: &Transaction<'_>) -> Result<(), CatalogError> {
    txn.batch_execute("SET LOCAL client_min_messages = warning").await.map_err(failed("prepare the way back"))?;
    run(txn, DROP, &[], "remove the catalog").await?;
    run(txn, FREEZER, &[&true], "put the old freezer back").await?;
    run(txn, MOVE, &[&SCHEMA, &"bucardo"], "put the old catalog back").await?;
    let dropped = txn.batch_execute(&format!("DROP SCHEMA {SCHEMA} CASCADE")).await;
    dropped.map_err(failed("remove the schema where the old catalog was kept"))
}

/// Runs the statements that a query makes.
async fn run(
    txn: &Transaction<'_>,
    query: SqlFile,
    args: &[&(dyn postgres_types::ToSql + Sync)],
    doing: &'static str,
) -> Result<(), CatalogError> {
    for row in txn.query(query.text(), args).await.map_err(failed(doing))? {
        txn.batch_execute(row.get("statement")).await.map_err(failed(doing))?;
    }
    Ok(())
}
