-- The runs of syncs that matter: the open one, and the last good, bad and empty ones.
--   $1 text  name of one sync; NULL: all
SELECT r.sync, r.truncates, r.deletes, r.inserts, r.conflicts, r.started, r.ended, r.lastgood, r.lastbad, r.lastempty,
       coalesce(r.details, '') AS details, coalesce(r.status, '') AS status
FROM bucardo.syncrun AS r
WHERE r.sync IS NOT NULL AND ($1::text IS NULL OR r.sync = $1::text)
  AND (r.ended IS NULL OR r.lastgood OR r.lastbad OR r.lastempty)
ORDER BY r.sync, r.started
