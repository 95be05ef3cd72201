//! What is remembered of the age of a log: how far back it has to be read for changes that are as new as some time.
//!
//! A row of a log gets the number of the transaction that writes it, and all numbers below a snapshot's end are taken: what
//! was seen once of the rows of those stays true, for rows are only removed. So a merge that has read the log from such a
//! number on knows how new its rows are at most, and the next one reads no further back than it must.

use std::collections::VecDeque;

/// More are not remembered: of the older ones every other is forgotten.
const KNOWN_MAX: usize = 64;

/// What is known of one log.
#[derive(Default)]
pub(super) struct Horizon {
    /// Numbers of transactions, in order, and the newest time in rows of those before. Both only grow.
    known: VecDeque<(u64, i64)>,
}

impl Horizon {
    /// All rows that are as new as `floor` have at least this number. `None`: nothing is known.
    pub(super) fn before(&self, floor: i64) -> Option<u64> {
        let older = self.known.iter().rev().find(|(_, newest)| *newest < floor);
        older.map(|(txid, _)| *txid)
    }

    /// Notes that rows of transactions before `txid` are at most as new as `newest`.
    pub(super) fn note(&mut self, txid: u64, newest: i64) {
        // What is true of more rows, and says more of them.
        while self.known.back().is_some_and(|(before, time)| *before <= txid && *time >= newest) {
            self.known.pop_back();
        }
        if self.known.back().is_some_and(|(before, _)| *before >= txid) {
            return;
        }
        self.known.push_back((txid, newest));
        if self.known.len() > KNOWN_MAX {
            let mut at = 0;
            self.known.retain(|_| {
                at += 1;
                at > KNOWN_MAX / 2 || at % 2 == 1
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_that_is_old_enough_counts() {
        let mut horizon = Horizon::default();
        assert_eq!(horizon.before(i64::MAX), None);
        horizon.note(10, 100);
        horizon.note(20, 200);
        assert_eq!([100, 101, 200, 201].map(|floor| horizon.before(floor)), [None, Some(10), Some(10), Some(20)]);
        // Nothing newer came: the same holds of more transactions.
        horizon.note(30, 200);
        assert_eq!(horizon.before(201), Some(30));
        assert_eq!(horizon.before(150), Some(10));
        // A snapshot that ends no later says nothing new.
        horizon.note(30, 300);
        horizon.note(25, 300);
        assert_eq!(horizon.before(i64::MAX), Some(30));
        // All rows before were not as new as had been thought.
        horizon.note(40, 150);
        assert_eq!([101, 151].map(|floor| horizon.before(floor)), [Some(10), Some(40)]);
    }

    #[test]
    fn what_is_forgotten_leaves_the_old_ones_thinner() {
        let mut horizon = Horizon::default();
        for at in 1..10_000 {
            horizon.note(at, i64::try_from(at).unwrap() * 10);
            assert!(horizon.known.len() <= KNOWN_MAX);
        }
        assert_eq!(horizon.before(i64::MAX), Some(9_999));
        assert_eq!(horizon.before(99_900), Some(9_989));
        assert!(horizon.before(50_000).is_some_and(|txid| txid < 5_000));
    }
}
