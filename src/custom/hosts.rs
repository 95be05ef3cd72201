//! The hosts of all languages.

use std::sync::Arc;
use std::time::Duration;

use super::lua::LuaHost;
use super::perl::PerlHost;
use super::sql::SqlHost;
use super::{CodeError, Host, Hosts, Language};

/// What one call of a code may take (`customcode_timeout`, `customcode_memory_mb`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    /// So much time, with all its inputs, and the statements that it waits for.
    pub timeout: Duration,
    /// So many megabytes.
    pub memory_mb: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(30), memory_mb: 64 }
    }
}

impl Limits {
    /// What is said of a code that took longer; `place`: where it was.
    pub(super) fn late(&self, code: &str, place: Option<&str>) -> CodeError {
        let place = place.map_or_else(String::new, |place| format!("; it was at {place}"));
        let why =
            format!("it took longer than {} (customcode_timeout){place}", humantime::format_duration(self.timeout));
        CodeError::Stopped { code: code.to_owned(), why }
    }

    /// What is said of a code that wanted more memory.
    pub(super) fn full(&self, code: &str) -> CodeError {
        let why = format!("it wanted more than {} MB (customcode_memory_mb)", self.memory_mb);
        CodeError::Stopped { code: code.to_owned(), why }
    }
}

/// Makes the host of a language. It does nothing before it is asked.
#[must_use]
pub fn open() -> Hosts {
    Arc::new(|language| -> Box<dyn Host> {
        match language {
            Language::Lua => Box::<LuaHost>::default(),
            Language::Perl => Box::<PerlHost>::default(),
            Language::Sql => Box::new(SqlHost),
        }
    })
}
