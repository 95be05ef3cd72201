//! A table that does not fit at one source of a merge stays behind there with the difference named; all else goes on,
//! nothing of it is lost or purged, and it comes back by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bucardo::catalog::Role;
use bucardo::engine::Step;
use bucardo::pg::{Connection, connect};
use bucardo::source::floor::Looks;
use bucardo::source::purge::{Bound, Bounds, PurgeLimits, purge_within, survey};
use bucardo_actors::model::{Pair, Reason};
use bucardo_actors::ports::{Rounds, StepHook, Watch};
use futures_util::FutureExt;

use crate::merge_traps::failing_once;
use crate::support::sync_lab::member;
use crate::support::{SyncLab, all_know};

const TWO: &str = "CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE u (id int PRIMARY KEY, v text)";

async fn lab(sources: &[&str]) -> SyncLab {
    let mut lab = SyncLab::masters(sources, &[], TWO, &["t:id", "u:id"]).await;
    lab.on("a")
        .run("INSERT INTO t SELECT n, 'first' FROM generate_series(1, 6) n; INSERT INTO u VALUES (1, 'first')")
        .await;
    lab.settle().await;
    lab
}

/// A merge that goes well; what it says of its quarantine.
async fn told(lab: &mut SyncLab) -> String {
    let report = lab.merge().await.unwrap();
    assert!(report.away.is_empty(), "{report:?}");
    report.quarantine_told().join("\n")
}

/// Deletes every delta row that nobody waits for any more, at all sources; returns how many.
async fn purge_all(lab: &SyncLab) -> u64 {
    let sync = &lab.sync;
    let mut open: Vec<(&str, Connection)> = Vec::new();
    for db in sync.dbs(Role::Source) {
        open.push((db.name.as_str(), connect(&db.access, "test").await.unwrap()));
    }
    let mut surveys = Vec::new();
    for (db, source) in &open {
        surveys.push(survey(source, &(*db).into()).await.unwrap());
    }
    let (mut looks, mut oldest) = (Looks::default(), None);
    for (db, source) in &open {
        let unread = looks.oldest_unread(source, &(*db).into(), &sync.name).await.unwrap();
        oldest = [oldest, unread].into_iter().flatten().min();
    }
    let bounds = Bounds::from([(sync.name.clone(), oldest.map_or(Bound::Free, Bound::Before))]);
    let limits = PurgeLimits { keep: Duration::ZERO, ..PurgeLimits::default() };
    let mut rows = 0;
    for ((db, source), survey) in open.iter().zip(&surveys) {
        rows +=
            purge_within(source, &(*db).into(), (survey, &bounds), None, limits, &Watch::default()).await.unwrap().rows;
    }
    rows
}

/// No database remembers a quarantine.
async fn assert_forgotten(lab: &SyncLab, sources: &[&str], why: &str) {
    for db in sources {
        assert_eq!(lab.on(db).number("SELECT count(*) FROM bucardo.quarantine").await, 0, "{why}: at {db}");
        assert_eq!(lab.on(db).number("SELECT count(*) FROM bucardo.quarantined").await, 0, "{why}: at {db}");
    }
}

