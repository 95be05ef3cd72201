//! Rows that a target refuses: custom codes get their turn, what nobody can help waits alone, and everything else goes on.

use std::time::Duration;

use bucardo::catalog::Role;
use bucardo::custom::Hook;
use serde_json::{Value, json};

use crate::support::codes::{Diary, code, give};
use crate::support::{SyncLab, Town, wait};

const DDL: &str = "CREATE TABLE people (id int PRIMARY KEY, email text, age int)";
const STRICT: &str =
    "ALTER TABLE people ADD CONSTRAINT one_mail UNIQUE (email), ADD CONSTRAINT adults CHECK (age > 17)";
const LETTERS: &str = "SELECT key ->> 'id' || ' ' || sqlstate || ' ' || tries FROM bucardo.deadletter ORDER BY 1";

/// The codes of exceptions run a statement on the target and ask for another try.
fn mend(lab: &mut SyncLab, statement: &str) -> Diary {
    let diary = Diary::default();
    give(lab, &diary, vec![code(Hook::Exception, &format!("b: {statement}\nrunagain=1"))]);
    diary
}

async fn lab() -> SyncLab {
    let lab = SyncLab::start(&["b"], DDL, &["people:id"]).await;
    lab.on("b").run(STRICT).await;
    lab
}

/// Of many rows those that are refused wait with the rows that the target has, by whichever way the table is brought; a
/// row that changes is tried again, and what is delivered waits no longer.
#[tokio::test]
async fn refused_rows_wait_alone_and_go_when_they_are_delivered() {
    for rows in [50, 3000] {
        let mut lab = lab().await;
        lab.sync.deadletter = true;
        lab.renew();
        let fill = format!("INSERT INTO people SELECT n, 'm' || n, 20 FROM generate_series(1, {rows}) n");
        lab.on("a").run(&fill).await;
        lab.drain("b").await;
        assert_eq!(lab.on("b").value("SELECT count(*) FROM people").await, rows.to_string());
        // Two mails change their owners, which is fine; one is somebody else's; two people are too young.
        lab.on("a").run("UPDATE people SET age = age + 1").await;
        lab.on("a").run("UPDATE people SET email = CASE id WHEN 1 THEN 'm2' ELSE 'm1' END WHERE id IN (1, 2)").await;
        lab.on("a")
            .run("UPDATE people SET email = 'm9' WHERE id = 3; UPDATE people SET age = 5 WHERE id IN (7, 8)")
            .await;
        let report = lab.round("b").await.unwrap();
        assert!(report.quarantined.is_empty(), "{report:?}");
        assert_eq!(lab.on("b").rows(LETTERS).await, ["3 23505 1", "7 23514 1", "8 23514 1"]);
        let found = "SELECT id || email || age FROM people WHERE id IN (1, 2, 3, 7, 9, 10) ORDER BY id";
        assert_eq!(lab.on("b").rows(found).await, ["1m221", "2m121", "3m320", "7m720", "9m921", "10m1021"]);
        assert!(lab.round("b").await.unwrap().is_empty(), "the position is past it");
        lab.on("a").run("UPDATE people SET age = 4 WHERE id = 7; UPDATE people SET age = 30 WHERE id = 8").await;
        lab.round("b").await.unwrap();
        assert!(lab.on("b").rows(LETTERS).await.contains(&"7 23514 2".to_owned()));
        assert!(!lab.on("b").rows(LETTERS).await.iter().any(|letter| letter.starts_with("8 ")));
        lab.on("a").run("UPDATE people SET email = 'm3' WHERE id = 3; UPDATE people SET age = 40; DELETE FROM people WHERE id = 7").await;
        lab.drain("b").await;
        assert_eq!(lab.on("b").rows(LETTERS).await, Vec::<String>::new());
        lab.assert_same().await;
    }
}

