//! Why a round stopped, and what the operator can do.

use bucardo_actors::model::{Cause, DbName, Failure, Fault};

use super::merge::strategy::StrategyError;
use super::position::BadPosition;
use crate::custom::CodeError;
use crate::pg::{ConnectError, cause, causes, classify, is_lost};
use crate::source::ValidateError;

/// Why a round stopped. Nothing of it took effect, unless the target had committed; then all of it did.
#[derive(Debug, thiserror::Error)]
pub enum RoundError {
    /// A database cannot be reached.
    #[error("cannot connect to database \"{db}\"")]
    Connect {
        /// The database.
        db: DbName,
        /// Why.
        source: ConnectError,
    },
    /// All sessions that a database may have are taken.
    #[error(
        "there is no room for one more connection to database \"{db}\", which may have {limit} at a time (sourcelimit, targetlimit)"
    )]
    NoRoom {
        /// The database.
        db: DbName,
        /// How many there may be.
        limit: usize,
    },
    /// A statement failed.
    #[error("{what} failed on database \"{db}\"")]
    Sql {
        /// What was being done, with the table's name.
        what: String,
        /// Where.
        db: DbName,
        /// Why.
        source: tokio_postgres::Error,
    },
    /// Another round still holds the fence.
    #[error("another round still writes to database \"{db}\"")]
    Fenced {
        /// The target.
        db: DbName,
    },
    /// Something that `validate` installs is not there.
    #[error("{what} is missing in database \"{db}\"")]
    NotInstalled {
        /// What.
        what: String,
        /// Where.
        db: DbName,
    },
    /// The target has no position: it is new to the sync, or was made anew.
    #[error("the position of sync \"{sync}\" is missing in database \"{db}\"")]
    NoPosition {
        /// The sync.
        sync: String,
        /// The target.
        db: DbName,
    },
    /// The source keeps nothing more for the target: too much waited for it.
    #[error("database \"{db}\" was given up by database \"{by}\": too many changes waited for it (queue_policy)")]
    GivenUp {
        /// The target.
        db: DbName,
        /// The source.
        by: DbName,
    },
    /// A database is not where it was: restored, failed over, re-created.
    #[error("database \"{db}\" went back in time: {how}")]
    WentBack {
        /// Which one.
        db: DbName,
        /// How we know.
        how: String,
    },
    /// Something went wrong with one table; others need not be concerned.
    #[error("{error}")]
    OfTable {
        /// `schema.table` on the source.
        table: String,
        /// What.
        #[source]
        error: Box<RoundError>,
    },
    /// Rows of a whole copy could not be written.
    #[error("{error}")]
    InCopy {
        /// `schema.table` on the source.
        table: String,
        /// The columns that are copied, in order.
        columns: Vec<String>,
        /// What.
        #[source]
        error: Box<RoundError>,
    },
    /// A table cannot be copied as it is.
    #[error("table \"{table}\" cannot be replicated to database \"{db}\": {why}")]
    Table {
        /// `schema.table`.
        table: String,
        /// The target.
        db: DbName,
        /// Why.
        why: String,
    },
    /// A stored position is unreadable.
    #[error("the position stored in database \"{db}\" is damaged")]
    Position {
        /// Where.
        db: DbName,
        /// How.
        source: BadPosition,
    },
    /// A table kept changing under the round.
    #[error("the definition of table \"{table}\" changes while its rows are read")]
    Restless {
        /// `schema.table`.
        table: String,
    },
    /// The rulings of a merge could not be kept.
    #[error("keeping the rulings of a merge in a temporary file failed")]
    Spool {
        /// Why.
        source: std::io::Error,
    },
    /// A row of a source's log is not as it should be.
    #[error("a row of a delta table cannot be read: {row}")]
    Log {
        /// The row.
        row: String,
    },
    /// The strategy of a sync says that a conflict shall stop it.
    #[error("table \"{table}\" has a conflict and {why}: key {key} was changed in {dbs}")]
    Conflict {
        /// `schema.table`.
        table: String,
        /// The key's columns.
        key: String,
        /// The databases.
        dbs: String,
        /// Why nobody wins.
        why: String,
        /// The strategy is the table's own.
        is_of_table: bool,
        /// The custom code that wants it so, whatever the strategy is.
        code: Option<String>,
    },
    /// The conflict strategy of a sync cannot be used.
    #[error(transparent)]
    Strategy {
        /// Why.
        source: StrategyError,
    },
    /// Merges failed again and again.
    #[error("merging sync \"{sync}\" clashes again and again: {why}")]
    Clashing {
        /// The sync.
        sync: String,
        /// The last failure.
        why: String,
    },
    /// A database could not be put into the sync.
    #[error("putting database \"{db}\" into the sync failed")]
    Join {
        /// The database.
        db: DbName,
        /// Why.
        source: ValidateError,
    },
    /// A merge needs two sources.
    #[error("of the sources of sync \"{sync}\" {up} can be reached: {away}")]
    Alone {
        /// The sync.
        sync: String,
        /// `only "X"`, or `none`.
        up: String,
        /// Why the others cannot.
        away: String,
        /// [`Cause::Away`] if connecting to another one may be all that it takes.
        cause: Cause,
    },
    /// The session that holds a copy's snapshot is gone, and the snapshot with it.
    #[error("the snapshot of the copy is lost on database \"{db}\"")]
    SnapshotLost {
        /// The source.
        db: DbName,
        /// What the server said.
        source: tokio_postgres::Error,
    },
    /// The journal of a copy that is under way is gone.
    #[error("the journal of the copy of sync \"{sync}\" is missing in database \"{db}\"")]
    NoJournal {
        /// The sync.
        sync: String,
        /// The target.
        db: DbName,
    },
    /// A custom code failed, or asked for a failure (`error`).
    #[error(transparent)]
    Code(CodeError),
    /// A custom code wants the round to be left without a failure (`endsync`).
    #[error("a custom code ended the round (endsync)")]
    Left,
    /// A test asked for it.
    #[error("{0}")]
    Injected(Fault),
}

