# Call a function after each sync.
#   whenrun=after_sync sync=orders
my ($input) = @_;
$input->{dbh}{B}->do('SELECT refresh_totals()');
