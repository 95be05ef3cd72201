//! A network that breaks, or falls silent, between the daemon and its databases.

use std::time::Duration;

use crate::support::{Proxy, Town, Writer, wait};

const ORDERS: &str = "CREATE TABLE orders (id int PRIMARY KEY, note text)";
const SOON: Duration = Duration::from_secs(60);
/// Silence is noticed by the limit on progress: quick here, so that the test is.
/// Silence is found in a round; a sync that hears nothing looks every second.
const QUICK: &str = "[schedule]\ncheck_every = \"1s\"\n[supervision.kid]\nping = { every = \"500ms\", within = \"1s\", missed_max = 3 }\nprogress = { within = \"2s\" }\n";

/// Cut in the middle of the load, for a moment and for longer: the daemon comes back by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_connection_is_made_again() {
    let mut town = Town::found(ORDERS).await;
    let (to_a, to_b) = (Proxy::to(town.a.port).await, Proxy::to(town.b.port).await);
    town.sync_through(to_a.port(), to_b.port(), "");
    let mut daemon = town.daemon().await;
    for word in ["round failed", "cannot listen"] {
        daemon.announce(word);
    }
    let writer = Writer::start(&town.a);
    for proxy in [&to_b, &to_a] {
        town.moves("B", SOON).await;
        proxy.cut_once();
        town.moves("B", Duration::from_secs(5)).await;
        proxy.cut();
        wait::until("a refused connection", SOON, async || {
            if daemon.log().contains("after=2s") { Ok(()) } else { Err("none yet") }
        })
        .await;
        proxy.open();
        town.moves("B", Duration::from_secs(15)).await;
        town.moves("C", Duration::from_secs(15)).await;
    }
    assert!(writer.stop().await > 50);
    town.settle(SOON).await;
    daemon.stop().await;
}

/// Nobody is told: bytes are just held back, in the middle of the load, and no end of the connection is ever seen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_falls_silent_is_given_up() {
    let mut town = Town::found(ORDERS).await;
    town.bucardo.configure(QUICK);
    let (to_a, to_b) = (Proxy::to(town.a.port).await, Proxy::to(town.b.port).await);
    town.sync_through(to_a.port(), to_b.port(), "");
    let mut daemon = town.daemon().await;
    for word in ["nothing moved for", "round failed", "cannot listen"] {
        daemon.announce(word);
    }
    let writer = Writer::start(&town.a);
    for (proxy, times) in [(&to_b, 1), (&to_a, 3)] {
        town.moves("B", SOON).await;
        proxy.stall();
        // The pair to B; then both pairs from A.
        wait::until("the silence to be noticed", Duration::from_secs(10), async || {
            let log = daemon.log();
            let seen = log.matches("KID ended in disorder").count();
            if seen >= times { Ok(()) } else { Err((seen, log)) }
        })
        .await;
        if std::ptr::eq(proxy, &to_b) {
            town.moves("C", Duration::from_secs(5)).await;
        }
        proxy.open();
        town.moves("B", Duration::from_secs(20)).await;
        town.moves("C", Duration::from_secs(20)).await;
    }
    assert!(writer.stop().await > 50);
    town.settle(SOON).await;
    daemon.stop().await;
}
