-- Syncs that were not there when the first tables were taken over: what these tables had for them is not known.
--   $1 text[] syncs
SELECT s.sync
FROM unnest($1::text[]) AS s (sync)
WHERE EXISTS (SELECT FROM bucardo_perl.taken) AND s.sync NOT IN (SELECT k.sync FROM bucardo_perl.taken_sync AS k)
ORDER BY s.sync
