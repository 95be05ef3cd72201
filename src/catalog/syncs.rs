//! The syncs of the catalog, as operators see and change them.

use serde::{Deserialize, Serialize};
use tokio_postgres::GenericClient;

use super::CatalogError;
use super::groups::{DbMember, RelMember};
use super::query::{Query, query};

const LIST: Query = query!("list the syncs", "sync_list");
const ADD: Query = query!("add a sync", "sync_add");
const ADD_CLASSIC: Query = query!("add a sync", "sync_add_classic");
const REMOVE: Query = query!("remove a sync", "sync_remove");
const STATUS: Query = query!("write the status of a sync", "sync_status");
const COPIED: Query = query!("note that a sync has copied", "sync_copied");

/// A sync as `list` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncListing {
    /// Its name.
    pub name: String,
    /// Its relgroup.
    pub herd: Option<String>,
    /// Its group of databases.
    pub dbs: Option<String>,
    /// active, inactive or stalled.
    pub status: String,
    /// Databases: sources first.
    pub members: Vec<DbMember>,
    /// Tables and sequences, in the order in which they are processed.
    pub relations: Vec<RelMember>,
    /// Every other column.
    #[serde(flatten)]
    pub columns: serde_json::Map<String, serde_json::Value>,
}

/// All syncs, by name.
///
/// # Errors
///
/// [`CatalogError::Sql`].
pub async fn list(client: &impl GenericClient) -> Result<Vec<SyncListing>, CatalogError> {
    LIST.listings(client).await
}

/// Adds a sync; its name must be free.
///
/// # Errors
///
/// [`CatalogError::Sql`].
pub async fn add(client: &impl GenericClient, name: &str, herd: &str, dbs: &str) -> Result<(), CatalogError> {
    ADD.execute(client, &[&name, &herd, &dbs]).await.map(|_| ())
}

/// A sync in the words of versions 3 and 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClassicSync<'a> {
    /// Its relgroup.
    pub source: &'a str,
    /// The database that is its target; else a group is.
    pub targetdb: Option<&'a str>,
    /// The group of databases that are its targets.
    pub targetgroup: Option<&'a str>,
    /// pushdelta, fullcopy or swap.
    pub synctype: &'a str,
}

/// Adds a sync in the words of versions 3 and 4; returns the group of databases that the catalog made of them.
///
/// # Errors
///
/// [`CatalogError::Sql`], also where the catalog refuses the words.
pub async fn add_classic(
    client: &impl GenericClient,
    name: &str,
    sync: &ClassicSync<'_>,
) -> Result<String, CatalogError> {
    let ClassicSync { source, targetdb, targetgroup, synctype } = sync;
    Ok(ADD_CLASSIC.row(client, &[&name, source, targetdb, targetgroup, synctype]).await?.get("dbs"))
}

/// Removes a sync; false: there is none of that name.
///
/// # Errors
///
/// [`CatalogError::Sql`].
pub async fn remove(client: &impl GenericClient, name: &str) -> Result<bool, CatalogError> {
    Ok(REMOVE.execute(client, &[&name]).await? > 0)
}

/// Makes a sync active or inactive; false: there is none of that name.
///
/// # Errors
///
/// [`CatalogError::Sql`].
pub async fn set_active(client: &impl GenericClient, name: &str, active: bool) -> Result<bool, CatalogError> {
    let status = if active { "active" } else { "inactive" };
    Ok(STATUS.execute(client, &[&name, &status]).await? > 0)
}

/// Every target has made the whole copy that `request` asked for: sets `onetimecopy` to 0, unless another was asked
/// for since. True: it was set.
///
/// # Errors
///
/// [`CatalogError::Sql`].
pub async fn reset_onetimecopy(client: &impl GenericClient, name: &str, request: i64) -> Result<bool, CatalogError> {
    Ok(COPIED.execute(client, &[&name, &request]).await? > 0)
}
