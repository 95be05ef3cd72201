//! What authors know of DBI and DBD::Pg, in Perl codes: the same statements, calls and messages, without either module.

use bucardo::custom::Language;
use serde_json::json;

use crate::custom_hosts::{Asked, code, host};
use crate::support::fresh_database;

const DDL: &str = r#"CREATE TABLE t (id int PRIMARY KEY, note text, amount numeric, at timestamptz, raw bytea, tags text[], doc jsonb, act bool);
    INSERT INTO t VALUES (1, 'one', 1.50, '2024-01-02 03:04:05+00', '\xff00', '{x,NULL,"y z"}', '{"k": 1}', true),
        (2, NULL, 2, NULL, NULL, NULL, NULL, false), (3, 'it''s', -3, NULL, NULL, '{}', '[]', NULL)"#;

/// What a code does with a handle, and what comes of it where DBI and DBD::Pg run it.
const IDIOMS: [(&str, &str); 54] = [
    (
        r#"my $sth = $dbh->prepare('SELECT id, note FROM t ORDER BY id'); my $count = $sth->execute(); my @seen; while (my ($id, $note) = $sth->fetchrow_array()) { push @seen, "$id=" . ($note || '') } "$count|@seen|" . $sth->rows"#,
        r#"3|1=one 2= 3=it's|3"#,
    ),
    (
        r#"my $sth = $dbh->prepare('SELECT * FROM t WHERE id = ?'); $sth->execute(1); my $r = $sth->fetchrow_hashref(); join ',', map { "$_=" . (ref $r->{$_} ? "[@{[map { defined $_ ? $_ : 'undef' } @{$r->{$_}}]}]" : $_ eq 'raw' ? unpack('H*', $r->{$_}) : $_ eq 'at' ? 'at' : $r->{$_}) } sort keys %$r"#,
        r#"act=1,amount=1.50,at=at,doc={"k": 1},id=1,note=one,raw=ff00,tags=[x undef y z]"#,
    ),
    (
        r#"my $sth = $dbh->prepare('SELECT id, note FROM t ORDER BY 1'); $sth->execute; join ',', map { $_->{id} } @{ $sth->fetchall_arrayref({}) }"#,
        r#"1,2,3"#,
    ),
    (
        r#"my $sth = $dbh->prepare('SELECT id, note FROM t ORDER BY 1'); $sth->execute; my $all = $sth->fetchall_arrayref([0]); join ',', map { scalar(@$_) . $_->[0] } @$all"#,
        r#"11,12,13"#,
    ),
    (
        r#"my $sth = $dbh->prepare('SELECT count(*) FROM t'); $sth->execute(); my $c = $sth->fetchall_arrayref()->[0][0]; $sth->finish(); $c"#,
        r#"3"#,
    ),
    (r#"join ',', @{ $dbh->selectcol_arrayref('SELECT id FROM t WHERE id > ? ORDER BY 1', undef, 1) }"#, r#"2,3"#),
    (
        r#"my %h = @{ $dbh->selectcol_arrayref('SELECT id, note FROM t WHERE note IS NOT NULL', { Columns => [1,2] }) }; join ',', map { "$_$h{$_}" } sort keys %h"#,
        r#"1one,3it's"#,
    ),
    (
        r#"my ($id, $n) = $dbh->selectrow_array('SELECT id, amount FROM t WHERE id = $1', undef, 1); "$id $n""#,
        r#"1 1.50"#,
    ),
    (r#"my $n = $dbh->selectrow_array('SELECT note FROM t WHERE id = 3'); $n"#, r#"it's"#),
    (r#"my ($x) = $dbh->selectrow_array('SELECT id FROM t WHERE id = 77'); defined $x ? 'def' : 'undef'"#, r#"undef"#),
    (r#"my $x = $dbh->selectrow_hashref('SELECT id FROM t WHERE id = 77'); defined $x ? 'def' : 'undef'"#, r#"undef"#),
    (
        r#"my $a = $dbh->selectall_arrayref('SELECT id, note FROM t ORDER BY id', { Slice => {} }); scalar(@$a) . $a->[2]{note}"#,
        r#"3it's"#,
    ),
    (r#"my $h = $dbh->selectall_hashref('SELECT id, note FROM t', 'id'); join ',', sort keys %$h"#, r#"1,2,3"#),
    (
        r#"my $h = $dbh->selectall_hashref('SELECT act, id, note FROM t WHERE act IS NOT NULL', ['act','id']); join ',', map { my $k = $_; map { "$k/$_" } sort keys %{$h->{$k}} } sort keys %$h"#,
        r#"0/2,1/1"#,
    ),
    (
        r#"my $s = $dbh->prepare('SELECT id, note FROM t'); $s->execute; my $h = $s->fetchall_hashref(1); join ',', sort keys %$h"#,
        r#"1,2,3"#,
    ),
    (
        r#"my $s = $dbh->prepare('SELECT id FROM t WHERE note = ? AND id = ?'); $s->bind_param(1, 'one'); $s->bind_param(2, 1, { pg_type => 23 }); $s->execute; $s->fetch->[0]"#,
        r#"1"#,
    ),
    (
        r#"my $s = $dbh->prepare('SELECT id FROM t WHERE note = $2 AND id = $1'); $s->bind_param('$1', 1); $s->bind_param('$2', 'one'); $s->execute; $s->fetch->[0]"#,
        r#"1"#,
    ),
    (
        r#"my $s = $dbh->prepare('SELECT id FROM t WHERE note = :note AND id = :id AND :id > 0'); $s->bind_param(':note', 'one'); $s->bind_param(':id', 1); $s->execute; $s->fetch->[0]"#,
        r#"1"#,
    ),
    (
        r#"my $s = $dbh->prepare('INSERT INTO t(id, raw) VALUES (?, ?)'); $s->bind_param(1, 9); $s->bind_param(2, "\x00\xfe\\'", { pg_type => 17 }); $s->execute; unpack 'H*', $dbh->selectrow_array('SELECT raw FROM t WHERE id = 9')"#,
        r#"00fe5c27"#,
    ),
    (
        r#"my $s = $dbh->prepare('SELECT id, note FROM t WHERE id = 1'); $s->execute; $s->bind_columns(\my ($id, $note)); my @x; while ($s->fetch) { push @x, "$id $note" } "@x""#,
        r#"1 one"#,
    ),
    (
        r#"my $s = $dbh->prepare('SELECT id, note FROM t WHERE id = 1'); $s->execute; my $id; $s->bind_col(1, \$id); $s->fetch; $id"#,
        r#"1"#,
    ),
    (
        r#"join ',', $dbh->do('UPDATE t SET amount = amount WHERE id < ?', undef, 3), $dbh->do('UPDATE t SET amount = 1 WHERE id = 99'), $dbh->do(q{DELETE FROM t WHERE id = 3})"#,
        r#"2,0E0,1"#,
    ),
    (
        r#"$dbh->do('INSERT INTO t (id, note) VALUES (?, ?)', { pg_server_prepare => 0 }, 5, undef); defined $dbh->selectrow_array('SELECT note FROM t WHERE id = 5') ? 'set' : 'null'"#,
        r#"null"#,
    ),
    (
        r#"my $s = $dbh->prepare('INSERT INTO t (id, note) VALUES (?, ?) RETURNING id, note'); $s->execute(6, 'six'); join '|', $s->fetchrow_array"#,
        r#"6|six"#,
    ),
    (
        r#"my $s = $dbh->prepare_cached('SELECT note FROM t WHERE id = ?'); my @x; for (1, 3) { $s->execute($_); push @x, $s->fetchrow_array; $s->finish } "@x""#,
        r#"one it's"#,
    ),
    (
        r#"join ' ', $dbh->quote("it's"), $dbh->quote(undef), $dbh->quote('a\b'), $dbh->quote(12), $dbh->quote_identifier('A"b'), $dbh->quote_identifier('public', 't'), $dbh->quote_identifier(undef, 's', 't')"#,
        r#"'it''s' NULL E'a\\b' '12' "A""b" "public"."t" "s"."t""#,
    ),
    (
        r#"$dbh->selectrow_array('SELECT ' . $dbh->quote("\x00\xff", { pg_type => 17 }) . '::bytea') eq "\x00\xff" ? 1 : 0"#,
        r#"1"#,
    ),
    (
        r#"my $s = $dbh->prepare(q{SELECT id FROM t WHERE doc ? 'k' AND id = $1}, { pg_placeholder_dollaronly => 1 }); $s->execute(1); $s->fetch->[0]"#,
        r#"1"#,
    ),
    (
        r#"local $dbh->{pg_placeholder_dollaronly} = 1; my $s = $dbh->prepare(q{SELECT id FROM t WHERE doc ? 'k'}); $s->execute; $s->fetch->[0]"#,
        r#"1"#,
    ),
    (
        r#"$dbh->do(q{UPDATE t SET note = note WHERE doc ?| array['k','z']}, { pg_placeholder_dollaronly => 1 })"#,
        r#"1"#,
    ),
    (
        r#"scalar @{ $dbh->selectall_arrayref(q{SELECT id FROM t WHERE doc ?& array[$1]}, { pg_placeholder_dollaronly => 1 }, 'k') }"#,
        r#"1"#,
    ),
    (
        r#"my $s = $dbh->prepare(q{SELECT (tags)[1:2] FROM t WHERE id = ?}, { pg_placeholder_nocolons => 1 }); $s->execute(1); my $r = $s->fetch->[0]; defined $r->[1] ? 'def' : $r->[0]"#,
        r#"x"#,
    ),
    (r#"my $s = $dbh->prepare(q{SELECT id FROM t WHERE doc \? ?}); $s->execute('k'); $s->fetch->[0]"#, r#"1"#),
    (r#"my ($id) = $dbh->selectrow_array(q{SELECT id FROM t WHERE doc \? 'k'}); $id"#, r#"1"#),
    (r#"my ($id) = $dbh->selectrow_array(q{SELECT id FROM t WHERE doc \? 'k' AND id = $1}, undef, 1); $id"#, r#"1"#),
    (
        r#"my $s = $dbh->prepare('INSERT INTO t (id) VALUES (?)'); eval { $s->execute(1) }; my $e = $@; $e =~ s/ at .*line \d+\.?\n//s; "$e" . '#' . $s->state . '#' . $s->err . '#' . $s->errstr . '#' . $DBI::errstr"#,
        "DBD::Pg::st execute failed: ERROR:  duplicate key value violates unique constraint \"t_pkey\"\nDETAIL:  Key (id)=(1) already exists.#23505#7#ERROR:  duplicate key value violates unique constraint \"t_pkey\"\nDETAIL:  Key (id)=(1) already exists.#ERROR:  duplicate key value violates unique constraint \"t_pkey\"\nDETAIL:  Key (id)=(1) already exists.",
    ),
    (
        r#"eval { $dbh->do('INSERT INTO t (id) VALUES (1)') }; $@ =~ /DETAIL:\s+Key \((\w+)\)=\((.*?)\) already exists/ ? "$1 $2" : "no: $@""#,
        r#"id 1"#,
    ),
    (
        r#"my $s = $dbh->prepare('SELECT id FROM t WHERE id = ? AND id = ?'); eval { $s->execute(1) }; $@ =~ /called with 1 bind variables when 2 are needed/ ? 1 : $@"#,
        r#"1"#,
    ),
    (
        r#"$dbh->do('UPDATE t SET tags = ? WHERE id = 2', undef, ['a', undef, 'b"c']); $dbh->selectrow_array('SELECT tags::text FROM t WHERE id = 2')"#,
        r#"{a,NULL,"b\"c"}"#,
    ),
    (r#"scalar @{ $dbh->selectcol_arrayref('SELECT id FROM t WHERE id = ANY(?)', undef, [1, 3]) }"#, r#"2"#),
    (
        r#"my ($n, $b, $c) = $dbh->selectrow_array('SELECT amount, act, 1 < 2 FROM t WHERE id = 1'); $n + 1 . " $b $c""#,
        r#"2.5 1 1"#,
    ),
    (r#"my ($n) = $dbh->selectrow_array(q{SELECT chr(252) || 'x'}); length($n) . ord($n)"#, r#"2252"#),
    (
        r#"my $s = $dbh->prepare('SELECT id, note AS "Note" FROM t'); $s->execute; join ',', @{$s->{NAME}}, @{$s->{NAME_lc}}, $s->{NUM_OF_FIELDS}"#,
        r#"id,Note,id,note,2"#,
    ),
    (
        r#"my $s = $dbh->prepare('SELECT id, note, act FROM t'); $s->execute; join ',', @{$s->{pg_type}}"#,
        r#"int4,text,bool"#,
    ),
    (
        r#"local $dbh->{FetchHashKeyName} = 'NAME_lc'; my $r = $dbh->selectrow_hashref('SELECT 1 AS "ID"'); join ',', keys %$r"#,
        r#"id"#,
    ),
    (
        r#"my $s = $dbh->prepare('INSERT INTO t (id) VALUES (?)'); my $n = 0; $n += $s->execute($_) for 20 .. 24; $n"#,
        r#"5"#,
    ),
    (r#"my ($n) = $dbh->selectrow_array(q{SELECT ?::int + '5'::int}, undef, 2); $n"#, r#"7"#),
    (r#"my ($n) = $dbh->selectrow_array(q{SELECT 'really?' || ?}, undef, '!'); $n"#, r#"really?!"#),
    (r#"my ($n) = $dbh->selectrow_array("SELECT 1 -- what?\n + ?", undef, 2); $n"#, r#"3"#),
    (
        r#"my $s = $dbh->prepare('SELECT id FROM t WHERE id = 1'); $s->execute; $s->fetch; defined $s->fetchrow_arrayref ? 1 : 'undef'"#,
        r#"undef"#,
    ),
    (r#"my ($n) = $dbh->selectrow_array('SELECT coalesce(?::text, $$none$$)', undef, undef); $n"#, r#"none"#),
    (r#"my ($n) = $dbh->selectrow_array(q{SELECT count(*) FROM t WHERE note LIKE ?}, undef, '%o%'); $n"#, r#"1"#),
    (
        r#"my @ids = (1, 3); my $q = join ',', ('?') x @ids; my ($n) = $dbh->selectrow_array("SELECT count(*) FROM t WHERE id IN ($q)", undef, @ids); $n"#,
        r#"2"#,
    ),
    (
        r#"my $in = join ',' => map { $dbh->quote($_) } (1, 3); $dbh->selectrow_array("SELECT count(*) FROM t WHERE id IN ($in)")"#,
        r#"2"#,
    ),
];

#[tokio::test]
async fn statements_of_codes_come_to_what_the_driver_makes_of_them() {
    let db = fresh_database("codes").await;
    db.run(DDL).await;
    let mut host = host(Language::Perl);
    for (idiom, expected) in IDIOMS {
        let source = format!(
            "my $input = shift; my $dbh = $input->{{dbh}}{{A}}; local $SIG{{__WARN__}} = sub {{ die \"warned: @_\" }}; \
             $input->{{out}} = (sub {{\n{idiom} }})->() . ''"
        );
        db.run("BEGIN").await;
        let mut dbs = Asked { client: &db.client, is_strict: true };
        let outputs = host.call(&code(Language::Perl, &source), vec![json!({})], &mut dbs).await;
        db.run("ROLLBACK").await;
        assert_eq!(outputs, Ok(vec![json!({"out": expected})]), "{idiom}");
    }
}
