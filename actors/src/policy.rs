//! What happens after a child has ended: one declared policy, [`Care`], and a pure decision, [`Ledger::settle`].

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::model::{Cause, Failure, Fault};

/// Why an actor, or the work it had started, ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It was asked to, or had nothing more to do.
    Stopped,
    /// Its work failed.
    Failed(Fault),
    /// It, or its work, panicked; the text is the panic's.
    Panicked(String),
    /// It did not answer, or its work did not move; the text says which.
    Unresponsive(String),
}

impl Exit {
    /// The exit as a fault; `None` for an orderly end.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        match self {
            Self::Stopped => None,
            Self::Failed(fault) => Some(fault.clone()),
            Self::Panicked(text) => Some(Fault::transient(format!("panicked: {text}"))),
            Self::Unresponsive(text) => Some(Fault::transient(text.clone())),
        }
    }
}

/// When a child that failed is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Restart {
    /// Wait before the first restart; each further one within the window waits twice as long.
    #[serde(with = "humantime_serde")]
    pub delay_initial: Duration,
    /// No wait is longer.
    #[serde(with = "humantime_serde")]
    pub delay_max: Duration,
    /// Each wait is made shorter by a random part of this many hundredths of it, so that two who have clashed do not
    /// meet again.
    pub jitter_percent: u32,
    /// So many restarts within the window; the next failure stalls the child.
    pub restarts_max: u32,
    /// Restarts older than this, or older than the last success, no longer count.
    #[serde(with = "humantime_serde")]
    pub restarts_window: Duration,
}

impl Default for Restart {
    fn default() -> Self {
        Self {
            delay_initial: Duration::from_secs(1),
            delay_max: Duration::from_secs(5 * 60),
            jitter_percent: 0,
            restarts_max: 10,
            restarts_window: Duration::from_secs(60 * 60),
        }
    }
}

impl Restart {
    /// The wait after `count` restarts, if the first is `initial`; `luck` of 0 to 999 is how much of the jitter is taken
    /// off.
    fn delay(&self, initial: Duration, count: u32, luck: u32) -> Duration {
        let whole = backoff(initial, self.delay_max.max(initial), count);
        let off = whole.saturating_mul(self.jitter_percent.min(100) * luck.min(999)) / 100_000;
        whole - off
    }
}

/// What is done after work has clashed with that of somebody else: the wait before the first restart is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClashCare {
    /// After a serialization failure.
    #[serde(with = "humantime_serde")]
    pub serialization: Duration,
    /// After a deadlock.
    #[serde(with = "humantime_serde")]
    pub deadlock: Duration,
    /// False: a serialization failure stalls the child at once.
    pub serialization_retry: bool,
    /// False: a deadlock stalls the child at once.
    pub deadlock_retry: bool,
}

impl Default for ClashCare {
    fn default() -> Self {
        let wait = Duration::from_millis(500);
        Self { serialization: wait, deadlock: wait, serialization_retry: true, deadlock_retry: true }
    }
}

/// Whether the mailbox is alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PingCare {
    /// How often a child is asked.
    #[serde(with = "humantime_serde")]
    pub every: Duration,
    /// How long the answer may take.
    #[serde(with = "humantime_serde")]
    pub within: Duration,
    /// So many unanswered in a row make it unresponsive.
    pub missed_max: u32,
}

impl Default for PingCare {
    fn default() -> Self {
        Self { every: Duration::from_secs(10), within: Duration::from_secs(5), missed_max: 3 }
    }
}

/// Whether the work moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProgressCare {
    /// Work in which nothing moves for so long is abandoned.
    #[serde(with = "humantime_serde")]
    pub within: Duration,
}

impl Default for ProgressCare {
    fn default() -> Self {
        Self { within: Duration::from_secs(10 * 60) }
    }
}

/// What becomes of a child that a restart does not help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StalledCare {
    /// It is tried again this rarely, or at once when an operator asks for it.
    #[serde(with = "humantime_serde")]
    pub retry_every: Duration,
    /// One that lacks a database is tried again this often, however long the database is away.
    #[serde(with = "humantime_serde")]
    pub away_every: Duration,
}

impl Default for StalledCare {
    fn default() -> Self {
        Self { retry_every: Duration::from_secs(15 * 60), away_every: Duration::from_secs(30) }
    }
}

/// Everything that a parent tolerates of one role.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Care {
    /// Restarts after a failure.
    pub restart: Restart,
    /// Restarts after a clash.
    pub clash: ClashCare,
    /// Health of the mailbox.
    pub ping: PingCare,
    /// Health of the work.
    pub progress: ProgressCare,
    /// After the restarts.
    pub stalled: StalledCare,
}

/// How hard the MCP tries to get its lease on the control database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LeaseCare {
    /// Wait before the second try; each further one waits twice as long.
    #[serde(with = "humantime_serde")]
    pub delay_initial: Duration,
    /// No wait is longer.
    #[serde(with = "humantime_serde")]
    pub delay_max: Duration,
    /// So many tries at the start of the daemon, then it ends; one in the foreground makes any number. A running daemon
    /// that lost its lease never gives up.
    pub tries_max: u32,
    /// False: a running daemon that lost its lease ends.
    pub regain: bool,
}

impl Default for LeaseCare {
    fn default() -> Self {
        Self { delay_initial: Duration::from_secs(1), delay_max: Duration::from_secs(30), tries_max: 5, regain: true }
    }
}

impl LeaseCare {
    /// How long to wait after `tries` tries in a row have failed.
    #[must_use]
    pub fn delay(&self, tries: u32) -> Duration {
        backoff(self.delay_initial, self.delay_max, tries.saturating_sub(1))
    }
}

