//! Every type, as data and, where PostgreSQL can order it, as a key, by each way that rows take: a copy, a small batch,
//! a large one, a merge.

use crate::support::{SyncLab, all_know, oldest_version};

/// A type, whether it may be a key, and values that break careless code: none equal to another, where it is a key.
struct Kind(&'static str, bool, &'static [&'static str]);

const KEY: bool = true;
const DATA: bool = false;

const KINDS: &[Kind] = &[
    Kind("smallint", KEY, &["-32768", "0", "32767"]),
    Kind("bigint", KEY, &["-9223372036854775808", "9223372036854775807"]),
    Kind("numeric", KEY, &["NaN", "0", "1.10", "123456789012345678901234567890.123456789"]),
    Kind("numeric(12,4)", KEY, &["NaN", "0.0001", "99999999.9999"]),
    Kind("real", KEY, &["NaN", "Infinity", "-Infinity", "1.17549435e-38", "0.1"]),
    Kind("double precision", KEY, &["NaN", "-Infinity", "0.1", "5e-324", "1.7976931348623157e308"]),
    Kind("money", KEY, &["-1.23", "1234567.89", "-92233720368547758.08"]),
    Kind("boolean", KEY, &["true", "false"]),
    Kind(
        "text",
        KEY,
        &["", "NULL", "\\N", "\\.", "a\tb\nc\rd\\e", "{\"x\",NULL}", "ünïcödé 🦀", "it's $$ $1", "\u{1}\u{7f}"],
    ),
    Kind("varchar(10)", KEY, &["", "  blanks  "]),
    Kind("char(5)", KEY, &["a", "b    ", ""]),
    Kind("\"char\"", KEY, &["a", "~", "\\"]),
    Kind("name", KEY, &["a", "A \"b\""]),
    Kind("text COLLATE \"POSIX\"", KEY, &["b", "B", "ß"]),
    Kind("bytea", KEY, &["", "\\x00", "\\x00ff5c27", "\\x5c78"]),
    Kind("date", KEY, &["infinity", "-infinity", "4713-01-01 BC", "2024-02-29"]),
    Kind("time", KEY, &["24:00:00", "00:00:00.000001"]),
    Kind("timetz", KEY, &["12:00:00+14", "12:00:00-12:30"]),
    Kind("timestamp", KEY, &["infinity", "294276-12-31 23:59:59.999999", "4713-01-01 00:00:00 BC"]),
    Kind("timestamp(0)", KEY, &["2024-01-01 12:00:01"]),
    Kind("timestamptz", KEY, &["-infinity", "2024-07-01 12:00:00.123456+02", "1900-01-01"]),
    Kind("interval", KEY, &["1 mon -1 day 00:00:00.000001", "-1 year", "0"]),
    Kind("interval day to second(3)", KEY, &["3 days 04:05:06.789"]),
    Kind("uuid", KEY, &["00000000-0000-0000-0000-000000000000", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"]),
    Kind("inet", KEY, &["192.168.0.1/24", "::1", "192.168.0.1"]),
    Kind("cidr", KEY, &["10.0.0.0/8", "2001:db8::/32"]),
    Kind("macaddr", KEY, &["08:00:2b:01:02:03"]),
    Kind("macaddr8", KEY, &["08:00:2b:01:02:03:04:05"]),
    Kind("bit(3)", KEY, &["101", "000"]),
    Kind("varbit", KEY, &["", "10101", "000"]),
    Kind("json", DATA, &["null", "{\"a\" : 1, \"a\":2}", "\"\\u0041\\n\\\\\"", "[1.0, 1.00]"]),
    Kind("jsonb", KEY, &["null", "{\"a\": [1, \"x\\\\\"]}", "\"\"", "1.10", "\"\\t\\n\""]),
    Kind("xml", DATA, &["<a b=\"1\">x &lt; y\n</a>", "plain <b/> text"]),
    Kind("int[]", KEY, &["{}", "{1,NULL,3}", "[2:3]={1,2}", "{{1,2},{3,4}}"]),
    Kind("text[]", KEY, &["{}", "{\"a,b\",NULL,\"NULL\",\"\",\"q\\\"\\\\\"}", "{{a},{\"\\\\N\"}}"]),
    Kind("bytea[]", KEY, &["{\"\\\\x00\",NULL}"]),
    Kind("jsonb[]", KEY, &["{\"{\\\"a\\\": 1}\",\"null\",NULL}"]),
    Kind("timestamptz[]", KEY, &["{infinity,\"2024-07-01 12:00:00.5+02\"}"]),
    Kind("int4range", KEY, &["empty", "[1,5)", "(,)"]),
    Kind("numrange", KEY, &["[1.10,2.0]", "(,NaN]"]),
    Kind("tstzrange", KEY, &["[2024-01-01 00:00:00+02,infinity)", "empty"]),
    Kind("daterange[]", KEY, &["{\"[2024-01-01,2024-02-01)\",empty}"]),
    Kind("floatrange", KEY, &["[-Infinity,0.1)", "empty"]),
    Kind("textrange", KEY, &["[\"a,\\\"b\",\"c)\")", "(,)"]),
    Kind("tsvector", KEY, &["a:1A b:2", "", "'it''s \\\\':3"]),
    Kind("tsquery", KEY, &["'a' & !'b'", "'x y' <-> 'z':*A"]),
    Kind("oid", KEY, &["0", "4294967295"]),
    Kind("oidvector", KEY, &["1 2 3", ""]),
    Kind("regclass", KEY, &["pg_class", "\"Odd\".\"Table\""]),
    Kind("regtype", KEY, &["integer", "\"Mood\""]),
    Kind("pg_lsn", KEY, &["0/0", "FFFFFFFF/FFFFFFFF"]),
    Kind("tid", KEY, &["(0,1)", "(4294967295,65535)"]),
    Kind("xid", DATA, &["3", "4294967295"]),
    Kind("txid_snapshot", DATA, &["10:20:10,14,15"]),
    Kind("point", DATA, &["(NaN,Infinity)", "(-0,1e-300)"]),
    Kind("line", DATA, &["{1,-1,0.1}"]),
    Kind("lseg", DATA, &["[(0,0),(1,0.1)]"]),
    Kind("box", DATA, &["(1,1),(0,0)"]),
    Kind("path", DATA, &["((0,0),(1,1))", "[(0,0),(1,1)]"]),
    Kind("polygon", DATA, &["((0,0),(1,1),(1,0))"]),
    Kind("circle", DATA, &["<(0,0),1.5>"]),
    Kind("box[]", DATA, &["{(1,1),(0,0);(2,2),(1,1)}"]),
    Kind("\"Mood\"", KEY, &["so so", "it's", "a,b", "{"]),
    Kind("\"Mood\"[]", KEY, &["{\"so so\",it's,\"a,b\",\"{\"}"]),
    Kind("pair", KEY, &["(1,\"a \"\"b\")", "(,)", "(2,)", "(2,\"\")", "(3,\"\\\\N\")"]),
    Kind("nested", KEY, &["(\"(1,\"\"x,y\"\")\",\"{1,NULL}\",so\\ so)"]),
    Kind("pair[]", KEY, &["{\"(1,\\\"a,b\\\")\",NULL}"]),
    Kind("posint", KEY, &["1", "7"]),
    Kind("mooddomain", KEY, &["so so"]),
    Kind("textlist", KEY, &["{a,NULL}"]),
    Kind("\"Ext\".citext", KEY, &["Foo", "bAr\\", ""]),
    Kind("\"Ext\".citext[]", KEY, &["{Foo,\"b,c\"}"]),
    Kind("\"Ext\".nick", KEY, &["Foo", "x"]),
    Kind("\"Ext\".hstore", KEY, &["", "\"a b\"=>\"c\\\"d\\\\\", x=>NULL"]),
    Kind("\"Ext\".ltree", KEY, &["a.b", "Top.Science"]),
    Kind("\"Ext\".ltree[]", KEY, &["{a.b,c}"]),
    Kind("\"Ext\".lquery", DATA, &["*.a|b.*{1,2}"]),
    Kind("\"Ext\".cube", KEY, &["(1, 2),(3, 4)", "(0)"]),
    Kind("\"Ext\".seg", KEY, &["1.0 .. 2.00", "~3"]),
    Kind("\"Ext\".ean13", KEY, &["978-0-11-000533-1"]),
];

/// Only where the servers have them.
const NEWER: &[(i64, Kind)] = &[
    (11, Kind("pairdomain", KEY, &["(1,x)"])),
    (11, Kind("posint[]", KEY, &["{1,2}"])),
    (12, Kind("jsonpath", DATA, &["$.a[*] ? (@ > 1)", "lax $.\"a b\""])),
    (12, Kind("text COLLATE \"folds\"", KEY, &["Straße", "b", "B\\c"])),
    (14, Kind("numeric", KEY, &["Infinity", "-Infinity", "0"])),
    (15, Kind("numeric(3,-2)", KEY, &["99900", "-100", "0"])),
    (13, Kind("xid8", KEY, &["0", "18446744073709551615"])),
    (13, Kind("pg_snapshot", DATA, &["10:20:10,14,15"])),
    (14, Kind("int4multirange", KEY, &["{}", "{[1,5),[7,9)}"])),
    (14, Kind("nummultirange", KEY, &["{[1.10,2.0],(5,)}", "{(,)}"])),
    (14, Kind("floatmultirange", KEY, &["{[-Infinity,0.1)}"])),
    (14, Kind("int4multirange[]", KEY, &["{\"{[1,5)}\",\"{}\"}"])),
];

const TYPES: &str = "CREATE SCHEMA \"Ext\"; CREATE EXTENSION citext SCHEMA \"Ext\"; CREATE EXTENSION hstore SCHEMA \"Ext\";
    CREATE EXTENSION ltree SCHEMA \"Ext\"; CREATE EXTENSION cube SCHEMA \"Ext\"; CREATE EXTENSION seg SCHEMA \"Ext\";
    CREATE EXTENSION isn SCHEMA \"Ext\"; CREATE DOMAIN \"Ext\".nick AS \"Ext\".citext;
    CREATE SCHEMA \"Odd\"; CREATE TABLE \"Odd\".\"Table\" ();
    CREATE TYPE \"Mood\" AS ENUM ('so so', 'it''s', 'a,b', '{'); CREATE TYPE pair AS (x int, y text);
    CREATE TYPE nested AS (p pair, a int[], m \"Mood\");
    CREATE DOMAIN posint AS int CHECK (VALUE > 0); CREATE DOMAIN mooddomain AS \"Mood\";
    CREATE DOMAIN textlist AS text[];
    CREATE TYPE floatrange AS RANGE (subtype = float8); CREATE TYPE textrange AS RANGE (subtype = text, collation = \"C\");";

/// Not before version 11.
const PAIR_DOMAIN: &str = "CREATE DOMAIN pairdomain AS pair;";

/// Not before version 12.
const FOLDS: &str = "CREATE COLLATION folds (provider = icu, locale = 'und-u-ks-level2', deterministic = false);";

fn types() -> String {
    let newer = [(11, PAIR_DOMAIN), (12, FOLDS)].into_iter().filter(|(since, _)| oldest_version() >= *since);
    newer.fold(TYPES.to_owned(), |ddl, (_, more)| ddl + more)
}

/// Types with values that are equal and not the same.
const SPELLED: &[(&str, &str, &str)] = &[
    ("numeric", "1.10", "1.1"),
    ("numeric[]", "{1.0}", "{1.00}"),
    ("numrange", "[1.0,2)", "[1.00,2.0)"),
    ("float8", "0", "-0"),
    ("interval", "1 mon", "30 days"),
    ("jsonb", "{\"a\": 1.0}", "{\"a\": 1.00}"),
    ("amount", "(1.0)", "(1.00)"),
    ("\"Ext\".citext", "foo", "FOO"),
    ("\"Ext\".citext[]", "{foo}", "{FOO}"),
    ("text COLLATE folds", "foo", "FOO"),
];

/// Changes of a table that make its batch a large one.
const MANY: usize = 1001;

/// The types of this server, each with a table `d…` of data and, where it can be, a table `k…` with it as key.
struct Zoo {
    kinds: Vec<&'static Kind>,
    lab: SyncLab,
}

impl Zoo {
    async fn open(way: &str) -> Self {
        Self::open_as(way, false).await
    }

    /// The same; with two masters, `a` and `b`, or with `b` as the target of `a`.
    async fn open_as(way: &str, masters: bool) -> Self {
        let version = oldest_version();
        let mut kinds: Vec<&Kind> = KINDS.iter().collect();
        kinds.extend(NEWER.iter().filter(|(since, _)| version >= *since).map(|(_, kind)| kind));
        let mut ddl = types();
        let mut goats = Vec::new();
        for (number, Kind(name, is_key, _)) in kinds.iter().enumerate() {
            ddl += &format!("CREATE TABLE d{number} (id int PRIMARY KEY, v {name}, n int);");
            goats.push(format!("d{number}:id"));
            if *is_key {
                ddl += &format!("CREATE TABLE k{number} (m int, k {name}, n int, PRIMARY KEY (k));");
                goats.push(format!("k{number}:k"));
            }
        }
        let goats: Vec<&str> = goats.iter().map(String::as_str).collect();
        println!("{way}: {} types, {} tables", kinds.len(), goats.len());
        let lab = if masters {
            SyncLab::masters(&["a", "b"], &[], &ddl, &goats).await
        } else {
            SyncLab::start(&["b"], &ddl, &goats).await
        };
        Self { kinds, lab }
    }

    /// Runs a statement made for each table: of its name, the column, the type, and its values as rows of text.
    async fn each(&self, sql: impl Fn(&str, &str, &str, &str) -> String) {
        self.each_on("a", sql).await;
    }

    async fn each_on(&self, db: &str, sql: impl Fn(&str, &str, &str, &str) -> String) {
        for (number, Kind(name, is_key, values)) in self.kinds.iter().enumerate() {
            let literal = |value: &&str| format!("('{}')", value.replace('\'', "''"));
            let rows = values.iter().map(literal).collect::<Vec<_>>().join(", ");
            self.lab.on(db).run(&sql(&format!("d{number}"), "v", name, &rows)).await;
            if *is_key {
                self.lab.on(db).run(&sql(&format!("k{number}"), "k", name, &rows)).await;
            }
        }
    }

    /// Inserts every value; data tables get a NULL, too.
    async fn fill(&self) {
        self.each(|table, column, name, rows| {
            let cast = name.split(" COLLATE").next().unwrap_or(name);
            if column == "k" {
                return format!("INSERT INTO {table} (m, k, n) SELECT i, v::{cast}, 1 FROM (VALUES {rows}) x (v), generate_series(1, 1) i");
            }
            format!("INSERT INTO {table} (id, v, n) SELECT row_number() OVER (), v::{cast}, 1 FROM (VALUES {rows}, (NULL)) x (v)")
        })
        .await;
    }

    async fn deliver(&mut self, what: &str) {
        let report = self.lab.round("b").await.unwrap();
        assert_eq!(report.quarantine_told(), Vec::<String>::new(), "{what}");
        assert!(report.keys > 0 || report.copied, "{what}: {report:?}");
        self.lab.assert_same().await;
    }

    /// Merges what changed, and sees that nothing comes back; returns how many conflicts there were.
    async fn merge(&mut self, what: &str) -> u64 {
        let report = self.lab.merge().await.unwrap();
        assert!(report.keys > 0, "{what}: {report:?}");
        self.lab.assert_same().await;
        let echo = self.lab.merge().await.unwrap();
        assert!(echo.is_empty(), "{what}: {echo:?}");
        report.conflicts
    }
}

/// The server is asked whether the table below forgets a type of its own.
#[tokio::test]
async fn no_type_is_forgotten() {
    let zoo = Zoo::open("complete").await;
    let sql = "SELECT format_type(oid, NULL) FROM pg_type AS t WHERE typnamespace = 'pg_catalog'::regnamespace \
        AND typtype IN ('b', 'r', 'm') AND typcategory <> 'A' AND typcategory <> 'Z' AND typname !~ '^pg_(ndistinct|dep|mcv|node|brin|ddl)' ORDER BY 1";
    // Of the same make as one that is there, or of the server's own tables.
    let like = [
        "abstime",
        "reltime",
        "tinterval",
        "smgr",
        "integer",
        "character",
        "character varying",
        "bit",
        "bit varying",
        "refcursor",
        "aclitem",
        "cid",
        "gtsvector",
        "int2vector",
        "regcollation",
        "regconfig",
        "regdictionary",
        "regnamespace",
        "regoper",
        "regoperator",
        "regproc",
        "regprocedure",
        "regrole",
        "int8range",
        "daterange",
        "tsrange",
        "int8multirange",
        "datemultirange",
        "tsmultirange",
        "tstzmultirange",
    ];
    let tested: Vec<String> = zoo.lab.on("a").rows("SELECT DISTINCT format_type(a.atttypid, NULL) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid WHERE c.relname ~ '^d[0-9]+$'").await;
    let found = zoo.lab.on("a").rows(sql).await;
    let missing: Vec<&String> =
        found.iter().filter(|it| !tested.contains(it) && !like.contains(&it.as_str())).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// A few changes a table: keys travel as parameters.
#[tokio::test]
async fn every_type_in_small_batches() {
    let mut zoo = Zoo::open("small").await;
    zoo.fill().await;
    zoo.deliver("insert").await;
    zoo.each(|table, _, _, _| format!("UPDATE {table} SET n = 2")).await;
    zoo.deliver("update").await;
    zoo.each(|table, column, _, _| match column {
        "v" => {
            format!("UPDATE {table} SET v = CASE WHEN id = 1 THEN NULL ELSE (SELECT v FROM {table} WHERE id = 1) END")
        }
        _ => format!("DELETE FROM {table} WHERE ctid = (SELECT min(ctid) FROM {table})"),
    })
    .await;
    zoo.deliver("delete").await;
    zoo.each(|table, _, _, _| format!("DELETE FROM {table}")).await;
    zoo.deliver("delete all").await;
    assert_eq!(zoo.lab.on("b").number("SELECT count(*) FROM k0").await, 0);
}

/// Many changes a table: keys travel through tables of their own.
#[tokio::test]
async fn every_type_in_large_batches() {
    let mut zoo = Zoo::open("large").await;
    zoo.fill().await;
    let often = |sql: String| format!("DO $do$ BEGIN FOR i IN 1..{MANY} LOOP {sql}; END LOOP; END $do$");
    zoo.each(|table, _, _, _| often(format!("UPDATE {table} SET n = i"))).await;
    zoo.deliver("update").await;
    zoo.each(|table, column, _, _| {
        let other = if column == "v" { "v = NULL" } else { "m = 0" };
        often(format!("UPDATE {table} SET {other}, n = -i"))
    })
    .await;
    zoo.each(|table, _, _, _| format!("DELETE FROM {table} WHERE ctid = (SELECT min(ctid) FROM {table})")).await;
    zoo.deliver("delete").await;
}

/// Whole tables.
#[tokio::test]
async fn every_type_in_a_copy() {
    let mut zoo = Zoo::open("copy").await;
    zoo.fill().await;
    (zoo.lab.sync.onetimecopy, zoo.lab.sync.copy_request) = (1, 1);
    zoo.lab.validate().await.unwrap();
    zoo.deliver("copy").await;
}

/// Two masters: rows go either way, and where both changed one, they agree. Then there is silence.
#[tokio::test]
async fn every_type_in_merges() {
    let mut zoo = Zoo::open_as("merge", true).await;
    zoo.fill().await;
    zoo.merge("insert").await;
    zoo.each_on("b", |table, _, _, _| format!("UPDATE {table} SET n = 2")).await;
    zoo.merge("update").await;
    zoo.each_on("a", |table, _, _, _| format!("UPDATE {table} SET n = 3")).await;
    zoo.each_on("b", |table, _, _, _| format!("UPDATE {table} SET n = 4")).await;
    let conflicts = zoo.merge("conflict").await;
    let rows: usize =
        zoo.kinds.iter().map(|Kind(_, is_key, values)| values.len() + 1 + usize::from(*is_key) * values.len()).sum();
    assert_eq!(conflicts, u64::try_from(rows).unwrap());
    let gone = |table: &str, _: &str, _: &str, _: &str| {
        format!("DELETE FROM {table} WHERE ctid = (SELECT min(ctid) FROM {table})")
    };
    zoo.each_on("b", gone).await;
    zoo.merge("delete").await;
    let often = |sql: String| format!("DO $do$ BEGIN FOR i IN 1..{MANY} LOOP {sql}; END LOOP; END $do$");
    zoo.each_on("b", |table, _, _, _| often(format!("UPDATE {table} SET n = i"))).await;
    zoo.merge("many updates").await;
}

/// Two masters spell one key differently: it is one key, and in the end one row.
#[tokio::test]
async fn masters_may_spell_keys_in_several_ways() {
    let (mut lab, tables) = spelled(true).await;
    for (table, first, second) in &tables {
        lab.on("a").run(&format!("INSERT INTO {table} VALUES ('{first}', 1)")).await;
        lab.on("b").run(&format!("INSERT INTO {table} VALUES ('{second}', 2)")).await;
    }
    let report = lab.merge().await.unwrap();
    assert_eq!(report.conflicts, u64::try_from(tables.len()).unwrap());
    lab.assert_same().await;
    for (table, first, second) in &tables {
        lab.on("a").run(&format!("UPDATE {table} SET k = '{first}', n = 3")).await;
        lab.on("b").run(&format!("DELETE FROM {table}; INSERT INTO {table} VALUES ('{second}', 4)")).await;
        assert_eq!(lab.on("a").number(&format!("SELECT count(*) FROM {table}")).await, 1, "{table}");
    }
    lab.settle().await;
    lab.assert_same().await;
}

/// Tables `t…` with a key that has two spellings, and these.
async fn spelled(masters: bool) -> (SyncLab, Vec<(String, &'static str, &'static str)>) {
    let mut ddl = format!("{} CREATE TYPE amount AS (n numeric);", types());
    let mut goats = Vec::new();
    let mut tables = Vec::new();
    let known = SPELLED.iter().filter(|(name, _, _)| !name.contains("folds") || oldest_version() >= 12);
    for (number, (name, first, second)) in known.enumerate() {
        ddl += &format!("CREATE TABLE t{number} (k {name} PRIMARY KEY, n int);");
        goats.push(format!("t{number}:k"));
        tables.push((format!("t{number}"), *first, *second));
    }
    let goats: Vec<&str> = goats.iter().map(String::as_str).collect();
    let lab = if masters {
        SyncLab::masters(&["a", "b"], &[], &ddl, &goats).await
    } else {
        SyncLab::start(&["b"], &ddl, &goats).await
    };
    (lab, tables)
}

/// Two spellings that a type holds for equal are one key; the one that the source has at last arrives.
#[tokio::test]
async fn keys_may_be_spelled_in_several_ways() {
    let (mut lab, tables) = spelled(false).await;
    for size in [1, MANY] {
        for (table, first, second) in &tables {
            lab.on("a").run(&format!("DELETE FROM {table}; INSERT INTO {table} VALUES ('{first}', 0)")).await;
            lab.drain("b").await;
            let change = format!(
                "DO $$ BEGIN FOR i IN 1..{size} LOOP UPDATE {table} SET n = i; END LOOP; UPDATE {table} SET k = '{second}'; END $$"
            );
            lab.on("a").run(&change).await;
            lab.drain("b").await;
            lab.assert_same().await;
            lab.on("a").run(&format!("DELETE FROM {table}; INSERT INTO {table} VALUES ('{first}', 1)")).await;
            lab.drain("b").await;
            lab.assert_same().await;
            lab.on("a").run(&format!("DELETE FROM {table}")).await;
            lab.drain("b").await;
            lab.assert_same().await;
        }
    }
}

/// Keys that the source's collation holds for equal must be equal on the target as well.
#[tokio::test]
async fn a_key_with_another_equality_is_refused() {
    if !all_know(12, "collations with an equality of their own") {
        return;
    }
    let fold = "CREATE COLLATION folds (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
        CREATE TABLE t (k text COLLATE folds PRIMARY KEY, v text COLLATE folds)";
    let mut lab = SyncLab::start(&["b"], fold, &["t:k"]).await;
    lab.on("b").run("ALTER TABLE t ALTER k TYPE text COLLATE \"C\", ALTER v TYPE text COLLATE \"C\"").await;
    let told = lab.validate().await.unwrap_err().told();
    assert!(told.contains("collation of key column \"k\"") && !told.contains("\"v\""), "{told}");
    lab.on("a").run("INSERT INTO t VALUES ('a', 'A')").await;
    let said = lab.round("b").await.unwrap().quarantine_told().join(" ");
    assert!(said.contains("collation of key column \"k\""), "{said}");
}

/// What belongs to tables rather than types: identity that takes no values, tables that a crash empties, the same names
/// in many schemas, names that try to end a statement, columns in another order and after dropped ones.
#[tokio::test]
async fn tables_of_every_make() {
    let ddl = "CREATE TABLE always (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text);
        CREATE UNLOGGED TABLE fast (id int PRIMARY KEY, v text);
        CREATE TABLE gap (a int, b int, id int PRIMARY KEY, c text); ALTER TABLE gap DROP COLUMN a;
        CREATE SCHEMA one; CREATE SCHEMA \"Two; --\"; CREATE TABLE one.t (id int PRIMARY KEY, v text);
        CREATE TABLE \"Two; --\".t (id int PRIMARY KEY, v text); CREATE TABLE \"Two; --\".\"x'\"\";\\\" (\"id\"\"'$1\" int, \"\\N{}\" text, \"%s %I\" int, PRIMARY KEY (\"%s %I\", \"id\"\"'$1\"))";
    let goats = ["always:id", "fast:id", "gap:id", "one.t:id", "Two; --.t:id", "Two; --.x'\";\\:%s %I,id\"'$1"];
    let mut lab = SyncLab::empty(&["b"], ddl, &goats).await;
    if all_know(12, "generated columns") {
        for db in ["a", "b"] {
            lab.on(db).run("ALTER TABLE always ADD COLUMN w text GENERATED ALWAYS AS (upper(v)) STORED").await;
        }
    }
    lab.sync.strict_checking = false;
    lab.on("b").run("DROP TABLE gap; CREATE TABLE gap (c text, x int, id int PRIMARY KEY, b int); ALTER TABLE gap DROP COLUMN x").await;
    lab.validate().await.unwrap();
    for size in [3, 1500] {
        for table in ["fast (id, v)", "gap (id, c)", "one.t (id, v)", "\"Two; --\".t (id, v)"] {
            lab.on("a")
                .run(&format!(
                    "INSERT INTO {table} SELECT n + {size}, E'a\\\\.\\n' || n FROM generate_series(1, {size}) n"
                ))
                .await;
        }
        lab.on("a").run(&format!("INSERT INTO always (v) SELECT 'x' || n FROM generate_series(1, {size}) n")).await;
        lab.on("a")
            .run(&format!(
                "INSERT INTO \"Two; --\".\"x'\"\";\\\" SELECT n, 'v', {size} FROM generate_series(1, {size}) n"
            ))
            .await;
        lab.drain("b").await;
        lab.assert_same().await;
        lab.on("a").run("UPDATE always SET v = v || '!'; UPDATE gap SET b = id; UPDATE fast SET id = -id; DELETE FROM one.t WHERE id % 2 = 0").await;
        lab.on("a").run("UPDATE \"Two; --\".\"x'\"\";\\\" SET \"\\N{}\" = E'\\\\N', \"%s %I\" = - \"%s %I\"").await;
        lab.drain("b").await;
        lab.assert_same().await;
    }
    (lab.sync.onetimecopy, lab.sync.copy_request) = (1, 1);
    lab.validate().await.unwrap();
    assert!(lab.round("b").await.unwrap().copied);
    lab.assert_same().await;
}
