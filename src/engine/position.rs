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

    /// The same snapshot as if transactions from `txid` on had not been seen.
    #[must_use]
    pub fn cut_at(&self, txid: u64) -> Self {
        let xmax = self.xmax.min(txid);
        let xip: Vec<u64> = self.xip.iter().copied().filter(|running| *running < xmax).collect();
        let xmin = xip.first().copied().unwrap_or(xmax);
        Self { xmin, xmax, xip }
    }
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
    fn a_cut_keeps_running_transactions_unseen() {
        assert_eq!(position("10:20:10,14,19").cut_at(15).to_string(), "10:15:10,14");
        assert_eq!(position("10:20:14,19").cut_at(12).to_string(), "12:12:");
        assert_eq!(position("10:20:10,14").cut_at(99).to_string(), "10:20:10,14");
    }
}
