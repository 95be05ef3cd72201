-- Statements that drop what of ours has the names of what another Bucardo gets back.
SELECT format('DROP VIEW %s CASCADE', c.oid::regclass) AS statement
FROM pg_class AS c
WHERE c.relnamespace = to_regnamespace('bucardo') AND c.relkind = 'v'
  AND c.relname IN ('bucardo_delta_names', 'bucardo_delta_targets', 'bucardo_delta', 'bucardo_track')
UNION ALL
SELECT format('DROP FUNCTION %s', p.oid::regprocedure)
FROM pg_proc AS p
WHERE p.pronamespace = to_regnamespace('bucardo') AND p.proname ~ '^bucardo_(compress_delta|purge_delta)'
