//! How a command fails: one message, an exit code, and what to do next.

use crate::catalog::CatalogError;
use crate::pg::ConnectError;
use crate::report;

/// Exit code of a usage error and of most refusals.
pub const EXIT_USAGE: u8 = 1;
/// Exit code of an error on the way (the program "dies").
pub const EXIT_DIED: u8 = 255;

/// Why a command failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CliError {
    /// The exit code of the program.
    pub code: u8,
    /// What was being done, with names, and why it failed.
    pub message: String,
    /// What the operator can do about it.
    pub hint: Option<String>,
}

impl CliError {
    /// A refusal with exit code 1: the request itself is wrong.
    pub fn refuse(message: impl Into<String>) -> Self {
        Self::with_code(EXIT_USAGE, message)
    }

    /// An error with exit code 255: the request is fine, but cannot be done.
    pub fn die(message: impl Into<String>) -> Self {
        Self::with_code(EXIT_DIED, message)
    }

    /// An error with an exit code of its own.
    pub fn with_code(code: u8, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None }
    }

    /// The section of the manual that tells how the command is used, with exit code 1.
    pub fn usage(section: &str) -> Self {
        Self::refuse(super::help::section(section))
    }

    /// The same error with a next step for the operator.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same error with this next step, where there is one.
    #[must_use]
    pub fn maybe_hint(mut self, hint: Option<String>) -> Self {
        self.hint = self.hint.or(hint);
        self
    }

    /// The same error with the name that was probably meant, where one of `names` is like `word`.
    #[must_use]
    pub fn suggest<'a>(mut self, word: &str, names: impl IntoIterator<Item = &'a str>) -> Self {
        if let Some(name) = super::words::closest(word, names) {
            let meant = format!("did you mean \"{name}\"?");
            self.hint = Some(self.hint.map_or(meant.clone(), |hint| format!("{meant}\n{hint}")));
        }
        self
    }

    /// An error of the control database or of a connection, told with all its causes.
    pub fn caused(message: &str, error: &(dyn std::error::Error + 'static)) -> Self {
        Self::die(format!("{message}: {}", report::causes(error)))
    }
}

impl From<CatalogError> for CliError {
    fn from(error: CatalogError) -> Self {
        Self::die(report::causes(&error)).maybe_hint(error.hint())
    }
}

impl From<ConnectError> for CliError {
    fn from(error: ConnectError) -> Self {
        Self::die(report::causes(&error)).maybe_hint(error.hint())
    }
}
