//! The live table: what each target has got and still lacks while the load runs, and how a KID gets over a broken
//! connection.

use std::time::{Duration, Instant};

use humantime::format_duration;
use indicatif::HumanCount;

use bucardo_actors::model::SyncName;

use crate::pg::{Connection, SqlFile};
use crate::source::deltas::{self, TargetState};

use super::DemoError;
use super::load::Load;
use super::screen::{Lines, Screen};
use super::stage::{SOURCE, SYNC, Stage, TARGETS};

const SESSIONS: SqlFile = SqlFile::new(include_str!("../../sql/demo/sessions.sql"));
const TERMINATE: SqlFile = SqlFile::new(include_str!("../../sql/demo/terminate.sql"));
/// The target whose connection is cut.
const CUT: &str = TARGETS[0];
/// Application names of the daemon's sessions on a target.
const KID_SESSIONS: &str = "bucardo KID%";
const DRAINED_WITHIN: Duration = Duration::from_secs(120);

/// What happens to the connection that is cut.
enum Cutting {
    Planned {
        at: Instant,
    },
    Cut {
        at: Instant,
        sessions: Vec<i32>,
    },
    /// There is a new session; whether it does its work, rows must show.
    Connected {
        cut_at: Instant,
        rows: i64,
    },
    Recovered,
}

/// Shows the table while `load` runs, cuts a connection half way, and waits until nothing is left to deliver.
pub(super) async fn watch(stage: &Stage, screen: &Screen, mut load: Load) -> Result<(), DemoError> {
    let source = stage.connect(SOURCE).await?;
    let target = stage.connect(CUT).await?;
    let mut lines = screen.lines(TARGETS.len() + 1);
    let before = states(&source).await?;
    let begun = Instant::now();
    let mut cutting = Cutting::Planned { at: begun + load.duration / 2 };
    let mut ended: Option<Instant> = None;
    loop {
        let states = states(&source).await?;
        lines.set(&table(begun, &before, &states));
        cutting = cutting.go_on(&target, &states, &lines).await?;
        let drained = states.len() == TARGETS.len() && states.iter().all(|state| state.waiting == 0);
        match (ended, load.ended()?) {
            (None, Some(rate)) => {
                lines.note(&format!("pgbench has ended: {rate:.0} transactions per second; what waits is delivered"));
                ended = Some(Instant::now());
            }
            (Some(ended), _) if drained => {
                lines.finish();
                screen.note(&format!("all delivered {:.1} s after the load's end", ended.elapsed().as_secs_f32()));
                return Ok(());
            }
            (Some(ended), _) if ended.elapsed() > DRAINED_WITHIN => {
                let what = "the delivery of everything".to_owned();
                return Err(DemoError::TooSlow { what, within: DRAINED_WITHIN, log: stage.log() });
            }
            _ => {}
        }
        screen.pause().await?;
    }
}

async fn states(source: &Connection) -> Result<Vec<TargetState>, DemoError> {
    let failed = |source| DemoError::Sql { what: "count waiting changes", cluster: SOURCE, source };
    deltas::waiting(source, &SyncName::from(SYNC)).await.map_err(failed)
}

/// A heading and a line per target; what was delivered `before`, by the copy, does not count.
fn table(begun: Instant, before: &[TargetState], states: &[TargetState]) -> Vec<String> {
    let seconds = begun.elapsed().as_secs();
    let heading = format!("{:>3} s  target {:>15} {:>13} {:>10}", seconds, "rows delivered", "rows waiting", "lag");
    let count = |count: i64| HumanCount(u64::try_from(count).unwrap_or_default()).to_string();
    let lines = states.iter().map(|state| {
        let copied = before.iter().find(|old| old.target == state.target).map_or(0, |old| old.inserts);
        let (delivered, waiting) = (count(state.inserts - copied), count(state.waiting));
        format!("       {:<6} {delivered:>15} {waiting:>13} {:>10}", state.target.as_str(), lag(state))
    });
    std::iter::once(heading).chain(lines).collect()
}

/// Age of the oldest change that the target lacks.
fn lag(state: &TargetState) -> String {
    let age = state.oldest.map(|oldest| (state.now - oldest).num_milliseconds());
    let age = Duration::from_millis(age.and_then(|age| u64::try_from(age).ok()).unwrap_or_default());
    format_duration(age).to_string()
}

impl Cutting {
    async fn go_on(self, target: &Connection, states: &[TargetState], lines: &Lines) -> Result<Self, DemoError> {
        let rows = states.iter().find(|state| state.target.as_str() == CUT).map_or(0, |state| state.inserts);
        match self {
            Self::Planned { at } if Instant::now() >= at => {
                let sessions = sessions(target).await?;
                for session in &sessions {
                    terminate(target, *session).await?;
                }
                lines
                    .note(&format!("cut: the KID's connection to {CUT} is terminated (server processes {sessions:?})"));
                Ok(Self::Cut { at: Instant::now(), sessions })
            }
            Self::Cut { at, sessions: cut } => {
                let new = sessions(target).await?.iter().any(|session| !cut.contains(session));
                Ok(if new { Self::Connected { cut_at: at, rows } } else { Self::Cut { at, sessions: cut } })
            }
            Self::Connected { cut_at, rows: before } if rows > before => {
                let seconds = cut_at.elapsed().as_secs_f32();
                lines.note(&format!("recovered: {CUT} gets rows again, {seconds:.1} s after the cut"));
                Ok(Self::Recovered)
            }
            other => Ok(other),
        }
    }
}

async fn sessions(target: &Connection) -> Result<Vec<i32>, DemoError> {
    let rows = target.query(SESSIONS.text(), &[&KID_SESSIONS]).await;
    let rows = rows.map_err(|source| DemoError::Sql { what: "find the KID's session", cluster: CUT, source })?;
    Ok(rows.iter().map(|row| row.get("pid")).collect())
}

async fn terminate(target: &Connection, session: i32) -> Result<(), DemoError> {
    let done = target.execute(TERMINATE.text(), &[&session]).await;
    done.map_err(|source| DemoError::Sql { what: "end the KID's session", cluster: CUT, source })?;
    Ok(())
}
