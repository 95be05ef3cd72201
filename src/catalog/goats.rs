//! Tables and sequences of the catalog.

use serde::{Deserialize, Serialize};
use tokio_postgres::GenericClient;

use super::query::{Query, query};
use super::{CatalogError, Goat, GoatKind, MakeDelta};
use crate::pg::Sql;
use crate::source::inspect::Relation;

const LIST: Query = query!("list the tables and sequences", "goat_list");
const ADD: Query = query!("add a table or sequence", "goat_add");
const REMOVE: Query = query!("remove a table or sequence", "goat_remove");
const REFRESH: Query = query!("write the key of a table", "goat_refresh_key");

/// A table or sequence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoatListing {
    /// Its number.
    pub id: i32,
    /// The database in which it was found.
    pub db: String,
    /// Schema, case-exact and unquoted.
    pub schemaname: String,
    /// Name, case-exact and unquoted.
    pub tablename: String,
    /// table or sequence.
    pub reltype: String,
    /// Key columns joined by `|`.
    pub pkey: Option<String>,
    /// Their types joined by `|`.
    pub pkeytype: Option<String>,
    /// Key columns; empty: no key.
    pub key_columns: Vec<String>,
    /// Overrides the sync's.
    pub autokick: Option<bool>,
    /// Overrides the sync's.
    pub rebuild_index: Option<i16>,
    /// Empty, `on`, or names of databases.
    pub makedelta: Option<String>,
    /// Overrides the sync's.
    pub conflict_strategy: Option<String>,
    /// The condition that a row meets to be copied.
    pub customselect: Option<String>,
    /// Not copied by whole copies.
    pub ghost: bool,
    /// And-ed with the sync's.
    pub analyze_after_copy: bool,
    /// And-ed with the sync's.
    pub vacuum_after_copy: bool,
    /// And-ed with the sync's.
    pub strict_checking: bool,
    /// When it was added.
    pub cdate: String,
    /// Relgroups that it is in.
    pub relgroups: Vec<String>,
    /// Syncs that it is in.
    pub syncs: Vec<String>,
}

impl GoatListing {
    /// `schema.name`, as messages show it.
    #[must_use]
    pub fn full_name(&self) -> String {
        format!("{}.{}", self.schemaname, self.tablename)
    }

    /// The table as the engine knows it.
    #[must_use]
    pub fn goat(&self) -> Goat {
        Goat {
            id: self.id,
            schema: self.schemaname.clone(),
            name: self.tablename.clone(),
            kind: if self.reltype == "sequence" { GoatKind::Sequence } else { GoatKind::Table },
            key: self.key_columns.clone(),
            autokick: self.autokick,
            strict_checking: self.strict_checking,
            analyze_after_copy: self.analyze_after_copy,
            vacuum_after_copy: self.vacuum_after_copy,
            rebuild_index: self.rebuild_index.map(|number| number != 0),
            ghost: self.ghost,
            conflict_strategy: self.conflict_strategy.clone().filter(|words| !words.trim().is_empty()),
            makedelta: self.makedelta.as_deref().and_then(MakeDelta::parse),
        }
    }
}

/// What may be said of a table when it is added; `None`: the default of the catalog.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GoatOptions {
    /// Overrides the sync's.
    pub autokick: Option<bool>,
    /// Overrides the sync's.
    pub rebuild_index: Option<i16>,
    /// And-ed with the sync's.
    pub analyze_after_copy: Option<bool>,
    /// Empty, `on`, or names of databases.
    pub makedelta: Option<String>,
    /// And-ed with the sync's.
    pub strict_checking: Option<bool>,
    /// Overrides the sync's.
    pub conflict_strategy: Option<String>,
    /// The condition that a row meets to be copied.
    pub customselect: Option<String>,
}

/// All tables and sequences, by schema, name and database.
///
/// # Errors
///
/// [`CatalogError::Sql`].
pub async fn list(client: &impl GenericClient) -> Result<Vec<GoatListing>, CatalogError> {
    LIST.listings(client).await
}

/// Adds a relation that was found in `db`; returns its number.
///
/// # Errors
///
/// [`CatalogError::Sql`].
pub async fn add(
    client: &impl GenericClient,
    db: &str,
    relation: &Relation,
    options: &GoatOptions,
) -> Result<i32, CatalogError> {
    let kind = if relation.is_sequence { "sequence" } else { "table" };
    let key = KeyText::of(relation);
    let row = ADD
        .row(
            client,
            &[
                &db,
                &relation.schema,
                &relation.name,
                &kind,
                &key.names,
                &key.quoted,
                &key.types,
                &relation.key_columns,
                &options.autokick,
                &options.rebuild_index,
                &options.analyze_after_copy,
                &options.makedelta,
                &options.strict_checking,
                &options.customselect,
                &options.conflict_strategy,
            ],
        )
        .await?;
    Ok(row.get("id"))
}

/// Removes a relation, from its relgroups too.
///
/// # Errors
///
/// [`CatalogError::Sql`].
pub async fn remove(client: &impl GenericClient, id: i32) -> Result<(), CatalogError> {
    REMOVE.execute(client, &[&id]).await.map(|_| ())
}

/// Writes the key that a table has now; true: it was another one.
///
/// # Errors
///
/// [`CatalogError::Sql`].
pub async fn refresh_key(client: &impl GenericClient, id: i32, relation: &Relation) -> Result<bool, CatalogError> {
    let key = KeyText::of(relation);
    let changed = REFRESH.execute(client, &[&id, &key.names, &key.quoted, &key.types, &relation.key_columns]).await?;
    Ok(changed > 0)
}

/// The key in the joined form that scripts read. Its truth is the list `key_columns`.
struct KeyText {
    names: String,
    quoted: String,
    types: String,
}

impl KeyText {
    fn of(relation: &Relation) -> Self {
        let quoted = relation.key_columns.iter().map(|name| Sql::ident(name));
        Self {
            names: relation.key_columns.join("|"),
            quoted: Sql::join(quoted, "|").as_str().to_owned(),
            types: relation.key_types.join("|"),
        }
    }
}
