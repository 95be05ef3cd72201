//! Mail to those who look after the replication: starts and ends of the daemon, what stalls or keeps failing, what is
//! well again.
//!
//! One task on the worker runtime, the postman. It looks at the board, and never asks an actor; nothing waits for it but
//! the end of the daemon, for a few seconds. What is worth a mail ([`watch`]), which mail it goes into and when
//! ([`postbox`]), and its words ([`alerts`]) are decided without a server.

mod alerts;
mod postbox;
mod postman;
mod send;
mod store;
mod watch;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bucardo_actors::board::Board;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch as channel};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::warn;

use crate::config::{MailSettings, Settings};
use crate::custom::Mail;
use postman::Postman;

/// The file in the directory of the PID file.
const FILE: &str = "bucardo.mail.json";
/// The last mail of a daemon may take this long; then the next daemon sends it.
const END_WITHIN: Duration = Duration::from_secs(5);
/// So many mails wait at most until the postman has taken them over.
const ORDERS_MAX: usize = 64;

/// What is told by mail and is not seen on the board.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// All syncs are up.
    Started {
        /// As given to `start`.
        reason: String,
    },
    /// It was asked to end.
    Stopped {
        /// As given to `stop`.
        reason: String,
    },
    /// It ends by itself.
    Killed {
        /// Why.
        error: String,
        /// What to do.
        hint: Option<String>,
    },
    /// A custom code wants it.
    Code(Mail),
}

enum Order {
    Tell(Event),
    End(Option<Event>),
}

/// A handle on the postman.
pub struct Mailer {
    settings: channel::Sender<MailSettings>,
    orders: mpsc::Sender<Order>,
    postman: Mutex<Option<JoinHandle<()>>>,
}

impl Mailer {
    /// Starts the postman on `workers`.
    pub(super) fn start(workers: &Handle, settings: &Settings, host: &str, board: Arc<Board>) -> Self {
        let file = settings.daemon.piddir.join(FILE);
        let (settings, changes) = channel::channel(settings.mail.clone());
        let (orders, heard) = mpsc::channel(ORDERS_MAX);
        let postman = Postman::new(host, file, changes, heard, board);
        let postman = Mutex::new(Some(workers.spawn(postman.run())));
        Self { settings, orders, postman }
    }

    /// Takes over other settings.
    pub fn change(&self, settings: &MailSettings) {
        self.settings.send_if_modified(|present| {
            let differs = present != settings;
            present.clone_from(settings);
            differs
        });
    }

    /// Has something told.
    pub(super) fn tell(&self, event: Event) {
        let of = match &event {
            Event::Code(mail) => Some((mail.sync.clone(), mail.code.clone())),
            _ => None,
        };
        if self.orders.try_send(Order::Tell(event)).is_err() {
            let (sync, code) = of.unzip();
            warn!(sync, code, "a mail is lost: too many are to be sent at once");
        }
    }

    /// Has the last thing told, and waits for it a few seconds.
    pub(super) async fn close(&self, last: Option<Event>) {
        let postman = self.postman.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Gone already: it has panicked, and the log says so.
        let asked = self.orders.send(Order::End(last)).await.is_ok();
        if let Some(postman) = postman.filter(|_| asked)
            && timeout(END_WITHIN + Duration::from_secs(1), postman).await.is_err()
        {
            warn!("the last mail of this daemon is lost");
        }
    }
}
