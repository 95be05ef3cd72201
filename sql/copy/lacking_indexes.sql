-- Indexes that copies in pieces have dropped in this database and not made again: of which sync, of which table, and the
-- statements that make them.
SELECT t.sync, format('%I.%I', t.schemaname, t.tablename) AS label, t.indexes
FROM bucardo.copy_table AS t
WHERE t.indexes <> '{}'
ORDER BY t.sync, t.schemaname, t.tablename
