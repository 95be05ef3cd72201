-- The rows of a table of the catalog.
--   {table}
SELECT to_jsonb(t) AS row FROM {table} AS t ORDER BY to_jsonb(t)::text
