-- How many keys of a sync wait at a database as dead letters, and since when.
--   $1 text sync
SELECT count(*) AS keys, min(since) AS oldest FROM bucardo.deadletter WHERE sync = $1
