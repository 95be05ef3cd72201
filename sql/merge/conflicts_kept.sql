-- Conflicts that wait to be moved to the control database.
--   $1 text sync   $2 bigint how many at once
SELECT id, body::text AS body FROM bucardo.conflict_kept WHERE sync = $1 AND db = '' ORDER BY id LIMIT $2
