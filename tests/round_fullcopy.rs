//! Databases with the role fullcopy: every round copies every table whole, in one transaction, or not at all.

use std::time::Duration;

use bucardo::catalog::{DeleteMethod, Mapping, Role};
use bucardo::lab::{Cluster, Folder, Settings};
use bucardo::pg::RelationName;
use bucardo_actors::model::Failure;
use bucardo_actors::ports::Watch;
use futures_util::FutureExt;

use crate::support::sync_lab::member;
use crate::support::{Accident, Database, SyncLab, all_know, wait};

const ORDERS: &str = "CREATE TABLE orders (id int PRIMARY KEY, note text)";
/// A parent, a child, a child that points at itself, a table without a key.
const FAMILY: &str = "CREATE TABLE parent (id int PRIMARY KEY, note text);
    CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent, boss int REFERENCES child);
    CREATE TABLE loose (word text, number int);
    CREATE SEQUENCE numbers";
const FAMILY_GOATS: [&str; 4] = ["child:id", "parent:id", "loose:", "numbers"];

impl SyncLab {
    /// Gives a database another role.
    fn make(&mut self, name: &str, role: Role) {
        let conninfo = self.on(name).conninfo();
        for place in &mut self.sync.members {
            if place.db.name.as_str() == name {
                *place = member(name, &conninfo, role);
            }
        }
    }
}

/// A sync that copies a to b and nothing else, not validated.
async fn copies(ddl: &str, goats: &[&str]) -> SyncLab {
    let mut lab = SyncLab::empty(&["b"], ddl, goats).await;
    lab.make("b", Role::Fullcopy);
    lab
}

async fn family() -> SyncLab {
    let mut lab = copies(FAMILY, &FAMILY_GOATS).await;
    lab.validate().await.unwrap();
    lab.on("a").run("INSERT INTO parent SELECT n, 'n' || n FROM generate_series(1, 50) n").await;
    lab.on("a").run("INSERT INTO child SELECT n, n, 1 FROM generate_series(1, 50) n").await;
    lab.on("a").run("INSERT INTO loose VALUES ('same', 1), ('same', 1), (NULL, NULL), (E'a\\\\.\\tb\\n', 2)").await;
    lab.on("a").run("SELECT nextval('numbers') FROM generate_series(1, 7)").await;
    lab
}

/// Rows that the source lacks go, duplicate rows and rows without any value arrive as often as they are, and it is the
/// same again the next time, with every way to empty a table.
#[tokio::test]
async fn a_copy_makes_the_tables_the_same_with_and_without_keys() {
    for method in [DeleteMethod::Delete, DeleteMethod::Truncate, DeleteMethod::TruncateCascade] {
        let mut lab = family().await;
        lab.sync.deletemethod = method;
        lab.on("b").run("INSERT INTO parent VALUES (1, 'stale'), (99, 'gone'); INSERT INTO child VALUES (7, 99)").await;
        lab.on("b").run("INSERT INTO loose VALUES ('gone', 0)").await;
        let report = lab.round("b").await.unwrap();
        assert_eq!((report.inserts, report.copied), (104, true), "{method:?}");
        assert_eq!(report.deletes, if method == DeleteMethod::Delete { 4 } else { 0 }, "{method:?}");
        lab.assert_same().await;
        assert_eq!(lab.on("b").value("SELECT last_value FROM numbers").await, "7");
        lab.on("a").run("DELETE FROM child WHERE id > 10; INSERT INTO loose VALUES ('same', 1)").await;
        lab.on("b").run("SELECT setval('numbers', 700)").await;
        assert_eq!(lab.round("b").await.unwrap().inserts, 65, "{method:?}");
        lab.assert_same().await;
        assert_eq!(lab.on("b").value("SELECT last_value FROM numbers").await, "7");
    }
}