/// Constraints of `people` at b that are checked late, and for the rows of rounds too.
const LATE: &str = "CREATE TABLE ages (age int PRIMARY KEY); INSERT INTO ages VALUES (30); \
    ALTER TABLE people ADD FOREIGN KEY (age) REFERENCES ages DEFERRABLE INITIALLY DEFERRED, \
        ADD CONSTRAINT late_mail UNIQUE (email) DEFERRABLE INITIALLY DEFERRED; \
    DO $$ DECLARE name name; BEGIN \
        FOR name IN SELECT tgname FROM pg_trigger WHERE tgrelid = 'people'::regclass AND tgisinternal LOOP \
            EXECUTE format('ALTER TABLE people ENABLE ALWAYS TRIGGER %I', name); END LOOP; END $$";

async fn late() -> SyncLab {
    let ddl = format!("{DDL}; CREATE TABLE notes (id int PRIMARY KEY)");
    let mut lab = SyncLab::start(&["b"], &ddl, &["people:id", "notes:id"]).await;
    lab.on("b").run(LATE).await;
    lab.on("a").run("INSERT INTO people VALUES (1, 'x', 30)").await;
    lab.drain("b").await;
    lab.on("a").run("INSERT INTO people SELECT n, 'm' || n, 30 FROM generate_series(10, 40) n").await;
    lab.on("a").run("INSERT INTO people VALUES (2, 'z', 31), (3, 'x', 30), (4, 'y', 30), (5, 'y', 30)").await;
    lab.on("a").run("INSERT INTO notes VALUES (1)").await;
    lab
}

/// What is refused at the commit only is looked for as what is refused at once: those keys wait, or go to codes; without
/// either their table stops, and not the others.
#[tokio::test]
async fn what_is_refused_at_the_commit_waits_alone() {
    let mut lab = late().await;
    let report = lab.round("b").await.unwrap();
    let [out] = report.quarantined.as_slice() else { panic!("{report:?}") };
    assert!(out.why.contains("people_age_fkey") || out.why.contains("late_mail"), "{}", out.why);
    assert!(out.why.contains("refused: id=2, id=3, id=5)"), "{}", out.why);
    assert_eq!(lab.on("b").value("SELECT count(*) FROM notes").await, "1");
    lab.sync.deadletter = true;
    lab.renew();
    let report = lab.round("b").await.unwrap();
    assert!(report.quarantined.is_empty(), "it returns: {:?}", report.quarantined);
    assert_eq!(lab.on("b").rows(LETTERS).await, ["2 23503 1", "3 23505 1", "5 23505 1"]);

    let mut lab = late().await;
    lab.sync.deadletter = true;
    lab.renew();
    let report = lab.round("b").await.unwrap();
    assert!(report.quarantined.is_empty(), "{:?}", report.quarantined);
    assert_eq!(lab.on("b").rows(LETTERS).await, ["2 23503 1", "3 23505 1", "5 23505 1"]);
    assert_eq!(lab.on("b").value("SELECT count(*) FROM people").await, "33");
    assert_eq!(lab.on("b").value("SELECT count(*) FROM notes").await, "1");
    lab.on("b").run("INSERT INTO ages VALUES (31)").await;
    lab.on("a").run("UPDATE people SET email = 'n' || id WHERE id < 6").await;
    lab.drain("b").await;
    assert_eq!(lab.on("b").rows(LETTERS).await, Vec::<String>::new());
    lab.assert_same().await;

    let mut lab = late().await;
    let diary = mend(&mut lab, "INSERT INTO ages VALUES (31) ON CONFLICT DO NOTHING");
    lab.sync.deadletter = true;
    let report = lab.round("b").await.unwrap();
    assert!(report.quarantined.is_empty(), "{:?}", report.quarantined);
    assert_eq!(diary.inputs()[0].1["keys"], json!([{"id": "2"}, {"id": "3"}, {"id": "5"}]));
    assert_eq!(lab.on("b").rows(LETTERS).await, ["3 23505 1", "5 23505 1"]);
}

