//! The block that `status NAME` shows of one sync.

use std::path::Path;

use super::status::{RunStatus, Style, SyncStatus, line};

/// Everything about one sync, between two lines; `with_tables`: also what was brought of each table.
pub(super) fn text(status: &SyncStatus, pid_file: &Path, with_tables: bool, style: &Style) -> String {
    let sync = &status.sync;
    let column = |name: &str| match sync.columns.get(name) {
        None | Some(serde_json::Value::Null) => "None".to_owned(),
        Some(serde_json::Value::String(text)) => text.clone(),
        Some(serde_json::Value::Bool(on)) => if *on { "Yes" } else { "No" }.to_owned(),
        Some(other) => other.to_string(),
    };
    let sources: Vec<&str> =
        sync.members.iter().filter(|member| member.role == "source").map(|member| member.db.as_str()).collect();
    let source = if sources.is_empty() { "None".to_owned() } else { sources.join(", ") };
    let mut rows: Vec<(String, String)> = Vec::new();
    let mut row = |name: &str, value: String| rows.push((name.to_owned(), value));
    match &status.good {
        Some(run) => {
            row("Last good", format!("{} (time to run: {})", when(run), style.duration(run.took())));
            row(&format!("Rows deleted/inserted{}", extras(run)), counts(run, style));
        }
        None => row("Last good", "None".to_owned()),
    }
    if let Some(run) = &status.bad {
        row("Last bad", format!("{} (time until fail: {})", when(run), style.duration(run.took())));
    }
    if let Ok(about) = std::fs::metadata(pid_file) {
        row("PID file", pid_file.display().to_string());
        if let Ok(changed) = about.modified() {
            let changed = chrono::DateTime::<chrono::Local>::from(changed);
            row("PID file created", changed.format("%b %d, %Y %H:%M:%S").to_string());
        }
    }
    row("Sync name", status.name.clone());
    row("Current state", format!("{}, {}", status.state, line(&status.live)));
    row("Source relgroup/database", format!("{} / {source}", sync.herd.as_deref().unwrap_or("None")));
    row("Tables in sync", sync.relations.len().to_string());
    row("Status", sync.status.clone());
    row("Check time", column("checktime"));
    row("Overdue time", column("overdue"));
    row("Expired time", column("expired"));
    row("Stayalive/Kidsalive", format!("{} / {}", column("stayalive"), column("kidsalive")));
    row("Rebuild index", column("rebuild_index"));
    row("Autokick", column("autokick"));
    row("Onetimecopy", column("onetimecopy"));
    row("Post-copy analyze", column("analyze_after_copy"));
    row("Post-copy vacuum", column("vacuum_after_copy"));
    if let Some(last) = status.conflicts.last {
        let at = last.format("%b %d, %Y %H:%M:%S");
        row(
            "Conflicts",
            format!("{} (the last one: {at}; \"bucardo list conflicts {}\")", status.conflicts.total, status.name),
        );
        for table in status.conflicts.tables.iter().filter(|_| status.conflicts.tables.len() > 1) {
            row("Conflicts in", format!("{}.{} : {}", table.schema, table.table, table.conflicts));
        }
    }
    if let Some(merge) = &status.merge {
        row("Merge", merge.line());
        if let Some(clocks) = merge.clocks() {
            row("Clocks", clocks);
        }
    }
    for target in &status.targets {
        row("Target", target.line());
    }
    for table in &status.quarantined {
        row("Quarantined", table.line());
    }
    for total in &status.deadletters {
        row("Dead letters", format!("{} (\"bucardo list deadletters {}\")", total.line(), status.name));
    }
    for queue in &status.over_budget {
        row("Queue", super::status::status_queue(queue));
    }
    for total in status.tables.iter().filter(|_| with_tables) {
        let to = if total.target.is_empty() { "the sources" } else { &total.target };
        let counts = format!("{} inserted, {} deleted on {to}, last at", total.inserts, total.deletes);
        row("Table", format!("{}.{} : {counts} {}", total.schema, total.table, super::status::when(total.last)));
    }
    if let Some(run) = status.bad.as_ref().filter(|_| status.state == "Bad") {
        row("Last error", run.status.clone());
    }
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let rule = "=".repeat(70);
    let lines: Vec<String> = rows.iter().map(|(name, value)| format!("{name:<width$} : {value}")).collect();
    format!("{rule}\n{}\n{rule}", lines.join("\n"))
}

fn when(run: &RunStatus) -> String {
    run.started.format("%b %d, %Y %H:%M:%S").to_string()
}

fn extras(run: &RunStatus) -> String {
    let truncates = if run.truncates > 0 { "/truncates" } else { "" };
    let conflicts = if run.conflicts > 0 { "/conflicts" } else { "" };
    format!("{truncates}{conflicts}")
}

fn counts(run: &RunStatus, style: &Style) -> String {
    let mut numbers = vec![run.deletes, run.inserts];
    numbers.extend((run.truncates > 0).then_some(run.truncates));
    numbers.extend((run.conflicts > 0).then_some(run.conflicts));
    numbers.into_iter().map(|number| style.count(number)).collect::<Vec<_>>().join(" / ")
}
