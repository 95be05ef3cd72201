//! The daemon as a process of the test.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::{Bucardo, log, wait};

const READY_WITHIN: Duration = Duration::from_secs(30);
const END_WITHIN: Duration = Duration::from_secs(60);

/// A daemon that runs in the foreground, with its log in a file. Dropping it kills it.
pub(crate) struct Daemon<'a> {
    bucardo: &'a Bucardo,
    child: Child,
    announced: Vec<&'static str>,
}

impl<'a> Daemon<'a> {
    /// Starts it and waits until it answers a ping.
    pub(crate) async fn start(bucardo: &'a Bucardo) -> Self {
        Self::start_with(bucardo, &[]).await
    }

    /// The same, with variables in its environment.
    pub(crate) async fn start_with(bucardo: &'a Bucardo, variables: &[(&str, PathBuf)]) -> Self {
        let mut daemon = Self::spawn_with(bucardo, variables);
        wait::until("the daemon's answer to a ping", READY_WITHIN, async || {
            if let Ok(Some(status)) = daemon.child.try_wait() {
                let log = std::fs::read_to_string(bucardo.log()).unwrap_or_default();
                panic!("the daemon ended with {status}:\n{log}");
            }
            let answer = bucardo.call(&["ping", "1"]);
            if answer.code == 0 { Ok(()) } else { Err(answer) }
        })
        .await;
        daemon
    }

    /// Starts it and does not wait.
    pub(crate) fn spawn(bucardo: &'a Bucardo) -> Self {
        Self::spawn_with(bucardo, &[])
    }

    fn spawn_with(bucardo: &'a Bucardo, variables: &[(&str, PathBuf)]) -> Self {
        let log = File::options().create(true).append(true).open(bucardo.log()).expect("the log opens");
        let mut command = bucardo.command(&["start", "--foreground"]);
        command.envs(variables.iter().cloned());
        command.stdout(log.try_clone().expect("the log is shared")).stderr(log);
        let child = command.stdin(Stdio::null()).spawn().expect("the daemon starts");
        Self { bucardo, child, announced: Vec::new() }
    }

    /// Announces WARN and ERROR lines with this word in them: they are part of the story.
    pub(crate) fn announce(&mut self, word: &'static str) {
        self.announced.push(word);
    }

    /// The log so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.bucardo.log()).unwrap_or_default()
    }

    /// Waits until the log holds `word`.
    pub(crate) async fn logs(&self, word: &str, within: Duration) {
        wait::until(&format!("\"{word}\" in the log"), within, async || {
            let log = self.log();
            if log.contains(word) { Ok(()) } else { Err(log.lines().last().unwrap_or_default().to_owned()) }
        })
        .await;
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it takes of memory, by the kernel's word for it: `VmRSS` now, `VmHWM` at most.
    pub(crate) fn memory_kb(&self, what: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("the daemon lives");
        let line = status.lines().find(|line| line.starts_with(what)).expect("the kernel tells");
        line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process number");
        kill_process(pid, signal).expect("the daemon lives");
    }

    /// How it ended, if it has.
    pub(crate) fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("its status is ours to read")
    }

    /// Waits for its end, and returns its exit code.
    pub(crate) async fn ended(&mut self, within: Duration) -> i32 {
        let child = &mut self.child;
        let status = wait::until("the end of the daemon", within, async || {
            child.try_wait().expect("its status is ours to read").ok_or("it lives")
        });
        status.await.code().unwrap_or(-1)
    }

    /// SIGTERM; it must end with 0, and its log must hold no WARN or ERROR that was not announced.
    pub(crate) async fn stop(mut self) {
        self.signal(Signal::TERM);
        assert_eq!(self.ended(END_WITHIN).await, 0, "exit code; log:\n{}", self.log());
        self.assert_quiet();
    }

    /// SIGKILL: no last words.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("the daemon lives");
        self.child.wait().expect("it is gone");
    }

    /// Panics when the log holds a WARN or ERROR that was not announced.
    pub(crate) fn assert_quiet(&self) {
        let lines = log::unannounced(&self.bucardo.log(), &self.announced);
        assert!(lines.is_empty(), "not announced:\n{}", lines.join("\n"));
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("log of the daemon:\n{}", self.log());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
