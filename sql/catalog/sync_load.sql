-- Syncs as the engine needs them.
--   $1 text  name of one; NULL: all
SELECT s.name, coalesce(s.herd, '') AS herd, coalesce(s.dbs, '') AS dbs, s.status, s.autokick,
       s.do_listen, s.limitdbs, s.priority,
       extract(epoch FROM s.checktime)::double precision AS checktime, s.stayalive, s.kidsalive, s.onetimecopy,
       extract(epoch FROM s.lifetime)::double precision AS lifetime, s.maxkicks,
       s.copy_request, s.deletemethod, s.analyze_after_copy, s.vacuum_after_copy,
       s.rebuild_index <> 0 AS rebuild_index, s.copyextra, s.strict_checking,
       nullif(btrim(s.conflict_strategy), '') AS conflict_strategy, s.makedelta,
       s.deadletter, lower(s.isolation_level) AS isolation_level, nullif(s.lock_table_force, '') AS lock_table_force
FROM bucardo.sync AS s
WHERE $1::text IS NULL OR s.name = $1::text
ORDER BY s.priority DESC, s.name
