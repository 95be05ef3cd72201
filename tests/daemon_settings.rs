//! Settings of syncs and tables that say when rounds run: each is watched through the daemon.

use std::time::Duration;

use crate::support::{Town, wait};

const TABLES: &str = "CREATE TABLE loud (id serial PRIMARY KEY); CREATE TABLE quiet (id serial PRIMARY KEY)";
/// Well below the period of the look that nobody asked for.
const AT_ONCE: Duration = Duration::from_secs(8);

/// Writes a row at A.
async fn change(town: &Town, table: &str) {
    town.a.run(&format!("INSERT INTO {table} DEFAULT VALUES")).await;
}

async fn rows_of(town: &Town, table: &str) -> i64 {
    town.b.number(&format!("SELECT count(*) FROM {table}")).await
}

async fn has(town: &Town, table: &str, rows: i64) {
    let what = format!("{rows} rows in {table}");
    wait::until_equal(&what, AT_ONCE, &rows, async || rows_of(town, table).await).await;
}

/// Whatever the daemon heard before this has been seen to: kicks go through one mailbox, and each is answered in turn.
async fn heard(town: &Town) {
    // The source's listener hears in order: a kick of another sync comes after those that were sent before it.
    town.a.run("NOTIFY bucardo, 'kick_sync_other'").await;
    let other = "SELECT count(*) FROM other";
    town.a.run("INSERT INTO other DEFAULT VALUES").await;
    let wanted = town.a.number(other).await;
    wait::until_equal("the other sync", AT_ONCE, &wanted, async || town.b.number(other).await).await;
}

/// A town whose sync `s` has `loud` and `quiet`, and another whose changes kick.
async fn town(words: &str) -> Town {
    let mut town = Town::found(&format!("{TABLES}; CREATE TABLE other (id serial PRIMARY KEY)")).await;
    for (name, database) in [("A", &town.a), ("B", &town.b), ("C", &town.c)] {
        town.bucardo.add_db(name, database);
    }
    town.bucardo.run(&format!("add sync s tables=loud,quiet dbs=A:source,B:target {words}"));
    town.bucardo.run("add sync other tables=other dbs=A:source,B:target");
    town.learn_tables();
    town
}

/// `autokick` of a sync, and of a table where it says otherwise (`ping` in version 4).
#[tokio::test]
async fn autokick_of_syncs_and_tables() {
    let town = town("").await;
    town.bucardo.run("update table quiet ping=false");
    town.bucardo.run("validate s");
    let daemon = town.daemon().await;
    heard(&town).await;
    change(&town, "quiet").await;
    heard(&town).await;
    assert_eq!(rows_of(&town, "quiet").await, 0, "it does not kick");
    change(&town, "loud").await;
    has(&town, "loud", 1).await;
    has(&town, "quiet", 1).await;

    // The other way round: only one table kicks.
    town.bucardo.run("update table quiet autokick=");
    town.bucardo.run("update table loud autokick=true");
    town.bucardo.run("update sync s autokick=off");
    town.bucardo.run("validate s");
    town.bucardo.run("reload s");
    heard(&town).await;
    change(&town, "quiet").await;
    heard(&town).await;
    assert_eq!(rows_of(&town, "quiet").await, 1);
    change(&town, "loud").await;
    has(&town, "loud", 2).await;
    has(&town, "quiet", 2).await;
    daemon.stop().await;
}

/// A sync that changes do not kick is looked at on its own timer, or when it hears a kick on its source.
#[tokio::test]
async fn checktime_and_do_listen() {
    let town = town("autokick=0").await;
    let daemon = town.daemon().await;
    change(&town, "loud").await;
    town.a.run("NOTIFY bucardo_kick_sync_s").await;
    heard(&town).await;
    assert_eq!(rows_of(&town, "loud").await, 0, "it does not listen");

    town.bucardo.run("update sync s do_listen=on");
    town.bucardo.run("reload s");
    change(&town, "loud").await;
    heard(&town).await;
    assert_eq!(rows_of(&town, "loud").await, 0, "it listens, but changes do not kick");
    town.a.run("NOTIFY bucardo_kick_sync_s").await;
    has(&town, "loud", 2).await;

    town.bucardo.run("update sync s do_listen=off checktime=2s");
    town.bucardo.run("reload s");
    for rows in 3..6 {
        change(&town, "loud").await;
        has(&town, "loud", rows).await;
    }
    daemon.stop().await;
}

