//! Throwaway PostgreSQL clusters, for the demonstration, the tests and the benchmark.
//!
//! A [`Cluster`] lives in a [`Folder`] under the temporary directory, listens on a free port of 127.0.0.1 and trusts
//! everybody who reaches it. It ends with the process that started it, however that process ends: a small shell
//! stands between them, and stops the server and removes its files when its input closes. Nothing here signals a
//! process that it did not start.
//!
//! Calls block. They are short, and made where blocking does no harm.

mod cluster;
mod folder;
mod ports;
mod programs;

pub use cluster::{Cluster, Settings};
pub use folder::Folder;
pub use ports::free_port;
pub use programs::Programs;

use std::path::PathBuf;
use std::time::Duration;

/// Why a throwaway cluster could not be made or steered.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// No folder has the programs of a server.
    #[error(
        "no PostgreSQL server programs (initdb, postgres) found in $PGBINDIR, $PATH or {searched}; \
         install them, on Debian with: apt-get install postgresql postgresql-contrib"
    )]
    NoPrograms {
        /// Where else they were looked for.
        searched: String,
    },
    /// A file or folder refused something.
    #[error("cannot {what} {}", path.display())]
    Files {
        /// A verb.
        what: &'static str,
        /// Of what.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A program did not start.
    #[error("cannot run {}", program.display())]
    Run {
        /// Which.
        program: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A program started and failed.
    #[error("{} failed: {told}", program.display())]
    Failed {
        /// Which.
        program: PathBuf,
        /// What it printed.
        told: String,
    },
    /// We are root, PostgreSQL refuses root, and there is nobody else to run it.
    #[error("PostgreSQL does not run as root, and this system has no user \"postgres\" or \"nobody\" to run it")]
    NoUser,
    /// Every port that was tried is taken.
    #[error("no free port on 127.0.0.1")]
    NoPort,
    /// The server ended while it was starting.
    #[error("server \"{name}\" ended while starting; its log ends with: {log}")]
    Ended {
        /// Name of the cluster.
        name: String,
        /// Last lines of its log.
        log: String,
    },
    /// The server did not become ready, or did not end, in time.
    #[error("server \"{name}\" did not {what} within {within:?}; its log ends with: {log}")]
    TooSlow {
        /// Name of the cluster.
        name: String,
        /// What was waited for.
        what: &'static str,
        /// For how long.
        within: Duration,
        /// Last lines of its log.
        log: String,
    },
}

impl LabError {
    fn files(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Files { what, path, source }
    }
}
