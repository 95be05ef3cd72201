//! Who reads whom: positions in the databases that read, tracks in the sources that are read.
//!
//! In a sync with several sources every source reads every other one, and also has a position of its own: the
//! snapshot of its last merge, from which changes made there later are told.

use bucardo_actors::model::{DbName, Pair, SyncName};

use super::forget;
use super::given_up::GivenUp;
use super::install::{LOCK, create_once, exists};
use super::site::Site;
use super::validate::ValidateError;
use crate::catalog::{Member, Role, SyncDetail};
use crate::pg::{Connection, SqlFile};

const POSITION: SqlFile = SqlFile::new(include_str!("../../sql/source/position.sql"));
const SNAPSHOT: SqlFile = SqlFile::new(include_str!("../../sql/source/snapshot.sql"));
const TRACK_FIND: SqlFile = SqlFile::new(include_str!("../../sql/source/track_find.sql"));
const TRACK_REGISTER: SqlFile = SqlFile::new(include_str!("../../sql/source/track_register.sql"));
const TRACK_EXPECT: SqlFile = SqlFile::new(include_str!("../../sql/source/track_expect.sql"));
const POSITION_REGISTER: SqlFile = SqlFile::new(include_str!("../../sql/source/position_register.sql"));
const FORGET_COPIES: SqlFile = SqlFile::new(include_str!("../../sql/copy/forget.sql"));
const FORGET_POSITION: SqlFile = SqlFile::new(include_str!("../../sql/source/forget_position.sql"));
const FORGET_QUARANTINE: SqlFile = SqlFile::new(include_str!("../../sql/source/forget_quarantine.sql"));
const FORGET_LETTERS: SqlFile = SqlFile::new(include_str!("../../sql/source/forget_letters.sql"));
const CAPTURES: SqlFile = SqlFile::new(include_str!("../../sql/source/captures.sql"));

