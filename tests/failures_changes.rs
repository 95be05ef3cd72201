//! What people do to tables and syncs while the daemon replicates them.

use std::time::Duration;

use crate::support::{Database, Town, Writer, wait};

const ORDERS: &str = "CREATE TABLE orders (id int PRIMARY KEY, note text); CREATE TABLE items (id int PRIMARY KEY)";
const SOON: Duration = Duration::from_secs(60);

async fn arrives(database: &Database, table: &str, id: i32) {
    let count = format!("SELECT count(*) FROM {table} WHERE id = {id}");
    let what = format!("row {id} of {table} on {}", database.name);
    wait::until_equal(&what, SOON, &1, async || database.number(&count).await).await;
}

async fn status_says(town: &Town, words: &[&str]) {
    let bucardo = &town.bucardo;
    wait::until(&format!("{words:?} in the status"), SOON, async || {
        let text = bucardo.run("status s");
        if words.iter().all(|word| text.contains(word)) { Ok(()) } else { Err(text) }
    })
    .await;
}

/// A table that was dropped and made anew has no triggers: its changes would be passed over in silence. A KID looks now
/// and then, and when it begins, as after this reload. Captured again, the table is copied, without anybody asking.
#[tokio::test]
async fn a_table_that_is_no_longer_captured_is_told() {
    let mut town = Town::found(ORDERS).await;
    town.sync("");
    let mut daemon = town.daemon().await;
    daemon.announce("quarantined table");
    town.a.run("INSERT INTO orders VALUES (1), (2)").await;
    // On both: a round that still reads the table when it goes says so, and that is right.
    town.settle(SOON).await;
    town.a
        .run("DROP TABLE orders; CREATE TABLE orders (id int PRIMARY KEY, note text); INSERT INTO orders VALUES (3)")
        .await;
    town.bucardo.run("reload sync s");
    let words = ["quarantined table \"public.orders\"", "was made anew on database \"A\"", "bucardo validate"];
    status_says(&town, &words).await;
    town.a.run("INSERT INTO items VALUES (7)").await;
    arrives(&town.b, "items", 7).await;
    let validated = town.bucardo.call(&["validate", "s"]);
    assert!(validated.stderr.contains("\"public.orders\" was made anew"), "{validated:?}");
    town.bucardo.run("kick s 10");
    arrives(&town.b, "orders", 3).await;
    arrives(&town.c, "orders", 3).await;
    town.a.run("INSERT INTO orders VALUES (4)").await;
    town.settle(SOON).await;

    town.a.run("ALTER TABLE items DISABLE TRIGGER ALL; INSERT INTO items VALUES (1)").await;
    town.bucardo.run("reload sync s");
    status_says(&town, &["quarantined table \"public.items\"", "capture of its changes is missing"]).await;
    town.bucardo.run("validate s");
    town.bucardo.run("kick s 10");
    arrives(&town.b, "items", 1).await;
    arrives(&town.c, "items", 1).await;
    town.settle(SOON).await;
    daemon.stop().await;
}

/// A table is missing on one target, and comes back: the other target goes on, and a kick is enough.
#[tokio::test]
async fn a_table_missing_on_a_target_waits_there_alone() {
    let mut town = Town::found(ORDERS).await;
    town.sync("");
    let mut daemon = town.daemon().await;
    daemon.announce("quarantined table");
    town.b.run("ALTER TABLE orders RENAME TO elsewhere").await;
    town.a.run("INSERT INTO orders VALUES (1)").await;
    arrives(&town.c, "orders", 1).await;
    let words = ["quarantined table \"public.orders\"", "it does not exist there (database \"B\")", "bucardo kick s"];
    status_says(&town, &words).await;
    town.a.run("INSERT INTO orders VALUES (2)").await;
    arrives(&town.c, "orders", 2).await;
    town.b.run("ALTER TABLE elsewhere RENAME TO orders").await;
    town.bucardo.run("kick s 10");
    town.settle(SOON).await;
    daemon.stop().await;
}

/// A sync is removed in the middle of its work, and made again: it goes on from a whole copy.
#[tokio::test]
async fn a_sync_may_be_removed_and_made_again() {
    let mut town = Town::found(ORDERS).await;
    town.sync("");
    let daemon = town.daemon().await;
    let writer = Writer::start(&town.a);
    town.moves("B", SOON).await;
    town.bucardo.run("remove sync s");
    assert_eq!(town.a.number("SELECT count(*) FROM bucardo.track").await, 0);
    town.bucardo.run("add sync s relgroup=s dbgroup=s onetimecopy=1");
    town.bucardo.run("reload");
    town.moves("B", SOON).await;
    town.moves("C", SOON).await;
    assert!(writer.stop().await > 5);
    let done = "SELECT onetimecopy FROM bucardo.sync";
    wait::until_equal("both copies", SOON, &0, async || town.control.number(done).await).await;
    town.settle(SOON).await;
    daemon.stop().await;
}

/// Two syncs share a table, one of them also feeds a third: nobody takes another's changes, and nothing comes back.
#[tokio::test]
async fn syncs_may_share_tables_and_databases() {
    let mut town = Town::found(ORDERS).await;
    town.bucardo.add_db("A", &town.a);
    town.bucardo.add_db("B", &town.b);
    town.bucardo.add_db("C", &town.c);
    town.bucardo.run("add sync one tables=orders dbs=A:source,B:target");
    town.bucardo.run("add sync two tables=orders,items dbs=A:source,C:target");
    town.bucardo.run("add sync three tables=items dbs=C:source,B:target");
    town.learn_tables();
    let daemon = town.daemon().await;
    town.a.run("INSERT INTO orders SELECT generate_series(1, 100); INSERT INTO items VALUES (1)").await;
    arrives(&town.b, "orders", 100).await;
    arrives(&town.c, "orders", 100).await;
    arrives(&town.c, "items", 1).await;
    // Written on C by a person, it goes on to B; written there by the daemon, it does not.
    town.c.run("INSERT INTO items VALUES (2)").await;
    arrives(&town.b, "items", 2).await;
    assert_eq!(town.b.rows("SELECT id FROM items").await, ["2"]);
    assert_eq!(town.a.rows("SELECT id FROM items").await, ["1"]);
    crate::support::assert_same("orders", &[&town.a, &town.b, &town.c]).await;
    daemon.stop().await;
}
