# Keep the longer text.
#   whenrun=conflict relation=notes
my ($input) = @_;
my $longest = -1;
for my $db (@{ $input->{dbs} }) {
    my $row = $input->{rows}{$db};
    my $length = $row ? length(defined $row->{note} ? $row->{note} : '') : -1;
    ($input->{winner}, $longest) = ($db, $length) if $length > $longest;
}
