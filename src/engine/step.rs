//! The steps of a round: one list for progress, for the status that operators see, and for tests that fail there.

use std::fmt;

/// Where a round is. A table is named as `schema.table`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// Both databases are connected.
    Connected,
    /// The target's position is locked.
    Fenced,
    /// The source's snapshot is taken.
    Snapshot,
    /// Custom codes run at this hook.
    Code(&'a str),
    /// The changed keys of a table are known.
    Keys(&'a str),
    /// The target's rows of these keys are deleted.
    Deleted(&'a str),
    /// The indexes of a table that is copied whole are dropped.
    Unindexed(&'a str),
    /// The source's rows are written to the target.
    Copied(&'a str),
    /// The dropped indexes of a table are made again.
    Indexed(&'a str),
    /// A copy in pieces is planned and noted in the target's journal.
    Planned,
    /// The rows of a piece of a table are written, not yet committed.
    Piece(&'a str, i32),
    /// A piece of a table is committed.
    PieceCommitted(&'a str, i32),
    /// All pieces of all tables are there.
    Complete,
    /// The new position is written, not yet committed.
    Positioned,
    /// The target has committed rows and position.
    TargetCommitted,
    /// A source of a merge has committed, or refused to.
    Committed(&'a str),
    /// The source knows.
    Tracked,
    /// A table that was copied whole is vacuumed or analyzed.
    Tended(&'a str),
}

impl fmt::Display for Step<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected => f.write_str("connected"),
            Self::Fenced => f.write_str("fenced"),
            Self::Snapshot => f.write_str("snapshot taken"),
            Self::Code(hook) => write!(f, "custom code {hook}"),
            Self::Keys(table) => write!(f, "keys read of {table}"),
            Self::Deleted(table) => write!(f, "rows deleted of {table}"),
            Self::Unindexed(table) => write!(f, "indexes dropped of {table}"),
            Self::Indexed(table) => write!(f, "indexes made of {table}"),
            Self::Tended(table) => write!(f, "tended {table}"),
            Self::Copied(table) => write!(f, "rows copied of {table}"),
            Self::Planned => f.write_str("copy planned"),
            Self::Piece(table, number) => write!(f, "piece {number} copied of {table}"),
            Self::PieceCommitted(table, number) => write!(f, "piece {number} committed of {table}"),
            Self::Complete => f.write_str("copy complete"),
            Self::Positioned => f.write_str("position written"),
            Self::TargetCommitted => f.write_str("target committed"),
            Self::Committed(db) => write!(f, "committed on {db}"),
            Self::Tracked => f.write_str("track written"),
        }
    }
}
