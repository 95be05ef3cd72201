//! Databases and their groups on the command line.

use serde_json::Value;

use crate::cli_lab::CliLab;
use crate::support::fresh_database;

#[tokio::test]
async fn databases_are_added_listed_and_removed() {
    let lab = CliLab::start().await;
    let (one, two) = (fresh_database("one").await, fresh_database("two").await);
    let (host, port, user) = (one.host.clone(), one.port, one.user.clone());
    let names = format!("dbname={},{}", one.name, two.name);
    let words =
        ["add", "dbs", "A,B", &names, &format!("host={host}"), &format!("port={port}"), &format!("user={user}")];
    let words: Vec<&str> = words.into_iter().chain(["pass=geheim", "group=g"]).collect();
    let printed = lab.call(&words).ok();
    assert_eq!(
        printed,
        "Added databases \"A\",\"B\"\nCreated dbgroup \"g\"\n  Added database \"A\" to dbgroup \"g\" as source\n  \
         Added database \"B\" to dbgroup \"g\" as target\n"
    );
    let line = |db: &str, name: &str| {
        format!("Database: {db}  Status: active  Conn: psql -p {port} -U {user} -d {name} -h {host}\n")
    };
    let both = format!("{}{}", line("A", &one.name), line("B", &two.name));
    assert_eq!(lab.bucardo.run("list dbs"), both);
    assert_eq!(lab.bucardo.run("list db A"), line("A", &one.name));
    assert_eq!(lab.bucardo.run("list db nomatch"), "No matching databases found\n");
    assert!(lab.bucardo.run("list db -v").contains("Belongs to dbgroup g as source"));
    assert_eq!(lab.bucardo.run("list dbgroups"), "dbgroup: g  Members: A:source B:target\n");
    let tested = "SELECT status FROM bucardo.db_connlog WHERE db = 'A'";
    assert_eq!(lab.control.value(tested).await, "good");

    for words in [&["list", "dbs", "-vv"][..], &["list", "dbs", "--json"], &["list", "all", "--json"]] {
        let printed = lab.call(words).ok();
        assert!(!printed.contains("geheim") && printed.contains("***"), "{printed}");
    }
    let json: Value = serde_json::from_str(&lab.bucardo.run("list dbs --json")).unwrap();
    assert_eq!(json[0]["name"], "A");
    assert_eq!(json[0]["dbgroups"][0]["role"], "source");
    assert_eq!(json[1]["dbname"], two.name.as_str());

    let refusal = lab.refused(255, &["remove", "db", "A"]).await;
    assert!(refusal.contains("(try --force)"), "{refusal}");
    assert_eq!(lab.bucardo.run("remove db A B --force"), "Removed database \"A\"\nRemoved database \"B\"\n");
    assert_eq!(lab.bucardo.run("list dbs"), "No databases have been added yet\n");
}

#[tokio::test]
async fn a_database_that_cannot_be_used_is_refused_with_its_name_and_the_cause() {
    let lab = CliLab::start().await;
    let real = fresh_database("real").await;
    let port = format!("port={}", real.port);
    let host = "host=127.0.0.1";
    let unknown = lab.refused(255, &["add", "db", "X", "dbname=nowhere", host, &port, "user=postgres"]).await;
    assert!(unknown.starts_with("Cannot add database \"X\": cannot connect to host=127.0.0.1"), "{unknown}");
    assert!(unknown.contains("dbname=nowhere") && unknown.contains("check dbname"), "{unknown}");
    assert!(unknown.contains("--force"), "{unknown}");
    let unreachable = lab.refused(255, &["add", "db", "X", "dbname=x", host, "port=1", "user=postgres"]).await;
    assert!(unreachable.contains("port=1") && unreachable.contains("Connection refused"), "{unreachable}");
    let user = lab.refused(255, &["add", "db", "X", "dbname=x", host, &port, "user=nobody_here"]).await;
    assert!(user.contains("user=nobody_here") && user.contains("check the user name"), "{user}");
    let word = lab.refused(255, &["add", "db", "X", "dbname=x", host, "port=54x", "user=postgres"]).await;
    assert!(word.contains("port \"54x\" is not numeric"), "{word}");
    let conn = lab.refused(255, &["add", "db", "X", "dbname=x", host, &port, "conn=hots=y"]).await;
    assert!(conn.contains("hots"), "{conn}");

    let forced = lab.call(&["add", "db", "X", "dbname=nowhere", host, &port, "user=postgres", "--force"]);
    assert_eq!(forced.code, 0);
    assert_eq!(forced.stdout, "Added database \"X\"\n");
    assert!(forced.stderr.contains("Connection test failed for \"X\""), "{}", forced.stderr);
}

