//! Numbered forward migrations of the control database. Those that are missing are applied together or not at all.

use tokio_postgres::{Client, GenericClient, Transaction};

use super::CatalogError;
use super::query::{Query, query};

const INSTALLED: Query = query!("look for the catalog", "installed");
const LEVEL: Query = query!("read the level of the catalog", "level");
const CREATE_SCHEMA: Query = query!("create the schema \"bucardo\"", "schema_create");
const CREATE_TABLE: Query = query!("create the table of migrations", "migration_table");
const LOCK: Query = query!("wait for another migration", "migration_lock");
const NOTE: Query = query!("note a migration", "migration_add");
const LOG: Query = query!("note a change of the schema", "upgrade_log_add");

/// A step from one shape of the catalog to the next.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// Its place in the order, from 1.
    pub level: i32,
    /// What it brings.
    pub name: &'static str,
    /// Its statements; safe to run twice.
    pub sql: &'static str,
}

/// All migrations, in order.
pub const MIGRATIONS: [Migration; 27] = [
    Migration { level: 1, name: "tables", sql: include_str!("../../sql/control/0001_tables.sql") },
    Migration { level: 2, name: "keys and copies", sql: include_str!("../../sql/control/0002_keys_and_copies.sql") },
    Migration { level: 3, name: "settings", sql: include_str!("../../sql/control/0003_settings.sql") },
    Migration { level: 4, name: "trouble", sql: include_str!("../../sql/control/0004_trouble.sql") },
    Migration { level: 5, name: "row filters", sql: include_str!("../../sql/control/0005_row_filters.sql") },
    Migration { level: 6, name: "conflicts", sql: include_str!("../../sql/control/0006_conflicts.sql") },
    Migration {
        level: 7,
        name: "listening and limits",
        sql: include_str!("../../sql/control/0007_listening_and_limits.sql"),
    },
    Migration { level: 8, name: "makedelta", sql: include_str!("../../sql/control/0008_makedelta.sql") },
    Migration { level: 9, name: "copies", sql: include_str!("../../sql/control/0009_copies.sql") },
    Migration { level: 10, name: "older settings", sql: include_str!("../../sql/control/0010_older_settings.sql") },
    Migration { level: 11, name: "states", sql: include_str!("../../sql/control/0011_states.sql") },
    Migration { level: 12, name: "purge", sql: include_str!("../../sql/control/0012_purge.sql") },
    Migration { level: 13, name: "history", sql: include_str!("../../sql/control/0013_history.sql") },
    Migration { level: 14, name: "queue", sql: include_str!("../../sql/control/0014_queue.sql") },
    Migration { level: 15, name: "words", sql: include_str!("../../sql/control/0015_words.sql") },
    Migration { level: 16, name: "limits", sql: include_str!("../../sql/control/0016_limits.sql") },
    Migration { level: 17, name: "classic columns", sql: include_str!("../../sql/control/0017_classic_columns.sql") },
    Migration { level: 18, name: "log and mail", sql: include_str!("../../sql/control/0018_log_and_mail.sql") },
    Migration { level: 19, name: "sequence words", sql: include_str!("../../sql/control/0019_sequence_words.sql") },
    Migration { level: 20, name: "mail in clear", sql: include_str!("../../sql/control/0020_mail_in_clear.sql") },
    Migration {
        level: 21,
        name: "quarantined tables",
        sql: include_str!("../../sql/control/0021_quarantined_tables.sql"),
    },
    Migration { level: 22, name: "worker memory", sql: include_str!("../../sql/control/0022_worker_memory.sql") },
    Migration { level: 23, name: "code languages", sql: include_str!("../../sql/control/0023_code_languages.sql") },
    Migration {
        level: 24,
        name: "targets of every sync",
        sql: include_str!("../../sql/control/0024_targets_of_every_sync.sql"),
    },
    Migration { level: 25, name: "code limits", sql: include_str!("../../sql/control/0025_code_limits.sql") },
    Migration { level: 26, name: "dead letters", sql: include_str!("../../sql/control/0026_dead_letters.sql") },
    Migration { level: 27, name: "code run limit", sql: include_str!("../../sql/control/0027_code_run_limit.sql") },
];

/// The level of a catalog that has them all.
pub const LEVEL_NEEDED: i32 = MIGRATIONS[MIGRATIONS.len() - 1].level;

/// What the schema `bucardo` of a database is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It has no catalog; the schema itself may exist.
    Absent {
        /// Whether the schema exists.
        schema: bool,
    },
    /// A catalog that this program did not make.
    Foreign,
    /// Our catalog, at this level.
    Level(i32),
}

/// Looks at the schema `bucardo`.
///
/// # Errors
///
/// [`CatalogError::Sql`].
pub async fn state(client: &impl GenericClient) -> Result<State, CatalogError> {
    let row = INSTALLED.row(client, &[]).await?;
    let (migrated, configured): (bool, bool) = (row.get("migrated"), row.get("configured"));
    match (migrated, configured) {
        (true, _) => Ok(State::Level(LEVEL.row(client, &[]).await?.get("level"))),
        (false, true) => Ok(State::Foreign),
        (false, false) => Ok(State::Absent { schema: row.get("present") }),
    }
}

/// Applies the migrations that are missing, in one transaction; returns their numbers.
///
/// # Errors
///
/// [`CatalogError::Foreign`] or [`CatalogError::Level`] where the catalog is not ours or newer than the program;
/// [`CatalogError::Sql`] with nothing changed.
pub async fn migrate(client: &mut Client) -> Result<Vec<i32>, CatalogError> {
    let transaction = client.transaction().await.map_err(CREATE_SCHEMA.failed())?;
    let applied = migrate_in(&transaction).await?;
    transaction.commit().await.map_err(CREATE_SCHEMA.failed())?;
    Ok(applied)
}

/// The same in a transaction of the caller's.
pub(super) async fn migrate_in(transaction: &Transaction<'_>) -> Result<Vec<i32>, CatalogError> {
    LOCK.row(transaction, &[]).await?;
    let level = match state(transaction).await? {
        State::Level(level) if level > LEVEL_NEEDED => {
            return Err(CatalogError::Level { found: level, needed: LEVEL_NEEDED });
        }
        State::Level(level) => level,
        State::Foreign => return Err(CatalogError::Foreign { version: super::perl::version(transaction).await? }),
        State::Absent { schema } => {
            if !schema {
                CREATE_SCHEMA.execute(transaction, &[]).await?;
            }
            CREATE_TABLE.execute(transaction, &[]).await?;
            0
        }
    };
    let mut applied = Vec::new();
    for migration in MIGRATIONS.iter().filter(|migration| migration.level > level) {
        let failed = |source| CatalogError::Sql { doing: "apply a migration of the catalog", source };
        transaction.batch_execute(migration.sql).await.map_err(failed)?;
        NOTE.execute(transaction, &[&migration.level, &migration.name]).await?;
        applied.push(migration.level);
    }
    if level == 0 {
        log_upgrade(transaction, "Initial install", "").await?;
    } else {
        for level in &applied {
            log_upgrade(transaction, "Migration", &level.to_string()).await?;
        }
    }
    Ok(applied)
}

/// Writes a line of `upgrade_log`.
///
/// # Errors
///
/// [`CatalogError::Sql`].
pub async fn log_upgrade(client: &impl GenericClient, action: &str, summary: &str) -> Result<(), CatalogError> {
    LOG.execute(client, &[&action, &summary, &env!("CARGO_PKG_VERSION")]).await.map(|_| ())
}
