-- Tables that other syncs want to hear of.
--   $1 text sync
SELECT DISTINCT c.relation, c.schemaname, c.tablename
FROM bucardo.captured AS c
JOIN bucardo.captured_sync AS s ON s.captured = c.id AND s.sync <> $1
