-- Locks a table and its delta table against changes of their definition, so that reading them later waits for nobody.
--   {table} {delta}
SELECT FROM {table} LIMIT 0;
SELECT FROM {delta} LIMIT 0
