# What both kinds of handles do. Codes see the attributes of a handle through a tie, so that none that is not there is
# undefined in silence; methods go to what is behind it. Attributes of our own begin with an underscore.
package BucardoHandle;

# Those that codes may set; most have no effect here.
my %settable = map { $_ => 1 } qw(
    RaiseError PrintError FetchHashKeyName PrintWarn Warn ShowErrorStatement InactiveDestroy AutoInactiveDestroy
    RowCacheSize LongReadLen LongTruncOk TraceLevel pg_enable_utf8 pg_server_prepare pg_switch_prepared pg_prepare_now
    pg_placeholder_dollaronly pg_placeholder_nocolons pg_placeholder_escaped
);
# Those that the server is asked for when a code wants to know.
my %asked = (
    pg_server_version => q{current_setting('server_version_num')},
    pg_db => 'current_database()',
    pg_pid => 'pg_backend_pid()',
    pg_standard_conforming_strings => q{current_setting('standard_conforming_strings')},
    map { $_ => 'session_user' } qw(Username User pg_user),
);
my (%complained, $last_used);

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
sub errstr { my $self = _behind($_[0]); return $self->{_error} && _words($self->{_error}) }
sub state { my $self = _behind($_[0]); return $self->{_error} ? ($self->{_error}{sqlstate} || 'S1000') : '' }

# The words of a driver: those of the server, or ours.
sub _words { return 'ERROR:  ' . (defined $_[0]{full} ? $_[0]{full} : $_[0]{message}) }

# What became of the last statement, of this handle and of its database, and for codes that look at the variables of DBI.
sub _became {
    my ($self, $refused) = @_;
    $_->{_error} = $refused for $self, $self->{_db} || $self;
    my @last = ($self->err, $self->errstr, $self->state);
    no warnings 'once';
    if (!tied $DBI::err) { ($DBI::err, $DBI::errstr, $DBI::state) = @last; return }
    # A DBI that a code has loaded tells of the last handle that was used: it shall be one that has our error.
    $last_used ||= eval { local $@; DBI->connect('dbi:Sponge:', '', '', { RaiseError => 0, PrintError => 0 }) } or return;
    $last_used->set_err(undef, undef);
    $last_used->set_err(@last) if defined $last[0];
}

# Sends a statement and waits for its answer. A refusal dies, warns or returns nothing, as the attributes say.
sub _ask {
    my ($self, $method, $sql, $values) = @_;
    $self->_became(undef);
    my $db = $self->{_db} || $self;
    my $answer = BucardoHost::ask("$db->{Name}", "$sql", $values, $self->{pg_placeholder_dollaronly});
    return $self->_refuse($method, $answer->{refused}) if $answer->{refused};
    return $answer->{found};
}

sub _refuse {
    my ($self, $method, $refused) = @_;
    $self->_became($refused);
    my $kind = $self->{_db} && !$self->{_as} ? 'st' : 'db';
    my $text = "DBD::Pg::$kind $method failed: " . _words($refused) . ' at ' . BucardoHost::place() . ".\n";
    die $text if $self->{RaiseError};
    warn $text if $self->{PrintError};
    return undef;
}

# Whether a type, as drivers are told one, is that of bytes.
sub _is_bytes {
    my ($kind) = @_;
    return ($kind->{pg_type} || 0) == 17 if ref $kind eq 'HASH';
    # SQL_BINARY, SQL_VARBINARY, SQL_LONGVARBINARY, SQL_BLOB
    return defined $kind && $kind =~ /\A(?:-[234]|30)\z/;
}

sub _hex { return '\\x' . unpack 'H*', $_[0] }

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
    my ($self, $sql, $attributes) = @_;
    my $db = BucardoHandle::_behind($self);
    my $dollars = $attributes && $attributes->{pg_placeholder_dollaronly};
    return BucardoStatement->_handle(
        pg_placeholder_dollaronly => defined $dollars ? $dollars : $db->{pg_placeholder_dollaronly},
        Database => $self, Statement => $sql, Type => 'st', Active => '', _db => $db, _bound => {}, _error => undef,
        (map { $_ => undef } qw(NAME NAME_lc NAME_uc NAME_hash NAME_lc_hash NAME_uc_hash NUM_OF_FIELDS pg_type)),
        map { $_ => $db->{$_} } qw(RaiseError PrintError FetchHashKeyName),
    );
}

sub prepare_cached { my ($self, $sql, $attributes) = @_; return $self->prepare($sql, $attributes) }

sub _run {
    my ($self, $method, $statement, $attributes, @values) = @_;
    my $st = BucardoHandle::_behind(ref $statement ? $statement : $self->prepare($statement, $attributes));
    local $st->{_as} = $method;
    return undef if !defined $st->execute(@values);
    return $st;
}

sub do {
    my ($self, @asked) = @_;
    my $st = $self->_run('do', @asked) or return undef;
    return $st->rows || '0E0';
}

sub selectrow_arrayref { my ($self, @asked) = @_; my $st = $self->_run('selectrow_arrayref', @asked) or return undef; return $st->fetchrow_arrayref }
sub selectrow_hashref { my ($self, @asked) = @_; my $st = $self->_run('selectrow_hashref', @asked) or return undef; return $st->fetchrow_hashref }

sub selectrow_array {
    my ($self, @asked) = @_;
    my $st = $self->_run('selectrow_array', @asked) or return;
    my $row = $st->fetchrow_arrayref or return;
    return wantarray ? @$row : $row->[0];
}

sub selectall_arrayref {
    my ($self, $sql, $attributes, @values) = @_;
    my $st = $self->_run('selectall_arrayref', $sql, $attributes, @values) or return undef;
    my $slice = $attributes && $attributes->{Slice};
    if (!$slice and my $columns = $attributes && $attributes->{Columns}) {
        $slice = ref $columns eq 'ARRAY' ? [map { $_ - 1 } @$columns] : $columns;
    }
    return $st->fetchall_arrayref($slice, $attributes && $attributes->{MaxRows});
}

sub selectall_hashref {
    my ($self, $sql, $key, @asked) = @_;
    my $st = $self->_run('selectall_hashref', $sql, @asked) or return undef;
    return $st->fetchall_hashref($key);
}

sub selectcol_arrayref {
    my ($self, $sql, $attributes, @values) = @_;
    my $st = $self->_run('selectcol_arrayref', $sql, $attributes, @values) or return undef;
    my @columns = map { $_ - 1 } @{ $attributes && $attributes->{Columns} || [1] };
    return [map { @$_[@columns] } @{ $st->fetchall_arrayref }];
}

sub quote {
    my ($self, $value, $kind) = @_;
    return 'NULL' if !defined $value;
    return "E'\\" . BucardoHandle::_hex($value) . "'" if BucardoHandle::_is_bytes($kind);
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
    my $is_bytes = defined $value && BucardoHandle::_is_bytes($kind);
    $self->{_bound}{$place} = $is_bytes ? BucardoHandle::_hex($value) : BucardoHandle::_text($value);
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
