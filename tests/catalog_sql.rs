//! The catalog written by plain SQL, as the manual of version 3 teaches: its columns become those of today, and what
//! makes no sense is refused in psql. What SQL writes and what the command line writes are the same rows.

use crate::cli_lab::CliLab;
use crate::support::{Daemon, Database, fresh_database, wait};
use bucardo::catalog::migrate;

const TABLES: &str = "CREATE TABLE t1 (id int PRIMARY KEY, note text); CREATE TABLE \"T 2\" (a int, \"B c\" text, PRIMARY KEY (a, \"B c\"))";
const WITHIN: std::time::Duration = std::time::Duration::from_secs(30);

/// Databases m, s1 and s2, and a herd of two tables of m.
async fn catalog() -> Database {
    let control = fresh_database("control").await;
    migrate::migrate(&mut control.session().await).await.unwrap();
    control
        .run(
            "SET search_path = bucardo;
             INSERT INTO db (name, dbname, dbhost, dbuser) VALUES ('m', 'master', 'h', 'u');
             INSERT INTO db (name, dbname, dbport, dbuser, sourcelimit) VALUES ('s1', 'one', 5432, 'u', 3), ('s2', 'two', 5433, 'u', 0);
             INSERT INTO dbgroup (name) VALUES ('slaves');
             INSERT INTO dbmap (db, dbgroup, priority) VALUES ('s1', 'slaves', 5);
             INSERT INTO goat (db, schemaname, tablename, pkey, pkeytype, standard_conflict)
             VALUES ('m', 'public', 't1', 'id', 'int', 'source'), ('m', 'public', 'T 2', 'a|B c', 'int|text', NULL);
             INSERT INTO herd (name) VALUES ('alpha');
             INSERT INTO herdmap (herd, goat) SELECT 'alpha', id FROM goat",
        )
        .await;
    control
}

const MEMBERS: &str = "SELECT db || ':' || role || ':' || priority FROM bucardo.dbmap WHERE dbgroup = \
                       (SELECT dbs FROM bucardo.sync WHERE name = 'x') ORDER BY 1";

#[tokio::test]
async fn keys_and_strategies_of_tables_have_one_truth() {
    let control = catalog().await;
    let goats = "SELECT qpkey, key_columns, conflict_strategy, standard_conflict, autokick, ping FROM goat ORDER BY id";
    assert_eq!(control.rows(goats).await, ["id|{id}|bucardo_source|source||", "a|\"B c\"|{a,\"B c\"}||||"]);
    control.run("UPDATE goat SET standard_conflict = 'abort', ping = false WHERE tablename = 't1'").await;
    assert_eq!(control.rows(goats).await[0], "id|{id}|bucardo_abort|abort|f|f");
    control
        .run("UPDATE goat SET conflict_strategy = 's1 m', autokick = true, pkey = 'note' WHERE tablename = 't1'")
        .await;
    assert_eq!(control.rows(goats).await[0], "note|{note}|s1 m||t|t");
    control.run("UPDATE goat SET conflict_strategy = NULL, pkey = '' WHERE tablename = 't1'").await;
    assert_eq!(control.value("SELECT key_columns FROM goat WHERE tablename = 't1'").await, "{}");
    for sql in [
        "INSERT INTO goat (db, schemaname, tablename, standard_conflict) VALUES ('m', 's', 't', 'odd')",
        "UPDATE goat SET standard_conflict = 'lowest' WHERE tablename = 't1'",
        "INSERT INTO goat (db, schemaname, tablename, reltype, standard_conflict) VALUES ('m', 's', 'q', 'sequence', 'random')",
    ] {
        assert!(control.refused(sql).await.contains("Invalid standard_conflict"), "{sql}");
    }
    control
        .run("INSERT INTO goat (db, schemaname, tablename, reltype, standard_conflict) VALUES ('m', 's', 'q', 'sequence', 'lowest')")
        .await;
    let sequence = "SELECT conflict_strategy, standard_conflict FROM goat WHERE tablename = 'q'";
    assert_eq!(control.rows(sequence).await, ["bucardo_lowest|lowest"]);
    control.run("UPDATE goat SET conflict_strategy = 's1 m' WHERE tablename = 'q'").await;
    assert_eq!(control.rows(sequence).await, ["s1 m|"]);
}

