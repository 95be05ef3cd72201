-- Sets between which snapshots changes are read; COPY takes no parameters.
--   $1 text the target's position   $2 text its xmin   $3 boolean for this transaction only
SELECT set_config('bucardo.since', $1, $3), set_config('bucardo.since_xmin', $2, $3),
       set_config('bucardo.upto', '9223372036854775807:9223372036854775807:', $3)
