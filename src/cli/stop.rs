//! `stop` and `restart`.

use std::time::Duration;

use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use super::process::{Process, reason};
use super::{CliError, Context, Outcome, start};
use crate::daemon::piddir;
use crate::daemon::pidfile::{self, Presence};
use crate::pg::causes;

/// Beyond the grace that running rounds have.
const END_WITHIN: Duration = Duration::from_secs(15);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Creates the stop file, tells a daemon that runs to end, and waits until it is gone.
pub(super) async fn run(ctx: &Context) -> Outcome {
    stop(ctx, true).await.map(|()| 0)
}

/// Stops a daemon that runs, and starts one.
pub(super) async fn restart(ctx: &Context) -> Outcome {
    stop(ctx, false).await?;
    start::run(ctx).await
}

async fn stop(ctx: &Context, may_be_unreachable: bool) -> Result<(), CliError> {
    let process = if may_be_unreachable {
        Process::load_if_reachable(ctx).await?
    } else {
        Process::load(ctx, &ctx.control().await?).await?
    };
    process.note_reason(ctx, "stop");
    let stop_file = process.settings.daemon.stop_file();
    piddir::create(&stop_file, &format!("{}\n", reason(ctx)))
        .map_err(|error| CliError::refuse(format!("Cannot create \"{}\": {error}", stop_file.display())))?;
    ctx.out.say(format!("Creating {} ... Done", stop_file.display()));
    let pid_file = process.settings.daemon.pid_file();
    let Presence::Running(pid) = process.presence()? else { return Ok(()) };
    // Another account's daemon takes no signal from us, but it looks for the stop file.
    if let Err(error) = pidfile::signal(&pid_file, Signal::TERM) {
        ctx.out.detail(format!("Cannot signal PID {pid} ({}), it will find the file", causes(&error)));
    }
    let within = process.settings.schedule.grace + process.settings.schedule.cancel_within + END_WITHIN;
    let deadline = Instant::now() + within;
    while process.presence()? == Presence::Running(pid) {
        if Instant::now() >= deadline {
            return Err(CliError::refuse(format!(
                "Bucardo (PID {pid}) still runs after {}",
                humantime::format_duration(within)
            ))
            .hint("look into its log; a second \"bucardo stop\" cancels what still runs"));
        }
        sleep(LOOK_EVERY).await;
    }
    ctx.out.detail(format!("Bucardo (PID {pid}) has stopped"));
    Ok(())
}
