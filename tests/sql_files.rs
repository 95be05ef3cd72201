//! Every file of `sql/catalog` is one statement that the server understands, against the catalog as it is.

use bucardo::catalog::migrate;
use bucardo::pg::causes;

use crate::support::fresh_database;

/// What the holes of the files are filled with here.
const HOLES: [(&str, &str); 9] = [
    ("{table}", "bucardo.sync"),
    ("{column}", "priority"),
    ("{type}", "smallint"),
    ("{key}", "name"),
    ("{role}", "someone"),
    ("{owner}", "someone"),
    ("{database}", "somewhere"),
    ("{verifier}", "'x'"),
    ("{schema}", "public"),
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
