//! Conflicts that wait for custom code. While the logs of a table are read its sources are busy, so the conflicts are kept
//! until all is read, in memory while they are few, else in a temporary file without a name.

use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};

use serde::{Deserialize, Serialize};
use tempfile::SpooledTempFile;

use super::decide::{Entry, Ruling};
use crate::engine::error::RoundError;

/// What is kept in memory.
const MEMORY_MAX: usize = 512 * 1024;

/// One conflict, with what the strategy says.
#[derive(Serialize, Deserialize)]
pub(super) struct Waiting {
    /// The key's columns, as they came.
    #[serde(skip)]
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
}

fn lost(source: io::Error) -> RoundError {
    RoundError::Spool { source }
}

impl Disputes {
    pub(super) fn new() -> Self {
        Self { file: BufReader::new(SpooledTempFile::new(MEMORY_MAX)), count: 0 }
    }

    /// Adds one.
    pub(super) fn put(&mut self, waiting: &Waiting) -> Result<(), RoundError> {
        let mut line = waiting.keys.clone();
        line.push(b'\n');
        serde_json::to_writer(&mut line, waiting).map_err(|error| lost(error.into()))?;
        line.push(b'\n');
        self.count += 1;
        self.file.get_mut().write_all(&line).map_err(lost)
    }

    /// All are there: they are read from the first one on.
    pub(super) fn rewind(&mut self) -> Result<(), RoundError> {
        self.file.seek(SeekFrom::Start(0)).map(drop).map_err(lost)
    }

    /// The next ones, at most so many.
    pub(super) fn next(&mut self, most: usize) -> Result<Vec<Waiting>, RoundError> {
        let mut batch = Vec::new();
        let mut line = Vec::new();
        while batch.len() < most {
            let mut keys = Vec::new();
            if self.file.read_until(b'\n', &mut keys).map_err(lost)? == 0 {
                break;
            }
            keys.pop();
            line.clear();
            self.file.read_until(b'\n', &mut line).map_err(lost)?;
            let waiting: Waiting = serde_json::from_slice(&line).map_err(|error| lost(error.into()))?;
            batch.push(Waiting { keys, ..waiting });
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
