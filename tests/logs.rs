//! The log of the daemon as a process: what operators leave in it, settings that change, rotation by a real logrotate,
//! a real rsyslogd.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Bucardo, Daemon, Database, fresh_database, wait};

const WITHIN: Duration = Duration::from_secs(20);
/// A request that a daemon without such a sync answers with a warning.
const UNKNOWN_SYNC: &str = "NOTIFY bucardo, 'reload_sync_nobody'";

struct Site {
    control: Database,
    bucardo: Bucardo,
}

impl Site {
    async fn new() -> Self {
        let control = fresh_database("control").await;
        let bucardo = Bucardo::on(&control);
        let home = bucardo.home().display().to_string();
        bucardo.call(&["install", "--batch", "--piddir", &home]).ok();
        Self { control, bucardo }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.bucardo.home().join(name)
    }

    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.file(name)).unwrap_or_default()
    }

    /// Waits until a file of the home folder holds `word`.
    async fn holds(&self, name: &str, word: &str) {
        wait::until(&format!("\"{word}\" in {name}"), WITHIN, async || {
            let text = self.text(name);
            if text.contains(word) { Ok(()) } else { Err(text) }
        })
        .await;
    }

    /// `start` in the background, with its log in the home folder.
    fn start(&self, options: &[&str]) -> Background<'_> {
        let home = self.bucardo.home().display().to_string();
        let words = [&["start", "--log-destination", &home], options].concat();
        self.bucardo.call(&words).ok();
        Background(self)
    }
}

/// A daemon that runs in the background must not outlive its test.
struct Background<'a>(&'a Site);

