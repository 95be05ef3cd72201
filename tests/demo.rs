//! The demonstration, as somebody sees it who has nothing but the program.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use bucardo::lab::Programs;
use rustix::process::{Pid, Signal, kill_process};

/// It shows what it promises, and leaves neither files nor servers.
#[test]
fn the_demonstration_ends_with_equal_contents_and_cleans_up() {
    let output = demo(&["--seconds", "4"]).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{told}{complaint}");
    let names = ["accounts", "branches", "tellers", "history", "history_id_seq"];
    for name in names.map(|name| format!("public.pgbench_{name} ")) {
        let same =
            told.lines().any(|line| line.trim_start().starts_with(&name) && line.contains("equal on A, B and C"));
        assert!(same, "{name}: {told}");
    }
    for word in ["recovered: B gets rows again", "the slowest", "rows waiting"] {
        assert!(told.contains(word), "{word}: {told}");
    }
    assert_gone(&folder(&told));
}

/// Ctrl-C in the middle of everything: the daemon and the servers end, the files go.
#[test]
fn an_interrupted_demonstration_cleans_up() {
    let mut child = demo(&["--seconds", "60"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut told = String::new();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for line in lines.by_ref().map(Result::unwrap) {
        told.push_str(&line);
        told.push('\n');
        if line.contains("rows waiting") {
            break;
        }
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    told.extend(lines.map(|line| line.unwrap() + "\n"));
    let output = child.wait_with_output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}{complaint}");
    assert!(complaint.contains("interrupted"), "{told}{complaint}");
    assert_gone(&folder(&told));
}

/// With --keep everything runs on after the program's end, until the script that it names ends it.
#[test]
fn a_kept_demonstration_runs_until_it_is_stopped() {
    let output = demo(&["--seconds", "1", "--keep"]).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let folder = folder(&told);
    let kept = Kept(format!("{folder}/stop"));
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));

    let rows = |cluster: &str| {
        let prefix = format!("  {cluster}  psql ");
        let line = told.lines().rev().find_map(|line| line.strip_prefix(&prefix)).expect("a psql line");
        let words = line.split(' ').chain(["-X", "-A", "-t", "-c", "SELECT count(*) FROM pgbench_history"]);
        let output = Programs::find().unwrap().command("psql").args(words).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_ne!(rows("A").trim(), "");
    assert_eq!(rows("A"), rows("B"));
    let status = Command::new(env!("CARGO_BIN_EXE_bucardo"))
        .args(["--bucardorc", &format!("{folder}/bucardorc"), "ping", "10"])
        .output()
        .unwrap();
    assert!(status.status.success(), "{status:?}");

    drop(kept);
    assert_gone(&folder);
}

/// Runs the script that ends a kept demonstration, also when the test fails.
struct Kept(String);

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = Command::new("sh").arg(&self.0).stdout(Stdio::null()).status();
    }
}

fn demo(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bucardo"));
    command.arg("--no-bucardorc").arg("demo").args(words).stdin(Stdio::null());
    command
}

/// Where it worked, by its own words.
fn folder(told: &str) -> String {
    told.lines().find_map(|line| line.strip_prefix("  in /")).map(|rest| format!("/{rest}")).expect("its folder")
}

/// Neither the folder nor a process that names it is left.
fn assert_gone(folder: &str) {
    assert!(!fs::exists(folder).unwrap(), "{folder} is left");
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        assert!(!line.contains(folder), "a process is left: {line}");
    }
}
