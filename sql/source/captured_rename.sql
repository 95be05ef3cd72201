-- A registered table got another name; its delta table keeps its own.
--   $1 int id   $2 text schema   $3 text name
UPDATE bucardo.captured SET schemaname = $2, tablename = $3
WHERE id = $1 AND (schemaname, tablename) IS DISTINCT FROM ($2, $3)
