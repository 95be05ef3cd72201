-- The definition of a table, whose lock is held from here on; and whether it, or a partition of it, was truncated after
-- the snapshot was taken: it then looks empty, whatever the snapshot should show (manual, section "Caveats" of the
-- chapter on concurrency control).
--   {signature} {table} {oid}
SELECT {signature} AS signature, (SELECT count(*) FROM (SELECT FROM {table} LIMIT 0) AS lock) AS lock,
       (WITH RECURSIVE tree AS (
            SELECT {oid}::oid AS oid
            UNION ALL
            SELECT i.inhrelid FROM tree AS t
            JOIN pg_inherits AS i ON i.inhparent = t.oid
            JOIN pg_class AS p ON p.oid = i.inhparent AND p.relkind = 'p')
        SELECT coalesce(bool_or(c.relfilenode IS DISTINCT FROM coalesce(pg_relation_filenode(c.oid), 0)), false)
        FROM tree AS t JOIN pg_class AS c ON c.oid = t.oid WHERE c.relkind = 'r') AS moved
