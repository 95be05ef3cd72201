# Mail on a warning: a run of so many changes is worth a look.
#   whenrun=after_txn sync=orders getdbh=false
my ($input) = @_;
my $changes = $input->{deltacount}{all};
if ($changes >= 1000) {
    $input->{warning} = "$changes changes in one run";
    $input->{sendmail}->({ subject => "Much to do for sync $input->{syncname}", body => $input->{warning} });
}
