//! Custom codes in a running daemon, in every language: each hook, what a code is told there, and what it may do.

use std::time::Duration;

use bucardo::custom::Language;
use serde_json::{Value, json};

use crate::support::languages::{LANGUAGES, diarist, seen_by};
use crate::support::{Daemon, Town, wait};

const WITHIN: Duration = Duration::from_secs(60);
const DDL: &str = "CREATE TABLE orders (id int PRIMARY KEY, note text); \
    CREATE TABLE diary (n serial, hook text, language text, told text)";

/// The hooks that a run of a pair comes to, in order.
const HOOKS: [&str; 10] = [
    "before_sync",
    "before_txn",
    "before_check_rows",
    "before_trigger_disable",
    "after_trigger_disable",
    "after_table_sync",
    "before_trigger_enable",
    "after_trigger_enable",
    "after_txn",
    "after_sync",
];

async fn add(town: &Town, name: &str, hook: &str, language: &str, source: &str) {
    let sql = "WITH code AS (INSERT INTO bucardo.customcode (name, whenrun, language, getdbh, src_code)
            VALUES ($1, $2, $3, true, $4) RETURNING id)
        INSERT INTO bucardo.customcode_map (code, sync) SELECT id, 's' FROM code";
    town.control.client.execute(sql, &[&name, &hook, &language, &source]).await.unwrap();
}

async fn town() -> Town {
    let town = Town::found(DDL).await;
    for (name, database) in [("A", &town.a), ("B", &town.b)] {
        town.bucardo.add_db(name, database);
    }
    town.bucardo.run("add sync s tables=orders dbs=A:source,B:target");
    town
}

/// The diary since the last time it was read: at which hook, and what codes were told there, the same in each language.
async fn diary(town: &Town) -> Vec<(String, Value)> {
    let read = "WITH gone AS (DELETE FROM diary RETURNING *) SELECT hook, language, told FROM gone ORDER BY n";
    let rows = town.b.client.query(read, &[]).await.unwrap();
    let read = |row: &tokio_postgres::Row| -> (String, String, Value) {
        (row.get(0), row.get(1), serde_json::from_str(row.get(2)).unwrap())
    };
    let of_three = |languages: &[tokio_postgres::Row]| {
        let [lua, perl, sql] = languages else { panic!("a language is missing") };
        let (hook, last, input) = read(sql);
        assert_eq!(last, "sql");
        for (language, row) in [(Language::Lua, lua), (Language::Perl, perl)] {
            let seen =
                seen_by(language, &input, |db| if db == "A" { town.a.name.clone() } else { town.b.name.clone() });
            assert_eq!(read(row), (hook.clone(), language.word().to_owned(), seen));
        }
        (hook, input)
    };
    rows.chunks(3).map(of_three).collect()
}

/// What a code of the controller is told, for the sync or for a table.
fn of_controller(town: &Town, hook: &str, kidloop: i32, brought: i64) -> Value {
    let goat = json!({"id": 1, "schemaname": "public", "tablename": "orders", "safeschema": "\"public\"", "safetable": "\"orders\"",
        "reltype": "table", "pkey": ["id"]});
    let of_table = |count: i64| if brought > 0 { json!({"public": {"orders": count}}) } else { json!({}) };
    json!({
        "version": env!("CARGO_PKG_VERSION"), "whenrun": hook, "syncname": "s", "synctype": "pushdelta", "goatlist": [goat], "rellist": [goat],
        "sourcename": "A", "targetname": "", "kidloop": kidloop, "attempts": 0, "ran_on": town.b.name,
        "message": "", "warning": "", "error": "", "nextcode": false, "lastcode": false, "endsync": false, "runagain": false, "skip": false,
        "sendmail": [], "shared": {}, "dbh": {"A": "A", "B": "B"}, "sourcedbh": "A",
        "deltacount": {"all": brought, "allsource": brought, "alltarget": 0, "source": of_table(brought), "target": of_table(0)},
        "dmlcount": {
            "allinserts": {"source": 0, "target": brought}, "allupdates": {"source": 0, "target": 0},
            "alldeletes": {"source": 0, "target": 0}, "I": {"source": of_table(0), "target": of_table(brought)},
            "U": {"source": {}, "target": {}}, "D": {"source": of_table(0), "target": of_table(0)}, "N": {"source": {}, "target": {}},
        },
    })
}

