//! The Debian package: what is in it, and that a machine may install, run, remove and purge it.
//!
//! The test packages the program that was built for the tests; a release packages an optimised one in the same way.

use std::path::Path;
use std::process::{Command, Output};

use bucardo::lab::Folder;

use crate::support::{Database, server};

/// `None`, said loudly, where a tool is missing.
fn built(folder: &Path) -> Option<String> {
    for tool in ["dpkg-deb", "objdump", "strip"] {
        if Command::new(tool).arg("--version").output().is_err() {
            eprintln!("SKIPPED: {tool} is not installed, no Debian package is made");
            return None;
        }
    }
    let build = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/deb/build");
    let mut command = Command::new("sh");
    // Without waiting for a compression that the test does not look at.
    command.arg(build).arg(env!("CARGO_BIN_EXE_bucardo")).arg(folder).env("DEB_COMPRESSION", "-Znone");
    command.env("DEBFULLNAME", "Who Builds").env("DEBEMAIL", "who@builds.test");
    Some(ok(&command.output().unwrap()).trim().to_owned())
}

fn ok(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (printed, told) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{}: {printed}{told}", output.status);
    printed
}

/// A package that lacks its unit or its manual page would install all the same.
#[tokio::test]
async fn a_package_is_built_installed_run_removed_and_purged() {
    let folder = Folder::new("bucardo-test").unwrap();
    let Some(package) = built(folder.path()) else { return };
    let listed = ok(&Command::new("dpkg-deb").args(["--contents", &package]).output().unwrap());
    for path in [
        "/usr/bin/bucardo",
        "/usr/lib/systemd/system/bucardo.service",
        "/usr/lib/sysusers.d/bucardo.conf",
        "/usr/lib/tmpfiles.d/bucardo.conf",
        "/usr/share/man/man1/bucardo.1.gz",
        "/usr/bin/bucardo_ctl -> bucardo",
        "/usr/share/man/man1/bucardo_ctl.1.gz -> bucardo.1.gz",
        "/usr/share/bash-completion/completions/bucardo",
        "/usr/share/bash-completion/completions/bucardo_ctl -> bucardo",
        "/usr/share/zsh/vendor-completions/_bucardo",
        "/usr/share/fish/vendor_completions.d/bucardo.fish",
        "/usr/share/fish/vendor_completions.d/bucardo_ctl.fish -> bucardo.fish",
        "/usr/share/doc/bucardo/copyright",
        "/etc/bucardo/bucardo.toml",
        "/etc/logrotate.d/bucardo",
        "/etc/rsyslog.d/30-bucardo.conf",
    ] {
        let line = listed.lines().find(|line| line.ends_with(path));
        assert!(line.is_some_and(|line| line.contains("root/root")), "{path} in\n{listed}");
    }

    let field =
        |name| ok(&Command::new("dpkg-deb").args(["--field", &package, name]).output().unwrap()).trim().to_owned();
    assert_eq!(field("Maintainer"), "Who Builds <who@builds.test>");

    // On a copy of this machine that goes away with its last process: an overlay with its upper half in memory.
    let database = Database::create(server(), "packaged").await;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/install_package.sh");
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "--pid", "--fork", "--kill-child", "sh", script, &package]);
    unshare.args([&database.host, &database.port.to_string(), &database.user]);
    let output = match unshare.output() {
        Ok(output) => output,
        Err(error) => return eprintln!("SKIPPED: the package is not installed: {error}"),
    };
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.code() == Some(77) || told.contains("unshare failed") {
        return eprintln!("SKIPPED: the package is not installed, no overlay can be mounted: {told}");
    }
    let printed = ok(&output);
    assert!(printed.ends_with("purged\n"), "{printed}{told}");
}
