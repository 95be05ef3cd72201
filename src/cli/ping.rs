//! `ping [seconds]`: is the daemon alive?

use std::time::Duration;

use super::ear::Ear;
use super::{CliError, Context, Outcome};

const SECONDS: u64 = 15;

pub(super) async fn run(ctx: &Context) -> Outcome {
    let seconds = match ctx.words.first() {
        None => SECONDS,
        Some(word) => word.parse().map_err(|_| CliError::usage("ping"))?,
    };
    let mut ear = Ear::open(ctx).await?;
    match ear.ping((seconds > 0).then(|| Duration::from_secs(seconds))).await? {
        Some(pid) => {
            ctx.out.say(format!("OK: Got response from PID {pid}"));
            Ok(0)
        }
        None => {
            ctx.out.say(format!("CRITICAL: Timed out ({seconds} s), no ping response from MCP"));
            Ok(1)
        }
    }
}
