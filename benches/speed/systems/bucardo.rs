//! This program.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::field::Field;

use super::command::{Bucardo, Layout};
use super::{Daemon, System};

const WITHIN: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(20);

pub(super) struct Ours {
    bucardo: Bucardo,
    daemon: Option<Child>,
}

impl Ours {
    pub(super) fn set_up(layout: &Layout<'_>) -> Self {
        let program = Path::new(env!("CARGO_BIN_EXE_bucardo"));
        Self { bucardo: Bucardo::set_up(program, layout), daemon: None }
    }
}

impl Daemon for Ours {
    fn launch(&mut self) {
        let log = File::create(self.bucardo.home().join("log")).unwrap();
        let mut start = self.bucardo.command(&["start", "--foreground"]);
        start.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.daemon = Some(start.spawn().unwrap());
    }

    fn start(&mut self) {
        self.launch();
        let deadline = Instant::now() + WITHIN;
        while !self
            .bucardo
            .command(&["ping", "1"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap()
            .success()
        {
            assert!(Instant::now() < deadline, "the daemon did not become ready within {WITHIN:?}");
            sleep(LOOK_EVERY);
        }
        self.bucardo.run(&["kick", "bench", "0"]);
    }

    fn end(&mut self) {
        let Some(mut daemon) = self.daemon.take() else { return };
        let pid = Pid::from_child(&daemon);
        // It may have ended by itself.
        let _ = kill_process(pid, Signal::TERM);
        let deadline = Instant::now() + WITHIN;
        while daemon.try_wait().unwrap().is_none() && Instant::now() < deadline {
            sleep(LOOK_EVERY);
        }
        let _ = daemon.kill();
        let _ = daemon.wait();
    }

    fn processes(&self) -> Vec<u32> {
        self.daemon.iter().map(Child::id).collect()
    }
}

impl System for Ours {
    fn name(&self) -> &'static str {
        "bucardo"
    }

    fn start(&mut self, _: &Field) {
        Daemon::start(self);
    }

    fn prepare_copy(&mut self, field: &Field) {
        self.end();
        field.empty_target();
        self.bucardo.run(&["update", "sync", "bench", "onetimecopy=1"]);
    }

    fn copy(&mut self, _: &Field) {
        self.launch();
    }

    fn stop(&mut self, _: &Field) {
        self.end();
    }

    fn processes(&self) -> Vec<u32> {
        Daemon::processes(self)
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        self.end();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.bucardo.home().join("log")).unwrap_or_default();
            eprintln!("log of the daemon:\n{log}");
        }
    }
}
