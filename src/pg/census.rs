//! How many sessions this process has open on each database.

use std::sync::LazyLock;

use dashmap::DashMap;

use super::Access;

static OPEN: LazyLock<DashMap<Access, usize>> = LazyLock::new(DashMap::new);

/// One open session; none any more once it is dropped.
pub(super) struct Counted(Access);

impl Counted {
    pub(super) fn new(access: &Access) -> Self {
        *OPEN.entry(access.clone()).or_default() += 1;
        Self(access.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(mut open) = OPEN.get_mut(&self.0) {
            *open -= 1;
        }
        OPEN.remove_if(&self.0, |_, open| *open == 0);
    }
}

/// How many sessions are open with this access, for whatever purpose.
#[must_use]
pub fn open_sessions(access: &Access) -> usize {
    OPEN.get(access).map_or(0, |open| *open)
}
