//! Initial copies in pieces: several at once, of one snapshot, interrupted and gone on with.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bucardo::catalog::{CopyLimits, DeleteMethod, Mapping};
use bucardo::source::forget_sync;
use bucardo_actors::model::Failure;
use bucardo_actors::ports::{Rounds, StepHook, Watch};
use futures_util::FutureExt;
use tokio::sync::Notify;

use crate::support::{Accident, SyncLab, oldest_version, wait};

const SOON: Duration = Duration::from_secs(30);

/// A table with a key in the order of its pages and another unique column; one with a scattered key; one with text keys;
/// one of partitions; small ones, one of them empty; and a name that must be quoted.
const TABLES: &str = "CREATE TABLE big (id int PRIMARY KEY, mail text UNIQUE, note text);
    CREATE TABLE scattered (id uuid PRIMARY KEY, n int GENERATED ALWAYS AS IDENTITY);
    CREATE TABLE words (word text, n int, PRIMARY KEY (word, n));
    CREATE TABLE parted (id bigint PRIMARY KEY, note text) PARTITION BY RANGE (id);
    CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (MINVALUE) TO (2000);
    CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM (2000) TO (MAXVALUE);
    CREATE TABLE small (id int PRIMARY KEY, twice int);
    CREATE TABLE bare (id int PRIMARY KEY);
    CREATE TABLE \"Odd \"\" '\\table\" (\"Key \"\" '\\\" timestamptz PRIMARY KEY, note text);
    CREATE SEQUENCE numbers";
const GOATS: [&str; 8] = [
    "big:id",
    "scattered:id",
    "words:word,n",
    "parted:id",
    "small:id",
    "bare:id",
    "Odd \" '\\table:Key \" '\\",
    "numbers",
];
const ROWS: &str = "INSERT INTO big SELECT n, 'm' || n, repeat('x', 50) FROM generate_series(1, 5000) n;
    INSERT INTO scattered (id) SELECT md5(n::text)::uuid FROM generate_series(1, 4000) n;
    INSERT INTO words SELECT chr(32 + n % 90) || E'\\\\' || n, n FROM generate_series(1, 4000) n;
    INSERT INTO parted SELECT n, 'p' FROM generate_series(1, 4000) n;
    INSERT INTO small SELECT n, n * 2 FROM generate_series(1, 10) n;
    INSERT INTO \"Odd \"\" '\\table\" SELECT timestamptz '2020-01-01' + n * interval '1 hour', 'o' FROM generate_series(1, 4000) n;
    SELECT nextval('numbers') FROM generate_series(1, 9);
    ANALYZE";
/// Keys move to and fro between the pieces, unique values change hands, rows come and go, and a table is truncated.
const CHANGES: &str = "UPDATE big SET id = id + 10000 WHERE id % 50 = 1;
    UPDATE big SET id = id - 4900 WHERE id BETWEEN 4901 AND 4903 AND id - 4900 NOT IN (SELECT id FROM big);
    UPDATE big SET mail = 'swap' WHERE id = 2; UPDATE big SET mail = 'm2' WHERE id = 4999;
    UPDATE big SET mail = 'm4999' WHERE id = 2;
    DELETE FROM big WHERE id % 70 = 3; INSERT INTO big SELECT n, 'late' || n, 'l' FROM generate_series(20001, 20100) n;
    UPDATE scattered SET id = md5(id::text)::uuid WHERE n % 40 = 0; DELETE FROM scattered WHERE n % 41 = 0;
    UPDATE words SET word = 'z' || word WHERE n % 33 = 0; DELETE FROM words WHERE n % 34 = 0;
    UPDATE parted SET id = id + 2000000 WHERE id % 100 = 7;
    INSERT INTO bare SELECT generate_series(1, 5); DELETE FROM small WHERE id = 3;
    SELECT nextval('numbers')";

