//! What codes are given, at every hook of a pair, a merge and whole copies, for the sync and for a table: the whole input,
//! the same in every language, and what is expected of it. What the controller's codes are given: `custom_daemon`.

mod story;

use bucardo::catalog::{DeleteMethod, Role};
use bucardo::custom::Hook;
use serde_json::{Value, json};

use crate::support::SyncLab;
use crate::support::witness::Witness;
use story::{Count, Counts, Story, codes, exception, odd_info, odd_row};

const DDL: &str = r#"CREATE TABLE orders (id int PRIMARY KEY, note text); CREATE SCHEMA "sc h'e"; CREATE SEQUENCE numbers;
    CREATE TABLE "sc h'e"."t ""x\" ("k y" text, n int, "v'al" text CONSTRAINT "on'e" UNIQUE, PRIMARY KEY ("k y", n))"#;
const GOATS: [&str; 3] = ["orders:id", "sc h'e.t \"x\\:k y,n", "numbers"];
const ORDERS: (&str, &str) = ("public", "orders");
const ODD: (&str, &str) = ("sc h'e", "t \"x\\");
const ROWS: &str = r#"INSERT INTO orders VALUES (1, 'x'), (2, NULL), (3, 'y');
    INSERT INTO "sc h'e"."t ""x\" VALUES (E'ü \\ " ''\t', 7, 'old'), ('other', 1, NULL)"#;
/// The first column of an odd key.
const KEY: &str = "ü \\ \" '\t";
/// Mends a clash of "taken".
const MEND: &str = r#"UPDATE "sc h'e"."t ""x\" SET "v'al" = 'moved' WHERE n = 9"#;

