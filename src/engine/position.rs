//! How far a target has read a source: a snapshot of PostgreSQL (manual, section "Transaction ID and Snapshot
//! Information Functions"), `xmin:xmax:xip,…`. What is visible in it has been delivered.

use std::fmt;
use std::str::FromStr;

/// A snapshot. Opaque to everything but capture, but for the cut and the check for time running backwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    xmin: u64,
    xmax: u64,
    /// Transactions in progress, in order, all in `xmin..xmax`.
    xip: Vec<u64>,
}

/// A text that is no snapshot.
#[derive(Debug, thiserror::Error)]
#[error("\"{0}\" is not a snapshot (xmin:xmax:xip,…)")]
pub struct BadPosition(String);

impl Position {
    /// All transactions below this were finished.
    #[must_use]
    pub fn xmin(&self) -> u64 {
        self.xmin
    }

    /// The first transaction that had not begun.
    #[must_use]
    pub fn xmax(&self) -> u64 {
        self.xmax
    }

    /// Whether no transaction was in progress.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.xip.is_empty()
    }

    /// Transactions that were in progress, with those that began after it and before `next`.
    pub fn open_before(&self, next: u64) -> impl Iterator<Item = u64> {
        self.xip.iter().copied().chain(self.xmax..next)
    }

    /// Whether what this transaction did has been delivered.
    #[must_use]
    pub fn sees(&self, txid: u64) -> bool {
        txid < self.xmin || (txid < self.xmax && self.xip.binary_search(&txid).is_err())
    }

    /// What is visible in both.
    #[must_use]
    pub fn common(&self, other: &Self) -> Self {
        let xmax = self.xmax.min(other.xmax);
        let mut xip: Vec<u64> = self.xip.iter().chain(&other.xip).copied().filter(|txid| *txid < xmax).collect();
        xip.sort_unstable();
        xip.dedup();
        Self { xmin: xip.first().copied().unwrap_or(xmax), xmax, xip }
    }

    /// This position, in which one more transaction is visible.
    #[must_use]
    pub fn with(&self, txid: u64) -> Self {
        let mut xip = self.xip.clone();
        if txid < self.xmax {
            xip.retain(|open| *open != txid);
        } else {
            xip.extend(self.xmax..txid);
        }
        let xmax = self.xmax.max(txid + 1);
        Self { xmin: xip.first().copied().unwrap_or(xmax), xmax, xip }
    }

    /// This position, in which one transaction, the last that had begun, is not visible.
    #[must_use]
    pub fn without(&self, txid: u64) -> Self {
        let mut xip = self.xip.clone();
        xip.push(txid);
        xip.sort_unstable();
        xip.dedup();
        Self { xmin: self.xmin.min(txid), xmax: self.xmax, xip }
    }

    /// This position, moved on to `next`, a later one, by the transactions below `txid` only.
    ///
    /// What this position has seen stays seen, also from `txid` on: an old transaction that committed late may lie
    /// far below what was delivered meanwhile.
    #[must_use]
    pub fn cut_before(&self, next: &Self, txid: u64) -> Self {
        let xmax = self.xmax.max(txid.min(next.xmax));
        let is_unseen = |running: &u64| *running < xmax && (*running >= self.xmax || self.xip.contains(running));
        let running = next.xip.iter().chain(self.xip.iter().filter(|open| **open >= txid)).copied();
        let mut xip: Vec<u64> = running.filter(is_unseen).collect();
        xip.sort_unstable();
        xip.dedup();
        let xmin = xip.first().copied().unwrap_or(xmax);
        Self { xmin, xmax, xip }
    }

    /// Whether everything that is visible in `other` is visible in this one.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        // What lies above this one's end must be unseen there, too.
        let above = other.xmax.saturating_sub(self.xmax.min(other.xmax));
        let running_above = other.xip.iter().filter(|running| **running >= self.xmax).count();
        usize::try_from(above) == Ok(running_above)
            && self.xip.iter().filter(|running| **running < other.xmax).all(|running| other.xip.contains(running))
    }

    /// What is visible in both.
    #[must_use]
    pub fn meet(&self, other: &Self) -> Self {
        let xmax = self.xmax.min(other.xmax);
        let mut xip: Vec<u64> = self.xip.iter().chain(&other.xip).copied().filter(|running| *running < xmax).collect();
        xip.sort_unstable();
        xip.dedup();
        Self { xmin: xip.first().copied().unwrap_or(xmax), xmax, xip }
    }
}

/// Whether a source is known to have been read on another timeline than it is on now; 0: on which is not known, as before
/// the first round, or where the position was told by a source that did not know.
pub(super) fn is_other_timeline(held: i64, now: i64) -> bool {
    held != 0 && held != now
}

impl FromStr for Position {
    type Err = BadPosition;

