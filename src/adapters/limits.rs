//! So many sessions at a time on a database: `sourcelimit` and `targetlimit` of `bucardo.db`.
//!
//! A KID takes the places that it needs on all limited databases before it connects, always in the same order, and has
//! no session open while it waits; so a place is given back sooner or later, and nobody waits in a circle. Whoever waits
//! for a place is served in the order of coming.
//!
//! Between rounds a KID keeps its sessions, and its places with them, for as long as nobody else wants one: it is
//! parked. Who needs a place that a parked KID has takes it, and that KID connects anew for its next round.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bucardo_actors::model::{DbName, Fault, KidId, Work};
use bucardo_actors::ports::{Rounds, Watch};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

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
pub(super) type Place = (DbName, Side);

/// How many sessions a KID needs on limited places, which all take in this order.
pub(super) type Needs = BTreeMap<Place, usize>;

/// The place of a database in a sync.
pub(super) fn place(sync: &SyncDetail, db: &DbName) -> Option<Place> {
    let side = if sync.role(db)? == Role::Source { Side::Source } else { Side::Target };
    Some((db.clone(), side))
}

/// How many sessions a place may have; `None`: any number.
pub(super) fn limit(sync: &SyncDetail, (name, side): &Place) -> Option<usize> {
    let db = sync.db(name)?;
    match side {
        Side::Source => db.sourcelimit,
        Side::Target => db.targetlimit,
    }
}

/// What a KID needs to begin with: one session wherever it may have to connect.
pub(super) fn needs(sync: &SyncDetail, work: &Work) -> Needs {
    let sources = || sync.dbs(Role::Source).filter(|db| db.active).map(|db| db.name.clone());
    let dbs: Vec<DbName> = match work {
        Work::Pair { source, target } => vec![source.clone(), target.clone()],
        // It may follow any of them.
        Work::Follow { target } => sources().chain([target.clone()]).collect(),
        Work::Merge => sources().collect(),
    };
    let places = dbs.iter().filter_map(|db| place(sync, db));
    places.filter(|place| limit(sync, place).is_some()).map(|place| (place, 1)).collect()
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

/// Sessions of a KID between two rounds. Each gives its place back when it is closed.
pub(super) struct Parked {
    pub(super) kid: KidId,
    pub(super) rounds: Box<dyn Rounds>,
    /// Where it has sessions.
    pub(super) places: Vec<Place>,
}

/// Places that are taken.
pub(super) type Seats = Vec<(Place, OwnedSemaphorePermit)>;

/// Somebody who waits for a place; no longer, once it is dropped.
struct Waiting<'a> {
    limits: &'a Limits,
    place: &'a Place,
}

impl Limits {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes everything that is needed; of the places whose limit the catalog has raised or lowered meanwhile, by the new one.
    pub(super) async fn take(&self, sync: &SyncDetail, needs: &Needs, watch: &Watch) -> Result<Seats, Fault> {
        let limited = needs.iter().filter_map(|(place, count)| Some((place, *count, limit(sync, place)?)));
        self.take_all(limited, watch).await
    }

    async fn take_all(
        &self,
        needs: impl Iterator<Item = (&Place, usize, usize)>,
        watch: &Watch,
    ) -> Result<Seats, Fault> {
        let mut seats = Seats::new();
        for (place, count, limit) in needs {
            // All of a place at once: two that have a part each would wait for each other.
            let wanted = u32::try_from(count.min(limit)).unwrap_or(u32::MAX);
            let (free, _waiting) = self.queue(place, limit, wanted);
            let mut taken = if let Ok(taken) = Arc::clone(&free).try_acquire_many_owned(wanted) {
                taken
            } else {
                watch.at(&format!("waiting for a place on database \"{}\" ({limit} at a time)", place.0)).await?;
                wait(free, wanted, watch).await?
            };
            while let Some(seat) = taken.split(1) {
                seats.push((place.clone(), seat));
            }
        }
        Ok(seats)
    }

