//! Settings, options, the rc file and help on the command line.

use std::fs;

use serde_json::Value;

use crate::cli_lab::CliLab;

#[tokio::test]
async fn settings_are_shown_and_set_as_they_are_typed() {
    let lab = CliLab::start().await;
    assert_eq!(lab.bucardo.run("show kid_sleep"), "kid_sleep = 0.5\n");
    let piddir = format!("piddir = {}\n", lab.bucardo.home().display());
    assert_eq!(lab.bucardo.run("show changed"), piddir);
    let stored = lab.control.number("SELECT count(*) FROM bucardo.bucardo_config").await;
    assert!(stored > 55, "only {stored} settings");
    assert_eq!(i64::try_from(lab.bucardo.run("show all").lines().count()).unwrap(), stored);
    assert_eq!(lab.bucardo.run("config"), lab.bucardo.run("show all"));
    assert_eq!(lab.bucardo.run("list config"), lab.bucardo.run("show all"));
    assert_eq!(
        lab.bucardo
            .run("set email_auth_pass=GeHeim stopfile=FullStop log_level=VERBOSE default_standard_conflict=none"),
        "Set \"email_auth_pass\" to \"***\"\nSet \"stopfile\" to \"FullStop\"\nSet \"log_level\" to \"verbose\"\n\
         Set \"default_conflict_strategy\" to \"\"\n"
    );
    assert_eq!(lab.bucardo.run("show ^stopf email_auth_pa"), "email_auth_pass = ***\nstopfile        = FullStop\n");
    let stored = "SELECT setting FROM bucardo.bucardo_config WHERE name = 'email_auth_pass'";
    assert_eq!(lab.control.value(stored).await, "GeHeim");
    let json: Value = serde_json::from_str(&lab.bucardo.run("show log_level stopfile --json")).unwrap();
    assert_eq!(json, serde_json::json!({"log_level": "verbose", "stopfile": "FullStop"}));

    // Nothing is what was shipped, and what differs in case only is different.
    assert_eq!(
        lab.bucardo.run("set email_auth_pass= stopfile=FULLSTOPBUCARDO"),
        "Set \"email_auth_pass\" to \"***\"\nSet \"stopfile\" to \"FULLSTOPBUCARDO\"\n"
    );
    assert_eq!(lab.control.value(stored).await, "");

    for (code, words, complaint) in [
        (255, &["set", "nonsense=1"][..], "Unknown setting \"nonsense\""),
        (255, &["set", "log_level=loud"], "Invalid value for 'log_level': must be one of"),
        (255, &["set", "kid_sleep=often"], "Invalid value for 'kid_sleep': must be numeric"),
        (255, &["set", "kid_abort_limit=2.5"], "Invalid value for 'kid_abort_limit': it must be a whole number"),
        (255, &["set", "batch_rows_max=0"], "Invalid value for 'batch_rows_max'"),
        (255, &["set", "host_safety_check=~["], "Invalid value for 'host_safety_check': regex parse error"),
        (255, &["set", "piddir=here"], "Invalid value for 'piddir': it must be an absolute path"),
        (255, &["set", "isolation_level=none"], "Invalid value for 'isolation_level'"),
        (1, &["set", "kid_sleep="], "bucardo set NAME=VALUE"),
        (255, &["set", "kid_sleep=1", "log_level=loud"], "Invalid value for 'log_level'"),
        (1, &["set"], "bucardo set NAME=VALUE"),
        (1, &["show"], "bucardo show"),
        (1, &["show", "kid_slepe"], "Unknown setting \"kid_slepe\"\nHint: did you mean \"kid_sleep\"?"),
    ] {
        let refusal = lab.refused(code, words).await;
        assert!(refusal.starts_with(complaint), "{words:?}: {refusal}");
    }
}

#[tokio::test]
async fn the_rc_file_gives_options_and_the_command_line_wins() {
    let lab = CliLab::start().await;
    let rc = lab.bucardo.home().join("my.rc");
    let control = &lab.control;
    let text = format!(
        "# options\ndbhost = {}\ndb_port : 1\ndbuser = {}\ndbname = {}\nkid_sleep = 7\nquiet = 1\n\nnonsense line\n",
        control.host, control.user, control.name
    );
    fs::write(&rc, text).unwrap();
    let run = |words: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_bucardo"));
        command.env("HOME", lab.bucardo.home()).arg("--bucardorc").arg(&rc).args(words);
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, _, told) = run(&["show", "kid_sleep"]);
    assert_eq!(code, Some(255), "{told}");
    assert!(told.contains("Could not parse line 9") && told.contains("port=1 "), "{told}");
    let port = control.port.to_string();
    let (code, out, told) = run(&["show", "kid_sleep", "--dbport", &port]);
    assert_eq!((code, out.as_str()), (Some(0), ""), "quiet: {told}");
    let (code, out, _) = run(&["show", "kid_sleep", "--dbport", &port, "--json"]);
    assert_eq!((code, out.as_str()), (Some(0), "{\n  \"kid_sleep\": \"0.5\"\n}\n"));
}

#[tokio::test]
async fn the_control_database_may_be_a_connection_string() {
    let lab = CliLab::start().await;
    let control = &lab.control;
    let uri = format!("postgresql://{}@{}:{}/{}", control.user, control.host, control.port, control.name);
    for name in [uri, control.conninfo()] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_bucardo"));
        let output = command.args(["--no-bucardorc", "-d", &name, "show", "kid_sleep"]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "kid_sleep = 0.5\n", "{name}");
    }
}

#[test]
fn version_help_and_usage_need_no_database() {
    let run = |words: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_bucardo"));
        let output = command.env("HOME", "/").args(words).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
    };
    assert_eq!(run(&["--version"]), (0, "bucardo version 6.0.0\n".into(), String::new()));
    let (code, out, _) = run(&["help"]);
    assert!(code == 0 && out.starts_with("bucardo [options] VERB"));
    let (code, out, _) = run(&["help", "add", "database"]);
    assert!(code == 0 && out.starts_with("bucardo add db NAME"), "{out}");
    let (code, out, _) = run(&["add", "sync", "--help"]);
    assert!(code == 0 && out.starts_with("bucardo add sync NAME"), "{out}");
    let (code, out, err) = run(&[]);
    assert!(code == 1 && out.is_empty() && err.starts_with("bucardo [options] VERB"), "{err}");
    let (code, _, err) = run(&["--quiet"]);
    assert_eq!((code, err.as_str()), (1, "Missing required command\n"));
    let (code, _, err) = run(&["--bucardorc", "/no/such/file", "list", "dbs"]);
    assert_eq!((code, err.as_str()), (255, "Could not find the file \"/no/such/file\"\n"));
}
