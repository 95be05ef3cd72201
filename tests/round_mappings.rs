//! What a target has differently: another name, other columns, some of the rows, the same database as the source.

use bucardo::catalog::{Mapping, Role};
use bucardo::pg::RelationName;

use crate::support::sync_lab::member;
use crate::support::{SyncLab, all_know};

/// Adds a mapping of the goat at `place` for `target`.
fn map(lab: &mut SyncLab, place: usize, target: &str, name: Option<&str>, columns: Option<&str>, filter: Option<&str>) {
    let goat = lab.sync.goats[place].id;
    lab.sync.mappings.retain(|mapping| mapping.goat != goat || mapping.db.as_str() != target);
    lab.sync.mappings.push(Mapping {
        goat,
        db: target.into(),
        name: name.map(RelationName::parse),
        columns: columns.map(str::to_owned),
        filter: filter.map(str::to_owned),
    });
}

const ORDERS: &str = "CREATE TABLE orders (id int PRIMARY KEY, state text, amount numeric(9,2), note text)";

/// Each change in a batch of a few rows and in one of many, which goes another way.
#[tokio::test]
async fn rows_move_in_and_out_of_a_filter() {
    let mut lab = SyncLab::empty(&["b", "c"], ORDERS, &["orders:id"]).await;
    map(&mut lab, 0, "b", None, None, Some("state = 'open' AND amount > 0 -- only these"));
    lab.validate().await.unwrap();
    for (first, last) in [(1, 9), (1001, 4000)] {
        let of = format!("id BETWEEN {first} AND {last}");
        let same = format!("SELECT * FROM orders WHERE {of} AND state = 'open' AND amount > 0 ORDER BY id");
        for change in [
            format!(
                "INSERT INTO orders SELECT i, CASE i % 3 WHEN 0 THEN 'open' ELSE 'shut' END, i, 'new' FROM generate_series({first}, {last}) AS i"
            ),
            // Some come in, some go out, some stay.
            format!(
                "UPDATE orders SET state = CASE id % 3 WHEN 1 THEN 'open' WHEN 0 THEN 'shut' ELSE state END WHERE {of}"
            ),
            format!("UPDATE orders SET note = 'other' WHERE {of}"),
            format!("UPDATE orders SET amount = NULL WHERE {of} AND id % 2 = 0"),
            format!("UPDATE orders SET id = -id WHERE {of} AND id % 5 = 0"),
            format!("DELETE FROM orders WHERE {of} AND id % 7 = 0"),
            format!("UPDATE orders SET state = 'shut' WHERE {of}"),
        ] {
            lab.on("a").run(&change).await;
            lab.drain("b").await;
            assert_eq!(lab.on("b").rows(&same).await, lab.on("a").rows(&same).await, "{change}");
            let others = "SELECT count(*) FROM orders WHERE state <> 'open' OR amount IS NULL OR amount <= 0";
            assert_eq!(lab.on("b").number(others).await, 0, "{change}");
        }
        assert_eq!(lab.on("b").number(&format!("SELECT count(*) FROM orders WHERE {of}")).await, 0, "all are out");
    }
    // A target without a filter has everything.
    lab.drain("c").await;
    let all = "SELECT * FROM orders ORDER BY id";
    assert_eq!(lab.on("c").rows(all).await, lab.on("a").rows(all).await);
}

#[tokio::test]
async fn a_filter_holds_for_whole_copies_and_after_a_truncation() {
    let mut lab = SyncLab::empty(&["b"], ORDERS, &["orders:id"]).await;
    lab.on("a").run("INSERT INTO orders VALUES (1, 'open', 1, ''), (2, 'shut', 2, '')").await;
    lab.on("b").run("INSERT INTO orders VALUES (2, 'stale', 2, ''), (3, 'stale', 3, '')").await;
    map(&mut lab, 0, "b", Some("orders"), None, Some("state = 'open'"));
    (lab.sync.onetimecopy, lab.sync.copy_request) = (1, 1);
    lab.validate().await.unwrap();
    assert!(lab.round("b").await.unwrap().copied);
    let ids = "SELECT id FROM orders ORDER BY id";
    assert_eq!(lab.on("b").rows(ids).await, ["1"]);
    lab.on("a")
        .run("BEGIN; TRUNCATE orders; INSERT INTO orders VALUES (4, 'open', 1, ''), (5, 'shut', 2, ''); COMMIT")
        .await;
    lab.drain("b").await;
    assert_eq!(lab.on("b").rows(ids).await, ["4"]);

    // Copying where the target is empty: the source's rows count only if the target would get them.
    lab.on("a").run("UPDATE orders SET state = 'shut'").await;
    lab.drain("b").await;
    (lab.sync.onetimecopy, lab.sync.copy_request) = (2, 2);
    lab.validate().await.unwrap();
    let report = lab.round("b").await.unwrap();
    assert!(report.copied && report.inserts == 0, "{report:?}");
}

