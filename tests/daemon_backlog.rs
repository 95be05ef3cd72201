//! A target that is away for long: the source is not slowed, the backlog is shown, and it is over when the target is
//! back. And what the policies of a queue do meanwhile.

use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::{Proxy, Town, server, wait};

const SOON: Duration = Duration::from_secs(60);

/// How long B is away: the hour, shortened.
const AWAY_SECONDS: &str = "6";
/// The part of its speed that the source has to keep while a target is away. (There is less to do then, so it is quicker
/// if anything; the rest is noise.)
const SLOWED_MIN: f64 = 0.75;

/// The quickest: what else a machine does only slows.
fn best(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}

/// pgbench's transactions per second on A, for so many seconds.
async fn tps(town: &Town, seconds: &str) -> f64 {
    let mut pgbench = server().client("pgbench");
    pgbench.args(["-c", "2", "-n", "-T", seconds]).arg(&town.a.name).stdout(Stdio::piped()).stderr(Stdio::null());
    let output = tokio::task::spawn_blocking(move || pgbench.output().unwrap()).await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find(|line| line.starts_with("tps = ")).unwrap_or_else(|| panic!("{text}"));
    line.split_whitespace().nth(2).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_was_away_under_load_is_caught_up_in_one_go() {
    let mut town = Town::found("").await;
    let mut pgbench = server().client("pgbench");
    pgbench.args(["-i", "-q", "-s", "1"]).arg(&town.a.name).stdout(Stdio::null()).stderr(Stdio::null());
    assert!(pgbench.status().unwrap().success());
    town.a.run("ALTER TABLE pgbench_history ADD id bigserial PRIMARY KEY").await;
    let schema = server().client("pg_dump").args(["--schema-only", "-d", &town.a.name]).output().unwrap();
    for target in [&town.b, &town.c] {
        server().sql(&target.name, std::str::from_utf8(&schema.stdout).unwrap()).unwrap();
    }
    let to_b = Proxy::to(town.b.port).await;
    town.sync_through(town.a.port, to_b.port(), "onetimecopy=1");
    town.bucardo.run("set vac_sleep=0.5 vac_keep=0");
    let mut daemon = town.daemon().await;
    daemon.announce("round failed");
    town.settle(SOON).await;

    // In turns, as whatever else this machine does must slow both alike; the last time away is the long one.
    let rounds = "SELECT round FROM bucardo.position WHERE sync = 's'";
    let (mut with, mut without) = (Vec::new(), Vec::new());
    let mut begun = (0, Instant::now());
    for seconds in ["2", "2", AWAY_SECONDS] {
        to_b.open();
        town.bucardo.run("kick s 0");
        town.caught_up(&["B", "C"], SOON).await;
        with.push(tps(&town, "2").await);
        town.caught_up(&["B", "C"], SOON).await;
        begun = (town.b.number(rounds).await, Instant::now());
        to_b.cut();
        without.push(tps(&town, seconds).await);
    }
    let (present, away) = (best(&with), best(&without));
    println!(
        "transactions per second: {present:.0} with both targets {with:.0?}, {away:.0} with one away {without:.0?}"
    );
    assert!(away > present * SLOWED_MIN, "the source is slowed: {with:?} with B, {without:?} without");
    town.caught_up(&["C"], SOON).await;
    let transactions = "SELECT count(*) FROM pgbench_history";
    let missed = town.a.number(transactions).await - town.b.number(transactions).await;
    assert!(missed > 200, "a backlog of {missed} transactions");

    // Age and size of the backlog, for people and for programs.
    let json: serde_json::Value = serde_json::from_str(&town.bucardo.run("status s --json")).unwrap();
    let targets = json["syncs"][0]["targets"].as_array().unwrap();
    let b = targets.iter().find(|target| target["target"] == "B").unwrap();
    // Each transaction changes one row of each of four tables; more than 10000 changes of a table are estimated.
    let waiting = b["waiting"].as_i64().unwrap();
    assert!((missed * 3..=missed * 5).contains(&waiting), "{missed} transactions: {b}");
    assert!(b["waiting_bytes"].as_i64().unwrap() > waiting * 20, "{b}");
    let (age, most) = (b["lag_seconds"].as_f64().unwrap(), begun.1.elapsed().as_secs_f64());
    let least = AWAY_SECONDS.parse::<f64>().unwrap();
    assert!((least - 1.0..most + 1.0).contains(&age), "the oldest is {least} to {most} s old: {b}");
    let status = town.bucardo.run("status s");
    let line = status.lines().find(|line| line.contains("A -> B")).unwrap();
    for words in [" waiting (", "B), lag ", "fails since", "next try"] {
        assert!(line.contains(words), "{words}: {line}");
    }
    println!("{line}");
    let kept = town.bucardo.run("delta A");
    assert!(!kept.contains("Total deltas across all targets: 0"), "{kept}");

    to_b.open();
    town.bucardo.run("kick s 0");
    town.caught_up(&["B", "C"], SOON).await;
    let went = town.b.number(rounds).await - begun.0;
    println!("{went} rounds for {waiting} changes");
    // One that found nothing may have been about to note its position when the network was cut.
    assert!((1..=2).contains(&went), "{went} rounds for what waited");
    town.assert_same().await;
    wait::until("the purge of what was kept", SOON, async || {
        let kept = town.bucardo.run("delta");
        if kept.starts_with("Total deltas across all targets: 0\n") { Ok(()) } else { Err(kept) }
    })
    .await;
    daemon.stop().await;
}

/// More waits than the budget allows: first that is only said; with another policy the source lets go of the target,
/// which is copied when it is back, and nothing is said any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_over_its_budget_is_told_of_and_let_go() {
    let mut town = Town::found("CREATE TABLE orders (id int PRIMARY KEY, note text)").await;
    let to_b = Proxy::to(town.b.port).await;
    town.sync_through(town.a.port, to_b.port(), "");
    town.bucardo.run("set vac_sleep=0.2 vac_keep=0 queue_rows_max=100");
    let mut daemon = town.daemon().await;
    daemon.announce("round failed");
    daemon.announce("than its budget allows");
    town.a.run("INSERT INTO orders SELECT n, 'first' FROM generate_series(1, 10) n").await;
    town.settle(SOON).await;
    to_b.cut();
    town.a.run("INSERT INTO orders SELECT n, 'away' FROM generate_series(11, 300) n").await;
    daemon.logs("keeps more changes for the target than its budget allows", SOON).await;
    let noted = "SELECT sync, target, changes, why, done IS NULL FROM bucardo.over_budget";
    let expected = vec!["s|B|290|these are more than 100 (queue_rows_max)|t".to_owned()];
    wait::until_equal("a note in the catalog", SOON, &expected, async || town.control.rows(noted).await).await;
    let status = town.bucardo.run("status");
    assert!(status.contains("Warning: sync s: A keeps 290 changes"), "{status}");
    let detail = town.bucardo.run("status s");
    assert!(detail.contains("Queue") && detail.contains("queue_rows_max"), "{detail}");

    town.bucardo.run("update db A queue_policy=copy");
    town.bucardo.run("reload");
    wait::until("the purge of what waited", SOON, async || {
        let kept = town.bucardo.run("delta");
        if kept.starts_with("Total deltas across all targets: 0\n") { Ok(()) } else { Err(kept) }
    })
    .await;
    let status = town.bucardo.run("status s");
    assert!(status.contains("given up: too much waited for it; it gets a copy"), "{status}");
    let done = "SELECT done FROM bucardo.over_budget";
    assert!(town.control.value(done).await.starts_with("given up"));

    to_b.open();
    town.bucardo.run("kick s 0");
    town.settle(SOON).await;
    town.a.run("UPDATE orders SET note = 'after' WHERE id = 5").await;
    town.settle(SOON).await;
    wait::until_equal("no note any more", SOON, &Vec::<String>::new(), async || town.control.rows(noted).await).await;
    daemon.stop().await;
}

