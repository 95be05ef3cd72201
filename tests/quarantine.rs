//! A table that cannot be delivered as it is stays behind with the difference named; the others go on, nothing of it is
//! lost, and it comes back by itself.

use std::sync::Arc;
use std::time::Duration;

use bucardo::source::purge::{PurgeLimits, purge};
use bucardo::source::validate_sync;
use bucardo_actors::model::Fault;
use bucardo_actors::ports::{StepHook, Watch};
use futures_util::FutureExt;

use crate::support::{Accident, SyncLab, Town, all_know, difference, wait};

const TWO: &str = "CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE u (id int PRIMARY KEY, v text)";

async fn two() -> SyncLab {
    SyncLab::start(&["b"], TWO, &["t:id", "u:id"]).await
}

/// What a round says of its quarantine; the round itself must be good.
async fn told(lab: &mut SyncLab) -> String {
    lab.round("b").await.unwrap().quarantine_told().join("\n")
}

/// A round whose quarantine is told with these words.
async fn says(lab: &mut SyncLab, words: &str) {
    let said = told(lab).await;
    assert!(said.contains(words), "{words}: {said}");
}

/// Deletes every delta row that nobody waits for any more.
async fn purge_all(lab: &SyncLab) -> u64 {
    let member = &lab.sync.members[0];
    let source = bucardo::pg::connect(&member.db.access, "test").await.unwrap();
    let limits = PurgeLimits { keep: Duration::ZERO, ..PurgeLimits::default() };
    purge(&source, &member.db.name, limits, &Watch::default()).await.unwrap().rows
}

/// A dot in a name makes no table another one: only the one that differs is put aside.
#[tokio::test]
async fn tables_whose_names_read_alike_are_two() {
    let ddl = "CREATE SCHEMA a; CREATE SCHEMA \"a.b\"; CREATE TABLE a.\"b.c\" (id int PRIMARY KEY, v text);
               CREATE TABLE \"a.b\".c (id int PRIMARY KEY, v text)";
    let mut lab = SyncLab::empty(&["b"], ddl, &["c:id", "c:id"]).await;
    for (goat, (schema, name)) in lab.sync.goats.iter_mut().zip([("a", "b.c"), ("a.b", "c")]) {
        (goat.schema, goat.name) = (schema.to_owned(), name.to_owned());
    }
    lab.validate().await.unwrap();
    let (one, two) = (("a.\"b.c\"", "\"a.b.c\""), ("\"a.b\".c", "\"a.b\".\"c\""));
    for ((drifted, label), (other, other_label)) in [(one, two), (two, one)] {
        lab.on("b").run(&format!("ALTER TABLE {drifted} RENAME v TO w")).await;
        lab.on("a")
            .run(&format!(
                "INSERT INTO {drifted} SELECT count(*) FROM {drifted}; INSERT INTO {other} SELECT count(*) FROM {other}"
            ))
            .await;
        let said = told(&mut lab).await;
        assert!(said.contains(label) && !said.contains(other_label), "{said}");
        assert_eq!(difference(lab.on("a"), lab.on("b"), other).await, None);
        lab.on("b").run(&format!("ALTER TABLE {drifted} RENAME w TO v")).await;
        lab.drain("b").await;
        assert_eq!(told(&mut lab).await, "");
        lab.assert_same().await;
    }
}

