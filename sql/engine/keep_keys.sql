-- Keeps the changed keys of one table on the source, each once, and sends them to the target on the way.
--   {keys_table} {changed}
COPY (INSERT INTO {keys_table} {changed} RETURNING *) TO STDOUT
