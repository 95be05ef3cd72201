//! Merges of many rows: what lies side by side and what lies far apart arrive alike, and no conflict goes untold.

use std::time::Duration;

use crate::support::{SyncLab, wait};

const TABLES: &str = "CREATE TABLE near (id int PRIMARY KEY, note text);
    CREATE TABLE far (id bigint PRIMARY KEY, note text);
    CREATE TABLE pairs (x int, y smallint, note text, PRIMARY KEY (x, y))";

/// Keys that are most of those between two are reached otherwise than keys with gaps between them, and than keys of two
/// columns. Conflicts are told with the rows that they overwrote, although these are deleted meanwhile.
#[tokio::test]
async fn rows_side_by_side_and_rows_far_apart_arrive_alike() {
    let goats = ["near:id", "far:id", "pairs:x,y"];
    let mut lab = SyncLab::masters(&["a", "b"], &[], TABLES, &goats).await;
    for insert in [
        "INSERT INTO near SELECT n, 'old' FROM generate_series(-4000, 8000) n",
        "INSERT INTO far SELECT n * 1000003::bigint, 'old' FROM generate_series(-4000, 8000) n",
        "INSERT INTO pairs SELECT n / 7, n % 7, 'old' FROM generate_series(1, 12000) n",
    ] {
        lab.on("a").run(insert).await;
    }
    lab.settle().await;
    lab.on("a")
        .run("UPDATE near SET note = 'a' WHERE id <= 2000; DELETE FROM near WHERE id BETWEEN -100 AND 100")
        .await;
    lab.on("a")
        .run("UPDATE far SET note = 'a' WHERE id <= 2000 * 1000003::bigint; DELETE FROM far WHERE id % 7 = 0")
        .await;
    lab.on("a").run("UPDATE pairs SET note = 'a' WHERE x <= 900").await;
    // Later, so that it wins where both changed a row.
    lab.on("b").run("UPDATE near SET note = 'b' WHERE id > 1900; INSERT INTO near VALUES (9000, 'b')").await;
    lab.on("b").run("UPDATE far SET note = 'b' WHERE id > 1900 * 1000003::bigint AND id % 7 <> 0").await;
    lab.on("b").run("UPDATE pairs SET note = 'b' WHERE x > 890; DELETE FROM pairs WHERE x > 1000").await;
    let report = lab.merge().await.unwrap();
    lab.assert_same().await;
    let counted = "SELECT string_agg(note || ' ' || n, ' ' ORDER BY note) FROM (SELECT note, count(*) AS n FROM near GROUP BY 1) g";
    assert_eq!(lab.on("b").value(counted).await, "a 5700 b 6101");
    let told = lab.conflicts.all();
    assert_eq!(told.len(), usize::try_from(report.conflicts).unwrap());
    let near: Vec<_> = told.iter().filter(|it| it.table == "near").collect();
    assert_eq!(near.len(), 100);
    let at = |id: &str| near.iter().find(|it| it.key["id"] == id).unwrap();
    assert_eq!(at("1950").rows[&"a".into()].as_deref(), Some(r#"{"id":1950,"note":"a"}"#));
    assert_eq!(at("1950").rows[&"b".into()].as_deref(), Some(r#"{"id":1950,"note":"b"}"#));
    assert_eq!(lab.settle().await, 0);
}

/// How many keys side by side are looked for is no way to look for a few of the next table: it would read all of that.
#[tokio::test]
async fn a_small_table_after_a_large_one_is_planned_as_ever() {
    let ddl = "CREATE TABLE many (id int PRIMARY KEY, note text);
        CREATE FUNCTION plans() RETURNS text LANGUAGE sql AS $$
            SELECT string_agg(pg_catalog.current_setting(name), ' ' ORDER BY name) FROM pg_catalog.unnest(ARRAY[
                'enable_seqscan', 'enable_nestloop', 'cpu_tuple_cost', 'random_page_cost']) AS name $$;
        CREATE TABLE few (id int PRIMARY KEY, note text CHECK (note IS NULL OR public.plans() = note))";
    let mut lab = SyncLab::masters(&["a", "b"], &[], ddl, &["many:id", "few:id"]).await;
    lab.on("a").run("INSERT INTO many SELECT n, 'old' FROM generate_series(1, 5000) n").await;
    lab.settle().await;
    // The constraint at b sees how the merge plans there.
    lab.on("a").run("ALTER TABLE few DROP CONSTRAINT few_note_check; UPDATE many SET note = 'new'").await;
    lab.on("a").run("INSERT INTO few VALUES (1, '0.01 on off 4')").await;
    let report = lab.merge().await.unwrap();
    assert!(report.away.is_empty(), "{report:?}");
    lab.assert_same().await;
}

/// Each source has many changes, and all of one's win: the versions that the sources took while the second sessions read
/// have to end before anything else is asked of the first ones.
#[tokio::test]
async fn a_large_merge_ends_where_one_source_wins_everything() {
    let mut lab = SyncLab::masters(&["a", "b"], &[], "CREATE TABLE t (id int PRIMARY KEY, note text)", &["t:id"]).await;
    lab.on("a").run("INSERT INTO t SELECT n, 'old' FROM generate_series(1, 10000) n").await;
    lab.settle().await;
    lab.on("a").run("UPDATE t SET note = 'a'").await;
    lab.on("b").run("UPDATE t SET note = 'b'").await;
    let report = tokio::time::timeout(Duration::from_secs(60), lab.merge()).await.expect("it hangs").unwrap();
    assert_eq!(report.conflicts, 10_000);
    lab.assert_same().await;
    assert_eq!(lab.on("a").value("SELECT count(*) FROM t WHERE note = 'b'").await, "10000");
}

/// The rows of several winners meet in one table, wide ones among them: nobody waits for ever for another, and all arrive.
#[tokio::test]
async fn rows_of_several_winners_go_to_one_source_at_once() {
    let ddl = "CREATE TABLE t (id int PRIMARY KEY, note text)";
    let mut lab = SyncLab::masters(&["a", "b", "c"], &[], ddl, &["t:id"]).await;
    lab.on("a").run("INSERT INTO t SELECT n, 'old' FROM generate_series(1, 9000) n").await;
    lab.settle().await;
    for (db, rest) in [("a", 0), ("b", 1), ("c", 2)] {
        // One in a hundred is changed by all of them.
        let update = format!("UPDATE t SET note = '{db}' WHERE id % 3 = {rest} OR id % 100 = 0");
        lab.on(db).run(&update).await;
        lab.on(db).run(&format!("UPDATE t SET note = repeat('{db}', 400000) WHERE id % 1000 = 100 + {rest}")).await;
        lab.on(db).run(&format!("DELETE FROM t WHERE id % 50 = 10 + {rest}")).await;
    }
    let report = tokio::time::timeout(Duration::from_secs(60), lab.merge()).await.expect("it hangs").unwrap();
    assert_eq!(lab.conflicts.all().len(), usize::try_from(report.conflicts).unwrap());
    lab.assert_same().await;
    let counted = "SELECT string_agg(note || ' ' || n, ' ' ORDER BY note)
                   FROM (SELECT left(note, 1) AS note, count(*) AS n FROM t GROUP BY 1) g";
    assert_eq!(lab.on("b").value(counted).await, "a 2784 b 2850 c 3006");
    assert_eq!(lab.settle().await, 0);
}

/// Conflicts go to the control database in pieces. Each piece shall cost what is in it, not what still waits: else those of
/// a large merge hold up the next one for ever.
#[tokio::test]
async fn conflicts_that_wait_are_not_read_again_for_every_piece() {
    let mut lab = SyncLab::masters(&["a", "b"], &[], "CREATE TABLE t (id int PRIMARY KEY, note text)", &["t:id"]).await;
    lab.on("a").run("INSERT INTO t SELECT n, 'old' FROM generate_series(1, 6000) n").await;
    lab.settle().await;
    lab.on("a").run("UPDATE t SET note = 'a'").await;
    lab.on("b").run("UPDATE t SET note = 'b'").await;
    assert_eq!(lab.merge().await.unwrap().conflicts, 6000);
    assert_eq!(lab.conflicts.all().len(), 6000);
    // A session tells what it has read when it ends, at the latest.
    lab.renew();
    let sessions = "SELECT count(*) FROM pg_stat_activity
                    WHERE datname = current_database() AND application_name LIKE 'bucardo KID%'";
    wait::until_equal("the end of the sessions", Duration::from_secs(30), &0, async || {
        lab.on("a").number(sessions).await
    })
    .await;
    let read = "SELECT seq_tup_read + coalesce(idx_tup_fetch, 0) FROM pg_stat_user_tables
                WHERE schemaname = 'bucardo' AND relname = 'conflict_kept'";
    let read = lab.on("a").number(read).await;
    // Once to tell of each, once to forget it.
    assert!((6000..=3 * 6000).contains(&read), "{read} rows were read");
}

/// The source that keeps a conflict refuses to commit: then the others do not either, or the decision would stand and
/// nobody would ever hear of it.
#[tokio::test]
async fn a_conflict_that_cannot_be_kept_is_not_decided() {
    let mut lab = SyncLab::masters(&["a", "b"], &[], "CREATE TABLE t (id int PRIMARY KEY, note text)", &["t:id"]).await;
    lab.on("a").run("INSERT INTO t VALUES (1, 'old')").await;
    lab.settle().await;
    lab.on("a").run("UPDATE t SET note = 'a'").await;
    lab.on("b").run("UPDATE t SET note = 'b'").await;
    // Replication fires it, too; it fails when the transaction commits.
    lab.on("a")
        .run(
            "CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not now'; END $$;
             CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED
                 FOR EACH ROW EXECUTE FUNCTION public.refuse();
             ALTER TABLE t ENABLE ALWAYS TRIGGER refuse",
        )
        .await;
    let report = lab.merge().await.unwrap();
    assert_eq!((report.conflicts, report.inserts), (0, 0), "{report:?}");
    assert!(report.away.iter().any(|(db, why)| db.as_str() == "a" && why.contains("not now")), "{report:?}");
    assert_eq!(lab.on("b").value("SELECT count(*) FROM bucardo.conflict_kept").await, "0");
    lab.on("a").run("DROP TRIGGER refuse ON t").await;
    lab.renew();
    let report = lab.merge().await.unwrap();
    assert_eq!((report.conflicts, report.inserts), (1, 1), "{report:?}");
    lab.assert_same().await;
    assert_eq!(lab.conflicts.all().len(), 1);
    assert_eq!(lab.settle().await, 0);
}

/// A small merge reads of a long log what was written since it knows how new the rows before are, and no more. What an
/// old transaction wrote on top of newer versions needs these all the same.
#[tokio::test]
async fn a_small_merge_of_a_long_log_reads_as_far_back_as_it_must() {
    let mut lab = SyncLab::masters(&["a", "b"], &[], "CREATE TABLE t (id int PRIMARY KEY, note text)", &["t:id"]).await;
    lab.on("a").run("INSERT INTO t SELECT n, 'first' FROM generate_series(1, 8000) n").await;
    lab.settle().await;
    let small = ["UPDATE t SET note = 'b' WHERE id = 1", "UPDATE t SET note = 'b' WHERE id = 2"];
    for update in small {
        lab.on("b").run(update).await;
        lab.settle().await;
    }
    // Its time is that of its beginning, its number comes with its first change.
    let old = lab.on("b").session().await;
    old.batch_execute("BEGIN; SELECT now()").await.unwrap();
    lab.on("a").run("UPDATE t SET note = 'second' WHERE id BETWEEN 6 AND 9").await;
    lab.settle().await;
    for update in small {
        lab.on("b").run(update).await;
        lab.settle().await;
    }
    old.batch_execute("UPDATE t SET note = 'old' WHERE id IN (7, 8); COMMIT").await.unwrap();
    lab.on("a").run("UPDATE t SET note = 'third' WHERE id = 8").await;
    let report = lab.merge().await.unwrap();
    assert_eq!((report.keys, report.conflicts), (2, 1));
    lab.assert_same().await;
    let notes = "SELECT string_agg(note, ' ' ORDER BY id) FROM t WHERE id BETWEEN 6 AND 9";
    assert_eq!(lab.on("a").value(notes).await, "second old third second");
    let newer = "SELECT ((SELECT max(txntime) FROM bucardo.delta_public_t WHERE id = 7)
                       > (SELECT max(txntime) FROM bucardo.delta_public_t WHERE id = 6))::text";
    assert_eq!(lab.on("a").value(newer).await, "true");
    assert_eq!(lab.settle().await, 0);
}
