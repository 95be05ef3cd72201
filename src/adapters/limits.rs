//! So many KIDs at a time on a database: `sourcelimit` and `targetlimit` of `bucardo.db`.
//!
//! A KID takes its places on all limited databases that it works with before it connects, always in the same order, and
//! keeps them for its round; so a place is given back sooner or later, and nobody waits in a circle. Whoever waits for a
//! place is served in the order of coming.
//!
//! Between rounds a KID keeps its connections, and its places with them, for as long as nobody else wants one: it is
//! parked. Who needs a place that a parked KID has takes it, and that KID connects anew for its next round.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bucardo_actors::model::{DbName, Fault, KidId, Reason, RoundReport, Work};
use bucardo_actors::ports::{Rounds, Watch};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::replicator::SyncReplicator;
use crate::catalog::{Role, SyncDetail};

/// A KID that waits says this often that it is alive: others may be busy for long.
const SIGN_OF_LIFE_EVERY: Duration = Duration::from_secs(10);

/// On which side of a sync a database is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    Source,
    Target,
}

/// What is limited.
type Place = (DbName, Side);

/// The limited places that a KID needs, in the order in which all take them, each with its limit.
pub(super) fn places(sync: &SyncDetail, work: &Work) -> Vec<(Place, usize)> {
    let sources = || sync.dbs(Role::Source).filter(|db| db.active).map(|db| (db.name.clone(), Side::Source));
    let mut places: Vec<Place> = match work {
        Work::Pair { source, target } => vec![(source.clone(), Side::Source), (target.clone(), Side::Target)],
        // It may follow any of them.
        Work::Follow { target } => sources().chain([(target.clone(), Side::Target)]).collect(),
        Work::Merge => sources().collect(),
    };
    places.sort_unstable();
    let limit = |(name, side): &Place| {
        let db = sync.db(name)?;
        match side {
            Side::Source => db.sourcelimit,
            Side::Target => db.targetlimit,
        }
    };
    places.into_iter().filter_map(|place| limit(&place).map(|limit| (place, limit))).collect()
}

/// The places of all limited databases.
#[derive(Default)]
pub(super) struct Limits {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    gates: BTreeMap<Place, Gate>,
    /// The one that was parked first comes first.
    parked: VecDeque<Parked>,
}

struct Gate {
    limit: usize,
    free: Arc<Semaphore>,
    waiting: usize,
}

/// Connections of a KID between two rounds. They are closed before the places are given back.
struct Parked {
    kid: KidId,
    rounds: Box<dyn Rounds>,
    seats: Seats,
}

/// Places that are taken.
type Seats = Vec<(Place, OwnedSemaphorePermit)>;

/// Somebody who waits for a place; no longer, once it is dropped.
struct Waiting<'a> {
    limits: &'a Limits,
    place: &'a Place,
}

impl Limits {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn take(&self, wanted: &[(Place, usize)], watch: &Watch) -> Result<Seats, Fault> {
        let mut seats = Seats::with_capacity(wanted.len());
        for (place, limit) in wanted {
            let (free, _waiting) = self.queue(place, *limit);
            let seat = if let Ok(seat) = Arc::clone(&free).try_acquire_owned() {
                seat
            } else {
                watch.at(&format!("waiting for a place on database \"{}\" ({limit} at a time)", place.0)).await?;
                wait(free, watch).await?
            };
            seats.push((place.clone(), seat));
        }
        Ok(seats)
    }

    /// Joins those who wait. A parked KID gives its place up when there is no other.
    fn queue<'a>(&'a self, place: &'a Place, limit: usize) -> (Arc<Semaphore>, Waiting<'a>) {
        let mut state = self.state();
        let gate = state.gates.entry(place.clone()).or_insert_with(|| Gate::new(limit));
        if gate.limit != limit {
            // Who has a place of before keeps it for its round.
            *gate = Gate { waiting: gate.waiting, ..Gate::new(limit) };
        }
        gate.waiting += 1;
        let free = Arc::clone(&gate.free);
        let evicted = if free.available_permits() == 0 { state.evict(place) } else { None };
        drop(state);
        drop(evicted);
        (free, Waiting { limits: self, place })
    }

    /// Keeps the connections of a KID for its next round, unless somebody waits for one of its places.
    fn park(&self, parked: Parked) {
        let mut state = self.state();
        let is_wanted = |place: &Place| state.gates.get(place).is_some_and(|gate| gate.waiting > 0);
        if parked.seats.iter().any(|(place, _)| is_wanted(place)) {
            drop(state);
            drop(parked);
        } else {
            state.parked.push_back(parked);
        }
    }

    fn unpark(&self, kid: &KidId) -> Option<Parked> {
        let mut state = self.state();
        let place = state.parked.iter().position(|parked| parked.kid == *kid)?;
        state.parked.remove(place)
    }
}

impl State {
    fn evict(&mut self, place: &Place) -> Option<Parked> {
        let found = self.parked.iter().position(|parked| parked.seats.iter().any(|(taken, _)| taken == place))?;
        self.parked.remove(found)
    }
}

impl Gate {
    fn new(limit: usize) -> Self {
        Self { limit, free: Arc::new(Semaphore::new(limit)), waiting: 0 }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(gate) = self.limits.state().gates.get_mut(self.place) {
            gate.waiting = gate.waiting.saturating_sub(1);
        }
    }
}

