//! Functions that codes call may set what they like: nothing of it stays, neither for the round nor for those that follow.

use bucardo::catalog::Role;
use bucardo::custom::{Code, Hook, Language, open};
use bucardo_actors::model::Reason;
use bucardo_actors::ports::{Rounds, Watch};

use crate::support::SyncLab;
use crate::support::codes::code;

/// `mischief` notes which settings a code finds, and sets others: for the transaction, or for the session.
const DDL: &str = r#"CREATE TABLE orders (id int PRIMARY KEY, at timestamptz, raw bytea, amount float8, span interval);
    CREATE TABLE seen (settings text);
    CREATE TABLE fired (what int);
    CREATE FUNCTION fire() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.fired VALUES (1);
        RETURN NULL; END $$;
    CREATE TRIGGER fire AFTER INSERT ON orders FOR EACH ROW WHEN (current_setting('my.writer', true) IS NULL)
        EXECUTE FUNCTION fire();
    CREATE FUNCTION mischief(is_local bool) RETURNS json LANGUAGE plpgsql AS $$ DECLARE it text; BEGIN
        -- One call of a code may ask for each of many conflicts.
        IF current_setting('role') <> 'none' THEN
            RETURN '{}';
        END IF;
        INSERT INTO public.seen SELECT concat_ws('|', current_setting('DateStyle'), current_setting('bytea_output'),
            current_setting('enable_seqscan'), current_setting('random_page_cost'), current_setting('cpu_tuple_cost'),
            current_setting('search_path'), current_setting('statement_timeout'), current_setting('role'), session_user);
        FOREACH it IN ARRAY ARRAY['search_path=nowhere', 'DateStyle=German', 'bytea_output=escape', 'TimeZone=Asia/Tokyo',
            'extra_float_digits=-10', 'IntervalStyle=sql_standard', 'statement_timeout=1h', 'lock_timeout=1h', 'enable_seqscan=off',
            'enable_indexscan=off', 'session_replication_role=local', 'row_security=on', 'default_transaction_read_only=on',
            'bucardo.since=x', 'transaction_read_only=on', 'session_authorization=postgres', 'role=pg_monitor']
        LOOP
            PERFORM set_config(split_part(it, '=', 1), split_part(it, '=', 2), is_local);
        END LOOP;
        RETURN '{}';
    END $$"#;

/// What codes find: what their role has anywhere else, and the output forms of rounds.
const FOUND: &str = "ISO, MDY|hex|on|4|0.01|\"$user\", public|30s|none|postgres";

const HOOKS: [Hook; 7] = [
    Hook::BeforeCheckRows,
    Hook::BeforeTriggerDisable,
    Hook::AfterTriggerDisable,
    Hook::Conflict,
    Hook::AfterTableSync,
    Hook::BeforeTriggerEnable,
    Hook::AfterTriggerEnable,
];

/// At every hook one that asks both databases.
fn codes(language: Language, is_local: bool) -> Vec<Code> {
    let source = |db: &str| match language {
        Language::Lua => {
            format!("for _, it in ipairs{{'a', 'b'}} do input.dbh[it]:value('SELECT public.mischief({is_local})') end")
        }
        Language::Perl => format!("$_->do('SELECT public.mischief({is_local})') for @{{ $_[0]{{dbh}} }}{{'a', 'b'}}"),
        Language::Sql => format!("-- db: {db}\nSELECT public.mischief({is_local})"),
    };
    let dbs: &[&str] = if language == Language::Sql { &["a", "b"] } else { &["a"] };
    let all = HOOKS.iter().flat_map(|hook| dbs.iter().map(|db| (*hook, source(db))));
    (1..).zip(all).map(|(id, (hook, source))| Code { id, language, ..code(hook, &source) }).collect()
}

fn lend(lab: &mut SyncLab, language: Language, is_local: bool) {
    lab.hosts = Some(open());
    lab.sync.codes = codes(language, is_local);
    lab.renew();
}

async fn change(lab: &SyncLab, db: &str, round: i32) {
    let row = format!("now() + interval '{round} s', '\\x00ff', 0.1::float8 + 0.2, interval '1 day -2 hours'");
    lab.on(db)
        .run(&format!(
            "SET my.writer = 'x'; INSERT INTO orders SELECT n, {row} FROM generate_series(1, 20) n
             ON CONFLICT (id) DO UPDATE SET at = excluded.at"
        ))
        .await;
}

async fn assert_untouched(lab: &SyncLab, what: &str) {
    for db in ["a", "b"] {
        let seen = lab.on(db).rows("SELECT DISTINCT settings FROM seen").await;
        assert_eq!(seen, [FOUND], "{what}, on {db}");
        assert_eq!(lab.on(db).value("SELECT count(*) FROM fired").await, "0", "{what}, on {db}: triggers fired");
    }
}

const WAYS: [(Language, bool); 6] = [
    (Language::Lua, false),
    (Language::Lua, true),
    (Language::Perl, false),
    (Language::Perl, true),
    (Language::Sql, false),
    (Language::Sql, true),
];

#[tokio::test]
async fn rounds_of_a_pair_keep_their_settings() {
    let mut lab = SyncLab::start(&["b"], DDL, &["orders:id"]).await;
    for (language, is_local) in WAYS {
        lend(&mut lab, language, is_local);
        for round in 0..3 {
            change(&lab, "a", round).await;
            assert_eq!(lab.round("b").await.unwrap().inserts, 20, "{language:?} {is_local}");
            lab.assert_same().await;
        }
        assert_untouched(&lab, &format!("{language:?} {is_local}")).await;
    }
}

#[tokio::test]
async fn merges_keep_their_settings() {
    let mut lab = SyncLab::masters(&["a", "b"], &[], DDL, &["orders:id"]).await;
    for (language, is_local) in WAYS {
        lend(&mut lab, language, is_local);
        for round in 0..3 {
            change(&lab, "a", round).await;
            change(&lab, "b", round + 10).await;
            assert_eq!(lab.merge().await.unwrap().conflicts, 20, "{language:?} {is_local}");
            lab.assert_same().await;
        }
        assert_untouched(&lab, &format!("{language:?} {is_local}")).await;
    }
}

#[tokio::test]
async fn whole_copies_keep_their_settings() {
    let mut lab = SyncLab::start(&["b"], DDL, &["orders:id"]).await;
    lab.renew_as(Role::Fullcopy).await;
    // The source of a copy is only read.
    lab.on("a")
        .run(
            "DROP FUNCTION mischief; CREATE FUNCTION mischief(bool) RETURNS json LANGUAGE sql AS $$ SELECT '{}'::json $$; \
        INSERT INTO seen SELECT '' WHERE false",
        )
        .await;
    for (language, is_local) in WAYS {
        lend(&mut lab, language, is_local);
        change(&lab, "a", 0).await;
        let mut copies = lab.copies("b");
        for _ in 0..2 {
            assert_eq!(copies.round(Reason::Request, Watch::default()).await.unwrap().inserts, 20);
            lab.assert_same().await;
        }
        let what = format!("{language:?} {is_local}");
        assert_eq!(lab.on("b").rows("SELECT DISTINCT settings FROM seen").await, [FOUND], "{what}");
        assert_eq!(lab.on("b").value("SELECT count(*) FROM fired").await, "0", "{what}: triggers fired");
    }
}
