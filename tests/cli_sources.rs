//! Several sources on the command line: who has which role, and what a change of roles puts into the databases.

use crate::cli_lab::CliLab;
use crate::support::Database;

const TABLES: &str = "CREATE TABLE t1 (id int PRIMARY KEY, note text)";

async fn captures(database: &Database) -> bool {
    let triggers = "SELECT count(*) FROM pg_trigger WHERE tgrelid = 't1'::regclass AND tgname LIKE 'bucardo%'";
    database.number(triggers).await > 0
}

/// The databases that read this source.
async fn readers(database: &Database) -> Vec<String> {
    database.rows("SELECT target FROM bucardo.track WHERE sync = 's' ORDER BY 1").await
}

#[tokio::test]
async fn a_sync_with_two_masters_and_a_target() {
    let lab = CliLab::start().await;
    let (a, b, c) = (lab.db("A", TABLES).await, lab.db("B", TABLES).await, lab.db("C", TABLES).await);
    assert_eq!(
        lab.bucardo.run("add sync s tables=t1 dbs=C:target,A:master,B:primary conflict_strategy=B,A"),
        "Added sync \"s\"\nCreated a new dbgroup named \"s\"\n  Added database \"C\" as target\n  \
         Added database \"A\" as source\n  Added database \"B\" as source\n\
         Created a new relgroup named \"s\"\n  Added table \"public.t1\"\n"
    );
    assert_eq!(
        lab.bucardo.run("list sync s"),
        "Sync \"s\"  Relgroup \"s\"  DB group \"s\" A:source B:source C:target  [Active]\n"
    );
    assert_eq!(lab.bucardo.run("list dbgroups"), "dbgroup: s  Members: A:source B:source C:target\n");
    assert!(lab.bucardo.run("list db B -v").contains("Used in sync s in a role of source"));
    assert!(lab.bucardo.run("status s").contains("Source relgroup/database : s / A, B\n"));
    assert_eq!((captures(&a).await, captures(&b).await, captures(&c).await), (true, true, false));
    assert_eq!((readers(&a).await, readers(&b).await), (vec!["B".into(), "C".into()], vec!["A".into(), "C".into()]));

    // Without roles the first one is the source and the others are targets, as ever.
    lab.bucardo.run("add sync one tables=t1 dbs=B,A,C");
    assert!(lab.bucardo.run("list sync one").contains(" B:source A:target C:target  ["));
    lab.bucardo.run("update sync s conflict_strategy=latest");
    assert_eq!(
        lab.bucardo.run("update dbgroup s A:source B:source:pri=5 C"),
        "",
        "roles stay where none is given; a priority is no change of them"
    );
    assert!(lab.bucardo.run("list sync s").contains(" B:source A:source C:target  ["), "the first is named first");
}

/// Who was a target becomes a master, and a master leaves: each change is checked and put into the databases before
/// it is kept.
#[tokio::test]
async fn roles_change_and_the_databases_follow() {
    let lab = CliLab::start().await;
    let (a, b, c) = (lab.db("A", TABLES).await, lab.db("B", TABLES).await, lab.db("C", TABLES).await);
    let _poor = lab.db("D", "CREATE TABLE t1 (id int PRIMARY KEY)").await;
    lab.bucardo.run("add dbgroup g A:source B:target");
    lab.bucardo.run("add sync s tables=t1 dbgroup=g");
    assert!(!captures(&b).await);
    let before = lab.catalog().await;
    let printed = lab.bucardo.run("update dbgroup g A:source B:source --dry-run");
    assert_eq!(printed, "Changed role of database \"B\" in dbgroup \"g\" from target to source\n");
    assert_eq!((lab.catalog().await, captures(&b).await), (before, false));
    assert_eq!(
        lab.bucardo.run("update dbgroup g A:source B:source C:source"),
        "Changed role of database \"B\" in dbgroup \"g\" from target to source\n\
         Added database \"C\" to dbgroup \"g\" as source\n\
         Syncs that take this over with \"bucardo reload\": s\n"
    );
    assert!(captures(&b).await && captures(&c).await);
    assert_eq!(readers(&c).await, ["A", "B"]);
    let refusal = lab.refused(255, &["add", "dbgroup", "g", "D:source"]).await;
    assert!(refusal.starts_with("Failed to change dbgroup (sync \"s\"): ") && refusal.contains("note"), "{refusal}");
    let refusal = lab.refused(255, &["update", "dbgroup", "g", "A:target", "B:target"]).await;
    assert!(refusal.contains("sync \"s\" has no active source database"), "{refusal}");

    assert_eq!(
        lab.bucardo.run("update dbgroup g A:source B:source"),
        "Removed database \"C\" from dbgroup \"g\"\nSyncs that take this over with \"bucardo reload\": s\n"
    );
    assert_eq!((readers(&a).await, readers(&b).await), (vec!["B".to_owned()], vec!["A".to_owned()]));
    assert_eq!(c.number("SELECT count(*) FROM bucardo.track").await, 0, "nothing is kept there for the sync");
    lab.bucardo.run("update dbgroup g A:source B:target");
    assert_eq!((readers(&a).await, readers(&b).await), (vec!["B".to_owned()], vec![]));
    assert_eq!(
        lab.bucardo.run("add dbgroup g C"),
        "Added database \"C\" to dbgroup \"g\" as target\nSyncs that take this over with \"bucardo reload\": s\n"
    );
    assert_eq!(readers(&a).await, ["B", "C"]);
}
