//! The tie of a child to its parent: the parent learns, exactly once, why the child ended.

use actix::prelude::*;
use tokio_util::sync::CancellationToken;

use crate::messages::ChildExited;
use crate::policy::Exit;
use crate::ports::Watch;

/// What can name a child within its parent.
pub trait Key: Clone + Ord + std::fmt::Display + Send + Unpin + 'static {}

impl<T: Clone + Ord + std::fmt::Display + Send + Unpin + 'static> Key for T {}

/// A field of every child. Dropped with the actor, even by a panic, it cancels all work below the child
/// and tells the parent why the child ended.
pub struct Lifeline<K: Key> {
    key: K,
    generation: u64,
    parent: Recipient<ChildExited<K>>,
    watch: Watch,
    exit: Option<Exit>,
}

impl<K: Key> Lifeline<K> {
    /// Ties the child `key` to `parent`; `stop` is a child of the parent's own token.
    #[must_use]
    pub fn new(key: K, generation: u64, parent: Recipient<ChildExited<K>>, stop: CancellationToken) -> Self {
        Self { key, generation, parent, watch: Watch::new(stop), exit: None }
    }

    /// Who the child is.
    pub fn key(&self) -> &K {
        &self.key
    }

    /// Which incarnation of the child this is.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The token that ends the child and everything below it.
    pub fn stop(&self) -> &CancellationToken {
        self.watch.stop()
    }

    /// The watch that the child's work reports through.
    pub fn watch(&self) -> &Watch {
        &self.watch
    }

    /// Ends the actor. The first reason counts.
    pub fn end<A: Actor<Context = Context<A>>>(&mut self, exit: Exit, ctx: &mut Context<A>) {
        self.exit.get_or_insert(exit);
        ctx.stop();
    }

    /// Calls `cancelled` once the token is cancelled. Every child does this in `started`: its timers would
    /// otherwise keep it alive after its parent.
    pub fn heed<A: Actor<Context = Context<A>>>(
        &self,
        ctx: &mut Context<A>,
        cancelled: impl FnOnce(&mut A, &mut Context<A>) + 'static,
    ) {
        let stop = self.stop().clone();
        let wait = async move { stop.cancelled().await };
        ctx.spawn(actix::fut::wrap_future::<_, A>(wait).map(|(), actor, ctx| cancelled(actor, ctx)));
    }
}

impl<K: Key> Drop for Lifeline<K> {
    fn drop(&mut self) {
        self.stop().cancel();
        let exit = match self.exit.take() {
            Some(exit) => exit,
            None if std::thread::panicking() => Exit::Panicked("in a message handler".to_owned()),
            None => Exit::Stopped,
        };
        self.parent.do_send(ChildExited { key: self.key.clone(), generation: self.generation, exit });
    }
}
