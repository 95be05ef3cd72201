-- How large tables are, each with its partitions, and which files they have.
--   $1 oid[] tables
WITH RECURSIVE tree (place, oid) AS (
    SELECT w.ordinality::int - 1, w.oid FROM unnest($1::oid[]) WITH ORDINALITY AS w (oid, ordinality)
    UNION ALL
    SELECT t.place, i.inhrelid
    FROM tree AS t
    JOIN pg_catalog.pg_class AS p ON p.oid = t.oid AND p.relkind = 'p'
    JOIN pg_catalog.pg_inherits AS i ON i.inhparent = t.oid
)
SELECT t.place,
       coalesce(sum(pg_catalog.pg_table_size(c.oid)), 0)::bigint AS bytes,
       coalesce(sum(pg_catalog.pg_relation_size(c.oid)), 0)::bigint
           / pg_catalog.current_setting('block_size')::bigint AS pages,
       coalesce(sum(greatest(c.reltuples, 0)), 0)::bigint AS rows,
       coalesce(string_agg(c.relfilenode::text, ',' ORDER BY c.oid), '') AS files
FROM tree AS t
JOIN pg_catalog.pg_class AS c ON c.oid = t.oid
GROUP BY t.place
ORDER BY t.place
