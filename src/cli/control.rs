//! `activate`, `deactivate`, `pause`, `resume`: what the daemon is to do with syncs.

use std::time::Duration;

use tokio::time::Instant;

use super::chosen::choose;
use super::ear::Ear;
use super::{CliError, Context, Outcome};
use crate::catalog::syncs;

/// How long the daemon may take to show that it is there.
const PRESENT_WITHIN: Duration = Duration::from_secs(3);
const TIMED_OUT: u8 = 1;
const OTHER: u8 = 3;

/// `activate NAME… [seconds]`, and `deactivate` where `active` is false. The catalog is changed by the command itself, so
/// it works without a daemon, too; one that runs does as the catalog says at once. With a number it waits so long until
/// the daemon has done it, 0: as long as it takes.
pub(super) async fn set_active(ctx: &Context, active: bool) -> Outcome {
    let verb = if active { "activate" } else { "deactivate" };
    if ctx.words.is_empty() {
        return Err(CliError::usage(verb));
    }
    let mut ear = Ear::open(ctx).await?;
    let chosen = choose(ear.control(), &ctx.words).await?;
    let present = chosen.number.is_some() && ear.ping(Some(PRESENT_WITHIN)).await?.is_some();
    let mut code = 0;
    for sync in &chosen.syncs {
        let name = &sync.name;
        ctx.out.part(format!("{} sync {name}", if active { "Activating" } else { "Deactivating" }));
        syncs::set_active(ear.control().client(), name, active).await?;
        ear.say(&format!("{verb}_sync_{name}")).await?;
        match chosen.number {
            None => ctx.out.say(""),
            Some(_) if !present => ctx.out.say("...noted; the daemon does not run"),
            Some(seconds) => {
                let deadline = (seconds > 0).then(|| Instant::now() + Duration::from_secs(seconds));
                let (done, failed) = (format!("{verb}d_sync_{name}"), format!("syncerror_{name}"));
                let meant = |word: &str| if word == done { Some(true) } else { (word == failed).then_some(false) };
                match ear.wait(deadline, meant).await? {
                    Some((true, _)) => ctx.out.say("...OK"),
                    Some((false, _)) => {
                        ctx.out.say("...failed");
                        ctx.out
                            .warn(format!("The daemon cannot {verb} sync \"{name}\": see \"bucardo status {name}\""));
                        code = OTHER;
                    }
                    None => {
                        ctx.out.say("...Timed out!");
                        code = TIMED_OUT;
                    }
                }
            }
        }
    }
    Ok(code)
}

/// `pause NAME…`, and `resume` where `paused` is false. It lasts until the daemon ends or the sync is reloaded.
pub(super) async fn set_paused(ctx: &Context, paused: bool) -> Outcome {
    let verb = if paused { "pause" } else { "resume" };
    if ctx.words.is_empty() {
        return Err(CliError::usage(verb));
    }
    let mut ear = Ear::open(ctx).await?;
    let chosen = choose(ear.control(), &ctx.words).await?;
    let (active, others): (Vec<_>, Vec<_>) = chosen.syncs.iter().partition(|sync| sync.status == "active");
    for sync in others {
        ctx.out.warn(format!(
            "Cannot pause or resume sync \"{}\" unless it is active (currently \"{}\")",
            sync.name, sync.status
        ));
    }
    if active.is_empty() {
        return Ok(1);
    }
    if ear.ping(Some(PRESENT_WITHIN)).await?.is_none() {
        let error = CliError::with_code(OTHER, "Error: no answer from the daemon");
        return Err(error.hint("only a daemon that runs can pause a sync; to stop it for good: \"bucardo deactivate\""));
    }
    for sync in &active {
        ear.say(&format!("{verb}_sync_{}", sync.name)).await?;
    }
    let names: Vec<&str> = active.iter().map(|sync| sync.name.as_str()).collect();
    ctx.out.say(format!("Syncs {}: {}", if paused { "paused" } else { "resumed" }, names.join(",")));
    Ok(0)
}
