-- Tables that have triggers of another Bucardo.
SELECT c.oid, n.nspname::text AS schemaname, c.relname::text AS tablename
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname NOT IN ('bucardo', 'bucardo_perl')
  AND EXISTS (
      SELECT FROM pg_trigger AS t
      JOIN pg_proc AS p ON p.oid = t.tgfoid
      WHERE t.tgrelid = c.oid AND NOT t.tgisinternal AND p.pronamespace = to_regnamespace('bucardo')
        AND p.proname !~ '^capture_[0-9]+_'
  )
ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"
