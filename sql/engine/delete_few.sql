-- Deletes the rows of a few keys.
--   {table} {arrays} {names} {on}
DELETE FROM {table} AS t USING unnest({arrays}) AS k ({names}) WHERE {on}
