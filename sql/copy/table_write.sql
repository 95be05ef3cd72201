-- Begins a table.
--   $1 text sync   $2 text source   $3 int goat   $4 text schema   $5 text name   $6 text signature   $7 int attempt
--   $8 bigint rows   $9 bigint bytes   $10 text[] index names   $11 text[] statements that make them
INSERT INTO bucardo.copy_table
    (sync, source, goat, schemaname, tablename, signature, attempt, rows_total, bytes_total, index_names, indexes)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
