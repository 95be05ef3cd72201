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
# Where a code was that Perl itself ends, and memory for finding that out.
my ($ended_at, $reserve);
# What a code died of last that has no line, and where.
my ($died_of, $died_at) = ('', '');
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
        return "$file line $line" if $package !~ /\ABucardo(?:Host|Db|Statement|Handle)\z/ && $file !~ /\A(?:-e\z|bucardo:)/;
    }
    return 'its end';
}

# Goes when a code is left, while its last statement is the present one: a signal that came meanwhile is heard there.
# Perl itself leaves codes when it exits for want of memory; a status that a code has left behind looks alike.
sub BucardoHost::Left::DESTROY {
    return 1 if !$? || !$running || $$ != $own_pid;
    undef $reserve;
    return $ended_at = place();
}

# Tells of an exit that no code and no daemon wanted.
END { say_this(encode({ stopped => $ended_at })) if defined $ended_at && $$ == $own_pid }

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
    $error = 'it is no subroutine' if !defined $error || !ref $error && $error eq '';
    my $is_there = ref $error ? $died_of eq eval { "$error" } : $died_of eq $error;
    $error = shown($error, 0) if ref $error;
    $error =~ s/\s+\z//;
    $error = substr $error, 0, 4000;
    return $is_there && $died_at ? "$error at $died_at." : $error;
}

# What is no text, in words: that of an object that has some, else its fields.
sub shown {
    my ($value, $depth) = @_;
    return 'undef' if !defined $value;
    my $text = eval { "$value" };
    return 'an error without words' if !defined $text;
    my ($class, $kind) = $text =~ /\A(?:([\w:]+)=)?([A-Z]+)\(0x[0-9a-f]+\)\z/;
    $text = substr($text, 0, 200) . '...' if $depth && length $text > 200;
    return $depth && $text !~ /\A-?[0-9.]+\z/ ? qq{"$text"} : $text if !ref $value || !$kind;
    $class = $class ? "$class " : '';
    if ($kind =~ /\A(?:HASH|ARRAY)\z/ && $depth < 3) {
        my @fields = $kind eq 'ARRAY' ? map { shown($_, $depth + 1) } @$value[0 .. ($#$value < 20 ? $#$value : 19)]
            : map { "$_ => " . shown($value->{$_}, $depth + 1) } grep { defined } (sort keys %$value)[0 .. 19];
        push @fields, '...' if 20 < ($kind eq 'ARRAY' ? @$value : keys %$value);
        return $class . ($kind eq 'ARRAY' ? '[' . join(', ', @fields) . ']' : '{' . join(', ', @fields) . '}');
    }
    return shown($$value, $depth) if $kind =~ /\A(?:SCALAR|REF)\z/ && $depth < 3;
    return "$class$kind";
}

# What a code dies of: one that tells no line has it from here.
sub note_death {
    my ($error) = @_;
    my $text = eval { "$error" };
    return if !ref $error && ($text !~ /\S/ || length $text > 4000 || $text =~ / line [0-9]+\.?\s*\z/);
    ($died_of, $died_at) = ($text, place());
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
            local $SIG{__DIE__} = \&note_death;
            local $SIG{ALRM} = 'DEFAULT';
            local ($\, $,, $/, $_) = (undef, undef, "\n", $input);
            local $running = 1;
            $died_of = '';
            my @given = ($input);
            $sub->(@given);
            1;
        };
        undef $ended_at;
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
    # PR_SET_PDEATHSIG, SIGKILL: an end of the daemon ends also a code that loops. PR_SET_CHILD_SUBREAPER: what codes start
    # stays below this process, so that the daemon finds it.
    my ($prctl) = @ARGV;
    if ($prctl) { syscall(0 + $prctl, @$_, 0, 0, 0) for [1, 9], [36, 1] }
    vec($reserve, 1 << 20, 8) = 0;
    push @INC, \&module;
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
        # What codes have started and left has come here.
        { local $?; 1 while waitpid(-1, 1) > 0 }
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
    my ($db, $sql, $values, $dollars) = @_;
    return { refused => { message => 'a process that a code has forked may not ask databases' } } if $$ != $own_pid;
    my $asking = ++$asks;
    say_this(encode({ ask => { number => $asking, db => $db, sql => $sql, values => $values, dollars => $dollars ? 1 : 0 } }));
    while (1) {
        my $answer = receive();
        return $answer if defined $answer->{to} && $answer->{to} == $asking;
    }
}
