//! Lines that operators leave for the daemon's log (`bucardo_log_message`).

use std::time::SystemTime;

use tokio_postgres::GenericClient;

use super::CatalogError;
use super::query::{Query, query};

const ADD: Query = query!("leave a message for the log", "message_add");
const TAKE: Query = query!("take the messages for the log", "message_take");

/// Leaves a line for the log; the daemon hears of it when that is committed.
///
/// # Errors
///
/// [`CatalogError::Sql`].
pub async fn add(client: &impl GenericClient, text: &str) -> Result<(), CatalogError> {
    ADD.execute(client, &[&text]).await.map(drop)
}

/// Takes the lines that wait, oldest first, each with the time it was left at.
///
/// # Errors
///
/// [`CatalogError::Sql`].
pub async fn take(client: &impl GenericClient) -> Result<Vec<(String, SystemTime)>, CatalogError> {
    let rows = TAKE.rows(client, &[]).await?;
    Ok(rows.iter().map(|row| (row.get("msg"), row.get("cdate"))).collect())
}
