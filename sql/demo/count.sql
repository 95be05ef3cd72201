-- How many rows a table holds.
--   {table}   the table
SELECT count(*) AS rows
FROM {table}
