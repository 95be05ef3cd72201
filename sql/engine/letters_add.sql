-- Keys whose rows this target refused wait as dead letters.
--   $1 text sync   $2 text schema   $3 text table   $4 text source   $5 text[] keys, as JSON   $6 text[] SQLSTATEs
--   $7 text[] what the server said   $8 int[] how often each was tried by itself now: 0, 1
INSERT INTO bucardo.deadletter AS d (sync, schemaname, tablename, source, key, sqlstate, error, tries)
SELECT $1, $2, $3, $4, n.key::jsonb, n.sqlstate, n.error, n.tries
FROM unnest($5::text[], $6::text[], $7::text[], $8::int[]) AS n (key, sqlstate, error, tries)
ON CONFLICT (sync, schemaname, tablename, key) DO UPDATE
SET source = EXCLUDED.source, sqlstate = EXCLUDED.sqlstate, error = EXCLUDED.error, tried = now(),
    tries = CASE EXCLUDED.tries WHEN 0 THEN 0 ELSE d.tries + 1 END