#[tokio::test]
async fn codes_of_pairs_are_given_the_same() {
    let mut lab = SyncLab::start(&["b"], DDL, &GOATS).await;
    lab.on("a").run(ROWS).await;
    lab.drain("b").await;
    lab.sync.codes = codes("b");
    let witness = Witness::of(&mut lab);
    lab.on("b").run(r#"INSERT INTO "sc h'e"."t ""x\" VALUES ('in its way', 9, 'taken')"#).await;
    lab.on("a")
        .run(
            r#"UPDATE orders SET note = 'z' WHERE id < 3; DELETE FROM orders WHERE id = 3; SELECT nextval('numbers');
            UPDATE "sc h'e"."t ""x\" SET "v'al" = 'taken' WHERE n = 7"#,
        )
        .await;
    lab.round("b").await.unwrap();

    let mut story = Story::of(&lab, &witness, "pushdelta", &["a", "b"]);
    story.rows = json!({"public": {"orders": {"1": 1, "2": 1, "3": 1}}, ODD.0: {ODD.1: {format!("{KEY}\u{1f}7"): 1}}});
    story.next(Hook::BeforeTxn, None, Counts::EARLY, &json!({}));
    story.before_the_look();
    let mut counts = Counts { changed: Count { orders: [3, 0], odd: [1, 0] }, ..Counts::default() };
    story.before_the_rows(counts);
    (counts.deleted.orders, counts.inserted.orders) = ([0, 3], [0, 2]);
    story.next(Hook::AfterTableSync, Some(ORDERS), counts, &json!({}));
    let row = odd_row(KEY, 7, Some("taken"));
    let refused = exception(&lab, ("b", "a"), Some((&row, odd_row(KEY, 7, Some("old")))));
    story.next(Hook::Exception, Some(ODD), counts, &refused);
    (counts.deleted.odd, counts.inserted.odd) = ([0, 1], [0, 1]);
    story.next(Hook::AfterTableSync, Some(ODD), counts, &json!({}));
    story.after_the_rows(counts);
    story.ends();
}

#[tokio::test]
async fn codes_of_merges_are_given_the_same() {
    let dbs = ["a", "b", "c"];
    let mut lab = SyncLab::masters(&dbs, &[], DDL, &GOATS).await;
    lab.sync.codes = codes("b");
    let witness = Witness::of(&mut lab);
    lab.on("a").run(ROWS).await;
    // The same session goes on, so that all sources are there; the last merge found nothing.
    let merges = lab.settle().await + 1;
    witness.calls();
    lab.on("a")
        .run(
            r#"UPDATE orders SET note = 'a' WHERE id < 3; SELECT nextval('numbers');
            UPDATE "sc h'e"."t ""x\" SET "v'al" = 'a' WHERE n = 7; INSERT INTO "sc h'e"."t ""x\" VALUES ('of a', 8, 'taken')"#,
        )
        .await;
    lab.on("b")
        .run(
            r#"UPDATE orders SET note = 'b' WHERE id = 1; DELETE FROM orders WHERE id = 2;
            UPDATE "sc h'e"."t ""x\" SET "v'al" = NULL WHERE n = 7; INSERT INTO "sc h'e"."t ""x\" VALUES ('of b', 9, 'taken')"#,
        )
        .await;
    lab.merge().await.unwrap();

    let mut story = Story::of(&lab, &witness, "swap", &dbs);
    story.kidloop = merges + 1;
    let odd_keys = json!({"of a\u{1f}8": 1, "of b\u{1f}9": 1, format!("{KEY}\u{1f}7"): 1});
    story.rows = json!({"public": {"orders": {"1": 1, "2": 1}}, ODD.0: {ODD.1: odd_keys}});
    story.next(Hook::BeforeTxn, None, Counts::EARLY, &json!({}));
    let mut counts = Counts { changed: Count { orders: [2, 2], odd: [2, 2] }, ..Counts::default() };
    let in_time = counts;
    (counts.deleted.orders, counts.inserted.orders) = ([2, 2], [1, 1]);
    let row = odd_row("of b", 9, Some("taken"));
    let refused = exception(&lab, ("a", "b"), Some((&row, Value::Null)));
    story.next(Hook::Exception, Some(ODD), counts, &refused);
    // Twice it started over: to look closer, and with what the code has mended, which is a change.
    story.attempts = 3;
    counts = in_time;
    counts.changed.odd = [2, 3];
    story.before_the_look();
    story.before_the_rows(counts);
    let order = |id: &str, note: &str| json!({"id": id, "note": note});
    let info =
        json!({"schema": "public", "table": "orders", "pkeyname": "id", "qpkeyname": "\"id\"", "pkeytype": "integer"});
    for (id, b) in [("1", order("1", "b")), ("2", Value::Null)] {
        let told = story.conflict(&json!({"id": id}), &["id", "note"], (order(id, "a"), b), info.clone());
        story.next(Hook::Conflict, Some(ORDERS), counts, &told);
    }
    (counts.deleted.orders, counts.inserted.orders) = ([2, 2], [1, 1]);
    story.next(Hook::AfterTableSync, Some(ORDERS), counts, &json!({}));
    let key = json!({"k y": KEY, "n": "7"});
    let rows = (odd_row(KEY, 7, Some("a")), odd_row(KEY, 7, None));
    let told = story.conflict(&key, &["k y", "n", "v'al"], rows, odd_info(&["text", "integer"]));
    story.next(Hook::Conflict, Some(ODD), counts, &told);
    (counts.deleted.odd, counts.inserted.odd) = ([1, 1], [2, 4]);
    story.next(Hook::AfterTableSync, Some(ODD), counts, &json!({}));
    story.after_the_rows(counts);
    story.ends();
}

#[tokio::test]
async fn codes_of_whole_copies_are_given_the_same() {
    for (role, bytes) in [(Role::Fullcopy, 1 << 30), (Role::Target, 1 << 30), (Role::Target, 0)] {
        let mut lab = SyncLab::start(&["b"], DDL, &GOATS).await;
        lab.renew_as(role).await;
        lab.sync.copy.atomic_bytes = bytes;
        lab.sync.deletemethod = DeleteMethod::Delete;
        (lab.sync.onetimecopy, lab.sync.copy_request) = (1, 1);
        lab.on("b").run("INSERT INTO orders VALUES (77, 'old')").await;
        let clash = r#"UPDATE "sc h'e"."t ""x\" SET "v'al" = 'taken', n = CASE n WHEN 1 THEN 9 ELSE n END"#;
        let loose = r#"ALTER TABLE "sc h'e"."t ""x\" DROP CONSTRAINT "on'e""#;
        lab.on("a").run(&format!("{loose}; {ROWS}; {clash}")).await;
        lab.sync.codes = codes("a");
        let witness = Witness::of(&mut lab);
        assert!(lab.round("b").await.unwrap().copied);

        let synctype = if role == Role::Fullcopy { "fullcopy" } else { "pushdelta" };
        let mut story = Story::of(&lab, &witness, synctype, &["a", "b"]);
        story.next(Hook::BeforeTxn, None, Counts::EARLY, &json!({}));
        // One in pieces has emptied the tables by then.
        let emptied = Count { orders: [0, 1], odd: [0, 0] };
        let (by_then, deleted) = match bytes {
            0 => (Counts { deleted: emptied, ..Counts::default() }, Count::default()),
            _ => (Counts::EARLY, emptied),
        };
        story.next(Hook::Exception, Some(ODD), by_then, &exception(&lab, ("b", "a"), None));
        story.attempts = 2;
        story.before_the_look();
        story.before_the_rows(Counts::EARLY);
        let counts = Counts { deleted, inserted: Count { orders: [0, 3], odd: [0, 2] }, ..Counts::default() };
        story.next(Hook::AfterTableSync, Some(ORDERS), counts, &json!({}));
        story.next(Hook::AfterTableSync, Some(ODD), counts, &json!({}));
        story.after_the_rows(counts);
        story.ends();
    }
}
