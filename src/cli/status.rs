//! `status [names]`: how the syncs are, from the run history and from the sources.

use std::cmp::{Ordering, Reverse};
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::chosen::choose_or;
use super::copying::Copying;
use super::delta::grouped;
use super::process::Process;
use super::status_merge::Merge;
use super::targets::{Target, size, targets};
use super::{CliError, Context, Outcome};
use super::{deadletter, lock_wait, status_classic, status_detail, sync};
use crate::catalog::conflict_history::{self, Total};
use crate::catalog::queue::{self, OverBudget};
use crate::catalog::runs::{self, GoatTotal, Run};
use crate::catalog::states::{self, State, States};
use crate::catalog::syncs::{self, SyncListing};
use crate::catalog::{SyncDetail, load_sync, trouble};
use crate::daemon::pidfile::Presence;

/// All that is told of one sync.
#[derive(Debug, Serialize)]
pub(super) struct SyncStatus {
    pub(super) name: String,
    pub(super) state: String,
    /// How it is at this moment.
    pub(super) live: State,
    pub(super) good: Option<RunStatus>,
    pub(super) bad: Option<RunStatus>,
    pub(super) empty: Option<RunStatus>,
    pub(super) conflicts: Conflicts,
    /// How its sources are, where there are several.
    pub(super) merge: Option<Merge>,
    pub(super) targets: Vec<Target>,
    /// What was brought of each table.
    pub(super) tables: Vec<GoatTotal>,
    /// Tables that stay behind while the others go on.
    pub(super) quarantined: Vec<Quarantined>,
    /// What databases refused and waits there.
    pub(super) deadletters: Vec<deadletter::Total>,
    /// Sources that keep more for a target than their budget allows.
    pub(super) over_budget: Vec<OverBudget>,
    pub(super) sync: SyncListing,
}

/// A table that stays behind, with where and why.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Quarantined {
    /// Where it is read; empty: it is merged, or read at one of several.
    source: String,
    /// Where it stays behind.
    db: String,
    table: String,
    since: Option<chrono::DateTime<chrono::Local>>,
    why: Option<String>,
    hint: Option<String>,
}

impl Quarantined {
    pub(super) fn of(state: &State) -> Self {
        let State { source, db, relation, since, why, hint, .. } = state.clone();
        Self { source, db, table: relation, since, why, hint }
    }

    /// `A -> B: quarantined table "public.t" since 12:01:07: no column "v" (what to do)`
    pub(super) fn line(&self) -> String {
        let place = if self.source.is_empty() { self.db.clone() } else { format!("{} -> {}", self.source, self.db) };
        let since = self.since.map(|since| format!(" since {}", when(since))).unwrap_or_default();
        let why = self.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        let hint = self.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
        format!("{place}: quarantined table \"{}\"{since}{why}{hint}", self.table)
    }
}

/// How many conflicts a sync had, ever.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Conflicts {
    pub(super) total: i64,
    pub(super) last: Option<chrono::DateTime<chrono::Local>>,
    pub(super) tables: Vec<Total>,
}

impl Conflicts {
    fn of(sync: &str, totals: &[Total]) -> Self {
        let tables: Vec<Total> = totals.iter().filter(|total| total.sync == sync).cloned().collect();
        let total = tables.iter().map(|table| table.conflicts).sum();
        Self { total, last: tables.iter().map(|table| table.last).max(), tables }
    }
}

/// One run, in plain values.
#[derive(Clone, Debug, Serialize)]
pub(super) struct RunStatus {
    pub(super) started: chrono::DateTime<chrono::Local>,
    pub(super) ended: Option<chrono::DateTime<chrono::Local>>,
    /// How long it took, so far.
    took_seconds: f64,
    /// How long it is over.
    ago_seconds: Option<f64>,
    pub(super) deletes: u64,
    pub(super) inserts: u64,
    pub(super) truncates: u64,
    pub(super) conflicts: u64,
    pub(super) status: String,
}

