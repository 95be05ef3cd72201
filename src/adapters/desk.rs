//! The sessions of one KID: how many it has where, and what it needs to begin a round.
//!
//! A KID takes what its rounds need before it connects, so nobody waits with sessions open. When a round turns out to
//! need one more (a whole copy, a merge of many rows), and there is none to be had at once, everything it has is closed
//! and the round is run again with one more from the beginning.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bucardo_actors::model::{DbName, Fault, KidId, Reason, RoundReport};
use bucardo_actors::ports::{Rounds, Watch};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::OwnedSemaphorePermit;
use tracing::debug;

use super::limits::{Limits, Needs, Parked, Place, Seats, limit, needs, place};
use super::memory::{Memory, needed};
use super::replicator::SyncReplicator;
use crate::catalog::SyncDetail;
use crate::catalog::runs::Session;
use crate::engine::{Host, Seat, hosted};

/// So often a round is run again with more sessions.
const TRIES_MAX: usize = 8;

/// What a KID has open.
pub(super) struct Desk {
    sync: Arc<SyncDetail>,
    limits: Arc<Limits>,
    book: Arc<Mutex<Book>>,
}

#[derive(Default)]
struct Book {
    /// Places that were taken for this round, and are not used yet.
    reserve: Seats,
    /// Sessions of each limited place.
    used: BTreeMap<Place, usize>,
    open: BTreeMap<u64, Session>,
    last: u64,
    /// Most sessions that it has had at a time in the present round.
    most: usize,
    /// Where one more session was needed and not to be had, and how many would have been enough.
    lacks: Option<(Place, usize)>,
}

/// The place of a session.
struct Chair {
    book: Arc<Mutex<Book>>,
    db: DbName,
    number: u64,
    place: Option<(Place, OwnedSemaphorePermit)>,
}

fn lock(book: &Mutex<Book>) -> MutexGuard<'_, Book> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Desk {
    fn new(sync: Arc<SyncDetail>, limits: Arc<Limits>) -> Self {
        Self { sync, limits, book: Arc::default() }
    }

    /// The sessions that are open now.
    pub(super) fn sessions(&self) -> Vec<Session> {
        lock(&self.book).open.values().cloned().collect()
    }

    /// What a round of it takes: as much as the last one, and two sessions at least.
    fn memory(&self) -> u64 {
        let mut book = lock(&self.book);
        let sessions = std::mem::take(&mut book.most).max(book.open.len()).max(2);
        needed(sessions)
    }

    fn reserve(&self, seats: Seats) {
        lock(&self.book).reserve = seats;
    }

    /// A round is over: gives back what it did not use. Returns where it lacked a session, and how many it needs there.
    fn end(&self) -> Option<(Place, usize)> {
        let mut book = lock(&self.book);
        book.reserve.clear();
        book.lacks.take()
    }

    /// The limited places where it has sessions.
    fn places(&self) -> Vec<Place> {
        lock(&self.book).used.iter().filter(|(_, used)| **used > 0).map(|(place, _)| place.clone()).collect()
    }
}

impl Host for Desk {
    fn seat(&self, db: &DbName, is_needed: bool) -> Result<Box<dyn Seat>, usize> {
        let limited = place(&self.sync, db).and_then(|place| Some((limit(&self.sync, &place)?, place)));
        let mut book = lock(&self.book);
        let taken = match limited {
            None => None,
            Some((limit, place)) => {
                let reserved = book.reserve.iter().position(|(kept, _)| *kept == place);
                let permit = match reserved {
                    Some(found) => Some(book.reserve.swap_remove(found).1),
                    None => self.limits.try_take(&place, limit),
                };
                let Some(permit) = permit else {
                    if is_needed {
                        let used = book.used.get(&place).copied().unwrap_or_default();
                        book.lacks = Some((place, used + 1));
                    }
                    return Err(limit);
                };
                *book.used.entry(place.clone()).or_default() += 1;
                Some((place, permit))
            }
        };
        book.last += 1;
        Ok(Box::new(Chair { book: Arc::clone(&self.book), db: db.clone(), number: book.last, place: taken }))
    }