/// Each kind of difference, its words, and its end. Meanwhile the other table moves and the source is purged.
#[tokio::test]
async fn a_drifted_table_stays_behind_and_comes_back_whole() {
    for (place, drift, words, mend) in [
        ("b", "ALTER TABLE t DROP COLUMN v", "no column \"v\"", "ALTER TABLE t ADD COLUMN v text"),
        ("a", "ALTER TABLE t ADD COLUMN w int", "no column \"w\"", "ALTER TABLE t DROP COLUMN w"),
        ("b", "ALTER TABLE t RENAME TO elsewhere", "does not exist", "ALTER TABLE elsewhere RENAME TO t"),
        ("a", "ALTER TABLE t RENAME TO elsewhere", "it has another name", "ALTER TABLE elsewhere RENAME TO t"),
        (
            "b",
            "ALTER TABLE t ALTER v TYPE varchar(5)",
            "has type character varying(5)",
            "ALTER TABLE t ALTER v TYPE text",
        ),
        (
            "b",
            "ALTER TABLE t ADD CHECK (v <> 'second')",
            "violates check constraint",
            "ALTER TABLE t DROP CONSTRAINT t_v_check",
        ),
        ("b", "CREATE UNIQUE INDEX one ON t (v) WHERE v = 'second'", "duplicate key value", "DROP INDEX one"),
        (
            "b",
            "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''not today''; END';
               CREATE TRIGGER no BEFORE INSERT ON t EXECUTE PROCEDURE no(); ALTER TABLE t ENABLE ALWAYS TRIGGER no",
            "not today",
            "DROP TRIGGER no ON t",
        ),
        (
            "a",
            "ALTER TABLE t DISABLE TRIGGER ALL",
            "capture of its changes is missing",
            "ALTER TABLE t ENABLE TRIGGER ALL",
        ),
        (
            "b",
            "ALTER TABLE t RENAME TO t0; CREATE VIEW t AS SELECT * FROM t0",
            "does not exist",
            "DROP VIEW t; ALTER TABLE t0 RENAME TO t",
        ),
    ] {
        let mut lab = two().await;
        lab.on("a").run("INSERT INTO t VALUES (1, 'first'), (2, 'first'); INSERT INTO u VALUES (1, 'first')").await;
        lab.drain("b").await;
        lab.on(place).run(drift).await;
        let there = if place == "a" && drift.contains("RENAME") { "elsewhere" } else { "t" };
        lab.on("a")
            .run(&format!("UPDATE {there} SET v = 'second' WHERE id = 1; DELETE FROM {there} WHERE id = 2"))
            .await;
        lab.on("a").run(&format!("INSERT INTO {there} (id, v) VALUES (3, 'second'); UPDATE u SET v = 'second'")).await;
        lab.renew();
        let said = told(&mut lab).await;
        assert!(said.contains("quarantined table \"public.t\"") && said.contains(words), "{drift}: {said}");
        assert_eq!(lab.on("b").rows("SELECT v FROM u").await, ["second"], "{drift}");
        lab.on("a").run("UPDATE u SET v = 'third'").await;
        says(&mut lab, words).await;
        assert_eq!(lab.on("b").rows("SELECT v FROM u").await, ["third"], "{drift}");
        purge_all(&lab).await;
        lab.on(place).run(mend).await;
        if place == "a" && drift.contains("RENAME") {
            lab.renew();
        }
        let said = told(&mut lab).await;
        assert_eq!(said, "", "{drift}");
        lab.assert_same().await;
        assert_eq!(lab.on("b").rows("SELECT id, v FROM t ORDER BY 1").await, ["1|second", "3|second"], "{drift}");
        assert_eq!(lab.on("a").number("SELECT count(*) FROM bucardo.quarantined").await, 0, "{drift}");
        assert_eq!(lab.on("b").number("SELECT count(*) FROM bucardo.quarantine").await, 0, "{drift}");
        lab.on("a").run("UPDATE t SET v = 'fourth'").await;
        lab.drain("b").await;
        lab.assert_same().await;
        purge_all(&lab).await;
        assert_eq!(lab.on("a").number("SELECT count(*) FROM bucardo.delta_public_t").await, 0, "{drift}");
    }
}

/// A table is made anew on the source while it is in quarantine, and truncated and filled before that: what it has at
/// last arrives, whatever its triggers saw.
#[tokio::test]
async fn a_table_made_anew_comes_back_by_a_copy() {
    let mut lab = two().await;
    lab.on("a")
        .run("INSERT INTO t SELECT n, 'old' FROM generate_series(1, 1500) n; INSERT INTO u VALUES (1, 'x')")
        .await;
    lab.drain("b").await;
    lab.on("a").run("DROP TABLE t; UPDATE u SET v = 'y'").await;
    lab.renew();
    says(&mut lab, "it does not exist on database \"a\"").await;
    lab.on("a").run("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT n, 'new' FROM generate_series(1, 1200) n").await;
    says(&mut lab, "made anew").await;
    assert_eq!(lab.on("b").rows("SELECT v FROM u").await, ["y"]);
    let validated = lab.validate().await.unwrap();
    assert!(validated.warnings.iter().any(|it| it.contains("was made anew")), "{validated:?}");
    lab.on("a").run("UPDATE t SET v = 'newer' WHERE id = 7").await;
    assert_eq!(told(&mut lab).await, "");
    lab.assert_same().await;
    assert_eq!(lab.on("b").number("SELECT count(*) FROM t").await, 1200);
}

