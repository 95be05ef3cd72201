-- How far a reader is in a sync.
--   $1 text sync
SELECT source, snapshot, round FROM bucardo.position WHERE sync = $1
