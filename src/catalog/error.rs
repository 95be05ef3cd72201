//! Why the control database could not be read or written.

use bucardo_actors::model::Failure;

use crate::pg::{ConnectError, classify};

/// Why the control database could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// It could not be reached.
    #[error("cannot open the control database")]
    Connect(#[from] ConnectError),
    /// It has no catalog.
    #[error("the control database ({access}) has no catalog of Bucardo")]
    NotInstalled {
        /// What was connected to.
        access: String,
    },
    /// It has the catalog of another program.
    #[error("the schema \"bucardo\" of the control database was made by another version ({version}) of Bucardo")]
    Foreign {
        /// The version that it names.
        version: String,
    },
    /// The catalog is older or newer than the program.
    #[error("the catalog has level {found}, this program needs level {needed}")]
    Level {
        /// What was found.
        found: i32,
        /// What this program knows.
        needed: i32,
    },
    /// The server refused a statement, or the connection broke.
    #[error("cannot {doing}")]
    Sql {
        /// What was being done.
        doing: &'static str,
        /// Why it could not.
        source: tokio_postgres::Error,
    },
    /// Rows of the catalog make no sense.
    #[error("{what}: {why}")]
    Value {
        /// Which row.
        what: String,
        /// What is wrong with it.
        why: String,
    },
}

impl CatalogError {
    /// Whether the same call, made again, may succeed without anyone's help.
    #[must_use]
    pub fn failure(&self) -> Failure {
        match self {
            Self::Connect(error) => error.failure(),
            Self::Sql { source, .. } => classify(source),
            Self::NotInstalled { .. } | Self::Foreign { .. } | Self::Level { .. } | Self::Value { .. } => {
                Failure::Permanent
            }
        }
    }

    /// What the operator can do, where we know.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Connect(error) => error.hint().or_else(|| {
                Some("give --dbhost, --dbport, --dbuser, --dbname, or create it with \"bucardo install\"".to_owned())
            }),
            Self::NotInstalled { .. } => Some("create it with \"bucardo install\"".to_owned()),
            Self::Level { found, needed } if found < needed => {
                Some("bring it up to date with \"bucardo upgrade\"".to_owned())
            }
            Self::Level { .. } => Some("install the newer version of the program here, too".to_owned()),
            Self::Foreign { .. } => Some(
                "\"bucardo adopt --dry-run\" shows how it is taken over; or use another database for this program (--dbname)"
                    .to_owned(),
            ),
            Self::Sql { source, .. } => {
                let denied = source.code() == Some(&tokio_postgres::error::SqlState::INSUFFICIENT_PRIVILEGE);
                denied.then(|| "connect as the owner of the catalog (--dbuser)".to_owned())
            }
            Self::Value { .. } => None,
        }
    }

    /// The server's own words, when a statement was refused.
    #[must_use]
    pub fn server_message(&self) -> Option<&str> {
        match self {
            Self::Sql { source, .. } => source.as_db_error().map(tokio_postgres::error::DbError::message),
            _ => None,
        }
    }
}
