//! Signals, as messages to the MCP.

use std::io;
use std::thread::JoinHandle;
use std::time::Duration;

use actix::Addr;
use bucardo_actors::Mcp;
use bucardo_actors::messages::{Reload, ReloadConfig, Shutdown};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::{Handle, Signals};
use tracing::info;

use super::Log;

/// The thread that waits for signals. Dropping it ends the thread.
pub(super) struct SignalThread {
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

impl SignalThread {
    /// Takes over the signals of the process: TERM, INT and USR1 stop (a second one at once), HUP reads settings
    /// and catalog again, USR2 opens log files anew.
    pub(super) fn start(mcp: Addr<Mcp>, log: Log, grace: Duration) -> io::Result<Self> {
        let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2])?;
        let handle = signals.handle();
        let thread =
            std::thread::Builder::new().name("signals".to_owned()).stack_size(128 * 1024).spawn(move || {
                for signal in signals.forever() {
                    match signal {
                        SIGHUP => {
                            info!("SIGHUP: reading settings and catalog again");
                            mcp.do_send(ReloadConfig);
                            mcp.do_send(Reload);
                        }
                        SIGUSR2 => {
                            log.reopen();
                            info!("SIGUSR2: log files are open again");
                        }
                        _ => {
                            let name = signal_hook::low_level::signal_name(signal).unwrap_or("signal");
                            info!("{name}: stopping");
                            mcp.do_send(Shutdown { grace });
                        }
                    }
                }
            })?;
        Ok(Self { handle, thread: Some(thread) })
    }
}

impl Drop for SignalThread {
    fn drop(&mut self) {
        self.handle.close();
        if let Some(thread) = self.thread.take() {
            // It panicked, if anything; the panic was logged then.
            let _ = thread.join();
        }
    }
}
