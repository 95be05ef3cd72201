-- Deletes the rows that other sources' rows take the place of, or nothing.
--   {table} {take} {on}
DELETE FROM {table} AS t USING {take} AS k WHERE {on}
