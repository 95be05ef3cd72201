-- Tables and sequences of the demonstration's database, in the order of their names.
SELECT c.oid::regclass::text AS name, c.relkind = 'S' AS is_sequence
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = 'public'
  AND c.relkind IN ('r', 'S')
ORDER BY c.relkind = 'S', c.relname
