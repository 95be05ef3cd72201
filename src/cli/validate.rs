//! `validate all | names`: checks syncs in all their databases and installs what they need.

use super::{CliError, Context, Outcome, words};
use crate::catalog::load_syncs;
use crate::source::validate_sync;

pub(super) async fn run(ctx: &Context) -> Outcome {
    let wanted: Vec<String> =
        words::flat(&ctx.words).into_iter().filter(|word| !matches!(word.as_str(), "sync" | "syncs")).collect();
    if wanted.is_empty() {
        return Err(CliError::usage("validate"));
    }
    let all = load_syncs(ctx.control().await?.client()).await?;
    if all.is_empty() {
        ctx.out.say("Sorry, there are no syncs to validate!");
        return Ok(0);
    }
    let everything = wanted.iter().any(|word| word.eq_ignore_ascii_case("all"));
    let fits = |word: &str, name: &str| word == name || (words::is_wild(word) && words::matches(word, name));
    if !everything
        && let Some(unknown) = wanted.iter().find(|word| !all.iter().any(|sync| fits(word, sync.name.as_str())))
    {
        return Err(CliError::die(format!("Sorry, there is no sync named \"{unknown}\"")));
    }
    let chosen = all.iter().filter(|sync| everything || wanted.iter().any(|word| fits(word, sync.name.as_str())));
    let chosen: Vec<_> = chosen.collect();
    let width = chosen.iter().map(|sync| sync.name.as_str().len()).max().unwrap_or(0);
    let mut failed = 0_u8;
    for sync in chosen {
        let dots = ".".repeat(width - sync.name.as_str().len() + 5);
        ctx.out.part(format!("Validating sync {} {dots} ", sync.name));
        let outcome = match &sync.problem {
            Some(problem) => Err((problem.clone(), None)),
            None => Box::pin(validate_sync(sync)).await.map_err(|error| (error.told(), error.hint())),
        };
        match outcome {
            Ok(validated) => {
                ctx.out.say("OK");
                validated.warnings.iter().for_each(|warning| ctx.out.warn(warning));
            }
            Err((why, hint)) => {
                failed = failed.saturating_add(1);
                ctx.out.say("FAILED");
                crate::report::failed(&format!("sync \"{}\": {why}", sync.name), hint.as_deref());
            }
        }
    }
    Ok(failed)
}
