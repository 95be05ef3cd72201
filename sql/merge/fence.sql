-- How far this source has read the others, and (the row of its own) its snapshot in the last merge that committed here.
-- Locked: one merge at a time. The first statement of the transaction, so it takes the snapshot too.
--   $1 text sync
SELECT source, snapshot, round, system_id, timeline, copy_request
FROM bucardo.position
WHERE sync = $1
FOR UPDATE NOWAIT