/// `limitdbs`: so many targets are written to at a time, and none is left out.
#[tokio::test]
async fn limitdbs() {
    let mut town = Town::found("CREATE TABLE loud (id serial PRIMARY KEY)").await;
    town.sync("limitdbs=1");
    let daemon = town.daemon().await;
    let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'loud'::regclass \
                   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    let at_work = async || town.b.number(waiting).await + town.c.number(waiting).await;
    for (limit, wanted) in [("1", 1), ("0", 2)] {
        if limit == "0" {
            town.bucardo.run("update sync s limitdbs=0");
            town.bucardo.run("reload s");
        }
        let locks = [town.b.session().await, town.c.session().await];
        for lock in &locks {
            lock.batch_execute("BEGIN; LOCK TABLE loud").await.unwrap();
        }
        change(&town, "loud").await;
        wait::until_equal(&format!("{wanted} at work"), AT_ONCE, &wanted, at_work).await;
        if limit == "1" {
            // A kick that is answered by others shows that the daemon had time for the second.
            town.bucardo.run("ping");
            change(&town, "loud").await;
            assert_eq!(at_work().await, 1);
        }
        for lock in &locks {
            lock.batch_execute("COMMIT").await.unwrap();
        }
        town.settle(AT_ONCE).await;
    }
    assert!(
        town.bucardo.call(&["update", "sync", "s", "limitdbs=-1"]).failed().contains("Invalid value for 'limitdbs'")
    );
    daemon.stop().await;
}

/// Syncs of a higher priority are started first; within a sync, tables of a higher priority come first.
#[tokio::test]
async fn priorities_of_syncs_and_tables() {
    let town = town("").await;
    town.bucardo.run("update sync s priority=-5");
    town.control.run("UPDATE bucardo.herdmap SET priority = 9 WHERE goat = (SELECT id FROM bucardo.goat WHERE tablename = 'quiet')").await;
    town.b
        .run(
            "CREATE TABLE seen (place serial, name text);
             CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN INSERT INTO public.seen (name) VALUES (TG_TABLE_NAME); RETURN NULL; END$$;
             CREATE TRIGGER see AFTER INSERT ON loud FOR EACH STATEMENT EXECUTE PROCEDURE see();
             CREATE TRIGGER see AFTER INSERT ON quiet FOR EACH STATEMENT EXECUTE PROCEDURE see();
             ALTER TABLE loud ENABLE ALWAYS TRIGGER see; ALTER TABLE quiet ENABLE ALWAYS TRIGGER see",
        )
        .await;
    town.a.run("INSERT INTO loud DEFAULT VALUES; INSERT INTO quiet DEFAULT VALUES").await;
    let daemon = town.daemon().await;
    has(&town, "loud", 1).await;
    assert_eq!(town.b.rows("SELECT name FROM seen ORDER BY place").await, ["quiet", "loud"]);
    let log = daemon.log();
    let active: Vec<&str> = log.lines().filter(|line| line.contains("sync is active")).collect();
    assert!(active.len() == 2 && active[0].contains("other"), "other comes before s: {active:?}");
    daemon.stop().await;
}

/// A sync may have settings of its own (`type` and `item` of bucardo_config). They act in its rounds and in what is made of
/// its failures, and nowhere else; one that makes no sense stops this sync, and is named.
#[tokio::test]
async fn settings_of_one_sync() {
    let town = town("").await;
    let own = async |name: &str, value: &str| {
        let sql = format!(
            "INSERT INTO bucardo.bucardo_config (name, setting, type, item) VALUES ('{name}', '{value}', 'sync', 's')"
        );
        town.control.run(&sql).await;
    };
    town.bucardo.run("set kid_restart_sleep=1 copy_workers=2");
    own("kid_restart_sleep", "3").await;
    own("copy_workers", "7").await;
    own("default_conflict_strategy", "bucardo_source").await;
    let session = town.control.session().await;
    let load = async |name: &str| bucardo::catalog::load_sync(&session, &name.into()).await.unwrap().unwrap();
    let (s, other) = (load("s").await, load("other").await);
    assert_eq!((s.copy.workers, other.copy.workers), (7, 2));
    assert_eq!((&*s.conflict_strategy, &*other.conflict_strategy), ("bucardo_source", "bucardo_latest"));
    assert!(town.bucardo.run("show copy_workers").contains("= 2"), "what holds for all is shown");

    let mut daemon = town.daemon().await;
    daemon.announce("after=3s");
    daemon.announce("after=1s");
    daemon.announce("cannot listen");
    for (table, sync, wanted) in [("loud", "s", "after=3s"), ("other", "other", "after=1s")] {
        change(&town, table).await;
        has(&town, table, 1).await;
        let kids = format!(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
             WHERE application_name LIKE 'bucardo KID {sync} %' AND datname = current_database()"
        );
        town.b.run(&kids).await;
        change(&town, table).await;
        daemon.logs(wanted, Duration::from_secs(30)).await;
        has(&town, table, 2).await;
    }

    daemon.announce("many");
    own("batch_rows_max", "many").await;
    town.bucardo.run("reload");
    wait::until("the status", AT_ONCE, async || {
        let status = town.bucardo.run("status s");
        if status.contains("setting \"batch_rows_max\"") { Ok(()) } else { Err(status) }
    })
    .await;
    change(&town, "other").await;
    has(&town, "other", 3).await;
    town.control.run("DELETE FROM bucardo.bucardo_config WHERE item = 's'").await;
    town.bucardo.run("reload");
    change(&town, "loud").await;
    has(&town, "loud", 3).await;
    daemon.stop().await;
}
