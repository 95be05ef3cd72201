//! Which alerts go into which mail, and when. Pure.
//!
//! Alerts that come together go together. When an hour has had its mails, or the mail server is away, they are held
//! back, and the next mail has them all. What is here outlives the daemon: the mail about its end may have to wait for
//! the next one.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

/// What comes within this time of the first goes into the same mail.
const GATHER: Duration = Duration::from_secs(2);
const HOUR: Duration = Duration::from_secs(3600);
/// So many alerts are held back at most: the first half of them, and the newest.
const HELD_MAX: usize = 100;
/// Between tries while the mail server is away: the first wait, doubled up to the last.
const RETRY_INITIAL: Duration = Duration::from_secs(60);
const RETRY_MAX: Duration = Duration::from_secs(15 * 60);

/// One thing that somebody should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Alert {
    /// When it happened.
    pub(super) at: SystemTime,
    /// In one line.
    pub(super) subject: String,
    /// In lines.
    pub(super) text: String,
}

/// Alerts for one mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) alerts: Vec<Alert>,
    /// So many more were dropped.
    pub(super) dropped: u64,
    /// Since when they had to wait, if they had to.
    pub(super) held_since: Option<SystemTime>,
}

/// Alerts that wait, mails that were sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Postbox {
    waiting: Vec<Alert>,
    dropped: u64,
    held_since: Option<SystemTime>,
    sent: Vec<SystemTime>,
    #[serde(skip)]
    outage: Option<Outage>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Outage {
    since: SystemTime,
    tries: u32,
    again: SystemTime,
}

impl Postbox {
    /// An alert for the next mail.
    pub(super) fn add(&mut self, alert: Alert) {
        self.waiting.push(alert);
        self.bound();
    }

    fn bound(&mut self) {
        while self.waiting.len() > HELD_MAX {
            self.waiting.remove(HELD_MAX / 2);
            self.dropped += 1;
        }
    }

    /// When to ask for a batch; `None`: nothing waits. What has to wait longer must be asked for once, to be noted as
    /// held back.
    pub(super) fn due_at(&self, hour_max: u32) -> Option<SystemTime> {
        if self.held_since.is_none() { Some(self.waiting.first()?.at + GATHER) } else { self.ready_at(hour_max) }
    }

    /// When there is a batch.
    fn ready_at(&self, hour_max: u32) -> Option<SystemTime> {
        let gathered = self.waiting.first()?.at + GATHER;
        let tried = self.outage.map_or(gathered, |outage| outage.again);
        Some(gathered.max(tried).max(self.free_at(hour_max).unwrap_or(gathered)))
    }

    /// When the hour has place for a mail again; `None`: it has.
    fn free_at(&self, hour_max: u32) -> Option<SystemTime> {
        match usize::try_from(hour_max) {
            // The mail that makes place by becoming an hour old.
            Ok(most @ 1..) if self.sent.len() >= most => self.sent.get(self.sent.len() - most).map(|sent| *sent + HOUR),
            _ => None,
        }
    }

    /// Takes what is to be sent now. What becomes of it is told to [`Self::delivered`] or [`Self::refused`].
    pub(super) fn take(&mut self, hour_max: u32, now: SystemTime) -> Option<Batch> {
        self.forget(now);
        if let Some(outage) = &mut self.outage {
            outage.again = outage.again.min(now + RETRY_MAX);
        }
        for alert in &mut self.waiting {
            alert.at = alert.at.min(now);
        }
        let due = self.ready_at(hour_max)?;
        if due > now {
            let gathered = self.waiting.first().is_some_and(|first| first.at + GATHER <= now);
            if gathered {
                self.held_since.get_or_insert(now);
            }
            return None;
        }
        self.take_all()
    }

    /// As [`Self::take`], when there is no time to wait for more alerts or for the mail server.
    pub(super) fn take_last(&mut self, hour_max: u32, now: SystemTime) -> Option<Batch> {
        self.forget(now);
        if self.free_at(hour_max).is_some_and(|free| free > now) {
            self.held_since.get_or_insert(now);
            return None;
        }
        self.take_all()
    }

    /// Mails of former hours. A clock that was set back must not silence us.
    fn forget(&mut self, now: SystemTime) {
        self.sent.retain(|sent| *sent <= now && *sent + HOUR > now);
    }

    fn take_all(&mut self) -> Option<Batch> {
        if self.waiting.is_empty() {
            return None;
        }
        let alerts = std::mem::take(&mut self.waiting);
        Some(Batch { alerts, dropped: std::mem::take(&mut self.dropped), held_since: self.held_since.take() })
    }

    /// The mail is sent; how long none could be.
    pub(super) fn delivered(&mut self, now: SystemTime) -> Option<Duration> {
        self.sent.push(now);
        let outage = self.outage.take()?;
        Some(now.duration_since(outage.since).unwrap_or_default())
    }

    /// The mail could not be sent; its alerts wait again. True: the one before could.
    pub(super) fn refused(&mut self, batch: Batch, now: SystemTime) -> bool {
        self.dropped += batch.dropped;
        self.held_since = batch.held_since.or(self.held_since).or(Some(now));
        self.waiting.splice(0..0, batch.alerts);
        self.bound();
        let first = self.outage.is_none();
        let outage = self.outage.get_or_insert(Outage { since: now, tries: 0, again: now });
        let wait = RETRY_INITIAL.saturating_mul(1 << outage.tries.min(10)).min(RETRY_MAX);
        outage.tries += 1;
        outage.again = now + wait;
        first
    }

    /// The last mail could not be sent.
    pub(super) fn is_refused(&self) -> bool {
        self.outage.is_some()
    }

    /// Tries again at once: the settings are others.
    pub(super) fn forgive(&mut self) {
        self.outage = None;
    }

