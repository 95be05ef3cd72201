# Runs custom codes for the daemon that started it. One JSON object a line each way: "compile" and "call" come in,
# "ask" goes out while a code runs. All that goes out says to which number it belongs ("of"). File handles of its own
# carry them, so that what codes print cannot disturb them; processes that codes fork keep away from them.
# It needs no module: distributions leave out even those of the core.

# Before anything lexical, so that codes see none of it.
sub BucardoHost::evaluate { return eval $_[0] }

package BucardoHost;
use strict;
use warnings;

our ($running, $left, %subs, %shared);
my ($in, $out);
# The process that speaks to the daemon; what it is asked; the statements that were sent.
my ($own_pid, $number, $asks) = ($$, 0, 0);

# JSON: Perl's own module is too slow for many rows.

my %escaped = ('"' => '\\"', '\\' => '\\\\', map { chr() => sprintf '\\u%04x', $_ } 0 .. 31);
my %meant = (b => "\b", f => "\f", n => "\n", r => "\r", t => "\t");

sub encode {
    my ($value) = @_;
    return 'null' if !defined $value;
    my $kind = ref $value;
    if ($kind eq '') {
        no warnings;
        # Nobody can tell a number from a text that was used as one, so only what is the same as either goes as a number:
        # no digit of a text may get lost.
        return "$value" if $value =~ /\A(?:0|-?[1-9][0-9]{0,17})\z/ && length((my $copy = $_[0]) & '');
        $value =~ s/(["\\\x00-\x1f])/$escaped{$1}/g;
        return qq{"$value"};
    }
    no warnings 'recursion';
    if ($kind eq 'HASH') {
        return '{' . join(',', map { my $key = $_; $key =~ s/(["\\\x00-\x1f])/$escaped{$1}/g; qq{"$key":} . encode($value->{$_}) } keys %$value) . '}';
    }
    return '[' . join(',', map { encode($_) } @$value) . ']' if $kind eq 'ARRAY';
    return encode($$value) if $kind eq 'SCALAR' || $kind eq 'REF';
    die "a value of type $kind cannot be taken back\n" if $kind eq 'CODE' || $kind eq 'GLOB';
    return encode("$value");
}

# Reads $_ from pos on.
sub decode_text {
    my $text = '';
    while (1) {
        $text .= $1 if /\G([^"\\]+)/gc;
        return $text if /\G"/gc;
        if (/\G\\u([0-9a-fA-F]{4})/gc) {
            my $letter = hex $1;
            if ($letter >= 0xd800 && $letter < 0xdc00 && /\G\\u([dD][c-fC-F][0-9a-fA-F]{2})/gc) {
                $letter = 0x10000 + (($letter - 0xd800) << 10) + (hex($1) - 0xdc00);
            }
            $text .= chr $letter;
        }
        elsif (/\G\\(.)/gc) { $text .= exists $meant{$1} ? $meant{$1} : $1 }
        else { die "broken text\n" }
    }
}

sub decode_value {
    if (/\G"/gc) { return decode_text() }
    if (/\G\{/gc) {
        my %hash;
        return \%hash if /\G\}/gc;
        while (1) {
            my $key;
            if (/\G"([^"\\]*)":/gc) { $key = $1 }
            else { /\G"/gc or die "broken key\n"; $key = decode_text(); /\G:/gc }
            $hash{$key} = /\G"([^"\\]*)"/gc ? $1 : decode_value();
            next if /\G,/gc;
            return \%hash if /\G\}/gc;
            die "broken object\n";
        }
    }
    if (/\G\[/gc) {
        my @list;
        return \@list if /\G\]/gc;
        while (1) {
            push @list, decode_value();
            next if /\G,/gc;
            return \@list if /\G\]/gc;
            die "broken list\n";
        }
    }
    if (/\G(-?[0-9][-+.eE0-9]*)/gc) {
        my $number = $1;
        { no warnings; my $known_as_one = $number + 0 }
        return $number;
    }
    return undef if /\Gnull/gc;
    return 1 if /\Gtrue/gc;
    return 0 if /\Gfalse/gc;
    die "broken value\n";
}

sub receive {
    exit_now() if $$ != $own_pid;
    local $/ = "\n";
    my $line = readline $in;
    exit_now() if !defined $line;
    $. = 0; # else messages of codes end with the number of this line
    utf8::decode($line);
    local $_ = $line;
    pos() = 0;
    return decode_value();
}

# What is said, in JSON, about the number that was asked.
sub say_this {
    my ($said) = @_;
    exit_now() if $$ != $own_pid;
    my $line = qq({"of":$number,"said":$said});
    utf8::encode($line);
    local ($\, $,);
    print {$out} $line, "\n" or exit_now();
}

sub exit_now { CORE::exit(0) }

# Where a code stands: the innermost line that is its own.
sub place {
    my $level = 0;
    while (my ($package, $file, $line) = caller $level++) {
        return "$file line $line" if $package !~ /\ABucardo(?:Host|Db|Statement|Handle)\z/ && $file ne '-e';
    }
    return 'its end';
}

# Goes when a code is left, while its last statement is the present one: a signal that came meanwhile is heard there.
sub BucardoHost::Left::DESTROY { return 1 }

# Codes

sub sub_of {
    my ($id, $name, $source) = @_;
    return evaluate("package BucardoCode$id; sub { local \$BucardoHost::left = bless [], 'BucardoHost::Left';\n#line 1 \"$name\"\n$source\n}");
}

sub compile {
    my ($code) = @_;
    my $name = $code->{name};
    $name =~ s/["\n\r]/'/g;
    my $id = $code->{id};
    local $@;
    local $SIG{__DIE__} = 'DEFAULT';
    delete $subs{$id};
    my $sub = sub_of($id, $name, $code->{source});
    # Where its text goes on after its end, the end of the sub is lost there.
    if (ref $sub ne 'CODE' && (my $source = $code->{source}) =~ s/^__(?:END|DATA)__\b.*//ms) {
        $sub = sub_of($id, $name, $source);
    }
    return error_text($@) if ref $sub ne 'CODE';
    $subs{$id} = $sub;
    return undef;
}

sub error_text {
    my ($error) = @_;
    $error = 'it is no subroutine' if !defined $error || $error eq '';
    $error = eval { "$error" } if ref $error;
    $error = 'an error without words' if !defined $error;
    $error =~ s/\s+\z//;
    return substr $error, 0, 4000;
}

sub call {
    my ($call) = @_;
    my $sub = $subs{ $call->{id} };
    my %dbh = map { $_ => BucardoDb->new($_) } @{ $call->{names} || [] };
    # What all inputs have in common: lists and hashes of it are the same ones for all, and are not sent back.
    my $common = $call->{common};
    my @left = grep { ref $common->{$_} && $_ ne 'sendmail' } keys %$common;
    my @outputs;
    for my $input (@{ $call->{inputs} }) {
        @$input{keys %$common} = values %$common;
        $input->{shared} = \%shared;
        my @mails;
        # Of those that are too many only the number is kept.
        $input->{sendmail} = sub {
            if (@mails < $call->{mails_max}) { push @mails, ref $_[0] ? { %{ $_[0] } } : "$_[0]" }
            else { $mails[$call->{mails_max}]++ }
            return 1;
        };
        if ($call->{names}) {
            $input->{dbh} = {%dbh};
            for my $side ('source', 'target') {
                my $name = $input->{"${side}dbh"};
                $name = $input->{"${side}name"} if !defined $name;
                $input->{"${side}dbh"} = $dbh{$name} if defined $name && exists $dbh{$name};
            }
        }
        local $@;
        my $is_done = eval {
            local $SIG{__DIE__} = 'DEFAULT';
            local $SIG{ALRM} = 'DEFAULT';
            local ($\, $,, $/, $_) = (undef, undef, "\n", $input);
            local $running = 1;
            $sub->($input);
            1;
        };
        if ($$ != $own_pid) {
            print STDERR error_text($@), "\n" if !$is_done;
            CORE::exit($is_done ? 0 : 255);
        }
        return { died => [scalar @outputs, error_text($@)] } if !$is_done;
        delete @$input{qw(shared dbh sourcedbh targetdbh), @left};
        delete $input->{sendmail} if ref $input->{sendmail} eq 'CODE';
        $input->{sendmail} = \@mails if @mails;
        my $output = eval { encode($input) };
        return { garbage => error_text($@) } if !defined $output;
        push @outputs, $output;
    }
    return '{"outputs":[' . join(',', @outputs) . ']}';
}

sub main {
    # PR_SET_PDEATHSIG, SIGKILL: an end of the daemon ends also a code that loops.
    my ($prctl) = @ARGV;
    syscall(0 + $prctl, 1, 9, 0, 0, 0) if $prctl;
    open($in, '<&', \*STDIN) or die "stdin: $!";
    open($out, '>&', \*STDOUT) or die "stdout: $!";
    open(STDIN, '<', '/dev/null') or die "/dev/null: $!";
    open(STDOUT, '>&', \*STDERR) or die "stderr: $!";
    binmode $_ for $in, $out;
    binmode $_, ':utf8' for \*STDOUT, \*STDERR;
    for my $handle ($out, \*STDERR, \*STDOUT) { select $handle; $| = 1 }
    $0 = 'bucardo: custom code in Perl';
    $SIG{TERM} = sub {
        say_this(encode({ stopped => place() })) if $running;
        exit_now();
    };
    while (1) {
        my $asked = receive();
        if ($asked->{compile}) {
            $number = $asked->{number};
            my $why = compile($asked->{compile});
            say_this(defined $why ? encode({ broken => $why }) : '"compiled"');
        }
        elsif ($asked->{call}) {
            $number = $asked->{number};
            my $answer = call($asked->{call});
            say_this(ref $answer ? encode($answer) : $answer);
        }
        # Else it is what was found for a code that no longer waited for it.
    }
}

# What an exit of a code comes to.
BEGIN {
    *CORE::GLOBAL::exit = sub (;$) {
        CORE::exit($_[0] || 0) if $$ != $own_pid;
        die 'exit was called at ' . place() . "\n";
    };
}

# Sends a statement and waits for what became of it, past answers to earlier ones: a code may have died of an alarm
# while it waited.
sub ask {
    my ($db, $sql, $values) = @_;
    return { refused => { message => 'a process that a code has forked may not ask databases' } } if $$ != $own_pid;
    my $asking = ++$asks;
    say_this(encode({ ask => { number => $asking, db => $db, sql => $sql, values => $values } }));
    while (1) {
        my $answer = receive();
        return $answer if defined $answer->{to} && $answer->{to} == $asking;
    }
}

# What both kinds of handles do. Codes see the attributes of a handle through a tie, so that none that is not there is
# undefined in silence; methods go to what is behind it. Attributes of our own begin with an underscore.
package BucardoHandle;

# Those that codes may set; most have no effect here.
my %settable = map { $_ => 1 } qw(
    RaiseError PrintError FetchHashKeyName PrintWarn Warn ShowErrorStatement InactiveDestroy AutoInactiveDestroy
    RowCacheSize LongReadLen LongTruncOk TraceLevel pg_enable_utf8 pg_server_prepare pg_switch_prepared pg_prepare_now
);
# Those that the server is asked for when a code wants to know.
my %asked = (
    pg_server_version => q{current_setting('server_version_num')},
    pg_db => 'current_database()',
    pg_pid => 'pg_backend_pid()',
    pg_standard_conforming_strings => q{current_setting('standard_conforming_strings')},
    map { $_ => 'session_user' } qw(Username User pg_user),
);
my %complained;

sub _handle {
    my ($class, %attributes) = @_;
    tie my %handle, 'BucardoHandle', bless {%attributes}, $class;
    return bless \%handle, $class;
}

sub _behind { return tied(%{ $_[0] }) || $_[0] }

sub TIEHASH { return $_[1] }
sub EXISTS { return $_[1] !~ /\A_/ && exists $_[0]{ $_[1] } }
sub DELETE { return delete $_[0]{ $_[1] } }
sub CLEAR { }
sub SCALAR { return 1 }
sub FIRSTKEY { keys %{ $_[0] }; return NEXTKEY(@_) }

sub NEXTKEY {
    while (defined(my $key = each %{ $_[0] })) { return $key if $key !~ /\A_/ }
    return undef;
}

sub FETCH {
    my ($self, $key) = @_;
    return $self->{$key} if exists $self->{$key};
    return undef if $key =~ /\Aprivate_/;
    if ($asked{$key} && !$self->{_db}) {
        my $answer = BucardoHost::ask($self->{Name}, "SELECT $asked{$key}", []);
        return $self->{$key} = $answer->{found}{rows}[0][0] if $answer->{found};
    }
    return $self->_complain($key, 'is not there for');
}

sub STORE {
    my ($self, $key, $value) = @_;
    return $self->_complain($key, 'cannot be set by') if !$settable{$key} && $key !~ /\Aprivate_/;
    return $self->{$key} = $value;
}

sub _complain {
    my ($self, $key, $how) = @_;
    my ($kind, $place) = ($self->{_db} ? 'statement' : 'database', BucardoHost::place());
    warn qq{Attribute "$key" of $kind handles $how custom code at $place.\n} if !$complained{"$key $place"}++;
    return undef;
}

sub err { return _behind($_[0])->{_error} ? 7 : undef }
sub errstr { my $self = _behind($_[0]); return $self->{_error} && "ERROR:  $self->{_error}{message}" }
sub state { my $self = _behind($_[0]); return $self->{_error} ? ($self->{_error}{sqlstate} || 'S1000') : '' }

# What became of the last statement, of this handle and of its database, and for codes that look at the variables of DBI.
sub _became {
    my ($self, $refused) = @_;
    $_->{_error} = $refused for $self, $self->{_db} || $self;
    # A code that has loaded DBI itself has variables that cannot be set.
    no warnings 'once';
    ($DBI::err, $DBI::errstr, $DBI::state) = ($self->err, $self->errstr, $self->state) if !tied $DBI::err;
}

# Sends a statement and waits for its answer. A refusal dies, warns or returns nothing, as the attributes say.
sub _ask {
    my ($self, $method, $sql, $values) = @_;
    $self->_became(undef);
    my $db = $self->{_db} || $self;
    my $answer = BucardoHost::ask("$db->{Name}", "$sql", $values);
    return $self->_refuse($method, $answer->{refused}) if $answer->{refused};
    return $answer->{found};
}

sub _refuse {
    my ($self, $method, $refused) = @_;
    $self->_became($refused);
    my $kind = $self->{_db} && !$self->{_as} ? 'st' : 'db';
    my $text = "DBD::Pg::$kind $method failed: ERROR:  $refused->{message} at " . BucardoHost::place() . ".\n";
    die $text if $self->{RaiseError};
    warn $text if $self->{PrintError};
    return undef;
}

# A value as the server reads it.
sub _text {
    my ($value) = @_;
    return $value if !defined $value;
    return "$value" if ref $value ne 'ARRAY';
    return '{' . join(',', map {
        my $text = _text($_);
        if (!defined $text) { 'NULL' }
        elsif (ref $_ eq 'ARRAY') { $text }
        else { $text =~ s/(["\\])/\\$1/g; qq{"$text"} }
    } @$value) . '}';
}

# An array as the server writes it.
sub _array {
    local $_ = shift;
    s/\A\[[^=]*=//;
    pos() = 0;
    return /\G\{/gc ? _elements() : $_;
}

sub _elements {
    my @list;
    while (1) {
        if (/\G\}/gc) { return \@list }
        elsif (/\G,/gc) { }
        elsif (/\G\{/gc) { push @list, _elements() }
        elsif (/\G"((?:[^"\\]|\\.)*)"/gcs) { my $text = $1; $text =~ s/\\(.)/$1/gs; push @list, $text }
        elsif (/\G([^,{}"]+)/gc) { push @list, $1 eq 'NULL' ? undef : $1 }
        else { return \@list }
    }
}

# Values in the form that drivers give them.
sub _decode {
    my ($found) = @_;
    my @kinds = map { $_->{kind} } @{ $found->{columns} };
    for my $at (0 .. $#kinds) {
        my $decode = $kinds[$at] eq 'bool' ? sub { $_[0] eq 't' ? 1 : 0 }
            : $kinds[$at] eq 'bytea' ? sub { my $hex = $_[0]; $hex =~ s/\A\\x// ? pack('H*', $hex) : $hex }
            : $kinds[$at] =~ /\A_/ ? \&_array
            :                        next;
        for my $row (@{ $found->{rows} }) { $row->[$at] = $decode->($row->[$at]) if defined $row->[$at] }
    }
}

sub DESTROY { }

our $AUTOLOAD;

sub AUTOLOAD {
    my ($self) = @_;
    my $method = $AUTOLOAD;
    $method =~ s/.*:://;
    die qq{Method "$method" of database handles is not there for custom code at } . BucardoHost::place() . ".\n";
}

# A database handle.
package BucardoDb;
our @ISA = ('BucardoHandle');

sub new {
    my ($class, $name) = @_;
    return $class->_handle(
        Name => $name, Active => 1, AutoCommit => '', RaiseError => 1, PrintError => '', FetchHashKeyName => 'NAME',
        Driver => { Name => 'Pg' }, Type => 'db', pg_enable_utf8 => 1, pg_expand_array => 1, pg_bool_tf => '',
        ReadOnly => '', Statement => undef, _error => undef,
    );
}

sub prepare {
    my ($self, $sql) = @_;
    my $db = BucardoHandle::_behind($self);
    return BucardoStatement->_handle(
        Database => $self, Statement => $sql, Type => 'st', Active => '', _db => $db, _bound => {}, _error => undef,
        (map { $_ => undef } qw(NAME NAME_lc NAME_uc NAME_hash NAME_lc_hash NAME_uc_hash NUM_OF_FIELDS pg_type)),
        map { $_ => $db->{$_} } qw(RaiseError PrintError FetchHashKeyName),
    );
}

sub prepare_cached { my ($self, $sql) = @_; return $self->prepare($sql) }

sub _run {
    my ($self, $method, $statement, @values) = @_;
    my $st = BucardoHandle::_behind(ref $statement ? $statement : $self->prepare($statement));
    local $st->{_as} = $method;
    return undef if !defined $st->execute(@values);
    return $st;
}

sub do {
    my ($self, $sql, undef, @values) = @_;
    my $st = $self->_run('do', $sql, @values) or return undef;
    return $st->rows || '0E0';
}

sub selectrow_arrayref { my ($self, $sql, undef, @values) = @_; my $st = $self->_run('selectrow_arrayref', $sql, @values) or return undef; return $st->fetchrow_arrayref }
sub selectrow_hashref { my ($self, $sql, undef, @values) = @_; my $st = $self->_run('selectrow_hashref', $sql, @values) or return undef; return $st->fetchrow_hashref }

sub selectrow_array {
    my ($self, $sql, undef, @values) = @_;
    my $st = $self->_run('selectrow_array', $sql, @values) or return;
    my $row = $st->fetchrow_arrayref or return;
    return wantarray ? @$row : $row->[0];
}

sub selectall_arrayref {
    my ($self, $sql, $attributes, @values) = @_;
    my $st = $self->_run('selectall_arrayref', $sql, @values) or return undef;
    my $slice = $attributes && $attributes->{Slice};
    if (!$slice and my $columns = $attributes && $attributes->{Columns}) {
        $slice = ref $columns eq 'ARRAY' ? [map { $_ - 1 } @$columns] : $columns;
    }
    return $st->fetchall_arrayref($slice, $attributes && $attributes->{MaxRows});
}

sub selectall_hashref {
    my ($self, $sql, $key, undef, @values) = @_;
    my $st = $self->_run('selectall_hashref', $sql, @values) or return undef;
    return $st->fetchall_hashref($key);
}

sub selectcol_arrayref {
    my ($self, $sql, $attributes, @values) = @_;
    my $st = $self->_run('selectcol_arrayref', $sql, @values) or return undef;
    my @columns = map { $_ - 1 } @{ $attributes && $attributes->{Columns} || [1] };
    return [map { @$_[@columns] } @{ $st->fetchall_arrayref }];
}

sub quote {
    my ($self, $value) = @_;
    return 'NULL' if !defined $value;
    my $text = BucardoHandle::_text($value);
    $text =~ s/'/''/g;
    return $text =~ s/\\/\\\\/g ? "E'$text'" : "'$text'";
}

sub quote_identifier {
    my ($self, @parts) = @_;
    pop @parts if @parts && ref $parts[-1] eq 'HASH';
    return join '.', map { my $part = $_; $part =~ s/"/""/g; qq{"$part"} } grep { defined && length } @parts;
}

sub ping { return 1 }
sub commit { return $_[0]->do('COMMIT') }
sub rollback { return $_[0]->do('ROLLBACK') }
sub begin_work { return BucardoHandle::_behind($_[0])->_refuse('begin_work', { message => 'custom code may not begin a transaction: one is open' }) }
sub disconnect { return BucardoHandle::_behind($_[0])->_refuse('disconnect', { message => 'custom code may not disconnect' }) }
sub pg_savepoint { my ($self, $name) = @_; return $self->do('SAVEPOINT ' . $self->quote_identifier($name)) }
sub pg_rollback_to { my ($self, $name) = @_; return $self->do('ROLLBACK TO SAVEPOINT ' . $self->quote_identifier($name)) }
sub pg_release { my ($self, $name) = @_; return $self->do('RELEASE SAVEPOINT ' . $self->quote_identifier($name)) }

# A prepared statement. It is sent when it is executed, and all its rows come at once.
package BucardoStatement;
our @ISA = ('BucardoHandle');

sub bind_param {
    my ($self, $place, $value, $kind) = (BucardoHandle::_behind(shift), @_);
    my $is_bytes = ref $kind eq 'HASH' && ($kind->{pg_type} || 0) == 17;
    $self->{_bound}{$place} = defined $value && $is_bytes ? '\\x' . unpack('H*', $value) : BucardoHandle::_text($value);
    return 1;
}

sub bind_param_inout { my ($self, $place, $value, undef, $kind) = @_; return $self->bind_param($place, $$value, $kind) }

sub execute {
    my ($self, @values) = (BucardoHandle::_behind(shift), @_);
    $self->{_db}{Statement} = $self->{Statement};
    my $bound = $self->{_bound};
    if (@values) { $bound = [map { BucardoHandle::_text($_) } @values] }
    elsif (!grep { !/\A\$?[0-9]+\z/ } keys %$bound) {
        my %at = map { my $place = $_; $place =~ s/\A\$//; $place => $bound->{$_} } keys %$bound;
        $bound = [map { $at{$_} } 1 .. keys %at];
    }
    delete @$self{qw(_rows _columns _next)};
    my $found = $self->_ask($self->{_as} || 'execute', $self->{Statement}, $bound);
    return undef if !defined $found;
    BucardoHandle::_decode($found);
    my $names = $self->{NAME} = [map { $_->{name} } @{ $found->{columns} }];
    $self->{NAME_lc} = [map { lc } @$names];
    $self->{NAME_uc} = [map { uc } @$names];
    for my $kind (qw(NAME NAME_lc NAME_uc)) {
        $self->{"${kind}_hash"} = { map { $self->{$kind}[$_] => $_ } 0 .. $#$names };
    }
    $self->{pg_type} = [map { $_->{kind} } @{ $found->{columns} }];
    $self->{NUM_OF_FIELDS} = @{ $self->{NAME} };
    @$self{qw(_rows _next _count)} = ($found->{rows}, 0, $found->{count});
    return $found->{count} || '0E0';
}

sub rows { my $self = BucardoHandle::_behind($_[0]); return defined $self->{_count} ? $self->{_count} : -1 }
sub finish { my $self = BucardoHandle::_behind($_[0]); delete @$self{qw(_rows _next)}; return 1 }

sub fetchrow_arrayref {
    my $self = BucardoHandle::_behind($_[0]);
    return undef if !$self->{_rows} || $self->{_next} >= @{ $self->{_rows} };
    my $row = $self->{_rows}[ $self->{_next}++ ];
    if (my $columns = $self->{_into}) { ${ $columns->[$_] } = $row->[$_] for grep { $columns->[$_] } 0 .. $#$columns }
    return $row;
}

sub fetch { return $_[0]->fetchrow_arrayref }

sub fetchrow_array {
    my $self = BucardoHandle::_behind($_[0]);
    my $row = $self->fetchrow_arrayref or return;
    return wantarray ? @$row : $row->[0];
}

sub fetchrow_hashref {
    my ($self, $names) = (BucardoHandle::_behind($_[0]), $_[1]);
    my $row = $self->fetchrow_arrayref or return undef;
    my %row;
    @row{ @{ $self->{ $names || $self->{FetchHashKeyName} } } } = @$row;
    return \%row;
}

sub fetchall_arrayref {
    my ($self, $slice, $max) = (BucardoHandle::_behind($_[0]), @_[1, 2]);
    my @rows;
    while (!defined $max || @rows < $max) {
        my $row = $self->fetchrow_arrayref or last;
        if (ref $slice eq 'HASH') {
            my %row;
            @row{ @{ $self->{ $self->{FetchHashKeyName} } } } = @$row;
            if (my @wanted = keys %$slice) { %row = map { $_ => $row{$_} } @wanted }
            push @rows, \%row;
        }
        elsif (ref $slice eq 'ARRAY' && @$slice) { push @rows, [@$row[@$slice]] }
        else { push @rows, [@$row] }
    }
    return \@rows;
}

sub fetchall_hashref {
    my ($self, $key) = (BucardoHandle::_behind($_[0]), $_[1]);
    my @keys = ref $key ? @$key : ($key);
    my $names = $self->{ $self->{FetchHashKeyName} };
    my $all = {};
    while (my $row = $self->fetchrow_hashref) {
        my $place = $all;
        for my $at (0 .. $#keys) {
            my $name = $keys[$at] =~ /\A[0-9]+\z/ && !exists $row->{ $keys[$at] } ? $names->[$keys[$at] - 1] : $keys[$at];
            if (!defined $name || !exists $row->{$name}) {
                return $self->_refuse('fetchall_hashref', { message => "there is no column \"$keys[$at]\"" });
            }
            my $value = defined $row->{$name} ? $row->{$name} : '';
            if ($at == $#keys) { $place->{$value} = $row }
            else { $place = $place->{$value} ||= {} }
        }
    }
    return $all;
}

sub bind_col { my ($self, $number, $into) = (BucardoHandle::_behind($_[0]), @_[1, 2]); $self->{_into}[$number - 1] = $into; return 1 }

sub bind_columns {
    my ($self, @into) = (BucardoHandle::_behind(shift), @_);
    shift @into if @into && !defined $into[0];
    $self->{_into} = [@into];
    return 1;
}

# Outside of every lexical name of the above.
package BucardoHost;
main();
