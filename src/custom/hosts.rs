//! The hosts of all languages.

use std::sync::Arc;
use std::time::Duration;

use super::lua::LuaHost;
use super::sql::SqlHost;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::Value;

use super::{Code, CodeError, Databases, Host, Hosts, Language};

/// What a code may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// One call, with all its inputs, and the statements that it waits for.
    pub timeout: Duration,
    /// So much memory.
    pub memory_mb: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(30), memory_mb: 64 }
    }
}

/// Makes hosts whose codes keep to `limits`.
#[must_use]
pub fn open(limits: Limits) -> Hosts {
    Arc::new(move |language| -> Box<dyn Host> {
        match language {
            Language::Lua => Box::new(LuaHost::new(limits)),
            Language::Sql => Box::new(SqlHost::new(limits)),
            Language::Perl => Box::new(Missing),
        }
    })
}

/// A language that cannot be run yet.
struct Missing;

impl Missing {
    fn told<T>(code: &Code) -> BoxFuture<'_, Result<T, CodeError>> {
        let why = format!("codes in {} are not run yet", code.language.word());
        async { Err(CodeError::NoHost { code: code.name.clone(), why }) }.boxed()
    }
}

impl Host for Missing {
    fn check<'a>(&'a mut self, code: &'a Code) -> BoxFuture<'a, Result<(), CodeError>> {
        Self::told(code)
    }

    fn call<'a>(
        &'a mut self,
        code: &'a Code,
        _: Vec<Value>,
        _: &'a mut dyn Databases,
    ) -> BoxFuture<'a, Result<Vec<Value>, CodeError>> {
        Self::told(code)
    }
}
