//! `bucardo_ctl`: command lines of versions 3 and 4, as their documents and scripts have them.

use crate::cli_lab::CliLab;
use crate::support::{Bucardo, Output, fresh_database};

const TABLES: &str = "CREATE TABLE pgbench_accounts (aid int PRIMARY KEY, abalance int);
    CREATE TABLE pgbench_branches (bid int PRIMARY KEY); CREATE TABLE pgbench_history (aid int);
    CREATE SEQUENCE counter";

fn ctl(bucardo: &Bucardo, line: &str) -> Output {
    bucardo.call_as("bucardo_ctl", &line.split_whitespace().collect::<Vec<_>>())
}

/// Two databases under their real names, and what `add database` calls them.
async fn lab() -> (CliLab, [crate::support::Database; 3]) {
    let lab = CliLab::start().await;
    let mut databases = Vec::new();
    for name in ["master", "slave", "third"] {
        let database = fresh_database("data").await;
        database.run(TABLES).await;
        let line = format!(
            "add database {} name={name} port={} host={} user={}",
            database.name, database.port, database.host, database.user
        );
        assert_eq!(ctl(&lab.bucardo, &line).ok(), format!("Added database \"{name}\"\n"));
        databases.push(database);
    }
    (lab, databases.try_into().unwrap_or_else(|_| unreachable!()))
}

#[tokio::test]
async fn a_walk_through_of_version_4_works_under_its_own_name() {
    let (lab, [master, slave, _third]) = lab().await;
    let ctl = |line: &str| ctl(&lab.bucardo, line);
    let added = "Creating herd: alpha\nNew tables:\n  public.pgbench_accounts\n  public.pgbench_branches\n\
                 New tables added: 2\n";
    assert_eq!(ctl("add all tables db=master -T pgbench_history --herd=alpha --verbose").ok(), added);
    let again = ctl("add all tables db=master -T pgbench_history --herd=alpha standard_conflict=source");
    assert_eq!(again.ok(), "New tables added: 0\nAlready added: 2\n");
    let listed = ctl("list tables").ok();
    assert!(listed.starts_with("Table: public.pgbench_accounts  DB: master  PK: aid (integer)\n"), "{listed}");
    let herds = ctl("list herds").ok();
    assert_eq!(herds, "Herd: alpha  DB: master  Members: public.pgbench_accounts, public.pgbench_branches\n");
    let added = ctl("add sync benchdelta source=alpha targetdb=slave type=pushdelta").ok();
    assert!(added.starts_with("Added sync \"benchdelta\"\n"), "{added}");
    assert_eq!(ctl("list syncs").ok(), "Sync: benchdelta  (pushdelta)  alpha => slave  (Active)\n");
    let triggers = "SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'bucardo%'";
    assert!(master.number(triggers).await > 0, "the source captures");
    assert_eq!(slave.number(triggers).await, 0, "the target does not");
    assert!(ctl("list dbs").ok().contains("Database: master  Status: active  Conn: psql -p "));
    assert_eq!(ctl("show log_level").code, 0);
    assert_eq!(ctl("reload_config").ok(), "Forcing Bucardo to reload the bucardo_config table\n");
    assert_eq!(ctl("message restarted by cron").ok(), "");
    assert!(ctl("--version").ok().starts_with("bucardo_ctl version "));
    assert_eq!(ctl("update herd alpha add public.pgbench_history").code, 0);
}

#[tokio::test]
async fn syncs_of_every_type_become_the_roles_of_version_5() {
    let (lab, _databases) = lab().await;
    let ctl = |line: &str| ctl(&lab.bucardo, line);
    ctl("add table pgbench_accounts db=master herd=alpha").ok();
    assert_eq!(
        ctl("add dbgroup slaves slave third").ok(),
        "Added database group \"slaves\"\nAdded database \"slave\" to group \"slaves\"\n\
         Added database \"third\" to group \"slaves\"\n"
    );
    assert_eq!(ctl("list dbgroups").ok(), "Database group: slaves  Members: slave, third\n");
    ctl("add sync one source=alpha targetdb=slave type=delta ping=false checktime=10min").ok();
    ctl("add sync two source=alpha targetgroup=slaves type=fullcopy").ok();
    ctl("add sync three source=alpha targetdb=third synctype=swap standard_conflict=latest").ok();
    ctl("add sync four source=master tables=pgbench_branches,counter targetdb=third type=pushdelta").ok();
    let members = "SELECT s.name, string_agg(m.db || ':' || m.role, ' ' ORDER BY m.role, m.db), s.autokick, s.stayalive, \
                   s.synctype, s.targetgroup FROM bucardo.sync AS s JOIN bucardo.dbmap AS m ON m.dbgroup = s.dbs \
                   GROUP BY s.name ORDER BY s.name";
    assert_eq!(
        lab.control.rows(members).await,
        [
            "four|master:source third:target|t|t|pushdelta|",
            "one|master:source slave:target|f|t|pushdelta|",
            "three|master:source third:source|t|t|swap|",
            "two|slave:fullcopy third:fullcopy master:source|t|f|fullcopy|slaves",
        ]
    );
    let listed = ctl("list syncs").ok();
    assert!(listed.contains("Sync: three  (swap)  alpha <=> third  (Active)\n"), "{listed}");
    assert!(listed.contains("Sync: two    (fullcopy)  alpha => slaves  (Active)\n"), "{listed}");
    // A database that leaves the group leaves the sync.
    ctl("update dbgroup slaves third").ok();
    assert!(
        lab.control.rows(members).await.contains(&"two|third:fullcopy master:source|t|f|fullcopy|slaves".to_owned())
    );
    // The same program by its other name takes them, too, and shows them in its own words.
    let listed = lab.bucardo.run("list sync one");
    assert!(listed.ends_with("DB group \"one\" master:source slave:target  [Active]\n"), "{listed}");
    assert!(lab.bucardo.fails("remove dbgroup slaves").contains("it is being used by one or more syncs"));
    ctl("update sync one type=fullcopy").ok();
    assert!(lab.control.rows(members).await[1].starts_with("one|slave:fullcopy master:source|"));
}

