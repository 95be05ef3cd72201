//! Rows that a source of a merge refuses: custom codes are told of them, what nobody can help waits alone, and everything
//! else goes on.

use bucardo::catalog::{Member, Role};
use bucardo::custom::Hook;
use bucardo::pg::connect;
use bucardo::source::letters::{Waiting, send_again};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::support::SyncLab;
use crate::support::codes::{Diary, code, give};
use crate::support::sync_lab::{dying, member};

const DDL: &str = "CREATE TABLE people (id int PRIMARY KEY, email text UNIQUE, age int); \
    CREATE TABLE notes (id int PRIMARY KEY)";
const LETTERS: &str =
    "SELECT key ->> 'id' || ' ' || source || ' ' || sqlstate || ' ' || tries FROM bucardo.deadletter ORDER BY 1";
const PEOPLE: &str = "SELECT id || coalesce(email, '') FROM people WHERE id < 100 ORDER BY id";

async fn masters(names: &[&str], deadletter: bool) -> SyncLab {
    let mut lab = SyncLab::masters(names, &[], DDL, &["people:id", "notes:id"]).await;
    lab.sync.deadletter = deadletter;
    lab
}

async fn letters(lab: &SyncLab, name: &str) -> Vec<String> {
    lab.on(name).rows(LETTERS).await
}

/// The same e-mail at two masters under different keys. Each keeps its own, a third one has one of them; all else is
/// merged; and it comes together when one of the rows changes.
#[tokio::test]
async fn a_clash_of_two_masters_waits_alone() {
    for names in [&["a", "b"][..], &["a", "b", "c"]] {
        let mut lab = masters(names, true).await;
        lab.on("a").run("INSERT INTO people VALUES (1, 'x', 30), (3, 'a3', 30); INSERT INTO notes VALUES (1)").await;
        lab.on("b").run("INSERT INTO people VALUES (2, 'x', 30), (4, 'b4', 30); INSERT INTO notes VALUES (2)").await;
        let report = lab.merge().await.unwrap();
        assert!(report.away.is_empty() && report.quarantined.is_empty(), "{report:?}");
        assert_eq!(lab.on("a").rows(PEOPLE).await, ["1x", "3a3", "4b4"]);
        assert_eq!(lab.on("b").rows(PEOPLE).await, ["2x", "3a3", "4b4"]);
        assert_eq!(letters(&lab, "a").await, ["2 b 23505 1"]);
        assert_eq!(letters(&lab, "b").await, ["1 a 23505 1"]);
        for name in names {
            assert_eq!(lab.on(name).number("SELECT count(*) FROM notes").await, 2, "{name}");
        }
        if let Some(third) = names.get(2) {
            assert_eq!(lab.on(third).rows(PEOPLE).await, ["1x", "3a3", "4b4"]);
            assert_eq!(letters(&lab, third).await, ["2 b 23505 1"]);
        }
        assert!(lab.merge().await.unwrap().is_empty(), "the positions are past it");
        // Refused again, and counted; then it finds room.
        lab.on("a").run("UPDATE people SET age = 31 WHERE id = 1").await;
        lab.settle().await;
        assert_eq!(letters(&lab, "b").await, ["1 a 23505 2"]);
        lab.on("b").run("UPDATE people SET email = 'y' WHERE id = 2").await;
        for name in names {
            // The one that waits at the other source is tried again, too, as there is room for it now.
            lab.on(name).run("UPDATE bucardo.deadletter SET tried = tried - interval '41 seconds'").await;
        }
        lab.settle().await;
        for name in names {
            assert_eq!(letters(&lab, name).await, Vec::<String>::new(), "{name}");
            assert_eq!(lab.on(name).rows(PEOPLE).await, ["1x", "2y", "3a3", "4b4"], "{name}");
            let row = "SELECT string_agg(age::text, ' ' ORDER BY id) FROM people WHERE id < 3";
            assert_eq!(lab.on(name).value(row).await, "31 30", "{name}");
        }
        lab.assert_same().await;
        assert!(lab.merge().await.unwrap().is_empty());
    }
}