/// Registers each reader at each source. `sites` are the databases that are there: for those of the sync that are
/// away, the sources keep their changes from now on.
pub(super) async fn register(sync: &SyncDetail, sites: &mut [Site<'_>]) -> Result<(), ValidateError> {
    for site in sites.iter_mut().filter(|site| site.role != Role::Source || sync.is_merging()) {
        let made = create_once(&mut site.conn, "bucardo.deadletter", POSITION.text()).await;
        made.map_err(|error| ValidateError::sql(&site.db.name, "creating the table of positions".to_owned(), error))?;
    }
    let mut baselines = Vec::new();
    for source in sites.iter().filter(|site| site.role == Role::Source) {
        let from = &source.db.name;
        let failed = |error| ValidateError::sql(from, "reading a snapshot".to_owned(), error);
        // Everything that is to be captured has been captured since before it.
        let baseline: String = source.conn.query_one(SNAPSHOT.text(), &[]).await.map_err(failed)?.get("snapshot");
        for reader in sites.iter().filter(|reader| reader.db.name != *from) {
            let pair = Pair { sync: sync.name.clone(), source: from.clone(), target: reader.db.name.clone() };
            let registered = match reader.role {
                Role::Fullcopy => copy_target(&reader.conn, &pair, &baseline, source.system_id).await,
                Role::Source | Role::Target => {
                    let copies_all = sync.onetimecopy == 1 && reader.role == Role::Target;
                    self::reader(&source.conn, &reader.conn, &pair, &baseline, source.system_id, copies_all).await
                }
            };
            let what = || format!("registering how far \"{}\" has read \"{from}\"", reader.db.name);
            registered.map_err(|error| ValidateError::sql(&reader.db.name, what(), error))?;
        }
        let is_away = |member: &&Member| !sites.iter().any(|site| site.db.name == member.db.name);
        let absent = sync.members.iter().filter(|member| member.db.active && member.role != Role::Fullcopy);
        for member in absent.filter(is_away) {
            let what = || format!("keeping changes for \"{}\"", member.db.name);
            let kept = expect(&source.conn, &sync.name, (from, &member.db.name), &baseline).await;
            kept.map_err(|error| ValidateError::sql(from, what(), error))?;
        }
        baselines.push(baseline);
    }
    if sync.is_merging() {
        // The last rows: a source that has its own has all.
        for (source, baseline) in sites.iter().zip(&baselines) {
            let db = &source.db.name;
            let args: [&(dyn postgres_types::ToSql + Sync); 5] =
                [&sync.name.as_str(), &db.as_str(), baseline, &source.system_id, &false];
            let settled = source.conn.execute(POSITION_REGISTER.text(), &args).await;
            settled.map_err(|error| ValidateError::sql(db, "registering its own position".to_owned(), error))?;
        }
    }
    Ok(())
}

/// Whether a source keeps changes for a reader that has never been registered.
pub(super) async fn is_expected(
    source: &Connection,
    sync: &SyncName,
    reader: &DbName,
) -> Result<bool, tokio_postgres::Error> {
    let known = source.query_opt(TRACK_FIND.text(), &[&sync.as_str(), &reader.as_str()]).await?;
    Ok(known.is_some_and(|row| row.get::<_, i64>("round") == -1))
}

/// Registers a reader at the source from `baseline` on, if it is new.
///
/// The position is written first: a crash in between leaves a position without a track, which the next validation
/// overwrites. The lock at the source keeps two validations from doing so at once, after a round in between. An error
/// leaves the transaction at the source open, to end with its connection.
async fn reader(
    source: &Connection,
    reader: &Connection,
    pair: &Pair,
    baseline: &str,
    system_id: i64,
    copies_all: bool,
) -> Result<(), tokio_postgres::Error> {
    let (sync, from, to) = (pair.sync.as_str(), pair.source.as_str(), pair.target.as_str());
    source.batch_execute("BEGIN").await?;
    source.batch_execute(LOCK.text()).await?;
    let known = source.query_opt(TRACK_FIND.text(), &[&sync, &to]).await?;
    if known.as_ref().is_some_and(|row| GivenUp::of(row.get("round")).is_some()) {
        return source.batch_execute("COMMIT").await; // its KID has it copied, when that is due
    }
    // One that was expected has no round yet, but a place to begin.
    let round = known.as_ref().map(|row| row.get::<_, i64>("round")).filter(|round| *round >= 0);
    let snapshot = known.map_or_else(|| baseline.to_owned(), |row| row.get("snapshot"));
    // A reader that the source knows well, but that has lost its position, is left for its KID to report, unless all
    // is copied anew anyway.
    if round.unwrap_or_default() == 0 || copies_all {
        reader.execute(POSITION_REGISTER.text(), &[&sync, &from, &snapshot, &system_id, &round.is_none()]).await?;
    }
    if round.is_none() {
        source.execute(TRACK_REGISTER.text(), &[&sync, &from, &to, &snapshot]).await?;
    }
    source.batch_execute("COMMIT").await
}

/// Keeps the changes of a source for a reader that cannot be registered yet.
pub(super) async fn expect(
    source: &tokio_postgres::Client,
    sync: &SyncName,
    (from, to): (&DbName, &DbName),
    baseline: &str,
) -> Result<(), tokio_postgres::Error> {
    source.execute(TRACK_EXPECT.text(), &[&sync.as_str(), &from.as_str(), &to.as_str(), &baseline]).await?;
    Ok(())
}

/// Writes the row that two whole copies exclude each other with. The source keeps nothing for such a database.
async fn copy_target(
    target: &Connection,
    pair: &Pair,
    baseline: &str,
    system_id: i64,
) -> Result<(), tokio_postgres::Error> {
    let (sync, from) = (pair.sync.as_str(), pair.source.as_str());
    target.execute(POSITION_REGISTER.text(), &[&sync, &from, &baseline, &system_id, &false]).await?;
    Ok(())
}

/// Takes the capture of a sync out of a database that is no longer a source of it.
pub(super) async fn forget_captured(conn: &mut Connection, sync: &SyncName) -> Result<(), tokio_postgres::Error> {
    if exists(conn, "bucardo.track").await?
        && conn.query_one(CAPTURES.text(), &[&sync.as_str()]).await?.get::<_, bool>("captures")
    {
        forget::source(conn, sync).await?;
    }
    Ok(())
}

/// Takes the positions of a sync out of a database.
pub(super) async fn forget_positions(conn: &Connection, sync: &SyncName) -> Result<(), tokio_postgres::Error> {
    if exists(conn, "bucardo.quarantine").await? {
        conn.execute(FORGET_QUARANTINE.text(), &[&sync.as_str()]).await?;
    }
    if exists(conn, "bucardo.deadletter").await? {
        conn.execute(FORGET_LETTERS.text(), &[&sync.as_str()]).await?;
    }
    if exists(conn, "bucardo.position").await? {
        conn.execute(FORGET_POSITION.text(), &[&sync.as_str()]).await?;
    }
    if exists(conn, "bucardo.copy_chunk").await? {
        conn.execute(FORGET_COPIES.text(), &[&sync.as_str()]).await?;
    }
    Ok(())
}
