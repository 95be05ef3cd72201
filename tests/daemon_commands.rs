//! The commands that start and end a daemon, as operators give them: any words for a reason, passwords, links where files
//! should be, requests in a moment in which nobody listens.

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::Duration;

use bucardo::lab::{Cluster, Folder, Settings};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Bucardo, Daemon, Database, Town, fresh_database, wait};

const ORDERS: &str = "CREATE TABLE orders (id int PRIMARY KEY, note text)";
const WITHIN: Duration = Duration::from_secs(30);

fn pid(bucardo: &Bucardo) -> Option<i32> {
    std::fs::read_to_string(bucardo.home().join("bucardo.mcp.pid")).ok()?.lines().next()?.parse().ok()
}

/// Whatever runs there when the test ends is killed.
struct Cleared<'a>(&'a Bucardo);

impl Drop for Cleared<'_> {
    fn drop(&mut self) {
        if let Some(pid) = pid(self.0).and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

async fn installed() -> Bucardo {
    let control = fresh_database("control").await;
    install(&control)
}

fn install(control: &Database) -> Bucardo {
    let bucardo = Bucardo::on(control);
    bucardo.call(&["install", "--batch", "--piddir", &bucardo.home().display().to_string()]).ok();
    bucardo
}

/// Words of the reason and values of options may be what verbs are; a verb may be written in any case.
#[tokio::test]
async fn a_restart_starts_it_again_whatever_the_reason() {
    let bucardo = installed().await;
    let _cleared = Cleared(&bucardo);
    let log = bucardo.home().join("restart");
    std::fs::create_dir(&log).unwrap();
    let history = || std::fs::read_to_string(bucardo.home().join("bucardo.restart.reason.txt.log")).unwrap();
    bucardo.call(&["start", "--log-destination", "restart"]).ok();
    let mut before = pid(&bucardo);
    for words in [
        &["restart", "maintenance"][..],
        &["restart", "to", "restart", "stop", "it"],
        &["RESTART"],
        &["restart", "--", "--dry-run"],
        &["Restart", "one\nSat Nov 28 00:00:00 2026 | fail  | two\u{1b}[2J"],
    ] {
        bucardo.call(&[&["--log-destination", "restart"][..], words].concat()).ok();
        let now = pid(&bucardo);
        assert!(now.is_some() && now != before, "{words:?}");
        bucardo.call(&["ping", "10"]).ok();
        let last = history().lines().last().unwrap().to_owned();
        let reason: String = words[1..].iter().filter(|word| **word != "--").copied().collect::<Vec<_>>().join(" ");
        let reason = reason.replace(char::is_control, " ");
        assert!(last.ends_with(&format!("| start | {reason}")), "{last}");
        before = now;
    }
    assert_eq!(history().lines().count(), 1 + 5 * 2, "{}", history());
    assert!(log.join("log.bucardo").exists());
    bucardo.run("stop");
}

/// Whoever may list processes must not read the password of the control database there, for as long as the daemon lives.
#[tokio::test]
async fn a_password_is_in_no_command_line() {
    let folder = Folder::new("bucardo-secret").unwrap();
    let settings = Settings::default().hba("host all clerk 127.0.0.1/32 scram-sha-256");
    let cluster = Cluster::start(folder.path(), "secret", &settings).unwrap();
    let control = Database::create(&cluster, "control").await;
    control.run("CREATE ROLE clerk SUPERUSER LOGIN PASSWORD 's3cr\\et'").await;
    let bucardo = install(&control);
    let _cleared = Cleared(&bucardo);
    let home = bucardo.home().display().to_string();
    let assert_hidden = |how: &str| {
        let pid = pid(&bucardo).unwrap();
        let shown = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
        let noted = std::fs::read_to_string(bucardo.home().join("bucardo.mcp.pid")).unwrap();
        assert!(shown.contains("clerk") && noted.contains("clerk"), "{how}: {shown} {noted}");
        assert!(!shown.contains("s3cr") && !noted.contains("s3cr"), "{how}: {shown} {noted}");
    };
    let whole = format!(
        "host = {} port = {} dbname = {} user = clerk password = 's3cr\\\\et'",
        control.host, control.port, control.name
    );
    let uri = format!("postgresql://clerk:s3cr%5Cet@{}:{}/{}", control.host, control.port, control.name);
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    for how in [
        words(&["-U", "clerk", "-P", "s3cr\\et"]),
        words(&["-U", "clerk", "--dbpas", "s3cr\\et"]),
        words(&["-U", "clerk", "-d", &whole]),
        words(&["-U", "clerk", "-d", &uri]),
    ] {
        let with = |verb: &[&str]| [how.clone(), words(verb)].concat();
        bucardo.call(&with(&["start", "--log-destination", &home])).ok();
        bucardo.call(&with(&["ping", "10"])).ok();
        assert_hidden(&how.join(" "));
        bucardo.call(&with(&["stop"])).ok();
    }
    // In the foreground it is the very process that was called.
    let mut child = bucardo
        .command(&["-U", "clerk", "-P", "s3cr\\et", "start", "--foreground", "--log-destination", &home])
        .spawn()
        .unwrap();
    wait::until("an answer to a ping", WITHIN, async || {
        let answer = bucardo.call(&["ping", "1"]);
        if answer.code == 0 { Ok(()) } else { Err(answer) }
    })
    .await;
    assert_eq!(pid(&bucardo), i32::try_from(child.id()).ok());
    assert_hidden("in the foreground");
    bucardo.run("stop");
    assert!(child.wait().unwrap().success());
}

/// A sync that is inactive is known, too, and is none to stay for.
#[tokio::test]
async fn a_daemon_without_an_active_sync_may_end_at_once() {
    let mut town = Town::found(ORDERS).await;
    town.sync("");
    let _cleared = Cleared(&town.bucardo);
    let home = town.bucardo.home().display().to_string();
    let start = ["start", "--exit-on-nosync", "--log-destination", &home];
    town.bucardo.run("deactivate s");
    let refused = town.bucardo.call(&start).failed();
    assert!(refused.contains("there is no active sync"), "{refused}");
    assert_eq!(pid(&town.bucardo), None);
    town.bucardo.run("activate s");
    town.bucardo.call(&start).ok();
    town.bucardo.run("stop");
}

/// The directory belongs to the daemon's account, and root stops and starts it: what somebody has put there as a link must
/// not have root write elsewhere.
#[tokio::test]
async fn no_command_writes_through_a_link() {
    let bucardo = installed().await;
    let _cleared = Cleared(&bucardo);
    let home = bucardo.home().to_owned();
    let precious = |name: &str| {
        let path = home.join(format!("precious-{name}"));
        std::fs::write(&path, "42\n").unwrap();
        symlink(&path, home.join(name)).unwrap();
        path
    };
    let names = ["fullstopbucardo", "bucardo.restart.reason.txt", "bucardo.restart.reason.txt.log", "bucardo.mcp.pid"];
    let all: Vec<PathBuf> = names.iter().map(|name| precious(name)).collect();
    let stopped = bucardo.call(&["stop", "for", "good"]);
    assert!(stopped.stderr.contains("bucardo.restart.reason.txt.log\": it is a symbolic link"), "{stopped:?}");
    let refused = bucardo.call(&["start"]).failed();
    assert!(refused.contains("bucardo.mcp.pid\": it is a symbolic link"), "{refused}");
    for path in all {
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "42\n", "{}", path.display());
    }
    let last = std::fs::read_to_string(home.join("bucardo.restart.reason.txt")).unwrap();
    assert!(last.contains("| for good") || last.contains("| start |"), "{last}");
}

