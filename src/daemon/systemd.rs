//! What the service manager is told. Without one (`NOTIFY_SOCKET` is not set) nothing happens.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use bucardo_actors::board::{ActorId, Board, Doing, Snapshot};
use bucardo_actors::model::KidId;
use sd_notify::NotifyState;
use tracing::debug;

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(false, states) {
        debug!(%error, "cannot tell the service manager");
    }
}

/// The daemon is ready, at first or again.
pub(super) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// The start takes so much longer, and why.
pub(super) fn waiting(why: &str, longer: Duration) {
    let longer = u32::try_from(longer.as_micros()).unwrap_or(u32::MAX);
    tell(&[NotifyState::ExtendTimeoutUsec(longer), NotifyState::Status(why)]);
}

/// The daemon reads settings and catalog again; [`ready`] follows.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now, NotifyState::Status("reloading")]),
        Err(error) => debug!(%error, "cannot tell the service manager of a reload"),
    }
}

/// What an operator sees in `systemctl status`.
pub(super) fn status(text: &str) {
    tell(&[NotifyState::Status(text)]);
}

/// The daemon is about to end.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
}

/// The thread that calls this is alive.
pub(super) fn watchdog() {
    tell(&[NotifyState::Watchdog]);
}

/// How often [`watchdog`] must be called, if at all: twice in the time that the service manager waits.
pub(super) fn watchdog_every() -> Option<Duration> {
    let mut microseconds = 0;
    let wanted = sd_notify::watchdog_enabled(false, &mut microseconds);
    (wanted && microseconds > 0).then(|| Duration::from_micros(microseconds) / 2)
}

/// How the daemon is, in one line.
pub(super) fn summary(board: &Board) -> String {
    line(&board.all(), SystemTime::now())
}

fn line(board: &BTreeMap<ActorId, Snapshot>, now: SystemTime) -> String {
    // One that is inactive is on the board, too.
    let active = board.iter().filter(|(id, snapshot)| matches!(id, ActorId::Ctl(_)) && !snapshot.is_off());
    let syncs = active.count();
    let mut line = format!("Active syncs: {syncs}");
    // A database that cannot be reached shows in its KIDs.
    let workers = board.iter().filter(|(id, _)| matches!(id, ActorId::Ctl(_) | ActorId::Kid(_)));
    let stalled = workers.filter(|(_, snapshot)| snapshot.state == Doing::Stalled).count();
    if stalled > 0 {
        line.push_str(&format!(", {stalled} stalled"));
    }
    let lags = board.iter().filter_map(|(id, snapshot)| match id {
        ActorId::Kid(kid) => Some((lag(snapshot, now)?, kid)),
        _ => None,
    });
    if let Some((lag, kid)) = lags.max_by_key(|(lag, kid)| (*lag, std::cmp::Reverse((*kid).clone()))) {
        line.push_str(&worst(lag, kid));
    }
    line
}

fn worst(lag: Duration, kid: &KidId) -> String {
    let lag = match lag.as_secs() {
        0 => Duration::from_millis(u64::from(lag.subsec_millis())),
        seconds => Duration::from_secs(seconds),
    };
    format!(", worst lag {} ({kid})", humantime::format_duration(lag))
}

/// How far a KID is behind: the age of the oldest change that its last round brought; while rounds fail, the time since
/// the last good one, which is the most that it can be. `None`: its last round found nothing to do.
fn lag(snapshot: &Snapshot, now: SystemTime) -> Option<Duration> {
    let failing = snapshot.fault.as_ref().and_then(|_| snapshot.last_at.or(snapshot.since));
    match failing {
        Some(since) => now.duration_since(since).ok(),
        None => snapshot.last.as_ref()?.lag,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bucardo_actors::model::{Fault, Pair, RoundReport};

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn kid(target: &str) -> ActorId {
        ActorId::Kid(Pair { sync: "s".into(), source: "A".into(), target: target.into() }.into())
    }

    fn delivered(lag: Option<u64>) -> Snapshot {
        let last = RoundReport { lag: lag.map(Duration::from_millis), ..RoundReport::default() };
        Snapshot { last: Some(last), last_at: Some(NOW), ..Snapshot::default() }
    }

    #[test]
    fn the_line_counts_syncs_and_names_the_worst_lag() {
        let mut board = BTreeMap::from([(ActorId::Mcp, Snapshot::default())]);
        assert_eq!(line(&board, NOW), "Active syncs: 0");

        let sync = |state| Snapshot { state, ..Snapshot::default() };
        board.insert(ActorId::Ctl("inactive".into()), sync(Doing::Down));
        assert_eq!(line(&board, NOW), "Active syncs: 0");
        board.insert(ActorId::Ctl("s".into()), sync(Doing::Idle));
        board.insert(kid("B"), delivered(None));
        assert_eq!(line(&board, NOW), "Active syncs: 1");

        board.insert(kid("C"), delivered(Some(1)));
        board.insert(kid("D"), delivered(Some(37)));
        assert_eq!(line(&board, NOW), "Active syncs: 1, worst lag 37ms (s A->D)");
        board.insert(kid("B"), delivered(Some(3_725_999)));
        assert_eq!(line(&board, NOW), "Active syncs: 1, worst lag 1h 2m 5s (s A->B)");
    }

    /// A target that is down reports no rounds; its lag grows all the same.
    #[test]
    fn a_kid_that_fails_is_behind_since_its_last_good_round() {
        let mut away = delivered(Some(2));
        away.fail(Doing::Stalled, Some(Fault::transient("connection refused")), None);
        let board = BTreeMap::from([
            (ActorId::Ctl("s".into()), Snapshot { next_try: Some(NOW), ..Snapshot::default() }),
            (kid("B"), delivered(Some(900))),
            (kid("C"), away),
            (ActorId::Db("C".into()), Snapshot { state: Doing::Stalled, ..Snapshot::default() }),
        ]);
        let later = NOW + Duration::from_secs(90);
        assert_eq!(line(&board, later), "Active syncs: 1, 1 stalled, worst lag 1m 30s (s A->C)");
    }
}
