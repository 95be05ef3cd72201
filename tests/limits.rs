//! `sourcelimit` and `targetlimit`: so many sessions at a time on a database. Others wait for their turn, and none for ever.

use std::time::Duration;

use crate::support::{Bucardo, Daemon, Database, Town, fresh_database, wait};

const SYNCS: usize = 8;
const WITHIN: Duration = Duration::from_secs(60);
/// Sessions at work: those that are in a transaction, since the server may not have noticed yet that others are closed.
const AT_WORK: &str = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'bucardo KID %' \
    AND datname = current_database() AND xact_start IS NOT NULL";

struct Site {
    a: Database,
    b: Database,
    bucardo: Bucardo,
}

impl Site {
    /// A table for each sync; even ones go from A to B, odd ones the other way, and one merges both.
    async fn found(limits: &str) -> Self {
        let control = fresh_database("control").await;
        let (a, b) = (fresh_database("a").await, fresh_database("b").await);
        let bucardo = Bucardo::on(&control);
        let piddir = bucardo.home().display().to_string();
        bucardo.call(&["install", "--batch", "--piddir", &piddir]).ok();
        for database in [&a, &b] {
            for sync in 0..=SYNCS {
                database.run(&format!("CREATE TABLE t{sync} (id int PRIMARY KEY, note text)")).await;
            }
        }
        for (name, database) in [("A", &a), ("B", &b)] {
            bucardo.run(&format!("add db {name} {} {limits}", database.conninfo()));
        }
        for sync in 0..=SYNCS {
            bucardo.run(&format!("add table t{sync} db=A relgroup=g{sync}"));
            let dbs = match sync {
                SYNCS => "A:source,B:source",
                _ if sync.is_multiple_of(2) => "A:source,B:target",
                _ => "B:source,A:target",
            };
            bucardo.run(&format!("add sync s{sync} relgroup=g{sync} dbs={dbs}"));
        }
        Self { a, b, bucardo }
    }

    fn ends(&self, sync: usize) -> (&Database, &Database) {
        if sync.is_multiple_of(2) { (&self.a, &self.b) } else { (&self.b, &self.a) }
    }

    /// A change of every sync at once, and it arrives; the most KIDs that were seen at work on A meanwhile.
    async fn all_arrive(&self, id: usize) -> i64 {
        let mut most = 0;
        for sync in 0..=SYNCS {
            self.ends(sync)
                .0
                .run(&format!("INSERT INTO t{sync} SELECT n, 'x' FROM generate_series({id}000, {id}499) n"))
                .await;
        }
        for sync in 0..=SYNCS {
            let arrived = format!("SELECT count(*) FROM t{sync} WHERE id / 1000 = {id}");
            wait::until_equal(&format!("rows of s{sync}"), WITHIN, &500, async || {
                most = most.max(self.a.number(AT_WORK).await);
                self.ends(sync).1.number(&arrived).await
            })
            .await;
        }
        most
    }
}

/// With one place on either side of both, KIDs that need the places in different orders would wait for each other.
#[tokio::test]
async fn many_syncs_share_one_place_and_all_of_them_move() {
    let site = Site::found("sourcelimit=1 targetlimit=1").await;
    let daemon = Daemon::start(&site.bucardo).await;
    for id in 1..=4 {
        let most = site.all_arrive(id).await;
        assert!(most <= 2, "one that reads and one that writes, not {most}");
    }
    let listed = site.bucardo.run("list db A");
    assert!(listed.contains("Limits: 1/1"), "{listed}");
    daemon.stop().await;
}

