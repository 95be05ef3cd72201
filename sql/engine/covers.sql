-- What emptying tables touches: for each of them its own oid and those of its partitions, and the tables whose foreign
-- keys point at any of these.
--   $1 oid[] tables
WITH RECURSIVE covers (place, oid) AS (
    SELECT w.ordinality::int - 1, w.oid FROM unnest($1::oid[]) WITH ORDINALITY AS w (oid, ordinality)
    UNION ALL
    SELECT c.place, p.oid
    FROM covers AS c
    JOIN pg_catalog.pg_inherits AS i ON i.inhparent = c.oid
    JOIN pg_catalog.pg_class AS p ON p.oid = i.inhrelid AND p.relispartition
)
SELECT c.place, array_agg(DISTINCT c.oid) AS covers,
       coalesce(array_agg(DISTINCT f.conrelid) FILTER (WHERE f.conrelid IS NOT NULL), '{}') AS referencing
FROM covers AS c
LEFT JOIN pg_catalog.pg_constraint AS f ON f.confrelid = c.oid AND f.contype = 'f'
GROUP BY c.place
ORDER BY c.place