async fn wait(free: Arc<Semaphore>, watch: &Watch) -> Result<OwnedSemaphorePermit, Fault> {
    let acquired = free.acquire_owned();
    tokio::pin!(acquired);
    let mut alive = tokio::time::interval(SIGN_OF_LIFE_EVERY);
    loop {
        tokio::select! {
            seat = &mut acquired => return seat.map_err(|_| Fault::transient("the limit of a database was taken away")),
            () = watch.stop().cancelled() => return Err(Fault::transient("asked to stop while it waited for a place")),
            _ = alive.tick() => watch.moved(1),
        }
    }
}

/// Rounds of a KID that needs places.
pub(super) struct Limited {
    kid: KidId,
    wanted: Vec<(Place, usize)>,
    limits: Arc<Limits>,
    sync: Arc<SyncDetail>,
    replicator: SyncReplicator,
}

impl Limited {
    pub(super) fn new(
        kid: KidId,
        wanted: Vec<(Place, usize)>,
        limits: Arc<Limits>,
        sync: Arc<SyncDetail>,
        replicator: SyncReplicator,
    ) -> Self {
        Self { kid, wanted, limits, sync, replicator }
    }
}

impl Rounds for Limited {
    fn round<'a>(&'a mut self, reason: Reason, watch: Watch) -> BoxFuture<'a, Result<RoundReport, Fault>> {
        async move {
            let mut parked = match self.limits.unpark(&self.kid) {
                Some(parked) => parked,
                None => {
                    let seats = self.limits.take(&self.wanted, &watch).await?;
                    let rounds = self.replicator.unlimited(Arc::clone(&self.sync), &self.kid);
                    Parked { kid: self.kid.clone(), rounds, seats }
                }
            };
            let report = parked.rounds.round(reason, watch).await?;
            self.limits.park(parked);
            Ok(report)
        }
        .boxed()
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        drop(self.limits.unpark(&self.kid));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bucardo_actors::model::Pair;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Rounds that count how many are open.
    struct Open(Arc<AtomicUsize>);

    impl Open {
        fn new(count: &Arc<AtomicUsize>) -> Box<Self> {
            count.fetch_add(1, Ordering::SeqCst);
            Box::new(Self(Arc::clone(count)))
        }
    }

    impl Drop for Open {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }

    impl Rounds for Open {
        fn round(&mut self, _: Reason, _: Watch) -> BoxFuture<'_, Result<RoundReport, Fault>> {
            async { Ok(RoundReport::default()) }.boxed()
        }
    }

    fn kid(target: &str) -> KidId {
        Pair { sync: "s".into(), source: "A".into(), target: target.into() }.into()
    }

    fn a() -> Place {
        ("A".into(), Side::Source)
    }

    #[tokio::test]
    async fn a_parked_kid_gives_its_place_to_who_needs_it_and_its_connections_are_closed_first() {
        let (limits, open, watch) = (Limits::default(), Arc::new(AtomicUsize::new(0)), Watch::default());
        let wanted = [(a(), 1)];
        let seats = limits.take(&wanted, &watch).await.unwrap();
        limits.park(Parked { kid: kid("B"), rounds: Open::new(&open), seats });
        assert_eq!(open.load(Ordering::SeqCst), 1, "nobody waits: the connections are kept");

        let seats = limits.take(&wanted, &watch).await.unwrap();
        assert_eq!(open.load(Ordering::SeqCst), 0);
        assert!(limits.unpark(&kid("B")).is_none());

        // Whoever waits is not passed over by who parks.
        let waiter = limits.take(&wanted, &watch);
        tokio::pin!(waiter);
        assert!(waiter.as_mut().now_or_never().is_none());
        limits.park(Parked { kid: kid("C"), rounds: Open::new(&open), seats });
        assert_eq!(open.load(Ordering::SeqCst), 0);
        waiter.await.unwrap();
    }

    /// One that gives up waiting must not keep others from parking for ever.
    #[tokio::test]
    async fn who_is_cancelled_waits_no_longer() {
        let (limits, open, watch) = (Limits::default(), Arc::new(AtomicUsize::new(0)), Watch::default());
        let wanted = [(a(), 1)];
        let seats = limits.take(&wanted, &watch).await.unwrap();
        watch.stop().cancel();
        limits.take(&wanted, &watch).await.unwrap_err();
        limits.park(Parked { kid: kid("B"), rounds: Open::new(&open), seats });
        assert!(limits.unpark(&kid("B")).is_some());
    }

    /// Two that need the same two places in either order of their sync would wait for each other.
    #[tokio::test]
    async fn many_that_need_several_places_all_get_them() {
        let limits = Arc::new(Limits::default());
        let places = [("A", Side::Source), ("B", Side::Source), ("B", Side::Target), ("C", Side::Target)];
        let busy = Arc::new(AtomicUsize::new(0));
        let mut tasks = Vec::new();
        for number in 0..60 {
            let mut wanted: Vec<_> = places.iter().map(|(db, side)| (((*db).into(), *side), 1)).collect();
            wanted.remove(number % places.len());
            let (limits, busy) = (Arc::clone(&limits), Arc::clone(&busy));
            tasks.push(tokio::spawn(async move {
                for _ in 0..20 {
                    let seats = limits.take(&wanted, &Watch::default()).await.unwrap();
                    // Three of four places each: no two at a time.
                    assert_eq!(busy.fetch_add(1, Ordering::SeqCst), 0);
                    tokio::task::yield_now().await;
                    busy.fetch_sub(1, Ordering::SeqCst);
                    drop(seats);
                }
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
    }
}
