//! Versions: which change the row state of a key came from.

use std::cmp::{Ordering, Reverse};
use std::fmt;

use chrono::{DateTime, Datelike, Timelike, Utc};
use serde::{Deserialize, Serialize};

/// The serial of a decision that every source keeps the row that it has.
pub const SKIPPED: i64 = -1;

/// The greatest serial of a decision for one source's row; lower ones tell decisions for different rows apart.
pub const DECIDED_MAX: i64 = -2;

/// The place of no source: of those that have left the sync, and of rows that custom code made.
pub const NOBODY: u16 = u16::MAX;

/// What stands for it in an origin. No database has such a name.
pub const NOBODYS_NAME: &str = "*";

/// The place of what a partition had before its changes were captured: nobody knows whose change it was and when.
pub const BEFORE: u16 = u16::MAX - 1;

/// What stands for it in an origin, as the sync that wrote it and as the database: `sql/source/adopt_rows.sql`. Nothing has
/// such a name.
pub const BEFORES_NAME: &str = "-";

/// Which change a row state came from. Totally ordered, newest last: by time, then by the order of the databases, in
/// which the first is the newest, then by serial.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Version {
    /// Microseconds since 1970.
    pub time: i64,
    /// Whose change it is: the place among all sources of the sync, in their order.
    pub db: u16,
    /// From 0 on: a change written at that database. Below: a decision of a merge, [`SKIPPED`], or up to
    /// [`DECIDED_MAX`].
    pub serial: i64,
}

impl Version {
    /// Whether a merge made it up, so that not even the database that it names knows it by itself.
    #[must_use]
    pub fn is_decision(&self) -> bool {
        self.serial < 0
    }

    /// Whether it is older than any change that was captured. Rows that were equal have the same one.
    #[must_use]
    pub fn is_before(&self) -> bool {
        self.db == BEFORE
    }

    /// Whether it says that every source keeps its row.
    #[must_use]
    pub fn is_skip(&self) -> bool {
        self.serial == SKIPPED
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        let order = |it: &Self| (it.time, Reverse(it.db), it.serial);
        order(self).cmp(&order(other))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A time in microseconds since 1970 as PostgreSQL reads it, whatever its `DateStyle`.
#[must_use]
pub fn timestamp(micros: i64) -> String {
    let time = DateTime::<Utc>::from_timestamp_micros(micros).unwrap_or_default();
    let (is_ad, year) = time.year_ce();
    let (month, day, hour, minute, second) = (time.month(), time.day(), time.hour(), time.minute(), time.second());
    let micros = time.timestamp_subsec_micros();
    let era = if is_ad { "" } else { " BC" };
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{micros:06}+00{era}")
}

/// What a delta row that replication wrote says of where it came from: `<sync> <db> <serial>`, and ` +` at the end
/// where other syncs shall see it. With the row's `txntime` it is a version. `<db>` may be followed, after commas, by other
/// databases that the change has been to (see `source::origin`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Origin<'a> {
    /// The sync that wrote it.
    pub sync: &'a str,
    /// The database whose change it is.
    pub db: &'a str,
    /// Those that it has been to besides, with commas between them.
    pub passed: &'a str,
    /// As in [`Version`].
    pub serial: i64,
    /// Whether other syncs treat it like a change written there.
    pub is_shared: bool,
}

/// A text that is no origin.
#[derive(Debug, thiserror::Error)]
#[error("\"{0}\" is no origin of a change (sync, database, serial)")]
pub struct BadOrigin(String);

impl<'a> Origin<'a> {
    /// Takes the text apart.
    ///
    /// # Errors
    ///
    /// [`BadOrigin`]: it was written by something else than this program.
    pub fn parse(text: &'a str) -> Result<Self, BadOrigin> {
        let bad = || BadOrigin(text.to_owned());
        let (rest, is_shared) = match text.strip_suffix(" +") {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        let mut words = rest.split(' ');
        let (Some(sync), Some(db), Some(serial), None) = (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(bad());
        };
        if sync.is_empty() || db.is_empty() {
            return Err(bad());
        }
        let (db, passed) = db.split_once(',').unwrap_or((db, ""));
        Ok(Self { sync, db, passed, serial: serial.parse().map_err(|_| bad())?, is_shared })
    }

    /// The only database that it is for, which had refused it: it stands among those that it has been to, with an
    /// exclamation mark, which no name has.
    #[must_use]
    pub fn addressee(&self) -> Option<&'a str> {
        self.passed.split(',').find_map(|name| name.strip_prefix('!'))
    }

    /// The serial of a row as it was before its changes were captured. Who hands it on does not keep that: such rows are
    /// told apart by the way that they came.
    #[must_use]
    pub fn serial_before(&self) -> i64 {
        let way = self.passed.bytes().fold(0, |hash: u32, byte| hash.wrapping_mul(31).wrapping_add(u32::from(byte)));
        if self.sync == BEFORES_NAME { self.serial } else { i64::from(way) }
    }

    /// All databases that the change has been to.
    pub fn dbs(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        std::iter::once(self.db).chain(self.passed.split(',').filter(|name| !name.is_empty()))
    }
}

impl fmt::Display for Origin<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sync, db, passed, serial, is_shared } = self;
        let comma = if passed.is_empty() { "" } else { "," };
        write!(f, "{sync} {db}{comma}{passed} {serial}{}", if *is_shared { " +" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newer_is_greater_and_the_first_database_wins_a_tie() {
        let version = |time, db, serial| Version { time, db, serial };
        assert!(version(2, 1, 0) > version(1, 0, 9));
        assert!(version(2, 0, 0) > version(2, 1, 9));
        assert!(version(2, 1, 1) > version(2, 1, 0));
        assert!(version(2, 1, 0) > version(2, 1, SKIPPED));
    }

    #[test]
    fn times_are_written_to_the_microsecond() {
        assert_eq!(timestamp(1_795_884_926_000_007), "2026-11-28 16:55:26.000007+00");
        assert_eq!(timestamp(-1), "1969-12-31 23:59:59.999999+00");
        assert_eq!(timestamp(-62_135_596_800_000_001), "0001-12-31 23:59:59.999999+00 BC");
        assert_eq!(timestamp(253_402_300_800_000_000), "10000-01-01 00:00:00.000000+00");
    }

    #[test]
    fn origins_go_both_ways() {
        for text in ["orders a 0", "orders a -1 +", "s b 17 +", "s b,c,d 0 +"] {
            assert_eq!(Origin::parse(text).unwrap().to_string(), text);
        }
        let origin = Origin::parse("orders a -1 +").unwrap();
        assert_eq!(origin, Origin { sync: "orders", db: "a", passed: "", serial: SKIPPED, is_shared: true });
        assert_eq!(Origin::parse("s b,c,d 0 +").unwrap().dbs().collect::<Vec<_>>(), ["b", "c", "d"]);
        let addressees = ["s b,!c 7", "s b,c 7"].map(|text| Origin::parse(text).unwrap().addressee());
        assert_eq!(addressees, [Some("c"), None]);
        for text in ["", "orders", "orders a", "orders a x", "orders  1", "orders a 1 2", "orders a 1 + +", " a 1"] {
            assert!(Origin::parse(text).is_err(), "{text}");
        }
    }
}
