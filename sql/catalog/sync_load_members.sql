-- Members of the groups of syncs, sources first.
--   $1 text  name of one sync; NULL: all
SELECT s.name AS sync, m.db, m.role, m.priority, m.makedelta
FROM bucardo.sync AS s
JOIN bucardo.dbmap AS m ON m.dbgroup = s.dbs
WHERE $1::text IS NULL OR s.name = $1::text
ORDER BY s.name, m.role <> 'source', m.priority DESC, m.db
