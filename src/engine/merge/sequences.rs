//! Sequences of several sources: all are put where the one stands that leads.

use super::arm::{Arm, News};
use super::lead::{Lead, State};
use crate::engine::error::RoundError;
use crate::engine::sequences::SET as PUT;
use crate::pg::{Sql, SqlFile};

const SET: SqlFile = SqlFile::new(include_str!("../../../sql/merge/set_sequence.sql"));

/// Sets those that are not where they shall be; returns how many. `leads`: by place of the sequence, with its name for
/// people.
pub(super) async fn bring(
    arms: &[&mut Arm],
    leads: &[(String, Lead)],
    news: &[News],
    muted: u64,
) -> Result<u64, RoundError> {
    let mut changed = 0;
    for (place, (label, lead)) in leads.iter().enumerate() {
        let states: Vec<Option<State>> = news.iter().map(|news| state(news, place)).collect();
        let present = arms.iter().zip(&states).filter_map(|(arm, state)| Some((arm.place, (*state)?)));
        let Some(leader) = lead.of(&present.collect::<Vec<_>>()) else { continue };
        for (arm, state) in arms.iter().zip(&states).filter(|(arm, _)| muted & arm.bit() == 0) {
            let (Some(state), Some(name)) = (state, &arm.sequences[place]) else { continue };
            let is_there = match lead {
                Lead::Furthest => state.rank() >= leader.rank(),
                _ => (state.value, state.is_called) == (leader.value, leader.is_called),
            };
            if is_there {
                continue;
            }
            let text = name.as_str();
            let set = if *lead == Lead::Furthest {
                let sql = SET.fill(&[("sequence", name), ("literal", &Sql::literal(text))]);
                arm.site.conn.execute(&sql, &[&leader.value, &leader.is_called, &(leader.step >= 0)]).await
            } else {
                arm.site.conn.execute(PUT.text(), &[&text, &leader.value, &leader.is_called]).await
            };
            let set = set.map_err(arm.site.failed(format!("setting sequence {text}")));
            set.map_err(|error| error.of_table(label))?;
            changed += 1;
        }
    }
    Ok(changed)
}

fn state(news: &News, place: usize) -> Option<State> {
    let at = |row: &&tokio_postgres::Row| usize::try_from(row.get::<_, i32>("place")) == Ok(place);
    let row = news.sequences.iter().find(at)?;
    Some(State {
        value: row.get("last_value"),
        is_called: row.get("is_called"),
        step: row.get::<_, Option<i64>>("step").unwrap_or(1),
    })
}
