-- Captured tables that syncs want and that have no trigger of ours: gone, made anew, or the trigger was dropped.
SELECT c.schemaname, c.tablename, array_agg(s.sync ORDER BY s.sync) AS syncs
FROM bucardo.captured AS c
JOIN bucardo.captured_sync AS s ON s.captured = c.id
WHERE NOT EXISTS (
    SELECT 1
    FROM pg_trigger AS t
    JOIN pg_proc AS p ON p.oid = t.tgfoid
    WHERE t.tgrelid = c.relation AND p.pronamespace = 'bucardo'::regnamespace AND NOT t.tgisinternal
)
GROUP BY c.id
ORDER BY c.id