/// Odd names on both sides, another schema, more columns in another order, and a sequence.
#[tokio::test]
async fn a_table_has_another_name_on_the_target() {
    let ddl = "CREATE TABLE \"Or.d\"\"er's\" (\"The Key\" int PRIMARY KEY, note text, n bigint);
               CREATE SEQUENCE counter";
    let mut lab = SyncLab::empty(&["b", "c"], ddl, &["x:The Key", "counter"]).await;
    lab.sync.goats[0].name = "Or.d\"er's".to_owned();
    let there = "CREATE SCHEMA \"Far \"\"away\"; DROP TABLE \"Or.d\"\"er's\"; DROP SEQUENCE counter;
        CREATE TABLE \"Far \"\"away\".\"a.b \\ {columns}\" (own text NOT NULL DEFAULT 'mine', n bigint, note text, \"The Key\" int UNIQUE);
        CREATE SEQUENCE \"Far \"\"away\".\"Count.er\"";
    lab.on("b").run(there).await;
    map(&mut lab, 0, "b", Some("\"Far \"\"away\".\"a.b \\ {columns}\""), None, None);
    map(&mut lab, 1, "b", Some("\"Far \"\"away\".\"Count.er\""), None, None);
    lab.validate().await.unwrap();
    lab.on("a").run("SELECT setval('counter', 42)").await;
    let rows = "SELECT \"The Key\", note, n FROM \"Far \"\"away\".\"a.b \\ {columns}\" ORDER BY 1";
    for change in [
        "INSERT INTO \"Or.d\"\"er's\" SELECT i, 'it''s \\', i FROM generate_series(1, 5) AS i",
        "INSERT INTO \"Or.d\"\"er's\" SELECT i, NULL, i FROM generate_series(6, 3000) AS i",
        "UPDATE \"Or.d\"\"er's\" SET note = 'x' WHERE \"The Key\" = 3; DELETE FROM \"Or.d\"\"er's\" WHERE \"The Key\" < 3",
        "TRUNCATE \"Or.d\"\"er's\"; INSERT INTO \"Or.d\"\"er's\" VALUES (1, 'again', 1)",
    ] {
        lab.on("a").run(change).await;
        lab.drain("b").await;
        let source = lab.on("a").rows("SELECT \"The Key\", note, n FROM \"Or.d\"\"er's\" ORDER BY 1").await;
        assert_eq!(lab.on("b").rows(rows).await, source, "{change}");
    }
    assert_eq!(lab.on("b").number("SELECT last_value FROM \"Far \"\"away\".\"Count.er\"").await, 42);
    assert_eq!(
        lab.on("b").number("SELECT count(*) FROM \"Far \"\"away\".\"a.b \\ {columns}\" WHERE own <> 'mine'").await,
        0
    );
    lab.drain("c").await;
    assert_eq!(lab.on("c").number("SELECT count(*) FROM \"Or.d\"\"er's\"").await, 1, "elsewhere it keeps its name");
    // Strictness is for tables of the same name only; a missing column is always a fault.
    lab.on("b").run("ALTER TABLE \"Far \"\"away\".\"a.b \\ {columns}\" DROP COLUMN n").await;
    let error = lab.validate().await.unwrap_err().told();
    assert!(
        error.contains("table \"Far \"away.a.b \\ {columns}\" on database \"b\": column \"n\" is missing"),
        "{error}"
    );
}

