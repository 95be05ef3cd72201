//! The rounds of a target that follows one of several sources.
//!
//! A merge leaves a delta row at every source that it writes to, so each source on its own tells a target everything.
//! The target stays with one of them, and moves on to the next when that cannot be reached; from its own position there.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use bucardo_actors::model::{DbName, Fault, Pair, Reason, RoundReport};
use bucardo_actors::ports::{Rounds, Watch};

use super::error::RoundError;
use super::hearsay;
use super::hooks::left;
use super::pair::PairSession;
use super::site::Site;
use crate::catalog::{Role, SyncDetail};
use crate::custom::Codes;
use crate::pg::causes;

/// The rounds of one target. Keeps its connections from one round to the next.
pub struct FollowSession {
    sync: Arc<SyncDetail>,
    target: DbName,
    /// The one that is followed comes first.
    sources: VecDeque<DbName>,
    pair: Option<PairSession>,
    /// For the next pair.
    codes: Option<Codes>,
    /// It is known which whole copy the target has made.
    knows_copy: bool,
}

impl FollowSession {
    /// Makes the rounds of one target; connecting is part of the first round. The sources are tried in order, but first
    /// the one that the target has followed before.
    #[must_use]
    pub fn new(sync: Arc<SyncDetail>, target: DbName, before: Option<&DbName>) -> Self {
        let mut sources: VecDeque<DbName> =
            sync.dbs(Role::Source).filter(|db| db.active).map(|db| db.name.clone()).collect();
        if let Some(place) = sources.iter().position(|source| Some(source) == before) {
            sources.rotate_left(place);
        }
        Self { sync, target, sources, pair: None, codes: None, knows_copy: false }
    }

    /// The same, with the custom codes of the sync.
    #[must_use]
    pub fn with_codes(mut self, codes: Option<Codes>) -> Self {
        self.codes = codes;
        self
    }

    /// The source that the last round has read; `None`: no round went well yet.
    #[must_use]
    pub fn source(&self) -> Option<&DbName> {
        self.pair.as_ref().and(self.sources.front())
    }

    async fn run(&mut self, reason: Reason, watch: &Watch) -> Result<RoundReport, RoundError> {
        self.look_for_copy().await?;
        let mut lost: Option<(DbName, RoundError)> = None;
        for _ in 0..self.sources.len() {
            let Some(source) = self.sources.front().cloned() else { break };
            let (sync, target) = (self.sync.name.clone(), self.target.clone());
            let pair = Pair { sync, source: source.clone(), target };
            if self.pair.is_none() {
                let codes = self.codes.take();
                self.pair = Some(PairSession::new(Arc::clone(&self.sync), pair).with_codes(codes));
            }
            let Some(session) = &mut self.pair else { break };
            match session.run(reason, watch).await {
                Ok(report) => {
                    if let Some((away, error)) = &lost {
                        let (sync, target, error) = (&self.sync.name, &self.target, causes(error));
                        tracing::warn!(%sync, db = %target, %away, %source, error, "the database follows another source");
                    }
                    if report.copied {
                        self.has_copied();
                    }
                    return Ok(report);
                }
                Err(error) if error.is_loss_of(&source) => {
                    self.codes = self.pair.take().and_then(PairSession::into_codes);
                    self.sources.rotate_left(1);
                    // Which of them is told does not matter, if trying again may help.
                    lost.get_or_insert((source, error));
                }
                Err(error) => return Err(error),
            }
        }
        let missing = || RoundError::NotInstalled { what: "an active source".to_owned(), db: self.target.clone() };
        Err(lost.map_or_else(missing, |(_, error)| error))
    }

    /// A whole copy that the target has from one source is not asked of another.
    async fn look_for_copy(&mut self) -> Result<(), RoundError> {
        if self.knows_copy || self.sync.onetimecopy == 0 {
            return Ok(());
        }
        let name = format!("bucardo KID {} ->{}", self.sync.name, self.target);
        let target = Site::of(&self.sync, &self.target, &name).await?;
        if hearsay::copied(&target, &self.sync, self.sources.make_contiguous()).await? >= self.sync.copy_request {
            self.has_copied();
        }
        self.knows_copy = true;
        Ok(())
    }

    fn has_copied(&mut self) {
        self.sync = Arc::new(SyncDetail { onetimecopy: 0, ..(*self.sync).clone() });
    }
}

impl Rounds for FollowSession {
    fn round<'a>(&'a mut self, reason: Reason, watch: Watch) -> BoxFuture<'a, Result<RoundReport, Fault>> {
        async move {
            let ended = Box::pin(self.run(reason, &watch)).await;
            let ended = left(&self.sync, ended).await;
            ended.map_err(|error| error.into_fault(self.sync.name.as_str()))
        }
        .boxed()
    }
}
