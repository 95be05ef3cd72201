-- Notes the triggers of another Bucardo on a table, as statements.
--   $1 oid  the table
INSERT INTO bucardo_perl.taken_trigger (relation, name, definition, enabled)
SELECT $1, t.tgname, pg_get_triggerdef(t.oid), t.tgenabled
FROM pg_trigger AS t
JOIN pg_proc AS p ON p.oid = t.tgfoid
WHERE t.tgrelid = $1 AND NOT t.tgisinternal AND p.pronamespace = to_regnamespace('bucardo')
  AND p.proname !~ '^capture_[0-9]+_'
ON CONFLICT DO NOTHING
