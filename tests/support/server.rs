//! One throwaway server for the whole run.

use std::sync::OnceLock;

use bucardo::lab::{Cluster, Folder, Settings};

/// The server of this run, started by the first test that asks. Nothing drops a static: the server ends and its
/// files go when the input of its guard closes, and that is when this process ends, however it ends.
pub(crate) fn server() -> &'static Cluster {
    static SERVER: OnceLock<(Folder, Cluster)> = OnceLock::new();
    let (_, cluster) = SERVER.get_or_init(|| {
        let folder = Folder::new("bucardo-test").expect("a folder for the test server");
        let settings = Settings::default().set("max_connections", "500");
        let cluster = Cluster::start(folder.path(), "server", &settings)
            .unwrap_or_else(|error| panic!("the test server did not start: {error}"));
        (folder, cluster)
    });
    cluster
}
