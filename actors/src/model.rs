//! The words that actors and the rest of the program share: names, plans, reports, failures.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::policy::Settings;

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as it stands in the catalog.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(name: &str) -> Self {
                Self(name.into())
            }
        }

        impl From<String> for $name {
            fn from(name: String) -> Self {
                Self(name.into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

name_type! {
    /// Name of a sync in the catalog.
    SyncName
}
name_type! {
    /// Name of a database in the catalog (not its `dbname`).
    DbName
}

/// Which KID: a sync, and its part of the work.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct KidId {
    /// The sync that the KID works for.
    pub sync: SyncName,
    /// What it does there.
    #[serde(flatten)]
    pub work: Work,
}

/// What a KID does for its sync.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(tag = "work", rename_all = "lowercase")]
pub enum Work {
    /// Brings the changes of all sources that are up to each other.
    Merge,
    /// Brings the changes of one source to a database that is only written to.
    Pair {
        /// Where it reads.
        source: DbName,
        /// Where it writes.
        target: DbName,
    },
    /// Brings a database that is only written to after one of several sources, and after another when that is away.
    Follow {
        /// Where it writes.
        target: DbName,
    },
}

impl KidId {
    /// The database that it writes to, and no other KID of the sync does; `None`: all sources.
    #[must_use]
    pub fn target(&self) -> Option<&DbName> {
        match &self.work {
            Work::Pair { target, .. } | Work::Follow { target } => Some(target),
            Work::Merge => None,
        }
    }
}

impl fmt::Display for KidId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.work {
            Work::Pair { source, target } => write!(f, "{} {source}->{target}", self.sync),
            Work::Follow { target } => write!(f, "{} ->{target}", self.sync),
            Work::Merge => write!(f, "{} merge", self.sync),
        }
    }
}

/// One source and one target of a sync.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pair {
    /// The sync.
    pub sync: SyncName,
    /// Where is read.
    pub source: DbName,
    /// Where is written.
    pub target: DbName,
}

impl From<Pair> for KidId {
    fn from(pair: Pair) -> Self {
        Self { sync: pair.sync, work: Work::Pair { source: pair.source, target: pair.target } }
    }
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}->{}", self.sync, self.source, self.target)
    }
}

/// Whether the same work, tried again, may succeed without anyone's help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Failure {
    /// A deadlock, a lost connection, a full disk: time may heal it.
    Transient,
    /// A missing table, a missing right, a bad setting: a person must act.
    Permanent,
}

/// What sort of failure it was, where the answer to it differs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// Nothing special.
    #[default]
    Other,
    /// A database cannot be reached, or was lost.
    Away,
    /// Somebody else changed the same rows at the same time (SQLSTATE 40001).
    Serialization,
    /// Two waited for each other's locks (SQLSTATE 40P01).
    Deadlock,
}

/// An error as actors see it: already told in words, with its class and a next step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Whether trying again can help.
    pub failure: Failure,
    /// What sort of failure it was.
    pub cause: Cause,
    /// What was being done and why it failed: the whole chain of causes, on one line.
    pub message: String,
    /// What the operator can do, where we know.
    pub hint: Option<String>,
    /// The database that is to blame, where one is.
    pub db: Option<DbName>,
}

impl Fault {
    /// A fault that time may heal.
    pub fn transient(message: impl Into<String>) -> Self {
        Self { failure: Failure::Transient, cause: Cause::Other, message: message.into(), hint: None, db: None }
    }

    /// A fault that waits for a person.
    pub fn permanent(message: impl Into<String>) -> Self {
        Self { failure: Failure::Permanent, cause: Cause::Other, message: message.into(), hint: None, db: None }
    }

    /// The same fault with a next step for the operator.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same fault, blamed on `db`.
    #[must_use]
    pub fn at(mut self, db: DbName) -> Self {
        self.db = Some(db);
        self
    }

    /// The same fault, of this sort.
    #[must_use]
    pub fn because(mut self, cause: Cause) -> Self {
        self.cause = cause;
        self
    }

    /// More than one database cannot be reached: it names none.
    #[must_use]
    pub fn lacks_all(&self) -> bool {
        self.db.is_none() && self.cause == Cause::Away
    }

