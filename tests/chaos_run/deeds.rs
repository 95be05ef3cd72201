//! What is done to the scene, by the dice.

use std::collections::BTreeMap;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};

use super::diary::{Diary, Subject};
use super::scene::{DISK_OF, NAMES, Scene};
use crate::merge_model::dice::Dice;

/// The pause between two deeds, in milliseconds; what is broken overlaps.
const PAUSE: (i64, i64) = (100, 900);
/// How long something stays broken, in milliseconds.
const SHORT: (i64, i64) = (50, 2_500);
/// One of so many deeds lasts longer, in a run that does.
const LONG_EACH: usize = 12;
const LONG: (i64, i64) = (5_000, 20_000);
pub(super) const LONG_RUN: Duration = Duration::from_secs(60);
/// In a run of this length everything happens.
const WHOLE_RUN: Duration = Duration::from_secs(300);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What can be done.
const DAEMON: [&str; 3] = ["killed", "frozen", "stopped"];
const SERVER: [&str; 5] =
    ["server killed", "server shut down at once", "server stopped", "server frozen", "process killed"];
const NETWORK: [&str; 4] = ["connections cut", "network cut", "network held up", "network slow"];
const DISK: &str = "disk full";

/// How something that is broken is mended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mend {
    StartDaemon,
    ThawDaemon,
    StartServer(usize),
    ThawServer(usize),
    OpenNetwork(usize),
    FreeDisk,
}

/// Breaks things for a while.
pub(super) struct Mischief {
    pub(super) diary: Diary,
    dice: Dice,
    lasts: Duration,
    /// What is broken now, until when, and how it is mended.
    broken: Vec<(Subject, Instant, Mend)>,
    done: BTreeMap<(&'static str, &'static str), u32>,
    slowest_stop: Duration,
}

impl Mischief {
    pub(super) fn new(dice: Dice, lasts: Duration) -> Self {
        let (broken, done) = (Vec::new(), BTreeMap::new());
        Self { diary: Diary::default(), dice, lasts, broken, done, slowest_stop: Duration::ZERO }
    }

    /// Deeds until the time is up; then everything is mended.
    pub(super) async fn play(&mut self, scene: &mut Scene<'_>) {
        let ends = Instant::now() + self.lasts;
        while Instant::now() < ends {
            let next = Instant::now() + self.milliseconds(PAUSE);
            while Instant::now() < next {
                self.mend(scene, Instant::now());
                if !self.is_broken(Subject::Daemon) {
                    scene.look_after_daemon();
                }
                sleep(LOOK_EVERY).await;
            }
            self.act(scene).await;
        }
        self.mend(scene, Instant::now() + LONG_RUN);
    }

    /// Whether the disk stayed as it was.
    pub(super) fn never_filled(&self) -> bool {
        !self.done.contains_key(&(DISK, NAMES[DISK_OF]))
    }

    /// How often each deed was done.
    pub(super) fn told(&self) -> String {
        format!("{:?}; the slowest clean stop took {:?}", self.done, self.slowest_stop)
    }

    fn milliseconds(&mut self, (low, high): (i64, i64)) -> Duration {
        Duration::from_millis(self.dice.between(low, high).unsigned_abs())
    }

    fn is_broken(&self, subject: Subject) -> bool {
        self.broken.iter().any(|(broken, ..)| *broken == subject)
    }

    fn count(&mut self, deed: &'static str, to: &'static str) {
        *self.done.entry((deed, to)).or_default() += 1;
    }

    /// Panics when a run that is long enough has left something out.
    pub(super) fn assert_complete(&self, has_disk: bool) {
        if self.lasts < WHOLE_RUN {
            return;
        }
        let daemon = DAEMON.map(|deed| (deed, "daemon"));
        let others = SERVER.iter().chain(&NETWORK).flat_map(|deed| NAMES.map(|name| (*deed, name)));
        let disk = has_disk.then_some((DISK, NAMES[DISK_OF]));
        let missing: Vec<_> =
            daemon.into_iter().chain(others).chain(disk).filter(|deed| !self.done.contains_key(deed)).collect();
        assert!(missing.is_empty(), "never done: {missing:?}");
    }

    /// Mends what was broken for long enough.
    fn mend(&mut self, scene: &mut Scene<'_>, now: Instant) {
        let due: Vec<_> = self.broken.extract_if(.., |(_, until, _)| *until <= now).collect();
        for (subject, _, mend) in due {
            match mend {
                Mend::StartDaemon => scene.start_daemon(),
                Mend::ThawDaemon => scene.daemon.iter().for_each(|daemon| daemon.signal(Signal::CONT)),
                Mend::StartServer(place) => scene.clusters[place].start_again().unwrap(),
                Mend::ThawServer(place) => signal_all(&scene.clusters[place].processes(), Signal::CONT),
                Mend::OpenNetwork(place) => scene.proxies[place].open(),
                Mend::FreeDisk => scene.disk.iter().for_each(super::disk::Disk::free),
            }
            self.diary.ends(subject);
        }
    }

