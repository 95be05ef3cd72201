//! The journal: what the daemon says, kept by a real journald and read by journalctl.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{Bucardo, Daemon, fresh_database, wait};

const WITHIN: Duration = Duration::from_secs(20);
const JOURNALD: &str = "/usr/lib/systemd/systemd-journald";
/// Runs journald with a folder of the test in the place of /run: its socket, and what it keeps, are there.
const IN_PLACE: &str = "mount --make-rprivate / && mount --bind \"$1\" /run && exec \"$2\"";

/// A journald of the test's own.
struct Journal {
    process: Child,
    run: PathBuf,
}

impl Journal {
    /// `None`, said loudly, where there is none, or no mount namespace to be had.
    async fn start(run: PathBuf) -> Option<Self> {
        std::fs::create_dir_all(run.join("systemd/journal")).unwrap();
        std::fs::create_dir_all(run.join("log/journal")).unwrap();
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", IN_PLACE, "sh"]).arg(&run).arg(JOURNALD);
        let spawned = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let reader = Command::new("journalctl").arg("--version").stdout(Stdio::null()).status();
        let (Ok(mut process), Ok(_), true) = (spawned, reader, PathBuf::from(JOURNALD).exists()) else {
            eprintln!("SKIPPED: the journal needs systemd-journald, journalctl and unshare");
            return None;
        };
        let there = wait::until("the socket of journald", WITHIN, async || {
            let ended = process.try_wait().unwrap();
            if run.join("systemd/journal/socket").exists() || ended.is_some() { Ok(ended) } else { Err("not yet") }
        });
        if let Some(ended) = there.await {
            eprintln!("SKIPPED: journald does not run here: {ended}");
            return None;
        }
        Some(Self { process, run })
    }

    /// All that the daemon has said, once some event is among it.
    async fn holds(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        wait::until(what, WITHIN, async || {
            let mut command = Command::new("journalctl");
            command.args([
                "--all",
                "--output=json",
                "--output-fields=MESSAGE,PRIORITY,BUCARDO_PROCESS,BUCARDO_SYNC,_PID",
            ]);
            let output = command.arg("--directory").arg(self.run.join("log/journal")).arg("SYSLOG_IDENTIFIER=Bucardo");
            let output = output.output().unwrap();
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let found = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).find(&wanted);
            found.ok_or_else(|| text.chars().take(2000).collect::<String>())
        })
        .await
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = self.process.wait();
    }
}

fn message(event: &Value) -> &str {
    event["MESSAGE"].as_str().unwrap_or_default()
}

/// Warnings with their fields, values of several lines, and what no datagram holds: whole, and as one event each.
#[tokio::test]
async fn journald_keeps_what_the_daemon_says() {
    let control = fresh_database("control").await;
    let mut bucardo = Bucardo::on(&control);
    let run = bucardo.home().join("run");
    let Some(journal) = Journal::start(run.clone()).await else { return };
    let socket = run.join("systemd/journal/socket");
    bucardo.configure(&format!(
        "[log]\ndestinations = [\"journald\", \"stderr\"]\njournal_socket = \"{}\"\n",
        socket.display()
    ));
    bucardo.run(&format!("install --batch --piddir {}", bucardo.home().display()));
    let mut daemon = Daemon::start(&bucardo).await;
    let pid = daemon.pid().to_string();
    let start = journal.holds("the start", |event| message(event).contains("Starting Bucardo version")).await;
    assert_eq!((start["_PID"].as_str(), start["PRIORITY"].as_str()), (Some(pid.as_str()), Some("6")));
    assert_eq!(start["BUCARDO_PROCESS"], "MCP");

    // A name of two lines: one line of the message, and both lines in the field.
    daemon.announce("cannot reload an unknown sync");
    control.run("NOTIFY bucardo, E'reload_sync_no\\nPRIORITY=0'").await;
    let warned = journal.holds("the warning", |event| message(event).contains("unknown sync")).await;
    assert_eq!(message(&warned), "MCP Warning: cannot reload an unknown sync sync=\"no PRIORITY=0\"");
    assert_eq!((&warned["BUCARDO_SYNC"], &warned["PRIORITY"]), (&"no\nPRIORITY=0".into(), &"4".into()));

    // More than a socket takes at once.
    let long = 600_000;
    control
        .run(&format!("INSERT INTO bucardo.bucardo_log_message (msg) VALUES ('long ' || repeat('ü', {long}))"))
        .await;
    let event = journal.holds("the long message", |event| message(event).contains("long ü")).await;
    let kept = message(&event).chars().filter(|sign| *sign == 'ü').count();
    assert!((500_000..525_000).contains(&kept), "cut at a megabyte: {kept}");
    bucardo.run("message and a short one");
    journal.holds("what comes after it", |event| message(event).ends_with("): and a short one")).await;
    daemon.stop().await;
}