/// A sync of these tables whose copies go in small pieces.
async fn lab() -> SyncLab {
    let mut tables = TABLES.to_owned();
    if oldest_version() < 11 {
        // A partitioned table has no key there: a plain one takes its place.
        tables = tables.lines().filter(|line| !line.contains("parted_")).collect();
        tables = tables.replace(" PARTITION BY RANGE (id)", "");
    }
    let mut lab = SyncLab::empty(&["b"], &tables, &GOATS).await;
    lab.sync.copy = CopyLimits { workers: 3, chunk_bytes: 64 << 10, atomic_bytes: 0 };
    (lab.sync.onetimecopy, lab.sync.copy_request) = (1, 1);
    lab.on("a").run(ROWS).await;
    lab.on("b").run("INSERT INTO big VALUES (1, 'stale'), (99999, 'm7'); INSERT INTO small VALUES (77, 0)").await;
    lab.validate().await.unwrap();
    lab
}

async fn number(lab: &SyncLab, sql: &str) -> i64 {
    lab.on("b").number(sql).await
}

/// Runs `sql` on the source when the copy comes to `step` for the first time.
fn meanwhile(lab: &SyncLab, step: &str, sql: &str) -> Watch {
    let (conninfo, step, sql) = (lab.on("a").conninfo(), step.to_owned(), sql.to_owned());
    let once = Arc::new(AtomicBool::new(false));
    let hook: StepHook = Arc::new(move |at: &str| {
        let is_there = at.starts_with(&step) && !once.swap(true, Ordering::Relaxed);
        let (conninfo, sql) = (conninfo.clone(), sql.clone());
        async move {
            if is_there {
                let (client, connection) = tokio_postgres::connect(&conninfo, tokio_postgres::NoTls).await.unwrap();
                tokio::spawn(connection);
                client.batch_execute(&sql).await.unwrap();
            }
            Ok(())
        }
        .boxed()
    });
    Watch::default().with_hook(hook)
}

/// Pieces, tables and settings as the journal and the position of the target have them afterwards; then all is equal.
async fn assert_complete(lab: &mut SyncLab, attempts: i64) {
    assert_eq!(number(lab, "SELECT copy_request FROM bucardo.position").await, lab.sync.copy_request);
    assert_eq!(number(lab, "SELECT count(*) FROM bucardo.copy_chunk WHERE state <> 'done'").await, 0);
    assert_eq!(number(lab, "SELECT count(*) FROM bucardo.copy_table WHERE state <> 'done'").await, 0);
    let job = "SELECT attempt FROM bucardo.copy_job WHERE finished IS NOT NULL AND tables = tables_done AND bytes = bytes_total";
    assert_eq!(number(lab, job).await, attempts);
    lab.drain("b").await;
    lab.assert_same().await;
    let standing = "SELECT last_value FROM numbers";
    assert_eq!(number(lab, standing).await, lab.on("a").number(standing).await);
    assert!(lab.round("b").await.unwrap().is_empty());
}

/// What changes while the pieces are read arrives after them; the pieces themselves are of one snapshot.
#[tokio::test]
async fn pieces_are_of_one_snapshot_and_changes_follow() {
    let mut lab = lab().await;
    let watch = meanwhile(&lab, "piece 2 committed of public.big", CHANGES);
    let report = lab.round_watched("b", watch).await.unwrap();
    assert!(report.copied, "{report:?}");
    assert_eq!(report.inserts, 5000 + 4000 + 4000 + 4000 + 10 + 4000);
    assert_eq!(number(&lab, "SELECT count(*) FROM big").await, 5000);
    assert_eq!(number(&lab, "SELECT count(*) FROM scattered").await, 4000);
    assert!(number(&lab, "SELECT count(*) FROM bucardo.copy_chunk WHERE goat = 1").await > 4);
    // A scattered key makes every piece a walk through the table.
    assert_eq!(number(&lab, "SELECT count(*) FROM bucardo.copy_chunk WHERE goat = 2").await, 3);
    assert!(number(&lab, "SELECT count(*) FROM bucardo.copy_chunk WHERE goat = 3").await > 1, "text keys");
    assert!(number(&lab, "SELECT count(*) FROM bucardo.copy_chunk WHERE goat = 4").await > 1, "partitions");
    assert!(number(&lab, "SELECT count(*) FROM bucardo.copy_chunk WHERE goat = 7").await > 1, "odd names");
    assert_complete(&mut lab, 1).await;
}

