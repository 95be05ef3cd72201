//! `purge [db|sync|table…]`: deletes what every target has read, at once and from here, with or without the daemon.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bucardo_actors::ports::Watch;
use serde::Serialize;

use super::at_sources::meant;
use super::{CliError, Context, Outcome};
use crate::catalog::load_syncs;
use crate::pg::causes;
use crate::source::floor::Looks;
use crate::source::purge::PurgeLimits;
use crate::source::purging::{Chosen, purge_sources, sources};

/// What is younger stays: whoever asks for a purge does not want to wait.
const KEEP: Duration = Duration::from_secs(1);

#[derive(Serialize)]
struct Told {
    tables: u64,
    rows: u64,
    /// Why it was not purged, or not all of it.
    problem: Option<String>,
}

pub(super) async fn run(ctx: &Context) -> Outcome {
    let syncs: Vec<_> = load_syncs(ctx.control().await?.client()).await?.into_iter().map(Arc::new).collect();
    let usable = sources(&syncs);
    let meant = meant(&syncs, &ctx.words)?;
    let chosen: Chosen =
        meant.into_iter().filter(|(db, _)| usable.contains_key(db)).map(|(db, at)| (db, at.tables)).collect();
    if chosen.is_empty() {
        return Err(CliError::refuse("No active databases were found from which changes are replicated"));
    }
    chosen.keys().for_each(|db| ctx.out.say(format!("Checking db {db}")));
    let limits = PurgeLimits { keep: KEEP, ..PurgeLimits::default() };
    let (mut looks, watch) = (Looks::default(), Watch::default());
    let purging = purge_sources(&syncs, &chosen, limits, &mut looks, ("bucardo CLI", &watch));
    let outcomes = Box::pin(purging).await.map_err(|fault| CliError::die(fault.to_string()))?;
    let mut told: BTreeMap<String, Told> = BTreeMap::new();
    for (db, outcome) in outcomes {
        let one = match outcome {
            Ok(purged) => {
                ctx.out.say(format!("{db}: Tables processed: {} Rows deleted: {}", purged.tables, purged.rows));
                Told { tables: purged.tables, rows: purged.rows, problem: None }
            }
            Err(error) => {
                crate::report::failed(&causes(&error), None);
                Told { tables: 0, rows: 0, problem: Some(causes(&error)) }
            }
        };
        told.insert(db.to_string(), one);
    }
    if ctx.out.is_json() {
        ctx.out.json(&told)?;
    }
    Ok(u8::from(told.values().any(|one| one.problem.is_some())))
}
