//! The control database: what shall be replicated, and what happened.
//!
//! Functions take any client or transaction, so that the caller decides what commits together.

pub mod clones;
pub mod codes;
mod columns;
pub mod conflict_history;
pub mod conflicts;
pub mod dbs;
mod detail;
mod error;
pub mod freezer;
pub mod goats;
pub mod groups;
mod json_twins;
mod load;
pub mod mappings;
pub mod messages;
pub mod migrate;
pub mod names;
mod options;
pub mod perl;
mod query;
pub mod queue;
pub mod runs;
pub mod settings;
pub mod states;
pub mod syncs;
pub mod trouble;

use std::ops::{Deref, DerefMut};

pub use columns::{Column, Table, columns, write};
pub use conflicts::{Conflict, ConflictStore};
pub use detail::{
    Budget, CopyLimits, Db, DeleteMethod, Goat, GoatKind, Mapping, Member, QueuePolicy, Role, SyncDetail,
};
pub use error::CatalogError;
pub use load::{code_limits, load_sync, load_syncs};
pub use options::{LockMode, MakeDelta};

use tokio_postgres::Client;

use crate::pg::{self, Access, Connection};
use migrate::{LEVEL_NEEDED, State};

/// An open session in a control database whose catalog is ours and up to date.
pub struct Control {
    connection: Connection,
}

impl Control {
    /// Connects and looks at the catalog.
    ///
    /// # Errors
    ///
    /// [`CatalogError`]: not reached, no catalog, another program's, or another level.
    pub async fn open(access: &Access, application_name: &str) -> Result<Self, CatalogError> {
        let connection = Box::pin(pg::connect(access, application_name)).await?;
        match migrate::state(&*connection).await? {
            State::Level(LEVEL_NEEDED) => Ok(Self { connection }),
            State::Level(found) => Err(CatalogError::Level { found, needed: LEVEL_NEEDED }),
            State::Foreign => Err(CatalogError::Foreign { version: perl::version(&*connection).await? }),
            State::Absent { .. } => Err(CatalogError::NotInstalled { access: access.describe() }),
        }
    }

    /// The session, for functions that take any client.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.connection
    }

    /// The session, to begin a transaction in.
    pub fn client_mut(&mut self) -> &mut Client {
        &mut self.connection
    }
}

impl Deref for Control {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl DerefMut for Control {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }
}