/// The source of such a sync gets no triggers, no schema, and nothing that holds back its purge; a standby would do.
#[tokio::test]
async fn the_source_of_copies_gets_nothing() {
    let mut lab = family().await;
    lab.round("b").await.unwrap();
    let a = lab.on("a");
    assert_eq!(a.number("SELECT count(*) FROM pg_namespace WHERE nspname = 'bucardo'").await, 0);
    assert_eq!(a.number("SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal").await, 0);
    assert_eq!(lab.on("b").rows("SELECT round, inserts FROM bucardo.position").await, ["1|104"]);
}

/// A role that may only read the source is enough there.
#[tokio::test]
async fn reading_is_all_that_the_source_has_to_allow() {
    let mut lab = family().await;
    let role = format!("reader_{}", lab.on("a").name);
    let a = lab.on("a");
    a.run(&format!("CREATE ROLE {role} LOGIN; GRANT SELECT ON parent, child, loose, numbers TO {role}")).await;
    a.run(&format!("REVOKE ALL ON DATABASE \"{}\" FROM public", a.name)).await;
    a.run(&format!("GRANT CONNECT ON DATABASE \"{}\" TO {role}", a.name)).await;
    a.run(&format!("REVOKE CREATE ON SCHEMA public FROM public; GRANT USAGE ON SCHEMA public TO {role}")).await;
    let words = format!("host={} port={} user={role} dbname={}", a.host, a.port, a.name);
    lab.sync.members[0] = member("a", &words, Role::Source);
    lab.validate().await.unwrap();
    lab.round("b").await.unwrap();
    lab.assert_same().await;
}

/// Whole copies are read from a standby as well: nothing is written there.
#[tokio::test]
async fn a_standby_can_be_copied() {
    if !all_know(12, "standby.signal") {
        return;
    }
    let folder = Folder::new("bucardo-standby").unwrap();
    let mut cluster = Cluster::start(folder.path(), "standby", &Settings::default()).unwrap();
    let database = Database::create(&cluster, "source").await;
    database.run(FAMILY).await;
    database
        .run("INSERT INTO parent VALUES (1, 'x'); INSERT INTO loose VALUES ('y', 1); SELECT nextval('numbers')")
        .await;
    cluster.stop().unwrap();
    std::fs::write(cluster.data().join("standby.signal"), "").unwrap();
    cluster.start_again().unwrap();
    let database = Database::of(&cluster, &database.name).await;
    assert_eq!(database.value("SELECT pg_is_in_recovery()").await, "t");
    let mut lab = copies(FAMILY, &FAMILY_GOATS).await;
    lab.sync.members[0] = member("a", &database.conninfo(), Role::Source);
    lab.validate().await.unwrap();
    assert_eq!(lab.round("b").await.unwrap().inserts, 2);
    assert_eq!(lab.on("b").rows("SELECT * FROM parent").await, ["1|x"]);
    assert_eq!(lab.on("b").value("SELECT is_called FROM numbers").await, "t");
}

/// Tables without a key are for syncs that make nothing but copies.
#[tokio::test]
async fn a_target_beside_asks_for_keys() {
    let mut lab = SyncLab::empty(&["b", "c"], FAMILY, &FAMILY_GOATS).await;
    lab.make("c", Role::Fullcopy);
    let told = lab.validate().await.unwrap_err().told();
    assert_eq!(told, "Table \"public.loose\" must specify a primary key!");
}

