//! Sequences: where the source's stand, the target's are put. A sequence is `last_value` and `is_called`.

use tokio_postgres::{Row, Statement};

use super::error::RoundError;
use super::scout::PIECE;
use super::site::Site;
use crate::catalog::Goat;
use crate::pg::{Sql, SqlFile};

const SEQUENCE: SqlFile = SqlFile::new(include_str!("../../sql/engine/sequence.sql"));
const SET: SqlFile = SqlFile::new(include_str!("../../sql/engine/set_sequence.sql"));

/// The sequences of a pair, and where the target's stand as far as we know.
pub(super) struct Sequences {
    /// On the source.
    here: Vec<Sql>,
    /// On the target.
    names: Vec<Sql>,
    /// On the target; `None`: there are no sequences.
    set: Option<Statement>,
    known: Vec<Option<(i64, bool)>>,
}

impl Sequences {
    /// Reads where the target's stand. `goats`: each as it is named on the source and on the target.
    pub(super) async fn open(goats: &[(&Goat, Goat)], target: &Site) -> Result<Self, RoundError> {
        let name = |goat: &Goat| Sql::qualified(&goat.schema, &goat.name);
        let here = goats.iter().map(|(goat, _)| name(goat)).collect();
        let names: Vec<Sql> = goats.iter().map(|(_, there)| name(there)).collect();
        let mut sequences = Self { known: vec![None; names.len()], here, names, set: None };
        if sequences.names.is_empty() {
            return Ok(sequences);
        }
        sequences.set =
            Some(target.conn.prepare(SET.text()).await.map_err(target.failed("preparing to set sequences"))?);
        for piece in branches(&sequences.names).chunks(PIECE) {
            let sql = Sql::join(piece.iter().cloned(), " UNION ALL ");
            let rows = target.conn.query(sql.as_str(), &[]).await.map_err(target.failed("reading sequences"))?;
            for row in &rows {
                let (place, state) = state(row);
                sequences.known[place] = Some(state);
            }
        }
        Ok(sequences)
    }

    /// The question where each stands on the source, a branch each.
    pub(super) fn branches(&self) -> Vec<Sql> {
        branches(&self.here)
    }

    /// Sets those that differ; returns how many.
    pub(super) async fn bring(&mut self, rows: &[Row], target: &Site) -> Result<u64, RoundError> {
        let Some(set) = &self.set else { return Ok(0) };
        let mut changed = 0;
        for row in rows {
            let (place, state) = state(row);
            if self.known[place] == Some(state) {
                continue;
            }
            let name = self.names[place].as_str();
            let what = || format!("setting sequence {name}");
            target.conn.execute(set, &[&name, &state.0, &state.1]).await.map_err(target.failed(what()))?;
            self.known[place] = Some(state);
            changed += 1;
        }
        Ok(changed)
    }
}

fn branches(names: &[Sql]) -> Vec<Sql> {
    let branch = |(place, name): (usize, &Sql)| {
        Sql::trusted(SEQUENCE.fill(&[("place", &Sql::trusted(place.to_string())), ("sequence", name)]))
    };
    names.iter().enumerate().map(branch).collect()
}

fn state(row: &Row) -> (usize, (i64, bool)) {
    let place: i32 = row.get("place");
    (usize::try_from(place).unwrap_or_default(), (row.get("last_value"), row.get("is_called")))
}
