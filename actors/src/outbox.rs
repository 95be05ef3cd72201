//! What goes out to the control database without anybody waiting for it: notices and the run history, in order.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::FutureExt;
use tokio::sync::mpsc;
use tracing::{debug, info, warn};

use crate::model::{Fault, SyncName};
use crate::ports::{Catalog, Notice, OpenRun, RunRecord};
use crate::work::{Work, Workers, panic_text};

enum Post {
    Tell(Notice),
    Record(Box<RunRecord>),
    Show(Box<OpenRun>),
    Close,
}

/// A bounded queue to the control database. Never blocks: what does not fit is dropped, and that is logged.
#[derive(Clone)]
pub(crate) struct Outbox {
    posts: mpsc::Sender<Post>,
    dropping: Arc<AtomicBool>,
}

impl Outbox {
    /// Opens a queue of at most `posts_max` posts; the work ends after [`Outbox::close`], when all are sent.
    pub(crate) fn open(workers: &Workers, catalog: Arc<dyn Catalog>, posts_max: usize) -> (Self, Work<()>) {
        let (posts, queue) = mpsc::channel(posts_max.max(1));
        (Self { posts, dropping: Arc::default() }, workers.run(deliver(queue, catalog)))
    }

    pub(crate) fn tell(&self, notice: Notice) {
        self.post(Post::Tell(notice));
    }

    pub(crate) fn record(&self, run: RunRecord) {
        self.post(Post::Record(Box::new(run)));
    }

    pub(crate) fn show(&self, run: OpenRun) {
        self.post(Post::Show(Box::new(run)));
    }

    /// No more posts: those before it are still sent.
    pub(crate) fn close(&self) {
        self.post(Post::Close);
    }

    fn post(&self, post: Post) {
        match self.posts.try_send(post) {
            Ok(()) => self.dropping.store(false, Ordering::Relaxed),
            Err(mpsc::error::TrySendError::Full(post)) if !self.dropping.swap(true, Ordering::Relaxed) => {
                let what = post.describe();
                warn!(what, "the control database does not keep up, notices and entries of the run history are lost");
            }
            Err(_) => {} // said already, or the daemon is ending
        }
    }
}

impl Post {
    fn describe(&self) -> String {
        match self {
            Self::Tell(notice) => format!("{notice:?}"),
            Self::Record(run) => format!("run of {}", run.kid),
            Self::Show(run) => format!("open run of {}", run.kid),
            Self::Close => "end".to_owned(),
        }
    }
}

async fn deliver(mut queue: mpsc::Receiver<Post>, catalog: Arc<dyn Catalog>) {
    let mut lost = 0_u64;
    while let Some(post) = queue.recv().await {
        let what = post.describe();
        let sent = match post {
            Post::Tell(notice) => catalog.notify(notice),
            Post::Record(run) => catalog.record(*run),
            Post::Show(run) => catalog.show_run(*run),
            Post::Close => return,
        };
        let sent = AssertUnwindSafe(sent).catch_unwind().await;
        let sent = sent.unwrap_or_else(|panic| {
            Err(Fault::transient(format!(
                "cannot reach the control database: panicked: {}",
                panic_text(panic.as_ref())
            )))
        });
        match sent {
            Ok(()) if lost > 0 => {
                info!(lost, "notices and run history reach the control database again");
                lost = 0;
            }
            Ok(()) => {}
            // Replication goes on without them, and a server that is away would fill the log.
            Err(fault) if lost == 0 => {
                warn!(post = what, error = %fault, hint = fault.hint, "a notice or an entry of the run history is lost");
                lost = 1;
            }
            Err(fault) => {
                debug!(post = what, error = %fault, "another one is lost");
                lost += 1;
            }
        }
    }
}

/// The promise that a kick is answered exactly once: `SyncDone` when it is told so, `SyncKill` when it is dropped
/// for any other reason (a failed KID, a CTL that ends, a message that nobody reads any more).
pub(crate) struct Answer {
    sync: SyncName,
    outbox: Option<Outbox>,
}

impl Answer {
    pub(crate) fn new(sync: SyncName, outbox: Outbox) -> Self {
        Self { sync, outbox: Some(outbox) }
    }

    /// Everything that was due has been done.
    pub(crate) fn done(mut self) {
        if let Some(outbox) = self.outbox.take() {
            outbox.tell(Notice::SyncDone(self.sync.clone()));
        }
    }

    /// Somebody else answers, or nobody waits for it.
    pub(crate) fn forgo(mut self) {
        self.outbox = None;
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some(outbox) = self.outbox.take() {
            outbox.tell(Notice::SyncKill(self.sync.clone()));
        }
    }
}
