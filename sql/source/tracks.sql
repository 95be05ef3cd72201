-- The targets of a sync, as the source knows them.
--   $1 text sync
SELECT target, greatest(round, 0) AS round, deletes, inserts, updated, round AS mark, clock_timestamp() AS now FROM bucardo.track WHERE sync = $1 ORDER BY target
