//! Names and values are hostile: any identifier that PostgreSQL accepts, any type that can be a key.

use bucardo::source::purge::{PurgeLimits, purge};
use bucardo::source::{deltas, forget_sync, validate_sync};
use bucardo_actors::ports::Watch;

use crate::support::{SyncLab, all_know, wait};

/// Every name is odd: quotes, dots, blanks, upper case, the words that the delta tables use themselves, variables of
/// the trigger language, the longest names, and two tables whose usual delta names are the same.
#[tokio::test]
async fn odd_names_replicate() {
    let long = "n".repeat(63);
    let ddl = format!(
        "CREATE SCHEMA \"We.ird \"\"S'\"; CREATE SCHEMA a_b; CREATE SCHEMA a;
         CREATE TABLE \"We.ird \"\"S'\".\"$capture$ {{delta}} \\\" (\"txid\" int, \"n\" int, \"found\" text, \"origin\" text, PRIMARY KEY (txid, n, found));
         CREATE TABLE a_b.c (id int PRIMARY KEY, v text);
         CREATE TABLE a.b_c (id int PRIMARY KEY, v text);
         CREATE TABLE \"{long}\" (\"{long}\" int PRIMARY KEY, \"Ünï cödé\" text)"
    );
    let odd = "We.ird \"S'";
    // The lab's short notation ends at the first dot, so the odd schema is put in by hand.
    let mut lab =
        SyncLab::empty(&["b"], &ddl, &["x:txid,n,found", "a_b.c:id", "a.b_c:id", &format!("{long}:{long}")]).await;
    lab.sync.goats[0].schema = odd.to_owned();
    lab.sync.goats[0].name = "$capture$ {delta} \\".to_owned();
    lab.validate().await.unwrap();
    let table = "\"We.ird \"\"S'\".\"$capture$ {delta} \\\"";
    for change in [
        format!("INSERT INTO {table} VALUES (1, 2, 'it''s \\ \"q\"', NULL), (1, 3, '', 'x')"),
        "INSERT INTO a_b.c VALUES (1, 'from a_b.c'); INSERT INTO a.b_c VALUES (2, 'from a.b_c')".to_owned(),
        format!("INSERT INTO \"{long}\" VALUES (1, E'tab\\tnewline\\nback\\\\slash'), (2, '\\N'), (3, '\\.'), (4, '')"),
        format!("UPDATE {table} SET n = 4, found = found || '!' WHERE n = 3; DELETE FROM a_b.c"),
    ] {
        lab.on("a").run(&change).await;
        assert!(lab.drain("b").await > 0 || change.contains("DELETE"), "{change}");
        lab.assert_same().await;
    }
}

