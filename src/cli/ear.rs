//! Talking with the daemon through the control database: a word out, and the answers that come back.

use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, timeout_at};
use tokio_postgres::Notification;

use super::{CliError, Context};
use crate::catalog::Control;
use crate::pg::SqlFile;

const SAY: SqlFile = SqlFile::new(include_str!("../../sql/daemon/notify_payload.sql"));
const PROCESS: SqlFile = SqlFile::new(include_str!("../../sql/daemon/process.sql"));

/// A session that hears what the daemon tells.
pub(super) struct Ear {
    control: Control,
    heard: UnboundedReceiver<Notification>,
}

impl Ear {
    /// Opens the control database and listens.
    pub(super) async fn open(ctx: &Context) -> Result<Self, CliError> {
        let mut control = ctx.control().await?;
        let lost = || CliError::die("The control database is gone");
        let heard = control.notifications().ok_or_else(lost)?;
        control
            .batch_execute("LISTEN bucardo")
            .await
            .map_err(|error| CliError::caused("Cannot listen on the control database", &error))?;
        Ok(Self { control, heard })
    }

    /// The session itself.
    pub(super) fn control(&self) -> &Control {
        &self.control
    }

    /// The session itself, to begin a transaction in.
    pub(super) fn control_mut(&mut self) -> &mut Control {
        &mut self.control
    }

    /// Says a word to the daemon.
    pub(super) async fn say(&self, word: &str) -> Result<(), CliError> {
        let said = self.control.query_one(SAY.text(), &[&word]).await;
        said.map(drop).map_err(|error| CliError::caused("Cannot notify the daemon", &error))
    }

    /// Waits until the daemon says something that `meant` understands; `None`: not until `deadline`. The second
    /// value is the daemon's backend.
    pub(super) async fn wait<T>(
        &mut self,
        deadline: Option<Instant>,
        meant: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<(T, i32)>, CliError> {
        loop {
            let next = match deadline {
                Some(deadline) => match timeout_at(deadline, self.heard.recv()).await {
                    Ok(next) => next,
                    Err(_) => return Ok(None),
                },
                None => self.heard.recv().await,
            };
            let Some(notification) = next else {
                return Err(CliError::with_code(3, "Error: lost the connection to the control database"));
            };
            if notification.process_id() == self.control.backend_pid() {
                continue;
            }
            if let Some(found) = meant(notification.payload()) {
                return Ok(Some((found, notification.process_id())));
            }
        }
    }

    /// The daemon's process id, if it answers within that time; `None`: for ever.
    pub(super) async fn ping(&mut self, within: Option<Duration>) -> Result<Option<i32>, CliError> {
        let deadline = within.map(|within| Instant::now() + within);
        self.say("mcp_ping").await?;
        let answer = self.wait(deadline, |word| (word == "mcp_pong").then_some(())).await?;
        let Some(((), backend)) = answer else { return Ok(None) };
        Ok(Some(self.process(backend).await.unwrap_or(backend)))
    }

    /// The process behind a backend: the daemon names it in its application name.
    async fn process(&self, backend: i32) -> Option<i32> {
        let row = self.control.query_opt(PROCESS.text(), &[&backend]).await.ok()??;
        let name: Option<String> = row.get("application_name");
        name?.rsplit_once("(PID ")?.1.trim_end_matches(')').parse().ok()
    }
}
