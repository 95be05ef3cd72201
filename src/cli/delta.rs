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
    let grouped = |count: i64| grouped(count, ctx.options.tsep.as_deref().unwrap_or_default());
    ctx.out.say(format!("Total deltas across all targets: {}", grouped(total)));
    let asks_tables = !ctx.words.is_empty() || ctx.out.verbosity() > 0;
    for db in databases {
        let Some(count) = db.deltas else { continue };
        let inactive = if db.active { "" } else { " (not active)" };
        ctx.out.say(format!("  Total deltas for database {}: {}{inactive}", db.db, grouped(count)));
        for table in db.tables.iter().filter(|table| asks_tables && table.deltas > 0) {
            ctx.out.say(format!("    {}.{}: {}", table.schema, table.table, grouped(table.deltas)));
        }
    }
    Ok(code)
}

/// A count with something between its thousands.
pub(super) fn grouped(count: i64, separator: &str) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push_str(separator);
        }
        text.push(digit);
    }
    text
}

async fn count(at: &AtSource) -> Result<Vec<TableDeltas>, String> {
    let source = Box::pin(connect(&at.db.access, "bucardo CLI")).await.map_err(|error| causes(&error))?;
    let counted = deltas(&source, |schema, table| at.has(schema, table)).await.map_err(|error| causes(&error))?;
    counted.ok_or_else(|| "it has no schema \"bucardo\": run \"bucardo validate\"".to_owned())
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn thousands_are_set_apart_when_asked_for() {
        assert_eq!(grouped(1_234_567, ","), "1,234,567");
        assert_eq!(grouped(123, "."), "123");
        assert_eq!(grouped(1000, ""), "1000");
    }
}
