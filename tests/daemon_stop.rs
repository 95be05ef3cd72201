//! A daemon that is asked to stop in the middle of its work: it ends within its grace, and leaves nothing behind.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::{Daemon, Town, Writer, assert_nothing_left, wait};

const ORDERS: &str = "CREATE TABLE orders (id int PRIMARY KEY, note text)";
const SOON: Duration = Duration::from_secs(30);
const GRACE: Duration = Duration::from_secs(2);
/// What comes on top of the grace: a second for cancelled work, a second for the last notices, and a busy machine.
const BEYOND: Duration = Duration::from_secs(6);

async fn town() -> Town {
    let mut town = Town::found(ORDERS).await;
    town.bucardo.configure(&format!("[schedule]\ngrace = \"{}s\"\ncancel_within = \"1s\"\n", GRACE.as_secs()));
    town.sync("");
    town
}

async fn assert_left_clean(town: &Town) {
    assert_nothing_left(&[&town.control, &town.a, &town.b, &town.c]).await;
    for file in ["bucardo.mcp.pid", "fullstopbucardo"] {
        assert!(!town.bucardo.home().join(file).exists(), "{file} is left");
    }
}

/// Again and again under load: each stop is clean, each start goes on where the one before ended.
#[tokio::test]
async fn a_stop_under_load_is_clean() {
    let town = town().await;
    let writer = Writer::start(&town.a);
    for _ in 0..3 {
        let mut daemon = town.daemon().await;
        town.moves("B", SOON).await;
        town.moves("C", SOON).await;
        let asked = Instant::now();
        daemon.signal(Signal::TERM);
        assert_eq!(daemon.ended(GRACE + BEYOND).await, 0, "{}", daemon.log());
        println!("a stop under load took {:?}", asked.elapsed());
        daemon.assert_quiet();
        assert_left_clean(&town).await;
    }
    writer.stop().await;
    let daemon = town.daemon().await;
    town.settle(SOON).await;
    daemon.stop().await;
}

/// A round that waits for a lock that nobody gives back has the grace, whoever asks for the stop, and no more.
#[tokio::test]
async fn a_round_that_hangs_does_not_hold_up_the_stop() {
    let town = town().await;
    hangs(&town, 1, |daemon| daemon.signal(Signal::TERM)).await;
    hangs(&town, 2, |_| drop(town.bucardo.run("stop"))).await;
    let next = town.daemon().await;
    town.settle(SOON).await;
    next.stop().await;
}

async fn hangs(town: &Town, id: u32, stop: impl FnOnce(&Daemon<'_>)) {
    let mut daemon = town.daemon().await;
    town.settle(SOON).await;
    let blocker = town.b.session().await;
    blocker.batch_execute("BEGIN; LOCK TABLE orders").await.unwrap();
    town.a.run(&format!("INSERT INTO orders VALUES ({id}, 'new')")).await;
    let hanging = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database() \
        AND application_name LIKE 'bucardo KID %'";
    wait::until_equal("a round that waits for the lock", SOON, &1, async || town.b.number(hanging).await).await;
    let asked = Instant::now();
    stop(&daemon);
    assert_eq!(daemon.ended(GRACE + BEYOND).await, 0, "{}", daemon.log());
    assert!(asked.elapsed() < GRACE + BEYOND, "it took {:?}", asked.elapsed());
    assert!(asked.elapsed() >= GRACE, "the round was given no time: {:?}", asked.elapsed());
    blocker.batch_execute("ROLLBACK").await.unwrap();
    assert_nothing_left(&[&town.control, &town.a, &town.b, &town.c]).await;
}
