//! Rows of many megabytes pass through the daemon in pieces: its memory does not grow with their width, nor with how
//! many of them are on their way at a time.

use std::time::Duration;

use crate::support::{Town, wait};

const SOON: Duration = Duration::from_secs(60);
const PEAK_KB_MAX: u64 = 60 * 1024;
const TABLE: &str = "CREATE TABLE wide (id int PRIMARY KEY, body text)";

/// Rows with these ids, of so many megabytes: quick to store, as they compress well, and long where they are sent.
fn rows(ids: std::ops::RangeInclusive<u32>, megabytes: u32) -> String {
    let (from, to) = (ids.start(), ids.end());
    format!("INSERT INTO wide SELECT n, repeat(md5(n::text), {megabytes} * 32768) FROM generate_series({from}, {to}) n")
}

/// Four workers copy rows of 1, 5 and 20 MB to two targets at the same time; then all of them change.
#[tokio::test]
async fn wide_rows_take_no_more_memory_than_narrow_ones_in_copies_and_rounds() {
    let mut town = Town::found(TABLE).await;
    for (ids, megabytes) in [(1..=12, 1), (101..=104, 5), (201..=204, 20)] {
        town.a.run(&rows(ids, megabytes)).await;
    }
    town.sync("onetimecopy=1");
    for setting in ["copy_atomic_mb=0", "copy_chunk_mb=1", "copy_workers=4"] {
        town.bucardo.run(&format!("set {setting}"));
    }
    let daemon = town.daemon().await;
    let done = "SELECT onetimecopy FROM bucardo.sync";
    wait::until_equal("both copies", SOON, &0, async || town.control.number(done).await).await;
    let after_copy = daemon.memory_kb("VmHWM");
    town.a.run("UPDATE wide SET body = 'x' || body WHERE id > 10").await;
    town.settle(SOON).await;
    let after_round = daemon.memory_kb("VmHWM");
    println!("peak of the daemon: {after_copy} kB after the copy, {after_round} kB after the round");
    assert!(after_copy < PEAK_KB_MAX, "{after_copy} kB after the copy");
    assert!(after_round < PEAK_KB_MAX, "{after_round} kB after the round");
    daemon.stop().await;
}

/// Two sources exchange wide rows, and a target gets all of them. There are enough changes for the way of a large merge.
#[tokio::test]
async fn wide_rows_take_no_more_memory_than_narrow_ones_in_merges() {
    let mut town = Town::found(TABLE).await;
    let ports = town.ports();
    town.sync_among(ports, "A:source,B:source,C:target", "conflict_strategy=bucardo_latest");
    for (database, first) in [(&town.a, 0), (&town.b, 5000)] {
        database
            .run(&format!("INSERT INTO wide SELECT n, 'narrow' FROM generate_series({first}, {first} + 1500) n"))
            .await;
        for (at, megabytes) in [(2001, 1), (2101, 5), (2201, 20)] {
            database.run(&rows(first + at..=first + at + 3, megabytes)).await;
        }
    }
    let daemon = town.daemon().await;
    let count = "SELECT count(*) FROM wide";
    for database in [&town.a, &town.b, &town.c] {
        wait::until_equal("all rows", SOON, &3026, async || database.number(count).await).await;
    }
    town.settle(SOON).await;
    let peak = daemon.memory_kb("VmHWM");
    println!("peak of the daemon: {peak} kB");
    assert!(peak < PEAK_KB_MAX, "{peak} kB");
    daemon.stop().await;
}