    /// One more place, if one is free and nobody waits for it.
    pub(super) fn try_take(&self, place: &Place, limit: usize) -> Option<OwnedSemaphorePermit> {
        let mut state = self.state();
        let gate = state.gates.entry(place.clone()).or_insert_with(|| Gate::new(limit));
        if gate.waiting > 0 {
            return None;
        }
        Arc::clone(&gate.free).try_acquire_owned().ok()
    }

    /// Joins those who wait. Parked KIDs give their places up when there are not enough others.
    fn queue<'a>(&'a self, place: &'a Place, limit: usize, wanted: u32) -> (Arc<Semaphore>, Waiting<'a>) {
        let mut state = self.state();
        let gate = state.gates.entry(place.clone()).or_insert_with(|| Gate::new(limit));
        if gate.limit != limit {
            // Who has a place of before keeps it for its round.
            *gate = Gate { waiting: gate.waiting, ..Gate::new(limit) };
        }
        gate.waiting += 1;
        let free = Arc::clone(&gate.free);
        drop(state);
        let enough = || free.available_permits() >= usize::try_from(wanted).unwrap_or(usize::MAX);
        while !enough() {
            let evicted = self.state().evict(place);
            // Its sessions are closed outside of the lock: they give their places back.
            if evicted.is_none() {
                break;
            }
        }
        (free, Waiting { limits: self, place })
    }

    /// Keeps the connections of a KID for its next round, unless somebody waits for one of its places.
    pub(super) fn park(&self, parked: Parked) {
        let mut state = self.state();
        let is_wanted = |place: &Place| state.gates.get(place).is_some_and(|gate| gate.waiting > 0);
        if parked.places.iter().any(is_wanted) {
            drop(state);
            drop(parked);
        } else {
            state.parked.push_back(parked);
        }
    }

    pub(super) fn unpark(&self, kid: &KidId) -> Option<Box<dyn Rounds>> {
        let mut state = self.state();
        let place = state.parked.iter().position(|parked| parked.kid == *kid)?;
        state.parked.remove(place).map(|parked| parked.rounds)
    }
}

