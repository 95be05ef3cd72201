//! What a followed source says of the others: how far it has merged them. A target that has everything of the followed
//! one has that much of the others too, so they need not keep their changes for it, and a target that moves on to one
//! of them does not begin where it was long ago.
//!
//! The order makes it safe: the source is asked before the round, and is believed after it. What it had merged by then
//! was committed there together with the rows, so the round has seen them.

use std::time::Duration;

use bucardo_actors::model::{DbName, Pair};
use tokio_postgres::error::SqlState;

use super::error::RoundError;
use super::pair::fence;
use super::position::Position;
use super::session::{SYSTEM_ID, Session};
use super::site::Site;
use crate::catalog::SyncDetail;
use crate::pg::SqlFile;

const MERGED: SqlFile = SqlFile::new(include_str!("../../sql/engine/merged.sql"));
const POSITIONS: SqlFile = SqlFile::new(include_str!("../../sql/engine/positions.sql"));
const TRACK_ROUND: SqlFile = SqlFile::new(include_str!("../../sql/engine/track_round.sql"));
const TRACK_SKIP: SqlFile = SqlFile::new(include_str!("../../sql/engine/track_skip.sql"));

/// So long a round waits for another source that does not answer.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);

/// How far a source has merged another.
pub(super) struct Merged {
    source: DbName,
    position: Position,
}

/// Asks the source of `session` how far it has merged the others.
pub(super) async fn ask(session: &Session, sync: &SyncDetail) -> Result<Vec<Merged>, RoundError> {
    let site = &session.source;
    positions(site, site.conn.query(MERGED.text(), &[&sync.name.as_str(), &site.db.as_str()]).await)
}

/// What a target has read of each source, and the last whole copy that it has made from any of `sources`.
pub(super) async fn copied(target: &Site, sync: &SyncDetail, sources: &[DbName]) -> Result<i64, RoundError> {
    let rows = match target.conn.query(POSITIONS.text(), &[&sync.name.as_str()]).await {
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => return Ok(0),
        rows => rows.map_err(target.failed("reading the positions"))?,
    };
    let known = rows.iter().filter(|row| sources.iter().any(|source| source.as_str() == row.get::<_, &str>("source")));
    Ok(known.map(|row| row.get("copy_request")).max().unwrap_or(0))
}

fn positions(
    site: &Site,
    rows: Result<Vec<tokio_postgres::Row>, tokio_postgres::Error>,
) -> Result<Vec<Merged>, RoundError> {
    let rows = match rows {
        // Nothing was merged there yet.
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => return Ok(Vec::new()),
        rows => rows.map_err(site.failed("reading how far the sources are merged"))?,
    };
    let read = |row: &tokio_postgres::Row| {
        let position = row.get::<_, &str>("snapshot").parse();
        let position = position.map_err(|source| RoundError::Position { db: site.db.clone(), source })?;
        Ok(Merged { source: row.get::<_, &str>("source").into(), position })
    };
    rows.iter().map(read).collect()
}

/// Moves the target's positions of the other sources on to what was `merged` before its last round.
///
/// A source that cannot be reached, or that is not where the target left it, is left for the day when it is followed.
pub(super) async fn believe(session: &Session, sync: &SyncDetail, merged: Vec<Merged>) -> Result<(), RoundError> {
    let target = &session.target;
    let known = positions(target, target.conn.query(POSITIONS.text(), &[&sync.name.as_str()]).await)?;
    for Merged { source, position } in merged {
        let is_news = known.iter().any(|held| held.source == source && is_beyond(&position, &held.position));
        if !is_news || sync.db(&source).is_none_or(|db| !db.active) {
            continue;
        }
        let name = format!("bucardo KID {} ->{}", sync.name, target.db);
        let other = match tokio::time::timeout(CONNECT_WITHIN, Site::of(sync, &source, &name)).await {
            Ok(Ok(other)) => other,
            Ok(Err(error)) => {
                tracing::debug!(db = %source, error = %crate::pg::causes(&error), "the source is not told what its target has");
                continue;
            }
            Err(_) => continue,
        };
        let pair = Pair { sync: sync.name.clone(), source, target: target.db.clone() };
        skip_to(session, &other, &pair, &position).await?;
    }
    Ok(())
}

/// Whether everything that is visible in `held` is visible in `position` too, and perhaps more.
fn is_beyond(position: &Position, held: &Position) -> bool {
    position != held && position.xmin() >= held.xmax()
}

/// A round without rows: the position, committed at the target, then the track at the source.
async fn skip_to(session: &Session, source: &Site, pair: &Pair, position: &Position) -> Result<(), RoundError> {
    let target = &session.target;
    let (sync, to) = (pair.sync.as_str(), pair.target.as_str());
    let of_target: [&(dyn postgres_types::ToSql + Sync); 2] = [&sync, &to];
    let asked = tokio::try_join!(
        source.conn.query_one(SYSTEM_ID.text(), &[]),
        source.conn.query_opt(TRACK_ROUND.text(), &of_target),
    );
    let (identity, track) = asked.map_err(source.failed("reading what it knows of its target"))?;
    let (system_id, timeline): (i64, i64) = (identity.get("system_id"), identity.get("timeline"));
    let Some(track) = track.map(|row| row.get::<_, i64>("round")) else { return Ok(()) };
    let held = fence(target, &session.begin.target, &session.statements.fence, pair).await?;
    // One round more than the source knows of is what a crash leaves.
    let in_step = track == held.round || (track + 1 == held.round && held.timeline == timeline);
    if !in_step || held.system_id != system_id || !is_beyond(position, &held.position) {
        return target.run("leaving a position as it is", "ROLLBACK").await;
    }
    let (text, round) = (position.to_string(), held.round + 1);
    let args: [&(dyn postgres_types::ToSql + Sync); 9] =
        [&sync, &pair.source.as_str(), &text, &round, &0_i64, &0_i64, &held.copy_request, &system_id, &timeline];
    let advanced = target.conn.query_one(&session.statements.advance, &args).await;
    advanced.map_err(target.failed("writing the position"))?;
    target.run("committing", "COMMIT").await?;
    let tracked = source.conn.execute(TRACK_SKIP.text(), &[&sync, &to, &text, &round]).await;
    tracked.map_err(source.failed("writing the track"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_what_is_surely_newer_is_believed() {
        let is_beyond = |new: &str, held: &str| super::is_beyond(&new.parse().unwrap(), &held.parse().unwrap());
        assert!(is_beyond("20:25:20", "10:20:15"));
        assert!(!is_beyond("10:20:15", "10:20:15"));
        // 18 was seen before, and is not seen in the new one.
        assert!(!is_beyond("18:30:18", "10:20:10"));
    }
}