/// A table is made anew and captured again before anybody looked, and perhaps made anew once more: what was read of it
/// before is gone, and nothing of that is passed over in silence.
#[tokio::test]
async fn a_table_captured_anew_under_a_session_is_noticed() {
    let anew = "DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY, v text)";
    let mut lab = two().await;
    lab.on("a").run("INSERT INTO t VALUES (1, 'old'), (2, 'old'); INSERT INTO u VALUES (1, 'x')").await;
    lab.drain("b").await;
    for (again, id) in [(anew, 7), ("", 8)] {
        lab.on("a").run(anew).await;
        // The KID does not hear of it.
        validate_sync(&lab.sync).await.unwrap();
        lab.on("a").run(again).await;
        lab.on("a").run(&format!("INSERT INTO t VALUES ({id}, 'new'); UPDATE u SET v = 'y{id}'")).await;
        says(&mut lab, "made anew on database \"a\"").await;
        assert_eq!(lab.on("b").value("SELECT v FROM u").await, format!("y{id}"), "the others go on");
        if !again.is_empty() {
            says(&mut lab, "bucardo validate").await;
            validate_sync(&lab.sync).await.unwrap();
        }
        assert_eq!(told(&mut lab).await, "");
        assert_eq!(lab.on("b").rows("SELECT id FROM t").await, [id.to_string()]);
        lab.on("a").run("UPDATE t SET v = 'newer'").await;
        lab.drain("b").await;
        lab.assert_same().await;
    }
}

/// A large backlog, and a truncation, wait with the table.
#[tokio::test]
async fn a_quarantined_table_gets_a_large_backlog_and_its_truncation() {
    let mut lab = two().await;
    lab.on("a").run("INSERT INTO t SELECT n, 'old' FROM generate_series(1, 100) n").await;
    lab.drain("b").await;
    lab.on("b").run("ALTER TABLE t DROP COLUMN v").await;
    lab.on("a").run("UPDATE t SET v = 'x' WHERE id = 1; INSERT INTO u VALUES (1, 'x')").await;
    says(&mut lab, "\"v\"").await;
    lab.on("a").run("TRUNCATE t; INSERT INTO t SELECT n, 'new' FROM generate_series(1000, 4000) n").await;
    lab.on("a").run("UPDATE u SET v = 'y'").await;
    says(&mut lab, "\"v\"").await;
    purge_all(&lab).await;
    lab.on("b").run("ALTER TABLE t ADD COLUMN v text").await;
    assert_eq!(told(&mut lab).await, "");
    lab.assert_same().await;
}

/// The difference is gone, but the rows are refused still: the table stays where it was, and loses nothing.
#[tokio::test]
async fn a_table_that_returns_too_early_goes_back() {
    let mut lab = two().await;
    lab.on("b").run("ALTER TABLE t DROP COLUMN v").await;
    lab.on("a").run("INSERT INTO t VALUES (1, 'x'), (2, 'x'); INSERT INTO u VALUES (1, 'x')").await;
    says(&mut lab, "\"v\"").await;
    lab.on("b").run("ALTER TABLE t ADD COLUMN v text CHECK (v <> 'x')").await;
    lab.on("a").run("UPDATE u SET v = 'y'").await;
    says(&mut lab, "violates check").await;
    assert_eq!(lab.on("b").rows("SELECT v FROM u").await, ["y"]);
    lab.on("a").run("UPDATE t SET v = 'y' WHERE id = 2").await;
    says(&mut lab, "violates check").await;
    lab.on("b").run("ALTER TABLE t DROP CONSTRAINT t_v_check").await;
    assert_eq!(told(&mut lab).await, "");
    lab.assert_same().await;
}

