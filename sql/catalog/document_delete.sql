-- Removes one row of a table of the catalog.
--   {table}   $1 jsonb  what the row is known by
DELETE FROM {table} AS t WHERE to_jsonb(t) @> $1::jsonb
