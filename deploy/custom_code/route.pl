# Route by a column: the row of the master that its column "owner" names counts.
#   whenrun=conflict relation=customers
my ($input) = @_;
for my $db (@{ $input->{dbs} }) {
    my $row = $input->{rows}{$db} or next;
    if ($input->{rows}{ $row->{owner} }) {
        $input->{winner} = $row->{owner};
        return;
    }
}