/// Of many rows those that one source does not take wait there; a key that goes, or that the source itself changes,
/// waits no longer.
#[tokio::test]
async fn what_one_source_refuses_waits_there() {
    for rows in [50, 3000] {
        let mut lab = masters(&["a", "b", "c"], true).await;
        lab.on("a").run(&format!("INSERT INTO people SELECT n, 'm' || n, 20 FROM generate_series(1, {rows}) n")).await;
        lab.settle().await;
        lab.on("b").run("ALTER TABLE people ADD CONSTRAINT adults CHECK (age > 17)").await;
        lab.on("a").run("UPDATE people SET age = age + 1; UPDATE people SET age = 5 WHERE id IN (7, 8, 9, 10)").await;
        lab.on("c").run("INSERT INTO notes VALUES (1)").await;

        let report = lab.merge().await.unwrap();
        assert!(report.away.is_empty() && report.quarantined.is_empty(), "{report:?}");
        assert_eq!(letters(&lab, "b").await, ["10 a 23514 1", "7 a 23514 1", "8 a 23514 1", "9 a 23514 1"]);
        assert_eq!(lab.on("b").number("SELECT count(*) FROM people WHERE age = 21").await, rows - 4);
        assert_eq!(lab.on("c").number("SELECT count(*) FROM people WHERE age = 5").await, 4);
        assert_eq!(lab.on("b").number("SELECT count(*) FROM notes").await, 1);
        lab.on("a").run("UPDATE people SET age = 30 WHERE id = 7; DELETE FROM people WHERE id = 8").await;
        lab.on("b").run("UPDATE people SET age = 40 WHERE id = 9").await;
        assert_eq!(lab.merge().await.unwrap().conflicts, 0, "a change on top of what was settled");
        assert_eq!(letters(&lab, "b").await, ["10 a 23514 1"]);
        lab.on("b").run("ALTER TABLE people DROP CONSTRAINT adults").await;
        lab.on("c").run("UPDATE people SET age = age + 1 WHERE id = 10").await;
        lab.settle().await;
        lab.assert_same().await;
        assert_eq!(letters(&lab, "b").await, Vec::<String>::new());
        let found = lab.on("b").rows("SELECT id || ' ' || age FROM people WHERE id BETWEEN 6 AND 11 ORDER BY id").await;
        assert_eq!(found, ["6 21", "7 30", "9 40", "10 6", "11 21"]);
    }
}

/// One that was away meanwhile gets the row that counts, and who refused it is tried again.
#[tokio::test]
async fn who_comes_back_gets_the_row_that_was_refused_elsewhere() {
    let mut lab = masters(&["a", "b", "c"], true).await;
    lab.on("b").run("INSERT INTO people VALUES (1, 'old', 30)").await;
    lab.settle().await;
    let there: Vec<Member> = lab.sync.members.clone();
    lab.sync.members[2] = member("c", &lab.on("c").words_through(1), Role::Source);
    lab.renew();
    lab.on("a").run("ALTER TABLE people ADD CONSTRAINT adults CHECK (age > 17)").await;
    lab.on("b").run("UPDATE people SET email = 'new', age = 5").await;
    lab.merge().await.unwrap();
    assert_eq!(
        (lab.on("a").rows(PEOPLE).await, letters(&lab, "a").await),
        (vec!["1old".to_owned()], vec!["1 b 23514 1".to_owned()])
    );
    lab.sync.members = there;
    lab.renew();
    lab.settle().await;
    assert_eq!(lab.on("c").rows(PEOPLE).await, ["1new"]);
    assert_eq!(letters(&lab, "a").await, ["1 b 23514 2"]);
    lab.on("a").run("ALTER TABLE people DROP CONSTRAINT adults").await;
    lab.on("c").run("UPDATE people SET age = 6").await;
    lab.settle().await;
    lab.assert_same().await;
}

