-- Registers a table.
--   $1 oid   $2 text schema   $3 text name   $4 text delta table   $5 text[] key columns
INSERT INTO bucardo.captured (relation, schemaname, tablename, deltaname, key_columns)
VALUES ($1, $2, $3, $4, $5)
RETURNING id