#[tokio::test]
async fn a_sync_of_version_3_makes_its_group_of_databases() {
    let control = catalog().await;
    control
        .run("INSERT INTO sync (name, source, targetdb, synctype, checktime) VALUES ('x', 'alpha', 's1', 'pushdelta', '10 minutes')")
        .await;
    assert_eq!(control.rows(MEMBERS).await, ["m:source:0", "s1:target:0"]);
    let row = "SELECT herd, dbs, autokick, ping, conflict_strategy, standard_conflict FROM sync WHERE name = 'x'";
    assert_eq!(control.rows(row).await, ["alpha|x|t|t|bucardo_latest|latest"]);
    control
        .run("UPDATE sync SET synctype = 'swap', ping = false, standard_conflict = 'skip', txnmode = 'SERIALIZABLE'")
        .await;
    assert_eq!(control.rows(MEMBERS).await, ["m:source:1", "s1:source:0"]);
    assert_eq!(control.rows(row).await, ["alpha|x|f|f|bucardo_skip|skip"]);
    assert_eq!(control.value("SELECT isolation_level FROM sync").await, "serializable");
    // Other names are no other things.
    control.run("UPDATE db SET name = 's1x' WHERE name = 's1'; UPDATE herd SET name = 'beta'; UPDATE dbgroup SET name = 'y' WHERE name = 'x'").await;
    assert_eq!(control.rows("SELECT source, herd, dbs, targetdb FROM sync").await, ["beta|beta|y|s1x"]);
    assert_eq!(control.number("SELECT count(*) FROM dbgroup").await, 2, "no further group");

    control.run("DELETE FROM sync; DELETE FROM dbgroup WHERE name = 'y'").await;
    control
        .run("INSERT INTO sync (name, source, targetgroup, synctype) VALUES ('x', 'beta', 'slaves', 'fullcopy')")
        .await;
    assert_eq!(control.rows(MEMBERS).await, ["m:source:0", "s1x:fullcopy:5"]);
    control.run("INSERT INTO dbmap (db, dbgroup) VALUES ('s2', 'slaves'); DELETE FROM dbmap WHERE db = 's1x' AND dbgroup = 'slaves'").await;
    assert_eq!(control.rows(MEMBERS).await, ["m:source:0", "s2:fullcopy:0"]);
    // In the words of version 5 the same sync is described by its group.
    control.run("UPDATE sync SET dbs = 'slaves'").await;
    assert_eq!(control.rows("SELECT dbs, targetdb, targetgroup, synctype FROM sync").await, ["slaves|s2||pushdelta"]);
}