/// Codes are told of what was refused before anything waits, as those of a pair are; what they mend is a change that all
/// sources get. One that does not help is asked a few times, and then the key waits, or is named.
#[tokio::test]
async fn codes_are_told_what_a_source_refused() {
    for deadletter in [false, true] {
        let mut lab = masters(&["a", "b"], deadletter).await;
        let diary = Diary::default();
        let mend = "b: UPDATE people SET email = email || '-2' WHERE id = 2 AND email = 'x'\nrunagain=1";
        give(&mut lab, &diary, vec![code(Hook::Exception, mend)]);
        lab.on("a").run("INSERT INTO people VALUES (1, 'x', 30), (5, 'a5', NULL)").await;
        lab.on("b").run("INSERT INTO people VALUES (2, 'x', 30)").await;
        lab.merge().await.unwrap();
        lab.settle().await;
        lab.assert_same().await;
        assert_eq!(lab.on("a").rows(PEOPLE).await, ["1x", "2x-2", "5a5"]);
        let inputs = diary.inputs();
        let [(_, input)] = inputs.as_slice() else { panic!("once: {inputs:?}") };
        assert_eq!((&input["sqlstate"], &input["constraint"]), (&json!("23505"), &json!("people_email_key")));
        assert_eq!(
            (&input["database"], &input["attempts"], &input["tablename"]),
            (&json!("a"), &json!(1), &json!("people"))
        );
        // To codes the first database of a merge is the source.
        assert_eq!((&input["source_error"], &input["target_error"]), (&json!(1), &json!(0)));
        assert_eq!(input["keys"], json!([{"id": "2"}]));
        assert_eq!(input["rows"], json!([{"id": "2", "email": "x", "age": "30"}]));
        assert_eq!(input["deltabin"], json!({"b": {"2": 1}}));
        let rowinfo = &input["rowinfo"];
        assert_eq!((&rowinfo["sourcerow"], &rowinfo["targetrow"]["email"]), (&Value::Null, &json!("x")));
        assert_eq!((&rowinfo["action"], &rowinfo["pkeytype"]), (&json!(2), &json!("integer")));
        assert_eq!(input["present"], json!([null]));
        assert!(input["errors"][0].as_str().unwrap().contains("(email)=(x)"), "{input}");

        // It wants another try and has done nothing.
        let diary = Diary::default();
        give(&mut lab, &diary, vec![code(Hook::Exception, "runagain=1")]);
        lab.on("a").run("INSERT INTO people VALUES (6, 'z', 30); INSERT INTO notes VALUES (1)").await;
        lab.on("b").run("INSERT INTO people VALUES (7, 'z', 30)").await;
        let report = lab.merge().await;
        let asked: Vec<Value> = diary.inputs().into_iter().map(|(_, input)| input["attempts"].clone()).collect();
        assert_eq!(asked, [1, 2, 3, 1, 2, 3].map(|attempts| json!(attempts)), "about each of the two that refuse");
        if deadletter {
            assert_eq!(letters(&lab, "a").await, ["7 b 23505 1"]);
            assert_eq!(letters(&lab, "b").await, ["6 a 23505 1"]);
            assert_eq!(lab.on("b").number("SELECT count(*) FROM notes").await, 1);
        } else {
            let told = match report {
                Ok(report) => report.away.into_iter().map(|(_, why)| why).collect::<Vec<_>>().join("; "),
                Err(fault) => fault.to_string(),
            };
            assert!(told.contains("refused: id=7") || told.contains("refused: id=6"), "{told}");
        }
    }
}

/// Three masters refuse, and the code helps only where it may: it is told what each of them refuses before anything
/// waits, or the table is given up. One that mends a key at a time comes to its end.
#[tokio::test]
async fn codes_are_told_what_each_source_refuses() {
    let mut lab = masters(&["a", "b", "c"], false).await;
    lab.on("a").run("INSERT INTO people VALUES (10, 'same', 30)").await;
    lab.on("b").run("INSERT INTO people VALUES (11, 'same', 30)").await;
    for deadletter in [false, true] {
        lab.sync.deadletter = deadletter;
        let diary = Diary::default();
        give(&mut lab, &diary, vec![code(Hook::Exception, "")]);
        let report = lab.merge().await;
        let mut asked: Vec<Value> = diary.inputs().into_iter().map(|(_, input)| input["database"].clone()).collect();
        asked.sort_by_key(Value::to_string);
        assert_eq!(asked, ["a", "b", "c"].map(|db| json!(db)), "{report:?}");
        assert_eq!(report.is_ok_and(|report| report.away.is_empty()), deadletter);
    }
    let mut lab = masters(&["a", "b"], false).await;
    lab.on("a").run("INSERT INTO people SELECT n, 'm' || n, 30 FROM generate_series(1, 5) n").await;
    lab.on("b").run("INSERT INTO people SELECT 10 + n, 'm' || n, 30 FROM generate_series(1, 5) n").await;
    let diary = Diary::default();
    let next = "SELECT min(id) FROM people WHERE id > 10 AND email NOT LIKE '%-2'";
    let mend = format!("b: UPDATE people SET email = email || '-2' WHERE id = ({next})\nrunagain=1");
    give(&mut lab, &diary, vec![code(Hook::Exception, &mend)]);
    let report = lab.merge().await.unwrap();
    assert!(report.away.is_empty(), "{report:?}");
    assert_eq!(diary.inputs().len(), 5);
    lab.settle().await;
    lab.assert_same().await;
}