/// The power fails at each step in turn: the target is as before, or as after the copy, and never in between; the next
/// copy makes it right.
#[tokio::test]
async fn death_at_every_step_leaves_nothing_half() {
    let steps = [
        ("connected", false),
        ("fenced", false),
        ("snapshot taken", false),
        ("rows deleted of public.child", false),
        ("rows deleted of public.parent", false),
        ("indexes dropped of public.child", false),
        ("rows copied of public.child", false),
        ("indexes made of public.child", false),
        ("rows copied of public.loose", false),
        ("position written", false),
        ("target committed", true),
        ("tended public.parent", true),
    ];
    for method in [DeleteMethod::Delete, DeleteMethod::Truncate] {
        let mut lab = family().await;
        lab.sync.deletemethod = method;
        lab.sync.rebuild_index = true;
        lab.on("b").run("CREATE INDEX child_parent ON child (parent); INSERT INTO parent VALUES (99, 'old')").await;
        lab.on("b").run("INSERT INTO child VALUES (7, 99); INSERT INTO loose VALUES ('old', 0)").await;
        let before = state(&lab).await;
        for (step, is_delivered) in steps {
            let fault = lab.round_failing("b", step, Accident::Fault).await;
            assert_eq!((fault.failure, fault.message.contains(step)), (Failure::Transient, true), "{fault}");
            if is_delivered {
                lab.assert_same().await;
                assert_eq!(indexes(&lab).await, before[0], "{step}");
            } else {
                assert_eq!(state(&lab).await, before, "half a copy at {step}");
            }
        }
        lab.on("a").run("UPDATE parent SET note = 'new'").await;
        lab.round("b").await.unwrap();
        lab.assert_same().await;
        assert_eq!(lab.on("b").value("SELECT round FROM bucardo.position").await, "3");
    }
}

async fn state(lab: &SyncLab) -> Vec<Vec<String>> {
    let mut state = vec![indexes(lab).await];
    for table in ["parent", "child", "loose"] {
        state.push(lab.on("b").rows(&format!("SELECT * FROM {table} ORDER BY 1")).await);
    }
    state
}

async fn indexes(lab: &SyncLab) -> Vec<String> {
    let sql = "SELECT indexdef, i.indisunique, i.indisvalid, obj_description(i.indexrelid, 'pg_class'), p.tablespace \
        FROM pg_indexes p JOIN pg_index i ON i.indexrelid = (quote_ident(schemaname) || '.' || quote_ident(indexname))::regclass \
        WHERE schemaname NOT IN ('bucardo', 'pg_catalog') ORDER BY 1";
    lab.on("b").rows(sql).await
}

/// The server ends the session in the middle of a copy whose indexes are gone: they were never gone for anybody else.
#[tokio::test]
async fn a_kill_between_drop_and_rebuild_leaves_the_indexes() {
    let mut lab = copies(ORDERS, &["orders:id"]).await;
    lab.sync.rebuild_index = true;
    lab.on("b").run("CREATE INDEX orders_note ON orders (note)").await;
    lab.validate().await.unwrap();
    lab.on("a").run("INSERT INTO orders SELECT n, 'new' FROM generate_series(1, 1000) n").await;
    lab.on("b").run("INSERT INTO orders VALUES (1, 'old')").await;
    let before = indexes(&lab).await;
    let killer = std::sync::Arc::new(lab.on("b").session().await);
    let hook = std::sync::Arc::new(move |step: &str| {
        let (is_there, killer) = (step.starts_with("rows copied"), killer.clone());
        async move {
            if is_there {
                let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                    WHERE application_name LIKE 'bucardo KID%' AND datname = current_database()";
                killer.batch_execute(sql).await.unwrap();
            }
            Ok(())
        }
        .boxed()
    });
    let fault = lab.round_watched("b", Watch::default().with_hook(hook)).await.unwrap_err();
    assert_eq!(fault.failure, Failure::Transient, "{fault}");
    assert_eq!(lab.on("b").rows("SELECT * FROM orders").await, ["1|old"]);
    assert_eq!(indexes(&lab).await, before);
    let again = wait::until("the fence to be free", Duration::from_secs(10), async || {
        lab.round("b").await.map_err(|fault| fault.message)
    });
    assert_eq!(again.await.inserts, 1000);
    lab.assert_same().await;
    assert_eq!(indexes(&lab).await, before);
}