    /// The database that cannot be reached, if that is the trouble: it is not there, or it lets nobody in.
    #[must_use]
    pub fn unreachable(&self) -> Option<&DbName> {
        self.db.as_ref().filter(|_| self.cause == Cause::Away)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// What the catalog says should happen with a sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Intent {
    /// Replicate.
    Active,
    /// Stay as it is until resumed; lost at a restart.
    Paused,
    /// Not run at all.
    Inactive,
}

/// Why a sync is looked at. A reason never says *what* changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// The daemon, the sync or the KID just started.
    Start,
    /// A source said that something changed, or another KID of the sync has written to one.
    Change,
    /// The listener of a source is back: the source can be reached, and what it said meanwhile was not heard.
    Back,
    /// Somebody asked for it by name.
    Request,
    /// The sync's own timer.
    Check,
    /// The last round left work behind.
    More,
}

impl Reason {
    /// The one of two reasons that matters more to the round that serves both: a request stays a request, and
    /// whatever may mean that a database can be reached again is not hidden by a change.
    #[must_use]
    pub fn and(self, later: Self) -> Self {
        let weight = |reason| match reason {
            Self::More | Self::Change => 0,
            Self::Check => 1,
            Self::Start | Self::Back => 2,
            Self::Request => 3,
        };
        if weight(self) > weight(later) { self } else { later }
    }
}

/// Whether custom codes run around the runs of a sync.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AroundRuns {
    /// Before its KIDs begin.
    pub before: bool,
    /// After they have ended.
    pub after: bool,
}

/// What the actors need to know of a sync. Goats, columns and connections stay outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncPlan {
    /// Name of the sync.
    pub name: SyncName,
    /// Active or not.
    pub intent: Intent,
    /// Databases with role source, the preferred one first.
    pub sources: Vec<DbName>,
    /// Databases that are only written to.
    pub targets: Vec<DbName>,
    /// Databases that are written to by whole copies only.
    pub fullcopies: Vec<DbName>,
    /// Looked at whenever it starts, and now and then without a `checktime`.
    pub autokick: bool,
    /// Whether what its sources say kicks it.
    pub listens: bool,
    /// Syncs with a higher one are started and looked at first.
    pub priority: i32,
    /// So many of its KIDs are in a round at a time (`limitdbs`); `None`: all.
    pub at_once_max: Option<usize>,
    /// Looked at this often even when nobody kicks (`checktime`); `None`: the daemon's own period.
    pub check_every: Option<Duration>,
    /// KIDs keep their connections between rounds; else each ends after the rounds of a kick.
    pub kidsalive: bool,
    /// Its controller stays between runs; else it ends after each, and comes with the next kick.
    pub stayalive: bool,
    /// A controller that is older is replaced at the next kick, with its KIDs.
    pub lifetime: Option<Duration>,
    /// A controller that has had so many kicks is replaced at the next one, with its KIDs.
    pub kicks_max: Option<u32>,
    /// The custom codes around its runs.
    pub codes: AroundRuns,
    /// What it has set for itself; `None`: what holds for all.
    pub settings: Option<Box<Settings>>,
    /// Something in the catalog that keeps it from running, and what to do; it is then not started.
    pub problem: Option<Fault>,
    /// Changes whenever anything changes that a KID has read from the catalog; KIDs are then replaced.
    pub fingerprint: u64,
}

impl SyncPlan {
    /// The plan of a sync that does not run.
    #[must_use]
    pub fn inactive(name: SyncName) -> Self {
        Self {
            name,
            intent: Intent::Inactive,
            sources: Vec::new(),
            targets: Vec::new(),
            fullcopies: Vec::new(),
            autokick: false,
            listens: false,
            priority: 0,
            at_once_max: None,
            check_every: None,
            kidsalive: true,
            stayalive: true,
            lifetime: None,
            kicks_max: None,
            codes: AroundRuns::default(),
            settings: None,
            problem: None,
            fingerprint: 0,
        }
    }

    /// All its databases.
    pub fn dbs(&self) -> impl Iterator<Item = &DbName> {
        self.sources.iter().chain(&self.targets).chain(&self.fullcopies)
    }

