//! What a followed source says of the others: how far it has merged them. A target that has everything of the followed
//! one has that much of the others, so they need not keep their changes for it.
//!
//! It also has no more of them for sure: a round may bring an older row over what was read from another source before.
//! So the positions of the others are set to what the followed one says, forwards and backwards, in the transaction
//! that brings the rows. Whatever source is followed next, what differs from it is unread there.

use bucardo_actors::model::DbName;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Row, Statement};

use super::error::RoundError;
use super::position::Position;
use super::site::Site;
use crate::catalog::SyncDetail;
use crate::pg::SqlFile;

const MERGED: SqlFile = SqlFile::new(include_str!("../../sql/engine/merged.sql"));
const POSITIONS: SqlFile = SqlFile::new(include_str!("../../sql/engine/positions.sql"));
const BELIEVE: SqlFile = SqlFile::new(include_str!("../../sql/engine/believe.sql"));

/// How far a database has read a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Read {
    source: String,
    position: Position,
    system_id: i64,
    timeline: i64,
}

/// What a round brought of what its source had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// All that was unread.
    Whole,
    /// The older part.
    Part,
    /// There was nothing unread.
    Nothing,
}

/// What the rounds of a target that follows ask and write beside its own position.
pub(super) struct Hearsay {
    merged: Statement,
    positions: Statement,
    believe: Statement,
}

impl Hearsay {
    /// Prepares the statements on both sides.
    pub(super) async fn prepare(source: &Site, target: &Site) -> Result<Self, RoundError> {
        let on = |site: &'static str| format!("preparing a round ({site} positions)");
        let (merged, positions, believe) = tokio::join!(
            source.conn.prepare(MERGED.text()),
            target.conn.prepare(POSITIONS.text()),
            target.conn.prepare(BELIEVE.text()),
        );
        let merged = merged.map_err(|error| match error.code() {
            Some(&SqlState::UNDEFINED_TABLE) => {
                RoundError::NotInstalled { what: "table bucardo.position".to_owned(), db: source.db.clone() }
            }
            _ => source.failed(on("source"))(error),
        })?;
        let positions = positions.map_err(target.failed(on("target")))?;
        let believe = believe.map_err(target.failed(on("target")))?;
        Ok(Self { merged, positions, believe })
    }

    /// How far `source` has merged the others, in the snapshot of the round.
    pub(super) async fn merged(&self, source: &Site, sync: &str) -> Result<Vec<Read>, RoundError> {
        let rows = source.conn.query(&self.merged, &[&sync, &source.db.as_str()]).await;
        let read = read(source, &rows.map_err(source.failed("reading how far the sources are merged"))?)?;
        Ok(united(read))
    }

    /// How far `target` has read every source.
    pub(super) async fn known(&self, target: &Site, sync: &str) -> Result<Vec<Read>, RoundError> {
        let rows = target.conn.query(&self.positions, &[&sync]).await;
        read(target, &rows.map_err(target.failed("reading the positions"))?)
    }

    /// Writes positions of sources that were not read, in the transaction that writes the rows.
    pub(super) async fn write(&self, target: &Site, sync: &str, believed: &[Read]) -> Result<(), RoundError> {
        for Read { source, position, system_id, timeline } in believed {
            let text = position.to_string();
            let args: [&(dyn postgres_types::ToSql + Sync); 5] = [&sync, source, &text, system_id, timeline];
            let written = target.conn.execute(&self.believe, &args).await;
            written.map_err(target.failed("writing the positions of the other sources"))?;
        }
        Ok(())
    }
}

/// Of each source what is in everything that is said of it: a table that is put aside has stopped earlier than others.
fn united(read: Vec<Read>) -> Vec<Read> {
    let mut united: Vec<Read> = Vec::with_capacity(read.len());
    for one in read {
        match united.iter_mut().find(|it| it.source == one.source) {
            Some(it) => it.position = it.position.meet(&one.position),
            None => united.push(one),
        }
    }
    united
}

fn read(site: &Site, rows: &[Row]) -> Result<Vec<Read>, RoundError> {
    let read = |row: &Row| {
        let position = row.get::<_, &str>("snapshot").parse();
        Ok(Read {
            source: row.get("source"),
            position: position.map_err(|source| RoundError::Position { db: site.db.clone(), source })?,
            system_id: row.get("system_id"),
            timeline: row.get("timeline"),
        })
    };
    rows.iter().map(read).collect()
}

/// The positions that are others than `known` after a round, by what the followed source has `merged`.
pub(super) fn believed(known: &[Read], merged: &[Read], extent: Extent) -> Vec<Read> {
    let mut changed = Vec::new();
    for news in merged {
        let Some(held) = known.iter().find(|held| held.source == news.source) else { continue };
        let position = match extent {
            Extent::Whole => news.position.clone(),
            // Rows of this round may be older than what was there; and what it left out may have come from the other.
            Extent::Part => held.position.meet(&news.position),
            // Nothing was overwritten: what was known stays known.
            Extent::Nothing if news.position.covers(&held.position) => news.position.clone(),
            Extent::Nothing => continue,
        };
        if !position.covers(&held.position) || !held.position.covers(&position) {
            changed.push(Read { position, ..news.clone() });
        }
    }
    changed
}

/// The last whole copy that a target has made from any of `sources`.
pub(super) async fn copied(target: &Site, sync: &SyncDetail, sources: &[DbName]) -> Result<i64, RoundError> {
    let rows = match target.conn.query(POSITIONS.text(), &[&sync.name.as_str()]).await {
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => return Ok(0),
        rows => rows.map_err(target.failed("reading the positions"))?,
    };
    let known = rows.iter().filter(|row| sources.iter().any(|source| source.as_str() == row.get::<_, &str>("source")));
    Ok(known.map(|row| row.get("copy_request")).max().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(source: &str, position: &str) -> Read {
        Read { source: source.to_owned(), position: position.parse().unwrap(), system_id: 1, timeline: 1 }
    }

    #[test]
    fn a_whole_round_sets_the_others_forwards_and_backwards() {
        let known = [at("a", "50:50:"), at("b", "10:20:15"), at("c", "30:30:")];
        let merged = [at("b", "20:25:20"), at("c", "20:30:20,25"), at("d", "7:7:")];
        assert_eq!(believed(&known, &merged, Extent::Whole), merged[..2]);
        assert_eq!(believed(&known, &known, Extent::Whole), []);
    }

    #[test]
    fn a_part_of_a_backlog_only_sets_back() {
        let known = [at("b", "10:20:15"), at("c", "30:30:")];
        let merged = [at("b", "20:25:20"), at("c", "20:30:20,25")];
        assert_eq!(believed(&known, &merged, Extent::Part), merged[1..]);
        assert_eq!(believed(&known[..1], &[at("b", "17:30:17")], Extent::Part), [at("b", "15:20:15,17")]);
    }

    #[test]
    fn what_is_put_aside_holds_back_what_is_known_of_its_source() {
        let read = vec![at("a", "50:50:"), at("b", "30:30:"), at("a", "10:20:15")];
        assert_eq!(united(read), [at("a", "15:20:15"), at("b", "30:30:")]);
    }

    #[test]
    fn without_changes_nothing_is_forgotten() {
        let known = [at("b", "10:20:15"), at("c", "30:30:")];
        let merged = [at("b", "20:25:20"), at("c", "20:30:20,25")];
        assert_eq!(believed(&known, &merged, Extent::Nothing), merged[..1]);
    }
}
