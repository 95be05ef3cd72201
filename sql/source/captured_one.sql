-- What is registered under an id, whether statements on another table change its rows too, and whether a sync wants it.
--   $1 int id
SELECT deltaname, key_columns, EXISTS (SELECT FROM pg_inherits AS i WHERE i.inhrelid = relation) AS by_row,
       EXISTS (SELECT FROM bucardo.captured_sync AS s WHERE s.captured = id) AS wanted
FROM bucardo.captured
WHERE id = $1
