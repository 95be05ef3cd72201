//! `bucardo_ctl status`: the layouts of versions 3 and 4.

use std::time::Duration;

use serde_json::Value;

use super::classic::kind;
use super::status::{RunStatus, SyncStatus, when};
use crate::catalog::syncs::SyncListing;
use crate::pg::Access;

/// `Days back: 3  User: …  Database: …  PID of Bucardo MCP: n`
pub(super) fn head(days_back: u32, access: &Access, pid: Option<i32>) -> String {
    let mut words = vec![format!("Days back: {days_back}")];
    for (name, keyword) in [("User", "user"), ("Database", "dbname"), ("Host", "host"), ("Port", "port")] {
        words.extend(access.get(keyword).map(|value| format!("{name}: {value}")));
    }
    words.extend(pid.map(|pid| format!("PID of Bucardo MCP: {pid}")));
    words.join("  ")
}

/// The table of all syncs.
pub(super) fn table(all: &[SyncStatus], days_back: u32) -> String {
    let mut rows =
        vec![["Name", "Type", "State", "PID", "Last_good", "Time", "I/U/D", "Last_bad", "Time"].map(str::to_owned)];
    rows.extend(all.iter().map(|status| {
        let (good, good_age) = ended(recent(status.good.as_ref(), days_back));
        let (bad, bad_age) = ended(recent(status.bad.as_ref(), days_back));
        let counts = recent(status.good.as_ref(), days_back).map(counts).unwrap_or_default();
        let pid = status.live.id.map(|id| id.to_string()).unwrap_or_default();
        [status.name.clone(), letters(status), state(status), pid, good, good_age, counts, bad, bad_age]
    }));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
    let line = |row: &[String; 9]| {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    let rule = widths.iter().map(|width| "=".repeat(*width)).collect::<Vec<_>>().join("==");
    let mut lines = vec![line(&rows[0]), rule];
    lines.extend(rows[1..].iter().map(line));
    lines.join("\n")
}

/// Everything about one sync.
pub(super) fn text(status: &SyncStatus, pid_file: &std::path::Path, days_back: u32) -> String {
    let sync = &status.sync;
    let column = |name: &str| shown(sync.columns.get(name));
    let mut rows: Vec<(&str, String)> = Vec::new();
    let mut row = |name: &'static str, value: String| rows.push((name, value));
    row("Sync name:", status.name.clone());
    let pid = status.live.id.map(|id| format!(" (PID = {id})")).unwrap_or_default();
    row("Current state:", format!("{}{pid}", state(status)));
    row("Type:", kind(sync).to_owned());
    let sources = of_role(sync, "source");
    row("Source herd/database:", format!("{} / {}", sync.herd.as_deref().unwrap_or("none"), sources.join(", ")));
    match (sync.columns.get("targetgroup"), sync.columns.get("targetdb")) {
        (Some(Value::String(group)), _) => row("Target group:", group.clone()),
        (_, target) => row("Target database:", target.and_then(Value::as_str).unwrap_or("none").to_owned()),
    }
    row("Tables in sync:", sync.relations.len().to_string());
    match recent(status.good.as_ref(), days_back) {
        Some(run) => {
            let (at, age) = ended(Some(run));
            row("Last good:", format!("{age} (time to run: {})", duration(run.took())));
            row("Last good time:", at);
            row("Ins/Upd/Del:", counts(run).replace('/', " / "));
        }
        None => row("Last good:", "none".to_owned()),
    }
    match recent(status.bad.as_ref(), days_back) {
        Some(run) => {
            let (at, age) = ended(Some(run));
            row("Last bad:", format!("{age} (time until fail: {})", duration(run.took())));
            row("Last bad time:", at);
            row("Latest bad reason:", run.status.clone());
        }
        None => row("Last bad:", "none".to_owned()),
    }
    if let Ok(about) = std::fs::metadata(pid_file) {
        row("PID file:", pid_file.display().to_string());
        if let Ok(changed) = about.modified() {
            row("PID file created:", when(changed.into()));
        }
    }
    row("Status:", sync.status.clone());
    row("Limitdbs:", column("limitdbs"));
    row("Priority:", column("priority"));
    row("Checktime:", column("checktime"));
    row("Overdue time:", column("overdue"));
    row("Expired time:", column("expired"));
    row("Stayalive:", format!("{}      Kidsalive: {}", column("stayalive"), column("kidsalive")));
    row("Rebuild index:", format!("{}      Do_listen: {}", column("rebuild_index"), column("do_listen")));
    row("Ping:", format!("{}      Makedelta: {}", column("autokick"), column("makedelta")));
    row("Onetimecopy:", column("onetimecopy"));
    if kind(sync) == "fullcopy" {
        row("Custom select:", column("usecustomselect"));
        row("Post-copy analyze:", column("analyze_after_copy"));
        row("Delete method:", column("deletemethod"));
    }
    for table in &status.quarantined {
        row("Quarantined:", table.line());
    }
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let rule = "=".repeat(70);
    let lines: Vec<String> = rows.iter().map(|(name, value)| format!("{name:<width$}  {value}")).collect();
    format!("{rule}\n{}\n{rule}", lines.join("\n"))
}

fn of_role<'a>(sync: &'a SyncListing, role: &str) -> Vec<&'a str> {
    sync.members.iter().filter(|member| member.role == role).map(|member| member.db.as_str()).collect()
}

