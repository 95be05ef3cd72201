//! Rulings of one table for one source, kept until its connection is free to take them: in memory while they are few,
//! else in a temporary file without a name.

use std::io::{self, Read, Seek, SeekFrom, Write};

use bytes::Bytes;
use futures_util::{SinkExt, pin_mut};
use tempfile::SpooledTempFile;
use tokio_postgres::CopyInSink;

use crate::engine::error::RoundError;
use crate::engine::site::Site;

/// What one source keeps of its rulings in memory.
const MEMORY_MAX: usize = 512 * 1024;
/// How much goes to the server at once.
const PIECE: usize = 64 * 1024;

/// Lines for a `COPY … FROM STDIN`.
pub(super) struct Spool {
    file: SpooledTempFile,
    line: Vec<u8>,
    /// Lines.
    pub(super) rows: u64,
}

/// What is done with one key on one source.
pub(super) struct Line<'a> {
    /// The key's columns, as they came from a `COPY`.
    pub(super) keys: &'a [u8],
    pub(super) verdict: u8,
    pub(super) winner: u16,
    pub(super) receivers: u64,
    pub(super) micros: i64,
    pub(super) origin: &'a str,
    /// Id of the conflict and what is known of it.
    pub(super) conflict: Option<(&'a str, &'a str)>,
}

impl Spool {
    pub(super) fn new() -> Self {
        Self { file: SpooledTempFile::new(MEMORY_MAX), line: Vec::with_capacity(256), rows: 0 }
    }

    /// Adds a line.
    pub(super) fn put(&mut self, line: &Line<'_>) -> io::Result<()> {
        self.line.clear();
        let text = &mut self.line;
        text.extend_from_slice(line.keys);
        let receivers = line.receivers.cast_signed();
        write!(text, "\t{}\t{}\t{receivers}\t{}\t", line.verdict, line.winner, line.micros)?;
        escape(text, line.origin);
        match line.conflict {
            Some((id, note)) => {
                text.push(b'\t');
                escape(text, id);
                text.push(b'\t');
                escape(text, note);
            }
            None => text.extend_from_slice(b"\t\\N\t\\N"),
        }
        text.push(b'\n');
        self.rows += 1;
        self.file.write_all(&self.line)
    }

    /// Sends all lines.
    pub(super) async fn send(mut self, site: &Site, what: &str, sink: CopyInSink<Bytes>) -> Result<(), RoundError> {
        let lost = |source: io::Error| RoundError::Spool { source };
        self.file.seek(SeekFrom::Start(0)).map_err(lost)?;
        pin_mut!(sink);
        loop {
            let mut piece = Vec::with_capacity(PIECE);
            (&mut self.file).take(PIECE as u64).read_to_end(&mut piece).map_err(lost)?;
            if piece.is_empty() {
                break;
            }
            sink.feed(Bytes::from(piece)).await.map_err(site.failed(what))?;
        }
        sink.finish().await.map_err(site.failed(what))?;
        Ok(())
    }
}

/// As the text format of `COPY` wants it (manual, reference page `COPY`, "File Formats").
fn escape(to: &mut Vec<u8>, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'\\' => to.extend_from_slice(b"\\\\"),
            b'\t' => to.extend_from_slice(b"\\t"),
            b'\n' => to.extend_from_slice(b"\\n"),
            b'\r' => to.extend_from_slice(b"\\r"),
            _ => to.push(byte),
        }
    }
}
