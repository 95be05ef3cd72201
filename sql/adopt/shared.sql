-- Statements that move what another Bucardo shares between its tables to another schema, or back. Tables and functions by
-- the names that it gives them; ours are not among them while its own are there. Of the functions of one table or sync
-- there may be thousands (is_many).
--   $1 text schema where they are   $2 text schema where they go
SELECT format('ALTER TABLE %s SET SCHEMA %I', c.oid::regclass, $2::text) AS statement, false AS is_many
FROM pg_class AS c
WHERE c.relnamespace = to_regnamespace(quote_ident($1::text)) AND c.relkind = 'r'
  AND c.relname IN ('bucardo_delta_names', 'bucardo_delta_targets', 'bucardo_truncate_trigger',
                    'bucardo_truncate_trigger_log', 'bucardo_sequences', 'bucardo_delta', 'bucardo_track')
UNION ALL
SELECT format('ALTER FUNCTION %s SET SCHEMA %I', p.oid::regprocedure, $2::text),
       p.proname ~ '^(delta_|bucardo_kick_|bkick_|bad_|bucardo_(add_delta|triggerkick))'
FROM pg_proc AS p
WHERE p.pronamespace = to_regnamespace(quote_ident($1::text))
  AND p.proname ~ '^(delta_|bucardo_kick_|bkick_|bucardo_(compress_delta|delta_check|delta_names_helper|note_trunc|purge_delta|purge_sync_track|tablename_maker|add_delta|triggerkick|audit)|bad_)'
ORDER BY 1