/// Each kind of difference, its words, and its end, among two sources and among three. Meanwhile everybody writes, and
/// all that may be is purged.
#[tokio::test]
async fn a_drifted_table_stays_behind_at_its_source_and_comes_back_whole() {
    for (place, drift, words, mend) in [
        ("b", "ALTER TABLE t DROP COLUMN v", "no column \"v\"", "ALTER TABLE t ADD COLUMN v text"),
        ("b", "ALTER TABLE t ADD COLUMN w int", "no column \"w\"", "ALTER TABLE t DROP COLUMN w"),
        ("b", "ALTER TABLE t RENAME TO elsewhere", "another name", "ALTER TABLE elsewhere RENAME TO t"),
        (
            "b",
            "ALTER TABLE t ADD CHECK (v <> 'a2') NOT VALID",
            "violates check",
            "ALTER TABLE t DROP CONSTRAINT t_v_check",
        ),
        (
            "b",
            "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''not today''; END';
               CREATE TRIGGER no BEFORE INSERT ON t EXECUTE PROCEDURE no(); ALTER TABLE t ENABLE ALWAYS TRIGGER no",
            "not today",
            "DROP TRIGGER no ON t",
        ),
    ] {
        for sources in [&["a", "b"][..], &["a", "b", "c"]] {
            let why = format!("{drift} of {sources:?}");
            let mut lab = lab(sources).await;
            lab.on(place).run(drift).await;
            let there = if drift.contains("RENAME") { "elsewhere" } else { "t" };
            lab.on("a")
                .run("UPDATE t SET v = 'a2' WHERE id IN (1, 2); DELETE FROM t WHERE id = 3; UPDATE u SET v = 'second'")
                .await;
            if !drift.contains("RAISE") && !drift.contains("DROP COLUMN") {
                lab.on("b")
                    .run(&format!(
                        "UPDATE {there} SET v = 'b2' WHERE id IN (2, 4); INSERT INTO {there} (id, v) VALUES (7, 'b2')"
                    ))
                    .await;
            }
            let said = told(&mut lab).await;
            assert!(
                said.contains("quarantined table \"public.t\" on database") && said.contains(words),
                "{why}: {said}"
            );
            for db in sources {
                assert_eq!(lab.on(db).rows("SELECT v FROM u").await, ["second"], "{why} at {db}");
            }
            // The work goes on, here and there.
            lab.on("b").run("UPDATE u SET v = 'third'").await;
            lab.on(sources[sources.len() - 1])
                .run(&format!("UPDATE {} SET v = 'last' WHERE id = 5", if sources.len() == 3 { "t" } else { "u" }))
                .await;
            lab.on("a").run("INSERT INTO t (id, v) VALUES (8, 'a3')").await;
            assert!(told(&mut lab).await.contains(words), "{why}");
            assert_eq!(lab.on("a").rows("SELECT v FROM u").await, ["third"], "{why}");
            if sources.len() == 3 {
                assert_eq!(lab.on("a").value("SELECT v FROM t WHERE id = 5").await, "last", "{why}");
                assert_eq!(lab.on("c").value("SELECT v FROM t WHERE id = 1").await, "a2", "{why}");
            }
            purge_all(&lab).await;
            // A new session knows it from the databases alone.
            lab.renew();
            lab.on(place).run(mend).await;
            assert_eq!(told(&mut lab).await, "", "{why}");
            lab.settle().await;
            if drift.contains("DROP COLUMN") {
                // What was in the column went with it.
                lab.on("b").run("UPDATE t SET v = 'again' WHERE v IS NULL").await;
                lab.settle().await;
            }
            lab.assert_same().await;
            if !drift.contains("RAISE") && !drift.contains("DROP COLUMN") {
                let rows = lab.on("a").rows("SELECT id, v FROM t WHERE id IN (1, 2, 4, 7) ORDER BY 1").await;
                assert_eq!(rows, ["1|a2", "2|b2", "4|b2", "7|b2"], "{why}");
            }
            assert_eq!(lab.on("b").number("SELECT count(*) FROM t WHERE id = 3").await, 0, "{why}");
            assert_forgotten(&lab, sources, &why).await;
            lab.settle().await;
            purge_all(&lab).await;
            assert_eq!(lab.on("a").number("SELECT count(*) FROM bucardo.delta_public_t").await, 0, "{why}");
        }
    }
}

