//! What every language has to offer.

use bucardo_actors::model::Failure;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Map, Value};

use super::conflict::{Asking, Dispute};
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
    /// A database failed it in a way that passes: its session was lost, or somebody was in the way.
    #[error("custom code \"{code}\" failed: {why}")]
    Passing {
        /// Its name.
        code: String,
        /// What and where.
        why: String,
        /// The database, where it is known.
        db: Option<String>,
        /// Whether the session was lost.
        is_lost: bool,
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
    /// A database did not commit what codes did, outside of the transactions of a round.
    #[error("what custom codes did at {hook} cannot be committed on database \"{db}\": {why}")]
    Commit {
        /// The word of the hook.
        hook: &'static str,
        /// The database.
        db: String,
        /// What it said, which codes used it, and where what they did is committed.
        why: String,
        /// Those codes.
        codes: Vec<String>,
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

impl CodeError {
    /// The name of the code, of the first one where there are several.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::Commit { codes, .. } => codes.first().map_or("", String::as_str),
            Self::NoHost { code, .. }
            | Self::Compile { code, .. }
            | Self::Died { code, .. }
            | Self::Passing { code, .. }
            | Self::Stopped { code, .. }
            | Self::Garbage { code, .. }
            | Self::Asked { code, .. } => code,
        }
    }

    /// The same error; `what`: what the code was about.
    #[must_use]
    pub(super) fn about(mut self, what: &str) -> Self {
        if let Self::Died { why, .. }
        | Self::Passing { why, .. }
        | Self::Stopped { why, .. }
        | Self::Garbage { why, .. } = &mut self
        {
            *why = format!("{what}: {why}");
        }
        self
    }

    /// The same error, in one line that is not too long.
    #[must_use]
    fn plainly(mut self) -> Self {
        match &mut self {
            Self::NoHost { why, .. }
            | Self::Compile { why, .. }
            | Self::Died { why, .. }
            | Self::Passing { why, .. }
            | Self::Stopped { why, .. }
            | Self::Garbage { why, .. }
            | Self::Commit { why, .. } => *why = one_line(why),
            Self::Asked { message, .. } => *message = one_line(message),
        }
        self
    }

    /// Whether the same code, run again, may do better without anyone's help.
    #[must_use]
    pub fn failure(&self) -> Failure {
        match self {
            Self::NoHost { .. } | Self::Compile { .. } => Failure::Permanent,
            Self::Commit { .. }
            | Self::Died { .. }
            | Self::Passing { .. }
            | Self::Stopped { .. }
            | Self::Garbage { .. }
            | Self::Asked { .. } => Failure::Transient,
        }
    }

    /// What the operator can do.
    #[must_use]
    pub fn hint(&self, sync: &str) -> String {
        let code = for_shell(self.code());
        match self {
            Self::NoHost { .. } => format!("install what is missing, then run: bucardo kick {sync}"),
            Self::Passing { db, is_lost, .. } => {
                let server = db.as_ref().map_or_else(String::new, |db| format!(" of database \"{db}\""));
                match is_lost {
                    true => {
                        format!("the run is tried again; why the session was lost is in the log of the server{server}")
                    }
                    false => format!(
                        "the run is tried again; where this comes often, see what keeps the server{server} busy at that time"
                    ),
                }
            }
            Self::Asked { .. } => format!(
                "the code itself wants it; to run without it: bucardo update customcode {code} status=inactive && bucardo reload sync {sync}"
            ),
            Self::Commit { .. } => format!(
                "mend what the database does not take; to run without a code: bucardo update customcode {code} status=inactive && bucardo reload sync {sync}"
            ),
            _ => format!(
                "try it outside of the sync: bucardo test customcode {code} sync={sync}; to run without it: bucardo update customcode {code} status=inactive && bucardo reload sync {sync}"
            ),
        }
    }
}

/// What codes die of may have several lines, and be long; a log has one for each.
pub(in crate::custom) fn one_line(text: &str) -> String {
    const LETTERS_MAX: usize = 2000;
    let mut line: String =
        text.trim().chars().take(LETTERS_MAX).map(|it| if it.is_control() { ' ' } else { it }).collect();
    if text.trim().chars().nth(LETTERS_MAX).is_some() {
        line.push('…');
    }
    line
}

/// A name as a shell takes it.
pub(crate) fn for_shell(name: &str) -> String {
    let is_plain = |letter: char| letter.is_alphanumeric() || "_-.+:@/,=".contains(letter);
    if !name.is_empty() && name.chars().all(is_plain) {
        name.to_owned()
    } else {
        format!("'{}'", name.replace('\'', "'\\''"))
    }
}

