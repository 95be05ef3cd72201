-- Whether a table holds any row.
--   {table}   the table
SELECT EXISTS (SELECT FROM {table}) AS has_rows
