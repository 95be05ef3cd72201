//! `kick names… [seconds]`: look for changes now, and wait for the end of it when a number is given.

use std::time::Duration;

use tokio::time::Instant;

use super::chosen::choose;
use super::ear::Ear;
use super::status::line;
use super::targets::copies_under_way;
use super::{CliError, Context, Outcome};
use crate::catalog::{SyncDetail, load_sync, load_syncs, runs, states};

/// How long the daemon may take to show that it is there.
const PRESENT_WITHIN: Duration = Duration::from_secs(3);
const TICK: Duration = Duration::from_secs(1);
/// How often a terminal is told how far the initial copies are.
const LOOK_EVERY: Duration = Duration::from_secs(2);
const TIMED_OUT: u8 = 1;
const KILLED: u8 = 2;
const OTHER: u8 = 3;

/// How a kick was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Done,
    Killed,
    Refused,
    TimedOut,
}

pub(super) async fn run(ctx: &Context) -> Outcome {
    if ctx.words.is_empty() {
        return Err(CliError::usage("kick"));
    }
    let mut ear = Ear::open(ctx).await?;
    let chosen = choose(ear.control(), &of_kind(&ear, &ctx.words).await?).await?;
    let mut active = Vec::new();
    for sync in &chosen.syncs {
        if sync.status == "inactive" {
            ctx.out.always(format!("Cannot kick inactive sync \"{}\"", sync.name));
        } else {
            active.push(sync.name.as_str());
        }
    }
    let Some(seconds) = chosen.number else {
        for name in active {
            ear.say(&format!("kick_sync_{name}")).await?;
            ctx.out.say(format!("Kicked sync {name}"));
        }
        return Ok(0);
    };
    // The answer to a kick that nobody hears would be waited for in vain.
    if !active.is_empty() && ear.ping(Some(PRESENT_WITHIN)).await?.is_none() {
        return Err(CliError::with_code(OTHER, "Error: no answer from the daemon").hint("start it: \"bucardo start\""));
    }
    let mut code = 0;
    for name in active {
        let limit = (seconds > 0).then(|| Duration::from_secs(seconds));
        let mut answer = kick(ctx, &mut ear, name, limit).await?;
        for number in 1..=ctx.options.retry {
            if answer != Answer::Killed {
                break;
            }
            tokio::time::sleep(Duration::from_secs(ctx.options.retry_sleep.into())).await;
            ctx.out.say(format!("Retry #{number}"));
            answer = kick(ctx, &mut ear, name, limit).await?;
        }
        match answer {
            Answer::Done => {}
            Answer::TimedOut => code = TIMED_OUT,
            Answer::Killed => code = KILLED,
            Answer::Refused => code = OTHER,
        }
    }
    Ok(code)
}

/// The words of versions 3 and 4 for all syncs of one kind, `all copy|delta|swap [active]`, as names.
async fn of_kind(ear: &Ear, words: &[String]) -> Result<Vec<String>, CliError> {
    let [all, kind, rest @ ..] = words else { return Ok(words.to_vec()) };
    let kind = kind.to_lowercase();
    let has_kind = |sync: &SyncDetail| match kind.as_str() {
        "copy" | "fullcopy" => sync.is_fullcopy(),
        "delta" | "pushdelta" => !sync.is_fullcopy() && !sync.is_merging(),
        "swap" => sync.is_merging(),
        _ => false,
    };
    let is_kind = matches!(kind.as_str(), "copy" | "fullcopy" | "delta" | "pushdelta" | "swap" | "active");
    let syncs = load_syncs(ear.control().client()).await?;
    if !all.eq_ignore_ascii_case("all") || !is_kind || syncs.iter().any(|sync| sync.name.as_str() == kind) {
        return Ok(words.to_vec());
    }
    let only_active = kind == "active" || rest.iter().any(|word| word.eq_ignore_ascii_case("active"));
    let fits = |sync: &&SyncDetail| (kind == "active" || has_kind(sync)) && (!only_active || sync.status == "active");
    let names: Vec<String> = syncs.iter().filter(fits).map(|sync| sync.name.to_string()).collect();
    if names.is_empty() {
        return Err(CliError::die(format!("No matching syncs were found: there is none of kind {kind}")));
    }
    Ok(names.into_iter().chain(rest.iter().filter(|word| !word.eq_ignore_ascii_case("active")).cloned()).collect())
}

