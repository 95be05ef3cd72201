//! Groups of databases (`dbgroup`) and of relations (`relgroup`, the table `herd`).

use serde::{Deserialize, Serialize};
use tokio_postgres::GenericClient;

use super::CatalogError;
use super::query::{Query, query};

const DB_LIST: Query = query!("list the groups of databases", "dbgroup_list");
const DB_ADD: Query = query!("add a group of databases", "dbgroup_add");
const DB_REMOVE: Query = query!("remove a group of databases", "dbgroup_remove");
const DB_PUT: Query = query!("put a database into a group", "dbmap_put");
const DB_TAKE: Query = query!("take a database out of a group", "dbmap_remove");
const REL_LIST: Query = query!("list the relgroups", "herd_list");
const REL_ADD: Query = query!("add a relgroup", "herd_add");
const REL_REMOVE: Query = query!("remove a relgroup", "herd_remove");
const REL_PUT: Query = query!("put a relation into a relgroup", "herdmap_add");
const REL_PRIORITY: Query = query!("change a priority in a relgroup", "herdmap_priority");
const REL_TAKE: Query = query!("take a relation out of a relgroup", "herdmap_remove");

/// A database in a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DbMember {
    /// The database.
    pub db: String,
    /// source, target or fullcopy.
    pub role: String,
    /// Higher comes first.
    pub priority: i32,
    /// Whether other syncs see what comes there; `None`: as the database and the sync say.
    pub makedelta: Option<bool>,
}

/// A group of databases.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dbgroup {
    /// Its name.
    pub name: String,
    /// A remark.
    pub about: Option<String>,
    /// When it was added.
    pub cdate: String,
    /// Sources first, then by priority and name.
    pub members: Vec<DbMember>,
    /// Syncs that use it.
    pub syncs: Vec<String>,
}

/// A table or sequence in a relgroup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelMember {
    /// Its number in the catalog.
    pub id: i32,
    /// Schema.
    pub schemaname: String,
    /// Name.
    pub tablename: String,
    /// table or sequence.
    pub reltype: String,
    /// Higher comes first.
    pub priority: i32,
}

/// A relgroup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relgroup {
    /// Its name.
    pub name: String,
    /// A remark.
    pub about: Option<String>,
    /// When it was added.
    pub cdate: String,
    /// The database that its members live in.
    pub db: Option<String>,
    /// In the order in which they are processed.
    pub members: Vec<RelMember>,
    /// Syncs that use it.
    pub syncs: Vec<String>,
}

/// All groups of databases.
///
/// # Errors
///
/// [`CatalogError::Sql`].
pub async fn dbgroups(client: &impl GenericClient) -> Result<Vec<Dbgroup>, CatalogError> {
    DB_LIST.listings(client).await
}

/// Adds a group of databases; false: it exists.
///
/// # Errors
///
/// [`CatalogError::Sql`].
pub async fn add_dbgroup(client: &impl GenericClient, name: &str) -> Result<bool, CatalogError> {
    Ok(DB_ADD.execute(client, &[&name]).await? > 0)
}

/// Removes a group of databases; false: there is none of that name.
///
/// # Errors
///
/// [`CatalogError::Sql`], as long as a sync uses it.
pub async fn remove_dbgroup(client: &impl GenericClient, name: &str) -> Result<bool, CatalogError> {
    Ok(DB_REMOVE.execute(client, &[&name]).await? > 0)
}

/// Makes a database a member, or changes its part; without a priority or `makedelta` these stay as they are.
///
/// # Errors
///
/// [`CatalogError::Sql`].
pub async fn put_db(
    client: &impl GenericClient,
    group: &str,
    db: &str,
    role: &str,
    priority: Option<i16>,
    makedelta: Option<bool>,
) -> Result<(), CatalogError> {
    DB_PUT.execute(client, &[&db, &group, &role, &priority, &makedelta]).await.map(|_| ())
}

/// Takes a database out of a group; false: it was not in.
///
/// # Errors
///
/// [`CatalogError::Sql`].
pub async fn take_db(client: &impl GenericClient, group: &str, db: &str) -> Result<bool, CatalogError> {
    Ok(DB_TAKE.execute(client, &[&db, &group]).await? > 0)
}

/// All relgroups.
///
/// # Errors
///
/// [`CatalogError::Sql`].
pub async fn relgroups(client: &impl GenericClient) -> Result<Vec<Relgroup>, CatalogError> {
    REL_LIST.listings(client).await
}

/// Adds a relgroup; false: it exists.
///
/// # Errors
///
/// [`CatalogError::Sql`].
pub async fn add_relgroup(client: &impl GenericClient, name: &str) -> Result<bool, CatalogError> {
    Ok(REL_ADD.execute(client, &[&name]).await? > 0)
}

/// Removes a relgroup; its relations stay. False: there is none of that name.
///
/// # Errors
///
/// [`CatalogError::Sql`], as long as a sync uses it.
pub async fn remove_relgroup(client: &impl GenericClient, name: &str) -> Result<bool, CatalogError> {
    Ok(REL_REMOVE.execute(client, &[&name]).await? > 0)
}

/// Puts a relation into a relgroup; false: it is in.
///
/// # Errors
///
/// [`CatalogError::Sql`], also when the members would live in different databases.
pub async fn put_relation(client: &impl GenericClient, group: &str, goat: i32) -> Result<bool, CatalogError> {
    Ok(REL_PUT.execute(client, &[&group, &goat]).await? > 0)
}

/// Changes the priority of a member of a relgroup; false: it has that one already, or is no member.
///
/// # Errors
///
/// [`CatalogError::Sql`].
pub async fn prioritize(
    client: &impl GenericClient,
    group: &str,
    goat: i32,
    priority: i16,
) -> Result<bool, CatalogError> {
    Ok(REL_PRIORITY.execute(client, &[&group, &goat, &priority]).await? > 0)
}

/// Takes a relation out of a relgroup; false: it was not in.
///
/// # Errors
///
/// [`CatalogError::Sql`].
pub async fn take_relation(client: &impl GenericClient, group: &str, goat: i32) -> Result<bool, CatalogError> {
    Ok(REL_TAKE.execute(client, &[&group, &goat]).await? > 0)
}
