//! The lease: a session lock on the control database, so that it has one daemon at a time.

use std::time::Duration;

use bucardo_actors::model::Fault;
use tokio::time::{Instant, sleep};
use tracing::info;

use crate::catalog::Control;
use crate::pg::{Access, SqlFile, cause, causes, classify};

const SESSION: SqlFile = SqlFile::new(include_str!("../../sql/daemon/session.sql"));
const TAKE: SqlFile = SqlFile::new(include_str!("../../sql/daemon/lease_take.sql"));
const HOLDER: SqlFile = SqlFile::new(include_str!("../../sql/daemon/lease_holder.sql"));
const SINCE: SqlFile = SqlFile::new(include_str!("../../sql/daemon/session_since.sql"));
const END: SqlFile = SqlFile::new(include_str!("../../sql/daemon/session_end.sql"));
/// "bucardo", read as a number.
const NUMBER: i64 = 0x62_75_63_61_72_64_6f;
/// The session of a daemon that was killed lives on for a moment.
const TAKE_WITHIN: Duration = Duration::from_secs(3);
const TRY_EVERY: Duration = Duration::from_millis(200);

/// Names one session of a server for good: its process id and when it began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SessionId {
    pid: i32,
    since: String,
}

/// What the server shows of this process.
pub(super) fn application_name(role: &str) -> String {
    format!("bucardo {role} (PID {})", std::process::id())
}

/// Whether a daemon holds the lease of this control database.
///
/// # Errors
///
/// What the server or the connection says.
pub async fn is_lease_held(control: &tokio_postgres::Client) -> Result<bool, tokio_postgres::Error> {
    Ok(control.query_opt(HOLDER.text(), &[&NUMBER]).await?.is_some())
}

/// Connects and takes the lease. `former` is the session that held it for us before: where the server still
/// believes in it, it is ended.
///
/// # Errors
///
/// Permanent: another daemon holds it, or the control database is none. Transient: it cannot be reached.
pub(super) async fn take(access: &Access, former: Option<&SessionId>) -> Result<(Control, SessionId), Fault> {
    let control = Control::open(access, &application_name("MCP")).await?;
    let failed = |doing: &'static str| {
        move |error: tokio_postgres::Error| Fault {
            failure: classify(&error),
            cause: cause(&error),
            message: format!("cannot {doing} on the control database: {}", causes(&error)),
            hint: None,
            db: None,
        }
    };
    control.batch_execute(SESSION.text()).await.map_err(failed("set the session"))?;
    let deadline = Instant::now() + TAKE_WITHIN;
    loop {
        let row = control.query_one(TAKE.text(), &[&NUMBER]).await.map_err(failed("take the lease"))?;
        if row.get("taken") {
            let row = control.query_one(SINCE.text(), &[]).await.map_err(failed("name the session"))?;
            let session = SessionId { pid: control.backend_pid(), since: row.get("since") };
            return Ok((control, session));
        }
        let holder = control.query_opt(HOLDER.text(), &[&NUMBER]).await.map_err(failed("see who holds the lease"))?;
        if let Some(holder) = &holder {
            let text = |column: &str| holder.get::<_, Option<String>>(column).unwrap_or_default();
            let session = SessionId { pid: holder.get("pid"), since: text("since") };
            if former == Some(&session) {
                info!(pid = session.pid, "ending our own former session on the control database");
                let ended = control.execute(END.text(), &[&session.pid, &session.since]).await;
                ended.map_err(failed("end our former session"))?;
            } else if Instant::now() >= deadline {
                let message = format!(
                    "another daemon runs on the control database ({}): \"{}\" from {}, backend PID {}, since {}",
                    access.describe(),
                    text("application_name"),
                    text("client"),
                    session.pid,
                    session.since
                );
                let hint = "stop the other daemon first, or use another control database";
                return Err(Fault::permanent(message).with_hint(hint));
            }
        } else if Instant::now() >= deadline {
            return Err(Fault::transient("the lease on the control database goes from hand to hand"));
        }
        sleep(TRY_EVERY).await;
    }
}