impl RunStatus {
    fn of(run: &Run) -> Self {
        let took = run.ended.unwrap_or_else(SystemTime::now).duration_since(run.started).unwrap_or_default();
        Self {
            started: run.started.into(),
            ended: run.ended.map(Into::into),
            took_seconds: took.as_secs_f64(),
            ago_seconds: run.ended.and_then(|ended| ended.elapsed().ok()).map(|ago| ago.as_secs_f64()),
            deletes: run.counts.deletes,
            inserts: run.counts.inserts,
            truncates: run.counts.truncates,
            conflicts: run.counts.conflicts,
            status: run.status.clone(),
        }
    }

    /// How long it took.
    pub(super) fn took(&self) -> Duration {
        Duration::from_secs_f64(self.took_seconds)
    }

    /// How long it is over.
    pub(super) fn age(&self) -> Duration {
        Duration::from_secs_f64(self.ago_seconds.unwrap_or_default())
    }
}

#[derive(Serialize)]
struct Whole<'a> {
    mcp_pid: Option<i32>,
    dbs: Vec<Place<'a>>,
    syncs: &'a [SyncStatus],
}

/// A database that the daemon uses.
#[derive(Serialize)]
struct Place<'a> {
    db: &'a str,
    #[serde(flatten)]
    state: &'a State,
}