/// A key that waits for a value that another row has goes when that row has changed, and not before a while is over.
#[tokio::test]
async fn a_clash_is_tried_again_when_the_table_changes() {
    let mut lab = lab().await;
    lab.sync.deadletter = true;
    lab.on("b").run("INSERT INTO people VALUES (9, 'x', 30)").await;
    lab.on("a").run("INSERT INTO people VALUES (1, 'x', 30), (2, 'y', 3)").await;
    lab.drain("b").await;
    assert_eq!(lab.on("b").rows(LETTERS).await, ["1 23505 1", "2 23514 1"]);
    lab.on("a").run("INSERT INTO people VALUES (9, 'z', 30)").await;
    lab.drain("b").await;
    assert_eq!(lab.on("b").rows(LETTERS).await, ["1 23505 1", "2 23514 1"], "it was tried just now");
    lab.on("b").run("UPDATE bucardo.deadletter SET tried = tried - interval '21 seconds'").await;
    lab.on("a").run("UPDATE people SET age = 31 WHERE id = 9").await;
    let report = lab.round("b").await.unwrap();
    assert_eq!((report.keys, report.more), (1, true));
    lab.drain("b").await;
    assert_eq!(lab.on("b").rows(LETTERS).await, ["2 23514 1"], "nothing but the row itself mends the other one");
    assert_eq!(lab.on("b").rows("SELECT id || email FROM people ORDER BY id").await, ["1x", "9z"]);
}

/// A code is told what was refused and why, mends it inside the round, and the table is brought whole.
#[tokio::test]
async fn a_code_mends_what_the_target_refuses() {
    let mut lab = lab().await;
    lab.on("b").run("INSERT INTO people VALUES (99, 'taken', 30), (1, 'mine', 31)").await;
    let diary = mend(&mut lab, "UPDATE people SET email = email || '-old' WHERE id = 99");
    lab.on("a").run("INSERT INTO people VALUES (1, 'taken', 30), (2, 'free', 30)").await;
    lab.round("b").await.unwrap();
    let rows = "SELECT id || email FROM people ORDER BY id";
    assert_eq!(lab.on("b").rows(rows).await, ["1taken", "2free", "99taken-old"]);
    let inputs = diary.inputs();
    let [(_, input)] = inputs.as_slice() else { panic!("once: {inputs:?}") };
    assert_eq!(
        (&input["sqlstate"], &input["constraint"], &input["attempts"]),
        (&json!("23505"), &json!("one_mail"), &json!(1))
    );
    assert_eq!((&input["keys"], &input["tablename"]), (&json!([{"id": "1"}]), &json!("people")));
    assert_eq!(input["rows"], json!([{"id": "1", "email": "taken", "age": "30"}]));
    assert_eq!(input["deltabin"], json!({"a": {"1": 1}}));
    assert_eq!(input["present"], json!([{"id": "1", "email": "mine", "age": "31"}]));
    let rowinfo = &input["rowinfo"];
    for (key, value) in [
        ("schema", json!("public")),
        ("table", json!("people")),
        ("pkeyname", json!("id")),
        ("qpkeyname", json!("\"id\"")),
        ("pkeytype", json!("integer")),
        ("pkey", json!("1")),
        ("action", json!(1)),
        ("sourcerow", json!({"id": "1", "email": "taken", "age": "30"})),
        ("targetrow", json!({"id": "1", "email": "mine", "age": "31"})),
    ] {
        assert_eq!(rowinfo[key], value, "{key}");
    }
    assert!(input["error_string"].as_str().unwrap().contains("one_mail"), "{input}");
}

