//! The children of a parent: started, asked how they are, buried, and started again as their [`Care`] says.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use actix::prelude::*;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::health::Pulse;
use crate::lifeline::{Key, Lifeline};
use crate::messages::{ChildExited, Ping, Pong, Stop};
use crate::policy::{Care, Exit, Ledger, Verdict};

/// How a child stands with its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Not known.
    Absent,
    /// Alive.
    Running,
    /// Alive, and asked to end.
    Stopping,
    /// Ended; started again soon.
    Waiting,
    /// Ended; started again rarely.
    Stalled,
}

/// The children of one kind that a parent has, by key.
pub struct Nursery<K: Key, C: Actor> {
    care: Care,
    own_cares: BTreeMap<K, Care>,
    stop: CancellationToken,
    generation: u64,
    children: BTreeMap<K, Child<C>>,
}

struct Child<C: Actor> {
    generation: u64,
    ledger: Ledger,
    state: State<C>,
}

enum State<C: Actor> {
    Alive { addr: Addr<C>, stop: CancellationToken, pulse: Pulse, stopping: bool },
    Ended { stalled: bool, timer: Option<SpawnHandle> },
}

impl<K: Key, C: Actor<Context = Context<C>> + Handler<Ping> + Handler<Stop>> Nursery<K, C> {
    /// An empty nursery. Whoever cancels `stop` ends all children.
    #[must_use]
    pub fn new(care: Care, stop: CancellationToken) -> Self {
        Self { care, own_cares: BTreeMap::new(), stop, generation: 0, children: BTreeMap::new() }
    }

    /// The child, if it is alive and may be given work.
    #[must_use]
    pub fn get(&self, key: &K) -> Option<&Addr<C>> {
        match &self.children.get(key)?.state {
            State::Alive { addr, stopping: false, .. } => Some(addr),
            _ => None,
        }
    }

    /// How the child stands.
    #[must_use]
    pub fn standing(&self, key: &K) -> Standing {
        match self.children.get(key).map(|child| &child.state) {
            None => Standing::Absent,
            Some(State::Alive { stopping: false, .. }) => Standing::Running,
            Some(State::Alive { stopping: true, .. }) => Standing::Stopping,
            Some(State::Ended { stalled: false, .. }) => Standing::Waiting,
            Some(State::Ended { stalled: true, .. }) => Standing::Stalled,
        }
    }

    /// Whether news of this incarnation still counts.
    #[must_use]
    pub fn is_current(&self, key: &K, generation: u64) -> bool {
        self.children
            .get(key)
            .is_some_and(|child| child.generation == generation && matches!(child.state, State::Alive { .. }))
    }

    /// All keys.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.children.keys()
    }

    /// No child, alive or waiting.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.children.is_empty()
    }

    /// The policy from now on, for children that have none of their own.
    pub fn set_care(&mut self, care: Care) {
        self.care = care;
    }

    /// The policy for one child from now on. How often it is asked how it is stays the same for all.
    pub fn set_care_of(&mut self, key: K, care: Care) {
        self.own_cares.insert(key, care);
    }

    fn care(&self, key: &K) -> Care {
        self.own_cares.get(key).copied().unwrap_or(self.care)
    }

    /// The child's work went well; true if it had been in trouble before.
    pub fn succeeded(&mut self, key: &K) -> bool {
        self.children.get_mut(key).is_some_and(|child| child.ledger.succeeded())
    }

    /// Asks the child to end within `grace`; one that only waits to be started is forgotten.
    pub fn stop(&mut self, key: &K, grace: Duration) {
        let Some(child) = self.children.get_mut(key) else { return };
        match &mut child.state {
            State::Alive { addr, stopping, .. } => {
                *stopping = true;
                addr.do_send(Stop { grace });
            }
            State::Ended { .. } => {
                self.children.remove(key);
            }
        }
    }

    /// The child gets no more work, and is expected to end by itself; its address, if it was alive.
    pub fn let_go(&mut self, key: &K) -> Option<Addr<C>> {
        match &mut self.children.get_mut(key)?.state {
            State::Alive { addr, stopping, .. } => {
                *stopping = true;
                Some(addr.clone())
            }
            State::Ended { .. } => None,
        }
    }

    /// A child that was let go, and has not ended, is given work again; its address, if it is that one.
    pub fn take_back(&mut self, key: &K, generation: u64) -> Option<Addr<C>> {
        let child = self.children.get_mut(key).filter(|child| child.generation == generation)?;
        match &mut child.state {
            State::Alive { addr, stopping, .. } => {
                *stopping = false;
                Some(addr.clone())
            }
            State::Ended { .. } => None,
        }
    }

    /// Asks all children to end within `grace`.
    pub fn stop_all(&mut self, grace: Duration) {
        for key in self.children.keys().cloned().collect::<Vec<_>>() {
            self.stop(&key, grace);
        }
    }

    fn admit(&mut self, key: &K, parent: Recipient<ChildExited<K>>) -> Lifeline<K> {
        self.generation += 1;
        Lifeline::new(key.clone(), self.generation, parent, self.stop.child_token())
    }

    /// Settles the end of a child; the verdict on one that was asked to end is always to forget it.
    fn bury(&mut self, key: &K, exit: &Exit, now: Instant) -> (u64, Verdict) {
        let generation = self.generation + 1;
        self.generation = generation;
        let care = self.care(key);
        let child = self.children.entry(key.clone()).or_insert_with(|| Child {
            generation,
            ledger: Ledger::default(),
            state: State::Ended { stalled: false, timer: None },
        });
        child.generation = generation; // later news of this incarnation does not count
        if let State::Alive { stop, .. } = &child.state {
            stop.cancel();
        }
        let verdict = match &child.state {
            State::Alive { stopping: true, .. } => Verdict::Forget,
            _ => child.ledger.settle(&care, exit, now, luck()),
        };
        match verdict {
            Verdict::Forget => {
                self.children.remove(key);
            }
            Verdict::Restart { .. } => child.state = State::Ended { stalled: false, timer: None },
            Verdict::Stall { .. } => child.state = State::Ended { stalled: true, timer: None },
        }
        (generation, verdict)
    }
}