/// Scripts of versions 3 and 4 read the kind and the target of a sync, also of one that version 5 describes.
#[tokio::test]
async fn every_sync_tells_its_kind_and_its_targets() {
    let control = catalog().await;
    control
        .run(
            "SET search_path = bucardo;
             INSERT INTO dbgroup (name) VALUES ('one'), ('two');
             INSERT INTO dbmap (db, dbgroup, role)
             VALUES ('m', 'one', 'source'), ('s1', 'one', 'target'), ('m', 'two', 'source'), ('s1', 'two', 'source'), ('s2', 'two', 'target');
             INSERT INTO sync (name, herd, dbs) VALUES ('x', 'alpha', 'one'), ('y', 'alpha', 'two')",
        )
        .await;
    let told = "SELECT name, source, targetdb, targetgroup, synctype FROM sync ORDER BY 1";
    assert_eq!(control.rows(told).await, ["x|alpha|s1||pushdelta", "y|alpha||two|swap"]);
    // Members change, and with them what is told.
    control.run("UPDATE dbmap SET role = 'fullcopy' WHERE dbgroup = 'one' AND db = 's1'").await;
    control.run("DELETE FROM dbmap WHERE dbgroup = 'two' AND db = 's1'").await;
    assert_eq!(control.rows(told).await, ["x|alpha|s1||fullcopy", "y|alpha|s2||pushdelta"]);
    control.run("INSERT INTO dbmap (db, dbgroup, role) VALUES ('s2', 'one', 'fullcopy')").await;
    assert_eq!(control.rows(told).await[0], "x|alpha||one|fullcopy");
    // What is told can be changed, too.
    control.run("UPDATE sync SET synctype = 'pushdelta' WHERE name = 'x'").await;
    assert_eq!(control.rows(MEMBERS).await, ["m:source:0", "s1:target:0", "s2:target:0"]);
    control.run("UPDATE sync SET targetdb = 's2', synctype = 'swap' WHERE name = 'x'").await;
    assert_eq!(control.rows(MEMBERS).await, ["m:source:1", "s2:source:0"]);
    control
        .run("UPDATE db SET name = 'renamed' WHERE name = 's2'; UPDATE dbgroup SET name = 'zwei' WHERE name = 'two'")
        .await;
    assert_eq!(control.rows(told).await, ["x|alpha|renamed||swap", "y|alpha|renamed||pushdelta"]);
    assert_eq!(control.value("SELECT dbs FROM sync WHERE name = 'y'").await, "zwei");
    // As in version 5, a database leaves its groups when it is removed.
    control.run("DELETE FROM db WHERE name = 'renamed'").await;
    assert_eq!(control.rows(told).await, ["x|alpha|||", "y|alpha|||"]);
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_in_psql() {
    let control = catalog().await;
    control.run("INSERT INTO herd (name) VALUES ('empty')").await;
    let before = control.rows("SELECT * FROM dbgroup").await;
    for (sql, word) in [
        ("INSERT INTO sync (name, source, targetdb) VALUES ('x', 'none', 's1')", "is no relgroup with tables"),
        ("INSERT INTO sync (name, source, targetdb) VALUES ('x', 'empty', 's1')", "is no relgroup with tables"),
        (
            "INSERT INTO sync (name, source, targetdb) VALUES ('x', 'alpha', 'none')",
            "The target \"none\" of sync \"x\"",
        ),
        (
            "INSERT INTO sync (name, source, targetgroup) VALUES ('x', 'alpha', 'none')",
            "The target \"none\" of sync \"x\"",
        ),
        ("INSERT INTO sync (name, source, targetdb) VALUES ('x', 'alpha', 'm')", "is the source and a target"),
        ("INSERT INTO sync (name, source, targetdb, synctype) VALUES ('x', 'alpha', 's1', 'push')", "Invalid synctype"),
        (
            "INSERT INTO sync (name, source, targetgroup, synctype) VALUES ('x', 'alpha', 'slaves', 'swap')",
            "needs a targetdb",
        ),
        (
            "INSERT INTO sync (name, source, targetdb, targetgroup) VALUES ('x', 'alpha', 's1', 'slaves')",
            "both targetdb and",
        ),
        ("INSERT INTO sync (name, source, synctype) VALUES ('x', 'alpha', 'pushdelta')", "has no target"),
        ("INSERT INTO sync (name, targetdb) VALUES ('x', 's1')", "has no source"),
        ("INSERT INTO sync (name, source, herd, dbs) VALUES ('x', 'alpha', 'empty', 'slaves')", "source and herd"),
        ("INSERT INTO sync (name, source, dbs, targetdb) VALUES ('x', 'alpha', 'slaves', 's2')", "beside the group"),
        (
            "INSERT INTO sync (name, source, dbs, synctype) VALUES ('x', 'alpha', 'slaves', 'fullcopy')",
            "cannot be a fullcopy with the roles",
        ),
        (
            "INSERT INTO sync (name, source, targetdb, onetimecopy) VALUES ('x', 'alpha', 's1', 7)",
            "sync_onetimecopy_valid",
        ),
        ("INSERT INTO customcode (name, whenrun, src_code) VALUES ('c', 'sometime', 'x')", "customcode_whenrun"),
        ("UPDATE bucardo_config SET value = '1' WHERE setting = 'kid_sleep'", "of versions 3 and 4"),
        ("INSERT INTO bucardo_config (setting) VALUES ('x')", "null value in column \"name\""),
    ] {
        let refusal = control.refused(sql).await;
        assert!(refusal.contains(word), "{sql}: {refusal}");
    }
    assert_eq!(control.rows("SELECT * FROM dbgroup").await, before, "no half-made group");
    control.run("INSERT INTO bucardo_config (setting, value) VALUES ('my_setting', '0.2')").await;
    assert_eq!(
        control.rows("SELECT name, setting, value FROM bucardo_config WHERE name = 'my_setting'").await,
        ["my_setting|0.2|"]
    );
    control
        .run("INSERT INTO customcode (name, whenrun, src_code, getrows) VALUES ('c', 'after_trigger_drop', 'x', true)")
        .await;
    assert_eq!(control.value("SELECT whenrun FROM customcode").await, "after_trigger_disable");
}

/// A sync that was written by SQL, without its key, replicates once it was validated and the daemon has read it.
#[tokio::test]
async fn what_was_written_by_sql_replicates_and_is_what_the_command_line_writes() {
    let lab = CliLab::start().await;
    let (a, b) = (lab.db("A", TABLES).await, lab.db("B", TABLES).await);
    lab.bucardo.run("add table t1 db=A relgroup=beta");
    lab.bucardo.run("add sync byhand source=beta targetdb=B type=pushdelta checktime=10min");
    lab.bucardo.run("remove sync byhand");
    let daemon = Daemon::start(&lab.bucardo).await;
    lab.control
        .run(
            "SET search_path = bucardo;
             DELETE FROM dbgroup; DELETE FROM goat; DELETE FROM herd;
             INSERT INTO goat (db, schemaname, tablename) VALUES ('A', 'public', 't1');
             INSERT INTO herd (name) VALUES ('alpha');
             INSERT INTO herdmap (herd, goat) SELECT 'alpha', id FROM goat;
             INSERT INTO sync (name, source, targetdb, synctype, checktime) VALUES ('s', 'alpha', 'B', 'pushdelta', '10 minutes')",
        )
        .await;
    assert_eq!(lab.bucardo.run("validate s"), "Validating sync s ..... OK\n");
    assert_eq!(lab.control.rows("SELECT pkey, pkeytype, key_columns FROM bucardo.goat").await, ["id|integer|{id}"]);
    lab.bucardo.run("reload");
    a.run("INSERT INTO t1 VALUES (1, 'x')").await;
    wait::until_equal("rows on B", WITHIN, &1, async || b.number("SELECT count(*) FROM t1").await).await;
    daemon.stop().await;
    let rows = |name: &str| {
        format!(
            "SELECT to_jsonb(s) - 'name' - 'cdate' - 'herd' - 'source' - 'dbs' - 'conflict_strategy' - 'standard_conflict' FROM bucardo.sync AS s WHERE name = '{name}'"
        )
    };
    lab.bucardo.run("add sync t source=alpha targetdb=B type=pushdelta checktime=10min");
    assert_eq!(lab.control.rows(&rows("t")).await, lab.control.rows(&rows("s")).await);
    let members = |name: &str| {
        format!("SELECT db, role, priority, makedelta FROM bucardo.dbmap WHERE dbgroup = '{name}' ORDER BY 1")
    };
    assert_eq!(lab.control.rows(&members("t")).await, lab.control.rows(&members("s")).await);
}
