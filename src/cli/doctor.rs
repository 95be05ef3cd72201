//! `doctor`: looks at every database and every sync, says what is wrong, and how it is mended. Changes nothing.

use serde::Serialize;

use super::deadletter::Total;
use super::status::Quarantined;
use super::targets::targets;
use super::{CliError, Context, Outcome, status, words};
use crate::catalog::dbs::{self, DbRow};
use crate::catalog::states::State;
use crate::catalog::{load_syncs, states, trouble};
use crate::pg::connect;
use crate::progress;
use crate::report::causes;
use crate::source::check_sync;
use crate::source::examine::{Examined, examine, grant_needed};

/// A clock that is further off than this may decide conflicts wrongly, in seconds.
const CLOCK_OFFSET_MAX: f64 = 1.0;
/// A transaction that is open for longer holds up purging, in seconds.
const TRANSACTION_MAX: f64 = 3600.0;
/// Changes that wait for longer are a backlog that somebody should look at, in seconds.
const LAG_MAX: f64 = 900.0;
/// So many sessions are to be left, in percent.
const CONNECTIONS_PERCENT_MAX: i64 = 90;

/// One thing that is wrong, or should be known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Finding {
    /// Keeps something from working; else it should only be known.
    is_problem: bool,
    what: String,
    /// SQL or a command that mends it.
    remedy: Option<String>,
}

impl Finding {
    fn problem(what: impl Into<String>, remedy: Option<String>) -> Self {
        Self { is_problem: true, what: what.into(), remedy }
    }

    fn warning(what: impl Into<String>, remedy: Option<String>) -> Self {
        Self { is_problem: false, what: what.into(), remedy }
    }
}

#[derive(Debug, Serialize)]
struct DbReport {
    db: String,
    at: String,
    found: Option<Examined>,
    findings: Vec<Finding>,
}

#[derive(Debug, Serialize)]
struct SyncReport {
    sync: String,
    findings: Vec<Finding>,
}

/// `doctor [DB or SYNC…]`
pub(super) async fn run(ctx: &Context) -> Outcome {
    let control = ctx.control().await?;
    let names = words::flat(&ctx.words);
    let (mut rows, mut syncs) = (dbs::rows(control.client(), None).await?, load_syncs(control.client()).await?);
    if let Some(unknown) = names.iter().find(|name| {
        !rows.iter().any(|row| row.name == **name) && !syncs.iter().any(|sync| sync.name.as_str() == name.as_str())
    }) {
        let known = rows.iter().map(|row| row.name.as_str()).chain(syncs.iter().map(|sync| sync.name.as_str()));
        return Err(
            CliError::die(format!("There is no database and no sync named \"{unknown}\"")).suggest(unknown, known)
        );
    }
    let merged = |db: &str| {
        syncs.iter().any(|sync| sync.is_merging() && sync.members.iter().any(|it| it.db.name.as_str() == db))
    };
    let known: Vec<String> = syncs.iter().map(|sync| sync.name.to_string()).collect();
    rows.retain(|row| names.is_empty() || names.contains(&row.name));
    let mut databases = Vec::new();
    for row in &rows {
        progress::step(|| format!("looking at database \"{}\"", row.name));
        databases.push(database(row, merged(&row.name), &known).await);
    }
    syncs.retain(|sync| names.is_empty() || names.iter().any(|name| name == sync.name.as_str()));
    let troubles = trouble::list(control.client()).await?;
    let states = states::load(control.client()).await?;
    let mut reports = Vec::new();
    for sync in &syncs {
        progress::step(|| format!("checking sync \"{}\"", sync.name));
        let mut findings = Vec::new();
        if let Some(problem) = &sync.problem {
            findings.push(Finding::problem(problem, None));
        } else {
            match Box::pin(check_sync(sync)).await {
                Ok(checked) => {
                    findings.extend(checked.problems.into_iter().map(|what| Finding::problem(what, None)));
                    findings.extend(checked.warnings.into_iter().map(|what| Finding::warning(what, None)));
                    let behind = Box::pin(targets(sync, &troubles)).await;
                    let remedy = format!("bucardo status {}   -- says what keeps it", sync.name);
                    let behind = behind.iter().filter_map(|target| target.is_behind(LAG_MAX));
                    findings.extend(behind.map(|what| Finding::problem(what, Some(remedy.clone()))));
                }
                Err(error) => findings.push(Finding::problem(error.told(), error.hint())),
            }
            let name = &sync.name;
            let remedy =
                format!("bucardo list deadletters {name}   -- says why; bucardo retry {name} sends them again");
            let waiting = Box::pin(Total::of(sync)).await;
            let waiting = waiting.iter().filter_map(Total::waiting).map(|it| format!("dead letters: {it}"));
            findings.extend(waiting.map(|what| Finding::warning(what, Some(remedy.clone()))));
        }
        let in_trouble = states.kids_in_trouble(sync.name.as_str()).filter(|_| states.runs).map(trouble_of);
        findings.extend(in_trouble);
        let aside = states.quarantined(sync.name.as_str()).map(Quarantined::of);
        findings.extend(aside.map(|table| Finding::problem(table.line(), None)));
        if sync.status != "active" {
            let remedy = format!("bucardo update sync {} status=active && bucardo reload", sync.name);
            findings.push(Finding::warning(format!("its status is {}", sync.status), Some(remedy)));
        }
        reports.push(SyncReport { sync: sync.name.to_string(), findings });
    }
    let all = databases.iter().flat_map(|it| &it.findings).chain(reports.iter().flat_map(|it| &it.findings));
    let problems = all.filter(|finding| finding.is_problem).count();
    if ctx.out.is_json() {
        ctx.out.json(&serde_json::json!({"problems": problems, "daemon_runs": states.runs, "databases": databases, "syncs": reports}))?;
    } else {
        for report in &databases {
            ctx.out.say(format!("Database {}: {}", report.db, report.at));
            if let Some(found) = &report.found {
                ctx.out.say(format!("  {}", line(found)));
            }
            tell(ctx, &report.findings);
        }
        for report in &reports {
            ctx.out.say(format!("Sync {}:", report.sync));
            tell(ctx, &report.findings);
        }
        let found = match problems {
            0 => "No problems found".to_owned(),
            1 => "1 problem found".to_owned(),
            many => format!("{many} problems found"),
        };
        ctx.out.say(match states.runs || syncs.is_empty() {
            true => found,
            false => format!("{found}; but the daemon does not run, nothing is replicated (bucardo start)"),
        });
    }
    Ok(u8::from(problems > 0))
}