/// What a person can do where a row is in the way of another one: `why` is the server's word for it.
pub(super) fn clash_remedy(why: &str, sync: &str) -> Option<String> {
    let is_clash = ["23505", "23P01"].iter().any(|code| why.contains(&format!("(SQLSTATE {code})")));
    is_clash.then(|| {
        format!(
            "change or delete one of the two rows; or have such rows put aside: bucardo update sync {sync} deadletter=on && bucardo reload sync {sync}; or add a custom code for exceptions: bucardo help add customcode"
        )
    })
}

impl RoundError {
    /// Whether the same round, tried again, may succeed without anyone's help.
    #[must_use]
    pub fn failure(&self) -> Failure {
        match self {
            Self::Connect { source, .. } => source.failure(),
            Self::Sql { source, .. } => classify(source),
            Self::Join { source, .. } => source.failure(),
            Self::NoRoom { .. }
            | Self::Fenced { .. }
            | Self::Restless { .. }
            | Self::SnapshotLost { .. }
            | Self::Spool { .. }
            | Self::Alone { .. }
            | Self::Left
            | Self::Clashing { .. } => Failure::Transient,
            Self::Code(error) => error.failure(),
            Self::NotInstalled { .. }
            | Self::NoPosition { .. }
            | Self::NoJournal { .. }
            | Self::GivenUp { .. }
            | Self::WentBack { .. }
            | Self::Table { .. }
            | Self::Log { .. }
            | Self::Conflict { .. }
            | Self::Strategy { .. }
            | Self::Position { .. } => Failure::Permanent,
            Self::OfTable { error, .. } | Self::InCopy { error, .. } => error.failure(),
            Self::Injected(fault) => fault.failure,
        }
    }

    /// What sort of failure it is.
    #[must_use]
    pub fn cause(&self) -> Cause {
        match self {
            Self::Connect { .. } => Cause::Away,
            Self::Alone { cause, .. } => *cause,
            Self::Sql { source, .. } => cause(source),
            Self::OfTable { error, .. } | Self::InCopy { error, .. } => error.cause(),
            Self::Clashing { .. } => Cause::Serialization,
            Self::Injected(fault) => fault.cause,
            _ => Cause::Other,
        }
    }

    /// The SQLSTATE, when a server refused something.
    #[must_use]
    pub fn sqlstate(&self) -> Option<&str> {
        match self {
            Self::Sql { source, .. } => source.code().map(tokio_postgres::error::SqlState::code),
            Self::OfTable { error, .. } | Self::InCopy { error, .. } => error.sqlstate(),
            _ => None,
        }
    }

    /// Whether `db` could not be reached, was lost, or does not have yet what `validate` installs.
    pub(super) fn is_loss_of(&self, db: &DbName) -> bool {
        match self {
            Self::Connect { db: place, .. } | Self::NotInstalled { db: place, .. } => place == db,
            Self::Sql { db: place, source, .. } => place == db && is_lost(source),
            Self::OfTable { error, .. } | Self::InCopy { error, .. } => error.is_loss_of(db),
            _ => false,
        }
    }

    /// The same error, of this table.
    pub(super) fn of_table(self, table: &str) -> Self {
        match self {
            // The inner one knows better; a fault that a test injects stays what it is.
            Self::OfTable { .. } | Self::Injected(_) | Self::Code(_) | Self::Left => self,
            error => Self::OfTable { table: table.to_owned(), error: Box::new(error) },
        }
    }

    /// The same error, of a whole copy of this table, if a server refused it.
    pub(super) fn in_copy(self, table: &str, columns: &[String]) -> Self {
        match self {
            Self::Sql { .. } => {
                Self::InCopy { table: table.to_owned(), columns: columns.to_vec(), error: Box::new(self) }
            }
            error => error,
        }
    }

