-- The target's position, locked: one writer at a time for a source-target pair.
--   $1 text sync   $2 text source
SELECT snapshot, round, system_id, timeline, copy_request
FROM bucardo.position
WHERE sync = $1 AND source = $2
FOR UPDATE NOWAIT
