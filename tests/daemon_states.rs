//! How things are, as whoever reads the control database sees it: in `status`, in SQL, with a daemon and without.

use std::time::Duration;

use serde_json::Value;

use crate::support::{Town, wait};

const ORDERS: &str = "CREATE TABLE orders (id int PRIMARY KEY, note text)";
const SOON: Duration = Duration::from_secs(30);

fn states(town: &Town) -> Value {
    serde_json::from_str(&town.bucardo.run("status --json")).unwrap()
}

async fn until_state(town: &Town, wanted: &str) -> Value {
    wait::until(&format!("sync s is {wanted}"), SOON, async || {
        let live = states(town)["syncs"][0]["live"].clone();
        if live["state"] == wanted { Ok(live) } else { Err(live) }
    })
    .await
}

/// A sync goes through its states, and each is told with why and what next.
#[tokio::test]
async fn every_state_is_told_as_it_is() {
    let mut town = Town::found(ORDERS).await;
    town.sync("");
    assert_eq!(states(&town)["syncs"][0]["live"]["why"], "the daemon does not run");
    let mut daemon = town.daemon().await;
    until_state(&town, "idle").await;
    let view = "SELECT count(*) FROM bucardo.state WHERE kind = 'db' AND state = 'active'";
    wait::until_equal("three databases", SOON, &3, async || town.control.number(view).await).await;

    town.bucardo.run("pause s");
    until_state(&town, "paused").await;
    assert!(town.bucardo.run("status").contains("s: paused since"), "{}", town.bucardo.run("status"));
    town.bucardo.run("resume s");
    until_state(&town, "idle").await;

    // Somebody locks a table of B: the round that waits there is one that runs.
    let lock = town.b.session().await;
    lock.batch_execute("BEGIN; LOCK TABLE orders").await.unwrap();
    town.a.run("INSERT INTO orders VALUES (1, 'new')").await;
    let running = until_state(&town, "running").await;
    assert!(running["since"].is_string(), "{running}");
    let holder = town
        .b
        .number(
            "SELECT pid FROM pg_locks WHERE relation = 'orders'::regclass AND mode = 'AccessExclusiveLock' AND granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
        )
        .await;
    wait::until("the one who holds the lock", SOON, async || {
        let told = town.bucardo.run("status s");
        if told.contains(&format!("; waits for a lock of backend PID {holder} (role ")) { Ok(()) } else { Err(told) }
    })
    .await;
    lock.batch_execute("COMMIT").await.unwrap();
    until_state(&town, "idle").await;

    daemon.announce("stalled");
    town.b.run("ALTER TABLE bucardo.position RENAME TO elsewhere").await;
    town.a.run("INSERT INTO orders VALUES (2, 'new')").await;
    let stalled = until_state(&town, "stalled").await;
    assert!(stalled["why"].as_str().unwrap().contains("position"), "{stalled}");
    assert!(stalled["hint"].as_str().unwrap().contains("bucardo validate s"), "{stalled}");
    let all = states(&town);
    let sick = town.bucardo.call(&["doctor", "s"]);
    assert!(sick.code == 1 && sick.stdout.contains("PROBLEM: A -> B: stalled since "), "{sick:?}");
    let target =
        |name: &str| all["syncs"][0]["targets"].as_array().unwrap().iter().find(|it| it["target"] == name).unwrap();
    assert_eq!(target("B")["live"]["state"], "stalled");
    assert!(target("B")["live"]["next_try"].is_string());
    assert_eq!(target("C")["live"]["state"], "idle", "the other target goes on");
    town.b.run("ALTER TABLE bucardo.elsewhere RENAME TO position").await;
    town.bucardo.run("kick s 20");
    until_state(&town, "idle").await;

    assert_eq!(town.bucardo.run("deactivate s 0"), "Deactivating sync s...OK\n");
    until_state(&town, "inactive").await;
    assert_eq!(town.bucardo.run("activate s 20"), "Activating sync s...OK\n");
    until_state(&town, "idle").await;

    // The control database lets nobody in for a while: the daemon waits for it, and says what to do.
    daemon.announce("control database");
    let control = &town.control.name;
    town.a.run(&format!("ALTER DATABASE \"{control}\" ALLOW_CONNECTIONS false")).await;
    let cut =
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'bucardo %' AND datname = ";
    town.a.run(&format!("{cut}'{control}'")).await;
    daemon.logs("the control database lets this daemon in no more", SOON).await;
    let log = daemon.log();
    assert!(log.contains("ALLOW_CONNECTIONS true") && daemon.has_ended().is_none(), "{log}");
    town.a.run(&format!("ALTER DATABASE \"{control}\" ALLOW_CONNECTIONS true")).await;
    daemon.logs("hold on the control database is back", SOON).await;
    until_state(&town, "idle").await;
    daemon.assert_quiet();

    // The daemon is killed, and what it has shown last is no longer so.
    daemon.kill();
    let view = "SELECT string_agg(DISTINCT state, ' ') FROM bucardo.state";
    wait::until_equal("all is down", SOON, &"down".to_owned(), async || town.control.value(view).await).await;
    let down = until_state(&town, "down").await;
    assert_eq!(down["why"], "the daemon does not run");
    assert!(town.bucardo.run("status s").contains("down: the daemon does not run (bucardo start)"));
    let table = town.bucardo.run("status");
    assert!(table.ends_with("The daemon does not run: nothing is replicated (bucardo start)\n"), "{table}");
    assert!(town.bucardo.run("doctor").contains("the daemon does not run"));
}

