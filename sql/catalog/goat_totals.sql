-- What was brought of each table, to each database.
--   $1 text  a sync; NULL: all
SELECT t.sync, g.schemaname AS schema, g.tablename AS table, t.target, t.deletes, t.inserts, t.since, t.last
FROM bucardo.goat_total AS t
JOIN bucardo.goat AS g ON g.id = t.goat
WHERE $1::text IS NULL OR t.sync = $1::text
ORDER BY t.sync, g.schemaname, g.tablename, t.target
