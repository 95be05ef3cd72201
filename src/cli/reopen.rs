//! `reopen`: the daemon opens its log files anew, after they were rotated.

use rustix::process::Signal;

use super::process::Process;
use super::{CliError, Context, Outcome};
use crate::daemon::pidfile;

/// Sends SIGUSR2 to the daemon of this PID file.
pub(super) async fn run(ctx: &Context) -> Outcome {
    let path = Process::load_if_reachable(ctx).await?.settings.daemon.pid_file();
    match pidfile::signal(&path, Signal::USR2) {
        Ok(Some(_)) => {
            ctx.out.say("Sent USR2 to Bucardo processes");
            Ok(0)
        }
        Ok(None) => Err(CliError::refuse("Bucardo is not running, so there are no log files to reopen")
            .hint(format!("it would have the PID file \"{}\"; --piddir names another directory", path.display()))),
        Err(error) => Err(CliError::caused("Cannot send USR2 to Bucardo", &error)
            .hint("run this as the account of the daemon, or as root")),
    }
}
