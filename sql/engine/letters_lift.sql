-- Keys that were delivered wait no longer.
--   $1 text sync   $2 text schema   $3 text table   $4 text[] keys, as JSON
DELETE FROM bucardo.deadletter AS d
USING unnest($4::text[]) AS n (key)
WHERE d.sync = $1 AND d.schemaname = $2 AND d.tablename = $3 AND d.key = n.key::jsonb