/// Each type as a key and as data, with the values that break careless code. Keys travel as text and come back equal.
#[tokio::test]
async fn every_type_is_a_key_and_data() {
    let types = [
        ("smallint", "('-32768'), ('0'), ('32767')"),
        ("bigint", "('-9223372036854775808'), ('9223372036854775807')"),
        ("numeric", "('NaN'), ('0'), ('1.10'), ('123456789012345678901234567890.123456789')"),
        ("real", "('NaN'), ('Infinity'), ('-Infinity'), ('1.17549435e-38'), ('0.1')"),
        ("double precision", "('NaN'), ('-Infinity'), ('0.1'), ('5e-324'), ('1.7976931348623157e308')"),
        ("text", "(''), ('NULL'), ('\\N'), (E'a\\tb\\nc\\rd\\\\e'), ('{\"x\",NULL}'), ('ünïcödé 🦀'), ('it''s')"),
        ("varchar(10)", "(''), ('  blanks  ')"),
        ("char(5)", "('a'), ('ab   '), ('')"),
        ("\"char\"", "('a'), ('~')"),
        ("name", "('a'), ('A b')"),
        ("bytea", "(''), ('\\x00'), ('\\x00ff5c27')"),
        ("boolean", "(true), (false)"),
        ("date", "('infinity'), ('-infinity'), ('4713-01-01 BC'), ('2024-02-29')"),
        ("time", "('24:00:00'), ('00:00:00.000001')"),
        ("timetz", "('12:00:00+14'), ('12:00:00-12:30')"),
        ("timestamp", "('infinity'), ('294276-12-31 23:59:59.999999'), ('2024-01-01')"),
        ("timestamptz", "('-infinity'), ('2024-07-01 12:00:00.123456+02'), ('1900-01-01')"),
        ("interval", "('1 mon -1 day 00:00:00.000001'), ('-1 year'), ('0')"),
        ("uuid", "('00000000-0000-0000-0000-000000000000'), ('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11')"),
        ("inet", "('192.168.0.1/24'), ('::1')"),
        ("cidr", "('10.0.0.0/8')"),
        ("macaddr", "('08:00:2b:01:02:03')"),
        ("bit(3)", "(B'101')"),
        ("varbit", "(B''), (B'10101')"),
        ("money", "('-1.23'), ('1234567.89')"),
        ("jsonb", "('null'), ('{\"a\": [1, \"x\\\\\"]}'), ('\"\"')"),
        ("int[]", "('{}'), ('{1,NULL,3}'), ('[2:3]={1,2}')"),
        ("text[]", "('{}'), ('{\"a,b\",NULL,\"NULL\",\"\",\"q\\\"\\\\\"}')"),
        ("int4range", "('empty'), ('[1,5)'), ('(,)')"),
        ("tsvector", "('a:1 b:2'), ('')"),
        ("oid", "(0), (4294967295)"),
        ("\"Mood\"", "('so so'), ('it''s')"),
        ("pair", "('(1,\"a \"\"b\")'), ('(,)')"),
        ("posint", "(1)"),
    ];
    let mut ddl = "CREATE TYPE \"Mood\" AS ENUM ('so so', 'it''s'); CREATE TYPE pair AS (x int, y text);
                   CREATE DOMAIN posint AS int CHECK (VALUE > 0);"
        .to_owned();
    for (number, (name, _)) in types.iter().enumerate() {
        ddl += &format!("CREATE TABLE t{number} (k {name} PRIMARY KEY, v {name}, n int);");
    }
    let goats: Vec<String> = (0..types.len()).map(|number| format!("t{number}:k")).collect();
    let goats: Vec<&str> = goats.iter().map(String::as_str).collect();
    let mut lab = SyncLab::start(&["b"], &ddl, &goats).await;
    let all = async |lab: &SyncLab, sql: &dyn Fn(usize, &str, &str) -> String| {
        for (number, (name, values)) in types.iter().enumerate() {
            lab.on("a").run(&sql(number, name, values)).await;
        }
    };
    all(&lab, &|number, name, values| {
        format!("INSERT INTO t{number} SELECT v::{name}, v::{name}, 1 FROM (VALUES {values}) AS x (v)")
    })
    .await;
    lab.drain("b").await;
    lab.assert_same().await;
    all(&lab, &|number, _, _| format!("UPDATE t{number} SET n = 2, v = NULL")).await;
    lab.drain("b").await;
    lab.assert_same().await;
    all(&lab, &|number, _, _| format!("DELETE FROM t{number}")).await;
    lab.drain("b").await;
    lab.assert_same().await;
    assert_eq!(lab.on("b").number("SELECT count(*) FROM t0").await, 0);
}

/// A large batch takes another way than a small one: the same odd keys through the keys table.
#[tokio::test]
async fn many_rows_with_odd_keys() {
    if !all_know(12, "generated columns") {
        return;
    }
    let ddl = "CREATE TABLE t (\"K 1\" text, \"k\"\"2\" timestamptz, v bytea, g int GENERATED ALWAYS AS (length(\"K 1\")) STORED, i int GENERATED ALWAYS AS IDENTITY, PRIMARY KEY (\"K 1\", \"k\"\"2\"))";
    let mut lab = SyncLab::start(&["b"], ddl, &["t:K 1,k\"2"]).await;
    lab.on("a").run("INSERT INTO t SELECT E'a\\t\\\\' || n, '2024-01-01'::timestamptz + n * interval '1 s', decode(md5(n::text), 'hex') FROM generate_series(1, 5000) n").await;
    assert_eq!(lab.drain("b").await, 5000);
    lab.assert_same().await;
    lab.on("a").run("UPDATE t SET \"K 1\" = 'b' || \"K 1\" WHERE i % 2 = 0; DELETE FROM t WHERE i % 3 = 0").await;
    lab.drain("b").await;
    lab.assert_same().await;
}

