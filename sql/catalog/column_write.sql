-- Writes one value, given as text.
--   {table}   table of the catalog
--   {column}  the column
--   {type}    its type
--   {key}     the column that names the row
--   $1 text   its value
--   $2 text   the new value
UPDATE {table} AS t SET {column} = $2::text::{type} WHERE t.{key}::text = $1::text
RETURNING t.{column}::text AS value