    fn break_for_a_while(&mut self, subject: Subject, mend: Mend) {
        let mut lasts = self.milliseconds(SHORT);
        if self.lasts > LONG_RUN && self.dice.below(LONG_EACH) == 0 {
            lasts = self.milliseconds(LONG);
        }
        self.broken.push((subject, Instant::now() + lasts, mend));
    }

    /// One deed, to something that is whole.
    async fn act(&mut self, scene: &mut Scene<'_>) {
        let place = self.dice.below(NAMES.len());
        let subject = match self.dice.below(100) {
            0..20 => Subject::Daemon,
            20..60 => Subject::Server(place),
            60..90 => Subject::Network(place),
            _ => Subject::Disk(DISK_OF),
        };
        let is_away = |subject| matches!(subject, Subject::Disk(place) if self.is_broken(Subject::Server(place)));
        if self.is_broken(subject) || is_away(subject) {
            return;
        }
        self.diary.begins(subject);
        match subject {
            Subject::Daemon => self.harm_daemon(scene).await,
            Subject::Server(place) => self.harm_server(scene, place),
            Subject::Network(place) => self.harm_network(scene, place),
            Subject::Disk(_) => {
                let Some(disk) = &scene.disk else { return };
                disk.fill();
                self.count(DISK, NAMES[DISK_OF]);
                self.break_for_a_while(subject, Mend::FreeDisk);
            }
        }
        if !self.is_broken(subject) {
            self.diary.ends(subject);
        }
    }

    async fn harm_daemon(&mut self, scene: &mut Scene<'_>) {
        match self.dice.below(5) {
            0 | 1 => {
                if let Some(daemon) = scene.daemon.take() {
                    daemon.kill();
                }
                self.count(DAEMON[0], "daemon");
                self.break_for_a_while(Subject::Daemon, Mend::StartDaemon);
            }
            2 | 3 => {
                scene.daemon.iter().for_each(|daemon| daemon.signal(Signal::STOP));
                self.count(DAEMON[1], "daemon");
                self.break_for_a_while(Subject::Daemon, Mend::ThawDaemon);
            }
            _ => {
                let took = scene.end_daemon().await;
                self.slowest_stop = self.slowest_stop.max(took);
                self.count(DAEMON[2], "daemon");
                self.break_for_a_while(Subject::Daemon, Mend::StartDaemon);
            }
        }
    }

    fn harm_server(&mut self, scene: &mut Scene<'_>, place: usize) {
        let (subject, cluster) = (Subject::Server(place), &mut scene.clusters[place]);
        match self.dice.below(6) {
            0 => {
                cluster.kill_hard().unwrap();
                self.count(SERVER[0], NAMES[place]);
                self.break_for_a_while(subject, Mend::StartServer(place));
            }
            1 => {
                cluster.stop_immediately().unwrap();
                self.count(SERVER[1], NAMES[place]);
                self.break_for_a_while(subject, Mend::StartServer(place));
            }
            2 => {
                cluster.stop().unwrap();
                self.count(SERVER[2], NAMES[place]);
                self.break_for_a_while(subject, Mend::StartServer(place));
            }
            3 | 4 => {
                signal_all(&cluster.processes(), Signal::STOP);
                self.count(SERVER[3], NAMES[place]);
                self.break_for_a_while(subject, Mend::ThawServer(place));
            }
            _ => {
                // The postmaster ends all others then, and recovers by itself.
                let processes = cluster.processes();
                let backends = processes.get(1..).unwrap_or_default();
                if !backends.is_empty() {
                    signal_all(&[backends[self.dice.below(backends.len())]], Signal::KILL);
                    self.count(SERVER[4], NAMES[place]);
                }
            }
        }
    }

    fn harm_network(&mut self, scene: &mut Scene<'_>, place: usize) {
        let (subject, proxy) = (Subject::Network(place), &scene.proxies[place]);
        match self.dice.below(NETWORK.len()) {
            0 => {
                proxy.cut_once();
                self.count(NETWORK[0], NAMES[place]);
            }
            1 => {
                proxy.cut();
                self.count(NETWORK[1], NAMES[place]);
                self.break_for_a_while(subject, Mend::OpenNetwork(place));
            }
            2 => {
                proxy.stall();
                self.count(NETWORK[2], NAMES[place]);
                self.break_for_a_while(subject, Mend::OpenNetwork(place));
            }
            _ => {
                proxy.slow();
                self.count(NETWORK[3], NAMES[place]);
                self.break_for_a_while(subject, Mend::OpenNetwork(place));
            }
        }
    }
}

/// A process may have ended since it was seen.
fn signal_all(pids: &[i32], signal: Signal) {
    for pid in pids.iter().filter_map(|pid| Pid::from_raw(*pid)) {
        let _ = kill_process(pid, signal);
    }
}
