//! What the service manager is told. Without one (`NOTIFY_SOCKET` is not set) nothing happens.

use std::time::Duration;

use sd_notify::NotifyState;
use tracing::debug;

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(false, states) {
        debug!(%error, "cannot tell the service manager");
    }
}

/// The daemon is ready.
pub(super) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
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