#[tokio::test]
async fn what_versions_3_and_4_refused_is_refused_and_changes_nothing() {
    let (lab, _databases) = lab().await;
    ctl(&lab.bucardo, "add table pgbench_accounts db=master herd=alpha").ok();
    for (line, code, complaint) in [
        ("add sync x source=alpha", 255, "Need to specify one of targetdb=NAME and targetgroup=NAME"),
        ("add sync x targetdb=slave", 255, "Need to specify the source of this sync"),
        ("add sync x source=none targetdb=slave", 1, "The source \"none\" is no herd"),
        ("add sync x source=master targetdb=slave", 1, "The source \"master\" is no herd"),
        ("add sync x source=alpha targetdb=none", 255, "Unknown database \"none\""),
        ("add sync x source=alpha targetgroup=none", 255, "Unknown database group \"none\""),
        ("add sync x source=alpha targetdb=slave type=push", 255, "Invalid value for 'type': push"),
        ("add sync x source=alpha targetdb=slave dbs=master,slave", 1, "Give either dbs= or dbgroup="),
        ("add sync x source=alpha targetdb=slave usecustomselect=odd", 255, "Invalid value for 'usecustomselect'"),
        ("add sync x source=alpha targetdb=master", 255, "Failed to add sync: "),
        ("add database nothere name=x port=1 host=127.0.0.1", 255, "Cannot add database \"x\""),
        ("add database", 1, "bucardo add db"),
        ("frobnicate", 1, "Unknown command \"frobnicate\""),
    ] {
        let before = lab.catalog().await;
        let refusal = ctl(&lab.bucardo, line);
        assert_eq!(refusal.code, code, "{line}: {}{}", refusal.stdout, refusal.stderr);
        assert!(refusal.stderr.starts_with(complaint), "{line}: {}", refusal.stderr);
        let after = lab.catalog().await;
        let meant = |row: &&String| !row.starts_with("db_connlog");
        assert_eq!(after.iter().filter(meant).collect::<Vec<_>>(), before.iter().filter(meant).collect::<Vec<_>>());
    }
    let empty = fresh_database("control").await;
    let bucardo = Bucardo::on(&empty);
    crate::cli_lab::install(&bucardo).ok();
    for (line, table) in [
        ("list dbs", "db"),
        ("list dbgroups", "dbgroup"),
        ("list herds", "herd"),
        ("list syncs", "sync"),
        ("list tables", "goat"),
    ] {
        let listed = ctl(&bucardo, line);
        assert_eq!(
            (listed.code, listed.stdout),
            (1, format!("There are no entries in the '{table}' table.\n")),
            "{line}"
        );
    }
}

/// `bucardo_ctl status` in the layout that scripts for version 4 read.
#[tokio::test]
async fn the_status_has_the_layout_of_version_4() {
    let (lab, _databases) = lab().await;
    let ctl = |line: &str| ctl(&lab.bucardo, line);
    ctl("add table pgbench_accounts db=master herd=alpha").ok();
    ctl("add sync one source=alpha targetdb=slave type=delta expired=1hour").ok();
    ctl("add sync two source=alpha targetdb=third type=fullcopy status=inactive").ok();
    lab.control
        .run(
            "INSERT INTO bucardo.syncrun (sync, started, ended, lastgood, deletes, inserts, status) VALUES \
             ('one', now() - interval '19:12:35', now() - interval '19:12:33', true, 3, 5, 'Complete'), \
             ('two', now() - interval '5 days', now() - interval '5 days', true, 1, 1, 'Complete')",
        )
        .await;
    let listed = ctl("status").ok();
    let lines: Vec<&str> = listed.lines().collect();
    assert!(lines[0].starts_with("Days back: 3  User: ") && lines[0].contains("  Database: "), "{listed}");
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ");
    assert_eq!(words(lines[1]), "Name Type State PID Last_good Time I/U/D Last_bad Time");
    assert!(lines[2].chars().all(|sign| sign == '='), "{listed}");
    let one = words(lines[3]);
    assert!(one.starts_with("one P E! down ") && one.contains(" 19h 12m 3"), "{listed}");
    assert!(one.ends_with(" 5/0/3 none"), "{listed}");
    assert_eq!(words(lines[4]), "two F off none none", "five days are too long ago");
    let far = ctl("status --daysback=9").ok();
    assert!(words(far.lines().nth(4).unwrap()).ends_with(" 1/0/1 none"), "{far}");

    let detail = ctl("status two").ok();
    for line in [
        "Sync name: two",
        "Current state: off",
        "Type: fullcopy",
        "Source herd/database: alpha / master",
        "Target database: third",
        "Tables in sync: 1",
        "Last good: none",
        "Status: inactive",
        "Post-copy analyze: yes",
        "Delete method: delete",
    ] {
        assert!(detail.lines().any(|shown| words(shown) == line), "{line}: {detail}");
    }
    assert!(ctl("status one").ok().lines().any(|line| words(line) == "Ins/Upd/Del: 5 / 0 / 3"));
    assert!(lab.bucardo.run("status").contains(" Last good "), "by its other name it is as it was");
}
