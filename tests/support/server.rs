//! Throwaway servers for the whole run.
//!
//! `PGBINDIR` is the folder with the programs of the server that tests run on, else the newest one that is found.
//! `BUCARDO_OTHER_PGBINDIR`: where rounds and merges are tested without the daemon, all databases but the first source are
//! on a server of these programs, of another version.

use std::path::PathBuf;
use std::sync::OnceLock;

use bucardo::lab::{Cluster, Folder, Settings};

/// The server of this run, started by the first test that asks. Nothing drops a static: the server ends and its
/// files go when the input of its guard closes, and that is when this process ends, however it ends.
pub(crate) fn server() -> &'static Cluster {
    static SERVER: OnceLock<(Folder, Cluster)> = OnceLock::new();
    let (_, cluster) = SERVER.get_or_init(|| start(None));
    cluster
}

/// The second server, if there is one.
fn other() -> Option<&'static Cluster> {
    static SERVER: OnceLock<Option<(Folder, Cluster)>> = OnceLock::new();
    let bindir = || std::env::var_os("BUCARDO_OTHER_PGBINDIR").map(PathBuf::from);
    SERVER.get_or_init(|| bindir().map(|bindir| start(Some(bindir)))).as_ref().map(|(_, cluster)| cluster)
}

/// The server for all databases but the first source.
pub(crate) fn other_server() -> &'static Cluster {
    other().unwrap_or_else(server)
}

/// The major version of the older one of the servers.
pub(crate) fn oldest_version() -> i64 {
    static VERSION: OnceLock<i64> = OnceLock::new();
    *VERSION.get_or_init(|| {
        let version =
            |cluster: &Cluster| cluster.sql("postgres", "SHOW server_version_num").unwrap().parse::<i64>().unwrap();
        version(server()).min(version(other_server())) / 10000
    })
}

/// Whether all servers are of this major version or a newer one; else says what is not tested.
pub(crate) fn all_know(version: i64, what: &str) -> bool {
    let fits = oldest_version() >= version;
    if !fits {
        println!("skipped, as it needs PostgreSQL {version}: {what}");
    }
    fits
}

/// Whether the servers write numbers in different ways.
pub(crate) fn are_mixed() -> bool {
    other().is_some()
}

fn start(bindir: Option<PathBuf>) -> (Folder, Cluster) {
    let folder = Folder::new("bucardo-test").expect("a folder for the test server");
    let settings =
        Settings { bindir, ..Settings::default().set("max_connections", "500").set("max_prepared_transactions", "20") };
    let cluster = Cluster::start(folder.path(), "server", &settings)
        .unwrap_or_else(|error| panic!("the test server did not start: {error}"));
    (folder, cluster)
}
