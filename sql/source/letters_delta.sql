-- The delta table of a captured table, and its key.
--   $1 text schema   $2 text table
SELECT deltaname, key_columns FROM bucardo.captured WHERE schemaname = $1 AND tablename = $2