/// The same codes in each language at every hook: each is told the same, in the order of a run. A run that finds nothing
/// comes to the hooks before its look only.
#[tokio::test]
async fn codes_of_every_language_run_at_every_hook_and_are_told_the_same() {
    let town = town().await;
    for hook in HOOKS {
        for language in LANGUAGES {
            let word = language.word();
            // Hooks of versions 3 and 4 have other names.
            let hook = if hook == "before_trigger_disable" { "before_trigger_drop" } else { hook };
            add(&town, &format!("{hook} in {word}"), hook, word, &diarist(language, "B")).await;
        }
    }
    for hook in ["before_sync", "after_sync"] {
        for language in LANGUAGES {
            let (name, word) = (format!("{hook} of orders in {}", language.word()), language.word());
            add(&town, &name, hook, word, &diarist(language, "B")).await;
            let of_table = "UPDATE bucardo.customcode_map SET sync = NULL, goat = (SELECT id FROM bucardo.goat)
                WHERE code = (SELECT id FROM bucardo.customcode WHERE name = $1)";
            town.control.client.execute(of_table, &[&name]).await.unwrap();
        }
    }
    add(&town, "speaker", "after_txn", "perl", "print STDERR qq{spoken\\n}; $_->{message} = 'seen'").await;
    add(&town, "teller", "after_sync", "sql", "SELECT '{\"message\": \"has seen it\"}'::jsonb").await;
    let mut daemon = town.daemon().await;
    daemon.announce("spoken");
    town.bucardo.run("kick s 60");
    diary(&town).await;
    town.bucardo.run("kick s 60");
    let hooks = |told: &[(String, Value)]| told.iter().map(|(hook, _)| hook.clone()).collect::<Vec<_>>();
    let told = diary(&town).await;
    // The run at the start may go on meanwhile.
    let first = told.iter().position(|(hook, _)| hook == "before_sync").unwrap();
    let told = &told[first..first + 4];
    assert_eq!(hooks(told), ["before_sync", "before_sync", "before_txn", "before_check_rows"], "nothing to do");
    assert_eq!(told[0].1, of_controller(&town, "before_sync", 0, 0));
    assert_eq!(told[1].1, told[0].1, "of a table");

    town.a.run("INSERT INTO orders VALUES (1, 'x'), (2, 'y')").await;
    town.bucardo.run("kick s 60");
    daemon.logs("CTL (s) has seen it sync=s code=teller", WITHIN).await;
    daemon.logs("KID (s) seen sync=s code=speaker", WITHIN).await;
    daemon.logs("KID (s) Warning: spoken sync=s code=speaker", WITHIN).await;
    let last = "SELECT count(*) FROM diary WHERE hook = 'after_sync'";
    wait::until_equal("the last codes", WITHIN, &6, async || town.b.number(last).await).await;
    // The change kicks the sync, and so does the request: one of the two runs finds nothing.
    let told = diary(&town).await;
    let first = told.iter().position(|(hook, _)| hook == "before_trigger_disable").unwrap();
    let told = &told[first..first + HOOKS.len() - 2];
    assert_eq!(hooks(told)[..7], HOOKS[3..]);
    for (place, (hook, input)) in told[..6].iter().enumerate() {
        let written = if place < 2 { 0 } else { 2 };
        let counts = (&input["deltacount"]["allsource"], &input["dmlcount"]["allinserts"]["target"]);
        assert_eq!(counts, (&json!(2), &json!(written)), "{hook}");
    }
    assert_eq!(told[6].1, of_controller(&town, "after_sync", 0, 2));
    assert_eq!(told[7], told[6], "of a table");
    daemon.assert_quiet();
    daemon.stop().await;
}