/// Every index comes back as it was, with its comment, whatever it is made of; those that constraints and other things
/// hang on are never touched, and a table may say by itself whether it wants that at all.
#[tokio::test]
async fn indexes_come_back_as_they_were() {
    let ddl = "CREATE TABLE \"Odd; --\" (id int PRIMARY KEY, \"No te\" text, n int, r int4range);
        CREATE TABLE kept (id int PRIMARY KEY, n int);
        CREATE TABLE parts (id int) PARTITION BY RANGE (id);
        CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (1000)";
    let mut lab = copies(ddl, &["Odd; --:id", "kept:id", "parts:"]).await;
    lab.sync.rebuild_index = true;
    lab.sync.goats[1].rebuild_index = Some(false);
    let b = lab.on("b");
    b.run(
        "CREATE INDEX \"In dex\" ON \"Odd; --\" (lower(\"No te\") DESC NULLS LAST, n) WHERE n > 3;
        COMMENT ON INDEX \"In dex\" IS 'it''s; mine';
        CREATE UNIQUE INDEX odd_unique ON \"Odd; --\" (n) INCLUDE (id) WITH (fillfactor = 70);
        CREATE INDEX odd_hash ON \"Odd; --\" USING hash (n); CREATE INDEX odd_gist ON \"Odd; --\" USING gist (r);
        CREATE INDEX odd_clustered ON \"Odd; --\" (n, id); ALTER TABLE \"Odd; --\" CLUSTER ON odd_clustered;
        CREATE INDEX odd_statistics ON \"Odd; --\" ((n + 1)); ALTER INDEX odd_statistics ALTER COLUMN 1 SET STATISTICS 500;
        ALTER TABLE \"Odd; --\" ADD CONSTRAINT odd_exclude EXCLUDE USING gist (r WITH &&);
        CREATE UNIQUE INDEX odd_referenced ON \"Odd; --\" (id, n);
        CREATE TABLE other (id int, n int, FOREIGN KEY (id, n) REFERENCES \"Odd; --\" (id, n));
        CREATE INDEX kept_n ON kept (n); CREATE INDEX parts_id ON parts (id)",
    )
    .await;
    let b = lab.on("b");
    let (before, oids) = (indexes(&lab).await, b.rows("SELECT oid, relname FROM pg_class WHERE relkind = 'i'").await);
    lab.validate().await.unwrap();
    lab.on("a")
        .run("INSERT INTO \"Odd; --\" SELECT n, 'x', n, int4range(n, n + 1) FROM generate_series(1, 20) n")
        .await;
    lab.on("a").run("INSERT INTO kept VALUES (1, 1); INSERT INTO parts VALUES (1), (1), (2)").await;
    lab.round("b").await.unwrap();
    lab.round("b").await.unwrap();
    lab.assert_same().await;
    assert_eq!(indexes(&lab).await, before);
    let renewed = oids.iter().map(|row| row.split_once('|').unwrap());
    let mut names = Vec::new();
    for (oid, name) in renewed {
        if lab.on("b").number(&format!("SELECT count(*) FROM pg_class WHERE oid = {oid}")).await == 0 {
            names.push(name.to_owned());
        }
    }
    names.sort();
    assert_eq!(names, ["In dex", "odd_gist", "odd_hash", "odd_unique"]);
    // Rows that an index of the target does not take fail the copy as a whole.
    lab.on("a").run("UPDATE \"Odd; --\" SET n = 5").await;
    let fault = lab.round("b").await.unwrap_err();
    assert!(fault.message.contains("making an index of table \"public.Odd; --\""), "{fault}");
    assert_eq!(indexes(&lab).await, before);
}

/// `TRUNCATE` is refused for a table that others point at. Tables that only point at each other are emptied by one;
/// a table that something else points at is emptied by `DELETE`; `truncate_cascade` takes that something, too.
#[tokio::test]
async fn foreign_keys_decide_who_is_truncated() {
    for (method, outside, filenode_stays, left) in [
        (DeleteMethod::Truncate, false, false, 1),
        (DeleteMethod::Truncate, true, true, 1),
        (DeleteMethod::Delete, false, true, 1),
        (DeleteMethod::TruncateCascade, true, false, 0),
    ] {
        let mut lab = family().await;
        lab.sync.deletemethod = method;
        let b = lab.on("b");
        b.run("INSERT INTO parent VALUES (1, 'old'); INSERT INTO child VALUES (1, 1)").await;
        let points = if outside { "REFERENCES parent" } else { "" };
        b.run(&format!("CREATE TABLE outside (parent int {points}); INSERT INTO outside VALUES (1)")).await;
        let filenode = "SELECT pg_relation_filenode('parent')";
        let before = b.value(filenode).await;
        lab.round("b").await.unwrap();
        lab.assert_same().await;
        let b = lab.on("b");
        assert_eq!(b.value(filenode).await == before, filenode_stays, "{method:?} {outside}");
        assert_eq!(b.number("SELECT count(*) FROM outside").await, left, "{method:?} {outside}");
    }
}

/// Partitions with foreign keys count with their parents, and are emptied and filled through them.
#[tokio::test]
async fn partitioned_tables_are_truncated_with_their_partitions() {
    if !all_know(11, "keys of partitioned tables") {
        return;
    }
    let ddl = "CREATE TABLE base (id int PRIMARY KEY);
        CREATE TABLE parts (id int, base int REFERENCES base) PARTITION BY RANGE (id);
        CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10);
        CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (10) TO (20)";
    let mut lab = copies(ddl, &["base:id", "parts:"]).await;
    lab.sync.deletemethod = DeleteMethod::Truncate;
    lab.validate().await.unwrap();
    for name in ["a", "b"] {
        lab.on(name).run("INSERT INTO base VALUES (1)").await;
    }
    lab.on("a").run("INSERT INTO parts SELECT n, 1 FROM generate_series(0, 19) n").await;
    lab.on("b").run("INSERT INTO parts VALUES (5, 1), (5, 1)").await;
    let before = lab.on("b").value("SELECT pg_relation_filenode('base')").await;
    lab.round("b").await.unwrap();
    lab.assert_same().await;
    assert_ne!(lab.on("b").value("SELECT pg_relation_filenode('base')").await, before);
}

