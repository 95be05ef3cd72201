//! The daemon under a service manager: what it tells on the notification socket, and the unit that is shipped.

use std::collections::VecDeque;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::{Duration, Instant};

use bucardo::lab::Folder;
use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use rustix::process::Signal;

use crate::support::{Daemon, Proxy, Town, wait};

const WITHIN: Duration = Duration::from_secs(30);
/// The service manager waits so long for a beat.
const WATCHDOG: Duration = Duration::from_millis(600);

/// The end of the notification socket that systemd has.
struct Manager {
    socket: UnixDatagram,
    /// What was not asked for yet.
    told: VecDeque<Vec<String>>,
}

impl Manager {
    fn of(town: &mut Town) -> Self {
        let path = town.bucardo.home().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        town.bucardo.serve(&path, WATCHDOG);
        Self { socket, told: VecDeque::new() }
    }

    /// Takes what has come; each datagram is several lines.
    fn listen(&mut self) {
        let mut bytes = [0; 4096];
        while let Ok(length) = self.socket.recv(&mut bytes) {
            let text = String::from_utf8_lossy(&bytes[..length]);
            self.told.push_back(text.lines().map(str::to_owned).collect());
        }
    }

    /// Waits for a datagram with this line, and forgets what came before it.
    async fn hears(&mut self, line: &str) -> Vec<String> {
        self.hears_what(line, |it| it == line).await
    }

    /// The same for a line that begins so.
    async fn hears_of(&mut self, beginning: &str) -> Vec<String> {
        self.hears_what(beginning, |it| it.starts_with(beginning)).await
    }

    async fn hears_what(&mut self, what: &str, is_it: impl Fn(&str) -> bool) -> Vec<String> {
        wait::until(what, WITHIN, async || {
            self.listen();
            let place = self.told.iter().position(|lines| lines.iter().any(|it| is_it(it)));
            match place.and_then(|place| self.told.drain(..=place).next_back()) {
                Some(lines) => Ok(lines),
                None => Err(self.told.clone()),
            }
        })
        .await
    }
}

/// A service manager that hears nothing kills the daemon; one that is told too early starts what needs it too early.
#[tokio::test]
async fn the_service_manager_hears_of_start_beats_reload_and_end() {
    let mut town = Town::found("CREATE TABLE orders (id int PRIMARY KEY, note text)").await;
    town.sync("");
    let mut manager = Manager::of(&mut town);
    let mut daemon = town.daemon().await;
    let ready = manager.hears("READY=1").await;
    assert!(ready.iter().any(|line| line.starts_with("STATUS=Active syncs: 1")), "{ready:?}");

    // In time, again and again.
    manager.hears("WATCHDOG=1").await;
    for _ in 0..5 {
        let begun = Instant::now();
        manager.hears("WATCHDOG=1").await;
        assert!(begun.elapsed() < WATCHDOG, "a beat came {:?} after the one before", begun.elapsed());
    }

    daemon.signal(Signal::HUP);
    let reloading = manager.hears("RELOADING=1").await;
    assert!(reloading.iter().any(|line| line.starts_with("MONOTONIC_USEC=")), "{reloading:?}");
    manager.hears("READY=1").await;
    // Asked for in the control database, too.
    town.bucardo.run("reload");
    manager.hears("RELOADING=1").await;
    manager.hears("READY=1").await;

    daemon.signal(Signal::TERM);
    manager.hears("STOPPING=1").await;
    assert_eq!(daemon.ended(WITHIN).await, 0);
    daemon.assert_quiet();
}

/// One thread of a process that is held still, as a loop without end or a lock that nobody gives back would do it: all
/// others go on. It goes on, too, when this is dropped, if the process still lives.
struct Held(Pid);

