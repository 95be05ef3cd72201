//! What every language has to offer.

use futures_util::future::BoxFuture;
use serde_json::Value;

use super::{Code, Databases};

/// Why a code did not do what it should. `Display` names code and line, where known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodeError {
    /// The program that runs such codes is missing.
    #[error("custom code \"{code}\" cannot be run: {why}")]
    NoHost {
        /// Its name.
        code: String,
        /// What is missing, and what to do.
        why: String,
    },
    /// It does not compile.
    #[error("custom code \"{code}\" does not compile: {why}")]
    Compile {
        /// Its name.
        code: String,
        /// What and where.
        why: String,
    },
    /// It failed while it ran.
    #[error("custom code \"{code}\" failed: {why}")]
    Died {
        /// Its name.
        code: String,
        /// What and where.
        why: String,
    },
    /// It was stopped: it took too long or too much memory, or said too much.
    #[error("custom code \"{code}\" was stopped: {why}")]
    Stopped {
        /// Its name.
        code: String,
        /// The bound that it met.
        why: String,
    },
    /// What it returned makes no sense.
    #[error("custom code \"{code}\" returned what cannot be understood: {why}")]
    Garbage {
        /// Its name.
        code: String,
        /// What.
        why: String,
    },
    /// It asked for an end (`error`).
    #[error("custom code \"{code}\" asked to end: {message}")]
    Asked {
        /// Its name.
        code: String,
        /// Its message.
        message: String,
    },
}

/// Runs the codes of one language. Keeps what it compiled; after [`CodeError::Stopped`] it starts anew by itself.
/// Dropped, it ends whatever it runs.
pub trait Host: Send {
    /// Compiles a code without running it.
    fn check<'a>(&'a mut self, code: &'a Code) -> BoxFuture<'a, Result<(), CodeError>>;

    /// Runs a code once for each input, in order; returns what became of each input, which codes change in place. All
    /// together within the time and the memory that the settings allow. Inputs are objects.
    fn call<'a>(
        &'a mut self,
        code: &'a Code,
        inputs: Vec<Value>,
        dbs: &'a mut dyn Databases,
    ) -> BoxFuture<'a, Result<Vec<Value>, CodeError>>;
}
