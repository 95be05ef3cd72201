//! The daemon with nothing to do.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::arguments::Arguments;
use crate::numbers::Numbers;
use crate::process;
use crate::systems::System;

/// What was begun before shall have ended.
const CALM: Duration = Duration::from_secs(3);
pub(crate) const LENGTH: Duration = Duration::from_secs(20);

pub(crate) async fn measure(system: &dyn System, _: &Arguments, numbers: &mut Numbers) {
    let processes = system.processes();
    if processes.is_empty() {
        return;
    }
    sleep(CALM).await;
    let spent = cpu_per_second(&processes, LENGTH).await;
    numbers.set(system.name(), "processes", f64::from(u32::try_from(processes.len()).unwrap()));
    numbers.set(system.name(), "idle_cpu_ms_per_s", spent);
}

/// Milliseconds of CPU that the processes take in a second.
pub(crate) async fn cpu_per_second(processes: &[u32], length: Duration) -> f64 {
    let (begun, before) = (Instant::now(), process::cpu_milliseconds(processes));
    sleep(length).await;
    (process::cpu_milliseconds(processes) - before) / begun.elapsed().as_secs_f64()
}