/// A source keeps its part of a conflict that it cannot get the winner of, and nothing is decided twice.
#[tokio::test]
async fn a_winner_that_is_refused_stays_the_winner() {
    let mut lab = masters(&["a", "b"], true).await;
    lab.sync.conflict_strategy = "a b".to_owned();
    lab.renew();
    lab.on("a").run("INSERT INTO people VALUES (1, 'one', 30)").await;
    lab.settle().await;
    lab.on("b").run("ALTER TABLE people ADD CONSTRAINT adults CHECK (age > 17)").await;
    lab.on("a").run("UPDATE people SET age = 5").await;
    lab.on("b").run("UPDATE people SET email = 'two'").await;
    assert_eq!(lab.merge().await.unwrap().conflicts, 1);
    assert_eq!(
        (lab.on("a").rows(PEOPLE).await, lab.on("b").rows(PEOPLE).await),
        (vec!["1one".to_owned()], vec!["1two".to_owned()])
    );
    assert_eq!(letters(&lab, "b").await, ["1 a 23514 1"]);
    assert!(lab.merge().await.unwrap().is_empty());
    lab.on("b").run("ALTER TABLE people DROP CONSTRAINT adults").await;
    lab.on("a").run("UPDATE people SET age = 6").await;
    lab.settle().await;
    lab.assert_same().await;
    assert_eq!(lab.on("b").rows(PEOPLE).await, ["1one"]);
}

