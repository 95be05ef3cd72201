-- Where the keys of a large batch wait, on either side; made once in a session.
--   {keys_table} {columns} {table}
CREATE TEMPORARY TABLE IF NOT EXISTS {keys_table} ON COMMIT DELETE ROWS AS SELECT {columns} FROM {table} WITH NO DATA
