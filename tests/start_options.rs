//! Options of `start` that have an effect beyond the daemon's work, and those that have none and say so.

use std::process::Stdio;
use std::time::Duration;

use crate::support::{Bucardo, Database, fresh_database, wait};

const WITHIN: Duration = Duration::from_secs(30);

async fn site() -> (Bucardo, Database) {
    let control = fresh_database("control").await;
    let bucardo = Bucardo::on(&control);
    bucardo.run(&format!("install --batch --piddir {}", bucardo.home().display()));
    (bucardo, control)
}

/// What `ps` shows as the name of a process.
fn shown(pid: &str) -> String {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap();
    String::from_utf8(line).unwrap().split('\0').next().unwrap().to_owned()
}

fn pid_file(bucardo: &Bucardo) -> Vec<String> {
    let text = std::fs::read_to_string(bucardo.home().join("bucardo.mcp.pid")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Whoever runs two daemons tells them apart in `ps`, and the commands still find the right one.
#[tokio::test]
async fn an_extra_name_is_in_the_process_title() {
    let (bucardo, _control) = site().await;
    let home = bucardo.home().display().to_string();
    let start = ["start", "--log-destination", &home, "--extra-name", "night/\tshift ü"];
    bucardo.call(&start).ok();
    let file = pid_file(&bucardo);
    assert_eq!(shown(&file[0]), "bucardo (night__shift ü)");
    assert!(file[1].starts_with("bucardo (night__shift ü) "), "{file:?}");
    assert!(bucardo.call(&start).failed().contains(&format!("PID {}", file[0])), "it runs already");
    assert_eq!(bucardo.call(&["ping", "10"]).code, 0);
    bucardo.run("stop");

    // By the older name of the program, with an option that only that one has.
    bucardo
        .call_as("bucardo_ctl", &["start", "--extraname=x", "--debugstdout=0", "--debugstderr=0", "--logdest", &home])
        .ok();
    assert_eq!(shown(&pid_file(&bucardo)[0]), "bucardo_ctl (x)");
    bucardo.run("stop");

    // In the foreground it stays the same process, which a service manager relies on.
    let mut command = bucardo.command(&["start", "--foreground", "--extra-name", "y"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let pid = child.id().to_string();
    wait::until("the PID file", WITHIN, async || {
        let file = pid_file(&bucardo);
        if file.first() == Some(&pid) { Ok(()) } else { Err(file) }
    })
    .await;
    assert_eq!(shown(&pid), "bucardo (y)");
    bucardo.run("stop");
    assert!(child.wait().unwrap().success());
}

/// An option that is taken and does nothing is worse than one that is refused, unless it says so.
#[tokio::test]
async fn what_has_no_effect_says_so_and_what_cannot_be_dry_is_not_done() {
    let (bucardo, control) = site().await;
    let home = bucardo.home().display().to_string();
    let started = bucardo.call(&["start", "--quickstart", "--log-destination", &home]);
    assert!(started.code == 0 && started.stderr.contains("Option --quickstart has no effect"), "{started:?}");
    let refused = bucardo.fails("stop --dry-run");
    assert!(refused.contains("nothing was done"), "{refused}");
    assert_eq!(bucardo.call(&["ping", "10"]).code, 0, "it was not stopped");
    bucardo.run("stop");
    for line in ["start", "restart", "kick all", "purge", "activate all", "deactivate all", "validate all", "reload"] {
        let refused = bucardo.fails(&format!("{line} --dry-run"));
        assert!(refused.contains("acts at once and knows no --dry-run"), "{line}: {refused}");
    }
    assert!(pid_file(&bucardo).is_empty(), "a daemon was started");
    drop(control);
}

/// The log of each process of old in a file of its own, with an extension, after former files were deleted.
#[tokio::test]
async fn files_of_the_log_are_as_the_options_say() {
    let (bucardo, control) = site().await;
    let (a, b) = (fresh_database("a").await, fresh_database("b").await);
    for (name, database) in [("A", &a), ("B", &b)] {
        database.run("CREATE TABLE orders (id int PRIMARY KEY)").await;
        bucardo.add_db(name, database);
    }
    bucardo.run("add sync s tables=orders dbs=A:source,B:target");
    let logs = bucardo.home().join("logs");
    std::fs::create_dir(&logs).unwrap();
    std::fs::write(logs.join("log.bucardo.old"), "old").unwrap();
    std::fs::write(logs.join("other"), "other").unwrap();
    let place = logs.display().to_string();
    let words = ["start", "--logdest", &place, "--log-separate", "--log-ext", "east", "--log-clean", "--loglevel"];
    bucardo.call(&[&words[..], &["verbose", "--log-showline"]].concat()).ok();
    a.run("INSERT INTO orders VALUES (1)").await;
    bucardo.run("kick s 20");
    bucardo.run("stop");
    let mut names: Vec<String> =
        std::fs::read_dir(&logs).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let east = |role| format!("log.bucardo.east.{role}");
    assert_eq!(
        names,
        ["bucardo.warning.log", &east("CTL"), &east("KID"), &east("MCP"), &east("VAC"), "other"],
        "the old file is gone, what is not the log's is not"
    );
    for role in ["MCP", "CTL", "KID", "VAC"] {
        let text = std::fs::read_to_string(logs.join(east(role))).unwrap();
        assert_eq!(text.contains("Starting Bucardo"), role == "MCP", "{role}: {text}");
        assert!(text.lines().all(|line| line.contains(&format!(" {role} ")) && line.contains('#')), "{role}: {text}");
    }
    drop(control);
}