impl Drop for Background<'_> {
    fn drop(&mut self) {
        let pid = self.0.text("bucardo.mcp.pid").lines().next().and_then(|line| line.parse().ok());
        if let Some(pid) = pid.and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

#[tokio::test]
async fn messages_reach_the_log_of_this_daemon_or_the_next_at_every_level() {
    let site = Site::new().await;
    site.bucardo.run("set log_level=terse");
    assert!(site.bucardo.fails("message").contains("bucardo message TEXT"));
    site.bucardo.run("message --dry-run never said");
    assert_eq!(site.bucardo.run("message left before the start"), "");
    let daemon = Daemon::start(&site.bucardo).await;
    daemon.logs("): left before the start", WITHIN).await;
    assert_eq!(site.bucardo.run("msg -v hello   there"), "Added message\n");
    daemon.logs("): hello there", WITHIN).await;
    site.control.run("INSERT INTO bucardo.bucardo_log_message (msg) VALUES (E'by\\nSQL'), ('twice')").await;
    daemon.logs("): by SQL", WITHIN).await;
    daemon.logs("): twice", WITHIN).await;
    let log = daemon.log();
    let line = log.lines().find(|line| line.contains("hello there")).unwrap();
    assert!(line.contains("MCP MESSAGE ("), "{line}");
    assert!(log.contains("Starting Bucardo version") && !log.contains("never said"), "{log}");
    assert_eq!(site.control.number("SELECT count(*) FROM bucardo.bucardo_log_message").await, 0);
    daemon.stop().await;
}

#[tokio::test]
async fn settings_of_the_log_change_with_reload_config() {
    let site = Site::new().await;
    assert!(site.bucardo.fails("set syslog_facility=local9").contains("log_local0"));
    assert!(site.bucardo.fails("set log_showtime=4").contains("log_showtime"));
    let running = site.start(&[]);
    let of = |word: &str| site.text("log.bucardo").lines().find(|line| line.contains(word)).unwrap().to_owned();
    site.bucardo.run("message one");
    site.holds("log.bucardo", "): one").await;
    let pid = site.text("bucardo.mcp.pid").lines().next().unwrap().to_owned();
    assert!(of("): one").starts_with(&format!("({pid}) [")), "{}", of("): one"));

    site.bucardo.run("set log_showpid=0 log_showtime=1 log_microsecond=1 log_showlevel=1 log_showline=1");
    site.bucardo.run("set warning_file=elsewhere.log");
    site.control.run(UNKNOWN_SYNC).await;
    site.holds("bucardo.warning.log", "nobody").await;
    site.bucardo.run("reload config");
    site.bucardo.run("message two");
    site.holds("log.bucardo", "): two").await;
    let line = of("): two");
    let (level, rest) = line.split_once(" [").unwrap();
    let (time, rest) = rest.split_once("] #").unwrap();
    assert!(level == "INFO" && time.parse::<f64>().unwrap() > 1e9 && time.contains('.'), "{line}");
    assert!(rest.starts_with("bucardo::daemon::message:"), "{line}");

    site.control.run(UNKNOWN_SYNC).await;
    site.holds("elsewhere.log", "nobody").await;
    let log = site.text("log.bucardo");
    let warnings: Vec<&str> = log.lines().filter(|line| line.contains("Warning")).collect();
    assert_eq!(warnings.len(), 2, "{log}");
    assert!(warnings.iter().all(|line| line.contains("Warning: cannot reload an unknown sync sync=nobody")), "{log}");
    assert_eq!(site.text("bucardo.warning.log").lines().count(), 1);

    // What cannot be opened changes nothing, and is told.
    site.bucardo.run("set warning_file=/nonexistent/folder/w");
    site.bucardo.run("reload config");
    site.holds("log.bucardo", "Warning: the log stays where it is: cannot open the log file \"/nonexistent/folder/w\"")
        .await;
    site.bucardo.run("stop");
    drop(running);
}

#[tokio::test]
async fn a_log_for_each_process_as_json() {
    let site = Site::new().await;
    let running = site.start(&["--log-separate", "--log-format", "json", "--log-ext", "east", "--warning-file", "w"]);
    site.control.run(UNKNOWN_SYNC).await;
    site.holds("w", "nobody").await;
    site.bucardo.run("stop");
    drop(running);
    let log = site.text("log.bucardo.east.MCP");
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let warned = lines.iter().find(|line| line["level"] == "WARN").unwrap();
    assert_eq!(warned["message"], "Warning: cannot reload an unknown sync");
    assert_eq!(warned["fields"]["sync"], "nobody");
    assert_eq!(site.text("w").lines().count(), 1);
    for role in ["CTL", "KID", "VAC"] {
        assert!(site.file(&format!("log.bucardo.east.{role}")).exists(), "{role}");
    }
    assert!(!site.file("log.bucardo").exists());
}

/// Where a program of the system is; where it is not, the test says so.
fn program(name: &str, test: &str) -> Option<PathBuf> {
    let folders = std::env::var("PATH").unwrap_or_default();
    let folders = folders.split(':').chain(["/usr/sbin", "/sbin"]).map(PathBuf::from);
    let found = folders.map(|folder| folder.join(name)).find(|path| path.is_file());
    if found.is_none() {
        eprintln!("SKIPPED: {test} needs {name}, which is not installed");
    }
    found
}

/// A file of `deploy/` with its places changed to those of the test; each must be there.
fn deployed(name: &str, places: &[(&str, &str)]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name);
    let mut text = std::fs::read_to_string(path).unwrap();
    for (place, here) in places {
        assert!(text.contains(place), "{place} in {name}");
        text = text.replace(place, here);
    }
    text
}

fn id(option: &str) -> String {
    let output = Command::new("id").arg(option).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The file of `deploy/` as it is (moved away, USR2 by `bucardo reopen`), then with `copytruncate`.
#[tokio::test]
async fn logrotate_loses_no_line() {
    let Some(logrotate) = program("logrotate", "logrotate_loses_no_line") else { return };
    let site = Site::new().await;
    let home = site.bucardo.home().display().to_string();
    let account = format!("{} {}", id("-un"), id("-gn"));
    let config = deployed(
        "bucardo.logrotate",
        &[
            ("/var/log/bucardo/", &format!("{home}/")),
            ("/var/log/bucardo.log", &format!("{home}/syslog.log")),
            ("/var/run/bucardo", &home),
            ("/usr/bin/bucardo", env!("CARGO_BIN_EXE_bucardo")),
            ("bucardo bucardo", &account),
        ],
    );
    let rotate = |config: &str| {
        std::fs::write(site.file("rotate.conf"), config).unwrap();
        let mut command = Command::new(&logrotate);
        command.args(["--force", "--state"]).arg(site.file("rotate.state")).arg(site.file("rotate.conf"));
        let output = command.env("HOME", &home).output().unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && complaint.is_empty(), "{complaint}");
    };
    let running = site.start(&[]);
    site.control.run(UNKNOWN_SYNC).await;
    site.holds("bucardo.warning.log", "nobody").await;
    rotate(&config);
    site.holds("log.bucardo", "SIGUSR2: log files are open again").await;
    assert!(site.text("log.bucardo.1").contains("Starting Bucardo"), "{}", site.text("log.bucardo.1"));
    assert!(!site.text("log.bucardo").contains("Starting Bucardo"));
    assert!(site.text("bucardo.warning.log.1").contains("nobody") && site.text("bucardo.warning.log").is_empty());

    site.bucardo.run("message after it was moved");
    site.holds("log.bucardo", "after it was moved").await;
    assert!(config.contains(&format!("create 0640 {account}")));
    rotate(&config.replace(&format!("create 0640 {account}"), "copytruncate"));
    site.bucardo.run("message after it was emptied");
    site.holds("log.bucardo", "after it was emptied").await;
    assert!(site.text("log.bucardo.1").contains("after it was moved"));
    let log = site.text("log.bucardo");
    assert!(!log.contains('\0') && !log.contains("after it was moved"), "{log}");

    assert_eq!(site.bucardo.run("reopen"), "Sent USR2 to Bucardo processes\n");
    site.bucardo.run("stop");
    drop(running);
    assert!(site.bucardo.fails("reopen").contains("Bucardo is not running"));
}

