//! The examples of `deploy/custom_code/`, in each language, run by the daemon.

use std::path::PathBuf;
use std::time::Duration;

use bucardo::custom::{Code, Hook, Language, open};

use crate::support::codes::code;
use crate::support::smtp::{Mail, MailServer};
use crate::support::{SyncLab, Town, wait};

const WITHIN: Duration = Duration::from_secs(60);
const LANGUAGES: [&str; 3] = ["lua", "pl", "sql"];

fn file(name: &str, language: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("deploy/custom_code");
    folder.join(format!("{name}.{language}"))
}

fn example(name: &str, language: &str) -> String {
    format!("src_code={}", file(name, language).display())
}

/// Two masters change the same keys, unknown to each other; codes of each language decide, and all databases agree.
#[tokio::test]
async fn examples_that_decide_conflicts() {
    let ddl: String = LANGUAGES
        .iter()
        .map(|language| {
            format!(
                "CREATE TABLE counters_{language} (id int PRIMARY KEY, from_a bigint, from_b bigint);
                CREATE TABLE notes_{language} (id int PRIMARY KEY, note text);
                CREATE TABLE customers_{language} (id int PRIMARY KEY, owner text, name text);"
            )
        })
        .collect();
    let mut town = Town::found(&ddl).await;
    town.sync_among(town.ports(), "A:source,B:source,C:target", "");
    for language in LANGUAGES {
        for (code, table) in [("sum_counters", "counters"), ("longer_text", "notes"), ("route", "customers")] {
            let (name, relation) = (format!("{code}.{language}"), format!("relation=public.{table}_{language}"));
            town.bucardo
                .call(&["add", "customcode", &name, "whenrun=conflict", &example(code, language), &relation])
                .ok();
        }
        town.a
            .run(&format!(
                "INSERT INTO counters_{language} VALUES (1, 10, 2), (2, 1, 1); INSERT INTO notes_{language} VALUES (1, 'short'), (2, 'as long'), (3, NULL), (4, 'x'), (5, 'x');
                DELETE FROM notes_{language} WHERE id > 3;
                INSERT INTO customers_{language} VALUES (1, 'B', 'of A'), (2, 'A', 'of A')"
            ))
            .await;
        town.b
            .run(&format!(
                "INSERT INTO counters_{language} VALUES (1, 9, 11); INSERT INTO notes_{language} VALUES (1, 'a longer text'), (2, 'as_long'), (3, ''), (4, NULL), (5, '');
                INSERT INTO customers_{language} VALUES (1, 'B', 'of B'), (2, 'A', 'of B')"
            ))
            .await;
    }
    assert!(town.bucardo.run("validate all").contains("OK"));
    let daemon = town.daemon().await;
    town.settle(WITHIN).await;
    for language in LANGUAGES {
        wait::until_equal("the counters", WITHIN, &vec!["1|10|11".to_owned(), "2|1|1".to_owned()], async || {
            town.b.rows(&format!("SELECT * FROM counters_{language} ORDER BY id")).await
        })
        .await;
        // No text is as long as an empty one, and longer than a row that is gone.
        let notes = format!("SELECT id, coalesce(note, 'none') FROM notes_{language} ORDER BY id");
        let wanted = ["1|a longer text", "2|as long", "3|none", "4|none", "5|"];
        assert_eq!(town.c.rows(&notes).await, wanted, "{language}");
        let customers = town.c.rows(&format!("SELECT id, name FROM customers_{language} ORDER BY id")).await;
        assert_eq!(customers, ["1|of B", "2|of A"], "{language}");
    }
    daemon.stop().await;
}

