//! How `start` hands its call on to the process that becomes the daemon: the options as they were understood, the verb, the
//! reason. A password is handed on in the environment, which only the account itself can read; the command line can be read
//! by everybody, for as long as the daemon lives.

use std::os::unix::process::CommandExt;
use std::process::Command;

use super::{CliError, Context};

/// Not `PGPASSWORD`: that would count for all databases.
const PASSWORD: &str = "BUCARDO_RELAYED_PASSWORD";

/// The password that was handed on to this process.
pub(super) fn password(ctx: &Context) -> Option<String> {
    std::env::var(PASSWORD).ok().filter(|_| ctx.options.foreground)
}

/// The arguments of the daemon.
pub(super) fn arguments(ctx: &Context, detached: bool) -> Result<Vec<String>, CliError> {
    let (access, whole) = ctx.named_access()?;
    let named = if whole { Some(access.without_password()) } else { ctx.options.dbname.clone() };
    let mut all: Vec<String> = named.map(|named| format!("--dbname={named}")).into_iter().collect();
    all.extend(ctx.again.iter().cloned());
    all.push("--foreground".to_owned());
    all.extend(detached.then(|| "--detached".to_owned()));
    all.extend(["--", "start"].map(str::to_owned));
    all.extend(ctx.words.iter().cloned());
    Ok(all)
}

/// The daemon as a process.
pub(super) fn command(ctx: &Context, detached: bool) -> Result<Command, CliError> {
    let program = std::env::current_exe().map_err(|error| CliError::caused("Cannot find the program", &error))?;
    let mut command = Command::new(program);
    command.args(arguments(ctx, detached)?);
    if let Some(password) = ctx.named_access()?.0.get("password") {
        command.env(PASSWORD, password);
    }
    Ok(command)
}

/// A daemon in the foreground, whose own command line may show a password, becomes one whose does not.
pub(super) fn hide_password(ctx: &Context) -> Result<(), CliError> {
    if password(ctx).is_some() || ctx.named_access()?.0.get("password").is_none() {
        return Ok(());
    }
    Err(CliError::caused("Cannot start the program again", &command(ctx, false)?.exec()))
}