/// What was decided of a table before it was put aside, and what competes with it afterwards, is told as one conflict
/// for each key that was changed on both sides, and as none for the others, however much was purged meanwhile.
#[tokio::test]
async fn what_was_purged_meanwhile_makes_no_false_conflict() {
    let mut lab = lab(&["a", "b", "c"]).await;
    lab.on("b").run("ALTER TABLE t ADD COLUMN w int").await;
    lab.on("a").run("UPDATE t SET v = 'a2' WHERE id = 1").await;
    told(&mut lab).await;
    lab.on("c").run("UPDATE t SET v = 'c3' WHERE id = 1").await;
    lab.on("b").run("UPDATE t SET v = 'b2' WHERE id = 2").await;
    told(&mut lab).await;
    lab.on("a").run("UPDATE t SET v = 'a4' WHERE id IN (1, 2)").await;
    told(&mut lab).await;
    purge_all(&lab).await;
    lab.on("b").run("ALTER TABLE t DROP COLUMN w").await;
    assert_eq!(told(&mut lab).await, "");
    lab.settle().await;
    lab.assert_same().await;
    assert_eq!(lab.on("b").rows("SELECT v FROM t WHERE id < 3 ORDER BY id").await, ["a4", "a4"]);
    let keys: Vec<String> = lab.conflicts.all().iter().map(|conflict| format!("{conflict:?}")).collect();
    assert_eq!(keys.len(), 1, "{keys:?}");
    assert!(keys[0].contains('2'), "{keys:?}");
}

/// The power fails at every step of the merge that puts a table aside, and of the one that takes it up again.
#[tokio::test]
async fn a_crash_at_any_step_loses_nothing() {
    for step in [
        "snapshot",
        "rows copied of public.u",
        "position written",
        "committed on a",
        "committed on b",
        "committed on c",
        "track written",
    ] {
        let mut lab = lab(&["a", "b", "c"]).await;
        lab.on("b").run("ALTER TABLE t DROP COLUMN v").await;
        lab.on("a").run("UPDATE t SET v = 'a2' WHERE id < 3; UPDATE u SET v = 'a2'").await;
        lab.on("c").run("DELETE FROM t WHERE id = 4").await;
        // It dies in the second try, the one without the table.
        let (watch, _) = failing_once(step);
        let _ = lab.merge_watched(watch).await;
        purge_all(&lab).await;
        assert!(told(&mut lab).await.contains("\"v\""), "{step}");
        purge_all(&lab).await;
        lab.on("c").run("UPDATE u SET v = 'newer'; UPDATE t SET v = 'c3' WHERE id = 1").await;
        lab.on("b").run("ALTER TABLE t ADD COLUMN v text").await;
        lab.renew();
        let (watch, _) = failing_once(step);
        lab.merge_watched(watch).await.unwrap_err();
        purge_all(&lab).await;
        assert_eq!(told(&mut lab).await, "", "{step}");
        lab.settle().await;
        for (id, v) in [(1, "c3"), (2, "a2")] {
            assert_eq!(lab.on("b").value(&format!("SELECT v FROM t WHERE id = {id}")).await, v, "{step}");
        }
        assert_eq!(lab.on("b").number("SELECT count(*) FROM t WHERE id = 4").await, 0, "{step}");
        assert_forgotten(&lab, &["a", "b", "c"], step).await;
    }
}

/// A source goes away while another one has a table aside, and is back later than the table, or earlier.
#[tokio::test]
async fn sources_that_are_away_meanwhile_miss_nothing() {
    for is_back_first in [true, false] {
        let mut lab = lab(&["a", "b", "c"]).await;
        let place = lab.sync.members.iter().position(|member| member.db.name.as_str() == "c").unwrap();
        let there = lab.sync.members[place].clone();
        let nowhere = lab.on("c").words_through(1);
        lab.on("b").run("ALTER TABLE t ADD COLUMN w int").await;
        lab.on("a").run("UPDATE t SET v = 'a2' WHERE id = 1").await;
        lab.on("b").run("UPDATE t SET v = 'b2' WHERE id = 2").await;
        assert!(told(&mut lab).await.contains("\"w\""));
        lab.sync.members[place] = member("c", &nowhere, Role::Source);
        lab.renew();
        lab.on("c").run("UPDATE t SET v = 'c2' WHERE id = 3; UPDATE u SET v = 'c2'").await;
        lab.on("b").run("UPDATE t SET v = 'b3' WHERE id = 4").await;
        lab.on("a").run("UPDATE t SET v = 'a3' WHERE id = 5").await;
        let report = lab.merge().await.unwrap();
        assert_eq!(report.away.len(), 1, "{report:?}");
        purge_all_but(&lab, "c", &there).await;
        if is_back_first {
            lab.sync.members[place] = there.clone();
            lab.renew();
            assert!(told(&mut lab).await.contains("\"w\""));
            assert_eq!(lab.on("a").value("SELECT v FROM t WHERE id = 3").await, "c2");
            assert_eq!(lab.on("c").value("SELECT v FROM t WHERE id = 5").await, "a3");
            lab.on("b").run("ALTER TABLE t DROP COLUMN w").await;
        } else {
            lab.on("b").run("ALTER TABLE t DROP COLUMN w").await;
            let report = lab.merge().await.unwrap();
            assert_eq!(report.quarantine_told(), [""; 0], "{report:?}");
            assert_eq!(lab.on("a").rows("SELECT v FROM t WHERE id IN (2, 4) ORDER BY id").await, ["b2", "b3"]);
            lab.sync.members[place] = there.clone();
            lab.renew();
        }
        assert_eq!(told(&mut lab).await, "");
        lab.settle().await;
        lab.assert_same().await;
        let rows = lab.on("c").rows("SELECT v FROM t WHERE id < 6 ORDER BY id").await;
        assert_eq!(rows, ["a2", "b2", "c2", "b3", "a3"]);
        assert_eq!(lab.conflicts.all().len(), 0);
        assert_forgotten(&lab, &["a", "b", "c"], "away").await;
    }
}