/// Whoever listens hears what becomes of a sync, and gets an answer from every actor, in both styles.
#[tokio::test]
async fn everybody_is_heard_in_both_styles() {
    let mut town = Town::found(ORDERS).await;
    town.sync("");
    town.control.run("UPDATE bucardo.bucardo_config SET setting = '1' WHERE name = 'audit_pid'").await;
    let daemon = town.daemon().await;
    until_state(&town, "idle").await;
    let id = async |what: &str| town.control.number(&format!("SELECT id FROM bucardo.state WHERE {what}")).await;
    let ctl = id("kind = 'sync'").await;
    let kid = id("kind = 'kid' AND db = 'B'").await;
    let access = bucardo::pg::Access::parse(&town.control.conninfo()).unwrap();
    let mut listener = bucardo::pg::connect(&access, "test").await.unwrap();
    let mut heard = listener.notifications().unwrap();
    let channels = [
        "bucardo",
        "bucardo_ctl",
        "bucardo_kid",
        "bucardo_mcp_pong",
        "bucardo_vac_pong",
        "bucardo_syncdone_s",
        "bucardo_paused_sync_s",
        "bucardo_resumed_sync_s",
        "bucardo_deactivated_sync_s",
        "bucardo_activated_sync_s",
        "bucardo_reloaded_sync_s",
        "bucardo_reloaded_mcp",
        "bucardo_reload_config_finished",
        "bucardo_syncdone_s_B",
        "bucardo_validated_sync_s",
    ]
    .map(str::to_owned);
    let pongs = [format!("bucardo_ctl_{ctl}_pong"), format!("bucardo_kid_{kid}_pong")];
    for channel in channels.iter().chain(&pongs) {
        listener.batch_execute(&format!("LISTEN \"{channel}\"")).await.unwrap();
    }
    let own = |word: &str| (format!("bucardo_{word}"), String::new());
    let payload = |word: &str| ("bucardo".to_owned(), word.to_owned());
    let both = |word: &str| vec![own(word), payload(word)];
    let role = |role: &str, id: i64| {
        vec![own(&format!("{role}_{id}_pong")), (format!("bucardo_{role}"), format!("{id}_pong"))]
    };
    for (said, wanted) in [
        ("NOTIFY bucardo_mcp_ping".to_owned(), both("mcp_pong")),
        ("NOTIFY bucardo, 'mcp_ping'".to_owned(), both("mcp_pong")),
        ("NOTIFY bucardo_vac_ping".to_owned(), both("vac_pong")),
        (format!("NOTIFY bucardo_ctl_{ctl}_ping"), role("ctl", ctl)),
        (format!("NOTIFY bucardo_ctl, '{ctl}_ping'"), role("ctl", ctl)),
        (format!("NOTIFY bucardo_kid_{kid}_ping"), role("kid", kid)),
        (format!("NOTIFY bucardo_kid, '{kid}_ping'"), role("kid", kid)),
        // A run that finds nothing is a run.
        ("NOTIFY bucardo_kick_sync_s".to_owned(), both("syncdone_s")),
        ("NOTIFY bucardo, 'kick_sync_s'".to_owned(), both("syncdone_s")),
        // Version 4 told of each target.
        ("NOTIFY bucardo_kick_sync_s".to_owned(), both("syncdone_s_B")),
        ("NOTIFY bucardo_ctl_kick_s".to_owned(), both("syncdone_s")),
        ("NOTIFY bucardo_ctl, 'kick_s'".to_owned(), both("syncdone_s")),
        // Who works with a database that somebody found dead looks; this one is well.
        ("NOTIFY \"bucardo_dead_db_B\"".to_owned(), both("syncdone_s")),
        ("NOTIFY bucardo_pause_sync_s".to_owned(), both("paused_sync_s")),
        ("NOTIFY bucardo, 'resume_sync_s'".to_owned(), both("resumed_sync_s")),
        ("NOTIFY bucardo, 'deactivate_sync_s'".to_owned(), both("deactivated_sync_s")),
        ("NOTIFY bucardo_activate_sync_s".to_owned(), both("activated_sync_s")),
        ("NOTIFY bucardo_reload_sync_s".to_owned(), both("reloaded_sync_s")),
        ("NOTIFY bucardo_mcp_reload".to_owned(), both("reloaded_mcp")),
        ("NOTIFY bucardo_reload_config".to_owned(), both("reload_config_finished")),
    ] {
        town.control.run(&said).await;
        for answer in wanted {
            let waited = async {
                while let Some(notification) = heard.recv().await {
                    if (notification.channel(), notification.payload()) == (&*answer.0, &*answer.1) {
                        return;
                    }
                }
            };
            tokio::time::timeout(SOON, waited).await.unwrap_or_else(|_| panic!("{said}: no {answer:?}"));
        }
    }
    town.bucardo.run("validate s");
    for answer in both("validated_sync_s") {
        let next = async {
            while let Some(notification) = heard.recv().await {
                if (notification.channel(), notification.payload()) == (&*answer.0, &*answer.1) {
                    return;
                }
            }
        };
        tokio::time::timeout(SOON, next).await.unwrap_or_else(|_| panic!("no {answer:?}"));
    }
    town.control.run("NOTIFY bucardo_stop_vac").await;
    daemon.logs("VAC is stopped", SOON).await;
    let vac = "SELECT state FROM bucardo.state WHERE kind = 'vac'";
    wait::until_equal("the VAC is down", SOON, &"down".to_owned(), async || town.control.value(vac).await).await;
    wait::until_equal("the VAC is back", SOON, &"idle".to_owned(), async || town.control.value(vac).await).await;
    daemon.stop().await;
    let lives = "SELECT string_agg(DISTINCT type, ' ' ORDER BY type) FROM bucardo.audit_pid \
                 WHERE killdate >= birthdate AND familyid IS NOT NULL OR type = 'MCP'";
    assert_eq!(town.control.value(lives).await, "CTL KID MCP VAC");
    assert_eq!(town.control.number("SELECT count(*) FROM bucardo.audit_pid WHERE killdate IS NULL").await, 0);
}

