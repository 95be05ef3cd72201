//! What codes take of the time for which the transactions of a run are open.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use crate::custom::{Code, CodeError, Limits};

/// The time that the codes of one run have taken in its transactions.
#[derive(Default)]
pub(super) struct Spent {
    time: Duration,
    /// When the present call began.
    began: Option<Instant>,
}

impl Spent {
    /// The transactions of a run begin, or begin anew.
    pub(super) fn begin(&mut self) {
        *self = Self::default();
    }

    /// A call begins; returns the code with what is left for it.
    pub(super) fn call<'c>(&mut self, code: &'c Code) -> Result<Cow<'c, Code>, CodeError> {
        if !code.hook.is_strict() {
            return Ok(Cow::Borrowed(code));
        }
        let left = code.limits.run.saturating_sub(self.time);
        if left.is_zero() {
            return Err(code.limits.overdue(&code.name));
        }
        self.began = Some(Instant::now());
        if left >= code.limits.timeout {
            return Ok(Cow::Borrowed(code));
        }
        let limits = Limits { timeout: left, ..code.limits };
        Ok(Cow::Owned(Code { limits, ..code.clone() }))
    }

    /// The call has ended. One that was stopped because little was left is told as such.
    pub(super) fn ended<T>(&mut self, code: &Code, ended: Result<T, CodeError>) -> Result<T, CodeError> {
        let Some(began) = self.began.take() else { return ended };
        self.time += began.elapsed();
        match ended {
            Err(CodeError::Stopped { .. }) if self.time >= code.limits.run => Err(code.limits.overdue(&code.name)),
            ended => ended,
        }
    }
}
