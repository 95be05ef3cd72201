-- Takes the partitions whose rows are to be told, in the transaction that tells them.
--   $1 int captured
WITH taken AS (DELETE FROM bucardo.adopted WHERE captured = $1 RETURNING partition)
SELECT n.nspname::text AS schema, c.relname::text AS name
FROM taken AS t
JOIN pg_catalog.pg_class AS c ON c.oid = t.partition
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
ORDER BY t.partition
