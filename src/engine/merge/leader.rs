//! What decides the conflicts of a merge: the words of tables and sequences, and the source that leads all tables.

use std::cmp::Reverse;

use futures_util::future::try_join_all;

use super::arm::News;
use super::goat;
use super::lead::{self, Lead};
use super::round::Merge;
use super::strategy::{self, Strategy};
use crate::engine::error::RoundError;

impl Merge<'_> {
    /// How conflicts of a table are decided.
    pub(super) fn strategy(&self, place: usize) -> Result<Strategy, RoundError> {
        let goat = self.sync.tables().nth(place).and_then(|goat| goat.conflict_strategy.as_deref());
        let resolved = strategy::resolve(goat, &self.sync.conflict_strategy, "", self.names);
        resolved.map_err(|source| RoundError::Strategy { source })
    }

    /// What leads each sequence of the sync, with its name.
    pub(super) fn leads(&self) -> Result<Vec<(String, Lead)>, RoundError> {
        let lead = |goat: &crate::catalog::Goat| {
            let lead = lead::resolve(goat.conflict_strategy.as_deref(), self.names);
            Ok((goat.label(), lead.map_err(|source| RoundError::Strategy { source })?))
        };
        self.sync.sequences().map(lead).collect()
    }

    /// The source with the newest change over all tables.
    pub(super) async fn leader(&self, news: &[News]) -> Result<Option<u16>, RoundError> {
        let mut newest: Option<(i64, Reverse<u16>)> = None;
        for (arm, news) in self.arms.iter().zip(news) {
            let times = news.tables.keys().filter_map(|place| arm.tables.get(*place)).map(|table| {
                let sql = goat::newest(self.sync, table);
                async move {
                    let row = arm.site.conn.query_one(&sql, &[]).await;
                    let row = row.map_err(arm.site.failed("looking for the newest change"))?;
                    Ok::<_, RoundError>(row.get::<_, Option<i64>>("newest"))
                }
            });
            let time = try_join_all(times).await?.into_iter().flatten().max();
            newest = newest.max(time.map(|time| (time, Reverse(arm.place))));
        }
        Ok(newest.map(|(_, place)| place.0))
    }
}
