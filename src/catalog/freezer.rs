//! Where old runs go: `freezer.master_q`, a partition a day, as in earlier versions.

use std::time::Duration;

use tokio_postgres::GenericClient;

use super::CatalogError;
use super::query::{Query, query};

const FREEZE: Query = query!("move old runs to the freezer", "runs_freeze");
const TOMORROW: Query = query!("make tomorrow's partition of the freezer", "freezer_tomorrow");
const DROP: Query = query!("drop old days of the freezer", "freezer_drop");

/// Moves at most `rows_max` runs that ended more than `keep` ago; returns how many.
///
/// # Errors
///
/// [`CatalogError::Sql`]; then none was moved.
pub async fn freeze(client: &impl GenericClient, keep: Duration, rows_max: i64) -> Result<i64, CatalogError> {
    Ok(FREEZE.row(client, &[&keep.as_secs_f64(), &rows_max]).await?.get("moved"))
}

/// Makes the partition of tomorrow, unless it is there.
///
/// # Errors
///
/// [`CatalogError::Sql`].
pub async fn tomorrow(client: &impl GenericClient) -> Result<(), CatalogError> {
    TOMORROW.row(client, &[]).await.map(|_| ())
}

/// Drops the days that ended more than `keep` ago, and rates as old; returns how many days.
///
/// # Errors
///
/// [`CatalogError::Sql`].
pub async fn drop(client: &impl GenericClient, keep: Duration) -> Result<i64, CatalogError> {
    Ok(DROP.row(client, &[&keep.as_secs_f64()]).await?.get("dropped"))
}
