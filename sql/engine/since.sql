-- Sets, for this transaction, between which snapshots changes are read; COPY takes no parameters.
--   $1 text the target's position   $2 text its xmin
SELECT set_config('bucardo.since', $1, true), set_config('bucardo.since_xmin', $2, true),
       set_config('bucardo.upto', '9223372036854775807:9223372036854775807:', true)
