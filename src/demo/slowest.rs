//! How long changes took: every row of the history is inserted once, and all servers note when they commit.

use std::time::Duration;

use crate::pg::SqlFile;

use super::DemoError;
use super::screen::Screen;
use super::stage::{SOURCE, Stage, TARGETS};

const COMMITTED: SqlFile = SqlFile::new(include_str!("../../sql/demo/committed.sql"));

/// Says, per target, how long the slowest change took from the commit on A to the commit on the target, and the
/// median and 99th percentile beside it.
pub(super) async fn tell(stage: &Stage, screen: &Screen) -> Result<(), DemoError> {
    screen.title("How long a change took, from its commit on A to its commit on the target");
    let source = committed(stage, SOURCE).await?;
    for target in TARGETS {
        let delays = delays(&source, &committed(stage, target).await?);
        let Some(slowest) = delays.last() else { continue };
        screen.note(&format!(
            "{target}  {} changes: half within {}, 99 % within {}, the slowest {}",
            delays.len(),
            milliseconds(at(&delays, 50)),
            milliseconds(at(&delays, 99)),
            milliseconds(*slowest),
        ));
    }
    Ok(())
}

/// Row and time of its commit in microseconds, ordered by row.
async fn committed(stage: &Stage, cluster: &'static str) -> Result<Vec<(i64, i64)>, DemoError> {
    let connection = stage.connect(cluster).await?;
    let rows = connection.query(COMMITTED.text(), &[]).await;
    let rows = rows.map_err(|source| DemoError::Sql { what: "read commit times", cluster, source })?;
    Ok(rows.iter().filter_map(|row| Some((row.get("id"), row.get::<_, Option<i64>>("committed")?))).collect())
}

/// Delays in order of length; both lists are ordered by row.
fn delays(source: &[(i64, i64)], target: &[(i64, i64)]) -> Vec<Duration> {
    let mut delays: Vec<Duration> = target
        .iter()
        .filter_map(|(id, arrived)| {
            let index = source.binary_search_by_key(id, |(id, _)| *id).ok()?;
            Some(Duration::from_micros(u64::try_from(arrived - source[index].1).unwrap_or_default()))
        })
        .collect();
    delays.sort();
    delays
}

fn at(ordered: &[Duration], percent: usize) -> Duration {
    ordered.get(ordered.len().saturating_sub(1) * percent / 100).copied().unwrap_or_default()
}

fn milliseconds(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_are_those_of_rows_on_both_sides_in_order() {
        let source = [(1, 1000), (2, 2000), (4, 4000)];
        let target = [(1, 6000), (2, 3000), (3, 9000)];
        let delays = delays(&source, &target);
        assert_eq!(delays, [Duration::from_millis(1), Duration::from_millis(5)]);
        assert_eq!(at(&delays, 50), Duration::from_millis(1));
        assert_eq!(at(&[], 99), Duration::ZERO);
    }
}
