//! Sequences of several sources: all are put where the one stands that is furthest along, in the direction of its
//! increment.

use super::arm::{Arm, News};
use crate::engine::error::RoundError;
use crate::pg::{Sql, SqlFile};

const SET: SqlFile = SqlFile::new(include_str!("../../../sql/merge/set_sequence.sql"));

/// Sets those that are behind; returns how many.
pub(super) async fn bring(arms: &[&mut Arm], news: &[News], muted: u64) -> Result<u64, RoundError> {
    let mut changed = 0;
    for (place, _) in arms[0].sequences.iter().enumerate() {
        let states: Vec<Option<(i64, bool, i64)>> = news
            .iter()
            .map(|news| {
                let at = |row: &&tokio_postgres::Row| usize::try_from(row.get::<_, i32>("place")) == Ok(place);
                let row = news.sequences.iter().find(at)?;
                Some((row.get("last_value"), row.get("is_called"), row.get::<_, Option<i64>>("step").unwrap_or(1)))
            })
            .collect();
        let rank = |(value, called, step): (i64, bool, i64)| {
            (if step < 0 { -i128::from(value) } else { value.into() }, called)
        };
        let Some(furthest) = states.iter().flatten().copied().max_by_key(|state| rank(*state)) else { continue };
        for (arm, state) in arms.iter().zip(&states).filter(|(arm, _)| muted & arm.bit() == 0) {
            if state.is_none_or(|state| rank(state) >= rank(furthest)) {
                continue;
            }
            let name = arm.sequences[place].as_str();
            let sql = SET.fill(&[("sequence", &arm.sequences[place]), ("literal", &Sql::literal(name))]);
            let set = arm.site.conn.execute(&sql, &[&furthest.0, &furthest.1, &(furthest.2 >= 0)]).await;
            set.map_err(arm.site.failed(format!("setting sequence {name}")))?;
            changed += 1;
        }
    }
    Ok(changed)
}