/// A random number of 0 to 999: the seeds of hash maps are random.
fn luck() -> u32 {
    let random = RandomState::new().build_hasher().finish();
    u32::try_from(random % 1000).unwrap_or_default()
}

/// An actor with children named by `K`.
pub trait Parent<K: Key>: Actor<Context = Context<Self>> + Handler<ChildExited<K>> {
    /// The children.
    type Child: Actor<Context = Context<Self::Child>> + Handler<Ping> + Handler<Stop>;

    /// Where they are kept.
    fn nursery(&mut self) -> &mut Nursery<K, Self::Child>;

    /// Starts a child. Cannot fail: what can fail is work of the child.
    fn give_birth(&mut self, key: &K, life: Lifeline<K>, ctx: &mut Context<Self>) -> Addr<Self::Child>;

    /// A child ended, and this will be done about it: log it, show it.
    fn on_verdict(&mut self, key: &K, exit: &Exit, verdict: Verdict, ctx: &mut Context<Self>);

    /// The wait before a restart, or before another try of a stalled child, is over.
    fn revive(&mut self, key: &K, ctx: &mut Context<Self>) {
        self.start_child(key, ctx);
    }

    /// Starts a child, now, whether it is new, waits or is stalled. One that is alive is left alone.
    fn start_child(&mut self, key: &K, ctx: &mut Context<Self>) {
        let parent = ctx.address().recipient();
        let ledger = match self.nursery().children.remove(key) {
            Some(Child { state: State::Ended { timer, .. }, ledger, .. }) => {
                timer.map(|timer| ctx.cancel_future(timer));
                ledger
            }
            Some(alive) => {
                self.nursery().children.insert(key.clone(), alive);
                return;
            }
            None => Ledger::default(),
        };
        let life = self.nursery().admit(key, parent);
        let (generation, stop) = (life.generation(), life.stop().clone());
        let addr = self.give_birth(key, life, ctx);
        let state = State::Alive { addr, stop, pulse: Pulse::new(Instant::now()), stopping: false };
        self.nursery().children.insert(key.clone(), Child { generation, ledger, state });
    }

    /// Handles [`ChildExited`].
    fn child_exited(&mut self, news: &ChildExited<K>, ctx: &mut Context<Self>) {
        if self.nursery().is_current(&news.key, news.generation) {
            self.settle(&news.key, &news.exit, ctx);
        }
    }

    /// Applies the policy to a child that ended, could not even be started, or is given up as unresponsive.
    fn settle(&mut self, key: &K, exit: &Exit, ctx: &mut Context<Self>) {
        let (generation, verdict) = self.nursery().bury(key, exit, Instant::now());
        let after = match verdict {
            Verdict::Forget => None,
            Verdict::Restart { after } | Verdict::Stall { retry_after: after, .. } => Some(after),
        };
        if let Some(after) = after {
            let again = key.clone();
            let handle = ctx.run_later(after, move |parent, ctx| {
                let child = parent.nursery().children.get(&again);
                if child.is_some_and(|child| child.generation == generation) {
                    parent.revive(&again, ctx);
                }
            });
            if let Some(Child { state: State::Ended { timer, .. }, .. }) = self.nursery().children.get_mut(key) {
                *timer = Some(handle);
            }
        }
        self.on_verdict(key, exit, verdict, ctx);
    }

    /// Starts all children that wait or are stalled.
    fn retry_children(&mut self, ctx: &mut Context<Self>) {
        let ended: Vec<K> = self
            .nursery()
            .children
            .iter()
            .filter(|(_, child)| matches!(child.state, State::Ended { .. }))
            .map(|(key, _)| key.clone())
            .collect();
        for key in ended {
            self.revive(&key, ctx);
        }
    }

    /// Asks all children how they are, again and again.
    fn watch_children(&mut self, ctx: &mut Context<Self>) {
        let every = self.nursery().care.ping.every;
        ctx.run_later(every, |parent, ctx| {
            parent.ping_children(ctx);
            parent.watch_children(ctx);
        });
    }

    /// Asks all children how they are.
    fn ping_children(&mut self, ctx: &mut Context<Self>) {
        let within = self.nursery().care.ping.within;
        let mut asked = Vec::new();
        for (key, child) in &mut self.nursery().children {
            if let State::Alive { addr, pulse, .. } = &mut child.state
                && pulse.ask()
            {
                asked.push((key.clone(), child.generation, addr.send(Ping).timeout(within)));
            }
        }
        for (key, generation, question) in asked {
            ctx.spawn(actix::fut::wrap_future::<_, Self>(question).map(move |answer, parent, ctx| {
                parent.answered(&key, generation, answer.ok().as_ref(), ctx);
            }));
        }
    }

    /// Judges an answer; a child that is unresponsive is abandoned: it cannot be killed, but nothing it says counts
    /// any more, and its token is cancelled.
    fn answered(&mut self, key: &K, generation: u64, pong: Option<&Pong>, ctx: &mut Context<Self>) {
        let nursery = self.nursery();
        let care = nursery.care(key);
        let Some(child) = nursery.children.get_mut(key).filter(|child| child.generation == generation) else { return };
        let State::Alive { pulse, .. } = &mut child.state else { return };
        if let Some(why) = pulse.answered(pong, &care, Instant::now()) {
            self.settle(key, &Exit::Unresponsive(why), ctx);
        }
    }
}
