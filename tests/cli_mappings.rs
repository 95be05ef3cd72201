//! `customname`, `customcols` and `customselect` on the command line, and in a daemon that runs.

use std::time::Duration;

use bucardo::catalog::load_syncs;
use serde_json::Value;

use crate::cli_lab::CliLab;
use crate::support::{Daemon, Database, wait};

const TABLES: &str = "CREATE TABLE orders (id int PRIMARY KEY, state text, amount int);
    CREATE SCHEMA \"We.ird\"; CREATE TABLE \"We.ird\".\"it's \"\"t\" (k int PRIMARY KEY);
    CREATE SEQUENCE counter";
const WITHIN: Duration = Duration::from_secs(30);

#[tokio::test]
async fn names_columns_and_filters_are_added_listed_and_removed() {
    let lab = CliLab::start().await;
    let _a = lab.db("A", TABLES).await;
    let _b = lab.db("B", TABLES).await;
    lab.bucardo.run("add table orders db=A");
    lab.call(&["add", "table", "\"We.ird\".\"it's \"\"t\"", "db=A"]).ok();
    assert_eq!(lab.bucardo.run("list customnames"), "No customnames have been added yet\n");
    assert_eq!(lab.bucardo.run("list ccols"), "No customcols have been added yet\n");
    assert_eq!(lab.bucardo.run("list customselect"), "No customselects have been added yet\n");
    assert_eq!(
        lab.bucardo.run("add customname public.orders archive.old db=B"),
        "Transformed public.orders to archive.old (for database B)\n"
    );
    assert_eq!(
        lab.bucardo.run("add cname 1 mine db=A,B"),
        "Transformed public.orders to public.mine (for database A)\nTransformed public.orders to public.mine (for database B)\n"
    );
    assert_eq!(
        lab.bucardo.run("add customname orders mine db=B"),
        "Already have an entry for public.orders to public.mine (for database B)\n"
    );
    let words = ["add", "customname", "\"We.ird\".\"it's \"\"t\"", "\"S.x\".\"T \"\"-\""];
    assert_eq!(lab.call(&words).ok(), "Transformed We.ird.it's \"t to \"S.x\".\"T \"\"-\"\n");
    assert_eq!(
        lab.bucardo.run("list customnames"),
        "1. Table: public.orders => archive.old Database: B\n2. Table: public.orders => public.mine Database: A\n\
         3. Table: public.orders => public.mine Database: B\n4. Table: We.ird.it's \"t => \"S.x\".\"T \"\"-\"\n"
    );
    assert_eq!(lab.bucardo.run("remove customname 2 4"), "Removed customname ID: 2\nRemoved customname ID: 4\n");
    let json: Value = serde_json::from_str(&lab.bucardo.run("list customnames orders --json")).unwrap();
    assert_eq!(json[0]["newname"], "archive.old");
    assert_eq!(json[1]["db"], "B");

    let list = "SELECT id, extract(epoch FROM now()) AS seen";
    assert_eq!(
        lab.call(&["add", "customcols", "orders", list]).ok(),
        format!("New columns for public.orders: \"{list}\"\n")
    );
    assert_eq!(
        lab.call(&["add", "customselect", "orders", "WHERE amount=1", "db=B"]).ok(),
        "New filter for public.orders: \"amount=1\" (for database B)\n"
    );
    assert_eq!(lab.bucardo.run("list customcols"), format!("1. Table: public.orders => {list}\n"));
    assert_eq!(lab.bucardo.run("list customselects"), "1. Table: public.orders => amount=1 Database: B\n");
    let all = lab.bucardo.run("list all");
    assert!(all.starts_with("-- customnames:\n1. "), "{all}");
    let json: Value = serde_json::from_str(&lab.bucardo.run("list all --json")).unwrap();
    assert_eq!(json["customselects"][0]["clause"], "amount=1");

    // What looks at more than the row itself is taken, and its limits are told.
    let vip = "amount > 5 OR id IN (SELECT k FROM \"We.ird\".\"it's \"\"t\") OR EXISTS (SELECT FROM public.orders AS o WHERE o.id = orders.amount)";
    let added = lab.call(&["add", "customselect", "orders", vip, "db=A"]);
    assert!(added.stderr.starts_with("Warning: customselect of public.orders: it looks into "), "{}", added.stderr);
    for part in ["public.orders", "\"We.ird\".", "onetimecopy=1"] {
        assert!(added.stderr.contains(part), "{}", added.stderr);
    }
    lab.bucardo.run("remove customselect 2");
    let output = lab.call(&["update", "table", "orders", "customselect=where state = 'a=b:c'"]).ok();
    assert_eq!(output, "Changed relation customselect from '' to state = 'a=b:c'\n");
    assert!(lab.bucardo.run("list table orders").ends_with("  (customselect:state = 'a=b:c')\n"));
    assert_eq!(
        lab.bucardo.run("update table orders customselect="),
        "Changed relation customselect from state = 'a=b:c' to ''\n"
    );
    // What is mapped goes with its table and its database.
    lab.bucardo.run("remove db B --force");
    assert_eq!(lab.bucardo.run("list customnames"), "No customnames have been added yet\n");
    lab.bucardo.run("remove table public.orders");
    assert_eq!(lab.bucardo.run("list customcols"), "No customcols have been added yet\n");
}

