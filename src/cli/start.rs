//! `start`: the daemon in the background, or with `--foreground` in this very process.

use std::fs::File;
use std::io::{PipeReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use super::process::{Process, reason};
use super::{CliError, Context, Outcome, relay};
use crate::catalog::{CatalogError, Control, settings};
use crate::daemon::pidfile::{self, Presence};
use crate::daemon::{self, DaemonError, Log, Start, piddir};
use crate::pg::{Access, causes};

/// One try to read the settings of the control database takes less, whatever becomes of it.
const TRY_WITHIN: Duration = Duration::from_secs(90);
/// What the child says through the pipe once it is ready.
const READY: &[u8] = b"ready\n";

/// Starts the daemon in the background and waits until it is ready or says why it is not.
pub(super) async fn run(ctx: &Context) -> Outcome {
    let process = load(ctx).await?;
    prepare(ctx, &process)?;
    if ctx.options.log_clean {
        Log::clean(&process.settings.log).map_err(|error| CliError::refuse(causes(&error)))?;
    }
    ctx.out.say("Starting Bucardo");
    let (reader, writer) = std::io::pipe().map_err(|error| CliError::caused("Cannot make a pipe", &error))?;
    // A daemon that kept a lock file or a pipe of its caller open would keep the caller's own waiters waiting.
    close_fds::set_fds_cloexec_threadsafe(3, &[]);
    let mut child = relay::command(ctx, true)?
        .arg0(title(ctx))
        .stdin(Stdio::from(writer))
        .spawn()
        .map_err(|error| CliError::caused("Cannot start the daemon", &error))?;
    match wait_ready(reader, process.settings.daemon.ready_within) {
        Some(true) => Ok(0),
        // It has said why on our stderr.
        Some(false) => {
            let code = child.wait().ok().and_then(|status| status.code()).and_then(|code| u8::try_from(code).ok());
            process.note_reason(ctx, "fail");
            Err(CliError::with_code(code.filter(|code| *code > 0).unwrap_or(1), "Bucardo did not start"))
        }
        None => Err(CliError::refuse(format!(
            "Bucardo (PID {}) is not ready after {}; it goes on without us",
            child.id(),
            humantime::format_duration(process.settings.daemon.ready_within)
        ))
        .hint("look into its log")),
    }
}

/// `Some`: ready, or gone; `None`: neither within that time.
fn wait_ready(mut reader: PipeReader, within: Duration) -> Option<bool> {
    let (told, wait) = mpsc::channel();
    std::thread::spawn(move || {
        let mut text = Vec::new();
        let _ = reader.read_to_end(&mut text);
        // Nobody waits any more: nothing to tell.
        let _ = told.send(text == READY);
    });
    wait.recv_timeout(within).ok()
}

/// Runs the daemon in this process, outside of any runtime.
pub(super) fn foreground(ctx: &Context) -> Outcome {
    relay::hide_password(ctx)?;
    let detached = ctx.options.detached;
    take_title(ctx)?;
    if detached {
        // A session of its own: the terminal's signals are not for it.
        rustix::process::setsid().map_err(|error| CliError::caused("Cannot leave the terminal", &error))?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::caused("Cannot start the runtime", &error))?;
    let process = runtime.block_on(async {
        let process = load_patiently(ctx).await?;
        if !detached {
            prepare(ctx, &process)?;
        }
        Ok::<_, CliError>(process)
    })?;
    drop(runtime);
    let uses_terminal = process.settings.log.destinations.iter().any(|name| name == "stdout" || name == "stderr");
    let start = Start {
        settings: process.settings,
        layers: process.layers,
        access: process.access,
        foreground: !detached,
        exit_on_nosync: ctx.options.exit_on_nosync,
        reason: reason(ctx),
        command_line: format!("{} {}", title(ctx), relay::arguments(ctx, detached)?.join(" "))
            .replace(char::is_control, " "),
        announce: Box::new(move |ready| {
            if detached && ready.is_ok() {
                leave_terminal(uses_terminal);
            }
        }),
    };
    match daemon::run(start) {
        Ok(()) => Ok(0),
        Err(error) => Err(told(&error)),
    }
}

fn told(error: &DaemonError) -> CliError {
    CliError::with_code(error.exit_code(), causes(error)).maybe_hint(error.hint())
}

/// Tells the waiting parent, and lets go of what it gave us.
fn leave_terminal(keep_output: bool) {
    let tell = || -> std::io::Result<()> {
        let mut pipe = File::from(std::io::stdin().as_fd().try_clone_to_owned()?);
        pipe.write_all(READY)?;
        drop(pipe);
        let null = File::options().read(true).write(true).open("/dev/null")?;
        if !keep_output {
            rustix::stdio::dup2_stdout(&null)?;
            rustix::stdio::dup2_stderr(&null)?;
        }
        // Last: this closes the pipe, and that is what the parent waits for.
        rustix::stdio::dup2_stdin(&null)?;
        Ok(())
    };
    if let Err(error) = tell() {
        tracing::warn!(%error, "cannot tell the terminal that the daemon is ready");
    }
}

async fn load(ctx: &Context) -> Result<Process, CliError> {
    let control = ctx.control().await?;
    from_catalog(ctx, &settings::load(control.client()).await?)
}

/// As [`load`]; a control database that does not answer yet (the machine has just started), or no longer, is waited for
/// as long as it takes: a service manager would only start us again, and give up some day.
async fn load_patiently(ctx: &Context) -> Result<Process, CliError> {
    let care = Process::without_catalog(ctx)?.settings.supervision.lease;
    let access = ctx.control_access()?;
    let mut tries = 1;
    loop {
        match Box::pin(read_settings(&access)).await {
            Ok(found) => return from_catalog(ctx, &found),
            Err(error) => {
                let transient = error.failure() == bucardo_actors::model::Failure::Transient;
                // Somebody waits at a terminal for an answer.
                if ctx.options.detached || !transient {
                    return Err(error.into());
                }
                let delay = care.delay(tries);
                let waiting = format!("waiting for the control database: {}", causes(&error));
                daemon::tell_waiting(&waiting, delay + TRY_WITHIN);
                ctx.out.warn(waiting);
                tokio::time::sleep(delay).await;
                tries = tries.saturating_add(1);
            }
        }
    }
}

async fn read_settings(access: &Access) -> Result<settings::Settings, CatalogError> {
    let control = Control::open(access, "bucardo CLI").await?;
    settings::load(control.client()).await
}

fn from_catalog(ctx: &Context, found: &settings::Settings) -> Result<Process, CliError> {
    let own = env!("CARGO_PKG_VERSION");
    match found.text("bucardo_version") {
        Some(version) if version != own => {
            Err(CliError::refuse(format!("Version mismatch: bucardo is {own}, but bucardo database is {version}"))
                .hint("run \"bucardo install\" of the newer one"))
        }
        _ => Process::with_catalog(ctx, found),
    }
}

/// What `ps` shows as the program's name: the name it was called by, and `--extra-name` in parentheses.
fn title(ctx: &Context) -> String {
    let Some(extra) = ctx.options.extra_name.as_deref().filter(|extra| !extra.trim().is_empty()) else {
        return ctx.program.clone();
    };
    // The name that a program is called by ends at the last slash.
    let sane = |sign: char| if sign == '/' || sign.is_control() { '_' } else { sign };
    format!("{} ({})", ctx.program, extra.trim().chars().map(sane).collect::<String>())
}

/// Becomes the same process under the title that was asked for; a program is told its name when it begins.
fn take_title(ctx: &Context) -> Result<(), CliError> {
    let title = title(ctx);
    if ctx.options.extra_name.is_none() || ctx.program == title || std::env::args().next().as_ref() == Some(&title) {
        return Ok(());
    }
    let program = std::env::current_exe().map_err(|error| CliError::caused("Cannot find the program", &error))?;
    let error = Command::new(program).arg0(title).args(std::env::args_os().skip(1)).exec();
    Err(CliError::caused("Cannot start the program with its extra name", &error))
}

/// Makes way for a daemon: no other one lives, and no stop file is there.
fn prepare(ctx: &Context, process: &Process) -> Result<(), CliError> {
    if ctx.options.quickstart {
        ctx.out.warn("Option --quickstart has no effect: a start checks no columns; \"add sync\" and \"validate\" do");
    }
    process.note_reason(ctx, "start");
    ctx.out.say("Checking for existing processes");
    let path = process.settings.daemon.pid_file();
    match process.presence()? {
        Presence::Absent => {}
        Presence::Running(pid) => {
            process.note_reason(ctx, "fail");
            return Err(CliError::refuse(format!("Cannot start, PID file \"{}\" exists", path.display()))
                .hint(format!("Bucardo runs already (PID {pid})")));
        }
        Presence::Stale(pid) => {
            let number = pid.map(|pid| format!(" {pid}")).unwrap_or_default();
            let other = pid.and_then(pidfile::command_line).filter(|line| !line.is_empty());
            let other = other.map(|line| format!(", which is another program now: {line}")).unwrap_or_default();
            // The daemon does it: of two that start at once one would remove the file of the other.
            ctx.out.warn(format!("Replacing file \"{}\" with stale PID{number}{other}", path.display()));
        }
    }
    let stop_file = process.settings.daemon.stop_file();
    let removed = piddir::remove(&stop_file)
        .map_err(|error| CliError::refuse(format!("Cannot remove \"{}\": {error}", stop_file.display())))?;
    if removed {
        ctx.out.say(format!("Removing file \"{}\"", stop_file.display()));
    }
    Ok(())
}