/// A code that asks for a failure fails its run, by name, and the sync goes on once it is gone; one that leaves the round
/// (`endsync`) is no failure.
#[tokio::test]
async fn codes_that_fail_or_leave_are_told_and_nothing_of_their_round_is_done() {
    let town = town().await;
    add(&town, "no way", "before_trigger_enable", "lua", "input.error = 'not today'").await;
    let mut daemon = town.daemon().await;
    // A reload may meet the KID in its next try.
    let last = "the last round of a KID that was to end failed";
    for word in ["round failed, KID is restarted", "KID is stalled", "sync cannot run, trying again", last] {
        daemon.announce(word);
    }
    town.a.run("INSERT INTO orders VALUES (1, 'x')").await;
    daemon.logs("asked to end: not today", WITHIN).await;
    assert!(town.bucardo.run("status s").contains("not today"));
    assert_eq!(town.b.number("SELECT count(*) FROM orders").await, 0);

    let change = "UPDATE bucardo.customcode SET src_code = 'input.endsync = 1'";
    town.control.run(change).await;
    town.bucardo.run("reload sync s");
    daemon.logs("a custom code ended the round (endsync)", WITHIN).await;
    assert_eq!(town.b.number("SELECT count(*) FROM orders").await, 0);

    let change = "UPDATE bucardo.customcode SET whenrun = 'before_sync', src_code = 'input.error = \"not at all\"'";
    town.control.run(change).await;
    town.bucardo.run("reload sync s");
    daemon.logs("asked to end: not at all", WITHIN).await;
    assert_eq!(town.b.number("SELECT count(*) FROM orders").await, 0);

    town.control.run("DELETE FROM bucardo.customcode").await;
    town.bucardo.run("reload sync s");
    wait::until_equal("the row", WITHIN, &1, async || town.b.number("SELECT count(*) FROM orders").await).await;
    daemon.stop().await;
}

/// A code that hangs in a statement is stopped at its limit, in the transaction of the round and on a connection of its
/// own: nothing of it goes on in the database, and the locks of the round are free.
#[tokio::test]
async fn a_code_that_hangs_holds_no_transaction_beyond_its_limit() {
    let mut town = town().await;
    town.bucardo.run("set customcode_timeout=1");
    town.bucardo.configure("[supervision.kid]\nrestart = { delay_initial = \"1h\", delay_max = \"1h\" }");
    add(&town, "hangs", "before_trigger_enable", "lua", "input.dbh.B:run('SELECT pg_sleep(600)')").await;
    let mut daemon = town.daemon().await;
    daemon.announce("round failed, KID is restarted");
    daemon.announce("sync cannot run, trying again");
    town.a.run("INSERT INTO orders VALUES (1, 'x')").await;
    daemon.logs("was stopped: it took longer than 1s (customcode_timeout)", WITHIN).await;
    let open = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND xact_start IS NOT NULL \
        AND application_name LIKE 'bucardo%'";
    wait::until_equal("no transaction", Duration::from_secs(5), &0, async || town.b.number(open).await).await;
    town.control.run("UPDATE bucardo.customcode SET whenrun = 'before_sync'").await;
    town.bucardo.run("reload sync s");
    daemon.logs("sync cannot run, trying again", WITHIN).await;
    wait::until_equal("no transaction", Duration::from_secs(5), &0, async || town.b.number(open).await).await;
    daemon.stop().await;
}

/// Two masters and a target that follows them: merge and follower run the codes, each with its own databases, and the
/// codes after the run hear of both.
#[tokio::test]
async fn merges_and_those_that_follow_run_codes() {
    let town = Town::found(DDL).await;
    for (name, database) in [("A", &town.a), ("B", &town.b), ("C", &town.c)] {
        town.bucardo.add_db(name, database);
    }
    town.bucardo.run("add sync s tables=orders dbs=A:source,B:source,C:target");
    let who = "local who = input.synctype .. ' ' .. input.sourcename .. ' ' .. input.targetname
        input.targetdbh:run('INSERT INTO diary (hook, language, told) VALUES ($1, $2, $3)', input.whenrun, 'lua', who)";
    add(&town, "who", "after_table_sync", "lua", who).await;
    add(&town, "sum", "after_sync", "lua", "input.message = 'brought ' .. input.dmlcount.allinserts.target").await;
    let daemon = town.daemon().await;
    town.bucardo.run("kick s 60");
    town.a.run("INSERT INTO orders VALUES (1, 'x')").await;
    daemon.logs("brought 2", WITHIN).await;
    let read = "SELECT DISTINCT hook, told FROM diary";
    assert_eq!(town.b.rows(read).await, ["after_table_sync|swap A B"]);
    assert_eq!(town.c.rows(read).await, ["after_table_sync|pushdelta A C"]);
    daemon.assert_quiet();
    daemon.stop().await;
}

