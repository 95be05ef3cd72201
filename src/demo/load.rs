//! The load: pgbench's TPC-B on A.

use std::io::Read;
use std::process::{Child, Stdio};
use std::time::Duration;

use super::DemoError;
use super::stage::{DBNAME, OwnGroup, SOURCE, Stage, system};

const CLIENTS: &str = "2";

/// A running pgbench. Dropping it ends it.
pub(super) struct Load {
    child: Child,
    /// How long it shall run.
    pub(super) duration: Duration,
}

impl Load {
    pub(super) fn start(stage: &Stage, duration: Duration) -> Result<Self, DemoError> {
        let mut pgbench = stage.cluster(SOURCE)?.client("pgbench");
        pgbench.args(["-n", "-c", CLIENTS, "-j", CLIENTS, "-T", &duration.as_secs().max(1).to_string(), DBNAME]);
        pgbench.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group_of_its_own();
        let child = pgbench.spawn().map_err(system("run", "pgbench"))?;
        Ok(Self { child, duration })
    }

    /// Transactions per second, once it has ended.
    pub(super) fn ended(&mut self) -> Result<Option<f64>, DemoError> {
        let Some(status) = self.child.try_wait().map_err(system("watch", "pgbench"))? else { return Ok(None) };
        let read = |pipe: Option<&mut dyn Read>| {
            let mut text = String::new();
            // What it said before it ended is in the pipe; a pipe that fails has no more to say.
            let _ = pipe.map(|pipe| pipe.read_to_string(&mut text));
            text
        };
        let printed = read(self.child.stdout.as_mut().map(|pipe| pipe as &mut dyn Read));
        if status.success() {
            return Ok(Some(transactions_per_second(&printed)));
        }
        let told = read(self.child.stderr.as_mut().map(|pipe| pipe as &mut dyn Read));
        Err(DemoError::Program { line: "pgbench".to_owned(), told: told.trim().to_owned() })
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `tps = 1234.5 (without initial connection time)`; older versions print two such lines, with and without it.
fn transactions_per_second(printed: &str) -> f64 {
    let numbers = printed.lines().filter_map(|line| line.strip_prefix("tps = "));
    numbers.filter_map(|rest| rest.split(' ').next()?.parse().ok()).next_back().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_read_from_old_and_new_reports() {
        assert_eq!(transactions_per_second("x\ntps = 2048.25 (without initial connection time)\n"), 2048.25);
        let old = "tps = 1.5 (including connections establishing)\ntps = 2.5 (excluding connections establishing)";
        assert_eq!(transactions_per_second(old), 2.5);
        assert_eq!(transactions_per_second("nothing"), 0.0);
    }
}
