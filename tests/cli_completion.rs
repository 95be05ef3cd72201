//! The completion scripts, each in its own shell.

use std::process::Command;

use crate::cli_lab::CliLab;

/// The program in the path, and an rc file that reaches its control database; `None`, said loudly, without the shell.
async fn lab(shell: &str) -> Option<(CliLab, impl Fn() -> Command)> {
    if Command::new(shell).arg("--version").output().is_err() {
        eprintln!("SKIPPED: {shell} is not installed, its completion is not tried");
        return None;
    }
    let lab = CliLab::start().await;
    let _dbs = (lab.db("east", "CREATE TABLE t (id int PRIMARY KEY)").await, lab.db("west", "").await);
    let home = lab.bucardo.home().to_owned();
    let control = &lab.control;
    let rc = format!(
        "dbhost = {}\ndbport = {}\ndbuser = {}\ndbname = {}\n",
        control.host, control.port, control.user, control.name
    );
    std::fs::write(home.join(".bucardorc"), rc).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_bucardo"), home.join("bucardo")).unwrap();
    let path = format!("{}:{}", home.display(), std::env::var("PATH").unwrap_or_default());
    let shell = shell.to_owned();
    let command = move || {
        let mut command = Command::new("timeout");
        command.args(["60", &shell]).env("HOME", &home).env("PATH", &path).env("TERM", "xterm").current_dir(&home);
        command
    };
    Some((lab, command))
}

fn printed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// A script that the shell reads, and that then asks the program in a wrong way, completes nothing.
#[tokio::test]
async fn fish_completes_verbs_options_and_names() {
    let Some((lab, fish)) = lab("fish").await else { return };
    std::fs::write(lab.bucardo.home().join("bucardo.fish"), lab.bucardo.run("completion fish")).unwrap();
    for (typed, expected) in [
        ("bucardo unin", "uninstall\n"),
        ("bucardo remove db ", "east\nwest\n"),
        ("bucardo upgrade --dry", "--dry-run\n"),
        ("bucardo add sync x onetimecopy=", "onetimecopy=\nonetimecopy=0\nonetimecopy=1\nonetimecopy=2\n"),
    ] {
        let script = format!("source bucardo.fish; complete -C \"{typed}\"");
        assert_eq!(printed(fish().args(["--no-config", "-c", &script])), expected, "{typed}");
    }
}

/// As above, with the tab key in an interactive shell: zsh completes nowhere else.
#[tokio::test]
async fn zsh_completes_verbs_options_and_names() {
    let Some((lab, zsh)) = lab("zsh").await else { return };
    std::fs::write(lab.bucardo.home().join("_bucardo"), lab.bucardo.run("completion zsh")).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/complete.zsh");
    let typed = ["bucardo unin", "bucardo remove db w", "bucardo upgrade --dry", "bucardo set log_lev"];
    let lines = printed(zsh().args(["-f", script]).args(typed));
    let expected =
        ["bucardo uninstall ", "bucardo remove db west ", "bucardo upgrade --dry-run ", "bucardo set log_level="];
    assert_eq!(lines.lines().map(|line| line.trim_end_matches('\r')).collect::<Vec<_>>(), expected);
}