/// The power fails at every step of the round that puts a table aside, and of the one that takes it up again.
#[tokio::test]
async fn a_crash_at_any_step_loses_nothing_of_a_quarantined_table() {
    for step in ["snapshot", "rows copied of public.u", "position written", "target committed", "track written"] {
        let mut lab = two().await;
        lab.on("a").run("INSERT INTO t VALUES (1, 'old'); INSERT INTO u VALUES (1, 'old')").await;
        lab.drain("b").await;
        lab.on("b").run("ALTER TABLE t DROP COLUMN v").await;
        lab.on("a").run("UPDATE t SET v = 'new'; UPDATE u SET v = 'new'").await;
        fail_with_quarantine(&mut lab, step).await;
        purge_all(&lab).await;
        says(&mut lab, "\"v\"").await;
        purge_all(&lab).await;
        lab.on("a").run("UPDATE u SET v = 'newer'").await;
        lab.on("b").run("ALTER TABLE t ADD COLUMN v text").await;
        lab.renew();
        lab.round_failing("b", step, Accident::Fault).await;
        purge_all(&lab).await;
        assert_eq!(told(&mut lab).await, "", "{step}");
        lab.assert_same().await;
        lab.renew();
        lab.drain("b").await;
        assert_eq!(lab.on("a").number("SELECT count(*) FROM bucardo.quarantined").await, 0, "{step}");
        assert_eq!(lab.on("b").number("SELECT count(*) FROM bucardo.quarantine").await, 0, "{step}");
    }
}

/// Fails at the step, but not before the source was told to keep the changes of a table.
async fn fail_with_quarantine(lab: &mut SyncLab, step: &str) {
    let (wanted, source) = (step.to_owned(), Arc::new(lab.on("a").session().await));
    let hook: StepHook = Arc::new(move |at: &str| {
        let (is_there, source) = (at.starts_with(&wanted), Arc::clone(&source));
        async move {
            let held = source.query_one("SELECT count(*) FROM bucardo.quarantined", &[]).await;
            if is_there && held.unwrap().get::<_, i64>(0) > 0 {
                return Err(Fault::transient("the power fails"));
            }
            Ok(())
        }
        .boxed()
    });
    lab.round_watched("b", Watch::default().with_hook(hook)).await.unwrap_err();
}

/// A sequence that is dropped, on either side, or cannot take the value, holds up nothing else.
#[tokio::test]
async fn a_drifted_sequence_stays_behind_and_comes_back() {
    let ddl = "CREATE TABLE u (id int PRIMARY KEY, v text); CREATE SEQUENCE s; CREATE SEQUENCE other";
    for (place, drift, words, mend) in [
        ("b", "DROP SEQUENCE s", "it does not exist on database \"b\"", "CREATE SEQUENCE s"),
        ("a", "ALTER SEQUENCE s RENAME TO s2", "it does not exist on database \"a\"", "ALTER SEQUENCE s2 RENAME TO s"),
        ("b", "ALTER SEQUENCE s MAXVALUE 5", "out of bounds", "ALTER SEQUENCE s NO MAXVALUE"),
    ] {
        let mut lab = SyncLab::start(&["b"], ddl, &["u:id", "s", "other"]).await;
        lab.drain("b").await;
        lab.on("a").run("SELECT setval('s', 40), setval('other', 50); INSERT INTO u VALUES (1, 'x')").await;
        lab.on(place).run(drift).await;
        let said = told(&mut lab).await;
        assert!(said.contains("quarantined sequence \"public.s\"") && said.contains(words), "{drift}: {said}");
        assert_eq!(lab.on("b").rows("SELECT v FROM u").await, ["x"], "{drift}");
        assert_eq!(lab.on("b").number("SELECT last_value FROM other").await, 50, "{drift}");
        lab.on(place).run(mend).await;
        assert_eq!(told(&mut lab).await, "", "{drift}");
        assert_eq!(lab.on("b").number("SELECT last_value FROM s").await, 40, "{drift}");
    }
}

