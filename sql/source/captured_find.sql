-- What is registered for a table: by oid, or by name when the table was made anew.
--   $1 oid   $2 text schema   $3 text name
SELECT id, relation, schemaname, tablename, deltaname, key_columns
FROM bucardo.captured
WHERE relation = $1 OR (schemaname = $2 AND tablename = $3)
ORDER BY relation = $1 DESC