/// A purge while a source cannot be asked does nothing.
async fn purge_all_but(lab: &SyncLab, name: &str, there: &bucardo::catalog::Member) {
    let mut sync = lab.sync.clone();
    sync.members.retain(|member| member.db.name.as_str() != name);
    let _ = there;
    for db in sync.dbs(Role::Source) {
        let source = connect(&db.access, "test").await.unwrap();
        let survey = survey(&source, &db.name).await.unwrap();
        let bounds = Bounds::from([(sync.name.clone(), Bound::Unknown)]);
        let limits = PurgeLimits { keep: Duration::ZERO, ..PurgeLimits::default() };
        assert_eq!(
            purge_within(&source, &db.name, (&survey, &bounds), None, limits, &Watch::default()).await.unwrap().rows,
            0
        );
    }
}

/// A target follows the source that has the table aside, and then another one: it gets what it could not get before.
#[tokio::test]
async fn a_follower_of_the_source_that_stayed_behind_misses_nothing() {
    let mut lab = SyncLab::masters(&["a", "b"], &["x"], TWO, &["t:id", "u:id"]).await;
    let follow = |lab: &SyncLab, source: &str| {
        let pair = Pair { sync: lab.sync.name.clone(), source: source.into(), target: "x".into() };
        bucardo::engine::PairSession::new(std::sync::Arc::new(lab.sync.clone()), pair)
    };
    lab.on("a")
        .run("INSERT INTO t SELECT n, 'first' FROM generate_series(1, 6) n; INSERT INTO u VALUES (1, 'first')")
        .await;
    lab.settle().await;
    follow(&lab, "a").round(Reason::Request, Watch::default()).await.unwrap();
    lab.on("a").run("ALTER TABLE t ADD COLUMN w int").await;
    lab.on("x").run("ALTER TABLE t ADD COLUMN w int").await;
    lab.on("a").run("UPDATE t SET v = 'a2' WHERE id = 1; UPDATE u SET v = 'a2'").await;
    lab.merge().await.unwrap();
    assert_eq!(lab.on("b").value("SELECT v FROM u").await, "a2");
    // b has merged a, but for the table.
    lab.on("b").run("ALTER TABLE t ADD COLUMN w int").await;
    follow(&lab, "b").round(Reason::Request, Watch::default()).await.unwrap();
    assert_eq!(lab.on("x").value("SELECT v FROM u").await, "a2");
    purge_all(&lab).await;
    follow(&lab, "a").round(Reason::Request, Watch::default()).await.unwrap();
    assert_eq!(lab.on("x").value("SELECT v FROM t WHERE id = 1").await, "a2");
    lab.settle().await;
    follow(&lab, "a").round(Reason::Request, Watch::default()).await.unwrap();
    lab.assert_same().await;
}