/// A partition that is attached with rows in it, and written to directly: all of it arrives, without a validation.
#[tokio::test]
async fn a_partition_attached_later_is_taken_up() {
    if !all_know(11, "keys of partitioned tables") {
        return;
    }
    let ddl = "CREATE TABLE p (id int, k text, v text, PRIMARY KEY (id, k)) PARTITION BY LIST (k);
               CREATE TABLE p_a PARTITION OF p FOR VALUES IN ('a');
               CREATE TABLE p_b (id int, k text, v text, PRIMARY KEY (id, k))";
    let mut lab = SyncLab::start(&["b"], ddl, &["p:id,k"]).await;
    lab.on("a").run("INSERT INTO p VALUES (1, 'a', 'x')").await;
    lab.drain("b").await;
    lab.on("a").run("INSERT INTO p_b SELECT n, 'b', 'before' FROM generate_series(1, 1500) n").await;
    for db in ["a", "b"] {
        lab.on(db).run("ALTER TABLE p ATTACH PARTITION p_b FOR VALUES IN ('b')").await;
    }
    lab.on("a").run("UPDATE p_b SET v = 'direct' WHERE id = 5; DELETE FROM p_b WHERE id = 6; INSERT INTO p VALUES (7000, 'b', 'y')").await;
    // A writer that holds the partition: it is left alone for now, and nobody waits behind us.
    let open = lab.on("a").session().await;
    open.batch_execute("BEGIN; UPDATE p_b SET v = 'open' WHERE id = 8").await.unwrap();
    lab.renew();
    open.batch_execute("COMMIT").await.unwrap();
    lab.drain("b").await;
    lab.assert_same().await;
    lab.on("a").run("UPDATE p_b SET v = 'captured' WHERE id = 9; TRUNCATE p_a").await;
    assert!(lab.drain("b").await > 0);
    lab.assert_same().await;
    assert_eq!(lab.on("a").number("SELECT count(*) FROM bucardo.adopted").await, 0);
    // A validation finds all in place, one of another partition does the same as the session.
    for db in ["a", "b"] {
        lab.on(db).run("CREATE TABLE p_c PARTITION OF p FOR VALUES IN ('c', 'd')").await;
    }
    lab.on("a").run("INSERT INTO p_c VALUES (1, 'c', 'direct')").await;
    lab.validate().await.unwrap();
    assert_eq!(lab.drain("b").await, 1);
    lab.assert_same().await;
}

/// The type of a key is changed as the manual says: the table waits for the validation, and is not copied for it.
#[tokio::test]
async fn a_key_gets_another_type() {
    let mut lab = two().await;
    lab.on("a").run("INSERT INTO t VALUES (1, 'x'), (2, 'x')").await;
    lab.drain("b").await;
    lab.on("b").run("ALTER TABLE t ALTER id TYPE bigint; UPDATE t SET v = 'left alone' WHERE id = 2").await;
    lab.on("a").run("BEGIN; DROP TRIGGER bucardo_delta_key ON t; ALTER TABLE t ALTER id TYPE bigint; COMMIT").await;
    lab.on("a").run("UPDATE t SET v = 'y' WHERE id = 1; INSERT INTO u VALUES (1, 'x')").await;
    lab.renew();
    says(&mut lab, "\"bucardo_delta_key\" is missing").await;
    assert_eq!(lab.on("b").rows("SELECT v FROM u").await, ["x"]);
    lab.validate().await.unwrap();
    lab.on("a").run("INSERT INTO t VALUES (5000000000, 'z')").await;
    assert_eq!(told(&mut lab).await, "");
    assert_eq!(lab.on("b").rows("SELECT * FROM t ORDER BY 1").await, ["1|y", "2|left alone", "5000000000|z"]);
}

