//! Merges of many rows: what lies side by side and what lies far apart arrive alike, and no conflict goes untold.

use crate::support::SyncLab;

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
    assert_eq!(lab.on("b").value("SELECT count(*) FROM bucardo.conflict").await, "0");
    lab.on("a").run("DROP TRIGGER refuse ON t").await;
    lab.renew();
    let report = lab.merge().await.unwrap();
    assert_eq!((report.conflicts, report.inserts), (1, 1), "{report:?}");
    lab.assert_same().await;
    assert_eq!(lab.conflicts.all().len(), 1);
    assert_eq!(lab.settle().await, 0);
}
