-- Tables of a list that are partitions of others of the list, however far above.
--   $1 oid[] the list
WITH RECURSIVE above (oid, parent) AS (
    SELECT i.inhrelid, i.inhparent
    FROM pg_catalog.pg_inherits AS i
    JOIN pg_catalog.pg_class AS c ON c.oid = i.inhrelid AND c.relispartition
    WHERE i.inhrelid = ANY ($1::oid[])
    UNION ALL
    SELECT a.oid, i.inhparent
    FROM above AS a
    JOIN pg_catalog.pg_inherits AS i ON i.inhrelid = a.parent
    JOIN pg_catalog.pg_class AS c ON c.oid = i.inhrelid AND c.relispartition
)
SELECT oid, parent FROM above WHERE parent = ANY ($1::oid[]) ORDER BY oid, parent
