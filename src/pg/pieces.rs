//! What a server sends, with its long rows cut into pieces.
//!
//! A row of a `COPY … TO STDOUT` comes as one message, and the driver keeps a message until it is whole, and then some
//! more of them behind it: rows of many megabytes would take several times their size. Below the driver, a long message
//! of rows is made into several short ones, which is what the protocol has for rows that are cut anywhere.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsStream};

/// A row that is longer comes in pieces of at least this size, and a last one of at most this size.
pub const PIECE_BYTES: usize = 64 * 1024;

/// A tag, and a length that counts itself.
const HEADER: usize = 5;
const LENGTH: usize = 4;
const COPY_DATA: u8 = b'd';

/// Whether a piece of a row is its last one; most rows have one only. Certain in text format, where no row holds a line
/// break: others may end with a piece that looks as if more followed.
#[must_use]
pub fn is_row_end(piece: &[u8]) -> bool {
    piece.len() < PIECE_BYTES || piece.ends_with(b"\n")
}

/// Whether long rows are cut: what is known of a connection on both sides of its driver.
pub(super) type Cuts = Arc<AtomicBool>;

/// A stream of a server's messages.
pub(super) struct Pieces<S> {
    stream: S,
    cuts: Cuts,
    /// Bytes of the present message that are still to come.
    left: usize,
    /// Bytes of the present row that follow in further pieces.
    more: usize,
    /// A header that has not come in full.
    held: [u8; HEADER],
    held_bytes: usize,
    /// A header of ours; what lies behind `told` is still to be handed out.
    header: [u8; HEADER],
    told: usize,
}

impl<S> Pieces<S> {
    /// `preface`: bytes that come before the first message.
    pub(super) fn new(stream: S, cuts: Cuts, preface: usize) -> Self {
        let (held, header) = ([0; HEADER], [0; HEADER]);
        Self { stream, cuts, left: preface, more: 0, held, held_bytes: 0, header, told: HEADER }
    }

    /// The stream itself, before a message was read.
    pub(super) fn into_inner(self) -> (S, Cuts) {
        debug_assert!(self.left == 0 && self.held_bytes == 0, "what was read is lost");
        (self.stream, self.cuts)
    }

    /// Begins a message, of which `there` bytes have come behind its header; the header may become another one.
    fn begin(&mut self, header: &mut [u8], there: usize) {
        let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]) as usize;
        // What is no message of ours ends the driver's work, not ours.
        let Some(body) = length.checked_sub(LENGTH) else {
            (self.left, self.more) = (usize::MAX, 0);
            return;
        };
        let is_cut = header[0] == COPY_DATA && body > PIECE_BYTES && self.cuts.load(Ordering::Acquire);
        self.left = if is_cut { PIECE_BYTES.max(there).min(body) } else { body };
        self.more = body - self.left;
        if self.more > 0 {
            header.copy_from_slice(&head(self.left));
        }
    }

    /// Walks over what was read; returns how much of it is handed out. The rest is the beginning of a header.
    fn walk(&mut self, read: &mut [u8]) -> usize {
        let mut at = 0;
        loop {
            let skipped = self.left.min(read.len() - at);
            (self.left, at) = (self.left - skipped, at + skipped);
            let rest = read.len() - at;
            if rest == 0 {
                return at;
            }
            debug_assert_eq!((self.left, self.more), (0, 0), "nothing was read beyond a piece");
            if rest < HEADER {
                self.held[..rest].copy_from_slice(&read[at..]);
                self.held_bytes = rest;
                return at;
            }
            self.begin(&mut read[at..at + HEADER], rest - HEADER);
            at += HEADER;
        }
    }
}

/// The header of a piece.
fn head(body: usize) -> [u8; HEADER] {
    debug_assert!(body <= i32::MAX as usize, "no longer than the message that it is cut from");
    let mut header = [COPY_DATA; HEADER];
    header[1..].copy_from_slice(&u32::try_from(body + LENGTH).unwrap_or(u32::MAX).to_be_bytes());
    header
}

