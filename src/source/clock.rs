//! What the clock of a database says, as against ours.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::pg::{Connection, SqlFile};

const CLOCK: SqlFile = SqlFile::new(include_str!("../../sql/source/clock.sql"));

/// How far a clock is ahead of ours, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ClockOffset {
    /// Below zero: it is behind.
    pub ahead_seconds: f64,
    /// The true offset is no further from that: half of the time that the question took.
    pub error_seconds: f64,
}

/// Asks a database for its time. The first question of a session takes longer than the next one, which counts.
///
/// # Errors
///
/// What the server or the connection says.
pub async fn clock_offset(conn: &Connection) -> Result<ClockOffset, tokio_postgres::Error> {
    let question = conn.prepare(CLOCK.text()).await?;
    let asked = now();
    let clock: f64 = conn.query_one(&question, &[]).await?.get("clock");
    let answered = now();
    Ok(ClockOffset { ahead_seconds: clock - f64::midpoint(asked, answered), error_seconds: (answered - asked) / 2.0 })
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map(|since| since.as_secs_f64()).unwrap_or_default()
}
