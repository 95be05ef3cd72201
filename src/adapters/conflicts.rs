//! The history of conflicts as a port: a session of its own in the control database, opened by the first conflict.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::Mutex;

use super::lease::application_name;
use crate::catalog::{CatalogError, Conflict, ConflictStore, Control, conflicts};
use crate::pg::{Access, causes};

/// Keeps conflicts in the control database. The session that does so is not the one with the lease, so that a flood
/// of conflicts does not hold up the MCP; merges wait for each other.
pub struct ConflictHistory {
    access: Access,
    session: Mutex<Option<Control>>,
}

impl ConflictHistory {
    /// A history in this control database.
    #[must_use]
    pub fn new(access: Access) -> Self {
        Self { access, session: Mutex::default() }
    }

    async fn add(&self, conflicts: &[Conflict]) -> Result<(), CatalogError> {
        let mut session = self.session.lock().await;
        // Put back when all went well: a session that failed in the middle is of no more use.
        let mut control = match session.take().filter(|control| !control.is_closed()) {
            Some(control) => control,
            None => Box::pin(Control::open(&self.access, &application_name("conflicts"))).await?,
        };
        conflicts::add(control.client_mut(), conflicts, true).await?;
        *session = Some(control);
        Ok(())
    }
}

impl ConflictStore for ConflictHistory {
    fn store<'a>(&'a self, conflicts: &'a [Conflict]) -> BoxFuture<'a, Result<(), String>> {
        async move {
            if conflicts.is_empty() {
                return Ok(());
            }
            let count = conflicts.len();
            Box::pin(self.add(conflicts))
                .await
                .map_err(|error| format!("cannot keep {count} conflicts in the control database: {}", causes(&error)))
        }
        .boxed()
    }
}
