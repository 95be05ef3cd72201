//! Tables, sequences and relgroups on the command line.

use serde_json::Value;

use crate::cli_lab::CliLab;

const TABLES: &str = "CREATE TABLE t1 (id int PRIMARY KEY, note text);
    CREATE TABLE t2 (a int, b text, c int, PRIMARY KEY (b, a));
    CREATE TABLE nokey (x int);
    CREATE TABLE uniq (x int UNIQUE, y int NOT NULL, z int NOT NULL, UNIQUE (y, z));
    CREATE SEQUENCE counter;";

#[tokio::test]
async fn tables_are_added_listed_and_removed() {
    let lab = CliLab::start().await;
    let _a = lab.db("A", TABLES).await;
    assert_eq!(lab.bucardo.run("list tables"), "No tables have been added yet\n");
    assert_eq!(
        lab.bucardo.run("add table t1 public.t2 nok* herd=h"),
        "Added the following tables or sequences:\n  public.t1\n  public.t2\n  public.nokey\n\
         Created the relgroup named \"h\"\n\
         The following tables or sequences are now part of the relgroup \"h\":\n  public.t1\n  public.t2\n  \
         public.nokey\n"
    );
    assert_eq!(
        lab.bucardo.run("add table t1 uniq relgroup=h ping=yes makedelta=on"),
        "Added the following tables or sequences:\n  public.uniq\n\
         The following tables or sequences were already added:\n  public.t1\n\
         The following tables or sequences are now part of the relgroup \"h\":\n  public.uniq\n\
         The following tables or sequences were already in the relgroup \"h\":\n  public.t1\n"
    );
    assert_eq!(
        lab.bucardo.run("list tables"),
        "3. Table: public.nokey  DB: A  PK: none\n1. Table: public.t1     DB: A  PK: id (integer)\n\
         2. Table: public.t2     DB: A  PK: b|a (text|integer)\n\
         4. Table: public.uniq   DB: A  PK: y|z (integer|integer)  autokick:true  (makedelta:on)\n"
    );
    assert_eq!(lab.bucardo.run("list table t1"), "1. Table: public.t1  DB: A  PK: id (integer)\n");
    let json: Value = serde_json::from_str(&lab.bucardo.run("list table t2 --json")).unwrap();
    assert_eq!(json[0]["key_columns"], serde_json::json!(["b", "a"]));
    assert_eq!(json[0]["relgroups"], serde_json::json!(["h"]));
    assert_eq!(
        lab.bucardo.run("list relgroups"),
        "Relgroup: h  DB: A  Members: public.t1, public.t2, public.nokey, public.uniq\n"
    );
    assert_eq!(
        lab.bucardo.run("update table t1 rebuild_index=1 autokick=true"),
        "Changed relation rebuild_index from '' to 1\nChanged relation autokick from '' to true\n"
    );
    assert_eq!(
        lab.bucardo.run("remove table public.nokey public.uniq"),
        "Removed the following tables:\n  public.nokey\n  public.uniq\n"
    );
    assert_eq!(
        lab.bucardo.run("remove all tables --batch"),
        "Removed the following tables:\n  public.t1\n  public.t2\n"
    );
}

#[tokio::test]
async fn the_key_is_looked_up_again_when_a_table_is_added_again() {
    let lab = CliLab::start().await;
    let a = lab.db("A", TABLES).await;
    lab.bucardo.run("add table nokey");
    a.run("ALTER TABLE nokey ADD PRIMARY KEY (x)").await;
    lab.bucardo.run("add table nokey");
    assert_eq!(lab.bucardo.run("list tables"), "1. Table: public.nokey  DB: A  PK: x (integer)\n");
}