/// Options of `COPY` hold for both sides; wrong ones are the server's to refuse, and change nothing.
#[tokio::test]
async fn copyextra_holds_for_both_sides() {
    for extra in ["(FORMAT binary)", "(FORMAT csv, NULL '~', DELIMITER ';')", "WITH (NULL 'nothing')"] {
        let mut lab = family().await;
        lab.sync.copyextra = extra.to_owned();
        assert_eq!(lab.round("b").await.unwrap().inserts, 104, "{extra}");
        lab.assert_same().await;
    }
    let mut lab = family().await;
    lab.on("b").run("INSERT INTO parent VALUES (99, 'old')").await;
    lab.sync.copyextra = "(FORMAT odd)".to_owned();
    let fault = lab.round("b").await.unwrap_err();
    assert_eq!(fault.failure, Failure::Permanent);
    assert!(fault.message.contains("COPY format \"odd\" not recognized"), "{fault}");
    assert_eq!(lab.on("b").rows("SELECT * FROM parent").await, ["99|old"]);
}

/// A ghost is left alone.
#[tokio::test]
async fn a_ghost_is_not_copied() {
    let mut lab = family().await;
    lab.sync.deletemethod = DeleteMethod::Truncate;
    for goat in &mut lab.sync.goats {
        goat.ghost = goat.name != "loose";
    }
    lab.on("b").run("INSERT INTO parent VALUES (99, 'own')").await;
    assert_eq!(lab.round("b").await.unwrap().inserts, 4);
    assert_eq!(lab.on("b").rows("SELECT * FROM parent").await, ["99|own"]);
    assert_eq!(lab.on("b").value("SELECT is_called FROM numbers").await, "f");
}

