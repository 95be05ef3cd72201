-- The columns of a table of the catalog, with their types.
--   $1 text  the table
SELECT a.attname::text AS name, format_type(a.atttypid, a.atttypmod) AS type, NOT a.attnotnull AS nullable
FROM pg_attribute AS a
WHERE a.attrelid = ('bucardo.' || quote_ident($1::text))::regclass AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum
