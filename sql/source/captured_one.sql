-- What is registered under an id, and whether statements on another table change its rows too.
--   $1 int id
SELECT deltaname, key_columns, EXISTS (SELECT FROM pg_inherits AS i WHERE i.inhrelid = relation) AS by_row
FROM bucardo.captured
WHERE id = $1
