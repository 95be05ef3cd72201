//! Servers that are restarted, killed and away while a daemon replicates between them: it recovers by itself.

use std::thread;
use std::time::{Duration, Instant};

use bucardo::lab::{Cluster, Folder, Settings};
use serde_json::Value;

use crate::support::{Database, Town, Writer, wait};

const ORDERS: &str = "CREATE TABLE orders (id int PRIMARY KEY, note text)";
const SOON: Duration = Duration::from_secs(60);
/// What a change may take to a target that is well, on a busy machine, with a program that is not optimised.
const LATENCY_MAX: Duration = Duration::from_secs(2);

/// A control cluster, and those of A and B; C is on B's neighbour. All have files of their own.
struct Clusters {
    control: Cluster,
    a: Cluster,
    b: Cluster,
    c: Cluster,
    _folder: Folder,
}

impl Clusters {
    fn start() -> Self {
        let folder = Folder::new("bucardo-test").unwrap();
        let path = folder.path();
        let settings = Settings::default().set("max_connections", "40").set("shared_buffers", "16MB");
        let [control, a, b, c] = thread::scope(|scope| {
            let threads =
                ["control", "a", "b", "c"].map(|name| scope.spawn(|| Cluster::start(path, name, &settings).unwrap()));
            threads.map(|thread| thread.join().unwrap())
        });
        Self { control, a, b, c, _folder: folder }
    }

    async fn town(&self) -> Town {
        let mut town = Town::found_on([&self.control, &self.a, &self.b, &self.c], ORDERS).await;
        town.sync("");
        town
    }
}

/// Changes written from now on get to `target`.
async fn arrives(source: &Database, target: &Database, mark: i32, within: Duration) {
    let source = source.session().await;
    source.batch_execute(&format!("INSERT INTO orders VALUES ({mark}, 'mark')")).await.unwrap();
    let target = target.session().await;
    wait::until(&format!("mark {mark}"), within, async || {
        let row = target.query_opt("SELECT FROM orders WHERE id = $1", &[&mark]).await.unwrap();
        row.ok_or("not yet")
    })
    .await;
}

/// Each server once stopped in order and started, and once killed, while an application writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_server_may_be_restarted_and_killed() {
    let mut clusters = Clusters::start();
    let mut town = clusters.town().await;
    let mut daemon = town.daemon().await;
    for word in [
        "round failed",
        "cannot listen",
        "hold on the control database",
        "cannot purge",
        "purge failed",
        "the run history is lost",
    ] {
        daemon.announce(word);
    }
    let mut mark = -1;
    let writer = Writer::start(&town.a);
    for kill in [false, true] {
        for which in ["b", "a", "control"] {
            let cluster = match which {
                "control" => &mut clusters.control,
                "a" => &mut clusters.a,
                _ => &mut clusters.b,
            };
            let before = writer.commits();
            if kill {
                cluster.kill_hard().unwrap();
                cluster.start_again().unwrap();
            } else {
                cluster.restart().unwrap();
            }
            wait::until("further commits", SOON, async || {
                let now = writer.commits();
                if now > before + 5 { Ok(()) } else { Err(now) }
            })
            .await;
            for target in [&town.b, &town.c] {
                arrives(&town.a, target, mark, Duration::from_secs(15)).await;
                mark -= 1;
            }
        }
    }
    assert!(writer.stop().await > 50);
    let bucardo = &town.bucardo;
    wait::until("an answer to a ping", SOON, async || {
        let answer = bucardo.call(&["ping", "2"]);
        if answer.code == 0 { Ok(()) } else { Err(answer) }
    })
    .await;
    let log = daemon.log();
    assert!(!log.contains("KID is stalled"), "{log}");
    town.caught_up(&["B", "C"], SOON).await;
    daemon.stop().await;
    town.reconnect().await;
    town.assert_same().await;
}

/// A target is down for a while: the other one does not feel it, `status` says what is the matter, and when the
/// target is back it catches up without anyone's help.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_is_down_holds_up_nobody() {
    let mut clusters = Clusters::start();
    let mut town = clusters.town().await;
    let mut daemon = town.daemon().await;
    daemon.announce("round failed");
    let writer = Writer::start(&town.a);
    arrives(&town.a, &town.b, -1, SOON).await;
    clusters.b.stop().unwrap();
    let down = Instant::now();
    let mut slowest = Duration::ZERO;
    let mut mark = -10;
    while down.elapsed() < Duration::from_secs(10) {
        let began = Instant::now();
        arrives(&town.a, &town.c, mark, LATENCY_MAX).await;
        slowest = slowest.max(began.elapsed());
        mark -= 1;
    }
    println!("with B down, the slowest of {} changes took {slowest:?} to C", -10 - mark);
    let status: Value = serde_json::from_str(&town.bucardo.run("status s --json")).unwrap();
    let sync = &status["syncs"][0];
    let of = |name: &str| sync["targets"].as_array().unwrap().iter().find(|target| target["target"] == name).unwrap();
    assert_eq!(sync["state"], "Bad", "{status:#}");
    assert!(of("B")["waiting"].as_i64().unwrap() > 100, "{status:#}");
    assert!(of("B")["lag_seconds"].as_f64().unwrap() > 8.0, "{status:#}");
    assert!(of("B")["trouble"]["failures"].as_i64().unwrap() >= 3, "{status:#}");
    assert!(of("C")["lag_seconds"].as_f64().unwrap_or(0.0) < LATENCY_MAX.as_secs_f64(), "{status:#}");
    assert!(of("C")["trouble"].is_null(), "{status:#}");
    let text = town.bucardo.run("status s");
    let line = text.lines().find(|line| line.contains("A -> B")).unwrap();
    for word in ["fails since", "next try", "cannot connect to database \"B\"", "Connection refused"] {
        assert!(line.contains(word), "{word}: {line}");
    }
    clusters.b.start_again().unwrap();
    arrives(&town.a, &town.b, mark, Duration::from_secs(40)).await;
    let bucardo = &town.bucardo;
    wait::until("a good state", SOON, async || {
        let text = bucardo.run("status s");
        if text.contains("Current state            : Good") && !text.contains("fails since") {
            Ok(())
        } else {
            Err(text)
        }
    })
    .await;
    assert!(writer.stop().await > 100);
    town.caught_up(&["B", "C"], SOON).await;
    daemon.stop().await;
    town.reconnect().await;
    town.assert_same().await;
}