/// A whole copy takes as many sessions as it may have, and no more; with too few for a copy in pieces it is made in one
/// piece. Meanwhile `dbrun` has its sessions, and `status` counts them.
#[tokio::test]
async fn a_whole_copy_keeps_within_the_limits() {
    for (source, target, pieces) in [(3, 2, true), (4, 3, true), (1, 1, false)] {
        let mut town = Town::found("CREATE TABLE orders (id int PRIMARY KEY, note text)").await;
        town.a.run("INSERT INTO orders SELECT n, repeat('x', 900) FROM generate_series(1, 30000) n").await;
        town.sync("onetimecopy=1");
        town.bucardo.run(&format!("update db A sourcelimit={source}"));
        town.bucardo.run(&format!("update db B targetlimit={target}"));
        town.bucardo.run(&format!("update db C targetlimit={target}"));
        for setting in ["copy_atomic_mb=0", "copy_chunk_mb=1", "copy_workers=4"] {
            town.bucardo.run(&format!("set {setting}"));
        }
        let lock = town.b.session().await;
        lock.batch_execute("BEGIN; LOCK TABLE orders IN SHARE MODE").await.unwrap();
        let daemon = town.daemon().await;
        let noted = "SELECT count(*) FROM bucardo.dbrun WHERE sync = 's' AND dbname = 'B' AND pgpid > 0";
        let at_b = wait::until("sessions in dbrun", WITHIN, async || {
            let rows = town.control.rows("SELECT pgpid::text FROM bucardo.dbrun WHERE dbname = 'B'").await;
            if rows.is_empty() { Err(rows) } else { Ok(rows) }
        })
        .await;
        let alive = format!("SELECT count(*) FROM pg_stat_activity WHERE pid IN ({})", at_b.join(", "));
        assert!(town.b.number(&alive).await > 0, "they are sessions of B: {at_b:?}");
        wait::until("the count of connections", WITHIN, async || {
            let status = town.bucardo.run("status");
            let is_told = status.contains("Connections: A ") && status.contains(", B ");
            if is_told { Ok(()) } else { Err(status) }
        })
        .await;
        lock.batch_execute("COMMIT").await.unwrap();
        let (mut most_a, mut most_b) = (0, 0);
        wait::until_equal("the copy", WITHIN, &30_000, async || {
            most_a = most_a.max(town.a.number(AT_WORK).await);
            most_b = most_b.max(town.b.number(AT_WORK).await);
            town.b.number("SELECT count(*) FROM orders").await
        })
        .await;
        assert!(most_a <= source && most_b <= target, "{most_a} of {source} and {most_b} of {target}");
        // A copy that goes on counts as caught up from its first piece on.
        wait::until_equal("the other copy", WITHIN, &30_000, async || {
            town.c.number("SELECT count(*) FROM orders").await
        })
        .await;
        town.settle(WITHIN).await;
        wait::until_equal("an empty dbrun", WITHIN, &0, async || town.control.number(noted).await).await;
        let journal = "SELECT (to_regclass('bucardo.copy_chunk') IS NOT NULL)::int";
        assert_eq!(town.b.number(journal).await == 1, pieces, "{source} {target}");
        daemon.stop().await;
    }
}

/// A merge of many rows would like second sessions, and does without them; one of keys that only a server can put in
/// order needs one more, and gets it where the limit allows that.
#[tokio::test]
async fn a_large_merge_keeps_within_the_limits() {
    let site = Site::found("sourcelimit=1").await;
    let daemon = Daemon::start(&site.bucardo).await;
    let table = format!("t{SYNCS}");
    site.a.run(&format!("INSERT INTO {table} SELECT n, 'a' FROM generate_series(1, 3000) n")).await;
    site.b.run(&format!("INSERT INTO {table} SELECT n, 'b' FROM generate_series(3001, 6000) n")).await;
    let (mut most, rows) = (0, format!("SELECT count(*) FROM {table}"));
    for database in [&site.a, &site.b] {
        wait::until_equal("all rows", WITHIN, &6000, async || {
            most = most.max(site.a.number(AT_WORK).await);
            database.number(&rows).await
        })
        .await;
    }
    assert!(most <= 1, "{most}");
    daemon.stop().await;
}

/// Who asks for nothing unusual must not notice limits; who asks for nonsense is told.
#[tokio::test]
async fn limits_may_be_changed_while_the_daemon_runs() {
    let site = Site::found("sourcelimit=2").await;
    let daemon = Daemon::start(&site.bucardo).await;
    site.all_arrive(1).await;
    for limits in ["sourcelimit=1 targetlimit=3", "sourcelimit=0 targetlimit=1", "sourcelimit=0 targetlimit=0"] {
        site.bucardo.run(&format!("update db A {limits}"));
        site.bucardo.run("reload");
        daemon.logs("catalog reloaded", WITHIN).await;
        site.all_arrive(2 + usize::try_from(site.a.number("SELECT max(id) / 1000 FROM t0").await).unwrap()).await;
    }
    for nonsense in ["-1", "many", "40000"] {
        let refused = site.bucardo.fails(&format!("update db A sourcelimit={nonsense}"));
        assert!(refused.contains("sourcelimit"), "{refused}");
    }
    daemon.stop().await;
}

/// `worker_mb_max`: rounds that find no room wait, say so, and get their turn; the limit may be raised meanwhile.
#[tokio::test]
async fn rounds_wait_for_memory() {
    let mut town = Town::found("CREATE TABLE orders (id int PRIMARY KEY, note text)").await;
    town.sync("");
    town.bucardo.run("set worker_mb_max=1");
    let daemon = town.daemon().await;
    town.a.run("INSERT INTO orders VALUES (1, 'first')").await;
    town.settle(WITHIN).await;
    let lock = town.b.session().await;
    lock.batch_execute("BEGIN; LOCK TABLE orders").await.unwrap();
    town.a.run("INSERT INTO orders VALUES (2, 'second')").await;
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
    wait::until_equal("a round that waits for B", WITHIN, &1, async || town.b.number(waits).await).await;
    town.bucardo.run("kick s");
    let doing = "SELECT count(*) FROM bucardo.state WHERE doing LIKE '%worker_mb_max%' AND db = 'C'";
    wait::until_equal("a round that waits for memory", WITHIN, &1, async || town.control.number(doing).await).await;
    town.bucardo.run("set worker_mb_max=8");
    town.bucardo.run("reload config");
    town.caught_up(&["C"], WITHIN).await;
    lock.batch_execute("COMMIT").await.unwrap();
    town.settle(WITHIN).await;
    daemon.stop().await;
}
