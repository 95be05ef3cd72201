//! Runs futures on the worker runtime, so that no actor waits for a socket.

use std::any::Any;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::policy::Exit;

/// The worker runtime.
#[derive(Clone, Debug)]
pub struct Workers {
    handle: Handle,
}

impl Workers {
    /// Workers on the runtime of `handle`.
    #[must_use]
    pub fn new(handle: Handle) -> Self {
        Self { handle }
    }

    /// Starts `work` at once. Dropping the returned [`Work`] aborts it at its next await.
    #[expect(clippy::disallowed_methods, reason = "the one place that starts tasks")]
    pub fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Work<T> {
        Work { task: self.handle.spawn(work) }
    }
}

/// Work under way. Resolves to its result, or to why there is none.
#[derive(Debug)]
#[must_use = "dropping it aborts the work"]
pub struct Work<T> {
    task: JoinHandle<T>,
}

impl<T> Future for Work<T> {
    type Output = Result<T, Exit>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.task).poll(cx).map(|ended| {
            ended.map_err(|error| match error.try_into_panic() {
                Ok(payload) => Exit::Panicked(panic_text(payload.as_ref())),
                Err(_) => Exit::Stopped, // the runtime is shutting down
            })
        })
    }
}

impl<T> Drop for Work<T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) fn panic_text(payload: &(dyn Any + Send)) -> String {
    payload
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "without a text".to_owned())
}
