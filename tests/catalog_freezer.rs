//! The run history as people see it: the view q, the freezer with a partition a day, totals and rates of tables.

use std::time::Duration;

use bucardo::catalog::{freezer, migrate};

use crate::support::{Town, fresh_database, wait};

const SOON: Duration = Duration::from_secs(30);

#[tokio::test]
async fn old_runs_go_to_the_freezer_by_day_and_old_days_go() {
    let database = fresh_database("freezer").await;
    let mut session = database.session().await;
    migrate::migrate(&mut session).await.unwrap();
    let run = |sync: &str, ago: &str, status: &str, mark: &str| {
        format!(
            "INSERT INTO bucardo.syncrun (sync, sourcedb, targetdb, inserts, started, ended, status, {mark}) VALUES \
             ('{sync}', 'A', 'B', 7, now() - interval '{ago}', now() - interval '{ago}' + interval '1 second', '{status}', true);"
        )
    };
    database.run("INSERT INTO bucardo.sync (name) VALUES ('s'), ('t')").await;
    database.run(&run("s", "3 days", "Complete", "lastgood")).await;
    database.run(&run("s", "9 days", "Complete", "lastgood").replace(", true)", ", false)")).await;
    database.run(&run("s", "40 minutes", "Failed : no route", "lastbad").replace(", true)", ", false)")).await;
    database.run(&run("t", "10 minutes", "Complete", "lastbad").replace(", true)", ", false)")).await;
    let q = "SELECT sync, sourcedb, targetdb, synctype, updates, inserts, aborted IS NOT NULL, whydie FROM bucardo.q \
        WHERE aborted IS NOT NULL";
    assert_eq!(database.rows(q).await, ["s|A|B|pushdelta|0|7|t|Failed : no route"]);

    let purge = "SELECT bucardo.bucardo_purge_q_table('30 minutes')";
    assert_eq!(database.value(purge).await, "2", "the last good run stays, the young one too");
    assert_eq!(database.value("SELECT bucardo.bucardo_purge_q_table(interval '30 minutes')").await, "0");
    assert_eq!(database.value("SELECT bucardo.bucardo_purge_q_table()").await, "0");
    assert!(database.refused("SELECT bucardo.bucardo_purge_q_table(30)").await.contains("takes an interval"));
    let frozen = "SELECT sync, inserts, whydie FROM freezer.master_q ORDER BY cdate";
    assert_eq!(database.rows(frozen).await, ["s|7|", "s|7|Failed : no route"]);
    let day = "SELECT to_char((now() - interval '9 days') AT TIME ZONE 'UTC', '\"freezer.child_q_\"YYYYMMDD')";
    let day = database.value(day).await;
    assert_eq!(database.number(&format!("SELECT count(*) FROM {day}")).await, 1);

    freezer::tomorrow(&session).await.unwrap();
    let children = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'freezer.master_q'::regclass";
    let before = database.number(children).await;
    let lives = "INSERT INTO bucardo.audit_pid (type, pid, birthdate, killdate) VALUES \
        ('KID', 1, now() - interval '9 days', now() - interval '8 days'), \
        ('KID', 2, now() - interval '9 days', now() - interval '6 days'), ('MCP', 3, now() - interval '9 days', NULL)";
    database.run(lives).await;
    assert_eq!(freezer::drop(&session, Duration::from_secs(7 * 24 * 3600)).await.unwrap(), 1);
    assert_eq!(database.rows("SELECT pid FROM bucardo.audit_pid ORDER BY 1").await, ["2", "3"], "who ended long ago");
    assert_eq!(database.number(children).await, before - 1);
    assert_eq!(database.number("SELECT count(*) FROM freezer.master_q").await, 1);
    assert!(database.refused("SELECT bucardo.create_child_q('child_q_x')").await.contains("child_q_YYYYMMDD"));
    // Everybody may read it, as in versions 3 and 4.
    let role = format!("reader_{}", database.name);
    database.run(&format!("CREATE ROLE {role}; SET ROLE {role}")).await;
    assert_eq!(database.number("SELECT count(*) FROM freezer.master_q").await, 1);
    database.run(&format!("RESET ROLE; DROP ROLE {role}")).await;
}

/// Through the daemon: a run names its databases, tables are counted, rates are kept for who asks, the VAC freezes.
#[tokio::test]
async fn the_daemon_counts_tables_and_freezes_runs() {
    let mut town = Town::found("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE u (id int PRIMARY KEY)").await;
    town.sync("track_rates=on");
    town.bucardo.run("set vac_sleep=0.2 run_keep=0.1");
    let daemon = town.daemon().await;
    town.a.run("INSERT INTO t SELECT generate_series(1, 10); INSERT INTO u VALUES (1)").await;
    town.caught_up(&["B", "C"], SOON).await;
    town.a.run("DELETE FROM t WHERE id < 4").await;
    town.settle(SOON).await;
    let totals = "SELECT g.tablename, t.target, t.inserts, t.deletes FROM bucardo.goat_total AS t \
        JOIN bucardo.goat AS g ON g.id = t.goat ORDER BY 1, 2";
    let expected: Vec<String> = ["t|B|10|3", "t|C|10|3", "u|B|1|0", "u|C|1|0"].map(str::to_owned).to_vec();
    wait::until_equal("the counts of the tables", SOON, &expected, async || town.control.rows(totals).await).await;
    let rated = "SELECT sum(total) FROM bucardo.bucardo_rate WHERE target = 'B' AND slavecommit > mastercommit";
    assert_eq!(town.control.value(rated).await, "14");
    let frozen = "SELECT DISTINCT sourcedb || targetdb || synctype FROM freezer.master_q ORDER BY 1";
    let expected: Vec<String> = ["ABpushdelta", "ACpushdelta"].map(str::to_owned).to_vec();
    wait::until_equal("runs in the freezer", SOON, &expected, async || {
        // Only the last of each kind stays behind; further runs push it out.
        town.a.run("INSERT INTO u SELECT coalesce(max(id), 0) + 1 FROM u").await;
        town.control.rows(frozen).await
    })
    .await;
    let status = town.bucardo.run("status s -v");
    assert!(status.contains("public.t : 10 inserted, 3 deleted on B"), "{status}");
    let json: serde_json::Value = serde_json::from_str(&town.bucardo.run("status s --json")).unwrap();
    assert_eq!(json["syncs"][0]["tables"][0]["deletes"], 3, "{json}");
    daemon.stop().await;
}
