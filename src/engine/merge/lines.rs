//! Rows on their way to one source, each to be had again by its place.

use std::io::{self, Read, Seek, SeekFrom, Write};

use bytes::Bytes;
use tempfile::SpooledTempFile;

use crate::engine::error::RoundError;

/// Rows of one receiver are kept in memory while they are few.
const MEMORY_MAX: usize = 512 * 1024;

/// In place of an arm: nobody had the row before a custom code made it.
pub(super) const MADE: usize = usize::MAX;

/// Rows for one source, as `COPY` writes them, and whose they are.
pub(super) struct Lines {
    file: SpooledTempFile,
    /// Where each ends, and the place of the arm that it comes from, or [`MADE`].
    pub(super) ends: Vec<(u64, usize)>,
}

impl Lines {
    pub(super) fn new() -> Self {
        Self { file: SpooledTempFile::new(MEMORY_MAX), ends: Vec::new() }
    }

    pub(super) fn put(&mut self, winner: usize, row: &[u8]) -> io::Result<()> {
        self.file.write_all(row)?;
        let end = self.ends.last().map_or(0, |(end, _)| *end) + u64::try_from(row.len()).unwrap_or_default();
        self.ends.push((end, winner));
        Ok(())
    }

    pub(super) fn get(&mut self, at: usize) -> Result<Bytes, RoundError> {
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before].0);
        let mut row = vec![0; usize::try_from(self.ends[at].0 - start).unwrap_or_default()];
        let read = self.file.seek(SeekFrom::Start(start)).and_then(|_| self.file.read_exact(&mut row));
        read.map_err(|source| RoundError::Spool { source })?;
        Ok(Bytes::from(row))
    }
}