/// A real rsyslogd with a socket of its own.
struct Rsyslogd(Child);

impl Rsyslogd {
    async fn start(program: &Path, site: &Site) -> Self {
        let home = site.bucardo.home().display().to_string();
        let own = deployed("bucardo.rsyslog", &[("/var/log/bucardo.log", &format!("{home}/syslog.log"))]);
        let config = format!(
            "global(workDirectory=\"{home}\")\nmodule(load=\"imuxsock\" SysSock.Use=\"off\")\n\
             input(type=\"imuxsock\" Socket=\"{home}/socket\")\n{own}\n\
             local1.* action(type=\"omfile\" file=\"{home}/others.log\")\n*.* action(type=\"omfile\" file=\"{home}/others.log\")\n"
        );
        std::fs::write(site.file("rsyslog.conf"), config).unwrap();
        let mut command = Command::new(program);
        command.args(["-n", "-C", "-f"]).arg(site.file("rsyslog.conf")).arg("-i").arg(site.file("rsyslogd.pid"));
        let child = command.stdin(Stdio::null()).spawn().unwrap();
        wait::until("the socket of rsyslogd", WITHIN, async || {
            let socket = std::os::unix::net::UnixDatagram::unbound().unwrap();
            socket.connect(site.file("socket")).map_err(|error| error.to_string())
        })
        .await;
        Self(child)
    }
}

impl Drop for Rsyslogd {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = self.0.wait();
    }
}

/// With the file of `deploy/`, through a restart of rsyslogd.
#[tokio::test]
async fn rsyslogd_writes_what_the_daemon_says() {
    let Some(program) = program("rsyslogd", "rsyslogd_writes_what_the_daemon_says") else { return };
    let mut site = Site::new().await;
    let socket = site.file("socket").display().to_string();
    site.bucardo.configure(&format!("[log]\nsyslog_socket = \"{socket}\"\n"));
    let rsyslogd = Rsyslogd::start(&program, &site).await;
    let running = site.start(&["--logdest", "syslog"]);
    site.holds("syslog.log", "MCP Starting Bucardo version").await;
    site.control.run(UNKNOWN_SYNC).await;
    site.holds("syslog.log", "MCP Warning: cannot reload an unknown sync sync=nobody").await;
    let pid = site.text("bucardo.mcp.pid").lines().next().unwrap().to_owned();
    let log = site.text("syslog.log");
    let line = log.lines().find(|line| line.contains("Warning")).unwrap();
    assert!(line.contains(&format!(" Bucardo[{pid}]: MCP Warning")), "{line}");
    assert!(!site.text("others.log").contains("Bucardo"), "{}", site.text("others.log"));

    drop(rsyslogd);
    let rsyslogd = Rsyslogd::start(&program, &site).await;
    site.bucardo.run("message after the restart");
    site.holds("syslog.log", "): after the restart").await;
    site.bucardo.run("stop");
    drop(running);
    site.holds("syslog.log", "Bucardo has stopped").await;
    drop(rsyslogd);
}