/// Somebody has paused a sync on purpose: what waits for its targets meanwhile is told of, whatever the policy says, and
/// nothing is taken from them, also not in the moment when it is resumed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_of_a_paused_sync_is_not_given_up() {
    let mut town = Town::found("CREATE TABLE orders (id int PRIMARY KEY, note text)").await;
    town.sync("");
    town.bucardo.run("set vac_sleep=0.2 vac_keep=0 vac_run=0 queue_rows_max=100 queue_policy=copy");
    let mut daemon = town.daemon().await;
    daemon.announce("than its budget allows");
    town.a.run("INSERT INTO orders SELECT n, 'first' FROM generate_series(1, 10) n").await;
    town.settle(SOON).await;
    town.bucardo.run("pause s");
    let paused = "SELECT state FROM bucardo.state WHERE kind = 'sync'";
    wait::until_equal("the pause", SOON, &"paused".to_owned(), async || town.control.value(paused).await).await;
    town.a.run("INSERT INTO orders SELECT n, 'waits' FROM generate_series(11, 300) n").await;
    daemon.logs("it is not given up: its sync is paused (bucardo resume s)", SOON).await;
    let status = town.bucardo.run("status");
    assert!(status.contains("its sync is paused"), "{status}");
    assert!(!town.bucardo.run("delta").starts_with("Total deltas across all targets: 0\n"));
    // What goes on to wait for B is what is resumed: B is locked, so that several purges see that it lags.
    let lock = town.b.session().await;
    lock.batch_execute("BEGIN; LOCK TABLE orders").await.unwrap();
    town.bucardo.run("resume s");
    let purges = "SELECT count(*) FROM bucardo.over_budget WHERE done LIKE '%was paused until a while ago'";
    wait::until_equal("another look", SOON, &1, async || town.control.number(purges).await).await;
    lock.batch_execute("COMMIT").await.unwrap();
    town.settle(SOON).await;
    assert!(!daemon.log().contains("given up: too much"), "{}", daemon.log());
    let noted = "SELECT count(*) FROM bucardo.over_budget";
    wait::until_equal("no note any more", SOON, &0, async || town.control.number(noted).await).await;
    daemon.stop().await;
}
