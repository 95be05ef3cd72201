//! The socket of a system log: connected when it is needed, again after the log was restarted, and never waited for
//! long, so that a system log that hangs does not stop replication.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A system log that takes nothing for so long is left alone for a while.
const TAKEN_WITHIN: Duration = Duration::from_millis(100);
const LEFT_ALONE: Duration = Duration::from_secs(2);

/// A datagram socket of a system log.
pub(super) struct LogSocket {
    path: PathBuf,
    socket: Option<UnixDatagram>,
    again: Option<Instant>,
}

impl LogSocket {
    /// Connects to `path` when something is sent.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, socket: None, again: None }
    }

    /// Sends one message.
    ///
    /// # Errors
    ///
    /// Nobody listens there, or does not take it in time; then nothing is sent for a while.
    pub(super) fn send(&mut self, message: &[u8]) -> io::Result<()> {
        if self.again.is_some_and(|again| Instant::now() < again) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        // Once more after the system log was restarted.
        let sent = self.try_send(message).or_else(|error| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Err(error),
            _ => self.try_send(message),
        });
        self.again = sent.is_err().then(|| Instant::now() + LEFT_ALONE);
        sent
    }

    fn try_send(&mut self, message: &[u8]) -> io::Result<()> {
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => {
                let socket = UnixDatagram::unbound()?;
                socket.set_write_timeout(Some(TAKEN_WITHIN))?;
                socket.connect(&self.path)?;
                socket
            }
        };
        socket.send(message)?;
        self.socket = Some(socket);
        Ok(())
    }
}