/// Capture is switched off at one source: the table waits there, the others go on, and what is captured is delivered.
#[tokio::test]
async fn a_table_that_is_not_captured_waits() {
    let mut lab = lab(&["a", "b", "c"]).await;
    lab.on("b").run("UPDATE t SET v = 'b2' WHERE id = 1; ALTER TABLE t DISABLE TRIGGER ALL").await;
    lab.on("a").run("UPDATE t SET v = 'a2' WHERE id = 2; UPDATE u SET v = 'a2'").await;
    assert!(told(&mut lab).await.contains("capture of its changes is missing on database \"b\""));
    assert_eq!(lab.on("c").value("SELECT v FROM t WHERE id = 2").await, "a2");
    assert_eq!(lab.on("b").value("SELECT v FROM u").await, "a2");
    lab.on("b").run("ALTER TABLE t ENABLE TRIGGER ALL").await;
    let said = told(&mut lab).await;
    assert_eq!(said, "");
    lab.settle().await;
    lab.assert_same().await;
    assert_eq!(lab.on("c").value("SELECT v FROM t WHERE id = 1").await, "b2");
}

/// A partition that is attached with rows in it at one source, and written to directly, arrives without a validation.
#[tokio::test]
async fn a_partition_attached_later_is_merged() {
    if !all_know(11, "keys of partitioned tables") {
        return;
    }
    let ddl = "CREATE TABLE p (id int, k text, v text, PRIMARY KEY (id, k)) PARTITION BY LIST (k);
               CREATE TABLE p_a PARTITION OF p FOR VALUES IN ('a');
               CREATE TABLE p_b (id int, k text, v text, PRIMARY KEY (id, k))";
    let mut lab = SyncLab::masters(&["a", "b"], &[], ddl, &["p:id,k"]).await;
    lab.on("a").run("INSERT INTO p VALUES (1, 'a', 'x')").await;
    lab.settle().await;
    lab.on("b").run("INSERT INTO p_b SELECT n, 'b', 'before' FROM generate_series(1, 1500) n").await;
    for db in ["a", "b"] {
        lab.on(db).run("ALTER TABLE p ATTACH PARTITION p_b FOR VALUES IN ('b')").await;
    }
    lab.on("b").run("UPDATE p_b SET v = 'direct' WHERE id = 5; DELETE FROM p_b WHERE id = 6").await;
    lab.on("a").run("INSERT INTO p VALUES (7000, 'b', 'y')").await;
    lab.settle().await;
    lab.assert_same().await;
    assert_eq!(lab.on("a").number("SELECT count(*) FROM p").await, 1501);
    lab.on("a").run("UPDATE p_b SET v = 'captured' WHERE id = 9").await;
    lab.settle().await;
    lab.assert_same().await;
    assert_eq!(lab.on("b").value("SELECT v FROM p WHERE id = 9").await, "captured");
    for db in ["a", "b"] {
        assert_eq!(lab.on(db).number("SELECT count(*) FROM bucardo.adopted").await, 0);
    }
}

