-- How far a target has read each source of a sync, and which whole copy it has made.
--   $1 text sync
SELECT source, snapshot, system_id, timeline, copy_request FROM bucardo.position WHERE sync = $1
