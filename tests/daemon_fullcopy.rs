//! Whole copies, as an operator sees them: from `add sync` to `status`, through the daemon.

use std::time::Duration;

use crate::support::{Bucardo, Daemon, Database, assert_same, fresh_database, wait};

const WITHIN: Duration = Duration::from_secs(30);
const TABLES: &str = "CREATE TABLE parent (id int PRIMARY KEY, note text);
    CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent);
    CREATE TABLE loose (word text)";

/// Control database, a source A, and databases B and C that have its tables, empty.
struct Site {
    bucardo: Bucardo,
    control: Database,
    a: Database,
    b: Database,
    c: Database,
}

impl Site {
    async fn new() -> Self {
        let control = fresh_database("control").await;
        let (a, b, c) = (fresh_database("a").await, fresh_database("b").await, fresh_database("c").await);
        let bucardo = Bucardo::on(&control);
        bucardo.run(&format!("install --batch --piddir {}", bucardo.home().display()));
        for (name, database) in [("A", &a), ("B", &b), ("C", &c)] {
            database.run(TABLES).await;
            bucardo.add_db(name, database);
        }
        a.run("INSERT INTO parent SELECT n, 'n' FROM generate_series(1, 10) n; INSERT INTO child VALUES (1, 1)").await;
        Self { bucardo, control, a, b, c }
    }

    /// Whole copies that a database has got.
    async fn copies(database: &Database) -> i64 {
        database.number("SELECT coalesce(sum(round), 0)::bigint FROM bucardo.position").await
    }
}

/// A sync of copies only: nothing is installed on the source, tables need no key, and copies come with kicks and not
/// with starts, reloads and changes.
#[tokio::test]
async fn a_kick_copies_and_nothing_else_does() {
    let site = Site::new().await;
    site.a.run("INSERT INTO loose VALUES ('twice'), ('twice')").await;
    site.b.run("INSERT INTO loose VALUES ('stale'); INSERT INTO parent VALUES (77, 'stale')").await;
    site.b.run("CREATE INDEX parent_note ON parent (note)").await;
    let added = site.bucardo.run(
        "add sync copies tables=child,parent,loose dbs=A:source,B:fullcopy deletemethod=truncate rebuild_index=1 vacuum_after_copy=1",
    );
    assert!(added.contains("Added database \"B\" as fullcopy"), "{added}");
    assert_eq!(site.a.number("SELECT count(*) FROM pg_namespace WHERE nspname = 'bucardo'").await, 0);
    let status = site.bucardo.run("status copies");
    assert!(status.contains("A -> B: copied whole 0 times, 0 rows in all\n"), "{status}");

    let daemon = Daemon::start(&site.bucardo).await;
    site.bucardo.run("reload copies");
    assert_eq!(Site::copies(&site.b).await, 0);
    site.bucardo.run("kick copies 0");
    assert_eq!(Site::copies(&site.b).await, 1);
    for table in ["parent", "child", "loose"] {
        assert_same(table, &[&site.a, &site.b]).await;
    }
    assert_eq!(site.b.number("SELECT count(*) FROM pg_indexes WHERE indexname = 'parent_note'").await, 1);
    let status = site.bucardo.run("status copies");
    assert!(status.contains("A -> B: copied whole 1 times, 13 rows in all, last at "), "{status}");
    assert!(status.contains("Rows deleted/inserted    : 0 / 13"), "{status}");
    let json: serde_json::Value = serde_json::from_str(&site.bucardo.run("status copies --json")).unwrap();
    let target = &json["syncs"][0]["targets"][0];
    assert_eq!((&target["copies"], &target["inserts"]), (&1.into(), &13.into()), "{json}");

    // A request for a copy asks for nothing that a kick would not do; it is marked as done.
    site.bucardo.run("update sync copies onetimecopy=1");
    site.bucardo.run("reload copies");
    assert_eq!(Site::copies(&site.b).await, 1);
    site.a.run("DELETE FROM child; UPDATE parent SET note = 'new'").await;
    site.bucardo.run("kick copies 0");
    assert_eq!(Site::copies(&site.b).await, 2);
    assert_same("parent", &[&site.a, &site.b]).await;
    let asked = "SELECT onetimecopy FROM bucardo.sync";
    wait::until_equal("the mark", WITHIN, &vec!["0".to_owned()], async || site.control.rows(asked).await).await;
    daemon.stop().await;
}

/// The sync's own timer copies, too.
#[tokio::test]
async fn checktime_copies() {
    let site = Site::new().await;
    site.bucardo.run("add sync copies tables=parent dbs=A:source,B:fullcopy checktime=1s");
    let daemon = Daemon::start(&site.bucardo).await;
    wait::until("two copies", WITHIN, async || {
        let copies = Site::copies(&site.b).await;
        if copies >= 2 { Ok(()) } else { Err(copies) }
    })
    .await;
    assert_same("parent", &[&site.a, &site.b]).await;
    daemon.stop().await;
}

