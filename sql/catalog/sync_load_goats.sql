-- Tables and sequences of syncs, in the order in which they are processed.
--   $1 text  name of one sync; NULL: all
SELECT s.name AS sync, g.id, g.schemaname, g.tablename, g.reltype, g.key_columns, g.autokick, g.strict_checking,
       g.analyze_after_copy, g.vacuum_after_copy, g.rebuild_index <> 0 AS rebuild_index, g.ghost,
       nullif(btrim(g.conflict_strategy), '') AS conflict_strategy, g.makedelta
FROM bucardo.sync AS s
JOIN bucardo.herdmap AS m ON m.herd = s.herd
JOIN bucardo.goat AS g ON g.id = m.goat
WHERE $1::text IS NULL OR s.name = $1::text
ORDER BY s.name, m.priority DESC, g.id
