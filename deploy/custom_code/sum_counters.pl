# Sum counters from two masters.
#   whenrun=conflict relation=counters
# Each master counts in a column of its own, so that of two values of a column the larger is the newer one; the sum is
# from_a + from_b. Whatever is merged twice changes nothing.
my ($input) = @_;
my ($first, $second) = @{ $input->{rows} }{qw(A B)};
return if !$first || !$second; # one has deleted it: the strategy of the sync decides
$input->{row} = {%$first};
for my $column (qw(from_a from_b)) {
    $input->{row}{$column} = $second->{$column} if $second->{$column} > $first->{$column};
}
