# Modules that codes of earlier versions load though they need none of them: where the host has them these count, else what
# stands here, at the end of @INC.
package BucardoHost;

my %modules = ('DBI.pm' => <<'DBI', 'DBD/Pg.pm' => <<'PG', 'DBIx/Safe.pm' => <<'SAFE');
package DBI;
our $VERSION = '1.999';
our ($err, $errstr, $state, $lasth, $rows);
BucardoHost::constants(
    __PACKAGE__, 'SQL_',
    qw(GUID -11 WLONGVARCHAR -10 WVARCHAR -9 WCHAR -8 BIT -7 TINYINT -6 BIGINT -5 LONGVARBINARY -4 VARBINARY -3 BINARY -2
       LONGVARCHAR -1 UNKNOWN_TYPE 0 ALL_TYPES 0 CHAR 1 NUMERIC 2 DECIMAL 3 INTEGER 4 SMALLINT 5 FLOAT 6 REAL 7 DOUBLE 8
       DATETIME 9 DATE 9 INTERVAL 10 TIME 10 TIMESTAMP 11 VARCHAR 12 BOOLEAN 16 UDT 17 ROW 19 REF 20 BLOB 30 CLOB 40
       ARRAY 50 MULTISET 55 TYPE_DATE 91 TYPE_TIME 92 TYPE_TIMESTAMP 93 TYPE_TIME_WITH_TIMEZONE 94
       TYPE_TIMESTAMP_WITH_TIMEZONE 95),
);
sub looks_like_number {
    my @told = map { !defined || $_ eq '' ? undef : 0 + /\A\s*[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?\s*\z/ } @_;
    return wantarray ? @told : $told[0];
}
sub neat { return defined $_[0] ? "'$_[0]'" : 'undef' }
sub neat_list { my ($values, undef, $between) = @_; return join defined $between ? $between : ', ', map { neat($_) } @$values }
sub import { BucardoHost::export(@_) }
our $AUTOLOAD;
sub AUTOLOAD { BucardoHost::has_handles($AUTOLOAD) }
1;
DBI
package DBD::Pg;
our $VERSION = '3.99.0';
BucardoHost::constants(
    __PACKAGE__, 'PG_',
    qw(BOOL 16 BYTEA 17 CHAR 18 NAME 19 INT8 20 INT2 21 INT2VECTOR 22 INT4 23 REGPROC 24 TEXT 25 OID 26 TID 27 XID 28 CID 29
       OIDVECTOR 30 JSON 114 XML 142 POINT 600 LSEG 601 PATH 602 BOX 603 POLYGON 604 LINE 628 CIDR 650 FLOAT4 700 FLOAT8 701
       UNKNOWN 705 CIRCLE 718 MONEY 790 MACADDR 829 INET 869 BOOLARRAY 1000 BYTEAARRAY 1001 CHARARRAY 1002 NAMEARRAY 1003
       INT2ARRAY 1005 INT4ARRAY 1007 TEXTARRAY 1009 BPCHARARRAY 1014 VARCHARARRAY 1015 INT8ARRAY 1016 FLOAT4ARRAY 1021
       FLOAT8ARRAY 1022 BPCHAR 1042 VARCHAR 1043 DATE 1082 TIME 1083 TIMESTAMP 1114 TIMESTAMPTZ 1184 INTERVAL 1186
       NUMERICARRAY 1231 TIMETZ 1266 BIT 1560 VARBIT 1562 NUMERIC 1700 REFCURSOR 1790 UUID 2950 UUIDARRAY 2951 JSONB 3802
       ASYNC 1 OLDQUERY_CANCEL 2 OLDQUERY_WAIT 4),
);
sub import { BucardoHost::export(@_) }
our $AUTOLOAD;
sub AUTOLOAD { BucardoHost::has_handles($AUTOLOAD) }
1;
PG
package DBIx::Safe;
our $VERSION = '1.999';
our $AUTOLOAD;
sub AUTOLOAD { BucardoHost::has_handles($AUTOLOAD) }
1;
SAFE

# The last of what Perl looks for a module in.
sub module {
    my (undef, $file) = @_;
    my $text = delete $modules{$file};
    return if !defined $text;
    $text = qq{#line 1 "bucardo:$file"\n$text};
    return sub { return 0 if !defined $text; ($_, $text) = ($text, undef); return 1 };
}

# Constants of a package, as names and values.
sub constants {
    my ($package, $prefix, %values) = @_;
    no strict 'refs';
    while (my ($name, $value) = each %values) { *{"${package}::$prefix$name"} = sub () { $value } }
}

# Functions that somebody wants of a package: those whose names are given, and all constants for a tag.
sub export {
    my ($package, @wanted) = @_;
    my $into = caller 1;
    no strict 'refs';
    if (grep { /\A:/ } @wanted) {
        push @wanted, grep { /\A(?:(?:SQL|PG)_|neat|looks_like_number)/ && defined &{"${package}::$_"} } keys %{"${package}::"};
    }
    *{"${into}::$_"} = \&{"${package}::$_"} for grep { /\A\w+\z/ && defined &{"${package}::$_"} } @wanted;
}

# What a code is told that wants to do with such a module what only the real one can.
sub has_handles {
    my ($function) = @_;
    return if $function =~ /::DESTROY\z/;
    my ($package) = $function =~ /\A(.*)::/;
    die "$function: $package is not installed here, and custom code needs no connection of its own: the handles of its databases"
        . q( are $input->{dbh}{NAME}, $input->{sourcedbh} and $input->{targetdbh}) . ' at ' . place() . ".\n";
}

# Outside of every lexical name of the above.
package BucardoHost;
main();