/// Partitioned: through the parent, at a partition, from one partition to another, and a partition truncated alone.
#[tokio::test]
async fn partitioned_tables_replicate() {
    if !all_know(11, "keys of partitioned tables") {
        return;
    }
    let ddl = "CREATE TABLE p (id int, region text, v text, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
               CREATE TABLE p_eu PARTITION OF p FOR VALUES IN ('eu'); CREATE TABLE p_us PARTITION OF p FOR VALUES IN ('us')";
    let mut lab = SyncLab::start(&["b"], ddl, &["p:id,region"]).await;
    for change in [
        "INSERT INTO p VALUES (1, 'eu', 'a'), (2, 'us', 'b'), (3, 'eu', 'c')",
        "UPDATE p SET region = 'us' WHERE id = 1",
        "INSERT INTO p_eu VALUES (4, 'eu', 'direct'); UPDATE p_eu SET id = 5 WHERE id = 4; DELETE FROM p_us WHERE id = 2",
        "UPDATE p SET v = 'all'",
        "TRUNCATE p_eu",
        "INSERT INTO p VALUES (9, 'eu', 'x'); TRUNCATE p; INSERT INTO p VALUES (10, 'us', 'y')",
    ] {
        lab.on("a").run(change).await;
        lab.drain("b").await;
        lab.assert_same().await;
    }
}

/// A column added, and one re-typed, while the KID keeps its session: no row is cut short.
#[tokio::test]
async fn a_table_that_changes_between_rounds_is_read_anew() {
    let mut lab = SyncLab::start(&["b"], "CREATE TABLE t (id int PRIMARY KEY, v text)", &["t:id"]).await;
    lab.on("a").run("INSERT INTO t VALUES (1, 'x')").await;
    lab.drain("b").await;
    for db in ["b", "a"] {
        lab.on(db).run("ALTER TABLE t ADD COLUMN extra int DEFAULT 7; ALTER TABLE t ALTER v TYPE varchar(100); ALTER TABLE t DROP COLUMN v; ALTER TABLE t ADD COLUMN v text").await;
    }
    lab.on("a").run("UPDATE t SET extra = 8, v = 'again'").await;
    lab.drain("b").await;
    lab.assert_same().await;
    lab.on("a").run("ALTER TABLE t ADD COLUMN only_here int; UPDATE t SET extra = 9").await;
    let said = lab.round("b").await.unwrap().quarantine_told().join(" ");
    assert!(said.contains("\"public.t\"") && said.contains("no column \"only_here\""), "{said}");
    lab.on("b").run("ALTER TABLE t ADD COLUMN only_here int").await;
    lab.drain("b").await;
    lab.assert_same().await;
}

/// Capture works for writers without any right on schema bucardo and with a hostile search_path.
#[tokio::test]
async fn writers_need_no_rights() {
    let mut lab = SyncLab::start(&["b"], "CREATE TABLE t (id int PRIMARY KEY)", &["t:id"]).await;
    let role = format!("writer_{}", std::process::id());
    lab.on("a")
        .run(&format!(
            "CREATE ROLE {role}; GRANT INSERT, SELECT ON t TO {role}; CREATE SCHEMA evil; GRANT USAGE ON SCHEMA evil TO {role};
             CREATE FUNCTION evil.txid_current() RETURNS bigint LANGUAGE sql AS 'SELECT 1/0::bigint';
             CREATE FUNCTION evil.now() RETURNS timestamptz LANGUAGE sql AS 'SELECT NULL::timestamptz';
             SET ROLE {role}; SET search_path = evil, pg_catalog, public; INSERT INTO public.t VALUES (1); RESET ROLE; RESET search_path"
        ))
        .await;
    assert_eq!(lab.drain("b").await, 1);
    lab.assert_same().await;
}

