//! From a server's error to a failure class: the one place that decides whether trying again can help.

use std::error::Error;

use bucardo_actors::model::{Cause, Failure};

/// Classes and codes of SQLSTATE (manual, appendix "PostgreSQL Error Codes") that time may heal:
/// connection, serialization and deadlock, resources, shutdown, lock and statement timeouts, and an object in use.
const TRANSIENT: [&str; 11] =
    ["08", "40", "53", "57P01", "57P02", "57P03", "57P05", "55P03", "57014", "55006", "25P03"];

/// Whether the same statement, tried again, may succeed without anyone's help.
#[must_use]
pub fn classify(error: &tokio_postgres::Error) -> Failure {
    match error.code() {
        Some(state) if TRANSIENT.iter().any(|prefix| state.code().starts_with(prefix)) => Failure::Transient,
        Some(_) => Failure::Permanent,
        // No SQLSTATE: the connection broke, or the other side does not speak our protocol.
        None if error.is_closed() || has_io_cause(error) => Failure::Transient,
        None => Failure::Permanent,
    }
}

/// What sort of failure it is.
#[must_use]
pub fn cause(error: &tokio_postgres::Error) -> Cause {
    match error.code().map(tokio_postgres::error::SqlState::code) {
        Some("40001") => Cause::Serialization,
        Some("40P01") => Cause::Deadlock,
        _ if is_lost(error) => Cause::Away,
        _ => Cause::Other,
    }
}

/// Whether the session is gone, or could not begin: the connection broke, or the server shuts down.
#[must_use]
pub fn is_lost(error: &tokio_postgres::Error) -> bool {
    match error.code() {
        Some(state) => ["08", "57P01", "57P02", "57P03", "57P05"].iter().any(|code| state.code().starts_with(code)),
        None => classify(error) == Failure::Transient,
    }
}

fn has_io_cause(error: &tokio_postgres::Error) -> bool {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if inner.is::<std::io::Error>() {
            return true;
        }
        cause = inner.source();
    }
    false
}

/// An error with all its causes on one line, in words: what tokio-postgres calls "db error" is told by the
/// server's own message, detail and hint.
#[must_use]
pub fn causes(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = next {
        let piece = match error.downcast_ref::<tokio_postgres::error::DbError>() {
            Some(db) => told(db),
            None => error.to_string(),
        };
        // A wrapper that repeats its source, or says only "db error", adds nothing.
        if !piece.is_empty() && piece != "db error" && !text.ends_with(&piece) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&piece);
        }
        next = error.source();
    }
    text.replace('\n', " ")
}

fn told(db: &tokio_postgres::error::DbError) -> String {
    let mut text = format!("{} (SQLSTATE {})", db.message(), db.code().code());
    // Whole rows have no place in a log or on a screen: a password may be among the values.
    let detail = db.detail().filter(|detail| !detail.starts_with("Failing row contains"));
    for extra in [detail, db.hint(), db.where_()].into_iter().flatten() {
        text.push_str("; ");
        text.push_str(extra);
    }
    text
}