/// A code adds up at the target what the rounds write there, and the daemon is killed in the middle again and again: the
/// sum is that of the rows.
#[tokio::test]
async fn a_sum_that_a_code_keeps_is_right_however_often_the_daemon_is_killed() {
    let town = town().await;
    town.b.run("CREATE TABLE sums (total bigint); INSERT INTO sums VALUES (0)").await;
    let add_up = "UPDATE sums SET total = total + ($1->'dmlcount'->'allinserts'->>'target')::bigint";
    add(&town, "sum", "before_trigger_enable", "sql", add_up).await;
    let mut rows = 0;
    for kill in 0..5 {
        let daemon = town.daemon().await;
        for _ in 0..20 {
            rows += 50;
            town.a.run(&format!("INSERT INTO orders SELECT n, '' FROM generate_series({rows} - 49, {rows}) n")).await;
        }
        let least = kill * 1000 + 100;
        wait::until("some rows", WITHIN, async || {
            let there = town.b.number("SELECT count(*) FROM orders").await;
            if there >= least { Ok(()) } else { Err(there) }
        })
        .await;
        daemon.kill();
    }
    let daemon = town.daemon().await;
    wait::until_equal("all rows", WITHIN, &rows, async || town.b.number("SELECT count(*) FROM orders").await).await;
    assert_eq!(town.b.number("SELECT total FROM sums").await, rows);
    daemon.stop().await;
}

/// A code that cannot be run keeps its sync from being started, by name, and nothing else; once it is mended the sync is
/// started like any other.
#[tokio::test]
async fn a_sync_whose_code_does_not_compile_is_not_started_and_says_so() {
    let town = town().await;
    town.bucardo.run("add sync t tables=orders dbs=A:source,B:target");
    for (name, language, source) in [("bad perl", "perl", "my $x = ;"), ("bad lua", "lua", "x = = 1")] {
        add(&town, name, "after_txn", language, source).await;
        let mut daemon = town.daemon().await;
        daemon.logs(&format!("sync is stalled sync=s error=\"custom code '{name}' does not compile"), WITHIN).await;
        let status = town.bucardo.call(&["status", "s"]);
        assert!(status.stdout.contains(&format!("custom code \"{name}\" does not compile")), "{}", status.stdout);
        let failed = town.bucardo.call(&["reload", "sync", "s"]);
        let says_why = |text: &str| text.contains(&format!("custom code \"{name}\" does not compile"));
        assert!(failed.code == 1 && says_why(&failed.stderr), "{failed:?}");
        let killed = town.bucardo.call(&["kick", "s", "60"]);
        assert!(killed.stdout.contains("KILLED!") && says_why(&killed.stdout), "{killed:?}");
        let table = town.bucardo.run("status");
        assert!(table.contains("Stalled"), "{table}");
        let id = if language == "perl" { 1 } else { 2 };
        town.a.run(&format!("INSERT INTO orders VALUES ({id}, 'x')")).await;
        town.bucardo.run("kick t 60");
        assert_eq!(
            town.b.value(&format!("SELECT note FROM orders WHERE id = {id}")).await,
            "x",
            "the other sync flows"
        );
        let mended = "UPDATE bucardo.customcode SET src_code = '' WHERE name = $1";
        town.control.client.execute(mended, &[&name]).await.unwrap();
        town.bucardo.run("reload sync s");
        town.bucardo.run("kick s 60");
        daemon.announce("does not compile");
        daemon.assert_quiet();
        daemon.stop().await;
    }
}

/// Where there is no Perl, a sync with such a code is not started and says what is missing; others flow.
#[tokio::test]
async fn a_sync_whose_codes_lack_perl_is_not_started_and_says_so() {
    let town = town().await;
    town.bucardo.run("add sync t tables=orders dbs=A:source,B:target");
    add(&town, "old", "after_txn", "perl", "1").await;
    let empty = town.bucardo.home().join("nothing");
    std::fs::create_dir(&empty).unwrap();
    let mut daemon = Daemon::start_with(&town.bucardo, &[("PATH", empty)]).await;
    daemon.announce("sync is stalled sync=s error=\"custom code 'old' cannot be run: there is no program 'perl'");
    daemon.logs("sync is stalled sync=s", WITHIN).await;
    let status = town.bucardo.call(&["status", "s"]);
    assert!(status.stdout.contains("there is no program \"perl\" in the PATH"), "{}", status.stdout);
    town.a.run("INSERT INTO orders VALUES (1, 'x')").await;
    town.bucardo.run("kick t 60");
    assert_eq!(town.b.value("SELECT note FROM orders WHERE id = 1").await, "x", "the other sync flows");
    daemon.assert_quiet();
    daemon.stop().await;
}