#[tokio::test]
async fn what_cannot_be_used_is_refused_and_changes_nothing() {
    let lab = CliLab::start().await;
    let _a = lab.db("A", TABLES).await;
    lab.bucardo.run("add table orders db=A");
    lab.bucardo.run("add sequence counter db=A");
    for (words, complaint) in [
        (&["add", "customname", "orders"][..], "bucardo add customname OLD NEW"),
        (&["add", "customname", "nothere", "x"], "Could not find a relation named \"nothere\""),
        (&["add", "customname", "orders", "orders"], "The new name of public.orders is the same as the old one"),
        (&["add", "customname", "orders", "x", "db=Z"], "Unknown database \"Z\""),
        (&["add", "customname", "orders", "x", "sync=Z"], "Unknown sync \"Z\""),
        (&["add", "customname", "orders", "x", "colour=red"], "Unknown option 'colour'"),
        (&["add", "customcols", "orders", "SELECT", "id"], "Cannot make sense of \"id\""),
        (&["add", "customcols", "orders", "SELECT id, nothere"], "Cannot use this as customcols of public.orders: "),
        (&["add", "customcols", "orders", "id"], "Cannot use this as customcols of public.orders: it does not begin"),
        (&["add", "customcols", "counter", "SELECT 1 AS id"], "\"public.counter\" is a sequence"),
        (&["add", "customselect", "orders", "nothere > 1"], "Cannot use this as customselect of public.orders: "),
        (&["add", "customselect", "orders", " WHERE "], "The customselect of public.orders is empty"),
        (
            &["update", "table", "orders", "customselect=nothere > 1"],
            "Cannot use this as customselect of public.orders: ",
        ),
        (&["update", "customname", "1", "x"], "Names, columns and filters are not updated"),
        (&["remove", "customselect", "7"], "There is no customselect with the number \"7\""),
        (&["remove", "customname", "orders"], "There is no customname with the number \"orders\""),
    ] {
        let refusal = lab.refused(1, words).await;
        assert!(refusal.starts_with(complaint), "{words:?}: {refusal}");
        if complaint.contains("Cannot use") && words.join(" ").contains("nothere") {
            assert!(refusal.contains("column \"nothere\" does not exist"), "{refusal}");
        }
    }
    let refusal = lab.refused(1, &["add", "table", "\"We.ird\".\"it's \"\"t\"", "customselect=x = 1"]).await;
    assert!(refusal.contains("column \"x\" does not exist"), "{refusal}");
    lab.bucardo.run("add customname orders x --dry-run");
    assert_eq!(lab.bucardo.run("list customnames"), "No customnames have been added yet\n");
}

