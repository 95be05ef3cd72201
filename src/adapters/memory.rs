//! How much memory the rounds of all KIDs may take together: the setting `worker_mb_max`.
//!
//! Rows stream through a round, wide ones in pieces, so that it takes the same for a few rows and for millions: some
//! buffers for each session. A round takes its share before it connects, and has it until it ends. Whoever finds no room
//! waits, in the order of coming, with nothing open, so that nobody waits in a circle. A round that needs more than there
//! is at all has it alone.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bucardo_actors::model::Fault;
use bucardo_actors::ports::Watch;
use tokio::sync::Notify;

/// What a session of a round takes: pieces that are read, that wait, and that are written.
const SESSION_BYTES: u64 = 512 << 10;
/// A KID that waits says this often that it is alive.
const SIGN_OF_LIFE_EVERY: Duration = Duration::from_secs(10);

/// The memory of all rounds.
#[derive(Debug, Default)]
pub(super) struct Memory {
    state: Mutex<State>,
    /// Told when there may be room.
    room: Notify,
    /// Held by the first of those who wait.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    /// `None`: no limit.
    most: Option<u64>,
    used: u64,
}

/// What a round has; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    memory: Arc<Memory>,
    bytes: u64,
}

/// What a round with so many sessions takes.
pub(super) fn needed(sessions: usize) -> u64 {
    (sessions as u64).saturating_mul(SESSION_BYTES)
}

impl Memory {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// So many megabytes from now on; 0: no limit. Rounds that run keep what they have.
    pub(super) fn limit(&self, megabytes: u32) {
        self.state().most = Some(u64::from(megabytes) << 20).filter(|most| *most > 0);
        self.room.notify_waiters();
    }

    fn try_take(self: &Arc<Self>, bytes: u64) -> Option<Share> {
        let mut state = self.state();
        let has_room = state.most.is_none_or(|most| state.used == 0 || state.used.saturating_add(bytes) <= most);
        has_room.then(|| {
            state.used = state.used.saturating_add(bytes);
            Share { memory: Arc::clone(self), bytes }
        })
    }

    /// Takes so many bytes, as soon as there is room.
    pub(super) async fn take(self: &Arc<Self>, bytes: u64, watch: &Watch) -> Result<Share, Fault> {
        if let Ok(_turn) = self.turn.try_lock()
            && let Some(share) = self.try_take(bytes)
        {
            return Ok(share);
        }
        watch.at("waiting for memory (worker_mb_max)").await?;
        let taken = async {
            let _turn = self.turn.lock().await;
            loop {
                let room = self.room.notified();
                tokio::pin!(room);
                // From here on nothing is missed.
                room.as_mut().enable();
                if let Some(share) = self.try_take(bytes) {
                    return share;
                }
                room.await;
            }
        };
        tokio::pin!(taken);
        let mut alive = tokio::time::interval(SIGN_OF_LIFE_EVERY);
        loop {
            tokio::select! {
                share = &mut taken => return Ok(share),
                () = watch.stop().cancelled() => {
                    return Err(Fault::transient("asked to stop while it waited for memory"));
                }
                _ = alive.tick() => watch.moved(1),
            }
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut state = self.memory.state();
        state.used = state.used.saturating_sub(self.bytes);
        drop(state);
        self.memory.room.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    const MB: u64 = 1 << 20;

    #[tokio::test]
    async fn who_finds_no_room_waits_in_the_order_of_coming() {
        let (memory, watch) = (Arc::new(Memory::default()), Watch::default());
        memory.limit(4);
        let first = memory.take(3 * MB, &watch).await.unwrap();
        let large = memory.take(2 * MB, &watch);
        tokio::pin!(large);
        assert!(large.as_mut().now_or_never().is_none());
        assert!(watch.doing().contains("worker_mb_max"), "it says what it waits for");
        let small = memory.take(MB, &watch);
        tokio::pin!(small);
        assert!(small.as_mut().now_or_never().is_none(), "there is room, but somebody came before");
        drop(first);
        let large = large.await.unwrap();
        let small = small.await.unwrap();
        assert_eq!(memory.state().used, 3 * MB);
        drop((large, small));
        assert_eq!(memory.state().used, 0);
    }

    #[tokio::test]
    async fn nobody_waits_for_ever() {
        let (memory, watch) = (Arc::new(Memory::default()), Watch::default());
        memory.limit(1);
        let giant = memory.take(100 * MB, &watch).await.unwrap();
        let next = memory.take(MB, &watch);
        tokio::pin!(next);
        assert!(next.as_mut().now_or_never().is_none());
        // Somebody raises the limit; another one is stopped while it waits.
        memory.limit(200);
        let next = next.await.unwrap();
        memory.limit(1);
        let stopped = Watch::default();
        stopped.stop().cancel();
        memory.take(MB, &stopped).await.unwrap_err();
        drop((giant, next));
        memory.limit(0);
        let all = [memory.take(100 * MB, &watch).await.unwrap(), memory.take(100 * MB, &watch).await.unwrap()];
        assert_eq!(all.len(), 2, "no limit");
    }
}
