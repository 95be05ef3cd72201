-- The definition of a table, whose lock is held from here on.
--   {signature} {table}
SELECT {signature} AS signature, (SELECT count(*) FROM (SELECT FROM {table} LIMIT 0) AS lock) AS lock
