//! Kicks of all syncs of a kind, and copies on request.

use std::time::Duration;

use crate::cli_lab::CliLab;
use crate::support::{Daemon, wait};

const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, note text)";

#[tokio::test]
async fn all_syncs_of_a_kind_are_kicked_in_the_words_of_version_4() {
    let lab = CliLab::start().await;
    let _dbs = (lab.db("A", TABLE).await, lab.db("B", TABLE).await);
    lab.bucardo.run("add sync deltas tables=t dbs=A:source,B:target");
    lab.bucardo.run("add sync both tables=t dbs=A:source,B:source");
    lab.bucardo.run("add sync copies tables=t dbs=A:source,B:fullcopy status=inactive");
    assert_eq!(lab.bucardo.run("kick all delta"), "Kicked sync deltas\n");
    assert_eq!(lab.bucardo.run("kick all swap"), "Kicked sync both\n");
    assert_eq!(lab.bucardo.run("kick all copy"), "Cannot kick inactive sync \"copies\"\n");
    assert_eq!(lab.bucardo.run("kick all active"), "Kicked sync both\nKicked sync deltas\n");
    let none = lab.refused(255, &["kick", "all", "copy", "active"]).await;
    assert!(none.starts_with("No matching syncs were found"), "{none}");
}

/// Rows that only a copy brings back, since nobody has changed them.
#[tokio::test]
async fn a_clone_copies_the_tables_of_a_sync_anew() {
    let lab = CliLab::start().await;
    let (a, b) = (lab.db("A", TABLE).await, lab.db("B", TABLE).await);
    assert_eq!(lab.bucardo.run("list clones"), "No clones have been created yet\n");
    lab.bucardo.run("add sync shop tables=t dbs=A,B");
    a.run("SET session_replication_role = replica; INSERT INTO t VALUES (1, 'old')").await;
    let unknown = lab.refused(255, &["clone", "shp"]).await;
    assert!(unknown.contains("did you mean \"shop\"?"), "{unknown}");
    assert_eq!(lab.call(&["clone", "dbgroup=other"]).code, 255);
    assert!(lab.bucardo.fails("clone").contains("bucardo clone SYNC"));
    let daemon = Daemon::start(&lab.bucardo).await;
    assert!(lab.bucardo.run("clone shop").starts_with("Clone 1 has been started. "));
    let within = Duration::from_secs(30);
    wait::until_equal("the copy", within, &vec!["1|old".to_owned()], async || b.rows("SELECT * FROM t").await).await;
    wait::until("the clone to be done", within, async || {
        let told = lab.bucardo.run("list clones");
        if told.starts_with("Clone #1  Status: done  Sync: shop  Started: ") { Ok(()) } else { Err(told) }
    })
    .await;
    daemon.stop().await;
}
