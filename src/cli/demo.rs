//! `demo`: replication between throwaway servers, to look at.

use std::time::Duration;

use crate::demo::{self, Options};

use super::{CliError, Context, Outcome};

/// Runs the demonstration.
pub(super) async fn run(ctx: &Context) -> Outcome {
    if let Some(word) = ctx.words.first() {
        return Err(CliError::refuse(format!("Unknown word \"{word}\": demo takes --keep and --seconds N only")));
    }
    let mut options = Options { keep: ctx.options.keep, ..Options::default() };
    if let Some(seconds) = ctx.options.seconds {
        options.load = Duration::from_secs(seconds.max(1));
    }
    demo::run(options).await.map_err(|error| {
        let hint = error.hint();
        CliError::with_code(1, format!("Demonstration failed: {}", crate::report::causes(&error))).maybe_hint(hint)
    })?;
    Ok(0)
}