impl State {
    fn evict(&mut self, place: &Place) -> Option<Parked> {
        let found = self.parked.iter().position(|parked| parked.places.contains(place))?;
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

async fn wait(free: Arc<Semaphore>, wanted: u32, watch: &Watch) -> Result<OwnedSemaphorePermit, Fault> {
    let acquired = free.acquire_many_owned(wanted);
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

#[cfg(test)]
mod tests {
    use super::*;
    use bucardo_actors::model::{Pair, Reason, RoundReport};
    use futures_util::FutureExt;
    use futures_util::future::BoxFuture;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Rounds that have a place each, and count how many are open.
    struct Open {
        count: Arc<AtomicUsize>,
        _seats: Seats,
    }

    impl Drop for Open {
        fn drop(&mut self) {
            self.count.fetch_sub(1, Ordering::SeqCst);
        }
    }

    impl Rounds for Open {
        fn round(&mut self, _: Reason, _: Watch) -> BoxFuture<'_, Result<RoundReport, Fault>> {
            async { Ok(RoundReport::default()) }.boxed()
        }
    }

    fn parked(target: &str, open: &Arc<AtomicUsize>, seats: Seats) -> Parked {
        open.fetch_add(1, Ordering::SeqCst);
        let places = seats.iter().map(|(place, _)| place.clone()).collect();
        Parked { kid: kid(target), rounds: Box::new(Open { count: Arc::clone(open), _seats: seats }), places }
    }

    fn kid(target: &str) -> KidId {
        Pair { sync: "s".into(), source: "A".into(), target: target.into() }.into()
    }

    fn a() -> Place {
        ("A".into(), Side::Source)
    }

    async fn take(limits: &Limits, wanted: &[(Place, usize, usize)], watch: &Watch) -> Result<Seats, Fault> {
        limits.take_all(wanted.iter().map(|(place, count, limit)| (place, *count, *limit)), watch).await
    }

    #[tokio::test]
    async fn a_parked_kid_gives_its_place_to_who_needs_it_and_its_connections_are_closed_first() {
        let (limits, open, watch) = (Limits::default(), Arc::new(AtomicUsize::new(0)), Watch::default());
        let wanted = [(a(), 1, 1)];
        let seats = take(&limits, &wanted, &watch).await.unwrap();
        limits.park(parked("B", &open, seats));
        assert_eq!(open.load(Ordering::SeqCst), 1, "nobody waits: the connections are kept");

        let seats = take(&limits, &wanted, &watch).await.unwrap();
        assert_eq!(open.load(Ordering::SeqCst), 0);
        assert!(limits.unpark(&kid("B")).is_none());

        // Whoever waits is not passed over by who parks, nor by who would only like to have one.
        let waiter = take(&limits, &wanted, &watch);
        tokio::pin!(waiter);
        assert!(waiter.as_mut().now_or_never().is_none());
        assert!(limits.try_take(&a(), 1).is_none());
        limits.park(parked("C", &open, seats));
        assert_eq!(open.load(Ordering::SeqCst), 0);
        waiter.await.unwrap();
    }

    /// Who needs several places gets them from several parked KIDs, and only as many as it needs.
    #[tokio::test]
    async fn as_many_parked_kids_give_way_as_are_needed() {
        let (limits, open, watch) = (Limits::default(), Arc::new(AtomicUsize::new(0)), Watch::default());
        for target in ["B", "C", "D"] {
            let seats = take(&limits, &[(a(), 1, 3)], &watch).await.unwrap();
            limits.park(parked(target, &open, seats));
        }
        let seats = take(&limits, &[(a(), 2, 3)], &watch).await.unwrap();
        assert_eq!((open.load(Ordering::SeqCst), seats.len()), (1, 2));
        assert!(limits.try_take(&a(), 3).is_none(), "one that is parked is not driven out by a mere wish");
        drop(seats);
        assert!(limits.try_take(&a(), 3).is_some());
    }

    /// One that gives up waiting must not keep others from parking for ever.
    #[tokio::test]
    async fn who_is_cancelled_waits_no_longer() {
        let (limits, open, watch) = (Limits::default(), Arc::new(AtomicUsize::new(0)), Watch::default());
        let wanted = [(a(), 1, 1)];
        let seats = take(&limits, &wanted, &watch).await.unwrap();
        watch.stop().cancel();
        take(&limits, &wanted, &watch).await.unwrap_err();
        limits.park(parked("B", &open, seats));
        assert!(limits.unpark(&kid("B")).is_some());
    }

    /// Two that need the same two places in either order of their sync would wait for each other; so would two that need
    /// two sessions on one place, and have one each.
    #[tokio::test]
    async fn many_that_need_several_places_all_get_them() {
        let limits = Arc::new(Limits::default());
        let places = [("A", Side::Source), ("B", Side::Source), ("B", Side::Target), ("C", Side::Target)];
        let busy = Arc::new(AtomicUsize::new(0));
        let mut tasks = Vec::new();
        for number in 0..60 {
            let mut wanted: Vec<_> = places.iter().map(|(db, side)| (((*db).into(), *side), 2, 2)).collect();
            wanted.remove(number % places.len());
            let (limits, busy) = (Arc::clone(&limits), Arc::clone(&busy));
            tasks.push(tokio::spawn(async move {
                for _ in 0..20 {
                    let seats = take(&limits, &wanted, &Watch::default()).await.unwrap();
                    // Three of four places each: no two at a time.
                    assert_eq!((seats.len(), busy.fetch_add(1, Ordering::SeqCst)), (6, 0));
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