/// A row that a conflict code makes is refused by one source: there it waits, by the code's name, and the conflict is decided
/// and told. Nobody has one that all refuse, and the code is at fault.
#[tokio::test]
async fn a_row_that_a_code_made_waits_where_it_is_refused() {
    let mut lab = masters(&["a", "b", "c"], true).await;
    lab.on("a").run("INSERT INTO people VALUES (1, 'one', 30), (2, 'two', 30)").await;
    lab.settle().await;
    lab.on("b").run("ALTER TABLE people ADD CONSTRAINT adults CHECK (age > 17)").await;
    let diary = Diary::default();
    give(&mut lab, &diary, vec![code(Hook::Conflict, r#"row={"id": "1", "email": "made", "age": "5"}"#)]);
    lab.on("a").run("UPDATE people SET email = 'a' WHERE id = 1; UPDATE people SET age = 31 WHERE id = 2").await;
    lab.on("c").run("UPDATE people SET email = 'c' WHERE id = 1").await;
    lab.settle().await;
    for name in ["a", "c"] {
        assert_eq!(lab.on(name).rows(PEOPLE).await, ["1made", "2two"], "{name}");
    }
    assert_eq!(lab.on("b").rows(PEOPLE).await, ["1one", "2two"]);
    assert_eq!(letters(&lab, "b").await, ["1 a 23514 1"]);
    let why = lab.on("b").value("SELECT error FROM bucardo.deadletter").await;
    assert!(why.starts_with("the row that custom code \"") && why.contains("adults"), "{why}");
    assert_eq!(lab.conflicts.all().len(), 1);
    assert!(lab.merge().await.unwrap().is_empty());
    lab.on("b").run("ALTER TABLE people DROP CONSTRAINT adults").await;
    retry(&lab, "a", "b", 1).await;
    lab.settle().await;
    assert_eq!(letters(&lab, "b").await, Vec::<String>::new());
    assert_eq!(lab.on("b").rows(PEOPLE).await, ["1made", "2two"]);
    lab.assert_same().await;

    for name in ["a", "b", "c"] {
        lab.on(name)
            .run(
                "ALTER TABLE people ADD CONSTRAINT adults CHECK (age > 4), ADD CONSTRAINT made CHECK (email <> 'none')",
            )
            .await;
    }
    give(&mut lab, &diary, vec![code(Hook::Conflict, r#"row={"id": "2", "email": "none", "age": "5"}"#)]);
    lab.on("a").run("UPDATE people SET email = 'a' WHERE id = 2").await;
    lab.on("c").run("UPDATE people SET email = 'c' WHERE id = 2").await;
    let fault = loop {
        // One that takes long to connect comes with the next merge.
        if let Err(fault) = lab.merge().await {
            break fault;
        }
    };
    assert!(fault.message.contains("custom code") && fault.message.contains("\"made\""), "{}", fault.message);
}

/// Most of some rows are refused, more than are looked for one by one: each merge finds some more of them, and
/// what waits in the end is what is refused.
#[tokio::test]
async fn thousands_of_refused_rows_are_found_in_several_merges() {
    let mut lab = masters(&["a", "b"], true).await;
    lab.on("b").run("ALTER TABLE people ADD CONSTRAINT adults CHECK (age > 17)").await;
    lab.on("a").run("INSERT INTO people SELECT n, 'm' || n, CASE WHEN n % 10 = 0 THEN 20 ELSE 5 END FROM generate_series(1, 1700) n").await;
    let report = lab.merge().await.unwrap();
    assert!(report.quarantined.is_empty() && report.more, "{report:?}");
    lab.settle().await;
    assert_eq!(lab.on("b").number("SELECT count(*) FROM people").await, 170);
    assert_eq!(lab.on("b").number("SELECT count(*) FROM bucardo.deadletter WHERE tries = 1").await, 1530);
    lab.on("a").run("UPDATE people SET age = 20 WHERE age = 5").await;
    lab.settle().await;
    assert_eq!(letters(&lab, "b").await, Vec::<String>::new());
    lab.assert_same().await;
}

async fn retry(lab: &SyncLab, source: &str, db: &str, id: i32) {
    let from = lab.sync.db(&source.into()).unwrap();
    let conn = connect(&from.access, "test").await.unwrap();
    let since: DateTime<Utc> =
        lab.on(db).session().await.query_one("SELECT min(since) FROM bucardo.deadletter", &[]).await.unwrap().get(0);
    let keys = [(json!({"id": id.to_string()}).to_string(), since)];
    let waiting = Waiting { source, db, schema: "public", table: "people", keys: &keys };
    assert!(send_again(&conn, &lab.sync, waiting).await.unwrap());
}

/// What is sent again is no newer than it was: it gives way to what others changed since, and is a rival only of what the
/// database has changed that refused it. It needs no log of what was purged, and is asked for as often as one likes.
#[tokio::test]
async fn what_is_sent_again_keeps_its_version() {
    for (is_purged, strategy) in [(false, "bucardo_latest"), (true, "bucardo_latest"), (false, "a b c")] {
        let mut lab = masters(&["a", "b", "c"], true).await;
        strategy.clone_into(&mut lab.sync.conflict_strategy);
        lab.renew();
        lab.on("a").run("INSERT INTO people SELECT n, 'old' || n, 30 FROM generate_series(1, 4) n").await;
        lab.settle().await;
        lab.on("b").run("ALTER TABLE people ADD CONSTRAINT adults CHECK (age > 17)").await;
        lab.on("a").run("UPDATE people SET email = 'new' || id, age = 5").await;
        lab.settle().await;
        assert_eq!(letters(&lab, "b").await.len(), 4);
        retry(&lab, "a", "b", 4).await;
        lab.settle().await;
        assert_eq!(letters(&lab, "b").await.last().unwrap(), "4 a 23514 2", "in vain");
        if is_purged {
            for name in ["a", "b", "c"] {
                lab.on(name).run("DELETE FROM bucardo.delta_public_people").await;
            }
        }
        lab.on("b").run("ALTER TABLE people DROP CONSTRAINT adults").await;
        lab.on("c").run("UPDATE people SET email = 'c' WHERE id = 2").await;
        lab.on("b").run("UPDATE people SET email = 'b' WHERE id = 3").await;
        for id in [1, 2, 3, 4, 4] {
            retry(&lab, "a", "b", id).await;
        }
        let report = lab.merge().await.unwrap();
        // At b, somebody changed the row that it had in place of the one that it refused.
        assert_eq!(report.conflicts, 1, "{is_purged} {strategy}");
        for name in ["a", "b", "c"] {
            let third = if strategy == "bucardo_latest" { "3b" } else { "3new3" };
            assert_eq!(lab.on(name).rows(PEOPLE).await, ["1new1", "2c", third, "4new4"], "{is_purged}: {name}");
            assert_eq!(letters(&lab, name).await, Vec::<String>::new());
        }
        assert!(lab.merge().await.unwrap().is_empty());
        // On top of what arrived, nobody else's rival.
        lab.on("c").run("UPDATE people SET email = 'later' WHERE id = 1").await;
        assert_eq!(lab.merge().await.unwrap().conflicts, 0);
        lab.assert_same().await;
        assert_eq!(lab.on("b").number("SELECT count(*) FROM people WHERE email = 'later'").await, 1);
    }
}

/// Of a database that follows one of the sources, too: the merge does not hear of it.
#[tokio::test]
async fn what_is_sent_again_to_a_follower_is_no_change_for_the_merge() {
    let mut lab = SyncLab::masters(&["a", "b"], &["t"], DDL, &["people:id", "notes:id"]).await;
    lab.sync.deadletter = true;
    lab.on("t").run("ALTER TABLE people ADD CONSTRAINT adults CHECK (age > 17)").await;
    lab.on("a").run("INSERT INTO people VALUES (1, 'a', 5), (2, 'a2', 5)").await;
    lab.settle().await;
    lab.drain("t").await;
    assert_eq!(letters(&lab, "t").await, ["1 a 23514 1", "2 a 23514 1"]);
    lab.on("t").run("ALTER TABLE people DROP CONSTRAINT adults").await;
    lab.on("b").run("UPDATE people SET email = 'b' WHERE id = 1").await;
    retry(&lab, "a", "t", 1).await;
    retry(&lab, "a", "t", 2).await;
    assert_eq!(lab.merge().await.unwrap().conflicts, 0);
    lab.drain("t").await;
    for name in ["a", "b", "t"] {
        assert_eq!(lab.on(name).rows(PEOPLE).await, ["1b", "2a2"], "{name}");
    }
    assert_eq!(letters(&lab, "t").await, Vec::<String>::new());
    assert!(lab.merge().await.unwrap().is_empty());
}

/// Wherever a merge dies that has keys to park, each change is brought or waits, and waits once.
#[tokio::test]
async fn whatever_dies_each_row_arrives_or_waits() {
    const STEPS: usize = 24;
    let mut lab = masters(&["a", "b", "c"], true).await;
    lab.on("b").run("ALTER TABLE people ADD CONSTRAINT adults CHECK (age > 17)").await;
    let mut died = Vec::new();
    for step in 1..=STEPS {
        lab.on("a")
            .run(&format!("INSERT INTO people VALUES ({step}, 'a{step}', 5), (100 + {step}, 'b{step}', 30)"))
            .await;
        lab.on("c").run(&format!("INSERT INTO notes VALUES ({step})")).await;
        lab.on("b").run(&format!("INSERT INTO people VALUES (200 + {step}, 'c{step}', 40)")).await;
        if let Err(fault) = lab.merge_watched(dying(step)).await {
            died.push(fault.to_string());
        }
        lab.renew();
        lab.settle().await;
        let waiting = "SELECT (key ->> 'id')::int FROM bucardo.deadletter ORDER BY 1";
        let expected: Vec<String> = (1..=step).map(|id| id.to_string()).collect();
        assert_eq!(lab.on("b").rows(waiting).await, expected, "step {step}: {:?}", died.last());
        for (name, people) in [("a", 3 * step), ("b", 2 * step), ("c", 3 * step)] {
            let found = lab.on(name).number("SELECT count(*) FROM people").await;
            assert_eq!(found, i64::try_from(people).unwrap(), "step {step}: {name}");
            assert_eq!(lab.on(name).number("SELECT count(*) FROM notes").await, i64::try_from(step).unwrap());
        }
    }
    for step in ["rows deleted", "committed on a", "committed on b", "committed on c"] {
        assert!(died.iter().any(|fault| fault.contains(step)), "it never died at \"{step}\": {died:?}");
    }
    lab.on("b").run("ALTER TABLE people DROP CONSTRAINT adults").await;
    lab.on("a").run("UPDATE people SET age = 20 WHERE age = 5").await;
    lab.settle().await;
    lab.assert_same().await;
    assert_eq!(letters(&lab, "b").await, Vec::<String>::new());
}