impl<S: AsyncRead + Unpin> AsyncRead for Pieces<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if this.told < HEADER {
                let some = into.remaining().min(HEADER - this.told);
                into.put_slice(&this.header[this.told..this.told + some]);
                this.told += some;
                return Poll::Ready(Ok(()));
            }
            if this.held_bytes > 0 {
                let mut rest = ReadBuf::new(&mut this.held[this.held_bytes..]);
                ready!(Pin::new(&mut this.stream).poll_read(cx, &mut rest))?;
                let read = rest.filled().len();
                if read == 0 {
                    return Poll::Ready(Ok(()));
                }
                this.held_bytes += read;
                if this.held_bytes == HEADER {
                    let mut header = this.held;
                    this.begin(&mut header, 0);
                    (this.header, this.told, this.held_bytes) = (header, 0, 0);
                }
                continue;
            }
            if this.left == 0 && this.more > 0 {
                this.left = this.more.min(PIECE_BYTES);
                this.more -= this.left;
                (this.header, this.told) = (head(this.left), 0);
                continue;
            }
            let before = into.filled().len();
            if this.more > 0 {
                let room = into.remaining().min(this.left);
                let mut piece = ReadBuf::new(into.initialize_unfilled_to(room));
                ready!(Pin::new(&mut this.stream).poll_read(cx, &mut piece))?;
                let read = piece.filled().len();
                into.advance(read);
                this.left -= read;
                return Poll::Ready(Ok(()));
            }
            ready!(Pin::new(&mut this.stream).poll_read(cx, into))?;
            let read = into.filled().len() - before;
            let out = this.walk(&mut into.filled_mut()[before..]);
            into.set_filled(before + out);
            // Nothing handed out means the end to the reader.
            if out > 0 || read == 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Pieces<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl<S: TlsStream + Unpin> TlsStream for Pieces<S> {
    fn channel_binding(&self) -> ChannelBinding {
        self.stream.channel_binding()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    /// Gives what it has in portions of these sizes, in turn.
    struct Portions {
        bytes: Vec<u8>,
        at: usize,
        sizes: Vec<usize>,
        turn: usize,
    }

    impl AsyncRead for Portions {
        fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            self.turn += 1;
            if self.turn.is_multiple_of(3) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let size = self.sizes[self.turn % self.sizes.len()].min(into.remaining()).min(self.bytes.len() - self.at);
            into.put_slice(&self.bytes[self.at..self.at + size]);
            self.at += size;
            Poll::Ready(Ok(()))
        }
    }

    fn message(tag: u8, body: &[u8]) -> Vec<u8> {
        let mut message = vec![tag];
        message.extend_from_slice(&u32::try_from(body.len() + LENGTH).unwrap().to_be_bytes());
        message.extend_from_slice(body);
        message
    }

    fn row(bytes: usize) -> Vec<u8> {
        let mut row: Vec<u8> = (b'a'..b'x').cycle().take(bytes).collect();
        row.push(b'\n');
        row
    }

    /// What a driver reads with a buffer of this size: tags and bodies.
    async fn read(bytes: Vec<u8>, sizes: &[usize], buffer: usize, cuts: bool, preface: usize) -> Vec<(u8, Vec<u8>)> {
        let portions = Portions { bytes, at: 0, sizes: sizes.to_vec(), turn: 0 };
        let mut stream = Pieces::new(portions, Arc::new(AtomicBool::new(cuts)), preface);
        let (mut all, mut some) = (Vec::new(), vec![0; buffer]);
        loop {
            let read = stream.read(&mut some).await.unwrap();
            if read == 0 {
                break;
            }
            all.extend_from_slice(&some[..read]);
        }
        let mut rest = &all[preface..];
        let mut messages = Vec::new();
        while let Some((header, body)) = rest.split_first_chunk::<HEADER>() {
            let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]) as usize - LENGTH;
            messages.push((header[0], body[..length].to_vec()));
            rest = &body[length..];
        }
        assert!(rest.is_empty());
        messages
    }

    #[tokio::test]
    async fn long_rows_are_cut_wherever_reads_end_and_nothing_else_is_changed() {
        let rows = [row(0), row(200_000), row(PIECE_BYTES), row(0), row(2 * PIECE_BYTES - 1), row(70_000)];
        let mut sent = message(b'H', b"....");
        for row in &rows {
            sent.extend(message(b'd', row));
        }
        sent.extend(message(b'c', b""));
        // A long message that is no row stays as it is.
        sent.extend(message(b'D', &row(99_999)));
        sent.extend(message(b'Z', b"I"));
        for sizes in [&[1_000_000][..], &[3, 1, 70_001, 2], &[8192], &[PIECE_BYTES + HEADER], &[1, 65_537]] {
            for buffer in [7, 8192, 300_000] {
                let got = read(sent.clone(), sizes, buffer, true, 0).await;
                let (mut found, mut open) = (Vec::new(), Vec::new());
                for (tag, body) in got.iter().filter(|(tag, _)| *tag == b'd') {
                    assert!(body.len() <= PIECE_BYTES.max(buffer), "{tag} {}", body.len());
                    open.extend_from_slice(body);
                    if is_row_end(body) {
                        found.push(std::mem::take(&mut open));
                    }
                }
                assert!(found == rows, "rows of portions {sizes:?} in a buffer of {buffer}");
                let others: Vec<_> = got.iter().filter(|(tag, _)| *tag != b'd').map(|it| (it.0, it.1.len())).collect();
                assert_eq!(others, [(b'H', 4), (b'c', 0), (b'D', 100_000), (b'Z', 1)]);
            }
        }
    }

    #[tokio::test]
    async fn rows_stay_whole_unless_asked_for_and_a_preface_is_no_message() {
        let mut sent = vec![b'N'];
        sent.extend(message(b'd', &row(150_000)));
        sent.extend(message(b'c', b""));
        let got = read(sent, &[5, 90_000], 8192, false, 1).await;
        assert_eq!(got.iter().map(|(tag, body)| (*tag, body.len())).collect::<Vec<_>>(), [(b'd', 150_001), (b'c', 0)]);
    }

    #[tokio::test]
    async fn what_is_no_message_passes_as_it_is() {
        let sent = b"E\0\0\0\x01 no length of this protocol".to_vec();
        let mut stream = Pieces::new(sent.as_slice(), Cuts::default(), 0);
        let mut got = Vec::new();
        stream.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, sent);
    }
}