/// What an operator wants of a sync is noted without a daemon, too; a pause needs one.
#[tokio::test]
async fn syncs_are_activated_without_a_daemon() {
    let mut town = Town::found(ORDERS).await;
    town.sync("");
    assert_eq!(town.bucardo.run("deactivate s 0"), "Deactivating sync s...noted; the daemon does not run\n");
    assert_eq!(town.control.value("SELECT status FROM bucardo.sync").await, "inactive");
    assert_eq!(town.bucardo.run("activate s"), "Activating sync s\n");
    assert_eq!(town.control.value("SELECT status FROM bucardo.sync").await, "active");
    let paused = town.bucardo.call(&["pause", "s"]);
    assert_eq!(paused.code, 3, "{paused:?}");
    town.bucardo.run("deactivate s");
    let refused = town.bucardo.call(&["pause", "s"]);
    assert!(
        refused.code == 1 && refused.stderr.contains("unless it is active (currently \"inactive\")"),
        "{refused:?}"
    );
    assert!(town.bucardo.call(&["activate", "nobody"]).failed().contains("nobody"));
    assert!(town.bucardo.call(&["resume"]).failed().contains("bucardo resume"));
}

/// A setting of former versions is accepted; that it has no effect is told when it is set, and once in the log.
#[tokio::test]
async fn settings_without_effect_are_told_of_once() {
    let mut town = Town::found(ORDERS).await;
    town.sync("");
    let set = town.bucardo.call(&["set", "kid_sleep=3", "kid_restart_sleep=2"]);
    assert!(set.code == 0 && set.stderr.contains("Setting \"kid_sleep\" has no effect"), "{set:?}");
    assert!(!set.stderr.contains("kid_restart_sleep"), "{set:?}");
    let mut daemon = town.daemon().await;
    daemon.announce("setting \"kid_sleep\" has no effect");
    town.bucardo.run("reload config");
    town.bucardo.run("reload config");
    assert_eq!(daemon.log().matches("kid_sleep").count(), 1, "{}", daemon.log());

    // The other one has its effect.
    daemon.announce("after=2s");
    daemon.announce("cannot listen");
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name LIKE 'bucardo KID%' \
               AND datname = current_database()";
    town.b.run(end).await;
    town.a.run("INSERT INTO orders VALUES (1, 'new')").await;
    daemon.logs("after=2s", SOON).await;
    wait::until_equal("the row on b", SOON, &1, async || town.b.number("SELECT count(*) FROM orders").await).await;
    daemon.stop().await;
}
