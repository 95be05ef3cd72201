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

use std::time::Duration;

use crate::merge_model::dice::Dice;
use crate::merge_model::number;
use crate::support::wait;

use deeds::Mischief;
use scene::{Scene, Stage};

const SECONDS: u64 = 8;
/// How long everything may take to be equal again, once nothing breaks any more.
const HEALED_WITHIN: Duration = Duration::from_secs(90);

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
    let commits = load.stop().await;
    eprintln!("{commits} commits, {}", mischief.told());
    assert!(commits > 10, "the load stood still: {commits} commits");

    scene.reconnect().await;
    wait::until("all to be equal", HEALED_WITHIN, async || {
        let differences = scene.differences().await;
        if differences.is_empty() { Ok(()) } else { Err(differences) }
    })
    .await;
    scene.look_after_daemon();
    scene.end_daemon().await;
    assert_eq!(scene.differences().await, Vec::<String>::new(), "after the end of the daemon");
    mischief.diary.assert_explains(&scene.log());
}
