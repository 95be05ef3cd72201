//! One open connection and the task that moves its bytes.

use std::future::poll_fn;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio_postgres::{AsyncMessage, Client, CopyOutStream, Notification, ToStatement};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::debug;

use super::Access;
use super::census::Counted;
use super::pieces::Cuts;
use super::socket::Way;

/// A cancel request is a courtesy; it is not waited for longer than this.
const CANCEL_WITHIN: Duration = Duration::from_secs(5);

/// What the server said of itself when the session began.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Server {
    pub version: u32,
    pub backend_pid: i32,
}

/// Where notifications go.
#[derive(Debug, Default)]
enum Inbox {
    /// Nobody asked; they are dropped, so that they do not pile up.
    #[default]
    Unwanted,
    Open(mpsc::UnboundedSender<Notification>),
    /// The connection is gone.
    Closed,
}

type SharedInbox = Arc<Mutex<Inbox>>;

/// One open session. Dropping it closes the socket at once; the server rolls back what is open.
pub struct Connection {
    client: Client,
    driver: AbortHandle,
    inbox: SharedInbox,
    closed: CancellationToken,
    cuts: Cuts,
    server: Server,
    way: Way,
    counted: Option<Counted>,
}

impl Connection {
    /// Starts the task that moves the bytes, on the present runtime.
    pub(super) fn start<S, T>(
        (client, driver): (Client, tokio_postgres::Connection<S, T>),
        cuts: Cuts,
        way: Way,
    ) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let inbox = SharedInbox::default();
        let closed = CancellationToken::new();
        let end = End { inbox: Arc::clone(&inbox), _closed: closed.clone().drop_guard() };
        let driver = tokio::spawn(drive(driver, end)).abort_handle();
        Self { client, driver, inbox, closed, cuts, server: Server::default(), way, counted: None }
    }

    /// Counts it among the open sessions of its database, for as long as it is there.
    pub(super) fn count(&mut self, access: &Access) {
        self.counted = Some(Counted::new(access));
    }

    pub(super) fn know(&mut self, server: Server) {
        self.server = server;
    }

    /// The channels this session listens to, from now on; closes when the connection is gone. The second
    /// call answers `None`.
    pub fn notifications(&mut self) -> Option<mpsc::UnboundedReceiver<Notification>> {
        let mut inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
        match *inbox {
            Inbox::Open(_) => None,
            Inbox::Unwanted => {
                let (sender, receiver) = mpsc::unbounded_channel();
                *inbox = Inbox::Open(sender);
                Some(receiver)
            }
            // The sender is dropped here, so the receiver says at once that it is closed.
            Inbox::Closed => Some(mpsc::unbounded_channel().1),
        }
    }

    /// Version of the server, as `150004` for 15.4.
    #[must_use]
    pub fn server_version(&self) -> u32 {
        self.server.version
    }

    /// Process id of the server's backend.
    #[must_use]
    pub fn backend_pid(&self) -> i32 {
        self.server.backend_pid
    }

    /// Resolves when the connection is gone; does not keep it.
    pub fn closed(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        self.closed.clone().cancelled_owned()
    }

    /// The rows of a `COPY … TO STDOUT`, each as a whole.
    ///
    /// # Errors
    ///
    /// As of [`Client::copy_out`]. It, or [`Self::copy_out_in_pieces`], is not asked for again before this one has ended.
    pub async fn copy_out<T: ?Sized + ToStatement>(&self, sql: &T) -> Result<CopyOutStream, tokio_postgres::Error> {
        self.cuts.store(false, Ordering::Release);
        self.client.copy_out(sql).await
    }

    /// The same for rows that are only handed on: a row longer than [`PIECE_BYTES`](super::PIECE_BYTES) comes in several
    /// pieces, of which [`is_row_end`](super::is_row_end) knows the last one. So it takes no more memory than others do.
    ///
    /// # Errors
    ///
    /// As of [`Self::copy_out`].
    pub async fn copy_out_in_pieces<T: ?Sized + ToStatement>(
        &self,
        sql: &T,
    ) -> Result<CopyOutStream, tokio_postgres::Error> {
        self.cuts.store(true, Ordering::Release);
        self.client.copy_out(sql).await
    }

    /// Asks the server to cancel what this session runs. That the request was heard is not certain.
    pub async fn cancel(&self) {
        let request = async {
            let socket = self.way.open(Cuts::default()).await.map_err(|error| super::causes(&error))?;
            let sent = self.client.cancel_token().cancel_query_raw(socket, self.way.encryption()).await;
            sent.map_err(|error| super::causes(&error))
        };
        match tokio::time::timeout(CANCEL_WITHIN, request).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => debug!(error, "cannot send a cancel request"),
            Err(_) => debug!("a cancel request was not taken within {CANCEL_WITHIN:?}"),
        }
    }
}

impl Deref for Connection {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("server", &self.server).finish_non_exhaustive()
    }
}

/// Tells everybody, however the driver ends.
struct End {
    inbox: SharedInbox,
    _closed: DropGuard,
}

impl Drop for End {
    fn drop(&mut self) {
        *self.inbox.lock().unwrap_or_else(PoisonError::into_inner) = Inbox::Closed;
    }
}

async fn drive<S, T>(mut driver: tokio_postgres::Connection<S, T>, end: End)
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        match poll_fn(|cx| driver.poll_message(cx)).await {
            None => return,
            Some(Ok(AsyncMessage::Notification(notification))) => {
                if let Inbox::Open(sender) = &*end.inbox.lock().unwrap_or_else(PoisonError::into_inner) {
                    // A receiver that is gone wants nothing more.
                    let _ = sender.send(notification);
                }
            }
            Some(Ok(AsyncMessage::Notice(notice))) => {
                debug!(severity = notice.severity(), "server: {}", notice.message());
            }
            Some(Ok(_)) => {}
            // Whoever uses the connection gets this error too, and tells what it was doing.
            Some(Err(error)) => {
                debug!(error = %super::causes(&error), "connection lost");
                return;
            }
        }
    }
}