/// For sync and database, for the database, for the sync, for all; of two equals the newer one. Sources have none.
#[tokio::test]
async fn the_most_particular_mapping_counts() {
    let lab = CliLab::start().await;
    let tables = "CREATE TABLE orders (id int PRIMARY KEY); CREATE TABLE n (LIKE orders INCLUDING ALL)";
    let _dbs = [lab.db("A", tables).await, lab.db("B", tables).await, lab.db("C", tables).await];
    lab.bucardo.run("add table orders db=A relgroup=g");
    lab.bucardo.run("add sync s relgroup=g dbs=A,B,C");
    lab.bucardo.run("add sync z relgroup=g dbs=A,B,C");
    let found = async || {
        let mut found = Vec::new();
        for sync in load_syncs(&lab.control.session().await).await.unwrap() {
            for mapping in &sync.mappings {
                let name = mapping.name.as_ref().map(ToString::to_string).unwrap_or_default();
                let filter = mapping.filter.clone().unwrap_or_default();
                found.push(format!("{} {} {name} {filter}", sync.name, mapping.db));
            }
        }
        found
    };
    assert!(found().await.is_empty());
    lab.call(&["update", "table", "orders", "customselect=id > 0"]).ok();
    assert_eq!(found().await, ["s B  id > 0", "s C  id > 0", "z B  id > 0", "z C  id > 0"]);
    for words in
        ["orders n", "orders m", "orders ofs sync=s", "orders onb db=B", "orders both db=B sync=z", "orders a db=A"]
    {
        lab.bucardo.run(&format!("add customname {words}"));
    }
    lab.call(&["add", "customselect", "orders", "true", "db=C"]).ok();
    assert_eq!(
        found().await,
        ["s B public.onb id > 0", "s C public.ofs true", "z B public.both id > 0", "z C public.m true"]
    );
}

async fn until(database: &Database, sql: &str, expected: &[&str]) {
    let expected: Vec<String> = expected.iter().map(|row| (*row).to_owned()).collect();
    wait::until_equal(sql, WITHIN, &expected, async || database.rows(sql).await).await;
}

/// Two targets with different mappings, one of them the source's own database; filters change while the daemon runs.
#[tokio::test]
async fn a_daemon_follows_the_mappings_of_each_target() {
    let lab = CliLab::start().await;
    let a = lab.db("A", TABLES).await;
    let b = lab.db("B", "CREATE TABLE orders (state text, id int PRIMARY KEY)").await;
    a.run("CREATE TABLE beside (LIKE orders INCLUDING ALL)").await;
    lab.bucardo.add_db("A2", &a);
    lab.bucardo.run("add table orders db=A relgroup=g");
    let words = ["add", "sync", "s", "relgroup=g", "dbs=A,B,A2"];
    let refusal = lab.refused(255, &words).await;
    assert!(refusal.contains("bucardo add customname public.orders NEWNAME db=A2"), "{refusal}");
    lab.bucardo.run("add customname orders beside db=A2");
    lab.call(&["add", "customcols", "orders", "SELECT id, state", "db=B"]).ok();
    lab.call(&["update", "table", "orders", "customselect=amount > 0"]).ok();
    lab.call(&["add", "customselect", "orders", "true", "db=A2"]).ok();
    lab.bucardo.run("add sync s relgroup=g dbs=A,B,A2");
    let daemon = Daemon::start(&lab.bucardo).await;
    a.run("INSERT INTO orders VALUES (1, 'new', 1), (2, 'new', -1)").await;
    let rows = "SELECT id, state FROM orders ORDER BY id";
    until(&b, rows, &["1|new"]).await;
    until(&a, "SELECT * FROM beside ORDER BY id", &["1|new|1", "2|new|-1"]).await;
    a.run("UPDATE orders SET amount = -amount, state = 'turned'").await;
    until(&b, rows, &["2|turned"]).await;

    let printed = lab.call(&["update", "table", "orders", "customselect=amount < 0"]).ok();
    assert!(printed.contains("Note: \"bucardo validate s\" and \"bucardo reload\""), "{printed}");
    lab.bucardo.run("reload");
    a.run("UPDATE orders SET state = 'again'").await;
    until(&b, rows, &["1|again"]).await;
    until(&a, "SELECT * FROM beside ORDER BY id", &["1|again|-1", "2|again|1"]).await;
    // More particular than the table's own.
    lab.call(&["add", "customselect", "orders", "state = 'x'", "sync=s"]).ok();
    lab.call(&["add", "customselect", "orders", "state = 'y'", "db=B", "sync=s"]).ok();
    lab.bucardo.run("reload");
    a.run("UPDATE orders SET state = CASE id WHEN 1 THEN 'x' ELSE 'y' END").await;
    until(&b, rows, &["2|y"]).await;
    daemon.stop().await;
}