/// The same by the function that is there for it: changes that wait stay, the trigger is back as it was, and nothing has to
/// be validated. Partitions have triggers of their own.
#[tokio::test]
async fn a_key_gets_another_type_by_the_function_for_it() {
    let ddl = "CREATE TABLE t (id int PRIMARY KEY, v text); CREATE SCHEMA \"S \"\"'x\";
        CREATE TABLE \"S \"\"'x\".\"T;--\" (v text, \"txid\" int, n int, PRIMARY KEY (n, \"txid\"))";
    let mut lab = SyncLab::start(&["b"], ddl, &["t:id", "S \"'x.T;--:n,txid"]).await;
    let odd = "\"S \"\"'x\".\"T;--\"";
    lab.on("a").run(&format!("INSERT INTO t VALUES (1, 'x'), (2, 'x'); INSERT INTO {odd} VALUES ('x', 1, 1)")).await;
    lab.drain("b").await;
    lab.on("a").run("ALTER TABLE t ENABLE ALWAYS TRIGGER bucardo_delta_key").await;
    let triggers = "SELECT tgrelid::regclass::text, tgname, tgenabled, pg_get_triggerdef(oid) FROM pg_trigger \
                    WHERE tgname LIKE 'bucardo%' ORDER BY 1, 2";
    let before = lab.on("a").rows(triggers).await;
    lab.on("a").run(&format!("UPDATE t SET id = 3, v = 'moved' WHERE id = 1; DELETE FROM t WHERE id = 2; INSERT INTO t VALUES (4, 'y'); UPDATE {odd} SET \"txid\" = 2")).await;
    let refused = lab.on("a").refused("ALTER TABLE t ALTER COLUMN id TYPE bigint").await;
    assert!(refused.contains("trigger"), "{refused}");
    let literal = odd.replace('\'', "''");
    for (table, there, action) in
        [("t", "t", "ALTER COLUMN id TYPE bigint"), (literal.as_str(), odd, "ALTER COLUMN \"txid\" TYPE bigint")]
    {
        lab.on("b").run(&format!("ALTER TABLE {there} {action}")).await;
        lab.on("a").run(&format!("SELECT bucardo.alter_table('{table}', '{action}')")).await;
    }
    assert_eq!(lab.on("a").rows(triggers).await, before);
    lab.on("a").run(&format!("INSERT INTO t VALUES (5000000000, 'z'); UPDATE {odd} SET \"txid\" = 6000000000")).await;
    assert_eq!(told(&mut lab).await, "");
    lab.drain("b").await;
    lab.assert_same().await;
    assert_eq!(lab.on("b").rows("SELECT * FROM t ORDER BY 1").await, ["3|moved", "4|y", "5000000000|z"]);
    // What fails leaves all as it was.
    let refused = lab.on("a").refused("SELECT bucardo.alter_table('t', 'ALTER COLUMN id TYPE smallint')").await;
    assert!(refused.contains("out of range"), "{refused}");
    assert_eq!(lab.on("a").rows(triggers).await, before);
}

/// A column is added on the source first, or on the target first; a type is widened in both orders.
#[tokio::test]
async fn migrations_in_either_order() {
    if !all_know(12, "generated columns") {
        return;
    }
    for order in [["a", "b"], ["b", "a"]] {
        let mut lab = two().await;
        lab.on("a").run("INSERT INTO t VALUES (1, 'x'), (2, 'x')").await;
        lab.drain("b").await;
        for change in [
            "ALTER TABLE t ADD COLUMN n int",
            "ALTER TABLE t ALTER n TYPE bigint",
            "ALTER TABLE t DROP COLUMN n; ALTER TABLE t ADD COLUMN n numeric(10, 2)",
            "ALTER TABLE t ADD COLUMN always int GENERATED ALWAYS AS (id * 2) STORED",
        ] {
            for (step, db) in order.iter().enumerate() {
                lab.on(db).run(change).await;
                lab.on("a").run(&format!("UPDATE t SET v = v || '{step}'; INSERT INTO u VALUES ({step}, 'u') ON CONFLICT (id) DO UPDATE SET v = u.v || 'u'")).await;
                told(&mut lab).await;
                let other = "SELECT * FROM u ORDER BY 1";
                assert_eq!(lab.on("b").rows(other).await, lab.on("a").rows(other).await, "{change}");
            }
            lab.on("a").run("UPDATE t SET n = 5000000").await;
            assert_eq!(told(&mut lab).await, "", "{change}");
            lab.drain("b").await;
            lab.assert_same().await;
        }
    }
}

