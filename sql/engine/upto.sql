-- Cuts the batch: nothing that is not visible in this snapshot.
--   $1 text snapshot
SELECT set_config('bucardo.upto', $1, true)