/// One of two starts wins, and the other says so, also where a killed daemon has left its file.
#[tokio::test]
async fn of_two_starts_at_once_one_wins() {
    let bucardo = installed().await;
    let _cleared = Cleared(&bucardo);
    let home = bucardo.home().display().to_string();
    for _ in 0..3 {
        std::fs::write(bucardo.home().join("bucardo.mcp.pid"), "1\ninit\nlong ago\n").unwrap();
        let start = || bucardo.call(&["start", "--log-destination", &home]);
        let both = std::thread::scope(|scope| {
            let other = scope.spawn(start);
            [start(), other.join().unwrap()]
        });
        assert_eq!(both.iter().filter(|output| output.code == 0).count(), 1, "{both:?}");
        let lost = both.iter().find(|output| output.code != 0).unwrap();
        assert!(lost.stderr.contains("exists"), "{lost:?}");
        bucardo.call(&["ping", "10"]).ok();
        bucardo.run("stop");
        assert_eq!(pid(&bucardo), None);
    }
}

/// The session that listens on the control database breaks, and what is asked for in that moment is done all the same.
#[tokio::test]
async fn what_is_asked_for_while_nobody_listens_is_done_later() {
    let mut town = Town::found(ORDERS).await;
    town.sync("");
    let mut daemon = Daemon::start(&town.bucardo).await;
    daemon.announce("cannot listen for kicks and requests");
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
               WHERE application_name LIKE 'bucardo listener%' AND datname = current_database()";
    assert_eq!(town.control.number(end).await, 1);
    daemon.logs("cannot listen for kicks and requests", WITHIN).await;
    town.bucardo.run("deactivate s");
    daemon.logs("sync is inactive", WITHIN).await;
    town.a.run("INSERT INTO orders VALUES (1, 'new')").await;
    town.bucardo.run("activate s 20");
    town.settle(WITHIN).await;
    daemon.stop().await;
}