/// Work that does not go on, as the daemon shows it: since when, when it is tried again, and why.
fn trouble_of(kid: &State) -> Finding {
    let place = if kid.db.is_empty() { "the merge".to_owned() } else { format!("{} -> {}", kid.source, kid.db) };
    let without_hint = State { hint: None, ..kid.clone() };
    Finding::problem(format!("{}: {}", place.trim(), status::line(&without_hint)), kid.hint.clone())
}

fn tell(ctx: &Context, findings: &[Finding]) {
    if findings.is_empty() {
        ctx.out.say("  OK");
    }
    for finding in findings {
        let word = if finding.is_problem { "PROBLEM" } else { "Warning" };
        ctx.out.say(format!("  {word}: {}", finding.what.replace('\n', "\n    ")));
        if let Some(remedy) = &finding.remedy {
            ctx.out.say(format!("    {}", remedy.replace('\n', "\n    ")));
        }
    }
}

fn line(found: &Examined) -> String {
    let kind = if found.is_superuser { "superuser" } else { "role" };
    format!(
        "PostgreSQL {}, {kind} \"{}\", clock {:+.3} s (± {:.3}), {} of {} sessions, changes {} kB",
        found.version,
        found.role,
        found.clock_offset,
        found.clock_error,
        found.connections,
        found.connections_max,
        found.delta_bytes / 1024
    )
}

/// `known`: the syncs of the catalog.
async fn database(row: &DbRow, is_merged: bool, known: &[String]) -> DbReport {
    let mut report = DbReport { db: row.name.clone(), at: String::new(), found: None, findings: Vec::new() };
    if row.kind != dbs::POSTGRES {
        report.findings.push(Finding::warning(format!("databases of type {} are not looked at", row.kind), None));
        return report;
    }
    let access = match row.access() {
        Ok(access) => access,
        Err(error) => {
            report.findings.push(Finding::problem(causes(&error), None));
            return report;
        }
    };
    report.at = access.describe();
    let conn = match Box::pin(connect(&access, "bucardo doctor")).await {
        Ok(conn) => conn,
        Err(error) => {
            report.findings.push(Finding::problem(format!("cannot connect: {}", causes(&error)), error.hint()));
            return report;
        }
    };
    match examine(&conn).await {
        Ok(found) => {
            report.findings = judge(&found, is_merged, known);
            report.found = Some(found);
        }
        Err(error) => {
            let grant = grant_needed(&conn).await.ok().flatten();
            let remedy =
                grant.map(|grant| format!("{grant};   -- the role that has installed it, or connect as that one"));
            report.findings.push(Finding::problem(format!("cannot look into it: {}", causes(&error)), remedy));
        }
    }
    report
}

