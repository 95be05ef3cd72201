//! The throwaway clusters themselves: what the other tests stand on.

use std::time::Duration;

use bucardo::lab::{Cluster, Folder, Settings};
use tokio::time::timeout;

use crate::support::{Proxy, assert_same, difference, fresh_database, server, wait};

/// The daemon's tests restart and kill servers; what was committed must be there again, on the same port.
#[test]
fn a_cluster_survives_restart_and_hard_kill() {
    let folder = Folder::new("bucardo-test").unwrap();
    let settings = Settings::default().set("cluster_name", "it's").set("fsync", "on");
    let mut cluster = Cluster::start(folder.path(), "a", &settings).unwrap();
    assert_eq!(cluster.sql("postgres", "SHOW cluster_name").unwrap(), "it's");
    cluster.sql("postgres", "CREATE TABLE t AS SELECT 42 AS id").unwrap();
    let port = cluster.port();

    cluster.restart().unwrap();
    assert_eq!(cluster.sql("postgres", "SELECT id FROM t").unwrap(), "42");
    cluster.kill_hard().unwrap();
    assert!(cluster.sql("postgres", "SELECT 1").is_err());
    cluster.start_again().unwrap();
    assert_eq!(cluster.sql("postgres", "SELECT id FROM t").unwrap(), "42");
    assert_eq!(cluster.port(), port);
}

/// A test that panics, or is killed, must leave neither a server nor its files behind.
#[test]
fn a_dropped_cluster_leaves_nothing() {
    let folder = Folder::new("bucardo-test").unwrap();
    let cluster = Cluster::start(folder.path(), "a", &Settings::default()).unwrap();
    let process = format!("/proc/{}", cluster.pid().unwrap());
    let files = cluster.folder().to_owned();
    assert!(std::path::Path::new(&process).exists());
    drop(cluster);
    assert!(!std::path::Path::new(&process).exists());
    assert!(!files.exists());
}

/// A statement that the server refuses says why.
#[test]
fn a_refused_statement_is_told() {
    let error = server().sql("postgres", "SELECT nonsense").unwrap_err();
    assert!(error.to_string().contains("column \"nonsense\" does not exist"), "{error}");
}

/// A wait that ends without success names what it last saw.
#[tokio::test]
#[should_panic(expected = "waited 30ms for an even number; last seen: 7")]
async fn a_wait_in_vain_says_what_it_saw() {
    wait::until("an even number", Duration::from_millis(30), async || Err::<(), _>(7)).await;
}

/// Tests end with a comparison of contents: it must see a changed value, and not the order of rows or columns.
#[tokio::test]
async fn a_comparison_sees_contents() {
    let (a, b) = (fresh_database("compare").await, fresh_database("compare").await);
    a.run("CREATE TABLE t (id int, note text); INSERT INTO t VALUES (1, 'one'), (2, NULL)").await;
    b.run("CREATE TABLE t (note text, id int); INSERT INTO t VALUES (NULL, 2), ('one', 1)").await;
    assert_same("t", &[&a, &b]).await;
    b.run("UPDATE t SET note = 'changed' WHERE id = 1").await;
    let difference = difference(&a, &b, "t").await.unwrap();
    assert!(difference.contains("(1,one)") && difference.contains("(1,changed)"), "{difference}");
}

/// The network of the tests can hold bytes back, and break, and heal.
#[tokio::test]
async fn a_proxy_stalls_cuts_and_heals() {
    let database = fresh_database("proxy").await;
    let proxy = Proxy::to(database.port).await;
    let words = database.words_through(proxy.port());
    let connect = async || tokio_postgres::connect(&words, tokio_postgres::NoTls).await;

    let (client, connection) = connect().await.unwrap();
    tokio::spawn(connection);
    client.simple_query("SELECT 1").await.unwrap();

    proxy.stall();
    let held_back = client.simple_query("SELECT 2");
    tokio::pin!(held_back);
    assert!(timeout(Duration::from_millis(100), &mut held_back).await.is_err());
    proxy.open();
    held_back.await.unwrap();

    proxy.cut();
    wait::until("a broken connection", Duration::from_secs(5), async || {
        client.simple_query("SELECT 3").await.err().ok_or("it holds")
    })
    .await;
    assert!(connect().await.is_err());
    proxy.open();
    assert!(connect().await.is_ok());
}
