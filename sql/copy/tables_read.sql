-- The tables of a copy.
--   $1 text sync   $2 text source
SELECT goat, schemaname, tablename, signature, state, attempt, index_names, indexes
FROM bucardo.copy_table WHERE sync = $1 AND source = $2
