//! What processes took, read from `/proc`.

use std::fs;

/// Megabytes that the processes held at most since [`forget_peaks`].
pub(crate) fn peak_megabytes(pids: &[u32]) -> f64 {
    pids.iter().map(|pid| field(*pid, "VmHWM:")).sum::<f64>() / 1024.0
}

/// Sets the peaks back to what the processes hold now.
pub(crate) fn forget_peaks(pids: &[u32]) {
    for pid in pids {
        // 5 resets VmHWM (manual page proc(5)). Where that is refused the peak since the start counts, which is more.
        let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
    }
}

/// Milliseconds that the processes have run on a CPU so far.
pub(crate) fn cpu_milliseconds(pids: &[u32]) -> f64 {
    pids.iter().map(|pid| threads_nanoseconds(*pid)).sum::<f64>() / 1e6
}

/// CPU time that the ended children of a process took, in ticks of the clock.
pub(crate) fn ticks_of_ended_children(pid: i32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, rest) = stat.rsplit_once(") ").unwrap();
    // cutime and cstime, the 16th and 17th field of all.
    rest.split(' ').skip(13).take(2).map(|ticks| ticks.parse::<f64>().unwrap()).sum()
}

/// The processes of one session: a daemon that called setsid, and its children.
pub(crate) fn of_session(session: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").unwrap();
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| session_of(*pid) == Some(session)).collect()
}

/// The session that a process belongs to.
pub(crate) fn session_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split(' ').nth(3)?.parse().ok()
}

fn field(pid: u32, name: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

fn threads_nanoseconds(pid: u32) -> f64 {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return 0.0 };
    let spent = |thread: fs::DirEntry| {
        let stat = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        stat.split(' ').next()?.parse::<f64>().ok()
    };
    threads.flatten().filter_map(spent).sum()
}
