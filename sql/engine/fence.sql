-- The target's position, locked together with those of the sync's other sources: one writer at a time, whichever source
-- it reads.
--   $1 text sync   $2 text source
WITH held AS (
    SELECT source, snapshot, round, system_id, timeline, copy_request, quarantine, deletes, inserts
    FROM bucardo.position
    WHERE sync = $1
    ORDER BY source
    FOR UPDATE NOWAIT
)
SELECT snapshot, round, system_id, timeline, copy_request, quarantine, deletes, inserts FROM held WHERE source = $2
