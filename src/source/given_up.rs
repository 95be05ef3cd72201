//! Readers that a source has given up: too much waited for them, and the policy of the database says so.
//!
//! The round of their track says it. What they had not read may be purged as soon as that is committed, so a round that
//! sees the source as it was before still finds everything, and one that sees it as it is now sees the mark as well. No
//! round takes the mark away: a copy does, after changes are kept again.

use bucardo_actors::model::{DbName, SyncName};

use crate::pg::{Connection, SqlFile};

const GIVE_UP: SqlFile = SqlFile::new(include_str!("../../sql/source/give_up.sql"));
const GIVEN_UP: SqlFile = SqlFile::new(include_str!("../../sql/source/given_up.sql"));
const COPIES: SqlFile = SqlFile::new(include_str!("../../sql/source/given_up_copies.sql"));
const TAKE_BACK: SqlFile = SqlFile::new(include_str!("../../sql/source/take_back.sql"));

/// What becomes of a reader that was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GivenUp {
    /// Nothing, until a person asks for a copy.
    Waits,
    /// A copy is made as soon as it is back.
    Copies,
    /// It is about to be copied: changes are kept again.
    KeptAgain,
}

impl GivenUp {
    /// What the round of a track says.
    #[must_use]
    pub fn of(round: i64) -> Option<Self> {
        match round {
            -2 => Some(Self::Waits),
            -3 => Some(Self::Copies),
            -4 => Some(Self::KeptAgain),
            _ => None,
        }
    }

    fn round(self) -> i64 {
        match self {
            Self::Waits => -2,
            Self::Copies => -3,
            Self::KeptAgain => -4,
        }
    }

    /// For people.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Waits => "given up: too much waited for it; it needs a copy (onetimecopy=1)",
            Self::Copies => "given up: too much waited for it; it gets a copy when it is back",
            Self::KeptAgain => "given up before, it is copied now",
        }
    }
}

/// Gives a reader up, unless it was already, or has no position yet; true: it is given up now.
///
/// # Errors
///
/// The server's.
pub async fn give_up(
    source: &Connection,
    (sync, target): (&SyncName, &DbName),
    how: GivenUp,
) -> Result<bool, tokio_postgres::Error> {
    let args: [&(dyn postgres_types::ToSql + Sync); 3] = [&sync.as_str(), &target.as_str(), &how.round()];
    Ok(source.execute(GIVE_UP.text(), &args).await? > 0)
}

/// The readers that are given up.
///
/// # Errors
///
/// The server's.
pub async fn given_up(source: &Connection) -> Result<Vec<(SyncName, DbName, GivenUp)>, tokio_postgres::Error> {
    let rows = source.query(GIVEN_UP.text(), &[]).await?;
    let read = |row: &tokio_postgres::Row| {
        Some((row.get::<_, &str>("sync").into(), row.get::<_, &str>("target").into(), GivenUp::of(row.get("round"))?))
    };
    Ok(rows.iter().filter_map(read).collect())
}

/// All that wait for a person get their copy by themselves; returns how many these are.
///
/// # Errors
///
/// The server's.
pub async fn let_copy(source: &Connection) -> Result<u64, tokio_postgres::Error> {
    source.execute(COPIES.text(), &[]).await
}

/// Keeps changes again for a reader that is about to be copied.
///
/// # Errors
///
/// The server's.
pub(crate) async fn take_back(
    source: &tokio_postgres::Client,
    sync: &SyncName,
    target: &DbName,
) -> Result<(), tokio_postgres::Error> {
    source.execute(TAKE_BACK.text(), &[&sync.as_str(), &target.as_str()]).await.map(drop)
}