#[tokio::test]
async fn targets_get_the_columns_of_a_select_list() {
    let mut lab = SyncLab::empty(&["b", "c"], ORDERS, &["orders:id"]).await;
    lab.on("b")
        .run("DROP TABLE orders; CREATE TABLE orders (\"Cents\" bigint, state varchar(4), id int PRIMARY KEY)")
        .await;
    let list = "select id, (amount * 100)::bigint AS \"Cents\", upper(orders.state) AS state -- amounts in cents";
    map(&mut lab, 0, "b", None, Some(list), Some("amount IS NOT NULL"));
    map(&mut lab, 0, "c", None, Some("SELECT note, id, NULL::text AS state, amount"), None);
    let warnings = lab.validate().await.unwrap().warnings;
    assert!(
        warnings[0].starts_with("customcols of table \"public.orders\" on database \"b\": column \"state\""),
        "{warnings:?}"
    );
    for (first, last) in [(1, 20), (1001, 4000)] {
        for change in [
            format!(
                "INSERT INTO orders SELECT i, 'open', i / 4.0, 'n' || i FROM generate_series({first}, {last}) AS i"
            ),
            format!("UPDATE orders SET state = 'shut' WHERE id % 2 = 0 AND id >= {first}"),
            format!("UPDATE orders SET amount = NULL WHERE id % 3 = 0 AND id >= {first}"),
            format!("DELETE FROM orders WHERE id % 4 = 0 AND id >= {first}"),
        ] {
            lab.on("a").run(&change).await;
            lab.drain("b").await;
            lab.drain("c").await;
            let made =
                "SELECT id, (amount * 100)::bigint, upper(state) FROM orders WHERE amount IS NOT NULL ORDER BY id";
            let b = lab.on("b").rows("SELECT id, \"Cents\", state FROM orders ORDER BY id").await;
            assert_eq!(b, lab.on("a").rows(made).await, "{change}");
            let c = lab.on("c").rows("SELECT * FROM orders ORDER BY id").await;
            assert_eq!(c, lab.on("a").rows("SELECT id, NULL, amount, note FROM orders ORDER BY id").await, "{change}");
        }
    }
}

/// Two entries of the catalog, one database: a table is copied beside itself, partly, and never onto itself.
#[tokio::test]
async fn source_and_target_are_the_same_database() {
    let ddl = format!("{ORDERS}; CREATE SCHEMA shadow; CREATE TABLE shadow.open_orders (LIKE orders INCLUDING ALL)");
    let mut lab = SyncLab::empty(&[], &ddl, &["orders:id"]).await;
    let conninfo = lab.on("a").conninfo();
    lab.sync.members.push(member("a2", &conninfo, Role::Target));
    let error = lab.validate().await.unwrap_err().told();
    assert!(error.contains("\"public.orders\" would be copied onto a table of its own sync"), "{error}");
    let exists = "SELECT count(*) FROM pg_namespace WHERE nspname = 'bucardo'";
    assert_eq!(lab.on("a").number(exists).await, 0, "nothing was installed");

    map(&mut lab, 0, "a2", Some("shadow.open_orders"), None, Some("state = 'open'"));
    lab.validate().await.unwrap();
    let same = async |lab: &SyncLab| {
        let open = lab.on("a").rows("SELECT * FROM orders WHERE state = 'open' ORDER BY id").await;
        assert_eq!(lab.on("a").rows("SELECT * FROM shadow.open_orders ORDER BY id").await, open);
        open.len()
    };
    lab.on("a").run("INSERT INTO orders VALUES (1, 'open', 1, ''), (2, 'shut', 1, '')").await;
    assert_eq!(lab.drain("a2").await, 1);
    assert_eq!(same(&lab).await, 1);
    lab.on("a").run("INSERT INTO orders SELECT i, 'open', i, '' FROM generate_series(3, 3000) AS i; UPDATE orders SET state = 'open' WHERE id = 2").await;
    lab.drain("a2").await;
    assert_eq!(same(&lab).await, 3000);
    lab.on("a").run("TRUNCATE orders; INSERT INTO orders VALUES (1, 'open', 1, 'again')").await;
    lab.drain("a2").await;
    assert_eq!(same(&lab).await, 1);
    (lab.sync.onetimecopy, lab.sync.copy_request) = (1, 1);
    lab.validate().await.unwrap();
    assert!(lab.round("a2").await.unwrap().copied);
    assert_eq!(same(&lab).await, 1);
    assert!(lab.round("a2").await.unwrap().is_empty(), "no echo");

    // A daemon that did not see a validation refuses, too: the source keeps its rows.
    let mappings = std::mem::take(&mut lab.sync.mappings);
    lab.validate().await.unwrap_err();
    lab.on("a").run("UPDATE orders SET note = 'kept'").await;
    let said = lab.round("a2").await.unwrap().quarantine_told().join(" ");
    assert!(said.contains("that is the same table"), "{said}");
    assert_eq!(lab.on("a").rows("SELECT note FROM orders").await, ["kept"]);
    lab.sync.mappings = mappings;

    lab.sync.members.push(member("a3", &conninfo, Role::Target));
    map(&mut lab, 0, "a3", Some("shadow.other"), None, None);
    let error = lab.validate().await.unwrap_err().told();
    assert!(error.contains("databases \"a2\" and \"a3\" are the same database"), "{error}");
}

