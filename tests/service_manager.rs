//! The daemon under a service manager: what it tells on the notification socket, and the unit that is shipped.

use std::collections::VecDeque;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::{Daemon, Town, wait};

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
        wait::until(line, WITHIN, async || {
            self.listen();
            let place = self.told.iter().position(|lines| lines.iter().any(|it| it == line));
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
