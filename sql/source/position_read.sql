-- What a target has committed of a sync.
--   $1 text sync   $2 text source
SELECT round, deletes, inserts, updated FROM bucardo.position WHERE sync = $1 AND source = $2