/// The rows of a partition that is captured late have no time: what they are told as may be newer than a change of them that
/// was captured in time elsewhere, and none of that may be lost. What only one source has arrives, and equal rows are no
/// conflict.
#[tokio::test]
async fn rows_of_a_partition_captured_late_are_older_than_any_change() {
    if !all_know(11, "keys of partitioned tables") {
        return;
    }
    let ddl = "CREATE TABLE p (id int, k text, v text, PRIMARY KEY (id, k)) PARTITION BY LIST (k);
               CREATE TABLE p_a PARTITION OF p FOR VALUES IN ('a');
               CREATE TABLE p_b PARTITION OF p FOR VALUES IN ('b')";
    let mut lab = SyncLab::masters(&["a", "b", "c"], &[], ddl, &["p:id,k"]).await;
    lab.on("b").run("INSERT INTO p SELECT n, 'b', 'first' FROM generate_series(1, 50) n").await;
    lab.settle().await;
    // As if it had been attached meanwhile: only statements on the parent are captured.
    for db in ["a", "b", "c"] {
        let triggers = "SELECT string_agg(format('DROP TRIGGER %I ON p_b', tgname), ';') FROM pg_trigger
                        WHERE tgrelid = 'p_b'::regclass AND tgname LIKE 'bucardo%'";
        let drops = lab.on(db).value(triggers).await;
        lab.on(db).run(&drops).await;
    }
    lab.on("b").run("UPDATE p SET v = 'captured' WHERE id <= 20; DELETE FROM p WHERE id = 50").await;
    lab.on("a").run("UPDATE p_b SET v = 'direct' WHERE id = 30; INSERT INTO p_b VALUES (60, 'b', 'only a')").await;
    lab.on("a").run("INSERT INTO p_b VALUES (70, 'b', 'of a')").await;
    lab.on("c").run("INSERT INTO p_b VALUES (70, 'b', 'of c')").await;
    lab.settle().await;
    lab.assert_same().await;
    let found = lab.on("c").rows("SELECT v, count(*) FROM p WHERE id < 50 AND id <> 30 GROUP BY v ORDER BY v").await;
    assert_eq!(found, ["captured|20", "first|28"]);
    // Where nobody captured a change, one of the rows is taken: the one told as a conflict is the only one.
    assert_eq!(lab.on("b").value("SELECT v FROM p WHERE id = 60").await, "only a");
    let told = lab.conflicts.all();
    assert!(told.iter().all(|it| ["30", "70"].contains(&it.key["id"].as_str().unwrap())), "{told:?}");
    assert_eq!(lab.on("a").number("SELECT count(*) FROM p WHERE id IN (50, 70)").await, 1, "the deletion was captured");
    lab.on("c").run("UPDATE p_b SET v = 'later' WHERE id IN (1, 30, 60, 70)").await;
    lab.settle().await;
    lab.assert_same().await;
    assert_eq!(lab.on("a").number("SELECT count(*) FROM p WHERE v = 'later'").await, 4);
}

/// The first source is copied to the others, and a table does not fit at one of them: the rest is copied and merged. The
/// table stays aside there, also when it fits, until it has its old rows, too: with the next copy that somebody asks for.
#[tokio::test]
async fn the_first_copy_goes_on_without_a_drifted_table() {
    let mut lab = SyncLab::masters(&["a", "b", "c"], &[], TWO, &["t:id", "u:id"]).await;
    lab.on("a")
        .run(
            "SET session_replication_role = replica; INSERT INTO t SELECT n, 'old' FROM generate_series(1, 6) n;
              INSERT INTO u VALUES (1, 'old'); RESET session_replication_role",
        )
        .await;
    lab.on("b").run("ALTER TABLE t DROP COLUMN v; INSERT INTO t VALUES (77)").await;
    (lab.sync.onetimecopy, lab.sync.copy_request) = (1, 1);
    lab.renew();
    assert!(lab.merge().await.unwrap().copied);
    lab.on("a").run("UPDATE t SET v = 'a2' WHERE id = 1").await;
    lab.on("c").run("UPDATE t SET v = 'c2' WHERE id = 2; UPDATE u SET v = 'c2'").await;
    let said = told(&mut lab).await;
    assert!(said.contains("no column \"v\"") && said.contains("left out") && said.contains("onetimecopy=1"), "{said}");
    for db in ["a", "b", "c"] {
        assert_eq!(lab.on(db).rows("SELECT v FROM u").await, ["c2"], "{db}");
    }
    assert_eq!(lab.on("c").rows("SELECT v FROM t WHERE id < 4 ORDER BY id").await, ["a2", "c2", "old"]);
    assert_eq!(lab.on("b").rows("SELECT id FROM t").await, ["77"]);
    // That it fits is not enough.
    lab.on("b").run("ALTER TABLE t ADD COLUMN v text").await;
    lab.renew();
    assert!(told(&mut lab).await.contains("left out"));
    purge_all(&lab).await;
    lab.on("b").run("UPDATE u SET v = 'b3'").await;
    lab.settle().await;
    assert_eq!(lab.on("a").rows("SELECT v FROM u").await, ["b3"]);
    assert_eq!(lab.on("b").rows("SELECT id FROM t").await, ["77"]);
    lab.sync.copy_request = 2;
    lab.renew();
    assert!(lab.merge().await.unwrap().copied);
    assert_eq!(told(&mut lab).await, "");
    lab.settle().await;
    lab.on("b").run("UPDATE t SET v = 'b4' WHERE id = 3").await;
    lab.settle().await;
    lab.assert_same().await;
    assert_eq!(lab.on("c").rows("SELECT v FROM t ORDER BY id").await, ["a2", "c2", "b4", "old", "old", "old"]);
    assert_forgotten(&lab, &["a", "b", "c"], "first copy").await;
}

