-- Whether a table, or each partition of it, still has the file that it had when the snapshot was taken. The catalog is
-- read as of the snapshot; pg_relation_filenode tells the present.
--   $1 oid table
WITH RECURSIVE tree AS (
    SELECT $1::oid AS oid
    UNION ALL
    SELECT i.inhrelid
    FROM tree AS t
    JOIN pg_catalog.pg_class AS p ON p.oid = t.oid AND p.relkind = 'p'
    JOIN pg_catalog.pg_inherits AS i ON i.inhparent = t.oid
)
SELECT coalesce(bool_and(coalesce(pg_catalog.pg_relation_filenode(c.oid) = c.relfilenode, false)), true) AS unchanged
FROM tree AS t
JOIN pg_catalog.pg_class AS c ON c.oid = t.oid AND c.relkind = 'r'