/// A whole copy is made without the table that does not fit; that one comes with all its rows when it does, those that
/// were never captured included.
#[tokio::test]
async fn a_whole_copy_goes_on_without_a_drifted_table() {
    for atomic_bytes in [i64::MAX, 0] {
        let mut lab = two().await;
        lab.sync.copy.atomic_bytes = atomic_bytes;
        lab.on("a")
            .run("SET session_replication_role = replica; INSERT INTO t SELECT n, 'old' FROM generate_series(1, 50) n")
            .await;
        lab.on("a")
            .run("INSERT INTO u SELECT n, 'old' FROM generate_series(1, 50) n; RESET session_replication_role")
            .await;
        lab.on("b").run("ALTER TABLE t DROP COLUMN v; INSERT INTO t VALUES (99)").await;
        (lab.sync.onetimecopy, lab.sync.copy_request) = (1, 1);
        lab.renew();
        let report = lab.round("b").await.unwrap();
        assert!(report.copied && report.quarantine_told().concat().contains("no column \"v\""), "{report:?}");
        assert_eq!(lab.on("b").number("SELECT count(*) FROM u").await, 50);
        assert_eq!(lab.on("b").rows("SELECT id FROM t").await, ["99"], "it is left alone");
        lab.on("a").run("UPDATE t SET v = 'new' WHERE id = 1; UPDATE u SET v = 'new' WHERE id = 1").await;
        says(&mut lab, "no column \"v\"").await;
        assert_eq!(lab.on("b").value("SELECT v FROM u WHERE id = 1").await, "new");
        lab.on("b").run("ALTER TABLE t ADD COLUMN v text").await;
        lab.renew();
        assert_eq!(told(&mut lab).await, "");
        lab.drain("b").await;
        lab.assert_same().await;
    }
}

/// A copy of empty tables is made without those that do not fit. Where the target has rows, it keeps them and gets its
/// changes later; where it has none, all rows come when it fits.
#[tokio::test]
async fn a_copy_of_empty_tables_goes_on_without_drifted_ones() {
    let ddl = format!("{TWO}; CREATE TABLE w (id int PRIMARY KEY, v text); CREATE TABLE gone (id int PRIMARY KEY)");
    for atomic_bytes in [i64::MAX, 0] {
        let mut lab = SyncLab::start(&["b"], &ddl, &["t:id", "u:id", "w:id", "gone:id"]).await;
        lab.sync.copy.atomic_bytes = atomic_bytes;
        for table in ["t", "u", "w"] {
            let rows = format!("INSERT INTO {table} SELECT n, 'old' FROM generate_series(1, 50) n");
            lab.on("a")
                .run(&format!("SET session_replication_role = replica; {rows}; RESET session_replication_role"))
                .await;
        }
        lab.on("b").run("INSERT INTO t VALUES (1, 'mine'), (99, 'mine'); DROP TABLE gone").await;
        for table in ["t", "w"] {
            lab.on("b").run(&format!("ALTER TABLE {table} DROP COLUMN v")).await;
        }
        (lab.sync.onetimecopy, lab.sync.copy_request) = (2, 1);
        lab.renew();
        let report = lab.round("b").await.unwrap();
        assert!(report.copied && report.quarantined.len() == 3, "{report:?}");
        assert_eq!(lab.on("b").number("SELECT count(*) FROM u").await, 50);
        lab.on("a")
            .run(
                "UPDATE t SET v = 'new' WHERE id = 2; UPDATE u SET v = 'new' WHERE id = 1; INSERT INTO gone VALUES (7)",
            )
            .await;
        says(&mut lab, "no column \"v\"").await;
        assert_eq!(lab.on("b").value("SELECT v FROM u WHERE id = 1").await, "new");
        lab.on("b").run("ALTER TABLE t ADD COLUMN v text; ALTER TABLE w ADD COLUMN v text; CREATE TABLE gone (id int PRIMARY KEY)").await;
        lab.renew();
        assert_eq!(told(&mut lab).await, "");
        lab.drain("b").await;
        assert_eq!(lab.on("b").rows("SELECT id, v FROM t ORDER BY id").await, ["1|", "2|new", "99|"]);
        lab.on("b").run("DELETE FROM t; INSERT INTO t SELECT n, CASE n WHEN 2 THEN 'new' ELSE 'old' END FROM generate_series(1, 50) n").await;
        lab.assert_same().await;
    }
}