/// Runs the codes of one language. Keeps what it compiled; after [`CodeError::Stopped`] it starts anew by itself.
/// Dropped, it ends whatever it runs.
pub trait Host: Send {
    /// The sync whose codes it runs from here on, for what it logs.
    fn serves(&mut self, sync: &str) {
        let _ = sync;
    }

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

    /// Which input of a call that failed it was at, from 0 on; `None`: nobody knows.
    fn reached(&self) -> Option<usize> {
        None
    }

    /// The same where all inputs have something in common. A list or an object there is one and the same for all of them,
    /// and what codes change in it is not returned.
    fn call_with<'a>(
        &'a mut self,
        code: &'a Code,
        common: &'a Map<String, Value>,
        mut inputs: Vec<Value>,
        dbs: &'a mut dyn Databases,
    ) -> BoxFuture<'a, Result<Vec<Value>, CodeError>> {
        for input in inputs.iter_mut().filter_map(Value::as_object_mut) {
            input.extend(common.clone());
        }
        self.call(code, inputs, dbs)
    }

    /// The same about conflicts. Returns of each input what the code has changed, at least.
    fn settle<'a>(
        &'a mut self,
        code: &'a Code,
        asking: &'a Asking<'_>,
        disputes: &'a [&'a Dispute],
        dbs: &'a mut dyn Databases,
    ) -> BoxFuture<'a, Result<Vec<Value>, CodeError>> {
        let inputs = disputes.iter().map(|dispute| asking.about(dispute)).collect();
        self.call_with(code, asking.common(), inputs, dbs)
    }
}

/// What is particular to a language.
pub(super) trait Runner: Send {
    /// See [`Host::serves`].
    fn serves(&mut self, sync: &str) {
        let _ = sync;
    }

    /// See [`Host::check`].
    fn check(&mut self, code: &Code) -> impl Future<Output = Result<(), CodeError>> + Send;

    /// See [`Host::reached`].
    fn reached(&self) -> Option<usize>;

    /// See [`Host::call_with`].
    fn run(
        &mut self,
        code: &Code,
        common: &Map<String, Value>,
        inputs: Vec<Value>,
        dbs: &mut dyn Databases,
    ) -> impl Future<Output = Result<Vec<Value>, CodeError>> + Send;

    /// See [`Host::settle`].
    fn settle(
        &mut self,
        code: &Code,
        asking: &Asking<'_>,
        disputes: &[&Dispute],
        dbs: &mut dyn Databases,
    ) -> impl Future<Output = Result<Vec<Value>, CodeError>> + Send {
        let inputs = disputes.iter().map(|dispute| asking.about(dispute)).collect();
        self.run(code, asking.common(), inputs, dbs)
    }
}

/// The host of a language.
pub(super) struct Hosting<T>(pub(super) T);

impl<T: Runner> Host for Hosting<T> {
    fn serves(&mut self, sync: &str) {
        self.0.serves(sync);
    }

    fn check<'a>(&'a mut self, code: &'a Code) -> BoxFuture<'a, Result<(), CodeError>> {
        async move { self.0.check(code).await.map_err(CodeError::plainly) }.boxed()
    }

    fn reached(&self) -> Option<usize> {
        self.0.reached()
    }

    fn call<'a>(
        &'a mut self,
        code: &'a Code,
        inputs: Vec<Value>,
        dbs: &'a mut dyn Databases,
    ) -> BoxFuture<'a, Result<Vec<Value>, CodeError>> {
        async move { self.0.run(code, &Map::new(), inputs, dbs).await.map_err(CodeError::plainly) }.boxed()
    }

    fn call_with<'a>(
        &'a mut self,
        code: &'a Code,
        common: &'a Map<String, Value>,
        inputs: Vec<Value>,
        dbs: &'a mut dyn Databases,
    ) -> BoxFuture<'a, Result<Vec<Value>, CodeError>> {
        async move { self.0.run(code, common, inputs, dbs).await.map_err(CodeError::plainly) }.boxed()
    }

    fn settle<'a>(
        &'a mut self,
        code: &'a Code,
        asking: &'a Asking<'_>,
        disputes: &'a [&'a Dispute],
        dbs: &'a mut dyn Databases,
    ) -> BoxFuture<'a, Result<Vec<Value>, CodeError>> {
        async move { self.0.settle(code, asking, disputes, dbs).await.map_err(CodeError::plainly) }.boxed()
    }
}
