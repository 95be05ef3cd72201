-- What of it version 5 shall not deliver to the groups that have it: it looks at times of transactions.
--   {kept_track}
INSERT INTO {kept_track} (txntime, target)
SELECT DISTINCT d.txntime, 'dbgroup ' || k.dbgroup
FROM bucardo_back AS d
CROSS JOIN bucardo_perl.taken_sync AS k
WHERE NOT EXISTS (
    SELECT FROM bucardo_back AS b
    JOIN bucardo_perl.taken_sync AS s ON s.sync = b.bucardo_sync
    WHERE s.dbgroup = k.dbgroup AND b.txntime = d.txntime)
