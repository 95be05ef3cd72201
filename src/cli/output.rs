//! What a command prints: results on stdout, problems on stderr, all of it bowing to `--quiet`, `--verbose`, `--json`.

use std::io::{BufRead, ErrorKind, IsTerminal, Write};
use std::sync::OnceLock;

use serde::Serialize;

use super::error::CliError;
use crate::progress;

/// Where the output of one command goes, and how much of it.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    quiet: bool,
    verbosity: u8,
    json: bool,
}

impl Output {
    /// An output of this loudness.
    #[must_use]
    pub fn new(quiet: bool, verbosity: u8, json: bool) -> Self {
        Self { quiet, verbosity, json }
    }

    /// Whether `--json` was given.
    #[must_use]
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Whether `--quiet` was given.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// How often `--verbose` was given.
    #[must_use]
    pub fn verbosity(&self) -> u8 {
        self.verbosity
    }

    /// Prints a line, unless `--quiet` or `--json` was given.
    pub fn say(&self, line: impl AsRef<str>) {
        if !self.quiet && !self.json {
            self.always(line);
        }
    }

    /// Prints a line when `--verbose` was given.
    pub fn detail(&self, line: impl AsRef<str>) {
        if self.verbosity > 0 {
            self.say(line);
        }
    }

    /// Prints a line whatever was given; stdout.
    pub fn always(&self, line: impl AsRef<str>) {
        note(progress::aside(|begun| writeln!(std::io::stdout().lock(), "{begun}{}", line.as_ref())));
    }

    /// Prints part of a line and flushes it, unless `--quiet` or `--json` was given.
    pub fn part(&self, text: impl AsRef<str>) {
        if !self.quiet && !self.json && !progress::hold(text.as_ref()) {
            let mut out = std::io::stdout().lock();
            note(out.write_all(text.as_ref().as_bytes()).and_then(|()| out.flush()));
        }
    }

    /// Begins what is shown anew, on a terminal at its top.
    pub fn fresh_page(&self, heading: &str) {
        if self.is_terminal() && !self.json {
            self.part("\u{1b}[2J\u{1b}[H");
        }
        self.say(heading);
    }

    /// Prints a problem that does not end the command; stderr.
    pub fn warn(&self, line: impl AsRef<str>) {
        // Without a stderr there is nobody to tell.
        let _ = progress::beside(|| writeln!(std::io::stderr().lock(), "{}", line.as_ref()));
    }

    /// Prints a value as JSON, indented.
    ///
    /// # Errors
    ///
    /// The value does not serialize: a fault of the program.
    pub fn json(&self, value: &impl Serialize) -> Result<(), CliError> {
        let text = serde_json::to_string_pretty(value)
            .map_err(|error| CliError::die(format!("cannot write the result as JSON: {error}")))?;
        self.always(text);
        Ok(())
    }

    /// Asks for a line on stdin. `None`: there is nobody to answer.
    #[must_use]
    pub fn ask(&self, prompt: &str) -> Option<String> {
        progress::beside(|| {
            let mut out = std::io::stdout().lock();
            let _ = out.write_all(prompt.as_bytes()).and_then(|()| out.flush());
            let mut answer = String::new();
            match std::io::stdin().lock().read_line(&mut answer) {
                Ok(read) if read > 0 => Some(answer.trim().to_owned()),
                _ => None,
            }
        })
    }

    /// Whether stdout is a terminal, so that a running counter makes sense.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        std::io::stdout().is_terminal()
    }
}

static FAILURE: OnceLock<std::io::Error> = OnceLock::new();

/// Why something could not be written to stdout, the first time that this happened.
pub(super) fn failure() -> Option<&'static std::io::Error> {
    FAILURE.get()
}

fn note(written: std::io::Result<()>) {
    // A closed pipe (`bucardo list all | head`) is no fault of the command; on everything else it ends with an error.
    if let Err(error) = written
        && error.kind() != ErrorKind::BrokenPipe
    {
        let _ = FAILURE.set(error);
    }
}

/// `"A"`, or `"A","B"`: names as messages list them.
#[must_use]
pub fn quoted<S: AsRef<str>>(names: &[S]) -> String {
    names.iter().map(|name| format!("\"{}\"", name.as_ref())).collect::<Vec<_>>().join(",")
}

/// Prints every column of a row, one a line: what `-vv` adds to `list`.
///
/// # Errors
///
/// The row does not serialize: a fault of the program.
pub(super) fn columns(out: &Output, row: &impl Serialize) -> Result<(), CliError> {
    let value = serde_json::to_value(row)
        .map_err(|error| CliError::die(format!("cannot write the columns of a row: {error}")))?;
    for (name, value) in value.as_object().into_iter().flatten() {
        let text = match value {
            serde_json::Value::String(text) => text.clone(),
            serde_json::Value::Null => "(null)".to_owned(),
            serde_json::Value::Array(_) | serde_json::Value::Object(_) => continue,
            other => other.to_string(),
        };
        out.say(format!("    {name} = {text}"));
    }
    Ok(())
}
