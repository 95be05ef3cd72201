//! The demonstration: replication between throwaway servers, from nothing to a comparison, in half a minute.
//!
//! It uses the program as an operator does: every step is a call of our own binary, printed as it would be typed.
//! [`stage`] holds what is built and takes it down again, [`screen`] is where it shows, and the rest is one step each.

mod compare;
mod copy;
mod live;
mod load;
mod screen;
mod slowest;
mod stage;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use humantime::format_duration;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

use crate::lab::LabError;
use crate::pg::ConnectError;

use load::Load;
use screen::Screen;
use stage::Stage;

/// Exit code after a second Ctrl-C, as a shell gives it.
const INTERRUPTED_TWICE: i32 = 130;

/// What can be asked for.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Leave everything running at the end.
    pub keep: bool,
    /// How long the load runs.
    pub load: Duration,
    /// `pgbench` scale: 100,000 accounts each.
    pub scale: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { keep: false, load: Duration::from_secs(15), scale: 10 }
    }
}

/// Why the demonstration ended early.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// A throwaway server refused something.
    #[error("cannot set up a throwaway server")]
    Lab(#[from] LabError),
    /// A throwaway server cannot be reached.
    #[error("cannot connect to cluster {cluster}")]
    Connect {
        /// Which.
        cluster: &'static str,
        /// Why.
        source: ConnectError,
    },
    /// A query of the demonstration failed.
    #[error("cannot {what} on cluster {cluster}")]
    Sql {
        /// What it was for.
        what: &'static str,
        /// Where.
        cluster: &'static str,
        /// What the server said.
        source: tokio_postgres::Error,
    },
    /// A file, or the start of a program, was refused by the system.
    #[error("cannot {what} {}", path.display())]
    System {
        /// A verb.
        what: &'static str,
        /// Of what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A program that the demonstration ran failed.
    #[error("\"{line}\" failed: {told}")]
    Program {
        /// The command line.
        line: String,
        /// What it printed.
        told: String,
    },
    /// Something did not happen in time.
    #[error("{what} did not happen within {}; the daemon's log is {}", format_duration(*within), log.display())]
    TooSlow {
        /// What was waited for.
        what: String,
        /// For how long.
        within: Duration,
        /// Where to look.
        log: PathBuf,
    },
    /// The databases are not the same at the end.
    #[error("{count} of the compared tables and sequences differ")]
    Different {
        /// How many.
        count: usize,
    },
    /// Somebody pressed Ctrl-C.
    #[error("interrupted")]
    Interrupted,
}

impl DemoError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Lab(LabError::NoPrograms { .. }) => Some("\"make demo\" installs them on Debian".to_owned()),
            Self::Connect { source, .. } => source.hint(),
            _ => None,
        }
    }
}

/// Runs the demonstration and prints it. Whatever happens, and also after Ctrl-C, all that was started ends and all
/// files go, unless `keep` is set and the end was reached.
///
/// # Errors
///
/// [`DemoError`]; one of them is that the databases differ at the end.
pub async fn run(options: Options) -> Result<(), DemoError> {
    let screen = Screen::new(interruption()?);
    let mut stage = Stage::open(&screen)?;
    let told = play(options, &screen, &mut stage).await;
    // A log that explains a failure must not go with the folder.
    if let Err(error) = &told
        && !matches!(error, DemoError::Interrupted)
    {
        stage.show_log(&screen);
    }
    if told.is_ok() && options.keep {
        stage.leave(&screen)?;
    } else {
        screen.title("Clean up");
        stage.close(&screen);
    }
    told
}

async fn play(options: Options, screen: &Screen, stage: &mut Stage) -> Result<(), DemoError> {
    stage.fill(screen, options.scale)?;
    stage.configure(screen)?;
    let relations = stage.relations().await?;

    screen.title("Start the daemon: it copies every table to B and C");
    stage.start_daemon(screen)?;
    copy::watch(stage, screen, &relations).await?;

    screen.title(&format!("Load on A for {}: pgbench, 2 clients", format_duration(options.load)));
    let load = Load::start(stage, options.load)?;
    live::watch(stage, screen, load).await?;

    screen.title("Compare A, B and C by contents");
    stage.bucardo(screen, &["kick", stage::SYNC, "0"])?;
    compare::all(stage, screen, &relations).await?;
    slowest::tell(stage, screen).await?;
    stage.bucardo(screen, &["status"])?;
    Ok(())
}

fn interruption() -> Result<screen::Interruption, DemoError> {
    let asked = screen::Interruption::default();
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        let system = |source| DemoError::System { what: "listen to", path: "signals".into(), source };
        // The first one cleans up, a second one does not wait for that.
        flag::register_conditional_shutdown(signal, INTERRUPTED_TWICE, asked.flag()).map_err(system)?;
        flag::register(signal, asked.flag()).map_err(system)?;
    }
    Ok(asked)
}
