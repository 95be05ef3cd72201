-- One value, as text.
--   {table}   table of the catalog
--   {column}  the column
--   {key}     the column that names the row
--   $1 text   its value
SELECT t.{column}::text AS value FROM {table} AS t WHERE t.{key}::text = $1::text FOR UPDATE
