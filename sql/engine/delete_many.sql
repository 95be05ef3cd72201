-- Deletes the rows of the keys that wait in the keys table.
--   {table} {keys_table} {on}
DELETE FROM {table} AS t USING {keys_table} AS k WHERE {on}
