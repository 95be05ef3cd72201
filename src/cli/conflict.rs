//! `list conflicts`: what was decided where sources contradicted each other, and what each of them had.

use chrono::{DateTime, Local};

use super::relations::Term;
use super::words::{self, Key, Kind, Parsed};
use super::{CliError, Context, Outcome, choose};
use crate::catalog::conflict_history::{self, Listed, ListedRow, Total, Wanted};
use crate::catalog::syncs;

const KEYS: [Key; 2] = [Key::new("table", &["tables"], Kind::Text), Key::new("limit", &[], Kind::Number)];
/// So many are shown unless another limit is given.
const LIMIT: u32 = 20;

/// `list conflicts`
pub(super) async fn list(ctx: &Context, given: &[String]) -> Outcome {
    let parsed = Parsed::read(given, &KEYS, "list conflict")?;
    let control = ctx.control().await?;
    let totals = conflict_history::totals(control.client()).await?;
    // Of a sync that is gone the history stays.
    let mut names: Vec<String> = syncs::list(control.client()).await?.into_iter().map(|sync| sync.name).collect();
    names.extend(totals.iter().map(|total| total.sync.clone()));
    names.sort_unstable();
    names.dedup();
    let patterns = words::flat(&parsed.bare);
    let chosen = if patterns.is_empty() { None } else { Some(meant(&names, &patterns)?) };
    let (schema, table) = match parsed.value("table") {
        Some(word) => match Term::parse(word) {
            Term::Full { schema, name } => (Some(schema), Some(name)),
            Term::Bare(name) => (None, Some(name)),
            Term::Wild(_) => return Err(CliError::refuse("table=NAME takes no wildcards")),
        },
        None => (None, None),
    };
    let limit = ctx.options.limit.or_else(|| parsed.value("limit").and_then(|number| number.parse().ok()));
    let wanted = Wanted { syncs: chosen, schema, table, limit: limit.unwrap_or(LIMIT) };
    let listed = conflict_history::list(control.client(), &wanted).await?;
    let all: i64 = totals.iter().filter(|total| counts(total, &wanted)).map(|total| total.conflicts).sum();
    if ctx.out.is_json() {
        if limit.is_none() && i64::try_from(listed.len()).is_ok_and(|listed| listed == i64::from(LIMIT) && listed < all)
        {
            ctx.out.warn(format!("Warning: these are the newest {LIMIT} of {all} conflicts (more with --limit N)"));
        }
        let objects: Vec<&str> = listed.iter().map(|conflict| conflict.json.as_str()).collect();
        ctx.out.always(format!("[{}]", objects.join(",\n")));
        return Ok(0);
    }
    ctx.out.say(heading(listed.len(), all));
    for conflict in &listed {
        ctx.out.say(block(conflict));
    }
    Ok(0)
}

fn meant(names: &[String], patterns: &[String]) -> Result<Vec<String>, CliError> {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let chosen = choose::meant(&names, patterns).map_err(|name| {
        CliError::die(format!("No such sync: {name}")).hint("\"bucardo list syncs\" shows those that exist")
    })?;
    Ok(chosen.into_iter().map(str::to_owned).collect())
}

fn counts(total: &Total, wanted: &Wanted) -> bool {
    wanted.syncs.as_ref().is_none_or(|syncs| syncs.contains(&total.sync))
        && wanted.schema.as_ref().is_none_or(|schema| *schema == total.schema)
        && wanted.table.as_ref().is_none_or(|table| *table == total.table)
}

fn heading(shown: usize, all: i64) -> String {
    match (shown, all) {
        (_, 0) => "There were no conflicts".to_owned(),
        (0, 1) => "There was one conflict; it is kept no longer".to_owned(),
        (0, all) => format!("There were {all} conflicts; none of them is kept any longer"),
        (shown, all) if i64::try_from(shown).is_ok_and(|shown| shown >= all) => {
            format!("Conflicts: {all}, the newest first")
        }
        (shown, all) => {
            format!("Conflicts: {all}; the newest {shown} of them (more with --limit N, where they are kept)")
        }
    }
}

/// One conflict: where and when, who won, and a line for each database.
fn block(conflict: &Listed) -> String {
    let key: Vec<String> = conflict.key.iter().map(|(column, value)| format!("{column}={value}")).collect();
    let table = format!("{}.{}", conflict.schema, conflict.table);
    let time = local(conflict.time.into());
    let won = if conflict.strategy == "bucardo_skip" {
        format!("Skipped ({}): everyone kept the row that it had", conflict.strategy)
    } else if conflict.winner.is_empty() {
        format!("Won by nobody's row ({})", conflict.strategy)
    } else {
        format!("Won by {} ({})", conflict.winner, conflict.strategy)
    };
    let differing = if conflict.differing.is_empty() {
        String::new()
    } else {
        format!("; different in {}", conflict.differing.join(", "))
    };
    let mut lines =
        vec![String::new(), format!("{time}  Sync {}  Table {table}  Key {}", conflict.sync, key.join(", "))];
    lines.push(format!("  {won}{differing}"));
    let width = |text: fn(&ListedRow) -> usize| conflict.rows.iter().map(text).max().unwrap_or(0);
    let (db, changed) = (width(|row| row.db.chars().count()), width(|row| changed(row).chars().count()));
    for row in &conflict.rows {
        let mark = if row.db == conflict.winner && conflict.strategy != "bucardo_skip" { '*' } else { ' ' };
        // Who has no version of its own has done nothing with the row.
        let none = if row.changed.is_some() { "(deleted)" } else { "(no row)" };
        let shown = row.row.as_deref().unwrap_or(none);
        lines.push(format!("  {mark} {:db$}  {:changed$}  {shown}", row.db, self::changed(row)));
    }
    lines.iter().map(|line| one_line(line.trim_end())).collect::<Vec<_>>().join("\n")
}

/// When a row was changed, by the clock of its database.
fn changed(row: &ListedRow) -> String {
    let Some(text) = &row.changed else { return String::new() };
    DateTime::parse_from_rfc3339(text)
        .map_or_else(|_| text.clone(), |at| DateTime::<Local>::from(at).format("%b %d, %Y %H:%M:%S%.6f").to_string())
}

fn local(at: DateTime<Local>) -> String {
    at.format("%b %d, %Y %H:%M:%S").to_string()
}

/// Names and keys may hold anything; each of them stays on its line, and does nothing to the terminal.
fn one_line(text: &str) -> String {
    text.chars()
        .flat_map(|letter| if letter.is_control() { letter.escape_default().collect() } else { vec![letter] })
        .collect()
}