#[tokio::test]
async fn two_tables_are_not_copied_onto_one() {
    let ddl = "CREATE TABLE one (id int PRIMARY KEY); CREATE TABLE two (id int PRIMARY KEY)";
    let mut lab = SyncLab::start(&["b"], ddl, &["one:id", "two:id"]).await;
    map(&mut lab, 1, "b", Some("one"), None, None);
    let error = lab.validate().await.unwrap_err().told();
    assert!(
        error.contains("\"public.one\" and \"public.two\" would be copied to the same table on database \"b\""),
        "{error}"
    );
    let fault = lab.round("b").await.unwrap_err();
    assert!(fault.message.contains("table \"public.one\" is \"public.one\" there, too"), "{fault:?}");
}

/// Whatever is wrong with a clause is told with the clause and the server's words, and nothing is installed.
#[tokio::test]
async fn clauses_that_cannot_be_used_are_named() {
    let mut lab = SyncLab::empty(&["b"], ORDERS, &["orders:id"]).await;
    for (filter, why) in [
        ("nothere = 1", "column \"nothere\" does not exist"),
        ("true) OR (true", "syntax error"),
        ("true ORDER BY id", "syntax error"),
        ("true; DROP TABLE orders", "cannot insert multiple commands"),
        ("id = $1", "it has a parameter"),
        ("id", "must be type boolean"),
        ("count(*) > 1", "aggregate functions are not allowed in WHERE"),
    ] {
        map(&mut lab, 0, "b", None, None, Some(filter));
        let error = lab.validate().await.unwrap_err().told();
        assert!(
            error.starts_with("customselect of table \"public.orders\" for database \"b\" cannot be used: "),
            "{error}"
        );
        assert!(error.contains(why) && error.ends_with(&format!("it is: {filter}")), "{filter}: {error}");
    }
    for (list, why) in [
        ("id, state", "does not begin with SELECT"),
        ("SELECT id, nothere", "column \"nothere\" does not exist"),
        ("SELECT id FROM orders", "syntax error"),
        ("SELECT id, amount + 1", "has no name"),
        ("SELECT id, state, note AS state", "two columns named \"state\""),
        ("SELECT state", "the key column \"id\" is not in it as it is"),
        ("SELECT id + 1 AS id", "the key column \"id\" is not in it as it is"),
        ("SELECT 1 AS id INTO other", "INTO is not allowed here"),
        ("SELECT id, 1 AS extra", "column \"extra\" is missing"),
        ("SELECT id, amount AS note", "column \"note\" has type text instead of numeric(9,2)"),
    ] {
        map(&mut lab, 0, "b", None, Some(list), None);
        let error = lab.validate().await.unwrap_err().told();
        assert!(error.starts_with("customcols of table \"public.orders\""), "{error}");
        assert!(error.contains(why), "{list}: {error}");
    }
    assert_eq!(lab.on("a").number("SELECT count(*) FROM pg_namespace WHERE nspname = 'bucardo'").await, 0);
    // A clause may go wrong later: the round says so, and the target's table stays as it was.
    map(&mut lab, 0, "b", None, None, Some("state = 'open'"));
    lab.validate().await.unwrap();
    lab.on("a").run("INSERT INTO orders VALUES (1, 'open', 1, '')").await;
    lab.drain("b").await;
    lab.on("a").run("ALTER TABLE orders RENAME state TO status; INSERT INTO orders VALUES (2, 'open', 1, '')").await;
    let said = lab.round("b").await.unwrap().quarantine_told().join(" ");
    assert!(said.contains("\"public.orders\"") && said.contains("customselect"), "{said}");
    assert_eq!(lab.on("b").rows("SELECT id FROM orders").await, ["1"]);
}

