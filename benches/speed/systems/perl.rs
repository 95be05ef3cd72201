//! The Perl Bucardo, as the distribution packages it.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::field::Field;
use crate::process;

use super::command::{Bucardo, Layout};
use super::{Daemon, System};

const PROGRAM: &str = "/usr/bin/bucardo";
const WITHIN: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Whether it is there, and is what we think it is.
pub(super) fn available() -> Result<(), String> {
    let text = fs::read(PROGRAM).unwrap_or_default();
    let first = String::from_utf8_lossy(text.split(|byte| *byte == b'\n').next().unwrap_or_default()).into_owned();
    if first.starts_with("#!") && first.contains("perl") {
        Ok(())
    } else {
        Err(format!("no Perl Bucardo at {PROGRAM}; on Debian: apt-get install bucardo postgresql-plperl-15"))
    }
}

pub(super) struct Perl {
    bucardo: Bucardo,
    session: Option<u32>,
}

impl Perl {
    pub(super) fn set_up(layout: &Layout<'_>) -> Self {
        Self { bucardo: Bucardo::set_up(Path::new(PROGRAM), layout), session: None }
    }

    fn mcp(&self) -> Option<u32> {
        let text = fs::read_to_string(self.bucardo.home().join("bucardo.mcp.pid")).ok()?;
        text.lines().next()?.trim().parse().ok()
    }

    /// Its log says when a KID of the sync is there.
    fn log(&self) -> String {
        fs::read_to_string(self.bucardo.home().join("log.bucardo")).unwrap_or_default()
    }
}

impl Daemon for Perl {
    fn launch(&mut self) {
        let home = self.bucardo.home().to_str().unwrap().to_owned();
        self.bucardo.run(&["start", "--log-destination", &home]);
        until("the MCP", || self.mcp().is_some());
        // It calls setsid and forks once more: its session is its parent's number, not its own.
        self.session = self.mcp().and_then(process::session_of);
    }

    fn start(&mut self) {
        self.launch();
        until("a KID", || self.log().contains("New kid"));
        self.bucardo.run(&["kick", "bench", "0"]);
    }

    fn end(&mut self) {
        if self.session.is_some() {
            self.bucardo.run(&["stop"]);
            until("the end of all its processes", || Daemon::processes(self).is_empty());
            self.session = None;
        }
    }

    fn processes(&self) -> Vec<u32> {
        self.session.map(process::of_session).unwrap_or_default()
    }
}

impl System for Perl {
    fn name(&self) -> &'static str {
        "perl"
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

impl Drop for Perl {
    fn drop(&mut self) {
        if self.session.is_some() && !std::thread::panicking() {
            self.bucardo.run(&["stop"]);
        }
    }
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + WITHIN;
    while !condition() {
        assert!(Instant::now() < deadline, "waited {WITHIN:?} for {what} of the Perl Bucardo");
        sleep(LOOK_EVERY);
    }
}
