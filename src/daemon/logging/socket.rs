//! The socket of a system log: connected when it is needed, again after the log was restarted, and never waited for
//! long, so that a system log that hangs does not stop replication.

use std::fs::File;
use std::io::{self, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

/// A system log that takes nothing for so long is left alone for a while.
const TAKEN_WITHIN: Duration = Duration::from_millis(100);
const LEFT_ALONE: Duration = Duration::from_secs(2);

/// A datagram socket of a system log.
pub(super) struct LogSocket {
    path: PathBuf,
    socket: Option<UnixDatagram>,
    again: Option<Instant>,
    /// What is too large for a datagram is handed over as a file.
    by_file: bool,
}

impl LogSocket {
    /// Connects to `path` when something is sent.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, socket: None, again: None, by_file: false }
    }

    /// As [`Self::new`], for the journal: what does not fit into a datagram comes as a sealed file in memory.
    pub(super) fn with_files(path: PathBuf) -> Self {
        Self { by_file: true, ..Self::new(path) }
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
        match socket.send(message) {
            Err(error) if self.by_file && Errno::from_io_error(&error) == Some(Errno::MSGSIZE) => {
                hand_over(&socket, message)?;
            }
            sent => drop(sent?),
        }
        self.socket = Some(socket);
        Ok(())
    }
}

/// Sends a file that holds the message and can no longer change.
fn hand_over(socket: &UnixDatagram, message: &[u8]) -> io::Result<()> {
    let mut file = File::from(memfd_create("bucardo-log", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?);
    file.write_all(message)?;
    fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL)?;
    let files = [file.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&files));
    sendmsg(socket, &[], &mut control, SendFlags::empty())?;
    Ok(())
}