    /// Nothing that the next daemon would need.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.sent.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: SystemTime = SystemTime::UNIX_EPOCH;

    fn at(seconds: u64) -> SystemTime {
        START + Duration::from_secs(1_000_000 + seconds)
    }

    fn alert(seconds: u64) -> Alert {
        Alert { at: at(seconds), subject: format!("alert {seconds}"), text: String::new() }
    }

    fn seconds(batch: &Batch) -> Vec<u64> {
        let start = at(0);
        batch.alerts.iter().map(|alert| alert.at.duration_since(start).unwrap().as_secs()).collect()
    }

    #[test]
    fn what_comes_together_goes_together() {
        let mut box_ = Postbox::default();
        assert_eq!(box_.due_at(10), None);
        box_.add(alert(0));
        box_.add(alert(1));
        assert_eq!(box_.due_at(10), Some(at(2)));
        assert_eq!(box_.take(10, at(1)), None);
        let batch = box_.take(10, at(2)).unwrap();
        assert_eq!((seconds(&batch), batch.held_since), (vec![0, 1], None));
        assert_eq!(box_.delivered(at(2)), None);
        assert_eq!(box_.due_at(10), None);
    }

    #[test]
    fn an_hour_has_so_many_and_the_next_tells_what_was_held_back() {
        let mut box_ = Postbox::default();
        for minute in 0..3 {
            box_.add(alert(minute * 60));
            assert!(box_.take(3, at(minute * 60 + 2)).is_some());
            box_.delivered(at(minute * 60 + 2));
        }
        for minute in 3..60 {
            box_.add(alert(minute * 60));
            assert_eq!(box_.take(3, at(minute * 60 + 2)), None, "minute {minute}");
        }
        assert_eq!(box_.due_at(3), Some(at(3602)));
        let batch = box_.take(3, at(3602)).unwrap();
        assert_eq!((batch.alerts.len(), batch.held_since), (57, Some(at(182))));
        box_.delivered(at(3602));
        box_.add(alert(3610));
        assert_eq!(box_.due_at(3), Some(at(3612)));
        assert_eq!(box_.take(3, at(3612)), None);
        assert_eq!(box_.due_at(3), Some(at(3662)), "in any hour, not in each hour of the clock");
        assert!(box_.clone().take(0, at(3612)).is_some(), "0 is no limit");
        assert!(box_.clone().take(4, at(3612)).is_some(), "a higher limit counts at once");
    }

    #[test]
    fn a_server_that_is_away_is_tried_ever_more_rarely_and_gets_everything_when_it_is_back() {
        let mut box_ = Postbox::default();
        box_.add(alert(0));
        let batch = box_.take(10, at(2)).unwrap();
        assert!(box_.refused(batch, at(5)), "this is logged");
        box_.add(alert(10));
        assert_eq!(box_.due_at(10), Some(at(65)));
        let mut now = 65;
        for wait in [120, 240, 480, 900, 900, 900] {
            let batch = box_.take(10, at(now)).unwrap();
            assert!(!box_.refused(batch, at(now)), "this is not");
            assert_eq!(box_.due_at(10), Some(at(now + wait)));
            now += wait;
        }
        let batch = box_.take(10, at(now)).unwrap();
        assert_eq!((seconds(&batch), batch.held_since), (vec![0, 10], Some(at(5))));
        assert_eq!(box_.delivered(at(now)), Some(Duration::from_secs(now - 5)));
        box_.add(alert(now));
        let batch = box_.take(10, at(now + 2)).unwrap();
        assert!(box_.refused(batch, at(now + 2)), "the next outage is logged again");
    }

    #[test]
    fn of_too_many_the_first_and_the_newest_stay() {
        let mut box_ = Postbox::default();
        (0..1000).for_each(|second| box_.add(alert(second)));
        let batch = box_.take(10, at(2000)).unwrap();
        let seconds = seconds(&batch);
        assert_eq!((seconds.len(), seconds[49], seconds[50], seconds[99]), (100, 49, 950, 999));
        assert_eq!(batch.dropped, 900);
        assert!(box_.refused(batch, at(2000)));
        assert_eq!(box_.take_last(10, at(2001)).unwrap().dropped, 900);
    }

    /// The daemon ends: nothing is waited for, but the limit holds, and the next daemon has the rest.
    #[test]
    fn the_last_mail_does_not_wait() {
        let mut box_ = Postbox::default();
        box_.add(alert(0));
        let batch = box_.take(1, at(2)).unwrap();
        box_.refused(batch, at(2));
        box_.add(alert(3));
        assert_eq!(seconds(&box_.take_last(1, at(3)).unwrap()), [0, 3]);
        box_.delivered(at(3));
        box_.add(alert(4));
        assert_eq!(box_.take_last(1, at(4)), None);
        assert!(!box_.is_empty());
    }

    #[test]
    fn a_clock_that_was_set_back_silences_nothing() {
        let mut box_ = Postbox::default();
        box_.add(alert(9_000_000));
        box_.sent.push(at(9_000_000));
        box_.take(1, at(10));
        assert!(box_.take(1, at(12)).is_some());
    }

    #[test]
    fn it_outlives_the_daemon() {
        let mut box_ = Postbox::default();
        box_.add(alert(0));
        let batch = box_.take(1, at(2)).unwrap();
        box_.refused(batch, at(2));
        box_.sent.push(at(1));
        let text = serde_json::to_string(&box_).unwrap();
        let mut again: Postbox = serde_json::from_str(&text).unwrap();
        assert_eq!(again.due_at(1), Some(at(3601)), "the limit holds for both daemons together");
        assert_eq!(again.take(2, at(3)).unwrap().held_since, Some(at(2)));
    }
}
