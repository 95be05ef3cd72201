//! Prints why a command failed: the error with its causes, then what to do.

use std::io::Write;

pub use crate::pg::causes;

/// Prints a message and, where there is one, the next step; stderr.
pub fn failed(message: &str, hint: Option<&str>) {
    let mut out = std::io::stderr().lock();
    // Without a stderr there is nobody to tell; the exit code still does.
    let _ = writeln!(out, "{message}");
    if let Some(hint) = hint {
        let _ = writeln!(out, "Hint: {hint}");
    }
}
