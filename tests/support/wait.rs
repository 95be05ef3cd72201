//! Waiting for a condition: bounded, and it says what it last saw.

use std::fmt::Debug;
use std::time::Duration;

use tokio::time::{Instant, sleep};

const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Looks until `condition` gives `Ok`, at most for `within`; then panics with the last `Err`, which is what was seen.
///
/// ```ignore
/// wait::until("the row on b", Duration::from_secs(10), async || {
///     let rows = b.rows("SELECT note FROM orders").await;
///     if rows == ["new"] { Ok(()) } else { Err(rows) }
/// }).await;
/// ```
pub(crate) async fn until<T, S: Debug>(
    what: &str,
    within: Duration,
    mut condition: impl AsyncFnMut() -> Result<T, S>,
) -> T {
    let deadline = Instant::now() + within;
    loop {
        match condition().await {
            Ok(value) => return value,
            Err(seen) if Instant::now() >= deadline => panic!("waited {within:?} for {what}; last seen: {seen:?}"),
            Err(_) => sleep(LOOK_EVERY).await,
        }
    }
}

/// As [`until`], for a value that shall become equal to `wanted`.
pub(crate) async fn until_equal<T: PartialEq + Debug>(
    what: &str,
    within: Duration,
    wanted: &T,
    mut look: impl AsyncFnMut() -> T,
) {
    until(what, within, async || {
        let seen = look().await;
        if seen == *wanted { Ok(()) } else { Err(seen) }
    })
    .await;
}
