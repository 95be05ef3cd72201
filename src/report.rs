//! Prints why a command failed: the error with its causes, then what to do.

use std::io::Write;

pub use crate::pg::causes;

/// Prints a message and, where there is one, the next step; stderr.
pub fn failed(message: &str, hint: Option<&str>) {
    let hint = hint.map(|hint| format!("Hint: {hint}\n")).unwrap_or_default();
    // Without a stderr there is nobody to tell; the exit code still does.
    let _ = crate::progress::beside(|| write!(std::io::stderr().lock(), "{message}\n{hint}"));
}
