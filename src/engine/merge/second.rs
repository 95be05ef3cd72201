//! A second session of each source in a large merge. It sees what the first one sees, and reads changes and the
//! winners' rows while the first one writes versions and the rows of others: all go all ways at once.

use futures_util::future::{join_all, try_join_all};

use super::arm::{Arm, SESSION};
use super::goat::Goat;
use super::round::Merge;
use crate::catalog::SyncDetail;
use crate::engine::error::RoundError;
use crate::engine::site::Site;
use crate::pg::{Sql, SqlFile, causes};

const EXPORT: SqlFile = SqlFile::new(include_str!("../../../sql/merge/export.sql"));
const BEGIN: SqlFile = SqlFile::new(include_str!("../../../sql/merge/begin_second.sql"));

impl Merge<'_> {
    /// Begins with second sessions at all sources, unless the first ones hold locks, have to see who reads, or may have
    /// rows that custom codes changed in them. Without them
    /// rows go one way after the other, so that it is no harm when they cannot be had.
    pub(super) async fn open_second(&mut self) -> Result<(), RoundError> {
        let sync = self.sync;
        if sync.serializable || sync.lock.is_some() || self.hooks.is_some() {
            return Ok(());
        }
        let exported = try_join_all(self.arms.iter().map(|arm| async {
            let row = arm.site.conn.query_one(EXPORT.text(), &[]).await;
            Ok::<_, RoundError>(row.map_err(arm.site.failed("exporting the snapshot"))?.get::<_, String>("snapshot"))
        }));
        let exported = exported.await?;
        let opened =
            join_all(self.arms.iter_mut().zip(exported).map(|(arm, snapshot)| open(sync, arm, snapshot))).await;
        self.has_second = opened.iter().all(Result::is_ok);
        for error in opened.into_iter().filter_map(Result::err) {
            tracing::info!(sync = %sync.name, why = causes(&error), "a large merge goes on without a second session");
        }
        Ok(())
    }

    /// Locks a table and its log in the second sessions, so that reading them waits for nobody.
    pub(super) async fn lock_second(&mut self, goat: &Goat) {
        if !self.has_second {
            return;
        }
        let locks = self.arms.iter().zip(&goat.at).filter_map(|(arm, at)| {
            let second = arm.second.as_ref()?;
            Some(second.run("locking a table", &at.second.lock))
        });
        if let Err(error) = try_join_all(locks).await {
            tracing::info!(sync = %self.sync.name, table = goat.label, why = causes(&error), "a large merge goes on without a second session");
            self.has_second = false;
        }
    }

    /// Ends the second sessions' transactions, before anything is committed.
    pub(super) async fn close_second(&mut self) {
        if !std::mem::take(&mut self.has_second) {
            self.arms.iter_mut().for_each(|arm| arm.second = None);
            return;
        }
        join_all(self.arms.iter_mut().map(async |arm| {
            let Some(second) = arm.second.take() else { return };
            if second.run("ending a transaction", "COMMIT").await.is_ok() {
                arm.second = Some(second);
            }
        }))
        .await;
    }
}

async fn open(sync: &SyncDetail, arm: &mut Arm, snapshot: String) -> Result<(), RoundError> {
    let second = match arm.second.take() {
        Some(second) if !second.conn.is_closed() => second,
        _ => {
            let second = Site::spare(sync, &arm.site.db, &format!("bucardo KID {} merge", sync.name)).await?;
            second.run("setting up the session", SESSION.text()).await?;
            second
        }
    };
    second.run("taking over the snapshot", &BEGIN.fill(&[("snapshot", &Sql::literal(&snapshot))])).await?;
    arm.second = Some(second);
    Ok(())
}
