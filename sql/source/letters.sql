-- The dead letters of a sync at a target.
--   $1 text sync
SELECT source, schemaname, tablename, key::text AS key, sqlstate, error, tries, since, tried
FROM bucardo.deadletter
WHERE sync = $1
ORDER BY schemaname, tablename, since, key::text
