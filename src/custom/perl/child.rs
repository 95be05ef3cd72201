//! The process that runs Perl codes: started with little, held to limits, ended with all that it started.

use std::collections::VecDeque;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, kill_process_group, prlimit};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::task::AbortHandle;

use crate::custom::{Code, OUTPUT_BYTES_MAX, TOO_MUCH};

const DRIVER: &str =
    concat!(include_str!("host.pl"), "\n", include_str!("handles.pl"), "\n", include_str!("modules.pl"));
/// Reads the driver, so that it does not stand in the list of processes.
const BEGINNING: &str = "my ($left, $driver) = (shift, ''); \
    while ($left > 0) { $left -= sysread(STDIN, $driver, $left, length $driver) || exit } \
    eval qq{#line 1 \"host.pl\"\\n$driver}; die $@";
/// What Perl takes by itself, before any code has said anything.
const OWN_MB: u64 = 48;
/// A code may write so much to its standard error while the child lives; more is a flood.
const NOISE_BYTES_MAX: usize = 4 << 20;
/// So many of its lines go to the log.
const NOISE_LINES_MAX: usize = 1000;
/// The last lines, for the report of its end.
const LAST_LINES: usize = 5;
/// So many processes of it are looked for when it is ended.
const BELOW_MAX: usize = 10_000;
/// So long a code may take to say where it stands when it is stopped.
const STOP_WITHIN: Duration = Duration::from_millis(500);
/// `prctl(2)`, with which it asks for an end when the daemon ends: by its number, as Perl knows no better.
const PRCTL: u32 = if cfg!(target_arch = "x86_64") {
    157
} else if cfg!(target_arch = "aarch64") {
    167
} else {
    0
};

/// Why the child says nothing more.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Lost {
    /// It is gone; its last words.
    Ended(String),
    /// It wanted more memory than there is for it.
    Memory,
    /// It wrote too much.
    Flood(&'static str),
}

/// What it wrote to standard error.
#[derive(Debug, Default)]
struct Noise {
    /// The code that runs, where it does, and its sync.
    code: String,
    whenrun: &'static str,
    sync: Option<String>,
    last: VecDeque<String>,
    bytes: usize,
    lines: usize,
}

/// A running child. Dropped, it and all that it has started are killed.
pub(super) struct PerlChild {
    process: Child,
    group: Pid,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    noise: Arc<Mutex<Noise>>,
    listener: AbortHandle,
}

