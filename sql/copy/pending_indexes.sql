-- Tables whose indexes a copy of this sync has dropped and not made again.
--   $1 text sync
SELECT goat, schemaname, tablename, index_names, indexes FROM bucardo.copy_table
WHERE sync = $1 AND indexes <> '{}'