/// A function is called after each run of the sync, and a large run is told in log and mail.
#[tokio::test]
async fn examples_that_follow_a_run() {
    let mut town = Town::found("CREATE TABLE orders (id int PRIMARY KEY)").await;
    town.sync("");
    town.b
        .run(
            "CREATE TABLE totals (orders bigint);
            CREATE FUNCTION refresh_totals() RETURNS void LANGUAGE sql AS 'INSERT INTO totals SELECT count(*) FROM orders'",
        )
        .await;
    for language in LANGUAGES {
        for (code, when) in [("call_function", "after_sync"), ("mail_on_warning", "after_txn")] {
            let (name, when) = (format!("{code}.{language}"), format!("whenrun={when}"));
            town.bucardo.call(&["add", "customcode", &name, &when, &example(code, language), "sync=s"]).ok();
        }
    }
    assert!(town.bucardo.run("validate all").contains("OK"));
    let server = MailServer::start();
    let port = server.port;
    town.bucardo.run(&format!("set default_email_host=127.0.0.1 default_email_port={port}"));
    town.bucardo.run("set default_email_from=bucardo@here.test default_email_to=dba@here.test");
    let mut daemon = town.daemon().await;
    daemon.announce("1000 changes in one run");
    town.a.run("INSERT INTO orders SELECT generate_series(1, 1000)").await;
    town.settle(WITHIN).await;
    wait::until("three calls", WITHIN, async || {
        let calls = town.b.number("SELECT count(*) FROM totals WHERE orders = 1000").await;
        if calls >= 3 { Ok(()) } else { Err(calls) }
    })
    .await;
    wait::until("the mails", WITHIN, async || {
        let texts: String = server.mails().iter().map(Mail::body).collect();
        let codes =
            LANGUAGES.iter().filter(|language| texts.contains(&format!("Custom code: mail_on_warning.{language}")));
        let codes = codes.count();
        if codes == 3 && texts.contains("1000 changes in one run") { Ok(()) } else { Err(texts) }
    })
    .await;
    let log = daemon.log();
    for language in LANGUAGES {
        let name = format!("mail_on_warning.{language}");
        let told = log.lines().filter(|line| line.contains("1000 changes in one run") && line.contains(&name)).count();
        assert!(told >= 1, "{name}: {log}");
    }
    daemon.stop().await;
}

/// A row of the source clashes with one that only a target has: the code moves that one out of the way, and the row arrives.
#[tokio::test]
async fn examples_that_mend_refused_rows() {
    let mut town = Town::found("CREATE TABLE users (id int PRIMARY KEY, email text UNIQUE)").await;
    town.sync("");
    for (language, id) in LANGUAGES.into_iter().zip(1..) {
        let words = ["add", "customcode", language, "whenrun=exception", &example("unique_email", language)];
        town.bucardo.call(&[&words[..], &["relation=public.users"]].concat()).ok();
        assert!(town.bucardo.run("validate all").contains("OK"));
        let mut daemon = town.daemon().await;
        daemon.announce("an e-mail address was taken");
        let email = format!("{id}@example.org");
        town.b.run(&format!("INSERT INTO users VALUES ({id}00, '{email}')")).await;
        town.a.run(&format!("INSERT INTO users VALUES ({id}, '{email}'), ({id}0, 'another {id}')")).await;
        let wanted =
            [format!("{id}|{email}"), format!("{id}0|another {id}"), format!("{id}00|taken.{id}00.{email}")].to_vec();
        wait::until_equal(language, WITHIN, &wanted, async || {
            town.b.rows(&format!("SELECT * FROM users WHERE id IN ({id}, {id}0, {id}00) ORDER BY id")).await
        })
        .await;
        town.caught_up(&["B", "C"], WITHIN).await;
        daemon.stop().await;
        town.bucardo.run(&format!("remove customcode {language}"));
    }
}

/// Two masters give the same address to different rows: whichever of them refuses the other's, its row gets another one,
/// and both have all rows.
#[tokio::test]
async fn examples_that_mend_refused_rows_of_merges() {
    let ddl = "CREATE TABLE users (id int PRIMARY KEY, email text UNIQUE)";
    let mut lab = SyncLab::masters(&["a", "b"], &[], ddl, &["users:id"]).await;
    lab.hosts = Some(open());
    for (language, id) in LANGUAGES.into_iter().zip(1..) {
        let source = std::fs::read_to_string(file("unique_email", language)).unwrap();
        let spoken = Language::parse(if language == "pl" { "perl" } else { language }).unwrap();
        lab.sync.codes = vec![Code { language: spoken, ..code(Hook::Exception, &source) }];
        lab.renew();
        lab.on("a").run(&format!("INSERT INTO users VALUES ({id}, '{id}@example.org')")).await;
        lab.on("b").run(&format!("INSERT INTO users VALUES ({id}0, '{id}@example.org')")).await;
        lab.settle().await;
        let taken = format!("SELECT count(*) FROM users WHERE email LIKE 'taken.{id}%.{id}@example.org'");
        assert_eq!(lab.on("a").number(&taken).await, 1, "{language}");
        lab.assert_same().await;
    }
}