impl Held {
    /// The first thread, which runs the actors.
    fn first_thread(daemon: &Daemon<'_>) -> Self {
        let thread = Pid::from_raw(i32::try_from(daemon.pid()).unwrap());
        ptrace::seize(thread, ptrace::Options::empty()).unwrap();
        ptrace::interrupt(thread).unwrap();
        waitpid(thread, Some(WaitPidFlag::__WALL)).unwrap();
        Self(thread)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // Gone, when it was killed meanwhile.
        let _ = ptrace::detach(self.0, None);
    }
}

/// Only the thread of the actors is stuck, the workers go on: the service manager hears nothing, although the process
/// lives and works, and does what it is set to do. The next daemon finds everything.
#[tokio::test]
async fn a_stuck_control_thread_is_not_vouched_for() {
    let mut town = Town::found("CREATE TABLE orders (id int PRIMARY KEY, note text)").await;
    town.sync("");
    let mut manager = Manager::of(&mut town);
    let mut daemon = town.daemon().await;
    manager.hears("READY=1").await;
    town.settle(WITHIN).await;
    // A round that waits for a lock on B.
    let lock = town.b.session().await;
    lock.batch_execute("BEGIN; LOCK TABLE orders").await.unwrap();
    town.a.run("INSERT INTO orders VALUES (1, 'new')").await;
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database() \
        AND application_name LIKE 'bucardo KID %'";
    wait::until_equal("a round that waits", WITHIN, &1, async || town.b.number(waits).await).await;

    let held = Held::first_thread(&daemon);
    manager.listen();
    manager.told.clear();
    lock.batch_execute("COMMIT").await.unwrap();
    let there = "SELECT count(*) FROM orders";
    wait::until_equal("the row that a worker brings", WITHIN, &1, async || town.b.number(there).await).await;
    let silent = Instant::now();
    wait::until("silence for as long as systemd waits", WATCHDOG * 10, async || {
        manager.listen();
        assert!(manager.told.is_empty(), "told by a daemon that is stuck: {:?}", manager.told);
        if silent.elapsed() > WATCHDOG * 3 { Ok(()) } else { Err(silent.elapsed()) }
    })
    .await;
    assert!(daemon.has_ended().is_none());

    // What systemd does then (WatchdogSignal=SIGABRT, Restart=on-failure).
    town.a.run("INSERT INTO orders VALUES (2, 'while it was stuck')").await;
    daemon.signal(Signal::ABORT);
    drop(held);
    assert_ne!(daemon.ended(WITHIN).await, 0);
    let mut daemon = town.daemon().await;
    daemon.announce("stale PID");
    manager.hears("READY=1").await;
    town.settle(WITHIN).await;
    daemon.stop().await;
}

/// The control database goes away between two statements of the start: it is waited for, as if it had been away before.
#[tokio::test]
async fn a_start_that_loses_the_control_database_half_way_waits_for_it() {
    let mut town = Town::found("CREATE TABLE orders (id int PRIMARY KEY, note text)").await;
    town.sync("");
    let blocker = town.control.session().await;
    blocker.batch_execute("BEGIN; LOCK TABLE bucardo.bucardo_config").await.unwrap();
    let daemon = Daemon::spawn(&town.bucardo);
    let reading = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'bucardo CLI%' \
        AND datname = current_database() AND wait_event_type = 'Lock'";
    wait::until_equal("a start that reads the settings", WITHIN, &vec!["t".to_owned()], async || {
        town.control.rows(reading).await
    })
    .await;
    blocker.batch_execute("ROLLBACK").await.unwrap();
    daemon.logs("started syncs=1", WITHIN).await;
    assert!(daemon.log().contains("waiting for the control database"), "{}", daemon.log());
    daemon.stop().await;
}

