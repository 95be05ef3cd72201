-- The delta tables of a source, and who wants their changes.
SELECT c.id, c.schemaname, c.tablename, c.deltaname,
       coalesce(array_agg(s.sync ORDER BY s.sync) FILTER (WHERE s.sync IS NOT NULL), '{}') AS syncs
FROM bucardo.captured AS c
LEFT JOIN bucardo.captured_sync AS s ON s.captured = c.id
GROUP BY c.id
ORDER BY c.schemaname, c.tablename, c.id