/// The next notice with this word: channel and payload.
async fn heard_of(
    heard: &mut tokio::sync::mpsc::UnboundedReceiver<tokio_postgres::Notification>,
    word: &str,
) -> (String, String) {
    let next = async {
        loop {
            let notice = heard.recv().await.unwrap();
            if notice.payload().contains(word) {
                return (notice.channel().to_owned(), notice.payload().to_owned());
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), next).await.expect("a notice")
}

/// With the daemon: the status names table and difference, a kick by a person looks at once, and all is well after it.
#[tokio::test]
async fn the_status_tells_of_quarantined_tables() {
    let mut town = Town::found(TWO).await;
    town.sync("");
    let mut daemon = town.daemon().await;
    daemon.announce("quarantined table");
    let access = bucardo::pg::Access::parse(&town.control.conninfo()).unwrap();
    let mut listener = bucardo::pg::connect(&access, "test").await.unwrap();
    let mut heard = listener.notifications().unwrap();
    listener.batch_execute("LISTEN bucardo").await.unwrap();
    town.b.run("ALTER TABLE t DROP COLUMN v").await;
    town.a.run("INSERT INTO t VALUES (1, 'x'); INSERT INTO u VALUES (1, 'x')").await;
    let soon = Duration::from_secs(30);
    wait::until_equal("the other table", soon, &1, async || town.b.number("SELECT count(*) FROM u").await).await;
    wait::until("the status", soon, async || {
        let text = town.bucardo.run("status s");
        let words = ["A -> B", "quarantined table \"public.t\"", "no column \"v\"", "bucardo kick s"];
        if words.iter().all(|word| text.contains(word)) { Ok(()) } else { Err(text) }
    })
    .await;
    // The same in SQL, in JSON, and to whoever listens.
    let said = "quarantined_table_s_B_public.t";
    assert_eq!(heard_of(&mut heard, "_table_").await, ("bucardo".to_owned(), said.to_owned()));
    let line = "SELECT state || ' ' || source || ' ' || db || ' ' || relation FROM bucardo.state \
                WHERE kind = 'table' AND since IS NOT NULL AND why LIKE '%no column \"v\"%'";
    assert_eq!(town.control.rows(line).await, ["quarantined A B public.t"]);
    let json: serde_json::Value = serde_json::from_str(&town.bucardo.run("status --json")).unwrap();
    let told = &json["syncs"][0]["quarantined"][0];
    assert_eq!((&told["db"], &told["table"]), (&"B".into(), &"public.t".into()), "{json}");
    assert!(told["since"].is_string() && told["why"].as_str().unwrap().contains("no column"), "{told}");
    assert!(daemon.log().contains("quarantined table"));
    // What is kept for it waits, and a check of all that may be wrong finds it.
    let text = town.bucardo.run("status s");
    assert!(text.contains("1 waiting"), "{text}");
    let doctor = town.bucardo.call(&["doctor", "s"]);
    let is_found = doctor.stdout.contains("PROBLEM: A -> B: quarantined table \"public.t\" since");
    assert!(doctor.code == 1 && is_found, "{}", doctor.stdout);
    let list = town.bucardo.run("status");
    assert!(list.contains("s A -> B: quarantined table \"public.t\" since"), "{list}");
    town.a.run("INSERT INTO u VALUES (2, 'x')").await;
    wait::until_equal("the other table", soon, &2, async || town.b.number("SELECT count(*) FROM u").await).await;
    town.b.run("ALTER TABLE t ADD COLUMN v text").await;
    town.bucardo.run("kick s 10");
    town.settle(soon).await;
    wait::until("a status without trouble", soon, async || {
        let text = town.bucardo.run("status s");
        if text.contains("quarantined") { Err(text) } else { Ok(()) }
    })
    .await;
    assert_eq!(heard_of(&mut heard, "_table_").await.1, "returned_table_s_B_public.t");
    assert_eq!(town.control.number("SELECT count(*) FROM bucardo.state WHERE kind = 'table'").await, 0);
    daemon.stop().await;
}
