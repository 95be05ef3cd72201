//! Rows that codes in Perl are told have the forms that handles give: booleans that are true or false, arrays, bytes.

use bucardo::custom::{Code, Hook, Language, open};

use crate::support::SyncLab;
use crate::support::codes::code;

const DDL: &str = "CREATE DOMAIN switch AS boolean; \
    CREATE TABLE items (id int PRIMARY KEY, act switch, tags text[], raw bytea, note text UNIQUE)";

/// What is told of a row is what a handle finds.
const ALIKE: &str = r"
    my $seen = sub { my $row = shift; join '|', map { my $value = $row->{$_};
        !defined $value ? 'undef' : ref $value ? join(',', 'list', @$value) : unpack('H*', $value) } qw(id act tags raw note) };
    my $alike = sub { my ($row, $db) = @_;
        my $found = $seen->($i->{dbh}{$db}->selectrow_hashref('SELECT * FROM items WHERE id = ?', undef, $row->{id}));
        my $told = $seen->($row); die qq{$db has $found, told was $told} if $found ne $told };
";

fn perl(id: i32, hook: Hook, source: &str) -> Code {
    let source = format!("my $i = shift;{ALIKE}{source}");
    Code { id, language: Language::Perl, ..code(hook, &source) }
}

/// A flag that is off is false, and rows come back as they were read, edited or taken from a handle.
#[tokio::test]
async fn perl_codes_are_told_rows_as_handles_give_them() {
    let judge = perl(
        1,
        Hook::Conflict,
        r#"my ($id, $info, $rows) = ($i->{key}{id}, $i->{rowinfo}, $i->{rows});
        $alike->($info->{sourcerow}, 'a'); $alike->($info->{targetrow}, 'b'); $alike->($rows->{$_}, $_) for @{$i->{dbs}};
        if ($id == 1) { $info->{action} = $info->{sourcerow}{act} ? 1 : 2 }
        elsif ($id == 2) {
            my $row = $rows->{b};
            ($row->{act}, $row->{raw}) = (!$row->{act}, "$row->{raw}\0\xff");
            push @{$row->{tags}}, 'a "new" one';
            $i->{winner} = 'b';
        }
        elsif ($id == 3) { $i->{row} = $i->{dbh}{a}->selectrow_hashref('SELECT * FROM items WHERE id = 3') }
        else { $info->{sourcerow}{act} = 0; $info->{action} = 5 }"#,
    );
    let mend = perl(
        2,
        Hook::Exception,
        r"my ($row, $own) = ($i->{rows}[0], $i->{present}[0]);
        $alike->($row, 'b'); $alike->($i->{rowinfo}{targetrow}, 'b');
        $alike->($own, 'a'); $alike->($i->{rowinfo}{sourcerow}, 'a');
        die 'it is off' if $row->{act} || !$own->{act};
        $i->{dbh}{a}->do(q{UPDATE items SET note = 'mended' WHERE note = ?}, undef, $row->{note});
        $i->{runagain} = 1",
    );
    let mut lab = SyncLab::masters(&["a", "b"], &[], DDL, &["items:id"]).await;
    lab.on("a").run("INSERT INTO items SELECT n, true, '{}', '', NULL FROM generate_series(1, 6) n").await;
    lab.settle().await;
    (lab.hosts, lab.sync.codes) = (Some(open()), vec![judge, mend]);
    lab.renew();
    lab.on("a").run(r"UPDATE items SET act = false, tags = '{x,NULL}', raw = '\x00ff41' WHERE id < 5").await;
    lab.on("b").run(r#"UPDATE items SET act = true, tags = '[0:1]={"y z","\""}', raw = '\x41' WHERE id < 5"#).await;
    assert_eq!(lab.merge().await.unwrap().conflicts, 4);
    let rows = lab.on("a").rows("SELECT id, act, tags, raw FROM items WHERE id < 5 ORDER BY id").await;
    assert_eq!(
        rows,
        [
            r#"1|t|[0:1]={"y z","\""}|\x41"#,
            r#"2|f|{"y z","\"","a \"new\" one"}|\x4100ff"#,
            r"3|f|{x,NULL}|\x00ff41",
            r"4|f|{x,NULL}|\x00ff41"
        ]
    );
    lab.assert_same().await;

    lab.on("a").run("UPDATE items SET note = 'taken' WHERE id = 5").await;
    lab.on("b").run("UPDATE items SET act = false, note = 'taken' WHERE id = 6").await;
    lab.settle().await;
    let rows = lab.on("a").rows("SELECT id, act, note FROM items WHERE id > 4 ORDER BY id").await;
    assert_eq!(rows, ["5|t|mended", "6|f|taken"]);
    lab.assert_same().await;
}

/// A code that fails about one of several conflicts is told with table and key, and the hint is a command as it stands.
#[tokio::test]
async fn codes_that_fail_about_a_conflict_are_told_with_its_key() {
    let mut lab = SyncLab::masters(&["a", "b"], &[], DDL, &["items:id"]).await;
    lab.hosts = Some(open());
    lab.on("a").run("INSERT INTO items SELECT n, true, NULL, NULL, 'a' || n FROM generate_series(1, 3) n").await;
    lab.on("b").run("INSERT INTO items SELECT n, true, NULL, NULL, 'b' || n FROM generate_series(1, 3) n").await;
    for (language, source) in [
        (Language::Lua, "if input.key.id == '2' then error('no') end"),
        (Language::Perl, "die 'no' if $_->{key}{id} == 2"),
        (Language::Sql, "SELECT jsonb_build_object('x', 1 / (2 - ($1#>>'{key,id}')::int))"),
    ] {
        lab.sync.codes = vec![Code { language, name: "it's mine".to_owned(), ..code(Hook::Conflict, source) }];
        lab.renew();
        let fault = lab.merge().await.unwrap_err();
        let wanted = "custom code \"it's mine\" failed: key 2 of table \"public.items\": ";
        assert!(fault.message.starts_with(wanted), "{language:?}: {}", fault.message);
        let hint = fault.hint.unwrap();
        assert!(hint.contains("bucardo test customcode 'it'\\''s mine' sync=s;"), "{hint}");
    }
}