fn shown(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "none".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Bool(on)) => if *on { "yes" } else { "no" }.to_owned(),
        Some(other) => other.to_string(),
    }
}

/// P, F or S, and whether the last good run is too long ago: `O!` overdue, `E!` expired.
fn letters(status: &SyncStatus) -> String {
    let letter = match kind(&status.sync) {
        "swap" => "S",
        "fullcopy" => "F",
        _ => "P",
    };
    let bound = |name: &str| {
        status.sync.columns.get(name).and_then(Value::as_str).and_then(span).filter(|span| !span.is_zero())
    };
    let last = status.good.iter().chain(&status.empty).map(RunStatus::age).min();
    let passed = |bound: Option<Duration>| bound.is_some_and(|bound| last.is_none_or(|last| last > bound));
    let alarm = if passed(bound("expired")) {
        " E!"
    } else if passed(bound("overdue")) {
        " O!"
    } else {
        ""
    };
    format!("{letter}{alarm}")
}

/// In the words of version 4 where it had one.
fn state(status: &SyncStatus) -> String {
    let live = &status.live;
    let since = || live.since.and_then(|since| (chrono::Local::now() - since).to_std().ok()).unwrap_or_default();
    match live.state.as_str() {
        "inactive" => "off".to_owned(),
        "running" => format!("RUN:{}", duration(since())),
        "stalled" => format!("WAIT:{}", duration(since())),
        "active" | "idle" | "finished" => "idle".to_owned(),
        other => other.to_owned(),
    }
}

/// A run that is not longer ago than so many days; 0: any.
fn recent(run: Option<&RunStatus>, days_back: u32) -> Option<&RunStatus> {
    run.filter(|run| days_back == 0 || run.age() <= Duration::from_secs(u64::from(days_back) * 86_400))
}

fn ended(run: Option<&RunStatus>) -> (String, String) {
    let ended = run.and_then(|run| run.ended.map(|ended| (when(ended), duration(run.age()))));
    ended.unwrap_or_else(|| ("none".to_owned(), String::new()))
}

/// An update is a deletion and an insertion, as version 4 counted it.
fn counts(run: &RunStatus) -> String {
    format!("{}/0/{}", run.inserts, run.deletes)
}

/// `19h 12m 33s`
fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m {seconds}s"),
        (hours, minutes, seconds) => format!("{hours}h {minutes}m {seconds}s"),
    }
}

/// An interval as PostgreSQL writes it: `3 days 02:00:00`; a month has 30 days.
fn span(text: &str) -> Option<Duration> {
    let (mut seconds, mut words) = (0.0, text.split_whitespace());
    while let Some(word) = words.next() {
        if let Some((hours, rest)) = word.split_once(':') {
            let (minutes, rest) = rest.split_once(':')?;
            seconds += hours.parse::<f64>().ok()? * 3600.0 + minutes.parse::<f64>().ok()? * 60.0;
            seconds += rest.parse::<f64>().ok()?;
        } else {
            let days = match words.next()?.trim_end_matches('s') {
                "day" => 1.0,
                "mon" => 30.0,
                "year" => 365.0,
                _ => return None,
            };
            seconds += word.parse::<f64>().ok()? * days * 86_400.0;
        }
    }
    Duration::try_from_secs_f64(seconds).ok()
}

/// How far back `bucardo_ctl` looks when nobody says it.
pub(super) const DAYS_BACK: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_and_durations_are_those_of_postgresql_and_version_4() {
        for (text, seconds) in [
            ("00:10:00", Some(600)),
            ("1 day", Some(86_400)),
            ("2 days 03:00:01.5", Some(2 * 86_400 + 3 * 3600 + 1)),
            ("1 mon 1 day", Some(31 * 86_400)),
            ("soon", None),
        ] {
            assert_eq!(span(text).map(|span| span.as_secs()), seconds, "{text}");
        }
        for (seconds, text) in
            [(0, "0s"), (59, "59s"), (61, "1m 1s"), (69_153, "19h 12m 33s"), (200_000, "55h 33m 20s")]
        {
            assert_eq!(duration(Duration::from_secs(seconds)), text);
        }
    }
}