impl PerlChild {
    /// Starts it.
    ///
    /// # Errors
    ///
    /// `NotFound`: there is no Perl.
    pub(super) async fn start(program: &str, memory_mb: u32) -> std::io::Result<Self> {
        let mut command = Command::new(program);
        command.args(["-e", BEGINNING, &DRIVER.len().to_string(), &PRCTL.to_string()]);
        command
            .env_clear()
            .envs(["PATH", "PERL5LIB", "TZ"].into_iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        command.env("LC_ALL", "C").current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.process_group(0).kill_on_drop(true);
        let mut process = command.spawn()?;
        let id = process.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let (Some(group), Some(stdin), Some(stdout), Some(stderr)) =
            (id, process.stdin.take(), process.stdout.take(), process.stderr.take())
        else {
            return Err(std::io::Error::other("it ended at once"));
        };
        let noise = Arc::new(Mutex::new(Noise::default()));
        let listener = tokio::spawn(listen(stderr, Arc::clone(&noise), group)).abort_handle();
        let mut child = Self { process, group, stdin, stdout: BufReader::new(stdout), noise, listener };
        // It has not been told yet what to do.
        let bytes = Some((u64::from(memory_mb) + OWN_MB) << 20);
        for (resource, most) in [(Resource::As, bytes), (Resource::Core, Some(0))] {
            prlimit(Some(child.group), resource, Rlimit { current: most, maximum: most })?;
        }
        child.stdin.write_all(DRIVER.as_bytes()).await?;
        Ok(child)
    }

    /// The code that runs from now on, and its sync.
    pub(super) fn runs(&self, code: &Code, sync: Option<&str>) {
        let mut noise = self.noise.lock().unwrap_or_else(PoisonError::into_inner);
        code.name.clone_into(&mut noise.code);
        noise.whenrun = code.hook.word();
        noise.sync = sync.map(str::to_owned);
    }

    /// Sends one line.
    pub(super) async fn send(&mut self, mut line: Vec<u8>) -> Result<(), Lost> {
        line.push(b'\n');
        match self.stdin.write_all(&line).await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.lost().await),
        }
    }

    /// Waits for the next line.
    pub(super) async fn receive(&mut self) -> Result<Vec<u8>, Lost> {
        let mut line = Vec::new();
        let read = (&mut self.stdout).take(OUTPUT_BYTES_MAX as u64).read_until(b'\n', &mut line).await;
        if line.ends_with(b"\n") {
            return Ok(line);
        }
        if line.len() == OUTPUT_BYTES_MAX {
            return Err(Lost::Flood(TOO_MUCH));
        }
        if let Err(error) = read {
            tracing::debug!(%error, "cannot read from a custom code");
        }
        Err(self.lost().await)
    }

    /// What it came to.
    async fn lost(&mut self) -> Lost {
        // Its pipe is closed, so it ends; what it has started may not.
        let status = tokio::time::timeout(STOP_WITHIN, self.process.wait()).await;
        self.kill();
        // The last words may still be on their way.
        let _ = tokio::time::timeout(STOP_WITHIN, async {
            while !self.listener.is_finished() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        let noise = self.noise.lock().unwrap_or_else(PoisonError::into_inner);
        if noise.bytes > NOISE_BYTES_MAX {
            return Lost::Flood("it wrote more than 4 MB to its standard error");
        }
        let last: Vec<&str> = noise.last.iter().map(String::as_str).collect();
        if last.iter().any(|line| line.starts_with("Out of memory")) {
            return Lost::Memory;
        }
        let how = match status {
            Ok(Ok(status)) => status.to_string(),
            _ => "it closed its output".to_owned(),
        };
        Lost::Ended(if last.is_empty() { how } else { format!("{how}: {}", last.join(" ")) })
    }

    /// Asks where it stands, and ends it.
    pub(super) async fn stop(mut self) -> Option<Vec<u8>> {
        // Gone already: then it says nothing.
        let _ = kill_process(self.group, Signal::TERM);
        tokio::time::timeout(STOP_WITHIN, self.receive()).await.ok()?.ok()
    }

    fn kill(&self) {
        // Once it has been waited for, its number may be another one's.
        let below = if self.process.id().is_some() { below(self.group) } else { Vec::new() };
        // Nothing is left of it: that is what is wanted.
        let _ = kill_process_group(self.group, Signal::KILL);
        for process in below {
            let _ = kill_process(process, Signal::KILL);
        }
    }
}

impl Drop for PerlChild {
    fn drop(&mut self) {
        self.kill();
        self.listener.abort();
    }
}

/// All processes that a process has started, and those that they have, also in process groups of their own.
fn below(process: Pid) -> Vec<Pid> {
    let (mut all, mut next) = (Vec::new(), vec![process]);
    while let Some(pid) = next.pop()
        && all.len() < BELOW_MAX
    {
        let id = pid.as_raw_nonzero();
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        let children = children.split_whitespace().filter_map(|id| Pid::from_raw(id.parse().ok()?));
        let before = all.len();
        all.extend(children);
        next.extend_from_slice(&all[before..]);
    }
    all
}

/// Logs what it writes to standard error; ends it when that is too much.
async fn listen(stderr: ChildStderr, noise: Arc<Mutex<Noise>>, group: Pid) {
    let mut reader = BufReader::new(stderr);
    loop {
        let mut line = Vec::new();
        let read = (&mut reader).take(4096).read_until(b'\n', &mut line).await;
        if line.is_empty() || read.is_err() {
            return;
        }
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        let mut noise = noise.lock().unwrap_or_else(PoisonError::into_inner);
        noise.bytes += line.len();
        noise.lines += 1;
        let (sync, code, whenrun) = (noise.sync.as_deref(), &noise.code, noise.whenrun);
        if noise.lines <= NOISE_LINES_MAX {
            tracing::warn!(sync, code, whenrun, "{text}");
        } else if noise.lines == NOISE_LINES_MAX + 1 {
            tracing::warn!(
                sync,
                code,
                whenrun,
                "the code writes more than {NOISE_LINES_MAX} lines; no more of them are logged"
            );
        }
        if noise.last.len() == LAST_LINES {
            noise.last.pop_front();
        }
        noise.last.push_back(text);
        if noise.bytes > NOISE_BYTES_MAX {
            let _ = kill_process_group(group, Signal::KILL);
            return;
        }
    }
}