/// A code that does not help is not asked for ever. Without dead letters the table waits, and the key is named; others of
/// the sync go on.
#[tokio::test]
async fn without_help_the_key_is_named() {
    let ddl = format!("{DDL}; CREATE TABLE notes (id int PRIMARY KEY)");
    let mut lab = SyncLab::start(&["b"], &ddl, &["people:id", "notes:id"]).await;
    lab.on("b").run(STRICT).await;
    let diary = mend(&mut lab, "UPDATE people SET age = age");
    lab.on("a").run("INSERT INTO people VALUES (1, 'x', 30), (7, 'y', 5); INSERT INTO notes VALUES (1)").await;
    let report = lab.round("b").await.unwrap();
    let why = &report.quarantined[0].why;
    assert!(why.contains("refused: id=7"), "{why}");
    assert_eq!(lab.on("b").value("SELECT count(*) FROM notes").await, "1");
    assert_eq!(lab.on("b").value("SELECT count(*) FROM people").await, "0");
    let asked = diary.inputs().len();
    assert!((3..=6).contains(&asked), "{asked}");
}

/// A table is out because rows were refused, and only then gets somebody who mends them: the next try to return asks the
/// codes, or puts the rows aside, as a round does. One that mends a key at a time is asked until nothing is refused.
#[tokio::test]
async fn who_is_added_later_mends_a_table_in_quarantine() {
    let mut lab = lab().await;
    lab.on("b").run("INSERT INTO people SELECT 90 + n, 'taken' || n, 30 FROM generate_series(1, 5) n").await;
    lab.on("a").run("INSERT INTO people SELECT n, 'taken' || n, 30 FROM generate_series(1, 5) n; INSERT INTO people VALUES (6, 'free', 30)").await;
    let report = lab.round("b").await.unwrap();
    let why = &report.quarantined[0].why;
    assert!(why.contains("refused: id=1, id=2, id=3, id=4, id=5"), "nobody is asked, and yet they have names: {why}");
    assert_eq!(lab.round("b").await.unwrap().quarantined.len(), 1, "it is out");
    let next = "SELECT min(id) FROM people WHERE id > 90 AND email NOT LIKE '%-old'";
    let diary = mend(&mut lab, &format!("UPDATE people SET email = email || '-old' WHERE id = ({next})"));
    let report = lab.round("b").await.unwrap();
    assert!(report.quarantined.is_empty(), "{report:?}");
    let asked: Vec<Value> = diary.inputs().into_iter().map(|(_, input)| input["attempts"].clone()).collect();
    assert_eq!(asked, [json!(1), json!(2), json!(3), json!(4), json!(5)]);
    assert_eq!(lab.on("b").value("SELECT count(*) FROM people WHERE id < 7").await, "6");

    lab.sync.codes.clear();
    lab.renew();
    lab.on("a").run("UPDATE people SET age = 5 WHERE id = 1; UPDATE people SET age = 31 WHERE id = 2").await;
    assert_eq!(lab.round("b").await.unwrap().quarantined.len(), 1);
    lab.sync.deadletter = true;
    lab.renew();
    let report = lab.round("b").await.unwrap();
    assert!(report.quarantined.is_empty(), "{report:?}");
    assert_eq!(lab.on("b").rows(LETTERS).await, ["1 23514 1"]);
    assert_eq!(lab.on("b").value("SELECT age FROM people WHERE id = 2").await, "31");
}

/// A whole copy is refused, be it the only way of the target or asked for once, in one transaction or in pieces: the codes
/// are told row by row what the server tells, and the copy is made anew after each.
#[tokio::test]
async fn codes_mend_what_a_whole_copy_meets() {
    for (role, bytes) in [(Role::Fullcopy, 1 << 30), (Role::Target, 1 << 30), (Role::Target, 0)] {
        let mut lab = lab().await;
        lab.renew_as(role).await;
        lab.sync.copy.atomic_bytes = bytes;
        (lab.sync.onetimecopy, lab.sync.copy_request) = (1, 1);
        lab.on("a").run("INSERT INTO people VALUES (1, 'x', 5), (2, 'y', 30), (3, 'y', 30), (4, 'z', 6)").await;
        let grow = "a: UPDATE people SET age = 40 WHERE id = (SELECT min(id) FROM people WHERE age < 18)";
        let rename = "a: UPDATE people SET email = email || '-2' WHERE id = 3 AND email = 'y'";
        let diary = Diary::default();
        give(&mut lab, &diary, vec![code(Hook::Exception, &format!("{grow}\n{rename}\nrunagain=1"))]);
        let report = lab.round("b").await.unwrap();
        assert!(report.copied && report.quarantined.is_empty(), "{role:?} {bytes}: {report:?}");
        if role == Role::Target {
            lab.drain("b").await;
        }
        lab.assert_same().await;
        let inputs = diary.inputs();
        let [(_, first), (_, second)] = inputs.as_slice() else { panic!("{role:?} {bytes}: {inputs:?}") };
        assert_eq!((&first["sqlstate"], &first["database"]), (&json!("23514"), &json!("b")));
        assert_eq!((&first["keys"], &first["rows"][0]["age"]), (&json!([{"id": "1"}]), &json!("5")), "{first}");
        assert_eq!(second["keys"], json!([{"id": "4"}]));
    }
}

