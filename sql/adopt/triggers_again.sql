-- The statements that make the triggers of a table again.
--   $1 oid  the table
SELECT definition,
       CASE enabled WHEN 'D' THEN format('ALTER TABLE %s DISABLE TRIGGER %I', $1::oid::regclass, name)
                    WHEN 'A' THEN format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', $1::oid::regclass, name)
                    WHEN 'R' THEN format('ALTER TABLE %s ENABLE REPLICA TRIGGER %I', $1::oid::regclass, name) END AS state
FROM bucardo_perl.taken_trigger
WHERE relation = $1
ORDER BY name
