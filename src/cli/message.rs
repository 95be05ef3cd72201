//! `message`: a line for the daemon's log.

use super::{CliError, Context, Outcome};
use crate::catalog::messages;

/// Leaves the text for the daemon that runs, or for the next one.
pub(super) async fn run(ctx: &Context) -> Outcome {
    let text = ctx.words.join(" ");
    if text.trim().is_empty() {
        return Err(CliError::usage("message"));
    }
    let mut control = ctx.control().await?;
    let transaction =
        control.transaction().await.map_err(|error| CliError::caused("Cannot leave a message", &error))?;
    messages::add(&transaction, &text).await?;
    if ctx.finish(transaction).await? {
        ctx.out.detail("Added message");
    }
    Ok(0)
}
