//! Transactions of others that a large merge would clash with.

use std::time::{Duration, Instant};

use futures_util::future::try_join_all;

use super::arm::{Look, News};
use super::round::{Merge, places};
use crate::engine::error::RoundError;

/// How long a large merge waits for transactions that may clash with it.
const WRITERS_WITHIN: Duration = Duration::from_millis(100);
const WRITERS_LOOK_EVERY: Duration = Duration::from_millis(5);

impl Merge<'_> {
    /// What a transaction changed that was in progress when a large merge took its snapshot would make that one start over
    /// when most of it is done. Ends the transactions and gives such ones a moment; returns whether it did.
    pub(super) async fn let_writers_end(&self, looks: &[Look], news: &[News]) -> Result<bool, RoundError> {
        let gets_many = |place: usize| news.iter().enumerate().any(|(at, news)| at != place && news.is_large());
        let at_risk = (0..self.arms.len()).filter(|at| gets_many(*at) && looks[*at].in_progress().next().is_some());
        let at_risk: Vec<usize> = at_risk.collect();
        if at_risk.is_empty() {
            return Ok(false);
        }
        try_join_all(self.arms.iter().map(|arm| arm.site.run("giving up a merge", "ROLLBACK"))).await?;
        let places: Vec<usize> = places(&self.arms, news).into_iter().collect();
        let began = Instant::now();
        while began.elapsed() < WRITERS_WITHIN {
            let asked = at_risk.iter().map(|at| self.arms[*at].has_writers(&places, &looks[*at]));
            if !try_join_all(asked).await?.contains(&true) {
                break;
            }
            tokio::time::sleep(WRITERS_LOOK_EVERY).await;
        }
        Ok(true)
    }
}