/// Delta rows go when every target has read them, and not before; what waits is counted for each target.
#[tokio::test]
async fn the_purge_waits_for_the_slowest_target() {
    let mut lab = SyncLab::start(&["b", "c"], "CREATE TABLE t (id int PRIMARY KEY)", &["t:id"]).await;
    lab.on("a")
        .run("INSERT INTO t SELECT generate_series(1, 300); TRUNCATE t; INSERT INTO t SELECT generate_series(1, 50)")
        .await;
    lab.drain("b").await;
    let source = bucardo::pg::connect(&lab.sync.members[0].db.access, "test").await.unwrap();
    let db = lab.sync.members[0].db.name.clone();
    let limits = PurgeLimits { keep: std::time::Duration::ZERO, batch_rows_max: 100 };
    let purge = async || purge(&source, &db, limits, &Watch::default()).await.unwrap().rows;
    assert_eq!(purge().await, 0);
    let waiting = async || {
        let states = deltas::waiting(&source, &lab.sync.name).await.unwrap();
        states.into_iter().map(|state| (state.target.to_string(), state.inserts, state.waiting)).collect::<Vec<_>>()
    };
    assert_eq!(waiting().await, [("b".to_owned(), 50, 0), ("c".to_owned(), 0, 350)]);
    lab.drain("c").await;
    let source_again = bucardo::pg::connect(&lab.sync.members[0].db.access, "test").await.unwrap();
    let purged = bucardo::source::purge::purge(&source_again, &db, limits, &Watch::default()).await.unwrap();
    assert_eq!(purged.rows, 350);
    assert_eq!(lab.on("a").number("SELECT count(*) FROM bucardo.truncated").await, 0);
    lab.assert_same().await;
}

/// Run twice, a validation changes nothing; what somebody dropped it puts back.
#[tokio::test]
async fn validation_can_be_repeated() {
    let mut lab = SyncLab::start(&["b"], "CREATE TABLE t (id int PRIMARY KEY)", &["t:id"]).await;
    let state = "SELECT oid, xmin FROM pg_trigger WHERE tgname LIKE 'bucardo%' UNION ALL SELECT oid, xmin FROM pg_proc WHERE proname LIKE 'capture_%' ORDER BY 1";
    let before = lab.on("a").rows(state).await;
    assert!(before.len() > 5);
    validate_sync(&lab.sync).await.unwrap();
    assert_eq!(lab.on("a").rows(state).await, before);
    lab.on("a").run("DROP TRIGGER bucardo_delta_insert ON t").await;
    validate_sync(&lab.sync).await.unwrap();
    lab.on("a").run("INSERT INTO t VALUES (1)").await;
    assert_eq!(lab.drain("b").await, 1);
}

/// When the last sync of a table is gone its changes are no longer kept; a new sync captures from its beginning on,
/// also what a transaction writes that was open before.
#[tokio::test]
async fn a_removed_sync_leaves_nothing_growing() {
    let mut lab = SyncLab::start(&["b"], "CREATE TABLE t (id int PRIMARY KEY)", &["t:id"]).await;
    lab.on("a").run("INSERT INTO t VALUES (1)").await;
    assert!(forget_sync(&lab.sync).await.is_empty());
    lab.on("a").run("INSERT INTO t VALUES (2)").await;
    assert_eq!(lab.on("a").number("SELECT count(*) FROM bucardo.delta_public_t").await, 0);
    lab.on("b").run("INSERT INTO t VALUES (1), (2)").await;
    let open = lab.on("a").session().await;
    open.batch_execute("BEGIN; INSERT INTO t VALUES (3)").await.unwrap();
    let begun = async {
        lab.validate().await.unwrap();
        lab
    };
    let commit = async {
        let waits = "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database WHERE d.datname = current_database() AND NOT granted";
        let waits = async || match open.query_one(waits, &[]).await.unwrap().get::<_, i64>(0) {
            0 => Err("nobody waits"),
            _ => Ok(()),
        };
        wait::until("the installation to wait", std::time::Duration::from_secs(5), waits).await;
        open.batch_execute("INSERT INTO t VALUES (4); COMMIT").await.unwrap();
    };
    let (mut lab, ()) = tokio::join!(begun, commit);
    // Rows 3 and 4 were written before the new sync began.
    lab.on("b").run("INSERT INTO t VALUES (3), (4)").await;
    lab.on("a").run("INSERT INTO t VALUES (5)").await;
    assert_eq!(lab.drain("b").await, 1);
    lab.assert_same().await;
}