/// The type of a key is widened at one source after the other, while changes wait at all of them and others are made.
#[tokio::test]
async fn a_key_is_widened_at_one_source_after_the_other() {
    let mut lab = lab(&["a", "b", "c"]).await;
    for (at, db) in ["b", "a", "c"].iter().enumerate() {
        lab.on("a").run(&format!("UPDATE t SET v = 'a{at}' WHERE id = 1; UPDATE u SET v = 'a{at}'")).await;
        lab.on("b").run(&format!("UPDATE t SET v = 'b{at}' WHERE id = 2; DELETE FROM t WHERE id = {}", at + 4)).await;
        lab.on("c").run(&format!("INSERT INTO t VALUES ({}, 'c')", 100 + at)).await;
        lab.on(db).run("SELECT bucardo.alter_table('t', 'ALTER COLUMN id TYPE bigint')").await;
        lab.merge().await.unwrap();
        assert_eq!(lab.on("b").rows("SELECT v FROM u").await, [format!("a{at}")], "the rest goes on");
    }
    lab.on("b").run("INSERT INTO t VALUES (5000000000, 'b')").await;
    assert_eq!(told(&mut lab).await, "");
    lab.settle().await;
    lab.assert_same().await;
    let rows = lab.on("c").rows("SELECT id, v FROM t ORDER BY id").await;
    assert_eq!(rows, ["1|a2", "2|b2", "3|first", "100|c", "101|c", "102|c", "5000000000|b"]);
    assert_forgotten(&lab, &["a", "b", "c"], "widened").await;
}

/// Many tables are changed at one source in one go, as a migration does it: the merge starts over once, not once for each.
#[tokio::test]
async fn many_drifted_tables_are_put_aside_at_once() {
    let names: Vec<String> = (0..6).map(|n| format!("d{n}")).collect();
    let create = |name: &String| format!("CREATE TABLE {name} (id int PRIMARY KEY, v text);");
    let keys: Vec<String> = names.iter().map(|name| format!("{name}:id")).chain(["fit:id".to_owned()]).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let ddl = format!("{} {}", names.iter().map(create).collect::<String>(), create(&"fit".to_owned()));
    let mut lab = SyncLab::masters(&["a", "b"], &[], &ddl, &keys).await;
    lab.settle().await;
    for name in &names {
        lab.on("b").run(&format!("ALTER TABLE {name} DROP COLUMN v")).await;
        lab.on("a").run(&format!("INSERT INTO {name} VALUES (1, 'a')")).await;
    }
    lab.on("a").run("INSERT INTO fit VALUES (1, 'a')").await;
    let begun = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&begun);
    let hook: StepHook = Arc::new(move |at: &str| {
        count.fetch_add(usize::from(at == Step::Snapshot.to_string()), Ordering::SeqCst);
        async { Ok(()) }.boxed()
    });
    let report = lab.merge_watched(Watch::default().with_hook(hook)).await.unwrap();
    assert_eq!(report.quarantined.len(), 6, "{report:?}");
    assert!(begun.load(Ordering::SeqCst) <= 3, "{begun:?} times");
    assert_eq!(lab.on("b").rows("SELECT v FROM fit").await, ["a"]);
    for name in &names {
        lab.on("b").run(&format!("ALTER TABLE {name} ADD COLUMN v text")).await;
    }
    lab.merge().await.unwrap();
    lab.settle().await;
    for name in &names {
        assert_eq!(lab.on("b").rows(&format!("SELECT v FROM {name}")).await, ["a"], "{name}");
    }
}

