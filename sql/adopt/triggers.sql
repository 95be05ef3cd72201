-- The triggers of another Bucardo on a table.
--   $1 oid  the table
SELECT t.tgname::text AS name
FROM pg_trigger AS t
JOIN pg_proc AS p ON p.oid = t.tgfoid
WHERE t.tgrelid = $1 AND NOT t.tgisinternal AND p.pronamespace = to_regnamespace('bucardo')
  AND p.proname !~ '^capture_[0-9]+_'
ORDER BY t.tgname
