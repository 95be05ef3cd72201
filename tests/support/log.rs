//! Reading the daemon's log: a warning that nobody announced fails the test.

use std::path::Path;

/// The WARN and ERROR lines of a log that hold none of the `announced` words.
pub(crate) fn unannounced(log: &Path, announced: &[&str]) -> Vec<String> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let serious = |line: &&str| line.split_whitespace().take(3).any(|word| word == "WARN" || word == "ERROR");
    let foreseen = |line: &str| announced.iter().any(|word| line.contains(word));
    let lines = text.lines().filter(serious).filter(|line| !foreseen(line));
    // A panic is written by the runtime, not by the log.
    let panics = text.lines().filter(|line| line.contains("panicked at") && !foreseen(line));
    lines.chain(panics).map(str::to_owned).collect()
}
