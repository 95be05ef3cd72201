# Resolve a unique e-mail clash: the row that comes keeps its address, the one in its way gets another.
#   whenrun=exception relation=users
my ($input) = @_;
return if $input->{sqlstate} ne '23505';
my $mend = $input->{dbh}{ $input->{database} }->prepare(q{UPDATE users SET email = 'taken.' || id || '.' || email WHERE email = ? AND id <> ?});
$mend->execute($_->{email}, $_->{id}) for @{ $input->{rows} };
$input->{warning} = 'an e-mail address was taken';
$input->{runagain} = 1;
