-- Statements that move the catalog of another Bucardo to another schema, or back. What it has in sources stays: the
-- control database may be one.
--   $1 text schema where it is   $2 text schema where it goes
SELECT format('ALTER %s %s SET SCHEMA %I', CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END,
              c.oid::regclass, $2::text) AS statement
FROM pg_class AS c
WHERE c.relnamespace = to_regnamespace(quote_ident($1::text)) AND c.relkind IN ('r', 'v', 'S')
  AND (c.relkind = 'S' AND c.relname ~ '^(goat|bucardo_custom_trigger|clone|customcode|customname|customcols|q|audit_pid)_id_seq$'
       AND NOT EXISTS (SELECT FROM pg_depend AS d
                       WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i')
                         AND d.refclassid = 'pg_class'::regclass)
       OR c.relname IN ('bucardo_config', 'bucardo_custom_trigger', 'bucardo_log_message', 'bucardo_rate', 'clone',
                    'customcode', 'customcode_map', 'customcols', 'customname', 'db', 'db_connlog', 'dbgroup', 'dbmap',
                    'dbrun', 'goat', 'goats_in_herd', 'herd', 'herdmap', 'sync', 'syncrun', 'upgrade_log', 'q',
                    'audit_pid'))
UNION ALL
SELECT format('ALTER FUNCTION %s SET SCHEMA %I', p.oid::regprocedure, $2::text)
FROM pg_proc AS p
WHERE p.pronamespace = to_regnamespace(quote_ident($1::text))
  AND p.proname !~ '^(delta_|capture_|bucardo_kick_|bkick_|bucardo_(compress_delta|delta_|note_trunc|purge_delta|purge_sync_track|tablename_maker|track_|add_delta|triggerkick|audit)|bad_)'
