-- Every partition below a partitioned table, leaves and branches, parents first.
--   $1 oid the partitioned table
WITH RECURSIVE tree AS (
    SELECT i.inhrelid AS oid, 1 AS depth FROM pg_catalog.pg_inherits i WHERE i.inhparent = $1
    UNION ALL
    SELECT i.inhrelid, t.depth + 1 FROM tree t JOIN pg_catalog.pg_inherits i ON i.inhparent = t.oid
)
SELECT t.oid AS oid, n.nspname::text AS schema, c.relname::text AS name, c.relkind::text AS relkind
FROM tree t
JOIN pg_catalog.pg_class c ON c.oid = t.oid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p')
ORDER BY t.depth, t.oid
