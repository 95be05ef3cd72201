//! Perl codes as users of versions 3, 4 and 5 have them, written after the documents of those versions, in rounds and
//! merges: they run as they are, and come to what their authors expect.

use bucardo::custom::{Code, Hook, Language, Limits, open};

use crate::support::SyncLab;
use crate::support::codes::code;

const DDL: &str = "CREATE TABLE orders (id int PRIMARY KEY, note text, total numeric, changed timestamptz); \
    CREATE TABLE stock (region text, id int, amount int, PRIMARY KEY (region, id)); \
    CREATE TABLE users (id int PRIMARY KEY, email text UNIQUE, name text); \
    CREATE TABLE masters (region text PRIMARY KEY, db text); \
    INSERT INTO masters VALUES ('north', 'a'), ('south', 'b'); \
    CREATE TABLE diary (n serial, who text, told text)";
const GOATS: [&str; 3] = ["orders:id", "stock:region,id", "users:id"];

/// A code of a user: when it runs, in the words of its version, and what it is.
fn perl(id: i32, whenrun: &str, source: &str) -> Code {
    let hook = Hook::parse(whenrun).unwrap();
    let limits = Limits { timeout: std::time::Duration::from_secs(20), ..Limits::default() };
    Code { id, language: Language::Perl, limits, ..code(hook, source) }
}

fn give(lab: &mut SyncLab, codes: Vec<Code>) {
    (lab.hosts, lab.sync.codes) = (Some(open()), codes);
    lab.renew();
}

async fn diary(lab: &SyncLab, db: &str) -> Vec<String> {
    let read = "WITH gone AS (DELETE FROM diary RETURNING *) SELECT who, told FROM gone ORDER BY n";
    lab.on(db).rows(read).await
}