/// Of a whole copy, be it the only way of the target or asked for once, in one transaction or in pieces, those rows wait
/// that are refused, and all others are there. Who comes back by a whole copy from quarantine has them, too.
#[tokio::test]
async fn refused_rows_of_a_whole_copy_wait_alone() {
    for (role, bytes) in [(Role::Fullcopy, 1 << 30), (Role::Target, 1 << 30), (Role::Target, 0)] {
        let mut lab = lab().await;
        let place = lab.sync.members.iter().position(|member| member.db.name.as_str() == "b").unwrap();
        lab.sync.members[place].role = role;
        lab.sync.copy.atomic_bytes = bytes;
        (lab.sync.onetimecopy, lab.sync.copy_request, lab.sync.deadletter) = (1, 1, true);
        lab.validate().await.unwrap();
        lab.on("a").run("INSERT INTO people SELECT n, 'm' || n, 20 FROM generate_series(1, 5000) n").await;
        lab.on("a")
            .run("UPDATE people SET age = 5 WHERE id IN (7, 4000); UPDATE people SET email = 'm1' WHERE id = 3")
            .await;
        let report = lab.round("b").await.unwrap();
        assert!(report.copied && report.quarantined.is_empty(), "{role:?} {bytes}: {report:?}");
        assert_eq!(lab.on("b").value("SELECT count(*) FROM people").await, "4997");
        let waiting = lab.on("b").rows(LETTERS).await;
        assert_eq!(waiting[1..], ["4000 23514 1", "7 23514 1"]);
        // One of the two that have the same value is there, whichever came first.
        assert!(["1 23505 1", "3 23505 1"].contains(&waiting[0].as_str()), "{waiting:?}");
        lab.on("a")
            .run("UPDATE people SET age = 30 WHERE age = 5; UPDATE people SET email = 'm' || id WHERE id < 4")
            .await;
        if role == Role::Target {
            lab.drain("b").await;
        } else {
            assert!(lab.round("b").await.unwrap().copied);
        }
        assert_eq!(lab.on("b").rows(LETTERS).await, Vec::<String>::new(), "{role:?} {bytes}");
        lab.assert_same().await;
    }
}

/// More rows are refused than are looked for one by one: all others arrive with the same round or soon after it, each round
/// finds some more, and what waits in the end is what is refused.
#[tokio::test]
async fn thousands_of_refused_rows_are_found_in_several_rounds() {
    let mut lab = lab().await;
    lab.sync.deadletter = true;
    lab.renew();
    lab.on("a").run("INSERT INTO people SELECT n, 'm' || n, CASE WHEN n % 10 = 0 THEN 20 ELSE 5 END FROM generate_series(1, 1700) n").await;
    let report = lab.round("b").await.unwrap();
    assert!(report.quarantined.is_empty() && report.more, "{report:?}");
    assert!(lab.on("b").number("SELECT count(*) FROM people").await > 100);
    assert_eq!(lab.on("b").number("SELECT count(*) FROM bucardo.deadletter WHERE tries = 1").await, 1001);
    lab.on("a").run("INSERT INTO people VALUES (10001, 'new', 30)").await;
    lab.round("b").await.unwrap();
    assert_eq!(lab.on("b").number("SELECT count(*) FROM people WHERE id > 10000").await, 1, "others need not wait");
    lab.drain("b").await;
    assert_eq!(lab.on("b").number("SELECT count(*) FROM people").await, 171);
    assert_eq!(lab.on("b").number("SELECT count(*) FROM bucardo.deadletter WHERE tries = 1").await, 1530);
    lab.on("a").run("UPDATE people SET age = 20 WHERE age = 5").await;
    lab.drain("b").await;
    assert_eq!(lab.on("b").rows(LETTERS).await, Vec::<String>::new());
    lab.assert_same().await;
}