/// Vacuum and analyze come after the commit, as sync and table agree on.
#[tokio::test]
async fn vacuum_and_analyze_follow_the_commit() {
    let mut lab = copies(
        "CREATE TABLE vacuumed (id int); CREATE TABLE analyzed (id int); CREATE TABLE neither (id int)",
        &["vacuumed:", "analyzed:", "neither:"],
    )
    .await;
    lab.sync.vacuum_after_copy = true;
    (lab.sync.goats[1].vacuum_after_copy, lab.sync.goats[2].vacuum_after_copy) = (false, false);
    lab.sync.goats[2].analyze_after_copy = false;
    lab.validate().await.unwrap();
    for table in ["vacuumed", "analyzed", "neither"] {
        lab.on("a").run(&format!("INSERT INTO {table} SELECT n FROM generate_series(1, 5000) n")).await;
        lab.on("b").run(&format!("ALTER TABLE {table} SET (autovacuum_enabled = off)")).await;
    }
    lab.round("b").await.unwrap();
    lab.round("b").await.unwrap();
    let known = "SELECT relname, reltuples = 5000, relallvisible > 0 FROM pg_class \
        WHERE relname IN ('vacuumed', 'analyzed', 'neither') ORDER BY 1";
    assert_eq!(lab.on("b").rows(known).await, ["analyzed|t|f", "neither|f|f", "vacuumed|t|t"]);
}

/// All tables of a copy are of one snapshot, whatever writers do meanwhile.
#[tokio::test]
async fn a_copy_is_of_one_snapshot() {
    let mut lab = family().await;
    let writer = std::sync::Arc::new(lab.on("a").session().await);
    let hook = std::sync::Arc::new(move |step: &str| {
        let (is_there, writer) = (step.starts_with("rows copied of public.child"), writer.clone());
        async move {
            if is_there {
                writer.batch_execute("DELETE FROM child; DELETE FROM parent; DELETE FROM loose").await.unwrap();
            }
            Ok(())
        }
        .boxed()
    });
    assert_eq!(lab.round_watched("b", Watch::default().with_hook(hook)).await.unwrap().inserts, 104);
    assert_eq!(lab.on("a").number("SELECT count(*) FROM parent").await, 0);
    assert_eq!(lab.on("b").number("SELECT count(*) FROM parent").await, 50);
    lab.round("b").await.unwrap();
    lab.assert_same().await;
}

/// A target and a copy side by side: changes go to the one, copies to the other, and the copy holds back no purge.
#[tokio::test]
async fn a_target_and_a_copy_live_side_by_side() {
    let mut lab = SyncLab::empty(&["b", "c"], ORDERS, &["orders:id"]).await;
    lab.make("c", Role::Fullcopy);
    lab.validate().await.unwrap();
    lab.on("a").run("INSERT INTO orders VALUES (1, 'one')").await;
    assert_eq!(lab.drain("b").await, 1);
    assert_eq!(lab.on("c").number("SELECT count(*) FROM orders").await, 0);
    assert_eq!(lab.on("a").rows("SELECT target FROM bucardo.track").await, ["b"]);
    lab.round("c").await.unwrap();
    lab.assert_same().await;
    // It becomes a target: from now on it gets changes; then a copy again, and the source forgets it.
    lab.make("c", Role::Target);
    lab.validate().await.unwrap();
    assert_eq!(lab.on("a").rows("SELECT target FROM bucardo.track ORDER BY 1").await, ["b", "c"]);
    lab.make("c", Role::Fullcopy);
    lab.validate().await.unwrap();
    assert_eq!(lab.on("a").rows("SELECT target FROM bucardo.track ORDER BY 1").await, ["b"]);
    // Without targets nothing is captured for the sync any more.
    lab.make("b", Role::Fullcopy);
    lab.validate().await.unwrap();
    assert_eq!(lab.on("a").number("SELECT count(*) FROM bucardo.captured_sync").await, 0);
    lab.on("a").run("INSERT INTO orders VALUES (2, 'two')").await;
    lab.round("b").await.unwrap();
    lab.round("c").await.unwrap();
    lab.assert_same().await;
}

