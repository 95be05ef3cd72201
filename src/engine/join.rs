//! A database that was away when the sync was validated, and that its sources keep changes for, is put in when it is
//! back.

use bucardo_actors::model::SyncName;
use tokio_postgres::error::SqlState;

use super::error::RoundError;
use super::site::Site;
use crate::catalog::SyncDetail;
use crate::pg::SqlFile;
use crate::source;

const SETTLED: SqlFile = SqlFile::new(include_str!("../../sql/engine/settled.sql"));

/// Sees that a source of a sync with several sources is installed.
///
/// # Errors
///
/// [`RoundError::NoPosition`]: it is not; see [`join`].
pub(super) async fn check_settled(source: &Site, sync: &SyncName) -> Result<(), RoundError> {
    let missing = || RoundError::NoPosition { sync: sync.to_string(), db: source.db.clone() };
    match source.conn.query_one(SETTLED.text(), &[&sync.as_str(), &source.db.as_str()]).await {
        Ok(row) if row.get("settled") => Ok(()),
        Ok(_) => Err(missing()),
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => Err(missing()),
        Err(error) => Err(source.failed("looking whether the sync is installed")(error)),
    }
}

/// Installs the database without a position that `missing` tells of. Afterwards the same work is worth another try,
/// but only one: a database that has lost its position gets no other one.
///
/// # Errors
///
/// `missing` itself, if it tells of something else, or the sync has one source, which does not expect the database: a
/// person has validated all of it, and has to see what became of it. [`RoundError::Join`]: the database cannot be installed.
pub(super) async fn join(sync: &SyncDetail, missing: RoundError) -> Result<(), RoundError> {
    let db = match &missing {
        RoundError::NoPosition { db, .. } => db.clone(),
        _ => return Err(missing),
    };
    match Box::pin(source::join(sync, &db)).await {
        Ok(None) => Err(missing),
        Ok(Some(validated)) => {
            tracing::info!(sync = %sync.name, %db, "the database is back and was installed");
            for warning in validated.warnings {
                tracing::warn!(sync = %sync.name, warning, "installed with a warning");
            }
            Ok(())
        }
        Err(source) => Err(RoundError::Join { db, source }),
    }
}