    pub(super) fn db(&self) -> Option<&DbName> {
        match self {
            Self::Connect { db, .. }
            | Self::NoRoom { db, .. }
            | Self::Sql { db, .. }
            | Self::Fenced { db }
            | Self::NotInstalled { db, .. }
            | Self::NoPosition { db, .. }
            | Self::NoJournal { db, .. }
            | Self::SnapshotLost { db, .. }
            | Self::GivenUp { db, .. }
            | Self::WentBack { db, .. }
            | Self::Table { db, .. }
            | Self::Join { db, .. }
            | Self::Position { db, .. } => Some(db),
            Self::OfTable { error, .. } | Self::InCopy { error, .. } => error.db(),
            Self::Restless { .. }
            | Self::Spool { .. }
            | Self::Log { .. }
            | Self::Conflict { .. }
            | Self::Strategy { .. }
            | Self::Alone { .. }
            | Self::Clashing { .. }
            | Self::Code(_)
            | Self::Left
            | Self::Injected(_) => None,
        }
    }

    fn hint(&self, sync: &str) -> Option<String> {
        match self {
            Self::Connect { source, .. } => source.hint(),
            Self::NoRoom { db, limit } => Some(format!(
                "the round needs more than {limit}; raise sourcelimit or targetlimit: bucardo update db {db} …, then: bucardo reload"
            )),
            Self::NotInstalled { .. } => Some(format!("run: bucardo validate {sync}")),
            Self::NoPosition { .. } => Some(format!(
                "run: bucardo validate {sync}; if the database was made anew, have it copied: bucardo update sync {sync} onetimecopy=1 && bucardo validate {sync} && bucardo reload sync {sync}"
            )),
            Self::WentBack { .. } | Self::Position { .. } | Self::NoJournal { .. } => Some(format!(
                "compare the databases; to copy everything anew run: bucardo update sync {sync} onetimecopy=1 && bucardo reload sync {sync}"
            )),
            Self::GivenUp { by, .. } => Some(format!(
                "have it copied: bucardo update db {by} queue_policy=copy && bucardo reload, or, with all other targets: bucardo update sync {sync} onetimecopy=1 && bucardo reload sync {sync}"
            )),
            Self::OfTable { error, .. } | Self::InCopy { error, .. } => error.hint(sync),
            Self::Join { source, .. } => {
                source.hint().or_else(|| Some(format!("mend the cause, then run: bucardo validate {sync}")))
            }
            Self::Table { .. } => Some(format!("make the tables alike, then run: bucardo kick {sync}")),
            Self::Sql { .. } if self.failure() == Failure::Permanent => {
                Some(format!("mend the cause, then run: bucardo kick {sync}"))
            }
            Self::Conflict { code: Some(code), .. } => Some(format!(
                "the code itself wants it, and decides before any strategy: mend it (bucardo update customcode {code} src_code=FILE), or run without it until the row is settled (bucardo update customcode {code} status=inactive), so that the strategy decides; then: bucardo reload sync {sync}"
            )),
            Self::Conflict { table, is_of_table, .. } => {
                let what = if *is_of_table { format!("table {table}") } else { format!("sync {sync}") };
                Some(format!(
                    "change the row in one of the databases to what it shall be everywhere and set another strategy until it has arrived: bucardo update {what} conflict_strategy=bucardo_latest && bucardo reload sync {sync}"
                ))
            }
            Self::Strategy { .. } => {
                Some(format!("see: bucardo help update sync; then run: bucardo reload sync {sync}"))
            }
            Self::Spool { .. } => {
                Some("see whether the folder for temporary files (TMPDIR) is full or missing".to_owned())
            }
            Self::Log { .. } => Some(format!("see who writes to the delta tables; then run: bucardo kick {sync}")),
            Self::Sql { .. }
            | Self::Fenced { .. }
            | Self::Restless { .. }
            | Self::SnapshotLost { .. }
            | Self::Alone { .. }
            | Self::Left
            | Self::Injected(_) => None,
            Self::Clashing { why, .. } => clash_remedy(why, sync),
            Self::Code(error) => Some(error.hint(sync)),
        }
    }

    /// The error as the actors see it.
    #[must_use]
    pub fn into_fault(self, sync: &str) -> Fault {
        if let Self::Injected(fault) = self {
            return fault;
        }
        let message = causes(&self);
        let db = self.db().cloned();
        Fault { failure: self.failure(), cause: self.cause(), message, hint: self.hint(sync), db }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clash_of_rows_has_a_next_step_and_one_of_transactions_needs_none() {
        let hint = |why: &str| RoundError::Clashing { sync: "s".into(), why: why.into() }.into_fault("s").hint;
        let told =
            hint("duplicate key value violates unique constraint \"u\" (SQLSTATE 23505); Key (v)=(1) already exists.");
        for word in ["one of the two rows", "bucardo update sync s deadletter=on", "customcode"] {
            assert!(told.as_ref().unwrap().contains(word), "{word}: {told:?}");
        }
        assert_eq!(hint("deadlock detected (SQLSTATE 40P01)"), None);
    }
}
