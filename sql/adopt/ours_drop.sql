-- Statements that drop what is ours in the schema, the catalog or what a source has, and nothing of another Bucardo.
SELECT format('DROP %s IF EXISTS %s CASCADE',
              CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, c.oid::regclass) AS statement
FROM pg_class AS c
WHERE c.relnamespace = to_regnamespace('bucardo') AND c.relkind IN ('r', 'p', 'v', 'S')
  AND c.relname NOT IN ('bucardo_delta_names', 'bucardo_delta_targets', 'bucardo_truncate_trigger',
                        'bucardo_truncate_trigger_log', 'bucardo_sequences')
  AND NOT (c.relkind = 'r' AND c.relname ~ '^(delta|track|stage)_|^bucardo_(delta|track)$')
UNION ALL
SELECT format('DROP FUNCTION IF EXISTS %s CASCADE', p.oid::regprocedure)
FROM pg_proc AS p
WHERE p.pronamespace = to_regnamespace('bucardo')
  AND p.proname !~ '^(delta_|bucardo_kick_|bkick_|bucardo_(compress_delta|delta_check|delta_names_helper|note_trunc|purge_delta|purge_sync_track|tablename_maker|add_delta|triggerkick|audit)|bad_)'