    fn most(&self, db: &DbName) -> usize {
        place(&self.sync, db).and_then(|place| limit(&self.sync, &place)).unwrap_or(usize::MAX)
    }
}

impl Seat for Chair {
    fn taken(&mut self, backend: i32) {
        let session = Session { db: self.db.to_string(), backend, since: SystemTime::now() };
        let mut book = lock(&self.book);
        book.open.insert(self.number, session);
        book.most = book.most.max(book.open.len());
    }
}

impl Drop for Chair {
    fn drop(&mut self) {
        let mut book = lock(&self.book);
        book.open.remove(&self.number);
        if let Some(used) = self.place.as_ref().and_then(|(place, _)| book.used.get_mut(place)) {
            *used = used.saturating_sub(1);
        }
    }
}

/// Rounds of a KID whose sessions are counted, and limited where a database is.
pub(super) struct Hosted {
    kid: KidId,
    sync: Arc<SyncDetail>,
    limits: Arc<Limits>,
    replicator: SyncReplicator,
    desk: Arc<Desk>,
    needs: Needs,
    memory: Arc<Memory>,
    /// Those of a KID without limits, between its rounds; others are parked.
    rounds: Option<Box<dyn Rounds>>,
}

impl Hosted {
    pub(super) fn new(
        kid: KidId,
        sync: Arc<SyncDetail>,
        (limits, memory): (Arc<Limits>, Arc<Memory>),
        replicator: SyncReplicator,
    ) -> Self {
        let desk = Arc::new(Desk::new(Arc::clone(&sync), Arc::clone(&limits)));
        Self { needs: needs(&sync, &kid.work), kid, sync, limits, replicator, desk, memory, rounds: None }
    }

    pub(super) fn desk(&self) -> &Arc<Desk> {
        &self.desk
    }

    async fn rounds(&mut self, watch: &Watch) -> Result<Box<dyn Rounds>, Fault> {
        let kept = self.rounds.take().or_else(|| self.limits.unpark(&self.kid));
        if let Some(rounds) = kept {
            return Ok(rounds);
        }
        self.desk.reserve(self.limits.take(&self.sync, &self.needs, watch).await?);
        Ok(self.replicator.unlimited(Arc::clone(&self.sync), &self.kid))
    }

    fn keep(&mut self, rounds: Box<dyn Rounds>) {
        if self.needs.is_empty() {
            self.rounds = Some(rounds);
        } else {
            self.limits.park(Parked { kid: self.kid.clone(), rounds, places: self.desk.places() });
        }
    }

    async fn run(&mut self, reason: Reason, watch: &Watch) -> Result<RoundReport, Fault> {
        // Before anything is open, or kept from being taken by others.
        let _share = self.memory.take(self.desk.memory(), watch).await?;
        let first = self.needs.clone();
        for _ in 0..TRIES_MAX {
            let mut rounds = self.rounds(watch).await?;
            let host: Arc<dyn Host> = Arc::clone(&self.desk) as Arc<dyn Host>;
            let ended = hosted(host, rounds.round(reason, watch.clone())).await;
            let lacks = self.desk.end();
            let fault = match ended {
                Ok(report) => {
                    self.keep(rounds);
                    self.needs = first;
                    return Ok(report);
                }
                Err(fault) => fault,
            };
            drop(rounds);
            match lacks {
                Some((place, needed)) if limit(&self.sync, &place).is_some_and(|limit| needed <= limit) => {
                    debug!(kid = %self.kid, db = %place.0, needed, "the round is run again with more sessions");
                    let before = self.needs.entry(place).or_default();
                    *before = needed.max(*before);
                }
                _ => return Err(fault),
            }
        }
        Err(Fault::transient("others had every session that the round needed, again and again"))
    }
}

impl Rounds for Hosted {
    fn round<'a>(&'a mut self, reason: Reason, watch: Watch) -> BoxFuture<'a, Result<RoundReport, Fault>> {
        async move { self.run(reason, &watch).await }.boxed()
    }
}

impl Drop for Hosted {
    fn drop(&mut self) {
        drop(self.limits.unpark(&self.kid));
    }
}