/// Beside a target: changes go to the target at once, and to the copy with the next kick.
#[tokio::test]
async fn a_copy_beside_a_target_waits_for_a_kick() {
    let site = Site::new().await;
    site.bucardo.run("add sync both tables=child,parent dbs=A:source,B:fullcopy,C:target onetimecopy=1");
    let daemon = Daemon::start(&site.bucardo).await;
    let arrived = async || site.c.number("SELECT count(*) FROM parent").await;
    wait::until_equal("the first copy of the target", WITHIN, &10, arrived).await;
    site.a.run("INSERT INTO parent VALUES (11, 'change')").await;
    wait::until_equal("the change on the target", WITHIN, &11, arrived).await;
    assert_eq!(Site::copies(&site.b).await, 0);
    site.bucardo.run("kick both 0");
    assert_eq!(Site::copies(&site.b).await, 1);
    assert_same("parent", &[&site.a, &site.b, &site.c]).await;
    let status = site.bucardo.run("status both");
    assert!(status.contains("A -> B: copied whole 1 times, 12 rows in all, last at "), "{status}");
    assert!(status.contains("A -> C: 12 rows inserted"), "{status}");
    daemon.stop().await;
}

/// A copy that fails is told, tried again by itself, and made when its cause is gone.
#[tokio::test]
async fn a_failed_copy_is_told_and_tried_again() {
    let site = Site::new().await;
    site.bucardo.run("add sync copies tables=parent dbs=A:source,B:fullcopy");
    let mut daemon = Daemon::start(&site.bucardo).await;
    daemon.announce("parent");
    site.b.run("ALTER TABLE parent RENAME TO away").await;
    let kicked = site.bucardo.call(&["kick", "copies", "0"]);
    assert_ne!(kicked.code, 0, "{kicked:?}");
    let status = site.bucardo.run("status copies");
    assert!(status.contains("table \"public.parent\" cannot be replicated to database \"B\""), "{status}");
    assert_eq!(Site::copies(&site.b).await, 0);
    site.b.run("ALTER TABLE away RENAME TO parent").await;
    site.bucardo.run("kick copies 0");
    assert_same("parent", &[&site.a, &site.b]).await;

    // What fails is stalled until it is tried again, and does not look as if it were over.
    daemon.announce("KID is stalled");
    site.bucardo.call(&["update", "sync", "copies", "copyextra=(FORMAT nonsense)"]).ok();
    site.bucardo.run("reload sync copies");
    assert_ne!(site.bucardo.call(&["kick", "copies", "0"]).code, 0);
    let told = wait::until("a line below the table", WITHIN, async || {
        let table = site.bucardo.run("status");
        table.lines().find(|line| line.starts_with("copies: stalled since ")).map(str::to_owned).ok_or(table)
    })
    .await;
    for word in ["next try ", "nonsense", "bucardo kick copies"] {
        assert!(told.contains(word), "{word}: {told}");
    }
    assert!(site.bucardo.call(&["doctor", "copies"]).stdout.contains("PROBLEM: A -> B: stalled since "));
    daemon.stop().await;
}

/// A copy in one transaction that takes longer than a moment is told like those in pieces: of a database that is copied
/// whole, and of a small initial copy. A writer on the target holds each of them up here.
#[tokio::test]
async fn copies_in_one_transaction_tell_how_far_they_are() {
    let site = Site::new().await;
    site.bucardo.run("add sync copies tables=parent,child dbs=A:source,B:fullcopy");
    site.bucardo.run("add sync first tables=parent,child dbs=A:source,C:target onetimecopy=1");
    let (b, c) = (site.b.session().await, site.c.session().await);
    for session in [&b, &c] {
        session.batch_execute("BEGIN; LOCK TABLE parent, child IN SHARE ROW EXCLUSIVE MODE").await.unwrap();
    }
    let daemon = Daemon::start(&site.bucardo).await;
    site.bucardo.run("kick copies");
    for (sync, target) in [("copies", "A -> B: copied whole 0 times, 0 rows in all"), ("first", "A -> C: ")] {
        wait::until(&format!("the copy of {sync} in its status"), WITHIN, async || {
            let status = site.bucardo.run(&format!("status {sync}"));
            let line = status.lines().find(|line| line.contains(target)).unwrap_or_default().to_owned();
            let is_told = line.contains("; copying 0 %: 0 of 2 tables, 0") && status.contains("Copying 0 %");
            if is_told { Ok(()) } else { Err(status) }
        })
        .await;
    }
    let json: serde_json::Value = serde_json::from_str(&site.bucardo.run("status copies --json")).unwrap();
    let copying = &json["syncs"][0]["targets"][0]["copying"];
    assert_eq!((&copying["tables"], &copying["attempt"]), (&2.into(), &1.into()), "{json}");
    for session in [&b, &c] {
        session.batch_execute("ROLLBACK").await.unwrap();
    }
    for (database, name) in [(&site.b, "B"), (&site.c, "C")] {
        wait::until_equal(&format!("the rows on {name}"), WITHIN, &10, async || {
            database.number("SELECT count(*) FROM parent").await
        })
        .await;
        let told = "SELECT count(*) FROM bucardo.copy_job";
        wait::until_equal("the end of what is told", WITHIN, &0, async || database.number(told).await).await;
    }
    daemon.stop().await;
}
