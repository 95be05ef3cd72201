//! Conflicts that wait for custom code. While the logs of a table are read its sources are busy, so the conflicts are kept
//! until all is read, in memory while they are few, else in a temporary file without a name.

use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};

use serde::{Deserialize, Serialize};
use tempfile::SpooledTempFile;

use super::decide::{Entry, Ruling};
use crate::engine::error::RoundError;

/// What is kept in memory.
const MEMORY_MAX: usize = 512 * 1024;
/// Bytes of a length.
const LENGTH: usize = size_of::<u32>();

/// One conflict, with what the strategy says.
#[derive(Serialize, Deserialize)]
pub(super) struct Waiting {
    /// The key's columns, as they came.
    pub(super) keys: Vec<u8>,
    pub(super) present: Vec<(u16, Entry)>,
    pub(super) ruling: Ruling,
    /// The databases that the row has been to besides, if the strategy decides.
    pub(super) passed: String,
}

impl Waiting {
    /// Whether codes are told of the row of this source: of those that came from the same change, which may be what
    /// codes decided before, the first.
    pub(super) fn speaks(&self, place: u16) -> bool {
        let rivals = self.present.iter().filter(|(place, _)| self.ruling.rivals() & (1 << place) != 0);
        let mut versions = rivals.map(|(place, entry)| (*place, entry.version(*place)));
        let own = versions.clone().find_map(|(other, version)| (other == place).then_some(version));
        own.is_some_and(|own| versions.find(|(_, version)| *version == own).is_some_and(|(first, _)| first == place))
    }
}

/// The conflicts of one table.
pub(super) struct Disputes {
    file: BufReader<SpooledTempFile>,
    pub(super) count: u64,
    /// Of these, so many have been taken.
    taken: u64,
    /// The last one, as it is kept: its length and itself.
    line: Vec<u8>,
}

fn lost(source: io::Error) -> RoundError {
    RoundError::Spool { source }
}

fn unreadable(error: postcard::Error) -> RoundError {
    lost(io::Error::new(io::ErrorKind::InvalidData, error))
}

impl Disputes {
    pub(super) fn new() -> Self {
        let file = BufReader::new(SpooledTempFile::new(MEMORY_MAX));
        Self { file, count: 0, taken: 0, line: Vec::new() }
    }

    /// Adds one.
    pub(super) fn put(&mut self, waiting: &Waiting) -> Result<(), RoundError> {
        self.line.clear();
        self.line.extend_from_slice(&[0; LENGTH]);
        let mut line = postcard::to_extend(waiting, std::mem::take(&mut self.line)).map_err(unreadable)?;
        let length = u32::try_from(line.len() - LENGTH).map_err(|error| lost(io::Error::other(error)))?;
        line[..LENGTH].copy_from_slice(&length.to_le_bytes());
        self.count += 1;
        self.file.get_mut().write_all(&line).map_err(lost)?;
        self.line = line;
        Ok(())
    }

    /// All are there: they are read from the first one on.
    pub(super) fn rewind(&mut self) -> Result<(), RoundError> {
        self.taken = 0;
        self.file.seek(SeekFrom::Start(0)).map(drop).map_err(lost)
    }

    /// The next ones, at most so many.
    pub(super) fn next(&mut self, most: usize) -> Result<Vec<Waiting>, RoundError> {
        let left = usize::try_from(self.count - self.taken).unwrap_or(usize::MAX);
        let mut batch = Vec::with_capacity(left.min(most));
        for _ in 0..left.min(most) {
            let mut length = [0; LENGTH];
            self.file.read_exact(&mut length).map_err(lost)?;
            self.line.resize(usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX), 0);
            self.file.read_exact(&mut self.line).map_err(lost)?;
            batch.push(postcard::from_bytes(&self.line).map_err(unreadable)?);
            self.taken += 1;
        }
        Ok(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::merge::decide::Fresh;

    #[test]
    fn what_was_put_comes_back_in_pieces_however_much_it_is() {
        let waiting = |number: i64| Waiting {
            keys: format!("{number}\ta\\nb").into_bytes(),
            present: vec![(
                3,
                Entry { unread_by: 5, fresh: Some(Fresh { count: 1, newest: number }), ..Entry::default() },
            )],
            ruling: Ruling::Abort { rivals: 9 },
            passed: "x\n,\"y".to_owned(),
        };
        let mut disputes = Disputes::new();
        for number in 0..10_000 {
            disputes.put(&waiting(number)).unwrap();
        }
        disputes.rewind().unwrap();
        assert_eq!(disputes.count, 10_000);
        let mut next = 0;
        loop {
            let batch = disputes.next(777).unwrap();
            if batch.is_empty() {
                break;
            }
            for found in batch {
                let put = waiting(next);
                assert_eq!((found.keys, found.present, found.passed), (put.keys, put.present, put.passed));
                assert_eq!(found.ruling, put.ruling);
                next += 1;
            }
        }
        assert_eq!(next, 10_000);
    }
}
