//! The daemon.

mod logging;
pub mod pidfile;
mod systemd;

pub use logging::{Log, LogError};
