-- Tables that a foreign key ties to one table, in both directions; partitions and the table itself are left out.
--   $1 text  its schema
--   $2 text  its name
SELECT DISTINCT n.nspname::text AS schema_name, p.relname::text AS name, f.outward, c.conname::text AS constraint_name
FROM pg_class AS t
JOIN pg_namespace AS s ON s.oid = t.relnamespace
JOIN pg_constraint AS c ON c.contype = 'f' AND t.oid IN (c.conrelid, c.confrelid) AND c.conrelid <> c.confrelid
CROSS JOIN LATERAL (SELECT c.conrelid = t.oid AS outward) AS f
JOIN pg_class AS p ON p.oid = CASE WHEN f.outward THEN c.confrelid ELSE c.conrelid END
JOIN pg_namespace AS n ON n.oid = p.relnamespace
WHERE s.nspname = $1::text AND t.relname = $2::text AND NOT p.relispartition
ORDER BY 1, 2, 4
