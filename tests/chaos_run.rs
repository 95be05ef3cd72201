//! Everything that can break does, at random, while applications write on: the daemon and its servers are killed and
//! held still, connections are cut and held up, a disk is full, the control database is away. Nobody helps. The test only
//! does what systemd does: it starts a daemon again that it has killed itself. Afterwards everything is equal, and the
//! log holds no warning that does not fit what was done.
//!
//! `BUCARDO_SEED` repeats the choices of a run (what they meet differs), `BUCARDO_CHAOS_SECONDS` is its length:
//! `make chaos`.

mod deeds;
mod diary;
mod disk;
mod load;
mod scene;

use std::time::{Duration, Instant};

use crate::merge_model::dice::Dice;
use crate::merge_model::number;
use crate::support::wait;

use deeds::{LONG_RUN, Mischief};
use diary::DISK_FULL;
use scene::{Scene, Stage};

const SECONDS: u64 = 8;
/// How long everything may take to be equal again, once nothing breaks any more.
const HEALED_WITHIN: Duration = Duration::from_secs(90);
/// A long run ends with so much load in peace, at whose end nothing may be complained of any more.
const PEACE: Duration = Duration::from_secs(45);
/// What each application commits at least: it waits 15 ms after each transaction, and its server is away at times.
const COMMITS_A_SECOND: u64 = 2;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_breaks_all_are_equal_afterwards() {
    let seed = number("BUCARDO_SEED", u64::from(std::process::id()));
    let lasts = Duration::from_secs(number("BUCARDO_CHAOS_SECONDS", SECONDS));
    eprintln!("BUCARDO_SEED={seed} BUCARDO_CHAOS_SECONDS={}", lasts.as_secs());
    let stage = Stage::build().await;
    let mut scene = Scene::open(&stage).await;
    let load = scene.load(seed);
    let mut mischief = Mischief::new(Dice::new(seed), lasts);
    mischief.play(&mut scene).await;
    scene.reconnect().await;
    let in_peace = if lasts > LONG_RUN { PEACE } else { Duration::ZERO };
    let (before, mended) = (load.commits(), Instant::now());
    wait::until("peace", PEACE * 2, async || {
        scene.look_after_daemon();
        if mended.elapsed() >= in_peace { Ok(()) } else { Err("not yet") }
    })
    .await;
    let commits = load.stop().await;
    eprintln!("{commits:?} commits, {before:?} of them amid {}", mischief.told());
    for (all, amid) in commits.iter().zip(&before) {
        assert!(*amid >= COMMITS_A_SECOND * lasts.as_secs(), "the load stood still amid the mischief: {before:?}");
        assert!(all - amid >= COMMITS_A_SECOND * in_peace.as_secs(), "the load stood still after it: {commits:?}");
    }
    mischief.assert_complete(scene.has_disk());

    wait::until("all to be equal", HEALED_WITHIN, async || {
        let differences = scene.differences().await;
        if differences.is_empty() { Ok(()) } else { Err(differences) }
    })
    .await;
    scene.look_after_daemon();
    scene.end_daemon().await;
    assert_eq!(scene.differences().await, Vec::<String>::new(), "after the end of the daemon");
    let log = scene.log();
    // In a short run rows that were deleted may have left enough room.
    let is_felt = lasts <= LONG_RUN || mischief.never_filled() || log.contains(DISK_FULL);
    assert!(is_felt, "the full disk was not felt:\n{log}");
    mischief.diary.assert_explains(&log);
}