/// The machine starts, and its control database comes up much later: the daemon waits as long as it takes, says so, and
/// is given the time. (`tries_max` is for those who wait at a terminal.)
#[tokio::test]
async fn a_start_waits_for_its_control_database_as_long_as_it_takes() {
    let mut town = Town::found("CREATE TABLE orders (id int PRIMARY KEY, note text)").await;
    town.bucardo.configure("[supervision.lease]\ndelay_initial = \"20ms\"\ndelay_max = \"50ms\"\ntries_max = 2\n");
    town.sync("");
    let proxy = Proxy::to(town.control.port).await;
    town.bucardo.reach_control_at(proxy.port());
    proxy.cut();
    let mut manager = Manager::of(&mut town);
    let mut daemon = Daemon::spawn(&town.bucardo);
    for _ in 0..10 {
        let lines = manager.hears_of("STATUS=waiting for the control database").await;
        assert!(lines.iter().any(|line| line.starts_with("EXTEND_TIMEOUT_USEC=")), "{lines:?}");
    }
    assert!(daemon.has_ended().is_none());
    // By hand, in the background, there is an answer soon.
    let refused = town.bucardo.call(&["start"]);
    assert!(refused.code != 0 && refused.stderr.contains("cannot open the control database"), "{refused:?}");
    proxy.open();
    manager.hears("READY=1").await;
    town.a.run("INSERT INTO orders VALUES (1, 'new')").await;
    town.settle(WITHIN).await;
    daemon.stop().await;
}

/// Runs `systemd-analyze` on the unit; `None`, said loudly, where it is not installed.
fn analyze(words: &[&str]) -> Option<(bool, String)> {
    let unit = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/bucardo.service");
    let output = match Command::new("systemd-analyze").args(words).arg(unit).output() {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("SKIPPED: systemd-analyze is not installed, the unit is not verified");
            return None;
        }
        Err(error) => panic!("systemd-analyze does not run: {error}"),
    };
    let text = [output.stdout, output.stderr].concat();
    Some((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
}

#[test]
fn the_unit_is_verified() {
    let Some((good, text)) = analyze(&["verify", "--man=no"]) else { return };
    // The program itself is not where a package would put it.
    let complaints = text.lines().filter(|line| !line.contains("/usr/bin/bucardo is not executable"));
    let complaints: Vec<&str> = complaints.collect();
    assert!(complaints.is_empty(), "{complaints:?}");
    assert!(good || text.contains("is not executable"), "{text}");
}

/// What is exposed today is the most that may be: the network and local sockets, which replication is about.
#[test]
fn the_unit_is_hardened() {
    let Some((good, text)) = analyze(&["security", "--no-pager", "--offline=true", "--threshold=15"]) else { return };
    assert!(good, "{text}");
}

/// The unit as it is shipped, under a real systemd: started with all of its hardening, reloaded, killed, held still until
/// the watchdog bites, and stopped.
#[tokio::test]
async fn a_real_systemd_runs_the_unit() {
    let mut town = Town::found("CREATE TABLE orders (id int PRIMARY KEY, note text)").await;
    town.sync("");
    town.bucardo.run("set piddir=/run/bucardo");
    let folder = Folder::new("bucardo-test").unwrap();
    let (settings, control) = (folder.path().join("settings"), &town.control);
    let words = format!(
        "[control]\nhost = \"{}\"\nport = {}\nuser = \"{}\"\ndbname = \"{}\"\n",
        control.host, control.port, control.user, control.name
    );
    std::fs::write(&settings, words).unwrap();
    let mut boot = Command::new("sh");
    boot.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/boot_systemd.sh")).arg(folder.path());
    boot.arg(env!("CARGO_BIN_EXE_bucardo")).arg(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/bucardo.service"));
    let output = tokio::task::spawn_blocking(move || boot.arg(settings).output().unwrap()).await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (printed, told) = (text(&output.stdout), text(&output.stderr));
    if output.status.code() == Some(77) {
        return eprintln!("SKIPPED: no systemd of its own runs here: {told}");
    }
    assert!(output.status.success() && printed.ends_with("stopped\n"), "{}: {printed}{told}", output.status);
}