/// As an operator sees it: what waits is listed with the reason, and is sent again when it is asked for.
#[tokio::test]
async fn dead_letters_are_listed_and_sent_again_on_demand() {
    let mut town = Town::found(DDL).await;
    for database in [&town.b, &town.c] {
        database.run("CREATE UNIQUE INDEX one_mail ON people (email)").await;
        database.run("INSERT INTO people VALUES (99, 'taken', 1)").await;
    }
    town.sync("deadletter=on");
    assert_eq!(town.bucardo.run("list deadletters").trim(), "There are no dead letters");
    let mut daemon = town.daemon().await;
    daemon.announce("wait as dead letters");
    town.a.run("INSERT INTO people VALUES (1, 'taken', 30), (2, 'free', 30)").await;
    let within = Duration::from_secs(30);
    for database in [&town.b, &town.c] {
        wait::until_equal("what others need not wait for", within, &1, async || {
            database.number("SELECT count(*) FROM people WHERE id = 2").await
        })
        .await;
    }
    daemon.logs("wait as dead letters", within).await;
    let listed = town.bucardo.run("list deadletters s table=people");
    assert!(listed.contains("Database B  Table public.people  Key id=1"), "{listed}");
    assert!(listed.contains("one_mail") && listed.contains("SQLSTATE 23505"), "{listed}");
    let json: Value = serde_json::from_str(&town.bucardo.run("list deadletters --json")).unwrap();
    assert_eq!(json[0]["key"], json!({"id": "1"}));
    let status = town.bucardo.run("status s");
    assert!(status.contains("Dead letters") && status.contains(": 1 key waits at B since "), "{status}");
    assert!(status.contains("1 key waits at C since ") && status.contains("bucardo list deadletters s"), "{status}");
    let json: Value = serde_json::from_str(&town.bucardo.run("status s --json")).unwrap();
    let told = &json["syncs"][0]["deadletters"];
    assert_eq!((&told[0]["db"], &told[0]["keys"], &told[1]["db"]), (&json!("B"), &json!(1), &json!("C")), "{told}");
    assert!(told[0]["oldest"].is_string() && told[0]["problem"].is_null(), "{told}");
    let doctor = town.bucardo.call(&["doctor", "s"]).stdout;
    assert!(doctor.contains("Warning: dead letters: 1 key waits at B since "), "{doctor}");
    assert!(town.bucardo.fails("list deadletters nosuch").contains("No such sync: nosuch"));
    for database in [&town.b, &town.c] {
        database.run("DELETE FROM people WHERE id = 99").await;
    }
    let said = town.bucardo.run("retry s");
    for db in ["B", "C"] {
        let told = format!("1 keys of table public.people are sent again to {db} by sync s");
        assert!(said.contains(&told), "{said}");
    }
    for database in [&town.b, &town.c] {
        wait::until_equal("what was sent again", within, &1, async || {
            database.number("SELECT count(*) FROM people WHERE email = 'taken'").await
        })
        .await;
        wait::until_equal("no letter", within, &0, async || {
            database.number("SELECT count(*) FROM bucardo.deadletter").await
        })
        .await;
    }
    assert_eq!(town.bucardo.run("retry").trim(), "There are no dead letters");
    assert!(!town.bucardo.run("status s").contains("Dead letters"));
    daemon.stop().await;
}