pub(super) async fn run(ctx: &Context) -> Outcome {
    let control = ctx.control().await?;
    let process = Process::load(ctx, &control).await?;
    let pid = match process.presence() {
        Ok(Presence::Running(pid)) => Some(pid),
        _ => None,
    };
    // Numbers mean nothing here.
    let words: Vec<String> = ctx.words.iter().filter(|word| word.parse::<u64>().is_err()).cloned().collect();
    let listings = if words.is_empty() {
        let listings = syncs::list(control.client()).await?;
        if listings.is_empty() && !ctx.out.is_json() {
            ctx.out.say("No syncs have been created yet.");
            return Ok(0);
        }
        listings
    } else {
        choose_or(&control, &words, sync::unknown).await?.syncs
    };
    let history = runs::last(control.client(), None).await?;
    let troubles = trouble::list(control.client()).await?;
    let states = states::load(control.client()).await?;
    let totals = conflict_history::totals(control.client()).await?;
    let queues = queue::list(control.client()).await?;
    let brought = runs::goat_totals(control.client(), None).await?;
    let detailed = !words.is_empty();
    let mut all = Vec::new();
    for sync in listings {
        // How far a copy is, only the targets know.
        let is_copied = sync.columns.get("onetimecopy").and_then(serde_json::Value::as_i64) > Some(0);
        let with_targets = detailed || ctx.out.is_json() || ctx.out.verbosity() > 0 || is_copied;
        let detail = load_sync(control.client(), &sync.name.as_str().into()).await?.filter(|_| with_targets);
        let (targets, merge, deadletters) = match &detail {
            Some(detail) => {
                tokio::join!(targets(detail, &troubles), Merge::of(detail, &troubles), waiting(detail))
            }
            None => (Vec::new(), None, Vec::new()),
        };
        let in_trouble = troubles.iter().any(|trouble| trouble.sync == sync.name && !trouble.is_away());
        let conflicts = Conflicts::of(&sync.name, &totals);
        let tables = brought.iter().filter(|total| total.sync == sync.name).cloned().collect();
        let over_budget = queues.iter().filter(|queue| queue.sync == sync.name).cloned().collect();
        let told = status(sync, &history, in_trouble, conflicts, &states);
        let quarantined = states.quarantined(&told.name).map(Quarantined::of).collect();
        let mut told = SyncStatus { targets, merge, tables, over_budget, quarantined, deadletters, ..told };
        for target in &mut told.targets {
            target.live = states.of_target(&told.name, &target.target).cloned();
            let is_at_work = target.live.as_ref().is_some_and(|live| live.state == "running");
            let db =
                detail.as_ref().filter(|_| is_at_work).and_then(|detail| detail.db(&target.target.as_str().into()));
            if let Some(db) = db {
                target.waits_for = lock_wait::waits_for(control.client(), &told.name, db).await;
            }
        }
        told.note_copy(in_trouble);
        all.push(told);
    }
    sort(&mut all, ctx.options.sort.as_deref())?;
    if ctx.out.is_json() {
        let dbs = states.dbs().map(|state| Place { db: &state.db, state }).collect();
        ctx.out.json(&Whole { mcp_pid: pid, dbs, syncs: &all })?;
    } else if detailed && ctx.is_classic {
        for sync in &all {
            ctx.out.say(status_classic::text(sync, &process.settings.daemon.pid_file(), days_back(ctx)));
        }
    } else if detailed {
        for sync in &all {
            ctx.out.say(status_detail::text(
                sync,
                &process.settings.daemon.pid_file(),
                ctx.out.verbosity() > 0,
                &Style::of(ctx),
            ));
        }
    } else {
        if ctx.is_classic {
            ctx.out.say(status_classic::head(days_back(ctx), &ctx.control_access()?, pid));
            ctx.out.say(status_classic::table(&all, days_back(ctx)));
        } else {
            pid.iter().for_each(|pid| ctx.out.say(format!("PID of Bucardo MCP: {pid}")));
            ctx.out.say(table(&all, &Style::of(ctx)));
        }
        if !states.runs {
            ctx.out.say("The daemon does not run: nothing is replicated (bucardo start)");
        }
        for (sync, queue) in all.iter().flat_map(|sync| sync.over_budget.iter().map(move |queue| (sync, queue))) {
            ctx.out.say(format!("Warning: sync {}: {}", sync.name, status_queue(queue)));
        }
        for sync in all.iter().filter(|sync| states.runs && !sync.live.is_well()) {
            ctx.out.say(format!("{}: {}", sync.name, line(&sync.live)));
        }
        for sync in &all {
            for kid in states.kids_in_trouble(&sync.name).filter(|kid| kid.why != sync.live.why) {
                let place =
                    if kid.db.is_empty() { "merge".to_owned() } else { format!("{} -> {}", kid.source, kid.db) };
                ctx.out.say(format!("{} {}: {}", sync.name, place.trim(), line(kid)));
            }
        }
        for sync in &all {
            sync.quarantined.iter().for_each(|table| ctx.out.say(format!("{} {}", sync.name, table.line())));
        }
        let connections: Vec<String> =
            states.dbs().filter_map(|db| Some(format!("{} {}", db.db, db.connections?))).collect();
        if states.runs && !connections.is_empty() {
            ctx.out.say(format!("Connections: {}", connections.join(", ")));
        }
        for db in states.stalled_dbs() {
            ctx.out.say(format!("database {}: {}", db.db, line(db)));
        }
        if ctx.out.verbosity() > 0 {
            for sync in &all {
                sync.merge.iter().for_each(|merge| ctx.out.say(format!("{}: merges {}", sync.name, merge.line())));
                sync.targets.iter().for_each(|target| ctx.out.say(format!("{}: {}", sync.name, target.line())));
            }
        }
    }
    Ok(0)
}

/// What waits as dead letters, where the sync allows it.
async fn waiting(sync: &SyncDetail) -> Vec<deadletter::Total> {
    if sync.deadletter { deadletter::Total::of(sync).await } else { Vec::new() }
}

/// How old runs may be that `bucardo_ctl` shows, in days.
fn days_back(ctx: &Context) -> u32 {
    ctx.options.daysback.unwrap_or(status_classic::DAYS_BACK)
}

impl SyncStatus {
    /// A sync whose targets are still being filled is not well yet.
    fn note_copy(&mut self, in_trouble: bool) {
        let copies = self.targets.iter().filter_map(|target| target.copying.as_ref());
        if let Some(percent) = copies.map(Copying::percent).min().filter(|_| !in_trouble) {
            self.state = format!("Copying {percent} %");
        }
    }
}

