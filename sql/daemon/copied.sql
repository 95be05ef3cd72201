-- The last request for a whole copy that this target has answered, from whichever source.
--   $1 text    the sync
--   $2 text[]  its sources
SELECT coalesce(max(p.copy_request), 0) AS copy_request
FROM bucardo.position AS p
WHERE p.sync = $1::text AND p.source = ANY ($2::text[])