/// The power fails at each kind of step, twice in a row, with changes after each: the copy goes on, no piece that was
/// committed is copied again, and every table is equal in the end.
#[tokio::test]
async fn an_interrupted_copy_goes_on_where_it_was() {
    for (step, again) in [
        ("copy planned", "piece"),
        ("piece 3 copied of public.big", "piece"),
        ("piece 2 committed of public.big", "copy planned"),
        ("piece 2 committed of public.scattered", "target committed"),
        // All pieces may be there by now: only what has failed is sure to come again.
        ("tended public.small", "tended public.small"),
        ("copy complete", "copy complete"),
    ] {
        let mut lab = lab().await;
        let fault = lab.round_failing("b", step, Accident::Fault).await;
        assert_eq!(fault.failure, Failure::Transient, "{fault}");
        // All but the table that is truncated later.
        let done = "SELECT count(*) FROM bucardo.copy_chunk WHERE state = 'done' AND attempt = 1 AND goat <> 3";
        let has_begun = number(&lab, "SELECT (to_regclass('bucardo.copy_chunk') IS NOT NULL)::int").await == 1;
        let first = if has_begun { number(&lab, done).await } else { 0 };
        lab.on("a").run(CHANGES).await;
        lab.round_failing("b", again, Accident::Fault).await;
        lab.on("a").run("UPDATE big SET id = -id WHERE id % 60 = 5; TRUNCATE words").await;
        lab.on("a").run("INSERT INTO words VALUES ('new', 1); UPDATE small SET twice = 0").await;
        let report = lab.round("b").await.unwrap();
        assert!(report.copied, "{step}: {report:?}");
        if has_begun {
            assert_eq!(number(&lab, done).await, first, "{step}: pieces of the first attempt stand");
            assert!(first > 0 || !step.contains("committed"), "{step}");
        }
        let attempts = number(&lab, "SELECT attempt FROM bucardo.copy_job").await;
        assert_complete(&mut lab, attempts).await;
    }
}

/// A crash in the middle of everything: panics close the connections, nothing else is cleaned up.
#[tokio::test]
async fn a_panic_in_the_middle_of_a_piece_is_recovered_from() {
    let lab = lab().await;
    let died = tokio::spawn(async move {
        let mut lab = lab;
        let died =
            std::panic::AssertUnwindSafe(lab.round_failing("b", "piece 3 copied of public.big", Accident::Panic));
        assert!(died.catch_unwind().await.is_err());
        lab
    });
    let mut lab = died.await.unwrap();
    lab.on("a").run(CHANGES).await;
    let report = wait::until("the copy to go on", SOON, async || lab.round("b").await.map_err(|fault| fault.message));
    assert!(report.await.copied);
    assert_complete(&mut lab, 2).await;
}