    /// Whether `reason` is work for this KID. A whole copy is made when somebody asks for it by name
    /// and by the sync's own timer: neither changes nor a start of the daemon cause one.
    #[must_use]
    pub fn concerns(&self, kid: &KidId, reason: Reason) -> bool {
        let copies = || kid.target().is_some_and(|target| self.fullcopies.contains(target));
        match reason {
            Reason::Request | Reason::More => true,
            Reason::Check => self.check_every.is_some() || !copies(),
            Reason::Start | Reason::Change | Reason::Back => !copies(),
        }
    }
}

/// What was brought of one table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct GoatCounts {
    /// Its number in the catalog.
    pub goat: i32,
    /// Changed keys.
    pub keys: u64,
    /// Rows deleted.
    pub deletes: u64,
    /// Rows written.
    pub inserts: u64,
}

/// What one round did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RoundReport {
    /// Rows deleted on the target (changed keys that were there before).
    pub deletes: u64,
    /// Rows written to the target.
    pub inserts: u64,
    /// Tables truncated because the source truncated them.
    pub truncates: u64,
    /// Keys that more than one source had changed.
    pub conflicts: u64,
    /// Changed keys taken from the source.
    pub keys: u64,
    /// The backlog was cut: there is more to do at once.
    pub more: bool,
    /// A whole copy (`onetimecopy`) was made in this round.
    pub copied: bool,
    /// Age of the oldest change that this round delivered, at its commit.
    pub lag: Option<Duration>,
    /// How long the round took.
    pub took: Duration,
    /// Sources that a merge did without, since they could not be reached, and why. A round for another reason than
    /// [`Reason::Change`] or [`Reason::More`] tries them again.
    pub away: Vec<(DbName, String)>,
    /// Tables that stay behind while the others go on.
    pub quarantined: Vec<Quarantined>,
    /// The changes of each table, without whole copies.
    pub goats: Vec<GoatCounts>,
    /// The rows of each table that was copied whole.
    pub copies: Vec<GoatCounts>,
}

/// A table or sequence that cannot be delivered as it is, and waits while the others of its sync go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Quarantined {
    /// `schema.table`
    pub relation: String,
    /// It is a sequence.
    pub is_sequence: bool,
    /// Where it stays behind.
    pub db: DbName,
    /// Since when, if that is known.
    pub since: Option<SystemTime>,
    /// The difference.
    pub why: String,
    /// What a person can do about it.
    pub remedy: &'static str,
}

impl fmt::Display for Quarantined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { relation, is_sequence, db, why, .. } = self;
        let what = if *is_sequence { "sequence" } else { "table" };
        write!(f, "quarantined {what} \"{relation}\" on database \"{db}\": {why}")
    }
}

fn add(sum: &mut Vec<GoatCounts>, more: &[GoatCounts]) {
    for more in more {
        match sum.iter_mut().find(|known| known.goat == more.goat) {
            Some(known) => {
                known.keys += more.keys;
                known.deletes += more.deletes;
                known.inserts += more.inserts;
            }
            None => sum.push(*more),
        }
    }
}

impl RoundReport {
    /// One sentence for each table that stays behind.
    #[must_use]
    pub fn quarantine_told(&self) -> Vec<String> {
        self.quarantined.iter().map(ToString::to_string).collect()
    }

    /// Whether the round found nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.deletes == 0 && self.inserts == 0 && self.truncates == 0 && self.keys == 0 && !self.copied
    }

    /// Adds what a later round of the same run did.
    pub fn absorb(&mut self, later: &Self) {
        self.deletes += later.deletes;
        self.inserts += later.inserts;
        self.truncates += later.truncates;
        self.conflicts += later.conflicts;
        self.keys += later.keys;
        self.more = later.more;
        self.copied |= later.copied;
        self.lag = self.lag.max(later.lag);
        self.took += later.took;
        self.away.clone_from(&later.away);
        self.quarantined.clone_from(&later.quarantined);
        add(&mut self.goats, &later.goats);
        self.absorb_copies(&later.copies);
    }

    /// Adds rows of tables that were copied whole.
    pub fn absorb_copies(&mut self, later: &[GoatCounts]) {
        add(&mut self.copies, later);
    }
}