#[tokio::test]
async fn wrong_names_are_refused_and_change_nothing() {
    let lab = CliLab::start().await;
    let refusal = lab.refused(255, &["add", "table", "t1"]).await;
    assert!(refusal.starts_with("No databases have been added yet"), "{refusal}");
    let _a = lab.db("A", TABLES).await;
    let refusal = lab.refused(1, &["add", "table", "t1", "nothere", "counter"]).await;
    assert!(refusal.starts_with("Did not find matches for the following terms:\n  nothere\n  counter\n"), "{refusal}");
    for (code, words, complaint) in [
        (255, &["add", "table", "t1", "db=Z"][..], "Unknown database \"Z\""),
        (255, &["add", "table", "t1", "autokick=perhaps"], "Invalid value for 'autokick': must be true or false"),
        (255, &["add", "table", "t1", "makedelta=Zzz"], "makedelta names no database: \"Zzz\""),
        (255, &["add", "all", "tables", "makedelta=A,Zzz"], "makedelta names no database: \"Zzz\""),
        (1, &["add", "table"], "bucardo add table|sequence"),
        (255, &["remove", "table", "t1"], "Please use the full schema.table name"),
        (1, &["remove", "table", "public.t1"], "Nothing found to remove"),
        (1, &["remove", "all", "tables"], "Nothing was removed"),
        (255, &["update", "table", "t1", "ghost=1"], "Could not find a table named \"t1\""),
        (255, &["update", "relgroup", "r", "add", "t1"], "No such relgroup: r"),
        (1, &["add", "relgroup", "r", "nothere"], "Did not find matches for the following terms:\n  nothere"),
    ] {
        let refusal = lab.refused(code, words).await;
        assert!(refusal.starts_with(complaint), "{words:?}: {refusal}");
    }
    let _b = lab.db("B", "CREATE TABLE other (id int PRIMARY KEY)").await;
    lab.bucardo.run("add table t1 db=A relgroup=r");
    let refusal = lab.refused(255, &["update", "table", "t1", "makedelta=A,Bb"]).await;
    assert!(refusal.starts_with("makedelta names no database: \"Bb\""), "{refusal}");
    lab.bucardo.run("update table t1 makedelta=A,B");
    let refusal = lab.refused(255, &["add", "table", "other", "db=B", "relgroup=r"]).await;
    assert!(refusal.contains("All tables within a relgroup must be from the same database"), "{refusal}");
}

#[tokio::test]
async fn all_tables_and_sequences_are_added_but_those_of_the_system() {
    let lab = CliLab::start().await;
    let tables = format!(
        "{TABLES} CREATE SCHEMA app; CREATE TABLE app.orders (id serial PRIMARY KEY);
         CREATE SCHEMA bucardo; CREATE TABLE bucardo.delta (x int); CREATE TABLE app.skip_me (id int);
         CREATE TABLE app.parts (id int PRIMARY KEY) PARTITION BY RANGE (id);
         CREATE TABLE app.parts_1 PARTITION OF app.parts FOR VALUES FROM (0) TO (9);
         CREATE VIEW app.v AS SELECT 1"
    );
    let _a = lab.db("A", &tables).await;
    assert_eq!(
        lab.bucardo.run("add all tables --herd=all_of_it -T skip* pkonly --verbose"),
        "Creating relgroup: all_of_it\nAdded table app.orders to relgroup all_of_it\n\
         Added table app.parts to relgroup all_of_it\nAdded table public.t1 to relgroup all_of_it\n\
         Added table public.t2 to relgroup all_of_it\nAdded table public.uniq to relgroup all_of_it\n\
         New tables:\n  app.orders\n  app.parts\n  public.nokey\n  public.t1\n  public.t2\n  public.uniq\n\
         New tables added: 6\n"
    );
    assert_eq!(lab.bucardo.run("add tables all"), "New tables added: 1\nAlready added: 6\n");
    assert_eq!(lab.bucardo.run("add all sequences -n public"), "New sequences added: 1\n");
    assert_eq!(lab.bucardo.run("list sequences"), "Sequence: public.counter  DB: A\n");
    let _b = lab.db("B", "").await;
    let refusal = lab.refused(1, &["add", "all", "tables"]).await;
    assert!(refusal.contains("db=A or db=B"), "{refusal}");
    assert_eq!(lab.bucardo.run("add all tables db=B"), "New tables added: 0\n");
}