/// A copy may have other names, other columns and some of the rows, as a target may.
#[tokio::test]
async fn a_copy_is_made_through_its_mapping() {
    for (method, rebuild) in [(DeleteMethod::Delete, false), (DeleteMethod::Truncate, true)] {
        let mut lab = family().await;
        (lab.sync.deletemethod, lab.sync.rebuild_index, lab.sync.vacuum_after_copy) = (method, rebuild, true);
        lab.on("b").run("CREATE SCHEMA other; CREATE TABLE other.heap (shout text, number int, own int)").await;
        lab.on("b").run("CREATE INDEX heap_number ON other.heap (number); DROP TABLE loose").await;
        lab.on("b").run("INSERT INTO other.heap VALUES ('old', 0, 1); CREATE SEQUENCE counter").await;
        let goat = |place: usize| lab.sync.goats[place].id;
        let mapping = |goat, name, columns: Option<&str>, filter: Option<&str>| Mapping {
            goat,
            db: "b".into(),
            name: Some(RelationName::parse(name)),
            columns: columns.map(str::to_owned),
            filter: filter.map(str::to_owned),
        };
        lab.sync.mappings = vec![
            mapping(goat(2), "other.heap", Some("SELECT upper(word) AS shout, number"), Some("number < 2 -- or more")),
            mapping(goat(3), "counter", None, None),
        ];
        lab.validate().await.unwrap();
        assert_eq!(lab.round("b").await.unwrap().inserts, 102);
        assert_eq!(lab.on("b").rows("SELECT * FROM other.heap").await, ["SAME|1|", "SAME|1|"]);
        assert_eq!(lab.on("b").value("SELECT last_value FROM counter").await, "7");
        assert_eq!(lab.on("b").value("SELECT is_called FROM numbers").await, "f");
    }
}

/// Two tables in one would be a heap of both: custom names that came after the validation are looked at, too.
#[tokio::test]
async fn two_tables_are_never_copied_into_one() {
    let ddl = "CREATE TABLE one (id int); CREATE TABLE two (id int)";
    let mut lab = copies(ddl, &["one:", "two:"]).await;
    lab.validate().await.unwrap();
    lab.on("a").run("INSERT INTO one VALUES (1); INSERT INTO two VALUES (2)").await;
    lab.sync.mappings = vec![Mapping {
        goat: lab.sync.goats[1].id,
        db: "b".into(),
        name: Some(RelationName::parse("one")),
        columns: None,
        filter: None,
    }];
    let fault = lab.round("b").await.unwrap_err();
    assert_eq!(fault.failure, Failure::Permanent);
    assert!(fault.message.contains("table \"public.one\" is \"public.one\" there, too"), "{fault}");
    assert_eq!(lab.on("b").number("SELECT count(*) FROM one").await, 0);
    lab.sync.mappings.clear();
    lab.round("b").await.unwrap();
    lab.assert_same().await;
}

/// Two copies of the same pair exclude each other.
#[tokio::test]
async fn two_copies_at_once_exclude_each_other() {
    let mut lab = family().await;
    let other = lab.on("b").session().await;
    other.batch_execute("BEGIN; SELECT FROM bucardo.position FOR UPDATE").await.unwrap();
    let fault = lab.round("b").await.unwrap_err();
    assert_eq!(fault.message, "another round still writes to database \"b\"");
    assert_eq!(fault.failure, Failure::Transient);
    other.batch_execute("COMMIT").await.unwrap();
    lab.round("b").await.unwrap();
    lab.assert_same().await;
}

/// A table that is gone is named, and so is a copy that was never validated.
#[tokio::test]
async fn what_is_missing_is_named() {
    let mut lab = copies(ORDERS, &["orders:id"]).await;
    let fault = lab.round("b").await.unwrap_err();
    assert!(fault.message.contains("database \"b\""), "{fault}");
    assert_eq!(fault.hint.unwrap(), "run: bucardo validate s");
    lab.validate().await.unwrap();
    lab.on("b").run("DROP TABLE orders").await;
    let fault = lab.round("b").await.unwrap_err();
    assert_eq!(
        fault.message,
        "table \"public.orders\" cannot be replicated to database \"b\": it does not exist there"
    );
}