    fn from_str(text: &str) -> Result<Self, BadPosition> {
        let bad = || BadPosition(text.to_owned());
        let number = |text: &str| text.parse::<u64>().map_err(|_| bad());
        let mut parts = text.split(':');
        let (Some(xmin), Some(xmax), Some(xip), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return Err(bad());
        };
        let (xmin, xmax) = (number(xmin)?, number(xmax)?);
        let xip = xip.split(',').filter(|it| !it.is_empty()).map(number).collect::<Result<Vec<_>, _>>()?;
        let sorted = xip.windows(2).all(|pair| pair[0] < pair[1]) && xip.iter().all(|it| (xmin..xmax).contains(it));
        if xmin > xmax || !sorted {
            return Err(bad());
        }
        Ok(Self { xmin, xmax, xip })
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:", self.xmin, self.xmax)?;
        for (place, txid) in self.xip.iter().enumerate() {
            write!(f, "{}{txid}", if place == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(text: &str) -> Position {
        text.parse().unwrap()
    }

    #[test]
    fn text_goes_both_ways() {
        for text in ["10:10:", "10:20:10,14,19", "1:9223372036854775807:"] {
            assert_eq!(position(text).to_string(), text);
        }
        for text in ["", "1:2", "3:2:", "1:5:4,3", "1:5:7", "a:b:c", "1:2::"] {
            assert!(text.parse::<Position>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_began_before_another_transaction_may_be_open() {
        let open = |text: &str, next| position(text).open_before(next).collect::<Vec<_>>();
        assert_eq!(open("10:20:10,14", 20), [10, 14]);
        assert_eq!(open("20:20:", 22), [20, 21]);
        assert!(open("20:20:", 20).is_empty());
    }

    #[test]
    fn a_snapshot_sees_what_had_ended() {
        let seen = |text: &str| (8..22).filter(|txid| position(text).sees(*txid)).collect::<Vec<_>>();
        assert_eq!(seen("10:20:10,14,19"), [8, 9, 11, 12, 13, 15, 16, 17, 18]);
        assert_eq!(seen("10:10:"), [8, 9]);
    }

    #[test]
    fn what_both_see_and_one_more() {
        let common = |a: &str, b: &str| position(a).common(&position(b)).to_string();
        assert_eq!(common("10:20:10,14,19", "12:16:12,13"), "10:16:10,12,13,14");
        assert_eq!(common("5:5:", "12:16:12,13"), "5:5:");
        let with = |text: &str, txid| position(text).with(txid).to_string();
        assert_eq!(with("10:20:10,14", 10), "14:20:14");
        assert_eq!(with("10:20:10", 10), "20:20:");
        assert_eq!(with("20:20:", 20), "21:21:");
        assert_eq!(with("20:20:", 22), "20:23:20,21");
        let without = |text: &str, txid| position(text).without(txid).to_string();
        assert_eq!(without("20:23:20,21", 22), "20:23:20,21,22");
        assert_eq!(without("21:21:", 20), "20:21:20");
    }

    #[test]
    fn a_cut_keeps_running_transactions_unseen() {
        let cut = |from: &str, to: &str, txid| position(from).cut_before(&position(to), txid).to_string();
        assert_eq!(cut("5:5:", "10:20:10,14,19", 15), "10:15:10,14");
        assert_eq!(cut("5:5:", "10:20:14,19", 12), "12:12:");
        assert_eq!(cut("5:5:", "10:20:10,14", 99), "10:20:10,14");
    }

    #[test]
    fn what_covers_what_is_told_exactly() {
        let covers = |this: &str, other: &str| position(this).covers(&position(other));
        assert!(covers("10:20:15", "10:20:15"));
        assert!(covers("20:25:20", "10:20:15"));
        assert!(covers("10:20:14", "10:20:14,15"));
        assert!(!covers("10:20:14,15", "10:20:14"));
        // 18 was seen before, and is not seen in the other one.
        assert!(!covers("18:30:18", "10:20:10"));
        assert!(!covers("10:20:10", "18:30:18"));
        // 20 and 21 had begun, and were seen by neither.
        assert!(covers("20:20:", "20:22:20,21"));
        assert!(!covers("20:20:", "20:22:20"));
    }

    #[test]
    fn both_see_what_their_meet_sees() {
        let meet = |this: &str, other: &str| position(this).meet(&position(other)).to_string();
        assert_eq!(meet("10:20:15", "17:30:17,25"), "15:20:15,17");
        assert_eq!(meet("20:20:", "30:30:"), "20:20:");
        for (this, other) in [("10:20:15", "17:30:17,25"), ("5:9:5,7", "6:8:6"), ("1:1:", "3:9:3")] {
            let both = position(this).meet(&position(other));
            assert!(position(this).covers(&both) && position(other).covers(&both), "{both}");
        }
    }

    #[test]
    fn a_cut_unsees_nothing() {
        let cut = |from: &str, to: &str, txid| position(from).cut_before(&position(to), txid).to_string();
        assert_eq!(cut("10:50:10,14,19", "60:60:", 14), "14:50:14,19");
        assert_eq!(cut("10:50:10,14,19", "10:60:10,19,55", 19), "10:50:10,19");
        assert_eq!(cut("10:50:10,14", "10:60:10,55", 57), "10:57:10,55");
    }
}
