-- How far a source has merged the other sources of its sync.
--   $1 text sync   $2 text the source itself
SELECT source, snapshot, system_id, timeline FROM bucardo.position WHERE sync = $1 AND source <> $2
