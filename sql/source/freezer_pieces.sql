-- Statements that drop some of the freezer of old runs: its days, then the table that they are of. A schema where nothing
-- else is goes last.
--   $1 bigint how many
SELECT s.statement
FROM (
    SELECT 1 AS place, format('DROP TABLE %s', i.inhrelid::regclass) AS statement
    FROM pg_inherits AS i
    WHERE i.inhparent = to_regclass('freezer.master_q')
    UNION ALL
    SELECT 2, 'DROP TABLE freezer.master_q'
    WHERE to_regclass('freezer.master_q') IS NOT NULL
      AND NOT EXISTS (SELECT FROM pg_inherits AS i WHERE i.inhparent = to_regclass('freezer.master_q'))
    UNION ALL
    SELECT 3, 'DROP SCHEMA freezer'
    FROM pg_namespace AS n
    WHERE n.nspname = 'freezer'
      AND NOT EXISTS (SELECT FROM pg_class AS c WHERE c.relnamespace = n.oid)
      AND NOT EXISTS (SELECT FROM pg_type AS t WHERE t.typnamespace = n.oid)
      AND NOT EXISTS (SELECT FROM pg_proc AS p WHERE p.pronamespace = n.oid)
) AS s
ORDER BY s.place
LIMIT $1::bigint