#[tokio::test]
async fn relgroups_are_made_changed_and_kept_while_a_sync_needs_them() {
    let lab = CliLab::start().await;
    let _a = lab.db("A", TABLES).await;
    assert_eq!(lab.bucardo.run("list relgroups"), "There are no relgroups.\n");
    assert_eq!(
        lab.bucardo.run("add relgroup r t1 counter"),
        "Created relgroup \"r\"\nAdded the following tables or sequences:\n  public.t1\n  public.counter\n\
         The following tables or sequences are now part of the relgroup \"r\":\n  public.t1\n  public.counter\n"
    );
    assert_eq!(lab.bucardo.run("add herd r"), "Relgroup \"r\" already exists\n");
    assert_eq!(
        lab.bucardo.run("update relgroup r add t2"),
        "Added the following tables or sequences:\n  public.t2\n\
         The following tables or sequences are now part of the relgroup \"r\":\n  public.t2\n"
    );
    assert_eq!(
        lab.bucardo.run("update relgroup r remove t1"),
        "Removed the following tables or sequences from the relgroup \"r\":\n  public.t1\n"
    );
    // Members with a higher priority come first.
    assert_eq!(lab.bucardo.run("list relgroups -v"), "Relgroup: r  DB: A  Members: public.counter, public.t2\n");
    assert_eq!(
        lab.bucardo.run("update relgroup r t2 counter t2 priority=7"),
        "Changed priority of public.t2 in relgroup \"r\" from 0 to 7\nChanged priority of public.counter in relgroup \"r\" from 0 to 7\n"
    );
    assert_eq!(
        lab.bucardo.run("update relgroup r public.coun* priority=-1"),
        "Changed priority of public.counter in relgroup \"r\" from 7 to -1\n"
    );
    assert_eq!(lab.bucardo.run("update relgroup r t2 priority=7"), "No change needed for public.t2\n");
    assert_eq!(
        lab.bucardo.run("list relgroups -v"),
        "Relgroup: r  DB: A  Members: public.t2, public.counter\n  Priorities: public.t2 7, public.counter -1\n"
    );
    for (code, words, why) in [
        (1, ["update", "relgroup", "r", "t1", "priority=3"].as_slice(), "\"t1\" is not in relgroup \"r\""),
        (255, &["update", "relgroup", "r", "t2", "priority=high"], "Invalid priority: high"),
        (255, &["update", "relgroup", "r", "t2", "priority=40000"], "Invalid priority: 40000"),
        (1, &["update", "relgroup", "r", "priority=3"], "A priority is that of members"),
    ] {
        let refusal = lab.refused(code, words).await;
        assert!(refusal.contains(why), "{refusal}");
    }
    lab.bucardo.run("update relgroup r t2 counter priority=0");
    assert_eq!(lab.bucardo.run("update relgroup r name=s"), "Changed relgroup \"r\" name from r to s\n");
    assert_eq!(lab.bucardo.run("list relgroups"), "Relgroup: s  DB: A  Members: public.counter, public.t2\n");
    assert_eq!(lab.bucardo.run("remove relgroup s"), "Removed relgroup \"s\"\n");
    assert_eq!(lab.bucardo.run("list relgroups"), "There are no relgroups.\n");
}

/// Every name that PostgreSQL takes can be added, listed and removed, and comes to the catalog as it is.
#[tokio::test]
async fn hostile_names_arrive_unchanged() {
    let lab = CliLab::start().await;
    let long = "ü".repeat(31) + "x";
    let names =
        ["weird \"name", "UPPER", "with space", "dots.in.it", "it's", "back\\slash", "a|b", "50%", long.as_str()];
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let mut tables = "CREATE SCHEMA \"My \"\"Schema\";".to_owned();
    for name in names {
        let table = quoted(name);
        tables.push_str(&format!(
            "CREATE TABLE \"My \"\"Schema\".{table} ({table} int, \"{{x}}\" text, PRIMARY KEY ({table}, \"{{x}}\"));"
        ));
    }
    let _a = lab.db("A", &tables).await;
    for name in names {
        let term = format!("{}.{}", quoted("My \"Schema"), quoted(name));
        let printed = lab.call(&["add", "table", &term, "relgroup=odd"]).ok();
        assert!(printed.contains(&format!("  My \"Schema.{name}\n")), "{printed}");
        let sql =
            "SELECT g.tablename, g.key_columns[1], g.key_columns[2] FROM bucardo.goat AS g ORDER BY g.id DESC LIMIT 1"
                .to_string();
        assert_eq!(lab.control.rows(&sql).await, [format!("{name}|{name}|{{x}}")]);
    }
    let json: Value = serde_json::from_str(&lab.bucardo.run("list tables --json")).unwrap();
    assert_eq!(json.as_array().unwrap().len(), names.len());
    let printed = lab.call(&["list", "table", "\"UPPER\""]).ok();
    assert!(printed.contains("My \"Schema.UPPER"), "{printed}");
    for name in names {
        let term = format!("{}.{}", quoted("My \"Schema"), quoted(name));
        lab.call(&["remove", "table", &term]).ok();
    }
    assert_eq!(lab.control.number("SELECT count(*) FROM bucardo.goat").await, 0);
}
