//! Every file of `sql/` that is one statement is understood by the server, against the tables as they are.

use bucardo::catalog::migrate;
use bucardo::pg::causes;

use crate::support::{SyncLab, fresh_database};

/// What the holes of the files are filled with here.
const HOLES: [(&str, &str); 12] = [
    ("{columns}", "name"),
    ("{table}", "bucardo.sync"),
    ("{column}", "priority"),
    ("{type}", "smallint"),
    ("{key}", "name"),
    ("{role}", "someone"),
    ("{owner}", "someone"),
    ("{database}", "somewhere"),
    ("{verifier}", "'x'"),
    ("{schema}", "public"),
    ("{mappings}", "bucardo.customcols"),
    ("{clause}", "clause"),
];

#[tokio::test]
async fn every_statement_of_the_catalog_prepares() {
    let database = fresh_database("prepare").await;
    let mut session = database.session().await;
    migrate::migrate(&mut session).await.unwrap();
    session.batch_execute("SET search_path = pg_catalog").await.unwrap();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/sql/catalog");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let mut sql = std::fs::read_to_string(&path).unwrap();
        for (hole, filling) in HOLES {
            sql = sql.replace(hole, filling);
        }
        assert!(sql.starts_with("-- "), "{} says what it is for", path.display());
        if let Err(error) = session.prepare(&sql).await {
            panic!("{}: {}", path.display(), causes(&error));
        }
        count += 1;
    }
    assert!(count > 40, "only {count} files");
}

/// What the holes of the files for sources and rounds are filled with here.
const ROUND_HOLES: [(&str, &str); 42] = [
    ("{before}", "'{}'"),
    ("{session}", "'{}'"),
    ("{pairs}", "'id', n.key::jsonb -> 'id'"),
    ("{moved}", "false"),
    ("{deltas}", "'bucardo.delta_public_t'"),
    ("{first}", "0"),
    ("{branches}", "SELECT now() AS oldest"),
    ("{wanted}", "true"),
    ("{readable}", "true"),
    ("{handed_on}", "'s a 0 +'"),
    ("{origin}", "NULL::text"),
    ("{values}", "k.id"),
    ("{changes}", "(SELECT 1 AS id, now() AS txntime, ''::text AS origin) AS k"),
    ("{join}", ""),
    ("{via}", "'a'"),
    ("{signature}", "''"),
    ("{arrays}", "array_agg(d.id::text) AS a0"),
    ("{delta}", "bucardo.delta_public_t"),
    ("{waiting}", "SELECT txid FROM bucardo.delta_public_t"),
    ("{few}", "1001"),
    ("{keys}", "id"),
    ("{keys_table}", "pg_temp.keys"),
    ("{literal}", "'bucardo.delta_public_t'"),
    ("{columns}", "id"),
    ("{changed}", "SELECT 1 AS id"),
    ("{names}", "c0"),
    ("{on}", "true"),
    ("{oid}", "1"),
    ("{place}", "0"),
    ("{sequence}", "public.s"),
    ("{table}", "public.t"),
    ("{gate}", "bucardo.gate_s"),
    ("{name}", "'bucardo.gate_s'"),
    ("{function}", "bucardo.capture_1_new"),
    ("{body}", "'BEGIN RETURN NULL; END'"),
    ("{index}", "i"),
    ("{kicks}", ""),
    ("{captured}", "1"),
    ("{list}", "SELECT *"),
    ("{filter}", "true"),
    ("{view}", "bucardo.track_other"),
    ("{registry}", "bucardo.track"),
];

/// Scripts and pieces, which the rounds of the other tests run.
const NOT_ONE_STATEMENT: [&str; 21] = [
    "check_late.sql",
    "alter_function.sql",
    "moved.sql",
    "delta_moved.sql",
    "handed_on.sql",
    "along_index.sql",
    "purge_functions.sql",
    "readable.sql",
    "idle_body.sql",
    "plan_freely.sql",
    "bookkeeping.sql",
    "position.sql",
    "delta_table.sql",
    "gate_create.sql",
    "session_source.sql",
    "kick.sql",
    "signature.sql",
    "capture_body.sql",
    "capture_all_body.sql",
    "truncate_body.sql",
    "views.sql",
];

#[tokio::test]
async fn every_statement_of_sources_and_rounds_prepares() {
    let lab = SyncLab::start(&["b"], "CREATE TABLE t (id int PRIMARY KEY); CREATE SEQUENCE s", &["t:id", "s"]).await;
    for name in ["a", "b"] {
        lab.on(name).run("CREATE TEMP TABLE keys (id int)").await;
    }
    let mut count = 0;
    for folder in ["source", "engine"] {
        let folder = format!("{}/sql/{folder}", env!("CARGO_MANIFEST_DIR"));
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if NOT_ONE_STATEMENT.contains(&name.as_str()) {
                continue;
            }
            let mut sql = std::fs::read_to_string(&path).unwrap();
            if name == "delete_few.sql" {
                sql = sql.replace("{arrays}", "$1::text[]");
            }
            if name == "some_keys.sql" {
                sql = sql.replace("{keys}", "(j.key ->> 0)::int AS id");
            }
            for (hole, filling) in ROUND_HOLES {
                sql = sql.replace(hole, filling);
            }
            // A statement belongs to the source or to the target.
            let (source, target) = (lab.on("a").client.prepare(&sql).await, lab.on("b").client.prepare(&sql).await);
            if let (Err(source), Err(target)) = (source, target) {
                panic!("{name}: {}; {}", causes(&source), causes(&target));
            }
            count += 1;
        }
    }
    assert!(count > 40, "only {count} files");
}

/// What the holes of the files of copies are filled with here.
const COPY_HOLES: [(&str, &str); 3] = [("{value}", "t.id"), ("{table}", "public.t"), ("{percent}", "50.0")];

#[tokio::test]
async fn every_statement_of_copies_prepares() {
    let lab = SyncLab::start(&["b"], "CREATE TABLE t (id int PRIMARY KEY)", &["t:id"]).await;
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/sql/copy");
    let journal = std::fs::read_to_string(format!("{folder}/journal.sql")).unwrap();
    for _ in 0..2 {
        lab.on("b").run(&journal).await;
    }
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let mut sql = std::fs::read_to_string(&path).unwrap();
        assert!(sql.starts_with("-- "), "{} says what it is for", path.display());
        for (hole, filling) in COPY_HOLES {
            sql = sql.replace(hole, filling);
        }
        if path.ends_with("journal.sql") {
            continue;
        }
        if let Err(error) = lab.on("b").client.prepare(&sql).await {
            panic!("{}: {}", path.display(), causes(&error));
        }
        count += 1;
    }
    assert!(count > 15, "only {count} files");
}