/// `stalled since 12:01:07, next try 12:16:07: no route (a hint)`
pub(super) fn line(state: &State) -> String {
    let mut text = state.state.clone();
    if let Some(since) = state.since {
        text.push_str(&format!(" since {}", when(since)));
    }
    if let Some(next) = state.next_try {
        text.push_str(&format!(", next try {}", when(next)));
    }
    if let Some(doing) = state.doing.as_ref().filter(|_| state.state == "running") {
        text.push_str(&format!(", {doing}"));
    }
    if let Some(why) = &state.why {
        text.push_str(&format!(": {why}"));
    }
    if let Some(hint) = &state.hint {
        text.push_str(&format!(" ({hint})"));
    }
    text
}

fn status(sync: SyncListing, history: &[Run], in_trouble: bool, conflicts: Conflicts, states: &States) -> SyncStatus {
    let own: Vec<&Run> = history.iter().filter(|run| run.sync == sync.name).collect();
    let last = |fits: fn(&Run) -> bool| own.iter().rev().find(|run| fits(run)).map(|run| RunStatus::of(run));
    let (good, bad, empty) = (last(|run| run.lastgood), last(|run| run.lastbad), last(|run| run.lastempty));
    let open = own.iter().rev().find(|run| run.ended.is_none()).map(|run| run.status.clone());
    let ended = |run: &Option<RunStatus>| run.as_ref().and_then(|run| run.ended);
    let well = ended(&good).max(ended(&empty));
    let state = open.unwrap_or_else(|| {
        let state = match (well, ended(&bad)) {
            // The other targets may well have had good runs since.
            _ if in_trouble => "Bad",
            (None, None) => "No records found",
            (well, bad) if bad > well => "Bad",
            _ => "Good",
        };
        state.to_owned()
    });
    let (merge, targets, tables, over_budget) = (None, Vec::new(), Vec::new(), Vec::new());
    let live = states.of_sync(&sync.name, &sync.status);
    // A sync that cannot be started has no run that would tell.
    let state = if live.state == "stalled" && state != "Bad" { "Stalled".to_owned() } else { state };
    SyncStatus {
        name: sync.name.clone(),
        state,
        live,
        good,
        bad,
        empty,
        conflicts,
        merge,
        targets,
        tables,
        over_budget,
        quarantined: Vec::new(),
        deadletters: Vec::new(),
        sync,
    }
}

fn sort(all: &mut [SyncStatus], wanted: Option<&str>) -> Result<(), CliError> {
    let column: i8 = match wanted {
        None => 1,
        Some(text) => text
            .parse()
            .ok()
            .filter(|column: &i8| (1..=9).contains(&column.abs()))
            .ok_or_else(|| CliError::die("Invalid sort option, must be +- 1 through 9"))?,
    };
    let rows = |sync: &SyncStatus| sync.good.as_ref().map_or(0, |run| run.deletes + run.inserts);
    let ended = |run: &Option<RunStatus>| run.as_ref().and_then(|run| run.ended);
    all.sort_by(|a, b| {
        let order = match column.abs() {
            3 => a.state.cmp(&b.state),
            5 => ended(&a.good).cmp(&ended(&b.good)),
            // The older the run, the longer its time.
            6 => Reverse(ended(&a.good)).cmp(&Reverse(ended(&b.good))),
            7 => rows(a).cmp(&rows(b)),
            8 => ended(&a.bad).cmp(&ended(&b.bad)),
            9 => Reverse(ended(&a.bad)).cmp(&Reverse(ended(&b.bad))),
            _ => Ordering::Equal,
        };
        let order = order.then_with(|| a.name.cmp(&b.name));
        if column < 0 { order.reverse() } else { order }
    });
    Ok(())
}

/// `A keeps 12000 changes for B …`
pub(super) fn status_queue(queue: &OverBudget) -> String {
    let OverBudget { db, target, changes, why, .. } = queue;
    let (size, since) = (size(queue.bytes), when(queue.since));
    let done = queue.done.as_ref().map(|done| format!("; {done}")).unwrap_or_default();
    format!("{db} keeps {changes} changes ({size}) for {target} since {since}: {why}{done}")
}

