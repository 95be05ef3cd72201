//! What runs the custom codes of all syncs.

use std::sync::Arc;

use crate::catalog::SyncDetail;
use crate::custom::{Codes, Hosts, Post};

/// What custom codes need from the daemon.
#[derive(Clone)]
pub struct Workshop {
    hosts: Hosts,
    post: Option<Post>,
}

impl Workshop {
    /// Codes are run by `hosts`, and their mails go to `post`.
    #[must_use]
    pub fn new(hosts: Hosts, post: Option<Post>) -> Self {
        Self { hosts, post }
    }

    /// The codes of a sync, for one KID or CTL; `None`: it has none.
    pub(super) fn codes(&self, sync: &Arc<SyncDetail>) -> Option<Codes> {
        Some(Codes::of(sync, Arc::clone(&self.hosts))?.with_post(self.post.clone()))
    }
}
