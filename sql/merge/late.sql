-- What this source has read of some tables less far than its positions tell, and what it keeps for others that have.
--   $1 text sync
SELECT source AS db, schemaname, tablename, captured, snapshot, true AS late, whole, why
FROM bucardo.quarantine WHERE sync = $1
UNION ALL
SELECT target, NULL, NULL, captured, snapshot, false, false, NULL
FROM bucardo.quarantined WHERE sync = $1