/// `12m 3s`
pub(super) fn duration(duration: Duration) -> String {
    let whole = Duration::from_secs(duration.as_secs());
    humantime::format_duration(whole).to_string()
}

/// How numbers and durations look: `--tsep` and `--compress`.
#[derive(Clone, Debug, Default)]
pub(super) struct Style {
    separator: String,
    compress: bool,
}

impl Style {
    fn of(ctx: &Context) -> Self {
        Self { separator: ctx.options.tsep.clone().unwrap_or_default(), compress: ctx.options.compress }
    }

    /// `1,234,567` where the separator is a comma.
    pub(super) fn count(&self, count: u64) -> String {
        grouped(i64::try_from(count).unwrap_or(i64::MAX), &self.separator)
    }

    /// `12m 3s`, or `12m3s`.
    pub(super) fn duration(&self, time: Duration) -> String {
        let text = duration(time);
        if self.compress { text.replace(' ', "") } else { text }
    }
}

/// The time if it was today, else the whole date.
pub(super) fn when(at: chrono::DateTime<chrono::Local>) -> String {
    let today = at.date_naive() == chrono::Local::now().date_naive();
    at.format(if today { "%H:%M:%S" } else { "%b %d, %Y %H:%M:%S" }).to_string()
}

fn table(all: &[SyncStatus], style: &Style) -> String {
    let any =
        |count: fn(&RunStatus) -> u64| all.iter().any(|sync| sync.good.as_ref().is_some_and(|run| count(run) > 0));
    let (truncates, conflicts) = (any(|run| run.truncates), any(|run| run.conflicts));
    let counts = format!("Last I/D{}{}", if truncates { "/T" } else { "" }, if conflicts { "/C" } else { "" });
    let any_ever = all.iter().any(|sync| sync.conflicts.total > 0);
    let mut head = ["Name", "State", "Last good", "Time", &counts, "Last bad", "Time"].map(str::to_owned).to_vec();
    head.extend(any_ever.then(|| "Conflicts".to_owned()));
    let mut rows = vec![head];
    for sync in all {
        let end = |run: &Option<RunStatus>| match run.as_ref().and_then(|run| run.ended.map(|ended| (ended, run.age())))
        {
            Some((ended, age)) => (when(ended), style.duration(age)),
            None => ("none".to_owned(), String::new()),
        };
        let counts = sync.good.as_ref().map_or_else(String::new, |run| {
            let mut counts = vec![run.inserts, run.deletes];
            counts.extend(truncates.then_some(run.truncates));
            counts.extend(conflicts.then_some(run.conflicts));
            counts.into_iter().map(|count| style.count(count)).collect::<Vec<_>>().join("/")
        });
        let ((good, good_age), (bad, bad_age)) = (end(&sync.good), end(&sync.bad));
        let mut cells = vec![sync.name.clone(), sync.state.clone(), good, good_age, counts, bad, bad_age];
        cells.extend(any_ever.then(|| sync.conflicts.total.to_string()));
        rows.push(cells);
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
    let line = |row: &Vec<String>, between: &str| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!(" {cell:<width$} "));
        cells.collect::<Vec<_>>().join(between).trim_end().to_owned()
    };
    let rule = widths.iter().map(|width| "=".repeat(width + 2)).collect::<Vec<_>>().join("+");
    let mut lines = vec![line(&rows[0], " "), rule];
    lines.extend(rows[1..].iter().map(|row| line(row, "|")));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_durations_look_as_they_are_asked_for() {
        let plain = Style::default();
        assert_eq!(
            (plain.count(1_234_567), plain.duration(Duration::from_secs(723))),
            ("1234567".into(), "12m 3s".into())
        );
        let style = Style { separator: ",".to_owned(), compress: true };
        for (count, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(style.count(count), text);
        }
        assert_eq!(style.duration(Duration::from_secs(723)), "12m3s");
    }
}
