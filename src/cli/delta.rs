//! `delta [db|sync|table…]`: how many changes the sources keep.

use serde::Serialize;

use super::at_sources::{AtSource, meant};
use super::{Context, Outcome};
use crate::catalog::load_syncs;
use crate::pg::{causes, connect};
use crate::source::counts::{TableDeltas, deltas};

/// What one source keeps.
#[derive(Serialize)]
struct SourceDeltas {
    db: String,
    active: bool,
    /// `None`: see `problem`.
    deltas: Option<i64>,
    tables: Vec<TableDeltas>,
    problem: Option<String>,
}

#[derive(Serialize)]
struct Totals {
    total: i64,
    databases: Vec<SourceDeltas>,
}

pub(super) async fn run(ctx: &Context) -> Outcome {
    let syncs = load_syncs(ctx.control().await?.client()).await?;
    let syncs: Vec<_> = syncs.into_iter().map(std::sync::Arc::new).collect();
    let mut databases = Vec::new();
    for (name, at) in meant(&syncs, &ctx.words)? {
        let mut told = SourceDeltas {
            db: name.to_string(),
            active: at.db.active,
            deltas: None,
            tables: Vec::new(),
            problem: None,
        };
        match count(&at).await {
            Ok(tables) => {
                told.deltas = Some(tables.iter().map(|table| table.deltas).sum());
                told.tables = tables;
            }
            Err(problem) => {
                ctx.out.warn(format!("Cannot count the deltas of database {name}: {problem}"));
                told.problem = Some(problem);
            }
        }
        databases.push(told);
    }
    let total = databases.iter().filter_map(|db| db.deltas).sum();
    let code = u8::from(databases.iter().any(|db| db.problem.is_some()));
    if ctx.out.is_json() {
        ctx.out.json(&Totals { total, databases })?;
        return Ok(code);
    }
    ctx.out.say(format!("Total deltas across all targets: {total}"));
    let asks_tables = !ctx.words.is_empty() || ctx.out.verbosity() > 0;
    for db in databases {
        let Some(count) = db.deltas else { continue };
        let inactive = if db.active { "" } else { " (not active)" };
        ctx.out.say(format!("  Total deltas for database {}: {count}{inactive}", db.db));
        for table in db.tables.iter().filter(|table| asks_tables && table.deltas > 0) {
            ctx.out.say(format!("    {}.{}: {}", table.schema, table.table, table.deltas));
        }
    }
    Ok(code)
}

async fn count(at: &AtSource) -> Result<Vec<TableDeltas>, String> {
    let source = Box::pin(connect(&at.db.access, "bucardo CLI")).await.map_err(|error| causes(&error))?;
    let counted = deltas(&source, |schema, table| at.has(schema, table)).await.map_err(|error| causes(&error))?;
    counted.ok_or_else(|| "it has no schema \"bucardo\": run \"bucardo validate\"".to_owned())
}
