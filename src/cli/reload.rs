//! `reload`, `reload config`, `reload sync…`: the daemon reads catalog or settings again.

use std::time::Duration;

use tokio::time::Instant;

use super::chosen::choose;
use super::ear::Ear;
use super::{CliError, Context, Outcome};
use crate::adapters;
use crate::catalog::states::{self, State};
use crate::catalog::{load_sync, settings};

const PRESENT_WITHIN: Duration = Duration::from_secs(2);
const SYNC_WITHIN: Duration = Duration::from_secs(10);
const SECONDS: u64 = 30;
/// How long the daemon may take to show why a sync cannot run.
const SHOWN_WITHIN: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A sync was not reloaded, or nobody said that it was.
const FAILED: u8 = 1;

pub(super) async fn run(ctx: &Context) -> Outcome {
    let mut ear = Ear::open(ctx).await?;
    match ctx.words.first().map(|word| word.to_lowercase()) {
        None => whole(ctx, &mut ear).await,
        Some(word) if word.starts_with("config") => config(ctx, &mut ear).await,
        Some(_) => syncs(ctx, &mut ear).await,
    }
}

async fn whole(ctx: &Context, ear: &mut Ear) -> Outcome {
    if ear.ping(Some(PRESENT_WITHIN)).await?.is_none() {
        return Err(CliError::die("Looks like Bucardo is not running, so there is no need to reload"));
    }
    let seconds = limit(ear, None).await?;
    confirmed(ctx, ear, "mcp_reload", "reloaded_mcp", seconds).await
}

async fn config(ctx: &Context, ear: &mut Ear) -> Outcome {
    ctx.out.say("Forcing Bucardo to reload the bucardo_config table");
    if ctx.is_classic && ctx.words.len() < 2 {
        // Versions 3 and 4 waited only when they were told for how long.
        ear.say("reload_config").await?;
        return Ok(0);
    }
    let seconds = limit(ear, ctx.words.get(1)).await?;
    if ear.ping(Some(PRESENT_WITHIN)).await?.is_none() {
        return Err(CliError::die("Looks like Bucardo is not running, so there is no need to reload"));
    }
    confirmed(ctx, ear, "reload_config", "reload_config_finished", seconds).await
}

async fn limit(ear: &Ear, word: Option<&String>) -> Result<u64, CliError> {
    if let Some(word) = word {
        return word.parse().map_err(|_| CliError::usage("reload"));
    }
    let settings = settings::load(ear.control().client()).await?;
    Ok(settings.number("reload_config_timeout")?.filter(|seconds| *seconds > 0).unwrap_or(SECONDS))
}

async fn confirmed(ctx: &Context, ear: &mut Ear, say: &str, answer: &str, seconds: u64) -> Outcome {
    ear.say(say).await?;
    let deadline = Instant::now() + Duration::from_secs(seconds);
    if ear.wait(Some(deadline), |word| (word == answer).then_some(())).await?.is_none() {
        return Err(CliError::die(format!("Waited {seconds}s, but Bucardo never confirmed the reload!"))
            .hint("its log says why; a longer wait is set by reload_config_timeout"));
    }
    ctx.out.always("DONE!");
    Ok(0)
}

async fn syncs(ctx: &Context, ear: &mut Ear) -> Outcome {
    let chosen = choose(ear.control(), &ctx.words).await?;
    let mut code = 0;
    for sync in &chosen.syncs {
        let name = &sync.name;
        if sync.status != "active" {
            ctx.out.warn(format!("Cannot reload: status of sync \"{name}\" is {}", sync.status));
            continue;
        }
        ctx.out.part(format!("Reloading sync {name}..."));
        let before = state(ear, name).await?;
        ear.say(&format!("reload_sync_{name}")).await?;
        let (good, bad) = (format!("reloaded_sync_{name}"), format!("reload_error_sync_{name}"));
        let meant = |word: &str| if word == good { Some(true) } else { (word == bad).then_some(false) };
        let told = match ear.wait(Some(Instant::now() + SYNC_WITHIN), meant).await? {
            Some((true, _)) => "successful",
            Some((false, _)) => "failed",
            None => "failed; reload response message never received",
        };
        ctx.out.say("");
        ctx.out.say(format!("Reload of sync {name} {told}"));
        if told == "failed" {
            why(ctx, ear, name, &before).await?;
        }
        if told != "successful" {
            code = FAILED;
        }
    }
    Ok(code)
}

async fn state(ear: &Ear, name: &str) -> Result<State, CliError> {
    Ok(states::load(ear.control().client()).await?.of_sync(name, "active"))
}

/// What keeps a sync from running: its own problem, else what the daemon shows, a moment after it has answered. `before`:
/// what it showed before it was asked.
async fn why(ctx: &Context, ear: &Ear, name: &str, before: &State) -> Result<(), CliError> {
    let detail = load_sync(ear.control().client(), &name.into()).await?;
    let (why, hint) = match detail.as_ref().and_then(adapters::problem) {
        Some(fault) => (Some(fault.message), fault.hint),
        None => {
            let until = Instant::now() + SHOWN_WITHIN;
            let mut now = state(ear, name).await?;
            while (now.why.is_none() || now == *before) && Instant::now() < until {
                tokio::time::sleep(LOOK_EVERY).await;
                now = state(ear, name).await?;
            }
            (now.why, now.hint)
        }
    };
    let Some(why) = why else { return Ok(()) };
    let hint = hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
    ctx.out.warn(format!("{why}{hint}"));
    Ok(())
}