async fn kick(ctx: &Context, ear: &mut Ear, name: &str, limit: Option<Duration>) -> Result<Answer, CliError> {
    let words = [
        (format!("syncdone_{name}"), Answer::Done),
        (format!("synckill_{name}"), Answer::Killed),
        (format!("syncerror_{name}"), Answer::Refused),
    ];
    let meant = |word: &str| words.iter().find(|(known, _)| known == word).map(|(_, answer)| *answer);
    let began = Instant::now();
    let deadline = limit.map(|limit| began + limit);
    let counts = ctx.out.is_terminal() && !ctx.options.notimer;
    let head = |elapsed: Duration| format!("Kick {name}: [{} s] ", elapsed.as_secs());
    ear.say(&format!("kick_sync_{name}")).await?;
    if counts {
        ctx.out.part(head(Duration::ZERO));
    }
    let (mut looked, mut copies) = (began, Vec::new());
    let answer = loop {
        let tick = Instant::now() + TICK;
        let until = deadline.map_or(tick, |deadline| deadline.min(tick));
        if let Some((answer, _)) = ear.wait(Some(until), meant).await? {
            break answer;
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            break Answer::TimedOut;
        }
        if counts {
            if looked.elapsed() >= LOOK_EVERY {
                let sync = load_sync(ear.control().client(), &name.into()).await?;
                copies = match &sync {
                    Some(sync) => copies_under_way(sync).await,
                    None => Vec::new(),
                };
                looked = Instant::now();
            }
            // The rest of a longer line before is cleared (ECMA-48, "erase in line").
            ctx.out.part(format!("\r{}{}\x1b[K", head(began.elapsed()), copies.join("; ")));
        }
    };
    let head = match (counts, ctx.options.notimer) {
        (true, _) => format!("\r{}\x1b[K", head(began.elapsed())),
        (false, true) => format!("Kick {name}: "),
        (false, false) => head(began.elapsed()),
    };
    let end = match answer {
        Answer::Done => "DONE!",
        Answer::Killed => "KILLED!",
        Answer::TimedOut => "Timed out!",
        Answer::Refused => "Error: the daemon does not run this sync (it is inactive, paused or not known yet)",
    };
    ctx.out.say(format!("{head}{end}"));
    if answer == Answer::Killed {
        tell_last_bad(ctx, ear, name).await?;
    }
    Ok(answer)
}

/// Why the sync cannot run, else what became of its last run that failed.
async fn tell_last_bad(ctx: &Context, ear: &Ear, name: &str) -> Result<(), CliError> {
    let runs = runs::last(ear.control().client(), Some(name)).await?;
    let bad = runs.iter().rev().find(|run| run.lastbad);
    let live = states::load(ear.control().client()).await?.of_sync(name, "active");
    // A sync that is not started at all has no run that could tell why.
    if let Some(why) = live.why.as_ref().filter(|_| live.state == "stalled")
        && !bad.is_some_and(|bad| bad.status.contains(why))
    {
        ctx.out.say(format!("  The sync is {}", line(&live)));
        return Ok(());
    }
    let Some(bad) = bad else { return Ok(()) };
    let told = |at| chrono::DateTime::<chrono::Local>::from(at).format("%Y-%m-%d %H:%M:%S").to_string();
    ctx.out.say(format!("  Started: {}", told(bad.started)));
    if let Some(ended) = bad.ended {
        ctx.out.say(format!("  Ended: {}", told(ended)));
    }
    ctx.out.say(format!("  {}", bad.status));
    Ok(())
}
