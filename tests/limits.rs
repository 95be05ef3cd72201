//! `sourcelimit` and `targetlimit`: so many KIDs at a time on a database. Others wait for their turn, and none for ever.

use std::time::Duration;

use crate::support::{Bucardo, Daemon, Database, fresh_database, wait};

const SYNCS: usize = 8;
const WITHIN: Duration = Duration::from_secs(60);
/// KIDs at work: those with a session in a transaction. A merge has two on one of its sources.
const AT_WORK: &str = "SELECT count(DISTINCT split_part(application_name, ' ', 3)) FROM pg_stat_activity WHERE application_name LIKE 'bucardo KID %' \
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
