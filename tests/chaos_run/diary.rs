//! What was done and when, and whether that explains a line of the log.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::scene::NAMES;

/// What a deed was done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// The daemon.
    Daemon,
    /// A server, by its place in [`NAMES`].
    Server(usize),
    /// The network in front of it.
    Network(usize),
    /// The disk of a target.
    Disk(usize),
}

impl Subject {
    /// The database that suffers.
    fn database(self) -> Option<usize> {
        match self {
            Self::Daemon => None,
            Self::Server(place) | Self::Network(place) | Self::Disk(place) => Some(place),
        }
    }
}

/// A deed: to whom, from when to when in seconds since 1970.
#[derive(Debug)]
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

/// So long after the end of a deed its effects may show: the longest timeout and the wait until the next try.
const AFTERMATH: f64 = 30.0;
/// The log has whole seconds.
const SECOND: f64 = 1.0;

/// What may cause a complaint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// A deed to a database that the line names, or to the daemon, whose error fits the deed.
    Database,
    /// A deed to the control database, or to the daemon.
    Control,
    /// A deed to the daemon.
    Daemon,
    /// The load itself.
    Load,
}

/// A full disk, in the words of the server.
pub(super) const DISK_FULL: &str = "No space left on device";

/// What servers that are killed, held still or started, and networks that are cut or held up, look like from the daemon:
/// each error has one of these words. Whatever else fails is not what was done.
const AWAY: [&str; 12] = [
    "cannot connect to ",
    "connection closed",
    "the control database is not connected",
    "the session was lost",
    "the session on the control database was lost",
    "no answer within ",
    "did not answer",
    "error communicating with the server",
    "terminating connection",
    "the database system is ",
    "nothing moved for ",
    "canceling statement due to ",
];

/// The only complaints that there may be, each with its causes.
const COMPLAINTS: [(&str, &[Cause]); 24] = [
    // A source whose rows are changed again and again while a merge writes there is only read for a while.
    ("could not serialize access due to concurrent update", &[Cause::Load]),
    ("clashes again and again", &[Cause::Load]),
    ("KID is stalled", &[Cause::Database]),
    ("VAC is stalled", &[Cause::Database, Cause::Control]),
    ("round failed, KID is restarted", &[Cause::Database]),
    ("the last round of a KID that was to end failed", &[Cause::Database]),
    ("the database is away", &[Cause::Database]),
    ("the database follows another source", &[Cause::Database]),
    ("cannot listen for kicks and requests", &[Cause::Database, Cause::Control]),
    ("cannot purge", &[Cause::Database]),
    ("purge failed", &[Cause::Database, Cause::Control]),
    ("lost the hold on the control database", &[Cause::Control]),
    ("no hold on the control database, trying again", &[Cause::Control]),
    ("run history is lost", &[Cause::Control]),
    ("run history are lost", &[Cause::Control]),
    ("conflicts wait in the database", &[Cause::Control]),
    ("the history of conflicts is not pruned", &[Cause::Control]),
    ("cannot note which queues are over their budget", &[Cause::Control]),
    ("old runs are not moved to the freezer", &[Cause::Control]),
    ("cannot read the messages for the log", &[Cause::Control]),
    ("work on the control database", &[Cause::Control]),
    ("waiting for the control database", &[Cause::Control]),
    ("stale PID", &[Cause::Daemon]),
    ("conflicts were decided by times", &[Cause::Load]),
];

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

    /// Panics with all lines of the log that complain of what no deed explains.
    pub(super) fn assert_explains(&self, log: &str) {
        let serious = |line: &&str| ["WARN", "ERROR", "Warning", "panicked"].iter().any(|word| line.contains(word));
        let unexplained: Vec<&str> = log.lines().filter(serious).filter(|line| !self.explains(line)).collect();
        assert!(unexplained.is_empty(), "not explained by any of {:#?}:\n{}", self.deeds, unexplained.join("\n"));
    }

    fn explains(&self, line: &str) -> bool {
        let Some((_, causes)) = COMPLAINTS.iter().find(|(words, _)| line.contains(words)) else { return false };
        let at = time_of(line);
        // What is said before the program logs has no time.
        let in_time = |deed: &&Deed| at.is_none_or(|at| deed.from - SECOND <= at && at <= deed.to + AFTERMATH);
        causes.contains(&Cause::Load)
            || self.deeds.iter().filter(in_time).any(|deed| causes.iter().any(|cause| fits(deed.subject, *cause, line)))
    }
}

fn fits(subject: Subject, cause: Cause, line: &str) -> bool {
    // The KID's name has all its databases; what failed names the one.
    let told = line.split_once("error=").map(|(_, error)| error);
    let looks_like_it = told.is_none_or(|told| match subject {
        Subject::Disk(_) => told.contains(DISK_FULL),
        _ => AWAY.iter().any(|words| told.contains(words)),
    });
    let told = told.unwrap_or(line);
    if !looks_like_it {
        return false;
    }
    match (cause, subject.database()) {
        (Cause::Daemon | Cause::Database | Cause::Control, None) => true,
        (Cause::Database, Some(place)) => told.contains(NAMES[place]) || line.contains(&format!("'{}'", NAMES[place])),
        (Cause::Control, Some(place)) => place == 0,
        (Cause::Daemon, Some(_)) | (Cause::Load, _) => false,
    }
}

/// `[1795886529]`, as `show_time = "epoch"` has it.
fn time_of(line: &str) -> Option<f64> {
    let (_, rest) = line.split_once('[')?;
    rest.split_once(']')?.0.parse().ok()
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs_f64()
}

/// A diary that explains everything would prove nothing.
#[test]
fn a_diary_explains_only_what_it_has() {
    let line = |error: &str| {
        format!("WARN (7) [1000] CTL (pair) round failed, KID is restarted kid=\"pair alfa->bravo\" error=\"{error}\"")
    };
    let deed = |subject| Diary { deeds: vec![Deed { subject, from: 990.0, to: 995.0 }] };
    assert!(deed(Subject::Network(2)).explains(&line("cannot connect to database 'bravo'")));
    assert!(!deed(Subject::Network(1)).explains(&line("cannot connect to database 'bravo'")), "another database");
    assert!(!deed(Subject::Network(2)).explains(&line("cannot connect to database 'bravo'").replace("1000", "1026")));
    assert!(!deed(Subject::Network(2)).explains(&line("cannot connect to database 'bravo'").replace("1000", "980")));
    let stalled = |error: &str| format!("ERROR (7) [1000] CTL KID is stalled error=\"{error} on database 'bravo'\"");
    assert!(deed(Subject::Network(2)).explains(&stalled("connection closed")));
    assert!(!deed(Subject::Network(2)).explains(&stalled("duplicate key value")), "no network makes that");
    assert!(!deed(Subject::Server(2)).explains(&stalled("No space left on device")), "no server makes that");
    assert!(deed(Subject::Disk(2)).explains(&stalled("No space left on device")));
    assert!(!deed(Subject::Disk(2)).explains(&stalled("connection closed")), "no disk makes that");
    assert!(!Diary::default().explains("Warning: Removing file \"x\" with stale PID 7"));
    assert!(deed(Subject::Daemon).explains("Warning: Removing file \"x\" with stale PID 7"));
}
