//! Sequences: where the source's stand, the target's are put. A sequence is `last_value` and `is_called`.

use tokio_postgres::{Row, Statement};

use super::drift::Drift;
use super::error::RoundError;
use super::scout::PIECE;
use super::site::Site;
use crate::catalog::Goat;
use crate::pg::{Sql, SqlFile};
use crate::source::{Relation, relations};

const SEQUENCE: SqlFile = SqlFile::new(include_str!("../../sql/engine/sequence.sql"));
pub(super) const SET: SqlFile = SqlFile::new(include_str!("../../sql/engine/set_sequence.sql"));

/// The sequences of a pair, and where the target's stand as far as we know.
pub(super) struct Sequences {
    /// On the source.
    here: Vec<Sql>,
    /// On the target.
    names: Vec<Sql>,
    /// On the target; `None`: there are no sequences.
    set: Option<Statement>,
    known: Vec<Option<(i64, bool)>>,
    /// `schema.sequence` on the source, for people.
    labels: Vec<String>,
}

/// Those of the sequences that are there, with the rights that they take, on both sides; and why the others are not.
pub(super) async fn fitting<'a>(
    goats: Vec<(&'a Goat, Goat)>,
    source: &Site,
    target: &Site,
) -> Result<(Vec<(&'a Goat, Goat)>, Vec<Drift>), RoundError> {
    if goats.is_empty() {
        return Ok((goats, Vec::new()));
    }
    let here: Vec<Goat> = goats.iter().map(|(goat, _)| (*goat).clone()).collect();
    let there: Vec<Goat> = goats.iter().map(|(_, there)| there.clone()).collect();
    let (from, to) = tokio::try_join!(lacks(&here, source, false), lacks(&there, target, true))?;
    let (mut fit, mut unfit) = (Vec::with_capacity(goats.len()), Vec::new());
    for (pair, (from, to)) in goats.into_iter().zip(from.into_iter().zip(to)) {
        match from.or(to) {
            None => fit.push(pair),
            Some(why) => {
                unfit.push(Drift { table: label(pair.0), why, whole: false, by_statement: false });
            }
        }
    }
    Ok((fit, unfit))
}

/// Why each of these sequences cannot be used at `site`, there to be read, or written, too; `None`: it can.
pub(super) async fn lacks(goats: &[Goat], site: &Site, writes: bool) -> Result<Vec<Option<String>>, RoundError> {
    if goats.is_empty() {
        return Ok(Vec::new());
    }
    let found = relations(&site.conn, goats).await.map_err(site.failed("reading the sequences"))?;
    let one = |it: &Relation| lack(it, it.may_select && (it.may_write || !writes), site);
    Ok(found.iter().map(one).collect())
}

/// Why a sequence cannot be used.
fn lack(relation: &Relation, is_allowed: bool, site: &Site) -> Option<String> {
    let db = &site.db;
    match relation.kind.as_str() {
        "" => Some(format!("it does not exist on database \"{db}\"")),
        "S" if is_allowed => None,
        "S" => Some(format!("the role lacks rights on it on database \"{db}\"")),
        _ => Some(format!("it is a {} on database \"{db}\"", relation.kind_words())),
    }
}

fn label(goat: &Goat) -> String {
    goat.label()
}

impl Sequences {
    /// Reads where the target's stand. `goats`: each as it is named on the source and on the target.
    pub(super) async fn open(goats: &[(&Goat, Goat)], target: &Site) -> Result<Self, RoundError> {
        let name = |goat: &Goat| Sql::qualified(&goat.schema, &goat.name);
        let here = goats.iter().map(|(goat, _)| name(goat)).collect();
        let names: Vec<Sql> = goats.iter().map(|(_, there)| name(there)).collect();
        let labels = goats.iter().map(|(goat, _)| label(goat)).collect();
        let mut sequences = Self { known: vec![None; names.len()], here, names, set: None, labels };
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

    /// Sets those that differ, but for those that are passed over; returns how many.
    pub(super) async fn bring(
        &mut self,
        rows: &[Row],
        target: &Site,
        passed: impl Fn(&str) -> bool,
    ) -> Result<u64, RoundError> {
        let Some(set) = &self.set else { return Ok(0) };
        let mut changed = 0;
        for row in rows {
            let (place, state) = state(row);
            let label = &self.labels[place];
            if self.known[place] == Some(state) || passed(label) {
                continue;
            }
            let name = self.names[place].as_str();
            let done = target.conn.execute(set, &[&name, &state.0, &state.1]).await;
            let done = done.map_err(target.failed(format!("setting sequence {name}")));
            done.map_err(|error| error.of_table(label))?;
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