/// Names that could clash with those of our own statements, and keys whose equality is not that of their text.
#[tokio::test]
async fn tables_named_as_our_aliases_are_filtered() {
    let ddl = "CREATE EXTENSION citext;
               CREATE TABLE changed (t citext, k int, changed text, PRIMARY KEY (t, k));
               CREATE TABLE t (t int PRIMARY KEY, k text); CREATE TABLE k (k int PRIMARY KEY, txid int)";
    let mut lab = SyncLab::empty(&["b"], ddl, &["changed:t,k", "t:t", "k:k"]).await;
    map(&mut lab, 0, "b", None, Some("SELECT t, changed.k, changed"), Some("changed.k > 0 AND changed <> 'out'"));
    map(&mut lab, 1, "b", None, None, Some("t.t > 0"));
    map(&mut lab, 2, "b", None, Some("SELECT k.*"), Some("txid > (SELECT 0)"));
    lab.validate().await.unwrap();
    for rows in [10, 3000] {
        for change in [
            format!("INSERT INTO changed SELECT 'Key' || i, i % 3 - 1, 'in' FROM generate_series(1, {rows}) AS i"),
            format!(
                "INSERT INTO t SELECT CASE i % 2 WHEN 0 THEN i ELSE -i END, i FROM generate_series(1, {rows}) AS i"
            ),
            format!("INSERT INTO k SELECT i, i % 2 FROM generate_series(1, {rows}) AS i"),
            "UPDATE changed SET changed = 'out' WHERE right(t::text, 1) = '5'; UPDATE k SET txid = 1 - txid".to_owned(),
            "UPDATE changed SET t = upper(t::text); UPDATE t SET t = -t".to_owned(),
        ] {
            lab.on("a").run(&change).await;
            lab.drain("b").await;
            for (table, filter) in [("changed", "k > 0 AND changed <> 'out'"), ("t", "t > 0"), ("k", "txid > 0")] {
                let source = format!("SELECT * FROM {table} WHERE {filter} ORDER BY 1, 2");
                let target = format!("SELECT * FROM {table} ORDER BY 1, 2");
                assert_eq!(lab.on("b").rows(&target).await, lab.on("a").rows(&source).await, "{table}: {change}");
            }
        }
        lab.on("a").run("DELETE FROM changed; DELETE FROM t; DELETE FROM k").await;
        lab.drain("b").await;
        let left = "SELECT (SELECT count(*) FROM changed) + (SELECT count(*) FROM t) + (SELECT count(*) FROM k)";
        assert_eq!(lab.on("b").number(left).await, 0);
    }
}

/// A partitioned table goes, filtered, to a plain one, and a generated column to one that is not.
#[tokio::test]
async fn a_partitioned_table_is_mapped_to_a_plain_one() {
    if !all_know(12, "generated columns") {
        return;
    }
    let ddl = "CREATE TABLE parts (id int PRIMARY KEY, v int, twice int GENERATED ALWAYS AS (v * 2) STORED)
                   PARTITION BY RANGE (id);
               CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (1000);
               CREATE TABLE parts_2 PARTITION OF parts DEFAULT";
    let mut lab = SyncLab::empty(&["b"], ddl, &["parts:id"]).await;
    lab.on("b").run("CREATE TABLE plain (twice int, id int PRIMARY KEY, v int)").await;
    map(&mut lab, 0, "b", Some("plain"), None, Some("twice > 10"));
    lab.on("a").run("INSERT INTO parts SELECT i, i FROM generate_series(1, 10) AS i").await;
    (lab.sync.onetimecopy, lab.sync.copy_request) = (1, 1);
    lab.validate().await.unwrap();
    for change in [
        "SELECT 1",
        "INSERT INTO parts SELECT i, i FROM generate_series(11, 3000) AS i",
        "UPDATE parts SET v = 1 WHERE id % 2 = 0",
        "UPDATE parts SET id = id + 5000 WHERE id BETWEEN 500 AND 600",
    ] {
        lab.on("a").run(change).await;
        lab.drain("b").await;
        let source = lab.on("a").rows("SELECT id, v, twice FROM parts WHERE twice > 10 ORDER BY id").await;
        assert_eq!(lab.on("b").rows("SELECT id, v, twice FROM plain ORDER BY id").await, source, "{change}");
    }
}