/// An attempt that was thought dead comes back after another one has begun: it may write nothing more.
#[tokio::test]
async fn a_former_attempt_is_fenced_off() {
    let mut lab = lab().await;
    let (reached, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (told, wait_for) = (reached.clone(), go_on.clone());
    let once = Arc::new(AtomicBool::new(false));
    let hook: StepHook = Arc::new(move |at: &str| {
        let is_there = at.starts_with("piece 2 committed of public.big") && !once.swap(true, Ordering::Relaxed);
        let (told, wait_for) = (told.clone(), wait_for.clone());
        async move {
            if is_there {
                told.notify_one();
                wait_for.notified().await;
            }
            Ok(())
        }
        .boxed()
    });
    lab.sync.copy.workers = 1;
    let mut first = lab.pair("b");
    let late = tokio::spawn(async move {
        let ended = first.round(bucardo_actors::model::Reason::Request, Watch::default().with_hook(hook)).await;
        ended.unwrap_err()
    });
    reached.notified().await;
    assert!(lab.round("b").await.unwrap().copied);
    go_on.notify_one();
    let fault = late.await.unwrap();
    assert_eq!((fault.failure, fault.message.contains("another round")), (Failure::Transient, true), "{fault}");
    assert_complete(&mut lab, 2).await;
}

/// Only empty tables are copied, before and after an interruption; the others keep their rows and get their changes.
#[tokio::test]
async fn filled_tables_are_never_wiped_by_a_copy_of_empty_ones() {
    let mut lab = lab().await;
    lab.sync.onetimecopy = 2;
    lab.on("b")
        .run("TRUNCATE big, small; INSERT INTO parted VALUES (-5, 'mine'); INSERT INTO small VALUES (-5, 0)")
        .await;
    lab.on("a").run("UPDATE small SET twice = 5 WHERE id = 5").await;
    lab.round_failing("b", "piece 2 committed of public.big", Accident::Fault).await;
    assert_eq!(number(&lab, "SELECT count(*) FROM small WHERE id IN (-5, 5)").await, 2);
    lab.on("a").run("UPDATE small SET twice = 6 WHERE id = 6; UPDATE big SET note = 'n' WHERE id % 9 = 0").await;
    assert!(lab.round("b").await.unwrap().copied);
    lab.drain("b").await;
    assert_eq!(number(&lab, "SELECT count(*) FROM parted").await, 1);
    assert_eq!(number(&lab, "SELECT sum(twice) FROM small").await, 11);
    lab.on("b")
        .run("DELETE FROM parted; DELETE FROM small; INSERT INTO small SELECT * FROM (VALUES (1, 1)) v LIMIT 0")
        .await;
    (lab.sync.copy_request, lab.sync.onetimecopy) = (2, 2);
    lab.renew();
    assert!(lab.round("b").await.unwrap().copied);
    lab.drain("b").await;
    lab.assert_same().await;
}

/// A copy that was interrupted goes on without tables that do not fit any more: one that it had begun and one that it had
/// not, and an index that cannot be made again. They come with all their rows when they fit.
#[tokio::test]
async fn an_interrupted_copy_goes_on_without_drifted_tables() {
    let mut lab = lab().await;
    lab.sync.rebuild_index = true;
    lab.on("b").run("CREATE INDEX notes ON big (note); CREATE INDEX mails ON big (mail, id)").await;
    lab.round_failing("b", "piece 2 committed of public.big", Accident::Fault).await;
    lab.on("a").run(CHANGES).await;
    lab.on("b").run("ALTER TABLE big DROP COLUMN note; ALTER TABLE words RENAME TO elsewhere").await;
    let report = lab.round("b").await.unwrap();
    let said = report.quarantine_told().join("\n");
    assert!(report.copied && said.contains("no column \"note\"") && said.contains("public.words"), "{report:?}");
    assert_eq!(number(&lab, "SELECT count(*) FROM pg_indexes WHERE indexname IN ('mails', 'notes')").await, 1);
    lab.drain("b").await;
    for table in ["scattered", "parted", "small", "bare"] {
        let rows = format!("SELECT count(*) FROM {table}");
        assert_eq!(number(&lab, &rows).await, lab.on("a").number(&rows).await, "{table}");
    }
    lab.on("b").run("ALTER TABLE big ADD COLUMN note text; ALTER TABLE elsewhere RENAME TO words").await;
    lab.on("a").run("DELETE FROM big WHERE id % 11 = 0; UPDATE words SET n = n + 1").await;
    lab.renew();
    assert_eq!(lab.round("b").await.unwrap().quarantine_told(), [""; 0]);
    lab.drain("b").await;
    lab.assert_same().await;
}

/// Indexes that were dropped come back, whenever the copy dies, and also when another copy takes its place.
#[tokio::test]
async fn dropped_indexes_come_back() {
    let indexes = "SELECT indexdef || coalesce(obj_description(to_regclass(quote_ident(indexname))), '') FROM pg_indexes \
        WHERE schemaname = 'public' ORDER BY 1";
    for (step, request) in [
        ("piece 2 committed of public.big", 1),
        ("copy planned", 1),
        ("indexes made", 1),
        ("piece 2 committed of public.big", 2),
    ] {
        let mut lab = lab().await;
        let odd = "CREATE INDEX \"odd ' index\" ON big (note, (mail || 'x')) WHERE id > 5; COMMENT ON INDEX \"odd ' index\" IS 'it''s'";
        lab.on("b").run(&format!("{odd}; CREATE INDEX ON parted_1 (note); CREATE UNIQUE INDEX once ON big (md5(mail)); CREATE INDEX ON small (twice)")).await;
        let before = lab.on("b").rows(indexes).await;
        lab.sync.rebuild_index = true;
        lab.round_failing("b", step, Accident::Fault).await;
        if step.starts_with("piece") {
            assert!(lab.on("b").rows(indexes).await.len() < before.len());
        }
        lab.on("a").run(CHANGES).await;
        lab.sync.copy_request = request;
        lab.renew();
        assert!(lab.round("b").await.unwrap().copied);
        assert_eq!(lab.on("b").rows(indexes).await, before, "{step}");
        let attempts = if request == 1 && step != "copy planned" { 2 } else { 1 };
        assert_complete(&mut lab, attempts).await;
    }
}

/// A sync is removed while a copy of it is broken off: nobody would make the indexes any more, so it is told how.
#[tokio::test]
async fn indexes_that_a_removed_sync_dropped_are_told() {
    let mut lab = lab().await;
    lab.on("b").run("CREATE UNIQUE INDEX \"on'ce\" ON big (md5(mail))").await;
    lab.sync.rebuild_index = true;
    lab.round_failing("b", "piece 2 committed of public.big", Accident::Fault).await;
    let count = "SELECT count(*) FROM pg_indexes WHERE indexname = 'on''ce'";
    assert_eq!(number(&lab, count).await, 0);
    let left = Box::pin(forget_sync(&lab.sync)).await.join("\n");
    assert!(left.contains("database \"b\": table public.big lacks indexes"), "{left}");
    let statement = &left[left.find("CREATE UNIQUE INDEX").unwrap()..];
    lab.on("b").run(statement.lines().next().unwrap()).await;
    assert_eq!(number(&lab, count).await, 1);
}

/// A table that is written anew while its pieces are read looks empty to the snapshot: it is copied again.
#[tokio::test]
async fn a_table_that_is_rewritten_meanwhile_is_copied_again() {
    let mut lab = lab().await;
    // Others would read the rest of the table while this one waits for the statement.
    lab.sync.copy.workers = 1;
    lab.renew();
    let watch =
        meanwhile(&lab, "piece 2 committed of public.big", "ALTER TABLE big ALTER note TYPE text USING note || '!'");
    let fault = lab.round_watched("b", watch).await.unwrap_err();
    assert_eq!((fault.failure, fault.message.contains("public.big")), (Failure::Transient, true), "{fault}");
    assert!(lab.round("b").await.unwrap().copied);
    assert_complete(&mut lab, 2).await;
    assert_eq!(number(&lab, "SELECT count(*) FROM bucardo.copy_chunk WHERE goat = 1 AND attempt = 1").await, 0);
}

/// A copy that has begun is finished, also when nobody wants it any more: a half of it is of no use.
#[tokio::test]
async fn a_copy_that_was_called_off_is_finished() {
    let mut lab = lab().await;
    lab.round_failing("b", "piece 2 committed of public.big", Accident::Fault).await;
    lab.sync.onetimecopy = 0;
    lab.renew();
    lab.on("a").run(CHANGES).await;
    assert!(lab.round("b").await.unwrap().copied);
    assert_complete(&mut lab, 2).await;
    // Without its journal nobody knows what is missing.
    lab.on("b").run("UPDATE bucardo.position SET copy_request = -1; DELETE FROM bucardo.copy_job").await;
    let fault = lab.round("b").await.unwrap_err();
    assert_eq!(fault.failure, Failure::Permanent);
    assert!(fault.hint.is_some_and(|hint| hint.contains("onetimecopy=1")), "{}", fault.message);
}

/// Tables join and leave the sync while its copy is interrupted.
#[tokio::test]
async fn tables_may_join_and_leave_an_interrupted_copy() {
    let mut lab = lab().await;
    lab.sync.rebuild_index = true;
    lab.on("b").run("CREATE INDEX kept ON parted_1 (note); CREATE INDEX gone ON words (n)").await;
    let (joining, all) = (lab.sync.goats[0].clone(), lab.sync.goats.clone());
    lab.sync.goats.retain(|goat| goat.id != joining.id);
    lab.validate().await.unwrap();
    lab.round_failing("b", "piece 2 committed of public.scattered", Accident::Fault).await;
    lab.sync.goats = all.into_iter().filter(|goat| goat.name != "words").collect();
    lab.validate().await.unwrap();
    lab.on("a").run(CHANGES).await;
    assert!(lab.round("b").await.unwrap().copied);
    assert_eq!(number(&lab, "SELECT count(*) FROM pg_indexes WHERE indexname IN ('kept', 'gone')").await, 2);
    lab.drain("b").await;
    lab.assert_same().await;
}

/// Other names, conditions, binary copies and both ways to truncate.
#[tokio::test]
async fn pieces_keep_mappings_and_options() {
    let mut lab = lab().await;
    lab.on("b")
        .run("CREATE SCHEMA other; ALTER TABLE small SET SCHEMA other; ALTER TABLE other.small RENAME TO little")
        .await;
    let mapping = |goat, name: Option<&str>, columns: Option<&str>, filter: Option<&str>| Mapping {
        goat,
        db: "b".into(),
        name: name.map(bucardo::pg::RelationName::parse),
        columns: columns.map(str::to_owned),
        filter: filter.map(str::to_owned),
    };
    lab.sync.mappings = vec![
        mapping(1, None, None, Some("id % 2 = 0")),
        mapping(3, None, Some("SELECT word, n"), None),
        mapping(5, Some("other.little"), Some("SELECT id, twice + 1 AS twice"), None),
    ];
    lab.sync.copyextra = "(FORMAT binary)".to_owned();
    lab.sync.deletemethod = DeleteMethod::TruncateCascade;
    lab.validate().await.unwrap();
    lab.round_failing("b", "piece 2 committed of public.big", Accident::Fault).await;
    lab.on("a").run("UPDATE big SET id = id + 20001 WHERE id % 3 = 0").await;
    assert!(lab.round("b").await.unwrap().copied);
    lab.drain("b").await;
    let sum = "SELECT count(*) || ' ' || sum(id) FROM big";
    assert_eq!(lab.on("b").value(sum).await, lab.on("a").value(&format!("{sum} WHERE id % 2 = 0")).await);
    assert_eq!(number(&lab, "SELECT count(*) FROM words").await, 4000);
    assert_eq!(number(&lab, "SELECT count(*) FROM bucardo.copy_chunk WHERE goat = 3").await, 1);
    assert_eq!(number(&lab, "SELECT sum(twice) FROM other.little").await, 120);
}

/// What a merge calls for one source from another: the copy, once, and nothing else.
#[tokio::test]
async fn only_the_copy_can_be_asked_for() {
    let mut lab = lab().await;
    let mut pair = lab.pair("b");
    assert!(pair.copy_only(&Watch::default()).await.unwrap().unwrap().copied);
    lab.on("a").run(CHANGES).await;
    assert_eq!(pair.copy_only(&Watch::default()).await.unwrap(), None);
    assert_eq!(number(&lab, "SELECT count(*) FROM big").await, 5000);
    assert_complete(&mut lab, 1).await;
}

/// Text has another order where another encoding writes it in other bytes: no piece takes rows of another one.
#[tokio::test]
async fn pieces_of_text_are_of_one_encoding() {
    let ddl = "CREATE TABLE words (word text, n int, PRIMARY KEY (word, n)); CREATE TABLE names (name text PRIMARY KEY, pad text)";
    let mut lab = SyncLab::empty(&["b"], ddl, &["words:word,n", "names:name"]).await;
    lab.encode("b", "KOI8R", ddl).await;
    lab.sync.copy = CopyLimits { workers: 1, chunk_bytes: 16 << 10, atomic_bytes: 0 };
    (lab.sync.onetimecopy, lab.sync.copy_request) = (1, 1);
    lab.on("a")
        .run("INSERT INTO words SELECT chr(1072 + n / 125), n FROM generate_series(0, 3999) n;
              INSERT INTO names SELECT chr(1072 + n / 125) || n, repeat('x', 50) FROM generate_series(0, 3999) n; ANALYZE")
        .await;
    lab.validate().await.unwrap();
    lab.round_failing("b", "piece 2 committed of public.words", Accident::Fault).await;
    assert!(lab.round("b").await.unwrap().copied);
    for sql in ["SELECT word, n FROM words", "SELECT name FROM names"] {
        let (mut here, mut there) = (lab.on("a").rows(sql).await, lab.on("b").rows(sql).await);
        here.sort();
        there.sort();
        assert!(here == there, "{sql}: {} rows instead of {}", there.len(), here.len());
    }
    // The number in the key serves as well.
    assert!(number(&lab, "SELECT count(*) FROM bucardo.copy_chunk WHERE goat = 1").await > 2);
}