/// Codes around a run, one of each version and place, and what they leave in the diary of the target.
const AROUND: [(&str, &str, &[&str]); 9] = [
    (
        "before_txn",
        r#"## Version 3: look whether anybody wants the target to be left alone
        my ($args) = @_;
        return if exists $args->{dummy};
        my ($syncname, $sourcename, $targetname, $targetdbh, $msg) = @$args{qw/ syncname sourcename targetname targetdbh message /};
        my $SQL = 'SELECT count(*) FROM diary WHERE who = ?';
        my $sth = $targetdbh->prepare($SQL);
        $sth->execute('stop');
        my $count = $sth->fetchall_arrayref()->[0][0];
        $sth->finish();
        if ($count > 0) { $args->{endsync} = 1; return; }
        $targetdbh->do("INSERT INTO diary (who, told) VALUES ('v3 before_txn', " . $targetdbh->quote("$syncname: $sourcename to $targetname") . ')');
        $targetdbh->commit();
        return;"#,
        &["v3 before_txn|s: a to b"],
    ),
    (
        "before_check_rows",
        r#"use strict; use warnings;
        my $input = shift;
        ## Version 4: every table that we know, by its quoted name
        my @tables = map { "$_->{safeschema}.$_->{safetable}" } grep { $_->{reltype} eq 'table' } @{ $input->{goatlist} };
        my $sth = $input->{targetdbh}->prepare('INSERT INTO diary (who, told) VALUES (?, ?)', { pg_server_prepare => 0 });
        $sth->bind_param(1, 'v4 before_check_rows');
        $sth->bind_param(2, join ',' => @tables);
        $sth->execute();"#,
        &[r#"v4 before_check_rows|"public"."orders","public"."stock","public"."users""#],
    ),
    (
        "before_trigger_drop",
        r#"# Version 3 and 4: how much is to come
        my ($args) = @_;
        return if exists $args->{dummy};
        my $dc = $args->{deltacount};
        my $told = join ' ' => $args->{synctype}, $dc->{all}, $dc->{allsource}, $dc->{alltarget},
            map { "$_=$dc->{source}{public}{$_}" } sort keys %{ $dc->{source}{public} };
        $args->{targetdbh}->do('INSERT INTO diary (who, told) VALUES ($1, $2)', undef, 'v3 before_trigger_drop', $told);"#,
        &["v3 before_trigger_drop|pushdelta 4 4 0 orders=3 stock=1"],
    ),
    (
        "after_trigger_drop",
        r#"my $info = $_;   # the documents allow it
        my ($dbh) = $info->{targetdbh};
        my ($n) = $dbh->selectrow_array('SELECT count(*)::int FROM diary WHERE who LIKE ?', {}, 'v3 before%');
        local $dbh->{RaiseError} = 0; local $dbh->{PrintError} = 0;
        my $rv = $dbh->do('DROP TABLE diary');
        my $why = defined $rv ? 'dropped' : $dbh->errstr;
        $dbh->do('INSERT INTO diary(who,told) VALUES (:who, :told)') if 0;
        my $sth = $dbh->prepare('INSERT INTO diary (who, told) VALUES (:who, :told)');
        $sth->bind_param(':who', 'v4 after_trigger_drop'); $sth->bind_param(':told', "$n $why"); $sth->execute;"#,
        &["v4 after_trigger_drop|2 ERROR:  custom code may not run DROP"],
    ),
    (
        "after_table_sync",
        r#"my ($input) = @_;
        my ($s, $t, $dbh) = @{$input}{qw(schemaname tablename)};
        $dbh = $input->{dbh}{b};
        my $qt = $dbh->quote_identifier($s, $t);
        my $rows = $dbh->selectall_arrayref("SELECT * FROM $qt", { Slice => {} });
        $input->{shared}{seen}{"$s.$t"} = scalar @$rows;
        $dbh->do('INSERT INTO diary (who, told) VALUES (?, ?)', undef, 'v5 after_table_sync', "$qt " . @$rows) if $t eq 'orders';"#,
        &[r#"v5 after_table_sync|"public"."orders" 3"#],
    ),
    (
        "before_trigger_enable",
        r#"## Version 5: all the rows which were pushed
        my $input = shift;
        use List::Util qw/ sum first /;
        use POSIX qw(floor strftime);
        use Time::HiRes qw/ gettimeofday tv_interval /;
        my $t0 = [gettimeofday];
        my @told;
        for my $schema (sort keys %{ $input->{rows} }) {
            for my $table (sort keys %{ $input->{rows}{$schema} }) {
                for my $pkey (sort keys %{ $input->{rows}{$schema}{$table} }) {
                    push @told, join '/' => $schema, $table, split /\0/, $pkey;
                }
            }
        }
        my $n = sum(map { 1 } @told);
        push @told, first { /orders/ } @told;
        die 'time' if tv_interval($t0) < 0 || floor(2.5) != 2 || strftime('%Y', gmtime) < 2020;
        $input->{dbh}{b}->do(q{INSERT INTO diary (who, told) VALUES ('v5 before_trigger_enable', ?)}, undef, "$n @told");"#,
        &[
            "v5 before_trigger_enable|4 public/orders/1 public/orders/2 public/orders/3 public/stock/north/7 public/orders/1",
        ],
    ),
    (
        "after_trigger_enable",
        r#"my ($input) = @_;
        my $dml = $input->{dmlcount};
        my $told = join ' ' => "I$dml->{allinserts}{target}", "D$dml->{alldeletes}{target}", map { "$_:" . ($dml->{I}{target}{public}{$_} || 0) } qw(orders stock users);
        $input->{targetdbh}->do("INSERT INTO diary (who, told) VALUES ('v4 after_trigger_enable', ?)", undef, $told);
        $input->{lastcode} = 1;"#,
        &["v4 after_trigger_enable|I4 D0 orders:3 stock:1 users:0"],
    ),
    ("after_trigger_enable", "die 'the code before it is the last one'", &[]),
    (
        "after_txn",
        r#"# Version 4: what could go wrong, does
        use warnings; use Data::Dumper;
        my ($input) = @_;
        my $dbh = $input->{targetdbh};
        local $Data::Dumper::Terse = 1; local $Data::Dumper::Indent = 0; local $Data::Dumper::Sortkeys = 1;
        my %told = (seen => $input->{shared}{seen}{'public.orders'}, loop => $input->{kidloop});
        my $sth = $dbh->prepare('INSERT INTO diary (who, told) VALUES (?, ?)');
        $sth->execute('v4 after_txn', Dumper(\%told));
        $dbh->rollback();
        $sth->execute('v4 after_txn', Dumper(\%told));
        eval { $dbh->begin_work(); };
        $sth->execute('v4 after_txn', 'no begin_work') if $@ =~ /may not begin/;
        $dbh->pg_savepoint('before');
        eval { $dbh->do(q{INSERT INTO users (id, email) VALUES (1, 'x'), (1, 'y')}); 1 } or do {
            my ($col, $value) = $@ =~ /DETAIL:\s+Key \((\w+)\)=\((\w+)\) already exists/;
            my $state = $dbh->state;
            $dbh->pg_rollback_to('before');
            $sth->execute('v4 after_txn', "$state $col $value");
        };
        $dbh->commit;
        $input->{message} = 'done'; $input->{warning} = '';"#,
        &["v4 after_txn|{'loop' => 1,'seen' => 3}", "v4 after_txn|no begin_work", "v4 after_txn|23505 id 1"],
    ),
];

#[tokio::test]
async fn codes_around_a_run() {
    let mut lab = SyncLab::start(&["b"], DDL, &GOATS).await;
    let codes = AROUND.iter().zip(1..).map(|((whenrun, source, _), id)| perl(id, whenrun, source)).collect();
    give(&mut lab, codes);
    lab.on("a")
        .run("INSERT INTO orders VALUES (1, 'x'), (2, 'y'), (3, NULL); INSERT INTO stock VALUES ('north', 7, 1)")
        .await;
    assert_eq!(lab.round("b").await.unwrap().inserts, 4);
    let told: Vec<&str> = AROUND.iter().flat_map(|(_, _, told)| *told).copied().collect();
    assert_eq!(diary(&lab, "b").await, told);
    lab.on("b").run("INSERT INTO diary (who) VALUES ('stop')").await;
    lab.on("a").run("INSERT INTO orders VALUES (4)").await;
    assert!(lab.round("b").await.unwrap().is_empty(), "the code has ended the sync");
    assert_eq!(lab.on("b").number("SELECT count(*) FROM orders").await, 3);
}

/// What codes decide about a row that both masters have changed: the table, the code, and what both have in the end. The
/// rows of `a` have the note `a`, the total 1 and the later time; those of `b` the note `b` and the total 10.
const CONFLICTS: [(&str, &str, &str); 14] = [
    (
        "orders",
        r#"## Version 3: the source always wins
        my ($args) = @_;
        return if exists $args->{dummy};
        my ($sourcedbh, $targetdbh, $rowinfo, $sync) = @$args{qw/ sourcedbh targetdbh rowinfo syncname /};
        $args->{message} = "$sync: $rowinfo->{schema}.$rowinfo->{table} $rowinfo->{pkeyname} $rowinfo->{pkey}";
        $rowinfo->{action} = 1;
        return;"#,
        "a 1",
    ),
    ("orders", "my $args = shift; return if exists $args->{dummy}; $args->{rowinfo}{action} |= 2;", "b 10"),
    (
        "orders",
        r#"# Version 3: add what both have, and send the outcome to both
        my ($args) = @_; return if exists $args->{dummy};
        my $r = $args->{rowinfo};
        my ($s, $t) = ($r->{sourcerow}, $r->{targetrow});
        $s->{total} += $t->{total};
        $s->{note} = join '+' => $s->{note}, $t->{note};
        $r->{action} = 1 + 4;"#,
        "a+b 11",
    ),
    (
        "orders",
        r#"# The later one, else the strategy
        my ($args) = @_;
        return if exists $args->{dummy};
        my $info = $args->{rowinfo};
        if (! defined $info->{sourcerow} or ! defined $info->{targetrow}) { $info->{action} = defined $info->{sourcerow} ? 1 : 2; return }
        my $cmp = $info->{sourcerow}{changed} cmp $info->{targetrow}{changed};
        if ($cmp > 0) { $info->{action} = 1 } elsif ($cmp < 0) { $info->{action} = 2 }"#,
        "a 1",
    ),
    (
        "orders",
        r#"# Version 4: ask the database who is in charge
        my ($input) = @_;
        my $sth = $input->{sourcedbh}->prepare(q{SELECT db FROM masters WHERE region = ?});
        my $rv = $sth->execute('south');
        my $master = $sth->fetchrow_hashref()->{db};
        $sth->finish();
        $input->{rowinfo}{action} = $master eq $input->{sourcename} ? 1 : 2;"#,
        "b 10",
    ),
    (
        "stock",
        r#"# Version 4: several columns make the key
        my ($input) = @_;
        my $info = $input->{rowinfo};
        my @names = ref $info->{pkeyname} ? @{ $info->{pkeyname} } : ($info->{pkeyname});
        die "names: @names" if "@names" ne 'region id' or "@{ $info->{pkeytype} }" ne 'text integer' or $info->{pkey} ne "north\0" . 1;
        die 'quoted' if "@{ $info->{qpkeyname} }" ne '"region" "id"';
        $info->{targetrow}{amount} = $info->{targetrow}{amount} > $info->{sourcerow}{amount} ? $info->{targetrow}{amount} : $info->{sourcerow}{amount};
        $info->{targetrow}{amount}++;
        $info->{action} = 2 | 8;"#,
        "11",
    ),
    (
        "stock",
        r#"use strict; use warnings;
        my ($input) = @_;
        my $conflicts = $input->{conflicts};
        for my $key (keys %$conflicts) {
            my ($region, $id) = split /\0/ => $key;
            my @dbs = sort keys %{ $conflicts->{$key} };
            die "dbs: @dbs" if "@dbs" ne 'a b';
            $conflicts->{$key} = $region eq 'north' ? 'b' : 'a';
        }
        return;"#,
        "10",
    ),
    ("orders", "my $input = shift; $input->{tablewinner} = 'b' if $input->{tablename} eq 'orders';", "b 10"),
    ("orders", "$_[0]->{tablewinner} = 'a b'", "a 1"),
    ("orders", "my ($input) = @_; $input->{tablewinner_always} = 'b a'; $input->{warning} = q{}", "b 10"),
    ("orders", "my ($input) = @_; $input->{syncwinner} = 'a'", "a 1"),
    ("orders", "my ($input) = @_; $input->{syncwinner_always} = 'b'", "b 10"),
    (
        "orders",
        r#"my ($input) = @_;
        # By the kind of database, and who is first
        my ($winner) = sort { $input->{dbinfo}{$b}{name} cmp $input->{dbinfo}{$a}{name} }
            grep { $input->{dbinfo}{$_}{role} eq 'source' and $input->{dbinfo}{$_}{dbtype} eq 'postgres' } keys %{ $input->{dbinfo} };
        $_ = $winner for values %{ $input->{conflicts} };"#,
        "b 10",
    ),
    ("orders", "my ($input) = @_; $input->{skip} = 1; # version 5: somebody else decides", "a 1"),
];

#[tokio::test]
async fn codes_that_decide_conflicts() {
    let mut lab = SyncLab::masters(&["a", "b"], &[], DDL, &GOATS).await;
    for (table, source, expected) in CONFLICTS {
        give(&mut lab, vec![perl(1, "conflict", source)]);
        for (db, total, hour) in [("b", 10, 1), ("a", 1, 2)] {
            let row = match table {
                "orders" => format!("(1, '{db}', {total}, '2024-01-02 0{hour}:00+00')"),
                _ => format!("('north', 1, {total})"),
            };
            lab.on(db).run(&format!("DELETE FROM {table}; INSERT INTO {table} VALUES {row}")).await;
        }
        let conflicts = lab.merge().await.unwrap_or_else(|fault| panic!("{source}: {fault}")).conflicts;
        assert_eq!(conflicts, 1, "{source}");
        for db in ["a", "b"] {
            let read =
                if table == "orders" { "SELECT note || ' ' || total FROM orders" } else { "SELECT amount FROM stock" };
            assert_eq!(lab.on(db).rows(read).await, [expected], "{db}: {source}");
        }
    }
}

/// What stands in a user's way at the target, and how codes of each version mend it.
const EXCEPTIONS: [&str; 5] = [
    r#"## Version 3: delete what is in the way, and run again
    my ($args) = @_;
    return if exists $args->{dummy};
    my ($sourcedbh, $targetdbh, $info) = @$args{qw/ sourcedbh targetdbh rowinfo /};
    return if $info->{dbi_error} !~ /violates unique constraint "users_email_key"/ or ! $info->{target_error};
    my $SQL = 'DELETE FROM users WHERE email = ? AND id <> ?';
    my $sth = $targetdbh->prepare($SQL);
    my $count = $sth->execute($info->{sourcerow}{email}, $info->{pkey});
    $args->{runagain} = 1 if $count >= 1;
    return;"#,
    r#"## Version 4: the same by what the server said
    my $input = shift;
    my $error = $input->{rowinfo}{dbi_error};
    if ($error =~ /duplicate key/ and $error =~ /DETAIL:\s+Key \((\w+)\)=\((.+?)\) already exists/) {
        my ($column, $value) = ($1, $2);
        my $col = $input->{targetdbh}->quote_identifier($column);
        my $rows = $input->{targetdbh}->do("DELETE FROM users WHERE $col = " . $input->{targetdbh}->quote($value));
        $input->{runagain} = 1 unless $rows eq '0E0';
    }"#,
    r#"## Version 5: for whatever database
    my ($input) = @_;
    use strict; use warnings;
    return if $input->{error_string} !~ /unique constraint "users_email_key"/ || $input->{attempts} > 5;
    die 'table' if "$input->{schemaname}.$input->{tablename}" ne 'public.users';
    for my $db (keys %{ $input->{deltabin} }) {
        for my $key (keys %{ $input->{deltabin}{$db} }) {
            my ($email) = $input->{dbh}{$db}->selectrow_array('SELECT email FROM users WHERE id = ?', undef, $key);
            for my $other (grep { $_ ne $db } keys %{ $input->{dbh} }) {
                my $sth = $input->{dbh}{$other}->prepare_cached('DELETE FROM users WHERE email = $1 AND id <> $2');
                $sth->execute($email, $key);
            }
        }
    }
    $input->{retry} = 1;"#,
    r#"## Version 5: the rows that were pushed so far
    my ($input) = @_;
    my $rows = $input->{rows}{$input->{schemaname}}{ $input->{tablename} };
    my @ids = sort { $a <=> $b } keys %$rows;
    my $list = join ',' => ('?') x @ids;
    my $emails = $input->{dbh}{a}->selectcol_arrayref("SELECT email FROM users WHERE id IN ($list)", undef, @ids);
    $input->{dbh}{b}->do('DELETE FROM users WHERE email = ANY(?) AND NOT id = ANY(?)', undef, $emails, \@ids);
    $input->{retry} = 1;"#,
    r#"# It moves it out of the way, and says so
    my $i = shift;
    my ($old) = map { $_->{id} } @{ $i->{targetdbh}->selectall_arrayref('SELECT id FROM users WHERE email = ?', { Slice => {} }, $i->{rowinfo}{sourcerow}{email}) };
    eval { local $i->{targetdbh}->{RaiseError} = 1; $i->{targetdbh}->do('INSERT INTO users (id) VALUES (?)', undef, $old) };
    die "not refused: $@" if !$@ or $i->{targetdbh}->state ne '23505' or $DBI::state ne '23505' or $DBI::errstr !~ /^ERROR:  duplicate key/;
    $i->{targetdbh}->do('DELETE FROM users WHERE id = ?', undef, $old);
    $i->{sendmail}->({ subject => 'moved', body => "user $old" });
    $i->{runagain} = 1;"#,
];

#[tokio::test]
async fn codes_that_mend_what_was_refused() {
    let mut lab = SyncLab::start(&["b"], DDL, &GOATS).await;
    for (source, id) in EXCEPTIONS.iter().zip(1..) {
        give(&mut lab, vec![perl(1, "exception", source)]);
        lab.on("b").run(&format!("INSERT INTO users VALUES ({id}00, '{id}@x', 'in the way')")).await;
        lab.on("a").run(&format!("INSERT INTO users VALUES ({id}, '{id}@x', 'new')")).await;
        lab.round("b").await.unwrap_or_else(|fault| panic!("{source}: {fault}"));
        let there = lab.on("b").rows(&format!("SELECT id, email, name FROM users WHERE email = '{id}@x'")).await;
        assert_eq!(there, [format!("{id}|{id}@x|new")], "{source}");
    }
}
