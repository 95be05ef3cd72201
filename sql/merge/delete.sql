-- Deletes the rows that other sources' rows take the place of, or nothing.
--   {table} {rulings} {on}
DELETE FROM {table} AS t USING {rulings} AS k WHERE k.verdict & 1 <> 0 AND {on}
