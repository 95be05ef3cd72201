//! Free ports of 127.0.0.1.

use std::net::{Ipv4Addr, TcpListener};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use super::LabError;

/// Below the range from which systems take ports for outgoing connections, so that a server which is down for a
/// moment finds its port free again.
const FIRST: u32 = 20_000;
const COUNT: u32 = 12_000;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A port of 127.0.0.1 that nobody listens on now. Each call of a process gives another one, and two processes
/// start at different places.
///
/// # Errors
///
/// [`LabError::NoPort`]: all are taken.
pub fn free_port() -> Result<u16, LabError> {
    let start = process::id().wrapping_mul(97);
    for _ in 0..COUNT {
        let offset = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let Ok(port) = u16::try_from(FIRST + offset) else { continue };
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    Err(LabError::NoPort)
}