/// `onetimecopy` empties everything before it fills anything: a cascade takes no row that was just copied.
#[tokio::test]
async fn a_onetimecopy_with_cascade_keeps_what_it_copied() {
    for method in [DeleteMethod::Truncate, DeleteMethod::TruncateCascade] {
        // The child comes first, so that emptying its parent later would empty it again.
        let mut lab = SyncLab::empty(&["b"], FAMILY, &["child:id", "parent:id"]).await;
        lab.sync.deletemethod = method;
        (lab.sync.onetimecopy, lab.sync.copy_request) = (1, 1);
        for name in ["a", "b"] {
            lab.on(name).run("INSERT INTO parent VALUES (1, 'x'); INSERT INTO child VALUES (1, 1)").await;
        }
        lab.validate().await.unwrap();
        assert!(lab.round("b").await.unwrap().copied);
        lab.assert_same().await;
        assert_eq!(lab.on("b").number("SELECT count(*) FROM child").await, 1, "{method:?}");
    }
}

/// A table whose definitions differ is passed over, and told; the next copy tries it again.
#[tokio::test]
async fn a_copy_passes_over_a_drifted_table() {
    let mut lab = copies("CREATE TABLE t (id int, v text); CREATE TABLE u (id int)", &["t:", "u:"]).await;
    lab.validate().await.unwrap();
    lab.on("a").run("INSERT INTO t VALUES (1, 'x'); INSERT INTO u VALUES (1)").await;
    lab.on("b").run("ALTER TABLE t DROP COLUMN v; INSERT INTO t VALUES (7)").await;
    let report = lab.round("b").await.unwrap();
    let told = report.quarantine_told().concat();
    assert!(told.contains("quarantined table \"public.t\"") && told.contains("no column \"v\""), "{report:?}");
    assert_eq!(lab.on("b").rows("SELECT id FROM t UNION ALL SELECT id FROM u").await, ["7", "1"]);
    lab.on("b").run("ALTER TABLE t ADD COLUMN v text").await;
    assert_eq!(lab.round("b").await.unwrap().quarantine_told(), [""; 0]);
    lab.assert_same().await;
}

/// The first row is refused: that is heard of, with its column, before most of the table has been sent; by whichever way
/// the rows come.
#[tokio::test]
async fn a_refused_row_ends_a_copy_at_once() {
    const ROWS: u64 = 60;
    // Progress is told for each 64 kB.
    const PIECES: u64 = ROWS * 2_000_000 / (64 * 1024);
    let ddl = "CREATE TABLE t (id int PRIMARY KEY, pad text)";
    for way in ["fullcopy", "onetimecopy", "pieces", "batch"] {
        let mut lab =
            if way == "fullcopy" { copies(ddl, &["t:id"]).await } else { SyncLab::start(&["b"], ddl, &["t:id"]).await };
        lab.on("a")
            .run(&format!("INSERT INTO t SELECT n, repeat('x', 2000000) FROM generate_series(1, {ROWS}) n"))
            .await;
        lab.validate().await.unwrap();
        lab.on("b").run("ALTER TABLE t ADD CONSTRAINT narrow CHECK (pad <> repeat('x', 2000000))").await;
        match way {
            "fullcopy" | "batch" => {}
            _ => (lab.sync.onetimecopy, lab.sync.copy_request) = (1, 1),
        }
        if way == "pieces" {
            (lab.sync.copy.atomic_bytes, lab.sync.copy.workers) = (0, 1);
        }
        let watch = Watch::default();
        let said = match lab.round_watched("b", watch.clone()).await {
            Ok(report) => report.quarantine_told().join("; "),
            Err(fault) => fault.message,
        };
        assert!(said.contains("narrow"), "{way}: {said}");
        // A batch is tried twice before its table is put aside, and then some of its keys get names.
        let (moved, most) = (watch.progress(), if way == "batch" { 3 * PIECES } else { PIECES / 2 });
        assert!(moved < most, "{way}: {moved} pieces of {PIECES} were sent");
        assert_eq!(lab.on("b").number("SELECT count(*) FROM t").await, 0, "{way}");
    }
}
