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
const LONG_RUN: Duration = Duration::from_secs(60);
/// A daemon that starts gives up when it gets no answer from the control database for fifteen seconds.
const CONTROL_AWAY_MAX: i64 = 8_000;
const LOOK_EVERY: Duration = Duration::from_millis(20);

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
    done: BTreeMap<&'static str, u32>,
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

    fn count(&mut self, deed: &'static str) {
        *self.done.entry(deed).or_default() += 1;
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
        if matches!(subject, Subject::Server(0) | Subject::Network(0)) {
            lasts = lasts.min(Duration::from_millis(CONTROL_AWAY_MAX.unsigned_abs()));
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
                self.count("disk full");
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
                self.count("daemon killed");
                self.break_for_a_while(Subject::Daemon, Mend::StartDaemon);
            }
            2 | 3 => {
                scene.daemon.iter().for_each(|daemon| daemon.signal(Signal::STOP));
                self.count("daemon frozen");
                self.break_for_a_while(Subject::Daemon, Mend::ThawDaemon);
            }
            _ => {
                let took = scene.end_daemon().await;
                self.slowest_stop = self.slowest_stop.max(took);
                self.count("daemon stopped");
                self.break_for_a_while(Subject::Daemon, Mend::StartDaemon);
            }
        }
    }

    fn harm_server(&mut self, scene: &mut Scene<'_>, place: usize) {
        let (subject, cluster) = (Subject::Server(place), &mut scene.clusters[place]);
        match self.dice.below(6) {
            0 => {
                cluster.kill_hard().unwrap();
                self.count("server killed");
                self.break_for_a_while(subject, Mend::StartServer(place));
            }
            1 => {
                cluster.stop_immediately().unwrap();
                self.count("server shut down at once");
                self.break_for_a_while(subject, Mend::StartServer(place));
            }
            2 => {
                cluster.stop().unwrap();
                self.count("server stopped");
                self.break_for_a_while(subject, Mend::StartServer(place));
            }
            3 | 4 => {
                signal_all(&cluster.processes(), Signal::STOP);
                self.count("server frozen");
                self.break_for_a_while(subject, Mend::ThawServer(place));
            }
            _ => {
                // The postmaster ends all others then, and recovers by itself.
                let processes = cluster.processes();
                let backends = processes.get(1..).unwrap_or_default();
                if !backends.is_empty() {
                    signal_all(&[backends[self.dice.below(backends.len())]], Signal::KILL);
                    self.count("process of a server killed");
                }
            }
        }
    }

    fn harm_network(&mut self, scene: &mut Scene<'_>, place: usize) {
        let (subject, proxy) = (Subject::Network(place), &scene.proxies[place]);
        match self.dice.below(3) {
            0 => {
                proxy.cut_once();
                self.count("connections cut");
            }
            1 => {
                proxy.cut();
                self.count("network cut");
                self.break_for_a_while(subject, Mend::OpenNetwork(place));
            }
            _ => {
                proxy.stall();
                self.count("network held up");
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
