-- Where the keys of a large batch wait, on either side. Made anew each time: the types of the keys may have changed.
--   {keys_table} {columns} {table}
CREATE TEMPORARY TABLE {keys_table} ON COMMIT DROP AS SELECT {columns} FROM {table} WITH NO DATA