/// Keys that only a server can compare are compared at a source that has the table: the first one may stay behind with it.
#[tokio::test]
async fn keys_are_compared_where_the_table_is() {
    let ddl = "CREATE TABLE t (id numeric PRIMARY KEY, v text); CREATE TABLE u (id numeric PRIMARY KEY, v text)";
    for (whole, part) in [("t", "u"), ("u", "t")] {
        let mut lab = SyncLab::masters(&["a", "b", "c"], &[], ddl, &["t:id", "u:id"]).await;
        lab.on("a").run(&format!("ALTER TABLE {part} RENAME TO elsewhere")).await;
        lab.on("a").run(&format!("INSERT INTO {whole} VALUES (1.0, 'a')")).await;
        lab.on("b").run(&format!("INSERT INTO {whole} VALUES (2.0, 'b'); INSERT INTO {part} VALUES (3.0, 'b')")).await;
        lab.on("c").run(&format!("INSERT INTO {part} VALUES (4.0, 'c')")).await;
        let merged = tokio::time::timeout(Duration::from_secs(60), told(&mut lab)).await.expect("a merge that ends");
        assert!(merged.contains(part) && !merged.contains("\"b\""), "{merged}");
        for name in ["b", "c"] {
            assert_eq!(
                lab.on(name).rows(&format!("SELECT id FROM {part} ORDER BY 1")).await,
                ["3.0", "4.0"],
                "at {name}"
            );
            assert_eq!(
                lab.on(name).rows(&format!("SELECT id FROM {whole} ORDER BY 1")).await,
                ["1.0", "2.0"],
                "at {name}"
            );
        }
        lab.on("a").run(&format!("ALTER TABLE elsewhere RENAME TO {part}")).await;
        assert_eq!(told(&mut lab).await, "");
        lab.settle().await;
        lab.assert_same().await;
    }
}

/// A type of a source comes to keep fewer digits: nobody would refuse the values that it rounds, so nobody gets to write
/// them, in whichever order the types change and whether the type has a name of its own.
#[tokio::test]
async fn values_that_a_source_would_round_stay_behind() {
    let ddl = "CREATE DOMAIN price AS numeric(8,4); CREATE DOMAIN cheap AS numeric(8,2);
        CREATE TABLE t (id int PRIMARY KEY, at timestamp); CREATE TABLE d (id int PRIMARY KEY, p price)";
    let mut lab = SyncLab::masters(&["a", "b"], &[], ddl, &["t:id", "d:id"]).await;
    lab.on("b").run("ALTER DOMAIN price RENAME TO fine; ALTER DOMAIN cheap RENAME TO price").await;
    lab.on("b").run("ALTER TABLE t ALTER at TYPE timestamp(0); ALTER TABLE d ALTER p TYPE price").await;
    lab.on("a").run("INSERT INTO t VALUES (1, '2000-01-01 10:00:00.6'); INSERT INTO d VALUES (1, 1.2345)").await;
    lab.on("b").run("INSERT INTO t VALUES (2, '2000-01-01 10:00:00'); INSERT INTO d VALUES (2, 2)").await;
    let said = told(&mut lab).await;
    for words in
        ["type timestamp(0) without time zone instead of", "type public.price, which is numeric(8,2) instead of"]
    {
        assert!(said.contains(words) && !said.contains("\"a\""), "{said}");
    }
    assert_eq!(lab.on("b").value("SELECT count(*) FROM t").await, "1");
    lab.on("a").run("ALTER TABLE t ALTER at TYPE timestamp(0)").await;
    lab.on("b").run("ALTER TABLE d ALTER p TYPE fine; ALTER DOMAIN price RENAME TO cheap").await;
    lab.on("b").run("ALTER DOMAIN fine RENAME TO price").await;
    assert_eq!(told(&mut lab).await, "");
    lab.settle().await;
    lab.assert_same().await;
    assert_eq!(lab.on("b").rows("SELECT at FROM t ORDER BY id").await, ["2000-01-01 10:00:01", "2000-01-01 10:00:00"]);
    assert_eq!(lab.on("b").rows("SELECT p FROM d ORDER BY id").await, ["1.2345", "2.0000"]);
}