#[tokio::test]
async fn wrong_words_are_refused_and_change_nothing() {
    let lab = CliLab::start().await;
    let a = lab.db("A", "").await;
    for (words, complaint) in [
        (&["add", "db", "B"][..], "Cannot add database: must supply a database name to connect to"),
        (&["add", "db", "A", "dbname=x"], "Cannot add database: the name \"A\" already exists"),
        (&["add", "db", "B", "dbname=x", "colour=red"], "Unknown option 'colour'"),
        (&["add", "db"], "bucardo add db NAME"),
        (&["add", "cat", "B"], "Cannot add \"cat\""),
        (&["add", "goat", "x"], "Cannot add a goat"),
        (&["add"], "bucardo add "),
        (&["update", "db", "A", "cdate=now"], "Sorry, the value of cdate cannot be changed"),
        (&["update", "db", "A", "colour=red"], "Cannot change \"colour\""),
        (&["add", "dbgroup", "g", "Z"], "The database \"Z\" does not exist"),
        (&["frobnicate"], "Unknown command \"frobnicate\""),
        (&["list", "dbs", "--nonsense"], "unexpected argument '--nonsense' found"),
    ] {
        let refusal = lab.refused(1, words).await;
        assert!(refusal.starts_with(complaint), "{words:?}: {refusal}");
    }
    for (words, complaint) in [
        (&["add", "db", "B", "dbname=x", "type=dbase"][..], "Unknown database type: dbase"),
        (&["update", "db", "Z", "port=1"], "Could not find a database named \"Z\""),
        (&["remove", "db", "Z"], "No such database: Z"),
        (&["add", "db", "1b", "dbname=x"], "Invalid database name \"1b\""),
        (&["add", "db", "B", "dbname=x", "makedelta=perhaps"], "Invalid value for 'makedelta': must be true or false"),
        (&["add", "db", "B", "dbname=x", "status=odd"], "Invalid value for 'status': must be one of active, inactive"),
        (&["update", "db", "A", "port=x"], "Invalid value for 'port': must be numeric"),
        (&["add", "dbgroup", "g", "A:boss"], "Invalid database role: boss"),
        (&["update", "db", "A", "status=odd"], "Invalid value for 'status': must be one of active, inactive, stalled"),
        (&["update", "db", "A", "ssp=odd"], "Invalid value for 'ssp': must be true or false"),
        (&["remove", "dbgroup", "z"], "No such dbgroup: z"),
    ] {
        let refusal = lab.refused(255, words).await;
        assert!(refusal.starts_with(complaint), "{words:?}: {refusal}");
    }
    drop(a);
}

#[tokio::test]
async fn databases_and_groups_are_changed_word_by_word() {
    let lab = CliLab::start().await;
    let _databases = (lab.db("A", "").await, lab.db("B", "").await, lab.db("C", "").await);
    assert_eq!(
        lab.bucardo.run("update db A dbconn=sslmode=prefer password=GeHeim status=inactive ssp=1"),
        "Changed bucardo.db dbconn from *** to ***\nChanged bucardo.db dbpass from *** to ***\n\
         Changed bucardo.db status from active to inactive\nNo change needed for server_side_prepares\n"
    );
    assert_eq!(lab.control.value("SELECT dbpass FROM bucardo.db WHERE name = 'A'").await, "GeHeim");
    assert_eq!(
        lab.bucardo.run("add dbgroup g A:source B:t:pri=5"),
        "Created dbgroup \"g\"\nAdded database \"A\" to dbgroup \"g\" as source\nAdded database \"B\" to dbgroup \"g\" \
         as target\n"
    );
    assert_eq!(lab.bucardo.run("list dbgroup g"), "dbgroup: g  Members: A:source B:target:pri=5\n");
    assert_eq!(
        lab.bucardo.run("update dbgroup g A B:source C:full"),
        "Changed role of database \"B\" in dbgroup \"g\" from target to source\n\
         Added database \"C\" to dbgroup \"g\" as fullcopy\n"
    );
    assert_eq!(
        lab.bucardo.run("update dbgroup g C"),
        "Removed database \"B\" from dbgroup \"g\"\n\
         Removed database \"A\" from dbgroup \"g\"\n"
    );
    assert_eq!(lab.bucardo.run("update dbgroup g name=h"), "Changed name of dbgroup \"g\" to \"h\"\n");
    assert_eq!(
        lab.bucardo.run("update db A group=h:source,k"),
        "Added database \"A\" to dbgroup \"h\" as source\n\
         Created dbgroup \"k\"\nAdded database \"A\" to dbgroup \"k\" as target\n"
    );
    assert_eq!(lab.bucardo.run("update db A group=k"), "Removed database \"A\" from dbgroup \"h\"\n");
    assert_eq!(lab.bucardo.run("remove dbgroup k"), "Removed dbgroup \"k\"\n");
}

#[tokio::test]
async fn dry_run_and_no_change_nothing() {
    let lab = CliLab::start().await;
    let real = fresh_database("real").await;
    let before = lab.catalog().await;
    let words: Vec<String> =
        ["add", "db", "A", "--dry-run"].into_iter().map(str::to_owned).chain(real.words()).collect();
    let printed = lab.bucardo.call(&words).ok();
    assert_eq!(printed, "Added database \"A\"\n");
    assert_eq!(lab.catalog().await, before);
    let words: Vec<String> =
        ["add", "db", "A", "--confirm"].into_iter().map(str::to_owned).chain(real.words()).collect();
    let printed = lab.bucardo.call(&words).ok();
    assert!(printed.ends_with("Commit the changes? Y/N Changes have been rolled back\n"), "{printed}");
    assert_eq!(lab.catalog().await, before);
    let words: Vec<String> = ["add", "db", "A", "--quiet"].into_iter().map(str::to_owned).chain(real.words()).collect();
    assert_eq!(lab.bucardo.call(&words).ok(), "");
    assert_ne!(lab.catalog().await, before);
}
