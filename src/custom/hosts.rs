//! The hosts of all languages.

use std::sync::Arc;
use std::time::Duration;

use super::host::Hosting;
use super::lua::LuaHost;
use super::perl::PerlHost;
use super::sql::SqlHost;
use super::{CodeError, Host, Hosts, Language};

/// What codes may take (`customcode_timeout`, `customcode_memory_mb`, `customcode_run_timeout`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    /// So much time for one call, with all its inputs, and the statements that it waits for.
    pub timeout: Duration,
    /// So many megabytes.
    pub memory_mb: u32,
    /// So much time for all calls while the transactions of a run are open.
    pub run: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(30), memory_mb: 64, run: Duration::from_secs(300) }
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

    /// What is said of a code when those of a run have taken all its time.
    pub(super) fn overdue(&self, code: &str) -> CodeError {
        let all = humantime::format_duration(self.run);
        let why = format!("the codes of this run took longer than {all} together (customcode_run_timeout)");
        CodeError::Stopped { code: code.to_owned(), why }
    }

    /// What is said of a code that wanted more memory; `place`: where it was.
    pub(super) fn full(&self, code: &str, place: Option<&str>) -> CodeError {
        let place = place.map_or_else(String::new, |place| format!("; it was at {place}"));
        let why = format!("it wanted more than {} MB (customcode_memory_mb){place}", self.memory_mb);
        CodeError::Stopped { code: code.to_owned(), why }
    }
}

/// Makes the host of a language. It does nothing before it is asked.
#[must_use]
pub fn open() -> Hosts {
    Arc::new(|language| -> Box<dyn Host> {
        match language {
            Language::Lua => Box::new(Hosting(LuaHost::default())),
            Language::Perl => Box::new(Hosting(PerlHost::default())),
            Language::Sql => Box::new(Hosting(SqlHost::default())),
        }
    })
}
