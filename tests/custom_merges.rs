//! The same codes in every language at every point of a merge: they are told the same, and what they say has the same
//! effect.

use bucardo::custom::{Code, Hook, Language, open};

use crate::support::SyncLab;
use crate::support::codes::{LANGUAGES, code, diarist};

const DDL: &str = "CREATE TABLE orders (id int PRIMARY KEY, note text UNIQUE); \
    CREATE TABLE diary (n serial, hook text, language text, told text)";

const HOOKS: [Hook; 8] = [
    Hook::BeforeTxn,
    Hook::BeforeCheckRows,
    Hook::BeforeTriggerDisable,
    Hook::AfterTriggerDisable,
    Hook::AfterTableSync,
    Hook::BeforeTriggerEnable,
    Hook::AfterTriggerEnable,
    Hook::AfterTxn,
];

/// Decides by the key: whose row wins, an edited one, everyone's own, none.
fn judge(language: &str) -> &'static str {
    match language {
        "lua" => {
            "local id, rows = input.key.id, input.rows
             local told = id .. table.concat(input.dbs, ',') .. rows.a.note .. rows.b.note .. input.whenrun
             input.dbh.b:run('INSERT INTO diary (hook, language, told) VALUES ($1, $2, $3)', 'conflict', 'lua', told)
             if id == '1' then input.winner = 'a'
             elseif id == '2' then input.row = {id = 2, note = rows.a.note .. rows.b.note}
             elseif id == '3' then input.delete = true
             elseif id == '4' then rows.b.note = 'edited'; input.winner = 'b' end"
        }
        "perl" => {
            "my $input = shift;
             my ($id, $rows) = ($input->{key}{id}, $input->{rows});
             my $told = $id . join(',', @{$input->{dbs}}) . $rows->{a}{note} . $rows->{b}{note} . $input->{whenrun};
             $input->{dbh}{b}->do('INSERT INTO diary (hook, language, told) VALUES (?, ?, ?)', {},
                'conflict', 'perl', $told);
             if ($id == 1) { $input->{winner} = 'a' }
             elsif ($id == 2) { $input->{row} = {id => 2, note => $rows->{a}{note} . $rows->{b}{note}} }
             elsif ($id == 3) { $input->{delete} = 1 }
             elsif ($id == 4) { $rows->{b}{note} = 'edited'; $input->{winner} = 'b' }"
        }
        _ => {
            "-- db: b
             INSERT INTO diary (hook, language, told)
             SELECT 'conflict', 'sql', concat($1#>>'{key,id}', (SELECT string_agg(d, ',') FROM jsonb_array_elements_text($1->'dbs') d),
                $1#>>'{rows,a,note}', $1#>>'{rows,b,note}', $1->>'whenrun')
             RETURNING CASE $1#>>'{key,id}' WHEN '1' THEN '{\"winner\": \"a\"}'::jsonb
                WHEN '2' THEN jsonb_build_object('row', jsonb_build_object('id', 2, 'note', concat($1#>>'{rows,a,note}', $1#>>'{rows,b,note}')))
                WHEN '3' THEN '{\"delete\": true}'
                WHEN '4' THEN jsonb_build_object('winner', 'b', 'rows', jsonb_set($1->'rows', '{b,note}', '\"edited\"')) END"
        }
    }
}

/// Mends a clash at the source that it comes from.
fn mend(language: &str) -> &'static str {
    match language {
        "lua" => {
            "local told = input.database .. input.keys[1].id .. input.rows[1].note .. input.sqlstate .. input.attempts
             input.dbh.b:run('INSERT INTO diary (hook, language, told) VALUES ($1, $2, $3)', 'exception', 'lua', told)
             input.dbh.b:run('UPDATE orders SET note = note || $2 WHERE id = $1::int', input.keys[1].id, '-2')
             input.runagain = 1"
        }
        "perl" => {
            "my $input = shift;
             my $told = $input->{database} . $input->{keys}[0]{id} . $input->{rows}[0]{note} . $input->{sqlstate}
                . $input->{attempts};
             my $dbh = $input->{dbh}{b};
             $dbh->do('INSERT INTO diary (hook, language, told) VALUES (?, ?, ?)', {}, 'exception', 'perl', $told);
             $dbh->do('UPDATE orders SET note = note || ? WHERE id = ?', {}, '-2', $input->{keys}[0]{id});
             $input->{runagain} = 1;"
        }
        _ => {
            "-- db: b
             WITH said AS (INSERT INTO diary (hook, language, told) SELECT 'exception', 'sql', concat($1->>'database',
                    $1#>>'{keys,0,id}', $1#>>'{rows,0,note}', $1->>'sqlstate', $1->>'attempts')),
                mended AS (UPDATE orders SET note = note || '-2' WHERE id = ($1#>>'{keys,0,id}')::int)
             SELECT '{\"runagain\": 1}'::jsonb"
        }
    }
}

fn codes(language: &str) -> Vec<Code> {
    let of = |id: i32, hook: Hook, source: &str| Code {
        id,
        language: Language::parse(language).unwrap(),
        ..code(hook, source)
    };
    let told = (1..).zip(HOOKS).map(|(id, hook)| of(id, hook, &diarist(language, hook.word(), "b")));
    let rest = [of(20, Hook::Conflict, judge(language)), of(21, Hook::Exception, mend(language))];
    told.chain(rest).collect()
}

/// What codes of a language wrote into the diary, and what all have in the end.
async fn story(language: &str) -> (Vec<String>, Vec<String>) {
    let mut lab = SyncLab::masters(&["a", "b", "c"], &[], DDL, &["orders:id"]).await;
    lab.on("a").run("INSERT INTO orders SELECT n, 'old' || n FROM generate_series(1, 5) n").await;
    lab.settle().await;
    (lab.hosts, lab.sync.codes) = (Some(open()), codes(language));
    lab.renew();
    let mut diary = Vec::new();
    let mut note = async |lab: &SyncLab, what: &str| {
        let read = "WITH gone AS (DELETE FROM diary RETURNING *) SELECT hook, told FROM gone ORDER BY n";
        diary.push(what.to_owned());
        diary.extend(lab.on("b").rows(read).await);
    };
    assert!(lab.merge().await.unwrap().is_empty());
    note(&lab, "nothing").await;
    lab.on("a").run("UPDATE orders SET note = 'a' || id").await;
    lab.on("b").run("UPDATE orders SET note = 'b' || id; INSERT INTO orders VALUES (6, 'b6')").await;
    assert_eq!(lab.merge().await.unwrap().conflicts, 5, "{language}");
    note(&lab, "conflicts").await;
    lab.on("a").run("INSERT INTO orders VALUES (7, 'x')").await;
    lab.on("b").run("INSERT INTO orders VALUES (8, 'x')").await;
    lab.settle().await;
    note(&lab, "a clash").await;
    lab.assert_same().await;
    (diary, lab.on("c").rows("SELECT id || note FROM orders ORDER BY id").await)
}

#[tokio::test]
async fn codes_of_every_language_are_told_the_same_in_a_merge_and_do_the_same() {
    let (diary, rows) = story(LANGUAGES[0]).await;
    assert_eq!(rows, ["1a1", "2a2b2", "4edited", "5b5", "6b6", "7x", "8x-2"]);
    for line in [
        "before_txn|s|swap|a|0|0|0",
        "before_trigger_disable|s|swap|a|11|0|0",
        "conflict|2a,ba2b2conflict",
        "exception|a8x235051",
        "after_txn|s|swap|a|11|",
    ] {
        assert!(diary.iter().any(|it| it.starts_with(line)), "{line}: {diary:#?}");
    }
    for hook in HOOKS {
        assert!(diary.iter().any(|it| it.starts_with(&format!("{}|", hook.word()))), "{hook:?}: {diary:?}");
    }
    for language in &LANGUAGES[1..] {
        assert_eq!(story(language).await, (diary.clone(), rows.clone()), "{language}");
    }
}
