-- Who else reads the changes of some tables of a target: what captures them for other syncs; or captures a partitioned
-- table that they belong to, or a partition of theirs.
--   $1 text[] tables   $2 text the sync itself
WITH RECURSIVE place AS (
    SELECT w.ordinality::int - 1 AS place, to_regclass(w.name)::oid AS oid
    FROM unnest($1::text[]) WITH ORDINALITY AS w (name, ordinality)
), above AS (
    SELECT p.place, p.oid, false AS is_above FROM place AS p
    UNION ALL
    SELECT a.place, c.oid, true
    FROM above AS a
    JOIN pg_catalog.pg_inherits AS i ON i.inhrelid = a.oid
    JOIN pg_catalog.pg_class AS c ON c.oid = i.inhparent AND c.relkind = 'p'
), below AS (
    SELECT p.place, p.oid FROM place AS p
    UNION ALL
    SELECT b.place, c.oid
    FROM below AS b
    JOIN pg_catalog.pg_inherits AS i ON i.inhparent = b.oid
    JOIN pg_catalog.pg_class AS c ON c.oid = i.inhrelid AND c.relispartition
)
SELECT r.place, c.id, c.deltaname, c.key_columns, r.is_above,
       coalesce(array_agg(s.sync ORDER BY s.sync) FILTER (WHERE s.kick), '{}') AS kicks
FROM (SELECT place, oid, is_above FROM above UNION SELECT place, oid, false FROM below) AS r
JOIN bucardo.captured AS c ON c.relation = r.oid
JOIN bucardo.captured_sync AS s ON s.captured = c.id AND s.sync <> $2
GROUP BY r.place, c.id, r.is_above
ORDER BY r.place, c.id