fn judge(found: &Examined, is_merged: bool, known: &[String]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for statement in &found.disabled {
        let what = "a trigger that captures changes is disabled: changes are lost";
        findings.push(Finding::problem(what, Some(format!("{statement};"))));
    }
    for (table, syncs) in &found.bare {
        findings.push(Finding::problem(
            format!("table {table} has no triggers: its changes are lost"),
            Some(format!("bucardo validate {}   -- then copy it anew: onetimecopy=1", syncs.join(" "))),
        ));
    }
    // Those of a copy that goes on come back at its end.
    for lacking in found.lacking_indexes.iter().filter(|it| !known.contains(&it.sync)) {
        let what = format!(
            "table {} lacks indexes that a copy of the removed sync \"{}\" dropped",
            lacking.table, lacking.sync
        );
        findings.push(Finding::problem(what, Some(format!("{};", lacking.statements.join(";\n")))));
    }
    let offset = found.clock_offset.abs() - found.clock_error;
    if offset > CLOCK_OFFSET_MAX {
        let what = format!("its clock is {:+.1} s off this host's", found.clock_offset);
        let remedy = Some("run NTP on all hosts: where sources disagree, the newest change wins".to_owned());
        findings.push(if is_merged { Finding::problem(what, remedy) } else { Finding::warning(what, remedy) });
    }
    if let Some(age) = found.oldest_transaction.filter(|age| *age > TRANSACTION_MAX) {
        findings.push(Finding::warning(
            format!("a transaction has been open for {:.0} minutes: nothing newer is purged", age / 60.0),
            Some("SELECT pid, usename, state, query FROM pg_stat_activity ORDER BY xact_start LIMIT 1;".to_owned()),
        ));
    }
    if let Some(age) = found.oldest_prepared.filter(|age| *age > TRANSACTION_MAX) {
        findings.push(Finding::warning(
            format!("a transaction was prepared {:.0} minutes ago and has not ended: nothing newer is purged", age / 60.0),
            Some("SELECT gid, owner, prepared FROM pg_prepared_xacts ORDER BY prepared LIMIT 1;   -- then COMMIT or ROLLBACK PREPARED".to_owned()),
        ));
    }
    if found.connections * 100 > i64::from(found.connections_max) * CONNECTIONS_PERCENT_MAX {
        findings.push(Finding::warning(
            format!("{} of {} sessions are taken", found.connections, found.connections_max),
            Some("raise max_connections, or close sessions that are idle".to_owned()),
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::LackingIndexes;

    fn healthy() -> Examined {
        Examined {
            version: "15.1".into(),
            role: "bucardo".into(),
            is_superuser: false,
            is_standby: false,
            clock_offset: 0.2,
            clock_error: 0.01,
            connections_max: 100,
            connections: 5,
            oldest_transaction: None,
            oldest_prepared: None,
            delta_bytes: 0,
            disabled: Vec::new(),
            bare: Vec::new(),
            lacking_indexes: Vec::new(),
        }
    }

    #[test]
    fn each_thing_that_is_wrong_is_found_alone() {
        let problems = |found: Examined, merged| {
            judge(&found, merged, &["s".to_owned()]).into_iter().map(|it| it.is_problem).collect::<Vec<_>>()
        };
        assert!(problems(healthy(), true).is_empty());
        assert_eq!(problems(Examined { clock_offset: -1.5, ..healthy() }, true), [true]);
        assert_eq!(problems(Examined { clock_offset: -1.5, ..healthy() }, false), [false]);
        // A slow answer says little of a clock.
        assert!(problems(Examined { clock_offset: 2.5, clock_error: 2.0, ..healthy() }, true).is_empty());
        assert_eq!(problems(Examined { connections: 91, ..healthy() }, true), [false]);
        assert_eq!(problems(Examined { oldest_transaction: Some(4000.0), ..healthy() }, true), [false]);
        assert_eq!(problems(Examined { oldest_prepared: Some(4000.0), ..healthy() }, true), [false]);
        assert_eq!(
            problems(Examined { disabled: vec!["ALTER TABLE t ENABLE TRIGGER x".into()], ..healthy() }, false),
            [true]
        );
        let lacking = |sync: &str| LackingIndexes {
            sync: sync.into(),
            table: "t".into(),
            statements: vec!["CREATE INDEX i ON t (n)".into()],
        };
        assert_eq!(
            problems(Examined { lacking_indexes: vec![lacking("gone"), lacking("s")], ..healthy() }, false),
            [true]
        );
        assert_eq!(problems(Examined { bare: vec![("t".into(), vec!["s".into()])], ..healthy() }, false), [true]);
    }
}
