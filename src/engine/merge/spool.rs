//! Rulings of one table for one source, kept until its connection is free to take them: in memory while they are few,
//! else in a temporary file without a name.

use std::fmt;
use std::io::{self, Read, Seek, SeekFrom, Write};

use bytes::Bytes;
use futures_util::{SinkExt, pin_mut};
use tempfile::SpooledTempFile;
use tokio_postgres::Statement;

use crate::engine::error::RoundError;
use crate::engine::site::Site;

/// What one source keeps of its rulings in memory.
const MEMORY_MAX: usize = 512 * 1024;
/// How much goes to the server at once.
const PIECE: usize = 64 * 1024;

/// Lines for a `COPY … FROM STDIN`.
pub(super) struct Spool {
    file: SpooledTempFile,
    /// The last lines, on their way to the file.
    piece: Vec<u8>,
    /// Lines.
    pub(super) rows: u64,
}

impl Spool {
    pub(super) fn new() -> Self {
        Self { file: SpooledTempFile::new(MEMORY_MAX), piece: Vec::new(), rows: 0 }
    }

    /// Adds a line: the key's columns, as they came from a `COPY`, and the rest, tabs included.
    pub(super) fn put(&mut self, keys: &[u8], rest: &[u8]) -> io::Result<()> {
        self.piece.extend_from_slice(keys);
        self.piece.extend_from_slice(rest);
        self.piece.push(b'\n');
        self.rows += 1;
        if self.piece.len() >= PIECE {
            self.file.write_all(&self.piece)?;
            self.piece.clear();
        }
        Ok(())
    }

    /// Sends all lines, if there are any.
    pub(super) async fn send(mut self, site: &Site, what: &str, into: &Statement) -> Result<(), RoundError> {
        if self.rows == 0 {
            return Ok(());
        }
        let sink = site.conn.copy_in::<_, Bytes>(into).await.map_err(site.failed(what))?;
        let lost = |source: io::Error| RoundError::Spool { source };
        self.file.write_all(&self.piece).map_err(lost)?;
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

/// A text as the text format of `COPY` wants it (manual, reference page `COPY`, "File Formats").
pub(super) struct Escaped<'a>(pub(super) &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for piece in self.0.split_inclusive(['\\', '\t', '\n', '\r']) {
            let mut chars = piece.chars();
            let escape = match chars.next_back() {
                Some('\\') => "\\\\",
                Some('\t') => "\\t",
                Some('\n') => "\\n",
                Some('\r') => "\\r",
                _ => {
                    f.write_str(piece)?;
                    continue;
                }
            };
            f.write_str(chars.as_str())?;
            f.write_str(escape)?;
        }
        Ok(())
    }
}