/// What each role tolerates: `[supervision]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Supervision {
    /// The MCP's hold on the control database.
    pub lease: LeaseCare,
    /// Controllers, one per sync.
    pub ctl: Care,
    /// Kids that bring changes to a target.
    pub kid: Care,
    /// Kids that merge sources. Local writes of the same rows make a merge fail now and then, and soon it is tried again.
    pub merge: Care,
    /// The purger.
    pub vac: Care,
}

impl Default for Supervision {
    fn default() -> Self {
        let often = Restart {
            delay_initial: Duration::from_millis(100),
            delay_max: Duration::from_secs(60),
            jitter_percent: 50,
            restarts_max: 20,
            ..Restart::default()
        };
        let wait = often.delay_initial;
        let clash = ClashCare { serialization: wait, deadlock: wait, ..ClashCare::default() };
        Self {
            lease: LeaseCare::default(),
            ctl: Care::default(),
            kid: Care::default(),
            merge: Care { restart: often, clash, ..Care::default() },
            vac: Care::default(),
        }
    }
}

/// When things happen that nobody asked for, and how long an end may take: `[schedule]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Schedule {
    /// A sync that changes kick is also looked at this often, unless it has a `checktime` of its own.
    #[serde(with = "humantime_serde")]
    pub check_every: Duration,
    /// How often delivered changes are purged from the sources.
    #[serde(with = "humantime_serde")]
    pub purge_every: Duration,
    /// Rounds are summed up to one entry of the run history for at most this long.
    #[serde(with = "humantime_serde")]
    pub run_max: Duration,
    /// A busy sync tells the end of rounds that nobody asked for (`syncdone`) at most this often.
    #[serde(with = "humantime_serde")]
    pub tell_every: Duration,
    /// So many entries of the run history and notices wait for the control database; more are dropped.
    /// Takes effect at the start of the daemon.
    pub posts_max: usize,
    /// A round that runs when its KID is to end (a reload, a sync that is deactivated) may take this long.
    #[serde(with = "humantime_serde")]
    pub grace: Duration,
    /// Cancelled work that has not ended after this is dropped.
    #[serde(with = "humantime_serde")]
    pub cancel_within: Duration,
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            check_every: Duration::from_secs(30),
            purge_every: Duration::from_secs(30),
            run_max: Duration::from_secs(5),
            tell_every: Duration::from_millis(250),
            posts_max: 1000,
            grace: Duration::from_secs(30),
            cancel_within: Duration::from_secs(3),
        }
    }
}

/// All settings that the actors know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// What each role tolerates.
    pub supervision: Supervision,
    /// When things happen.
    pub schedule: Schedule,
}

/// What a parent does about a child that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing: it was to end.
    Forget,
    /// Start it again after this wait.
    Restart {
        /// The wait.
        after: Duration,
    },
    /// A restart does not help: try again only now and then, or on request.
    Stall {
        /// Until the next try.
        retry_after: Duration,
        /// It was stalled before, and has not gone well since: nothing new.
        again: bool,
    },
}

/// The restarts of one child since its last success.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    restarts: VecDeque<Instant>,
    in_trouble: bool,
    stalled: bool,
}

impl Ledger {
    /// Decides what to do about a child that ended with `exit` at `now`. `luck` of 0 to 999 shortens the wait, as far as
    /// [`Restart::jitter_percent`] lets it.
    pub fn settle(&mut self, care: &Care, exit: &Exit, now: Instant, luck: u32) -> Verdict {
        let verdict = self.judge(care, exit, now, luck);
        if let Verdict::Stall { .. } = verdict {
            self.stalled = true;
        }
        verdict
    }

    fn judge(&mut self, care: &Care, exit: &Exit, now: Instant, luck: u32) -> Verdict {
        let stall = |retry_after| Verdict::Stall { retry_after, again: self.stalled };
        match exit {
            Exit::Stopped => {
                self.succeeded();
                Verdict::Forget
            }
            Exit::Failed(fault) if fault.failure == Failure::Permanent => {
                self.in_trouble = true;
                stall(care.stalled.retry_every)
            }
            Exit::Failed(_) | Exit::Panicked(_) | Exit::Unresponsive(_) => {
                self.in_trouble = true;
                while self.restarts.front().is_some_and(|&at| now.duration_since(at) >= care.restart.restarts_window) {
                    self.restarts.pop_front();
                }
                let count = u32::try_from(self.restarts.len()).unwrap_or(u32::MAX);
                let cause = if let Exit::Failed(fault) = exit { fault.cause } else { Cause::Other };
                let (initial, retried) = match cause {
                    Cause::Other | Cause::Away => (care.restart.delay_initial, true),
                    Cause::Serialization => (care.clash.serialization, care.clash.serialization_retry),
                    Cause::Deadlock => (care.clash.deadlock, care.clash.deadlock_retry),
                };
                let after = care.restart.delay(initial, count, luck);
                let spent = count >= care.restart.restarts_max;
                match cause {
                    // Only time helps, and the database may be back any moment: no budget makes the waits longer.
                    Cause::Away if self.stalled || spent || after >= care.stalled.away_every => {
                        stall(care.stalled.away_every)
                    }
                    _ if spent || !retried => stall(care.stalled.retry_every),
                    _ => {
                        self.restarts.push_back(now);
                        Verdict::Restart { after }
                    }
                }
            }
        }
    }

    /// The child's work went well: its earlier failures no longer count. True if there were any.
    pub fn succeeded(&mut self) -> bool {
        self.restarts.clear();
        self.stalled = false;
        std::mem::take(&mut self.in_trouble)
    }
}

fn backoff(initial: Duration, max: Duration, doublings: u32) -> Duration {
    initial.saturating_mul(2_u32.saturating_pow(doublings)).min(max)
}
